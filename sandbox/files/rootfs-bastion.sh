#!/bin/sh
# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# What the bastion has beyond its packages. $1 is the root file system.
set -eu
root=$1
chroot "$root" useradd --create-home --uid 1000 --shell /bin/bash ops
rm -rf "$root"/var/cache/apt/*.bin "$root"/var/lib/apt/lists/*
mkdir -p "$root/media/bundle"
chroot "$root" chown ops:ops /media/bundle
