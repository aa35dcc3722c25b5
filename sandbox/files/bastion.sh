#!/bin/sh
# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# The bastion's process: its name server, then nothing until it is stopped. RESOLVER comes from the environment.
set -eu
printf 'nameserver %s\noptions timeout:2 attempts:2\n' "$RESOLVER" > /etc/resolv.conf
exec sleep infinity
