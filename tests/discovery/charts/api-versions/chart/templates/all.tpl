{{- if .Capabilities.APIVersions.Has "monitoring.coreos.com/v1" }}
apiVersion: monitoring.coreos.com/v1
kind: Prometheus
metadata: {name: one}
spec: {image: "{{ .Values.image }}"}
{{- else }}
apiVersion: v1
kind: Pod
metadata: {name: one}
spec: {containers: [{name: c, image: "{{ .Values.exporter }}"}]}
{{- end }}
