# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plays with this machine as the bastion."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[3]


def run_playbook(
    folder: Path, playbook: str, variables: Mapping[str, Any], *options: str
) -> subprocess.CompletedProcess[str]:
    """What ansible-playbook says of a playbook, by its path or its name, with the directory folder as its own."""
    (folder / "hosts").write_text("[bastion]\nlocalhost ansible_connection=local\n")
    return subprocess.run(
        [
            str(Path(sys.executable).parent / "ansible-playbook"),
            *("-i", str(folder / "hosts")),
            *("-e", json.dumps({"ansible_python_interpreter": sys.executable, **variables})),
            *options,
            playbook,
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / "build" / "collections"),
            "ANSIBLE_LOCAL_TEMP": str(folder / "tmp"),
            "ANSIBLE_NOCOLOR": "1",
        },
    )


def run_plays(
    folder: Path, plays: str | Sequence[Mapping[str, Any]], variables: Mapping[str, Any], *options: str
) -> subprocess.CompletedProcess[str]:
    """The same of plays: their YAML, or the list that it would be."""
    (folder / "plays.yml").write_text(plays if isinstance(plays, str) else json.dumps(plays))
    return run_playbook(folder, str(folder / "plays.yml"), variables, *options)
