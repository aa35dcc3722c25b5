# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection as users get it, and its pages."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
if str(CHECKOUT) not in sys.path:
    sys.path.insert(0, str(CHECKOUT))


@pytest.fixture(scope="session")
def tarball() -> Path:
    """The tarball, built from the checkout."""
    made = subprocess.run([CHECKOUT / "dev" / "tarball"], check=True, capture_output=True, text=True)
    return Path(made.stdout.strip())


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """The tools of .venv in a shell of the checkout."""
    path = f"{CHECKOUT / '.venv' / 'bin'}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
