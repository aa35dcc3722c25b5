# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sandbox of `make demo`, for what an operator does after the first day."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(CHECKOUT), str(CHECKOUT / "build" / "collections")]

from dev.journey import Journey
from tests.integration.inside import Inside, sandbox_release


@pytest.fixture(scope="module")
def inside() -> Inside:
    subprocess.run(["make", "demo"], cwd=CHECKOUT, check=True)
    return Inside(Journey())


@pytest.fixture
def release() -> dict[str, Any]:
    return sandbox_release()
