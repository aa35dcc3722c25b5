{{- /*
Copyright (c) 2026, Airgap Speech contributors
GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
SPDX-License-Identifier: GPL-3.0-or-later
*/ -}}

{{- define "open-speech.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "open-speech.fullname" -}}
{{- $name := include "open-speech.name" . -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- default $full .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- end }}

{{- define "open-speech.selectorLabels" -}}
app.kubernetes.io/name: {{ include "open-speech.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "open-speech.labels" -}}
{{- if .component -}}
{{- include "open-speech.selectorLabels" . }}
{{- else -}}
app.kubernetes.io/name: {{ include "open-speech.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/part-of: airgap-speech
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name (.root.Chart.Version | replace "+" "_") }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* Not the chart's version: a new chart that changes nothing in the pods must not restart them. */ -}}
{{- define "open-speech.podLabels" -}}
{{ include "open-speech.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/part-of: airgap-speech
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "open-speech.image" -}}
{{- $image := .Values.image -}}
{{- $name := ternary (printf "%s/%s" $image.registry $image.repository) $image.repository (ne $image.registry "") -}}
{{- $tag := default .Chart.AppVersion $image.tag -}}
{{- if $image.digest -}}
{{- printf "%s:%s@%s" $name $tag $image.digest }}
{{- else -}}
{{- printf "%s:%s" $name $tag }}
{{- end -}}
{{- end }}

{{- define "open-speech.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "open-speech.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "open-speech.apiKeysSecret" -}}
{{- default (printf "%s-api-keys" .Release.Name) .Values.apiKeys.existingSecret }}
{{- end }}

{{- define "open-speech.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "open-speech.containerSecurityContext" -}}
allowPrivilegeEscalation: false
privileged: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
{{- end }}

{{- /* Volume names are DNS labels; a model's name may hold dots, underscores and capitals. */ -}}
{{- define "open-speech.modelVolumeName" -}}
{{- printf "model-%s-%s" (regexReplaceAll "[^a-z0-9-]+" (lower .) "-" | trunc 40 | trimSuffix "-") (sha256sum . | trunc 8) }}
{{- end }}

{{- define "open-speech.modelVolumes" -}}
{{- $volume := .Values.models.volume -}}
{{- if eq $volume.type "pvc" }}
- name: models
  persistentVolumeClaim:
    claimName: {{ default (printf "%s-models" .Release.Name) $volume.pvc.name }}
    readOnly: true
{{- else if eq $volume.type "node_directory" }}
- name: models
  hostPath:
    path: {{ $volume.nodeDirectory.path }}
    type: Directory
{{- else }}
{{- if not $volume.image.models }}
{{- fail "models.volume.type is image, but models.volume.image.models is empty: name each model and its reference by digest" }}
{{- end }}
{{- range $volume.image.models }}
- name: {{ include "open-speech.modelVolumeName" .name }}
  image:
    reference: {{ .reference }}
    pullPolicy: {{ $volume.image.pullPolicy }}
{{- end }}
{{- end }}
{{- end }}

{{- define "open-speech.modelMounts" -}}
{{- $volume := .Values.models.volume -}}
{{- if eq $volume.type "image" }}
{{- range $volume.image.models }}
- name: {{ include "open-speech.modelVolumeName" .name }}
  mountPath: /models/{{ .name }}
  readOnly: true
{{- end }}
{{- else }}
- name: models
  mountPath: /models
  readOnly: true
{{- end }}
{{- end }}
