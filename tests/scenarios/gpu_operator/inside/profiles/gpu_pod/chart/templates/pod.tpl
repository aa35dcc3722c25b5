{{- /*
# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
*/}}
apiVersion: v1
kind: Pod
metadata: {name: gpu-pod}
spec:
  automountServiceAccountToken: false
  containers:
    - name: main
      image: nvcr.io/airgap/busybox:1.0
      command: [sleep, "1000000"]
      resources: {limits: {nvidia.com/gpu: 1}}
