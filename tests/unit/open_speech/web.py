# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests as clients make them that come and go: a connection each, and no time limit."""

from __future__ import annotations

import httpx

web = httpx.Client(timeout=None, limits=httpx.Limits(max_keepalive_connections=0))  # noqa: S113 - busy is no fault
