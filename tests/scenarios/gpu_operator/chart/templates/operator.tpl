{{- /*
# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
The program sleeps: tests/scenarios/gpu_operator/stand_in.py does the operator's work, as long as this Deployment is available.
*/}}
apiVersion: apps/v1
kind: Deployment
metadata: {name: gpu-operator, namespace: {{ .Release.Namespace }}}
spec:
  selector: {matchLabels: {app: gpu-operator}}
  template:
    metadata: {labels: {app: gpu-operator}}
    spec:
      automountServiceAccountToken: false
      terminationGracePeriodSeconds: 0
      nodeSelector: {{ toJson .Values.operator.nodeSelector }}
      {{- with .Values.operator.imagePullSecrets }}
      imagePullSecrets:
      {{- range . }}
        - name: {{ . }}
      {{- end }}
      {{- end }}
      containers:
        - name: gpu-operator
          image: {{ .Values.operator.repository }}/{{ .Values.operator.image }}:{{ .Values.operator.version | default .Chart.AppVersion }}
          command: [sleep, "1000000"]
