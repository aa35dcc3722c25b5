{{- /*
# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
*/}}
{{- define "pod" }}
serviceAccountName: node-feature-discovery
nodeSelector: {{ toJson .Values.nodeSelector }}
imagePullSecrets: {{ toJson .Values.imagePullSecrets }}
tolerations: [{operator: Exists}]
terminationGracePeriodSeconds: 0
{{- end }}
{{- define "image" }}{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
apiVersion: v1
kind: ServiceAccount
metadata: {name: node-feature-discovery, namespace: {{ .Release.Namespace }}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: node-feature-discovery}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
subjects: [{kind: ServiceAccount, name: node-feature-discovery, namespace: {{ .Release.Namespace }}}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: node-feature-discovery-master, namespace: {{ .Release.Namespace }}}
spec:
  selector: {matchLabels: {app: nfd-master}}
  template:
    metadata: {labels: {app: nfd-master}}
    spec:
      {{- include "pod" . | nindent 6 }}
      containers:
        - name: master
          image: {{ include "image" . }}
          command: [nfd-master]
          env:
            - {name: NODE_NAME, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
            - {name: KUBERNETES_NAMESPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: node-feature-discovery-worker, namespace: {{ .Release.Namespace }}}
spec:
  selector: {matchLabels: {app: nfd-worker}}
  template:
    metadata: {labels: {app: nfd-worker}}
    spec:
      {{- include "pod" . | nindent 6 }}
      volumes:
        - {name: features-d, emptyDir: {}}
        {{- range list "boot" "sys" "usr/lib" "lib" }}
        - {name: host-{{ . | replace "/" "-" }}, hostPath: {path: /{{ . }}}}
        {{- end }}
        # A link on most systems, which would lead into the container's own files: the file itself.
        - {name: host-os-release, hostPath: {path: /etc/os-release}}
      containers:
        - name: worker
          image: {{ include "image" . }}
          command: [nfd-worker]
          env:
            - {name: NODE_NAME, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
            - {name: KUBERNETES_NAMESPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
            - {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
            - {name: POD_UID, valueFrom: {fieldRef: {fieldPath: metadata.uid}}}
          volumeMounts:
            - {name: features-d, mountPath: /etc/kubernetes/node-feature-discovery/features.d}
            {{- range list "boot" "sys" "usr/lib" "lib" }}
            - {name: host-{{ . | replace "/" "-" }}, mountPath: /host-{{ . }}, readOnly: true}
            {{- end }}
            - {name: host-os-release, mountPath: /host-etc/os-release, readOnly: true}
