{{- if .Values.networkPolicy.enabled }}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ include "open-speech.fullname" . }}
  namespace: {{ .Release.Namespace }}
  labels:
    {{- include "open-speech.labels" (dict "root" .) | nindent 4 }}
spec:
  podSelector:
    matchLabels:
      app.kubernetes.io/name: {{ include "open-speech.name" . }}
      app.kubernetes.io/instance: {{ .Release.Name }}
    matchExpressions:
      - {key: app.kubernetes.io/component, operator: In, values: [stt, tts]}
  policyTypes: [Ingress, Egress]
  ingress:
    - ports:
        - {port: 8000, protocol: TCP}
      {{- with .Values.networkPolicy.ingress.from }}
      from:
        {{- toYaml . | nindent 8 }}
        {{- if $.Values.tests.enabled }}
        - podSelector:
            matchLabels:
              {{- include "open-speech.selectorLabels" (dict "root" $ "component" "test") | nindent 14 }}
        {{- end }}
      {{- end }}
  {{- if .Values.networkPolicy.egress.dns }}
  egress:
    - ports:
        - {port: 53, protocol: UDP}
        - {port: 53, protocol: TCP}
      {{- with .Values.networkPolicy.egress.dnsTo }}
      to:
        {{- toYaml . | nindent 8 }}
      {{- end }}
  {{- else }}
  egress: []
  {{- end }}
{{- end }}
