{{- $root := . }}
{{- range $component := list "stt" "tts" }}
{{- $values := index $root.Values $component }}
{{- if $values.enabled }}
{{- $scope := dict "root" $root "component" $component }}
---
apiVersion: v1
kind: Service
metadata:
  name: {{ include "open-speech.fullname" $root }}-{{ $component }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "open-speech.labels" $scope | nindent 4 }}
  {{- with $values.service.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  type: {{ $values.service.type }}
  ports:
    - {name: http, port: {{ $values.service.port }}, targetPort: http, protocol: TCP}
  selector:
    {{- include "open-speech.selectorLabels" $scope | nindent 4 }}
{{- end }}
{{- end }}
