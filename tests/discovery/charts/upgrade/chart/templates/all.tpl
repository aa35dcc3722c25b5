apiVersion: v1
kind: Pod
metadata: {name: app}
spec: {containers: [{name: c, image: "quay.io/acme/app:2"}]}
---
{{- if .Release.IsUpgrade }}
apiVersion: batch/v1
kind: Job
metadata: {name: convert}
spec: {template: {spec: {containers: [{name: c, image: "quay.io/acme/convert:2"}]}}}
{{- else }}
apiVersion: batch/v1
kind: Job
metadata: {name: create}
spec: {template: {spec: {containers: [{name: c, image: "quay.io/acme/create:2"}]}}}
{{- end }}
