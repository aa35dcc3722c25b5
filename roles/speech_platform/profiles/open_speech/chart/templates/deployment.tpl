{{- $root := . }}
{{- range $component := list "stt" "tts" }}
{{- $values := index $root.Values $component }}
{{- if $values.enabled }}
{{- $scope := dict "root" $root "component" $component }}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "open-speech.fullname" $root }}-{{ $component }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "open-speech.labels" $scope | nindent 4 }}
spec:
  {{- if not $values.autoscaling.enabled }}
  replicas: {{ $values.replicas }}
  {{- end }}
  revisionHistoryLimit: 3
  strategy:
    type: {{ $values.strategy.type }}
    {{- if and (eq $values.strategy.type "RollingUpdate") $values.strategy.rollingUpdate }}
    rollingUpdate:
      {{- toYaml $values.strategy.rollingUpdate | nindent 6 }}
    {{- end }}
  selector:
    matchLabels:
      {{- include "open-speech.selectorLabels" $scope | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "open-speech.podLabels" $scope | nindent 8 }}
        {{- with $values.podLabels }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      annotations:
        kubectl.kubernetes.io/default-container: {{ $component }}
        {{- if $root.Values.metrics.annotations }}
        prometheus.io/scrape: "true"
        prometheus.io/port: "8000"
        prometheus.io/path: /metrics
        {{- end }}
        {{- with $values.podAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec:
      serviceAccountName: {{ include "open-speech.serviceAccountName" $root }}
      automountServiceAccountToken: false
      enableServiceLinks: false
      {{- with $root.Values.imagePullSecrets }}
      imagePullSecrets:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $values.priorityClassName }}
      priorityClassName: {{ . }}
      {{- end }}
      {{- if and $values.gpu.enabled $values.gpu.runtimeClassName }}
      runtimeClassName: {{ $values.gpu.runtimeClassName }}
      {{- end }}
      terminationGracePeriodSeconds: {{ $values.terminationGracePeriodSeconds }}
      securityContext:
        {{- include "open-speech.podSecurityContext" $root | nindent 8 }}
      containers:
        - name: {{ $component }}
          image: {{ include "open-speech.image" $root }}
          imagePullPolicy: {{ $root.Values.image.pullPolicy }}
          securityContext:
            {{- include "open-speech.containerSecurityContext" $root | nindent 12 }}
          env:
            - {name: OPEN_SPEECH_ENGINES, value: {{ $component | quote }}}
            - {name: OPEN_SPEECH_PORT, value: "8000"}
            - {name: OPEN_SPEECH_MODELS_DIR, value: /models}
            - {name: OPEN_SPEECH_API_KEYS_DIR, value: /etc/open-speech/api-keys}
            - {name: OPEN_SPEECH_CONCURRENCY, value: {{ $values.concurrency | quote }}}
            - {name: OPEN_SPEECH_THREADS, value: {{ $values.threads | quote }}}
            - {name: OPEN_SPEECH_DEVICE, value: {{ ternary "cuda" "cpu" $values.gpu.enabled }}}
            {{- if eq $component "stt" }}
            - {name: OPEN_SPEECH_STT_MODEL, value: {{ $values.model | quote }}}
            - {name: OPEN_SPEECH_VAD_MODEL, value: {{ $values.vadModel | quote }}}
            {{- else }}
            - {name: OPEN_SPEECH_TTS_VOICES, value: {{ join "," $values.voices | quote }}}
            {{- end }}
            {{- with $values.extraEnv }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
          ports:
            - {name: http, containerPort: 8000, protocol: TCP}
          startupProbe:
            httpGet: {path: /healthz/live, port: http}
            {{- toYaml $values.startupProbe | nindent 12 }}
          livenessProbe:
            httpGet: {path: /healthz/live, port: http}
            {{- toYaml $values.livenessProbe | nindent 12 }}
          readinessProbe:
            httpGet: {path: /healthz/ready, port: http}
            {{- toYaml $values.readinessProbe | nindent 12 }}
          {{- $resources := deepCopy $values.resources }}
          {{- if $values.gpu.enabled }}
          {{- $limits := merge (dict $values.gpu.resourceName $values.gpu.count) (default dict $resources.limits) }}
          {{- $_ := set $resources "limits" $limits }}
          {{- end }}
          resources:
            {{- toYaml $resources | nindent 12 }}
          terminationMessagePolicy: FallbackToLogsOnError
          volumeMounts:
            {{- include "open-speech.modelMounts" $root | trim | nindent 12 }}
            - {name: api-keys, mountPath: /etc/open-speech/api-keys, readOnly: true}
            - {name: tmp, mountPath: /tmp}
      volumes:
        {{- include "open-speech.modelVolumes" $root | trim | nindent 8 }}
        - name: api-keys
          secret:
            secretName: {{ include "open-speech.apiKeysSecret" $root }}
            defaultMode: 0440
        - name: tmp
          emptyDir: {sizeLimit: 1Gi}
      {{- with $values.nodeSelector }}
      nodeSelector:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $values.tolerations }}
      tolerations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $values.affinity }}
      affinity:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $values.topologySpreadConstraints }}
      topologySpreadConstraints:
        {{- range . }}
        - {{- $spread := deepCopy . }}
          {{- if not (hasKey $spread "labelSelector") }}
          {{- $_ := set $spread "labelSelector" (dict "matchLabels" (include "open-speech.selectorLabels" $scope | fromYaml)) }}
          {{- end }}
          {{- toYaml $spread | nindent 10 }}
        {{- end }}
      {{- end }}
{{- end }}
{{- end }}
