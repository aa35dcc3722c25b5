{{ include "common.deployment" . }}
