# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module model_files against the real registry: a vendor's files become a model that can be placed."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.airgap.speech.plugins.modules import model_files, model_preload
from tests.unit.plugins.module_utils.oci.samples import noise
from tests.unit.plugins.modules.run_module import run_module
from tests.unit.registry_server import RegistryServer, registry_server  # noqa: F401 - fixture

FILES = {"nova.dg": noise("nova", 3_000_001), "sub/arpa.bin": noise("arpa", 512), "empty.txt": b""}


@pytest.fixture(name="values")
def some_values(registry_server: RegistryServer, tmp_path: Path) -> dict[str, Any]:  # noqa: F811
    """Arguments for files that lie on a drive, with the vendor's list."""
    drive = tmp_path / "drive"
    sums = []
    for path, data in FILES.items():
        (drive / path).parent.mkdir(parents=True, exist_ok=True)
        (drive / path).write_bytes(data)
        sums.append(f"{hashlib.sha256(data).hexdigest()}  ./{path}\n")
    (drive / "SHA256SUMS").write_text("# Nova\n" + "".join(sums))
    return {
        "registry": registry_server.endpoint,
        "username": registry_server.username,
        "password_file": str(registry_server.password_file),
        "ca_file": str(registry_server.ca_file),
        "name": "vendor/nova",
        "version": "3",
        "directory": str(drive),
        "digest_file": str(drive / "SHA256SUMS"),
    }


def test_files_become_a_model_that_is_placed(
    values: dict[str, Any],
    registry_server: RegistryServer,  # noqa: F811
    tmp_path: Path,
) -> None:
    guess = run_module(model_files.main, values, check=True, diff=True)
    assert guess["changed"] and guess["bytes_sent"] == 0
    done = run_module(model_files.main, values, diff=True)
    assert (done["model"], done["diff"]) == (guess["model"], guess["diff"])
    assert done["changed"] and done["bytes_sent"] > 3_000_000
    assert [file["path"] for file in done["model"]["files"]] == sorted(FILES)
    mark = len(registry_server.requests())
    again = run_module(model_files.main, values)
    assert not again["changed"]
    assert again["model"] == done["model"]
    assert len([one for one in registry_server.requests()[mark:] if "manifests/3" in one]) == 2
    assert len(registry_server.requests()) <= mark + 3, "a login and one manifest"
    login = {key: values[key] for key in ("registry", "username", "password_file", "ca_file")}
    placed = run_module(
        model_preload.main,
        {**login, "directory": str(tmp_path / "models"), "models": [done["model"]], "verify": "full"},
    )
    assert placed["files_written"] == 3
    for path, data in FILES.items():
        assert (tmp_path / "models/vendor/nova" / path).read_bytes() == data


def test_an_upload_that_was_begun_is_not_sent_twice(values: dict[str, Any]) -> None:
    done = run_module(model_files.main, values)
    other = run_module(model_files.main, {**values, "version": "4"})
    assert other["changed"] and done["model"]["digest"] != other["model"]["digest"]
    assert other["bytes_sent"] < 1000, "the layers are there; only the configuration is new"


@pytest.mark.parametrize(
    ("damage", "changes", "text"),
    [
        ("nova.dg", {}, "is 0000"),
        ("", {"digest_file": "/no/such/list"}, "digest file /no/such/list: it cannot be read"),
        ("", {"directory": "/no/such/drive"}, "cannot be read (No such file or directory); copy it there"),
        ("", {"version": "a/b"}, "has a slash in it"),
        ("", {"files": [{"path": "../x", "digest": "sha256:" + "a" * 64}]}, "could leave its directory"),
        ("", {"files": [{"path": "nova.dg", "digest": "sha1:aa"}]}, "'sha1' is not taken"),
        ("", {"files": []}, "it has no files"),
    ],
)
def test_refusals(
    values: dict[str, Any],
    registry_server: RegistryServer,  # noqa: F811
    damage: str,
    changes: dict[str, Any],
    text: str,
) -> None:
    if "files" in changes:
        del values["digest_file"]
    values.update(changes)
    if damage:
        path = Path(values["directory"], damage)
        path.write_bytes(path.read_bytes()[:-1] + b"\xff")
        text = f"sha256 of {path} (2.9 MiB) is {hashlib.sha256(path.read_bytes()).hexdigest()}, and the list has"
    refused = run_module(model_files.main, values)
    assert refused["failed"]
    assert text in refused["msg"]
    assert not [one for one in registry_server.requests() if one.startswith(("POST", "PUT"))], "nothing was sent"


def test_a_list_that_is_none_and_a_version_that_is_taken(values: dict[str, Any]) -> None:
    run_module(model_files.main, values)
    Path(values["directory"], "empty.txt").write_bytes(b"x")
    sums = Path(values["digest_file"])
    sums.write_text(sums.read_text().replace(hashlib.sha256(b"").hexdigest(), hashlib.sha256(b"x").hexdigest()))
    refused = run_module(model_files.main, values)
    assert "the registry holds other files under this version" in refused["msg"]
    sums.write_text("nova.dg\n")
    assert "SHA256SUMS, line 1: it is not as sha256sum writes it" in run_module(model_files.main, values)["msg"]
