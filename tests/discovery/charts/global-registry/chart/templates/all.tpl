{{- define "image" -}}
{{- $registry := .global.imageRegistry | default .image.registry -}}
{{ $registry }}/{{ .image.repository }}{{ if .image.digest }}@{{ .image.digest }}{{ else }}:{{ .image.tag }}{{ end }}
{{- end -}}
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: redis}
spec:
  template:
    spec:
      initContainers: [{name: i, image: {{ include "image" (dict "global" .Values.global "image" .Values.shell.image) }}}]
      containers: [{name: c, image: {{ include "image" (dict "global" .Values.global "image" .Values.image) }}}]
      {{- if .Values.sentinel.enabled }}
      # sentinel
      {{- end }}
