apiVersion: batch/v1
kind: Job
metadata: {name: {{ .Release.Name }}-migrate, annotations: {helm.sh/hook: pre-upgrade}}
spec: {template: {spec: {containers: [{name: m, image: "quay.io/acme/migrate:4.5"}]}}}
---
apiVersion: v1
kind: Pod
metadata: {name: {{ .Release.Name }}-test, annotations: {helm.sh/hook: test}}
spec: {containers: [{name: t, image: busybox:1.36}]}
{{- if .Values.debug }}
---
apiVersion: v1
kind: Pod
metadata: {name: {{ .Release.Name }}-debug}
spec:
  containers:
    - name: d
      image: docker.io/nicolaka/netshoot:v0.13
{{- end }}
