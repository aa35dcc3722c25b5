apiVersion: example.com/v1
kind: Engine
metadata: {name: one}
spec:
  replicas: 1
  {{- with .Values.engine.image }}
  image: {{ . }}
  {{- end }}
