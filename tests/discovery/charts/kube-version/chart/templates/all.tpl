apiVersion: v1
kind: Pod
metadata: {name: kubectl}
spec:
  containers:
    - name: kubectl
      image: "registry.k8s.io/kubectl:{{ index .Values.tags (printf "%s.%s" .Capabilities.KubeVersion.Major .Capabilities.KubeVersion.Minor) }}"
---
apiVersion: v1
kind: Pod
metadata: {name: models}
spec:
  containers:
    - name: c
      {{- if semverCompare ">=1.33-0" .Capabilities.KubeVersion.Version }}
      image: quay.io/acme/with-image-volume:1
      {{- else }}
      image: quay.io/acme/with-copy:1
      {{- end }}
