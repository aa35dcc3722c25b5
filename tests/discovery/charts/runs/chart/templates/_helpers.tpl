{{- define "runs.container" -}}
{name: {{ .name }}, image: "{{ .images.repository }}/{{ .name }}:{{ .images.tag }}", imagePullPolicy: Never, command: [sh, -c, {{ .run | quote }}]}
{{- end -}}
