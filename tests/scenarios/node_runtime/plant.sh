#!/bin/sh
# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Run on a worker before the role: a containerd as a site may have it, without a hosts directory, with a config of
# version 2, an imported file, and a hosts file of the site's own.
set -eu

cd /etc/containerd
mkdir -p conf.d certs.d/docker.io
cat >config.toml <<'TOML'
# The site's own comment, which stays.
version = 2
imports = ["conf.d/*.toml"]

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "sandbox.airgap.internal/pause:1" # the site's
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".registry]
  [plugins."io.containerd.grpc.v1.cri".registry.configs."old.example.test".auth]
    password = "secret-of-the-site"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      BinaryName = "/usr/sbin/runc"
      SystemdCgroup = false
TOML
cat >conf.d/10-cni.toml <<'TOML'
version = 2
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/usr/lib/cni"
  conf_dir = "/etc/cni/net.d"
TOML
echo 'server = "https://cache.site.example.test"' >certs.d/docker.io/hosts.toml
chmod 0640 config.toml
systemctl restart containerd
