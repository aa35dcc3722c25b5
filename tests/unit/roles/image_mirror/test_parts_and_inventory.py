# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role stops where parts are still to bring, goes on when they come, and writes the site's inventory."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from ansible_collections.airgap.speech.plugins.module_utils.bundle.inventory import load
from tests.unit.plugins.module_utils.bundle.parts_samples import make_bundle, split
from tests.unit.registry_server import RegistryServer, registry_server  # noqa: F401 - fixture
from tests.unit.roles.playing import run_playbook


def test_one_medium_then_the_rest_then_the_inventory(
    registry_server: RegistryServer,  # noqa: F811
    tmp_path: Path,
) -> None:
    made = split(make_bundle(tmp_path / "bundle"), tmp_path / "one", 900_000)
    other = tmp_path / "two"
    other.mkdir()
    for name in made.written[1:]:
        (tmp_path / "one" / name).rename(other / name)
    inventory = tmp_path / "out" / "site.json"
    values: dict[str, Any] = {
        "airgap_bundle": str(tmp_path / "one"),
        "airgap_registry": registry_server.endpoint,
        "airgap_registry_push_username": registry_server.username,
        "airgap_registry_push_password_file": str(registry_server.password_file),
        "airgap_registry_ca_file": str(registry_server.ca_file),
        "airgap_locks_dir": str(tmp_path / "locks"),
        "image_mirror_session_file": str(tmp_path / "sessions.json"),
        "airgap_inventory_file": str(inventory),
    }
    first = run_playbook(tmp_path, "airgap.speech.mirror", values)
    assert first.returncode != 0
    said = " ".join(first.stdout.split())
    assert f"still to bring: part 2 of {len(made.written)} (bundle.part002.tar)" in said
    assert "put in the next medium and run the same command again" in said
    values["airgap_bundle"] = [str(tmp_path / "one"), str(other)]
    second = run_playbook(tmp_path, "airgap.speech.mirror", values)
    assert second.returncode == 0, second.stdout + second.stderr
    values["airgap_bundle"] = str(tmp_path / "gone")
    third = run_playbook(tmp_path, "airgap.speech.inventory", values)
    assert third.returncode == 0, third.stdout + third.stderr
    assert "5 items with 11 blobs" in " ".join(third.stdout.split())
    assert load(str(inventory)).missing == []
    digest = hashlib.sha256(inventory.read_bytes()).hexdigest()
    assert Path(f"{inventory}.sha256").read_text() == f"{digest}  site.json\n"
    assert f"its sha256 is {digest}" in third.stdout
