# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module model_preload, run as Ansible runs it, against the real registry."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import Layout
from ansible_collections.airgap.speech.plugins.module_utils.oci.registry import Registry
from ansible_collections.airgap.speech.plugins.module_utils.oci.transfer import PushItem, plan_push, push
from ansible_collections.airgap.speech.plugins.modules import model_preload
from tests.unit.plugins.module_utils.oci.samples import add_model, noise
from tests.unit.plugins.modules.run_module import run_module
from tests.unit.registry_server import RegistryServer, registry_server  # noqa: F401 - fixture

FILES = {"model.bin": noise("weights", 200_000), "config.json": b"{}"}


@pytest.fixture(name="values")
def some_values(registry_server: RegistryServer, tmp_path: Path) -> dict[str, Any]:  # noqa: F811
    """Arguments for a model that is in the registry."""
    layout = Layout(tmp_path / "oci")
    layout.create()
    digest = add_model(layout, FILES)
    registry = Registry(
        registry_server.endpoint,
        username=registry_server.username,
        password=registry_server.password,
        ca_file=str(registry_server.ca_file),
    )
    push(plan_push(layout, [PushItem(digest, "models/m", "1")], registry), registry)
    files = [
        {"path": path, "digest": "sha256:" + hashlib.sha256(data).hexdigest(), "size": len(data)}
        for path, data in FILES.items()
    ]
    return {
        "registry": registry_server.endpoint,
        "username": registry_server.username,
        "password": registry_server.password,
        "ca_pem": registry_server.ca_file.read_text(),
        "directory": str(tmp_path / "models"),
        "models": [{"name": "m", "version": "1", "digest": digest, "files": files}],
    }


def test_check_equals_done_and_again_is_nothing(values: dict[str, Any], registry_server: RegistryServer) -> None:  # noqa: F811
    guess = run_module(model_preload.main, values, check=True, diff=True)
    done = run_module(model_preload.main, values)
    assert guess["changed"] and done["changed"]
    assert guess["diff"] == done["diff"]
    assert (guess["files_written"], guess["bytes_written"]) == (2, 200_002)
    assert (done["files_written"], done["bytes_written"]) == (2, 200_002)
    digest = values["models"][0]["digest"]
    assert done["diff"] == {"before": "", "after": f"m {digest} (2 files, 200002 bytes written)\n"}
    assert (Path(values["directory"]) / "m/model.bin").read_bytes() == FILES["model.bin"]
    registry_server.stop()
    again = run_module(model_preload.main, values)
    assert not again["changed"]
    assert again["diff"]["before"] == again["diff"]["after"]


def test_check_before_there_is_a_registry(values: dict[str, Any], registry_server: RegistryServer) -> None:  # noqa: F811
    registry_server.stop()
    del values["password"], values["ca_pem"]
    values.update(password_file="/no/such/file", ca_file="/no/such/file")
    guess = run_module(model_preload.main, values, check=True)
    assert guess["bytes_written"] == 200_002
    assert "/no/such/file" in run_module(model_preload.main, values)["msg"]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"password": "wrong-word"}, "refused the login (user airgap-push, 401)"),
        ({"mode": "rw"}, "it is no octal number"),
        ({"models": [{"name": "../m", "version": "1", "digest": "sha256:" + "a" * 64}]}, "could leave its directory"),
        (
            {"models": [{"name": "m", "version": "1", "digest": "sha512:" + "a" * 64}]},
            "algorithm 'sha512' is not taken",
        ),
        ({"models": [{"name": "m", "version": "1", "digest": "sha256:" + "a" * 64}]}, "does not have it"),
    ],
)
def test_refusals(values: dict[str, Any], changes: dict[str, Any], text: str) -> None:
    refused = run_module(model_preload.main, {**values, **changes})
    assert refused["failed"]
    assert text in refused["msg"]
    assert "wrong-word" not in str(refused)
