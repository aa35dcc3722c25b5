# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]

# `ansible_collections.airgap.speech` is this checkout (dev/venv makes the link).
for path in (CHECKOUT, CHECKOUT / "build" / "collections"):
    if str(path) not in sys.path:
        sys.path.insert(0, str(path))
