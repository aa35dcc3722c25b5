# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plays with this machine as the bastion."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[4]


def play(root: Path, plays: list[dict[str, Any]], variables: Mapping[str, Any]) -> None:
    """Plays them with one ansible-playbook in the directory root; each must end well."""
    (root / "plays.yml").write_text(json.dumps(plays))
    argv = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "localhost,", "-c", "local"]
    done = subprocess.run(
        [*argv, "-e", json.dumps({"ansible_python_interpreter": sys.executable, **variables}), str(root / "plays.yml")],
        capture_output=True,
        text=True,
        check=False,
        cwd=root,
        env={
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / "build" / "collections"),
            "ANSIBLE_LOCAL_TEMP": str(root / "tmp"),
            "ANSIBLE_NOCOLOR": "1",
        },
    )
    assert done.returncode == 0, done.stdout + done.stderr
