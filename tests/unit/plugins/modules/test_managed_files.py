# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import grp
import json
import os
import pwd
import stat
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.airgap.speech.plugins.modules import managed_files

OWNER = pwd.getpwuid(os.getuid()).pw_name
GROUP = grp.getgrgid(os.getgid()).gr_name
MARKER = "# Written by a test"
SECRET = "YWlyZ2FwOnBhc3N3b3Jk"


def run(capsys: pytest.CaptureFixture[str], check: bool = False, **arguments: Any) -> dict[str, Any]:
    for item in arguments["files"]:
        item.setdefault("owner", OWNER)
        item.setdefault("group", GROUP)
    with (
        patch_module_args({**arguments, "_ansible_check_mode": check, "_ansible_diff": True}),
        pytest.raises(SystemExit),
    ):
        managed_files.main()
    out = capsys.readouterr().out
    result: dict[str, Any] = json.loads(out)
    result["raw"] = out
    return result


@pytest.fixture
def hosts(tmp_path: Path) -> dict[str, Any]:
    text = f'{MARKER}\nAuthorization = ["Basic @@credentials@@"]\n'
    return {
        "files": [
            {"path": str(tmp_path / "certs.d" / "quay.io" / "hosts.toml"), "content": text, "mode": "0600"},
            {"path": str(tmp_path / "certs.d" / "ca.crt"), "content": "certificate\n"},
        ],
        "secrets": {"credentials": SECRET},
        "prune_directory": str(tmp_path / "certs.d"),
        "prune_marker": MARKER,
    }


def test_writes_once_with_rights(tmp_path: Path, hosts: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    planned = run(capsys, check=True, **hosts)
    assert planned["changed"] and not (tmp_path / "certs.d").exists()
    first = run(capsys, **hosts)
    assert first["changed_files"] == planned["changed_files"] == [item["path"] for item in hosts["files"]]
    assert first["diff"] == planned["diff"]
    path = Path(hosts["files"][0]["path"])
    assert path.read_text() == f'{MARKER}\nAuthorization = ["Basic {SECRET}"]\n'
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(Path(hosts["files"][1]["path"]).stat().st_mode) == 0o644
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o755
    second = run(capsys, **hosts)
    assert not second["changed"] and second["diff"] == []
    assert [name for name in os.listdir(path.parent) if name.startswith(".")] == []
    for result in [planned, first, second]:
        assert SECRET not in result["raw"]
    assert "Basic @@credentials@@" in first["diff"][0]["after"]


def test_another_secret_shows_neither(hosts: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, **hosts)
    result = run(capsys, **{**hosts, "secrets": {"credentials": "bmV3IHNlY3JldA=="}})
    assert result["changed_files"] == [hosts["files"][0]["path"]]
    assert "Basic (another credentials)" in result["diff"][0]["before"]
    assert SECRET not in result["raw"] and "bmV3IHNlY3JldA==" not in result["raw"]


def test_a_file_of_another_shape_is_not_shown(hosts: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(hosts["files"][0]["path"])
    path.parent.mkdir(parents=True)
    path.write_text(f'[host."https://old"]\nheader = "{SECRET}x"\n')
    result = run(capsys, check=True, **hosts)
    assert result["diff"][0]["before"].count("(a line that is not shown") == 2
    assert "https://old" not in result["raw"]


def test_another_line_beside_a_secret(hosts: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, **hosts)
    hosts["files"][0]["content"] += "override_path = true\n"
    result = run(capsys, **hosts)
    assert result["diff"][0]["before"].splitlines()[1:] == [MARKER, 'Authorization = ["Basic @@credentials@@"]']
    hosts["files"][0]["content"] = hosts["files"][0]["content"].replace("override_path = true\n", "")
    result = run(capsys, **hosts)
    assert "override_path" not in result["diff"][0]["before"]
    assert SECRET not in result["raw"]


def test_rights_alone(hosts: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, **hosts)
    path = Path(hosts["files"][0]["path"])
    path.chmod(0o644)
    result = run(capsys, **hosts)
    assert result["changed_files"] == [str(path)]
    assert result["diff"][0]["before"].startswith(f"# {OWNER}:{GROUP} 0644\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_prunes_what_it_wrote_and_nothing_else(
    tmp_path: Path, hosts: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, **hosts)
    folder = tmp_path / "certs.d"
    for name, text in [("old.io", f"{MARKER}\nx\n"), ("theirs.io", "server = 'x'\n"), ("mixed.io", f"{MARKER}\n")]:
        (folder / name).mkdir()
        (folder / name / "hosts.toml").write_text(text)
    (folder / "mixed.io" / "client.key").write_text("theirs")
    gone = [str(folder / "mixed.io" / "hosts.toml"), str(folder / "old.io" / "hosts.toml")]
    assert run(capsys, check=True, **hosts)["removed_files"] == gone
    result = run(capsys, **hosts)
    assert result["changed"] and result["removed_files"] == gone and result["changed_files"] == []
    assert sorted(os.listdir(folder)) == ["ca.crt", "mixed.io", "quay.io", "theirs.io"]
    assert not run(capsys, **hosts)["changed"]


def test_absent_takes_all_back(tmp_path: Path, hosts: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, **hosts)
    arguments = {**hosts, "files": hosts["files"][1:], "state": "absent"}
    assert len(run(capsys, check=True, **arguments)["removed_files"]) == 2
    assert run(capsys, **arguments)["changed"]
    assert os.listdir(tmp_path / "certs.d") == []
    assert not run(capsys, **arguments)["changed"]


def test_absent_leaves_directories_of_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [{"path": str(tmp_path / "anchors" / "ca.crt"), "content": "x"}]
    run(capsys, files=files)
    assert run(capsys, files=files, state="absent")["removed_files"] == [files[0]["path"]]
    assert (tmp_path / "anchors").is_dir()


def test_check_mode_for_a_user_that_is_not_made_yet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [{"path": str(tmp_path / "a"), "content": "x", "owner": "nobody-yet", "group": "nobody-yet"}]
    assert run(capsys, check=True, files=files)["changed"]
    assert "there is no user nobody-yet; make it first" in run(capsys, files=files)["msg"]


def test_refusals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "a")
    assert (
        "names the secret key, which is not given" in run(capsys, files=[{"path": path, "content": "@@key@@"}])["msg"]
    )
    assert not Path(path).exists()
    assert "not a regular file" in run(capsys, files=[{"path": str(tmp_path)}])["msg"]
    assert "octal digits" in run(capsys, files=[{"path": path, "mode": "u=rw"}])["msg"]
    assert "listed twice" in run(capsys, files=[{"path": path}, {"path": path}])["msg"]


def test_an_empty_owner_is_the_user_that_runs_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "reports" / "report.json"
    item = {"path": str(path), "content": "{}\n", "mode": "0600", "owner": "", "group": ""}
    first = run(capsys, files=[dict(item)], directory_mode="0700")
    assert first["changed"] and stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert (path.stat().st_uid, path.stat().st_gid) == (os.geteuid(), os.getegid())
    assert not run(capsys, files=[dict(item)])["changed"]
