apiVersion: v1
kind: Pod
metadata: {name: engine}
spec: {containers: [{name: c, image: "quay.io/acme/engine:1-{{ .Values.device }}"}, {name: api, image: "quay.io/acme/api:1"}]}
{{- if .Values.cache.enabled }}
---
apiVersion: v1
kind: Pod
metadata: {name: cache, annotations: {helm.sh/hook: post-install}}
spec: {containers: [{name: c, image: "{{ .Values.cache.image }}"}]}
{{- end }}
