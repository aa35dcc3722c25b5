{{- /*
# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
*/}}
apiVersion: nvidia.com/v1
kind: ClusterPolicy
metadata: {name: cluster-policy}
spec:
  psa: {{ toJson .Values.psa }}
  mig: {{ toJson .Values.mig }}
  daemonsets: {{ toJson .Values.daemonsets }}
  operator: {runtimeClass: {{ .Values.operator.runtimeClass }}}
  validator: {{ toJson (merge (dict "version" (.Values.validator.version | default .Chart.AppVersion)) .Values.validator) }}
  driver: {{ toJson (merge (dict "useNvidiaDriverCRD" .Values.driver.nvidiaDriverCRD.enabled) (omit .Values.driver "nvidiaDriverCRD")) }}
  toolkit: {{ toJson .Values.toolkit }}
  devicePlugin: {{ toJson (merge (dict "config" (pick .Values.devicePlugin.config "name" "default")) (omit .Values.devicePlugin "config")) }}
  dcgm: {{ toJson .Values.dcgm }}
  dcgmExporter: {{ toJson .Values.dcgmExporter }}
  gfd: {{ toJson .Values.gfd }}
  migManager: {{ toJson (merge (dict "config" (pick .Values.migManager.config "name" "default")) (omit .Values.migManager "config")) }}
{{- if and .Values.driver.enabled .Values.driver.nvidiaDriverCRD.enabled }}
---
apiVersion: nvidia.com/v1alpha1
kind: NVIDIADriver
metadata: {name: default}
spec: {{ toJson (omit .Values.driver "nvidiaDriverCRD" "enabled" "repoConfig" "certConfig") }}
{{- end }}
{{- range $name := list "devicePlugin" "migManager" }}
{{- with (index $.Values $name).config }}
{{- if and .create .data }}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: {{ .name }}, namespace: {{ $.Release.Namespace }}}
data: {{ toJson .data }}
{{- end }}
{{- end }}
{{- end }}
