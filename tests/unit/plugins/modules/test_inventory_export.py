# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module inventory_export, run as Ansible runs it, against a real registry with TLS and a password."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.airgap.speech.plugins.modules import image_mirror, inventory_export
from tests.unit.plugins.module_utils.bundle.parts_samples import make_bundle
from tests.unit.plugins.modules.run_module import run_module
from tests.unit.registry_server import RegistryServer, registry_server  # noqa: F401 - fixture


def login(server: RegistryServer) -> dict[str, Any]:
    return {
        "registry": server.endpoint,
        "username": server.username,
        "password_file": str(server.password_file),
        "ca_file": str(server.ca_file),
    }


def test_export_and_again(
    registry_server: RegistryServer,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    dest = tmp_path / "out" / "site.json"
    values = {**login(registry_server), "bundles": [str(bundle / "bundle.lock.json")], "dest": str(dest)}
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1800000000")
    guess = run_module(inventory_export.main, values, check=True, diff=True)
    assert guess["changed"]
    assert not dest.exists()
    assert guess["contents"] == []
    kept = str(tmp_path / "locks")
    done = run_module(image_mirror.main, {**login(registry_server), "bundle": str(bundle), "locks_dir": kept})
    assert done["changed"]
    found = run_module(inventory_export.main, values, diff=True)
    assert found["changed"]
    assert found["missing"] == []
    assert len(found["contents"]) == 5
    tree = json.loads(dest.read_bytes())
    assert tree["created"] == "2027-01-15T08:00:00Z"
    assert found["blobs"] == len(tree["blobs"])
    assert found["bytes"] == sum(blob["size"] for blob in tree["blobs"])
    assert "models/m 1 sha256:" in found["diff"]["after"]
    assert "password" not in dest.read_text()
    before = dest.stat().st_mtime_ns
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1900000000")
    again = run_module(inventory_export.main, {**values, "bundles": [], "locks_dir": kept})
    assert not again["changed"]
    assert dest.stat().st_mtime_ns == before


def test_errors_name_what_is_wrong(registry_server: RegistryServer, tmp_path: Path) -> None:  # noqa: F811
    values = {**login(registry_server), "bundles": [str(tmp_path)], "dest": str(tmp_path / "site.json")}
    assert "there is no lock" in run_module(inventory_export.main, values)["msg"]
    bundle = make_bundle(tmp_path / "bundle")
    wrong = tmp_path / "wrong"
    wrong.write_text("no")
    nothing = run_module(inventory_export.main, {**values, "bundles": [], "locks_dir": str(tmp_path / "locks")})
    assert "locks holds no lock, so there is nothing to ask for; name a bundle" in nothing["msg"]
    refused = run_module(inventory_export.main, {**values, "bundles": [str(bundle)], "password_file": str(wrong)})
    assert refused["failed"]
    assert registry_server.endpoint in refused["msg"]
    (tmp_path / "file").write_text("")
    unwritable = {**values, "bundles": [str(bundle)], "dest": str(tmp_path / "file" / "site.json")}
    assert "name another file" in run_module(inventory_export.main, unwritable)["msg"]
