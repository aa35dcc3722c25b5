apiVersion: apps/v1
kind: Deployment
metadata: {name: {{ .Release.Name }}-{{ .Chart.Name }}}
spec:
  template:
    spec:
      containers:
        - {name: w, image: "{{ .Values.image.repository }}:{{ .Values.image.tag }}"}
        - {name: s, image: "{{ .Values.sidecar.repository }}:{{ .Values.sidecar.tag }}"}
