{{- $images := .Values.images }}
apiVersion: batch/v1
kind: Job
metadata: {name: migrate, annotations: {helm.sh/hook: pre-install}}
spec:
  template:
    spec:
      restartPolicy: Never
      containers:
        - {{ include "runs.container" (dict "images" $images "name" "migrate" "run" "true") }}
---
apiVersion: v1
kind: Pod
metadata: {name: runs-test, annotations: {helm.sh/hook: test}}
spec:
  restartPolicy: Never
  containers:
    - {{ include "runs.container" (dict "images" $images "name" "test" "run" "true") }}
{{- if .Release.IsUpgrade }}
---
apiVersion: batch/v1
kind: Job
metadata: {name: convert}
spec:
  template:
    spec:
      restartPolicy: Never
      containers:
        - {{ include "runs.container" (dict "images" $images "name" "convert" "run" "true") }}
{{- end }}
