apiVersion: v1
kind: Pod
metadata: {name: store}
spec: {containers: [{name: c, image: "{{ .Values.image.repository }}:{{ .Values.image.tag }}"}]}
