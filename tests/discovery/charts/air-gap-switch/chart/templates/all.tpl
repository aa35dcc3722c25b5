apiVersion: apps/v1
kind: Deployment
metadata: {name: api}
spec:
  template:
    spec:
      {{- if .Values.billing.enabled }}
      initContainers: [{name: i, image: "{{ .Values.init.image.registry }}/{{ .Values.init.image.repository }}:{{ .Values.init.image.tag }}"}]
      {{- end }}
      containers: [{name: api, image: "quay.io/acme/api:release-1"}]
{{- if .Values.billing.enabled }}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: billing}
spec: {template: {spec: {containers: [{name: b, image: "{{ .Values.billing.image.path }}:{{ .Values.billing.image.tag }}"}]}}}
{{- end }}
