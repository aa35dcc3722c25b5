# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is included with tags has them inside too: an include passes none on by itself."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

CHECKOUT = Path(__file__).resolve().parents[3]
FILES = sorted([*CHECKOUT.glob("playbooks/*.yml"), *CHECKOUT.glob("roles/*/tasks/*.yml")])
INCLUDES = ("ansible.builtin.include_role", "ansible.builtin.include_tasks")
LISTS = ("tasks", "pre_tasks", "post_tasks", "handlers", "block", "rescue", "always")


def tasks_of(items: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for item in items:
        yield item
        for name in LISTS:
            yield from tasks_of(item.get(name) or [])


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_an_include_passes_its_tags_on(path: Path) -> None:
    for task in tasks_of(yaml.safe_load(path.read_text()) or []):
        for include in INCLUDES:
            if include in task and "tags" in task:
                assert task[include].get("apply", {}).get("tags") == task["tags"], task["name"]


@pytest.mark.parametrize("tag", ["preflight", "gpu_operator"])
def test_the_look_at_gpu_nodes_has_its_tags(tag: str, tmp_path: Path) -> None:
    inventory = tmp_path / "hosts.yml"
    node = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    inventory.write_text(json.dumps({"gpu_nodes": {"hosts": {"node": node}}}))
    argv = [Path(sys.executable).parent / "ansible-playbook", "playbooks/gpu_preflight.yml", "--tags", tag]
    done = subprocess.run([*argv, "-i", inventory], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "hosts | Look at the node" in done.stdout
