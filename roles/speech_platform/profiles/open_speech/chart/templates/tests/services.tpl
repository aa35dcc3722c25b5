{{- if .Values.tests.enabled }}
{{- $root := . }}
{{- $services := list }}
{{- range $component := list "stt" "tts" }}
{{- $values := index $root.Values $component }}
{{- if $values.enabled }}
{{- $url := printf "http://%s-%s.%s.svc:%d" (include "open-speech.fullname" $root) $component $root.Release.Namespace (int $values.service.port) }}
{{- $models := ternary (list $values.model) $values.voices (eq $component "stt") }}
{{- $services = append $services (dict "url" $url "models" $models) }}
{{- end }}
{{- end }}
apiVersion: v1
kind: Pod
metadata:
  name: {{ include "open-speech.fullname" . }}-test
  namespace: {{ .Release.Namespace }}
  labels:
    {{- include "open-speech.labels" (dict "root" . "component" "test") | nindent 4 }}
  annotations:
    helm.sh/hook: test
    helm.sh/hook-delete-policy: before-hook-creation
spec:
  restartPolicy: Never
  activeDeadlineSeconds: {{ mul .Values.tests.timeoutSeconds 3 }}
  serviceAccountName: {{ include "open-speech.serviceAccountName" . }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    {{- include "open-speech.podSecurityContext" . | nindent 4 }}
  containers:
    - name: services
      image: {{ include "open-speech.image" . }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      securityContext:
        {{- include "open-speech.containerSecurityContext" . | nindent 8 }}
      command: [python3, -c]
      args:
        - |
          {{- .Files.Get "files/test_services.py" | nindent 10 }}
      env:
        - {name: OPEN_SPEECH_API_KEYS_DIR, value: /etc/open-speech/api-keys}
        - {name: TIMEOUT_SECONDS, value: {{ .Values.tests.timeoutSeconds | quote }}}
        - {name: SERVICES, value: {{ $services | toJson | quote }}}
      resources:
        {{- toYaml .Values.tests.resources | nindent 8 }}
      terminationMessagePolicy: FallbackToLogsOnError
      volumeMounts:
        - {name: api-keys, mountPath: /etc/open-speech/api-keys, readOnly: true}
  volumes:
    - name: api-keys
      secret:
        secretName: {{ include "open-speech.apiKeysSecret" . }}
        defaultMode: 0440
{{- end }}
