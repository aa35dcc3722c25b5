{{- $images := .Values.images }}
apiVersion: apps/v1
kind: Deployment
metadata: {name: runs}
spec:
  selector: {matchLabels: {app: runs}}
  template:
    metadata: {labels: {app: runs}}
    spec:
      terminationGracePeriodSeconds: 1
      initContainers:
        - {{ include "runs.container" (dict "images" $images "name" "init" "run" "true") }}
        - name: sidecar
          image: "{{ $images.repository }}/sidecar:{{ $images.tag }}"
          imagePullPolicy: Never
          command: [sleep, "3600"]
          restartPolicy: Always
      containers:
        - {{ include "runs.container" (dict "images" $images "name" "main" "run" "sleep 3600") }}
        {{- if .Values.debug.enabled }}
        - {name: debug, image: "{{ .Values.debug.image }}", imagePullPolicy: Never, command: [sleep, "3600"]}
        {{- end }}
      volumes: [{name: data, persistentVolumeClaim: {claimName: runs}}]
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: runs}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - {{ include "runs.container" (dict "images" $images "name" "agent" "run" "sleep 3600") }}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly}
spec:
  schedule: "0 3 * * *"
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: Never
          containers:
            - {{ include "runs.container" (dict "images" $images "name" "cron" "run" "true") }}
