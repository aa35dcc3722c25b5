{{- $version := .Values.operator.version | default .Chart.AppVersion }}
apiVersion: apps/v1
kind: Deployment
metadata: {name: operator}
spec:
  template:
    spec:
      containers:
        - name: operator
          image: {{ .Values.operator.repository }}/{{ .Values.operator.image }}:{{ $version }}
          args: ["--agent-image={{ .Values.agent.repository }}/{{ .Values.agent.image }}:{{ .Values.agent.version }}"]
---
apiVersion: example.com/v1
kind: Platform
metadata: {name: platform}
spec:
  agent: {{ toJson .Values.agent }}
  proxy: {{ toJson .Values.proxy }}
