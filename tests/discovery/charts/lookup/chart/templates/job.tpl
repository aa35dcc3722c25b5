{{- $old := lookup "v1" "Secret" .Release.Namespace "state" }}
apiVersion: batch/v1
kind: Job
metadata: {name: {{ .Release.Name }}}
spec:
  template:
    spec:
      containers:
        - name: c
          {{- if $old }}
          image: quay.io/acme/convert:1
          {{- else }}
          image: quay.io/acme/create:1
          {{- end }}
