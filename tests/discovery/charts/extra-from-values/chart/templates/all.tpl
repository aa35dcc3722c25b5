apiVersion: v1
kind: Pod
metadata: {name: app}
spec:
  containers:
    - {name: app, image: "quay.io/acme/app:1"}
    {{- with .Values.extraContainers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
    {{- if .Values.sidecarTemplate }}
    {{- tpl .Values.sidecarTemplate . | nindent 4 }}
    {{- end }}
{{- range .Values.extraDeploy }}
---
{{ toYaml . }}
{{- end }}
