#!/bin/sh
# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# What a host of the sandbox has beyond its packages. $1 is the root file system.
set -eu
root=$1
chroot "$root" useradd --create-home --uid 1000 --shell /bin/bash ops
echo 'ops ALL=(ALL) NOPASSWD: ALL' > "$root/etc/sudoers.d/ops"
chmod 0440 "$root/etc/sudoers.d/ops"
# Host keys are the sandbox's, not the image's.
rm -f "$root"/etc/ssh/ssh_host_*
printf 'UseDNS no\nPasswordAuthentication no\nPermitRootLogin no\n' > "$root/etc/ssh/sshd_config.d/sandbox.conf"
# Units that make no sense in a container, or that look for the outside.
for unit in getty.target console-getty.service getty-static.service systemd-udevd.service systemd-udevd-control.socket \
    systemd-udevd-kernel.socket systemd-udev-trigger.service sys-kernel-debug.mount sys-kernel-tracing.mount \
    sys-kernel-config.mount dev-hugepages.mount dev-mqueue.mount sys-fs-fuse-connections.mount systemd-timesyncd.service \
    systemd-resolved.service systemd-networkd.service apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \
    e2scrub_all.timer fstrim.timer ssh.socket containerd.service nftables.service; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
rm -f "$root/etc/systemd/system/containerd.service"
: > "$root/etc/machine-id"
rm -rf "$root"/var/cache/apt/*.bin "$root"/var/lib/apt/lists/*
mkdir -p "$root/opt/airgap-sandbox" "$root/etc/cni/net.d" "$root/etc/containerd/certs.d"
