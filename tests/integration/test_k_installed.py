# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From an empty directory: the tarball installed by ansible-galaxy, and the way walked by the playbooks' names."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from dev.journey import BUNDLE_INSIDE, CHECKOUT, HOME_INSIDE, Journey
from tests.integration.inside import Inside

# What site.yml imports, in its order: here each is called by its own name.
IMPORTED = re.findall(r"import_playbook: (\w+)\.yml", (CHECKOUT / "playbooks" / "site.yml").read_text())
VENV = f"{HOME_INSIDE}/.airgap/venv/bin"
REPORTS = f"{HOME_INSIDE}/.airgap/reports/report.json"


def test_the_whole_way_by_names(inside: Inside, journey: Journey, scratch: Callable[[str], str]) -> None:
    place = scratch("installed")
    listed = inside.on("bastion", "find", f"{BUNDLE_INSIDE}/files", "-name", "*.tar.gz").text.split()
    ours = [path for path in listed if "/airgap-speech-" in path]
    others = [path for path in listed if re.search(r"/(kubernetes-core|ansible-posix)-", path)]
    assert len(ours) == 1 and len(others) == 2, listed
    # No configuration of ours, no other collections: what is installed here is what runs.
    clean = ["env", "-C", place, f"ANSIBLE_COLLECTIONS_PATH={place}", f"PATH={HOME_INSIDE}/.airgap/bin:/usr/bin:/bin"]
    for paths in (others, ours):
        argv = [f"{VENV}/ansible-galaxy", "collection", "install", "--offline", "-p", place, *paths]
        done = inside.on("bastion", *clean, *argv)
        assert done.rc == 0, done.text
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
    assert "DEPRECATION" not in done.text, done.text
