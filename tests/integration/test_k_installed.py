# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From an empty directory: the tarball installed by ansible-galaxy, and the way walked by the playbooks' names."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

from dev.journey import CHECKOUT, HOME_INSIDE, Journey
from tests.integration.inside import Inside

# What site.yml imports, in its order: here each is called by its own name.
IMPORTED = re.findall(r"import_playbook: (\w+)\.yml", (CHECKOUT / "playbooks" / "site.yml").read_text())
VENV = f"{HOME_INSIDE}/.airgap/venv/bin"
REPORTS = f"{HOME_INSIDE}/.airgap/reports/report.json"


def test_the_whole_way_by_names(inside: Inside, journey: Journey, scratch: Callable[[str], str]) -> None:
    place = scratch("installed")
    made = subprocess.run([CHECKOUT / "dev" / "tarball"], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    tarball = Path(made.stdout.strip())
    journey.copy(tarball, f"{place}/{tarball.name}")
    # The dependencies lie there already. Those of the bundle are packed without their directories, which ansible-galaxy
    # wants and setup.sh does not.
    there = f"{HOME_INSIDE}/.airgap/collections/ansible_collections"
    inside.on("bastion", "mkdir", f"{place}/ansible_collections")
    copied = inside.on("bastion", "cp", "-r", f"{there}/kubernetes", f"{there}/ansible", f"{place}/ansible_collections")
    assert copied.rc == 0, copied.text
    # No configuration of ours, no other collections: what is installed here is what runs.
    clean = ["env", "-C", place, f"ANSIBLE_COLLECTIONS_PATH={place}", f"PATH={HOME_INSIDE}/.airgap/bin:/usr/bin:/bin"]
    argv = [f"{VENV}/ansible-galaxy", "collection", "install", "--offline", "-p", place, f"{place}/{tarball.name}"]
    done = inside.on("bastion", *clean, *argv)
    assert done.rc == 0, done.text
    installed = inside.on("bastion", "test", "-f", f"{place}/ansible_collections/airgap/speech/MANIFEST.json")
    assert installed.rc == 0
    before = journey.read(REPORTS)
    names = [f"airgap.speech.{name}" for name in IMPORTED]
    extra = json.dumps({"smoke_test_text": "The second door on the left is open."})
    argv = [f"{VENV}/ansible-playbook", "-i", f"{HOME_INSIDE}/inventory", *names, "-e", extra, "-v"]
    done = inside.on("bastion", *clean, *argv)
    assert done.rc == 0, done.text
    assert "No config file found" in done.text, done.text
    assert set(re.findall(r"changed=(\d+)", done.text)) == {"0"}, done.text
    after = journey.read(REPORTS)
    assert after != before and json.loads(after)["word_error_rate"] <= 0.2
    # kubernetes.core warns of a return value of its own.
    warned = [
        line for line in done.text.splitlines() if "[DEPRECATION WARNING]" in line and "kubernetes.core" not in line
    ]
    assert not warned, warned
