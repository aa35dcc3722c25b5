# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
{{- /* Nothing here names the private registry: the nodes find it. */}}
{{- range $name, $image := dict
      "quay" "quay.io/airgap/busybox:1.0"
      "nvcr" "nvcr.io/airgap/busybox:1.0"
      "port" "registry.example.test:5443/airgap/busybox:1.0" }}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: {{ $name }}}
spec:
  replicas: 1
  selector: {matchLabels: {app: {{ $name }}}}
  template:
    metadata: {labels: {app: {{ $name }}}}
    spec:
      automountServiceAccountToken: false
      containers:
        - {name: main, image: "{{ $image }}", command: [sleep, "3600"]}
{{- end }}
---
# Large enough that its pull is seen.
apiVersion: apps/v1
kind: Deployment
metadata: {name: large}
spec:
  replicas: 0
  selector: {matchLabels: {app: large}}
  template:
    metadata: {labels: {app: large}}
    spec:
      automountServiceAccountToken: false
      nodeSelector: {kubernetes.io/os: linux}
      terminationGracePeriodSeconds: 0
      containers:
        - {name: main, image: "registry.example.test:5443/airgap/large:1.0", command: [sleep, "3600"]}
---
# No node takes it: nothing of it is pulled beforehand.
apiVersion: apps/v1
kind: Deployment
metadata: {name: nowhere}
spec:
  replicas: 1
  selector: {matchLabels: {app: nowhere}}
  template:
    metadata: {labels: {app: nowhere}}
    spec:
      nodeSelector: {airgap.test/none: "true"}
      containers:
        - {name: main, image: "docker.io/library/debian:12-slim"}
