# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
apiVersion: apps/v1
kind: Deployment
metadata: {name: reader}
spec:
  replicas: 0
  selector: {matchLabels: {app: reader}}
  template:
    metadata: {labels: {app: reader}}
    spec:
      automountServiceAccountToken: false
      containers:
        - {name: main, image: "docker.io/library/python:3.11-slim", command: [sleep, "3600"]}
