# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The entry point `nodes` of the role on this machine, with the real registry: a vendor's files, placed and removed."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.plugins.module_utils.oci.samples import noise
from tests.unit.registry_server import RegistryServer, registry_server  # noqa: F401 - fixture
from tests.unit.roles.playing import run_plays

PLAY = """\
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.include_role:
        name: airgap.speech.model_preload
        tasks_from: nodes
"""
FILES = {"nova.dg": noise("role-nova", 100_000), "sub/second.dg": b"second"}


@pytest.fixture(name="values")
def some_values(registry_server: RegistryServer, tmp_path: Path) -> dict[str, Any]:  # noqa: F811
    for path, data in FILES.items():
        (tmp_path / "vendor" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "vendor" / path).write_bytes(data)
    files = [{"path": path, "digest": "sha256:" + hashlib.sha256(data).hexdigest()} for path, data in FILES.items()]
    model = {"name": "nova", "version": "1", "directory": str(tmp_path / "vendor"), "files": files}
    return {
        "ansible_python_interpreter": sys.executable,
        "airgap_bundle": "",
        "airgap_registry": registry_server.endpoint,
        "model_preload_releases": [],
        "model_preload_bundle": "",
        "model_preload_files": [model],
        "model_preload_registry": registry_server.endpoint,
        "model_preload_username": registry_server.username,
        "model_preload_password_file": str(registry_server.password_file),
        "model_preload_push_registry": registry_server.endpoint,
        "model_preload_push_username": registry_server.username,
        "model_preload_push_password_file": str(registry_server.password_file),
        "model_preload_ca_file": str(registry_server.ca_file),
        "model_preload_node_directory": str(tmp_path / "models"),
        "model_preload_node_owner": os.getuid(),
        "model_preload_node_group": os.getgid(),
    }


def run(tmp_path: Path, values: dict[str, Any], *options: str, **changes: Any) -> str:
    done = run_plays(tmp_path, PLAY, {**values, **changes}, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_vendors_files_placed_kept_and_removed(tmp_path: Path, values: dict[str, Any]) -> None:
    models = tmp_path / "models"
    check = run(tmp_path, values, "--check", "--diff")
    assert "Would place 1 models, 2 files, 97.7 KiB, 0 already there" in check
    assert not models.exists()
    assert "Placed 1 models, 2 files, 97.7 KiB" in run(tmp_path, values)
    for path, data in FILES.items():
        assert (models / "nova" / path).read_bytes() == data
    again = run(tmp_path, values)
    assert "All 1 models already there" in again
    assert "changed=0" in again
    (models / "notes.txt").write_text("not ours")
    (models / "elsewhere").symlink_to("notes.txt")
    assert "changed=1" in run(tmp_path, values, "--check", model_preload_state="absent")
    assert (models / "nova").is_symlink()
    run(tmp_path, values, model_preload_state="absent")
    assert sorted(os.listdir(models)) == ["elsewhere", "notes.txt"]
    assert "changed=0" in run(tmp_path, values, model_preload_state="absent")
