apiVersion: v1
kind: ConfigMap
metadata: {name: runner}
data:
{{ (.Files.Glob "files/*").AsConfig | indent 2 }}
