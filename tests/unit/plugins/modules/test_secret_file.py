# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.airgap.speech.plugins.modules import secret_file


def run(capsys: pytest.CaptureFixture[str], check: bool = False, **arguments: Any) -> dict[str, Any]:
    with (
        patch_module_args({**arguments, "_ansible_check_mode": check, "_ansible_diff": True}),
        pytest.raises(SystemExit),
    ):
        secret_file.main()
    out = capsys.readouterr().out
    result: dict[str, Any] = json.loads(out)
    result["raw"] = out
    return result


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(
    ("kind", "length", "characters"),
    [("text", 40, 40), ("text", 16, 16), ("hex", 16, 32), ("base64", 32, 44)],
)
def test_makes_a_secret_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, length: int, characters: int
) -> None:
    path = tmp_path / "secrets" / "deep" / "password"
    first = run(capsys, path=[str(path)], kind=kind, length=length)
    value = path.read_text()
    assert first["changed"] and first["created"] == [str(path)]
    assert len(value) == characters
    assert mode(path) == 0o600
    assert mode(path.parent) == mode(path.parent.parent) == 0o700
    second = run(capsys, path=[str(path)], kind=kind, length=length)
    assert not second["changed"]
    assert path.read_text() == value
    assert value not in first["raw"] + second["raw"]


def test_two_secrets_differ_and_use_the_alphabet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [str(tmp_path / "a"), str(tmp_path / "b")]
    run(capsys, path=paths, alphabet="xyz", length=64)
    values = [Path(path).read_text() for path in paths]
    assert values[0] != values[1]
    assert set("".join(values)) == set("xyz")


def test_check_mode_tells_and_does_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "new" / "password"
    result = run(capsys, check=True, path=[str(path)])
    assert result["changed"] and result["created"] == [str(path)]
    assert not path.parent.exists()
    assert result["diff"]["before"] == f"{path}: absent\n"


def test_force_rotates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "password"
    run(capsys, path=[str(path)])
    old = path.read_text()
    assert run(capsys, check=True, path=[str(path)], force=True)["rotated"] == [str(path)]
    assert path.read_text() == old
    result = run(capsys, path=[str(path)], force=True)
    assert result["changed"] and path.read_text() != old
    assert old not in result["raw"] and path.read_text() not in result["raw"]


def test_keeps_a_given_secret_and_takes_rights_away(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "password"
    path.write_text("brought by the operator\n")
    path.chmod(0o644)
    assert run(capsys, check=True, path=[str(path)])["tightened"] == [str(path)]
    assert mode(path) == 0o644
    assert run(capsys, path=[str(path)])["changed"]
    assert mode(path) == 0o600
    assert path.read_text() == "brought by the operator\n"
    assert not run(capsys, path=[str(path)])["changed"]


def test_refusals_name_cause_and_next_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = tmp_path / "empty"
    empty.write_text("\n")
    assert "is empty; write the secret into it" in run(capsys, path=[str(empty)])["msg"]
    assert "not a regular file" in run(capsys, path=[str(tmp_path)])["msg"]
    assert "can be guessed; use 16 or more" in run(capsys, path=[str(tmp_path / "x")], length=15)["msg"]
    assert "fewer than two characters" in run(capsys, path=[str(tmp_path / "x")], alphabet="aaa")["msg"]
    open_to_all = tmp_path / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    assert "writable by everybody" in run(capsys, path=[str(open_to_all / "x")])["msg"]
    assert not (open_to_all / "x").exists()
