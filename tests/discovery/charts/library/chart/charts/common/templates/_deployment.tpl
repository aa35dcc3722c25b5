{{- define "common.image" -}}
{{- $tag := .image.tag | default .root.Chart.AppVersion -}}
{{- if .image.digest }}{{ printf "%s/%s@%s" .image.registry .image.repository .image.digest }}
{{- else }}{{ printf "%s/%s:%s" .image.registry .image.repository $tag }}{{ end }}
{{- end -}}
{{- define "common.deployment" -}}
apiVersion: apps/v1
kind: Deployment
metadata: {name: {{ .Release.Name }}}
spec:
  template:
    spec:
      containers:
        - {name: main, image: "{{ include "common.image" (dict "image" .Values.image "root" .) }}"}
        {{- if .Values.metrics.enabled }}
        - {name: metrics, image: "{{ include "common.image" (dict "image" .Values.metrics.image "root" .) }}"}
        {{- end }}
{{- end -}}
