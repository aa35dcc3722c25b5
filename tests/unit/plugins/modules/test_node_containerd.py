# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was on a host is kept once, and given back."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.airgap.speech.plugins.modules import managed_files, node_containerd, node_originals
from sandbox.build import tool_dir
from tests.unit.plugins.modules.run_module import run_module

MARKER = "# ours"
CONFIG = 'version = 2\n[plugins."io.containerd.grpc.v1.cri"]\n  sandbox_image = "own:1"\n  # password = "p"\n'


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    found = {name: tmp_path / name / "hosts.toml" for name in ("site", "new", "mine")}
    for path in found.values():
        path.parent.mkdir()
    found["site"].write_text("the site's\n")
    found["site"].chmod(0o640)
    found["mine"].write_text(f"{MARKER}\nold\n")
    return found


def write(tmp_path: Path, files: dict[str, Path], **how: bool) -> dict[str, Any]:
    wanted = [
        {"path": str(path), "content": f"{MARKER}\nreplaced\n", "mode": "0600", "owner": "", "group": ""}
        for path in files.values()
    ]
    # One that has a name of ours and no marker: nothing of its place is kept.
    wanted.append({"path": str(tmp_path / "ca.crt"), "content": "certificate\n", "owner": "", "group": ""})
    where = {"prune_directory": str(tmp_path / "hosts"), "prune_marker": MARKER}
    values = {"files": wanted, **where, "originals_directory": str(tmp_path / "kept")}
    return run_module(managed_files.main, values, **how)


def give_back(tmp_path: Path, **how: bool) -> dict[str, Any]:
    return run_module(node_originals.main, {"directory": str(tmp_path / "kept"), "marker": MARKER}, **how)


def test_files_of_the_site_are_kept_and_given_back(tmp_path: Path, files: dict[str, Path]) -> None:
    (tmp_path / "ca.crt").write_text("another\n")
    predicted = write(tmp_path, files, check=True, diff=True)
    assert predicted["kept_files"] == [str(files["site"])] and not (tmp_path / "kept").exists()
    assert f"{files['site']}: kept in {tmp_path / 'kept'}\n" in [entry.get("prepared") for entry in predicted["diff"]]
    assert write(tmp_path, files)["kept_files"] == [str(files["site"])]
    assert write(tmp_path, files)["changed"] is False
    assert oct((tmp_path / "kept").stat().st_mode & 0o777) == "0o700"
    assert files["site"].read_text() == f"{MARKER}\nreplaced\n"
    assert give_back(tmp_path, check=True)["files"] == [str(files["site"])]
    said = give_back(tmp_path, diff=True)
    assert said["files"] == [str(files["site"])] and "the site" not in str(said["diff"])
    assert files["site"].read_text() == "the site's\n"
    assert oct(files["site"].stat().st_mode & 0o777) == "0o640"
    assert not (tmp_path / "kept").exists()
    assert give_back(tmp_path)["changed"] is False


def test_a_file_is_kept_once(tmp_path: Path, files: dict[str, Path]) -> None:
    write(tmp_path, files)
    files["site"].write_text("written by somebody else\n")
    assert write(tmp_path, files)["kept_files"] == []
    give_back(tmp_path)
    assert files["site"].read_text() == "the site's\n"


def test_what_stands_there_again_is_left(tmp_path: Path, files: dict[str, Path]) -> None:
    write(tmp_path, files)
    files["site"].write_text("written by somebody else\n")
    said = give_back(tmp_path)
    assert said["occupied"] == [str(files["site"])] and said["changed"] is False
    assert files["site"].read_text() == "written by somebody else\n"


def test_a_record_that_is_torn_is_named(tmp_path: Path, files: dict[str, Path]) -> None:
    write(tmp_path, files)
    (tmp_path / "kept" / "record.json").write_text("{")
    for said in (write(tmp_path, files), give_back(tmp_path)):
        assert said["failed"] and "by hand, then remove it" in said["msg"]


class Node:
    """containerd's config in a directory, and the module run on it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.config = folder, folder / "config.toml"

    def run(self, state: str = "present", **more: Any) -> dict[str, Any]:
        how = {name: more.pop(name) for name in ("check", "diff") if name in more}
        values = {
            "config": str(self.config),
            "program": str(tool_dir("containerd") / "containerd"),
            "originals_dir": str(self.folder / "kept"),
            "state": state,
            **more,
        }
        return run_module(node_containerd.main, values, **how)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_a_config_is_set_and_given_back(node: Node) -> None:
    node.config.write_text(CONFIG)
    node.config.chmod(0o600)
    predicted = node.run(check=True, diff=True)
    assert predicted["changed_files"] == [str(node.config)] and node.config.read_text() == CONFIG
    shown = predicted["diff"][0]["prepared"]
    assert '+  config_path = "/etc/containerd/certs.d"' in shown and "password" not in shown
    done = node.run()
    assert done["sync_fs"] is True and Path(done["backups"][str(node.config)]).read_text() == CONFIG
    assert oct(node.config.stat().st_mode & 0o777) == "0o600"
    assert node.run()["changed"] is False
    assert node.run("absent", check=True)["changed_files"] == [str(node.config)]
    assert node.run("absent")["changed_files"] == [str(node.config)]
    assert node.config.read_text() == CONFIG and os.listdir(node.folder) == ["config.toml"]
    assert node.run("absent")["changed"] is False


def test_a_config_that_was_not_there_goes_again(node: Node) -> None:
    assert node.run()["changed"] is True
    assert "version = 3" in node.config.read_text()
    assert node.run("absent")["changed"] is True
    assert not node.config.exists()


def test_a_config_that_others_changed_stays(node: Node) -> None:
    node.config.write_text(CONFIG)
    node.run()
    changed = node.config.read_text() + "# by the site\n"
    node.config.write_text(changed)
    said = node.run("absent")
    assert said["kept"] == [str(node.config)] and "was changed after us" in said["notes"][0]
    assert node.config.read_text() == changed


def test_the_last_change_alone_is_taken_back(node: Node) -> None:
    node.config.write_text(CONFIG)
    node.run(sync_fs=False)
    first = node.config.read_text()
    node.run()
    assert node.config.read_text() != first
    assert node.run("undone")["changed_files"] == [str(node.config)]
    assert node.config.read_text() == first
    assert node.run("absent")["changed"] is True
    assert node.config.read_text() == CONFIG
    node.run()
    node.run("undone")
    assert node.config.read_text() == CONFIG and os.listdir(node.folder) == ["config.toml"]


def test_an_error_names_the_file(node: Node) -> None:
    node.config.write_text("version = 2\nnonsense\n")
    said = node.run()
    assert said["failed"] and "config.toml" in said["msg"] and "correct the configuration first" in said["msg"]
