#!/bin/sh
# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Made smaller: the package lists are fetched again by whoever installs more. $1 is the root file system.
set -eu
rm -rf "$1"/var/cache/apt/*.bin "$1"/var/lib/apt/lists/*
