{{- $root := . }}
{{- range $component := list "stt" "tts" }}
{{- $values := index $root.Values $component }}
{{- if and $values.enabled $values.podDisruptionBudget.enabled }}
{{- $scope := dict "root" $root "component" $component }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "open-speech.fullname" $root }}-{{ $component }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "open-speech.labels" $scope | nindent 4 }}
spec:
  {{- if not (kindIs "invalid" $values.podDisruptionBudget.minAvailable) }}
  minAvailable: {{ $values.podDisruptionBudget.minAvailable }}
  {{- else }}
  maxUnavailable: {{ $values.podDisruptionBudget.maxUnavailable }}
  {{- end }}
  # A pod that never becomes ready must not hold up the drain of its node.
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "open-speech.selectorLabels" $scope | nindent 6 }}
{{- end }}
{{- end }}
