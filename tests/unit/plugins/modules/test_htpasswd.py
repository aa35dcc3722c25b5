# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.airgap.speech.plugins.modules import htpasswd


def run(capsys: pytest.CaptureFixture[str], check: bool = False, **arguments: Any) -> dict[str, Any]:
    with (
        patch_module_args({**arguments, "_ansible_check_mode": check, "_ansible_diff": True}),
        pytest.raises(SystemExit),
    ):
        htpasswd.main()
    out = capsys.readouterr().out
    result: dict[str, Any] = json.loads(out)
    result["raw"] = out
    return result


@pytest.fixture
def users(tmp_path: Path) -> list[dict[str, str]]:
    (tmp_path / "push").write_text("push-password-0123456789\n")
    (tmp_path / "pull").write_text("pull-password-0123456789")
    return [
        {"username": "airgap-push", "password_file": str(tmp_path / "push")},
        {"username": "airgap-pull", "password_file": str(tmp_path / "pull")},
    ]


def entries(path: Path) -> dict[str, str]:
    return dict(line.split(":", 1) for line in path.read_text().splitlines())  # type: ignore[misc]


def test_writes_hashes_that_fit_and_keeps_them(
    tmp_path: Path, users: list[dict[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "users.htpasswd"
    first = run(capsys, path=str(path), users=users)
    assert first["changed"] and first["added"] == ["airgap-push", "airgap-pull"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    found = entries(path)
    assert list(found) == ["airgap-push", "airgap-pull"]
    assert bcrypt.checkpw(b"push-password-0123456789", found["airgap-push"].encode())
    assert bcrypt.checkpw(b"pull-password-0123456789", found["airgap-pull"].encode())
    assert all(hashed.startswith("$2b$05$") for hashed in found.values())
    second = run(capsys, path=str(path), users=users)
    assert not second["changed"] and entries(path) == found
    for value in [*found.values(), "push-password-0123456789", "pull-password-0123456789"]:
        assert value not in first["raw"] + second["raw"]


def test_changes_only_what_differs(
    tmp_path: Path, users: list[dict[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "users.htpasswd"
    run(capsys, path=str(path), users=users)
    before = entries(path)
    (tmp_path / "pull").write_text("another-password-0123456789")
    assert run(capsys, check=True, path=str(path), users=users)["updated"] == ["airgap-pull"]
    assert entries(path) == before
    result = run(capsys, path=str(path), users=users)
    assert result["updated"] == ["airgap-pull"] and result["added"] == []
    assert entries(path)["airgap-push"] == before["airgap-push"]
    assert bcrypt.checkpw(b"another-password-0123456789", entries(path)["airgap-pull"].encode())
    result = run(capsys, path=str(path), users=users[1:])
    assert result["removed"] == ["airgap-push"] and list(entries(path)) == ["airgap-pull"]
    assert run(capsys, path=str(path), users=users[1:], cost=6)["updated"] == ["airgap-pull"]
    assert not run(capsys, path=str(path), users=users[1:], cost=6)["changed"]


def test_replaces_what_is_no_bcrypt_hash(
    tmp_path: Path, users: list[dict[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "users.htpasswd"
    path.write_text("# a comment\nairgap-push:push-password-0123456789\nairgap-pull:$2y$05$broken\n")
    assert run(capsys, path=str(path), users=users)["updated"] == ["airgap-push", "airgap-pull"]
    assert not run(capsys, path=str(path), users=users)["changed"]


def test_check_mode_before_passwords_exist(
    tmp_path: Path, users: list[dict[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "push").unlink()
    path = tmp_path / "users.htpasswd"
    result = run(capsys, check=True, path=str(path), users=users)
    assert result["changed"] and result["added"] == ["airgap-push", "airgap-pull"]
    assert not path.exists()
    assert "push does not exist; make it first" in run(capsys, path=str(path), users=users)["msg"]


def test_refusals(tmp_path: Path, users: list[dict[str, str]], capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "users.htpasswd")
    (tmp_path / "push").write_text("x" * 73)
    assert "73 bytes and bcrypt looks at 72" in run(capsys, path=path, users=users)["msg"]
    for name in ["a:b", "#a", "a\nb", ""]:
        wrong = [{"username": name, "password_file": str(tmp_path / "pull")}]
        assert "cannot stand in an htpasswd file" in run(capsys, path=path, users=wrong)["msg"]
    assert "listed twice" in run(capsys, path=path, users=[users[1], users[1]])["msg"]
    assert "out of range" in run(capsys, path=path, users=users, cost=3)["msg"]
