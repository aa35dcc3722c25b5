# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules bundle_info and bundle_file, run as Ansible runs them, over a whole bundle and over parts."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.airgap.speech.plugins.modules import bundle_file, bundle_info
from tests.unit.plugins.module_utils.bundle.parts_samples import contents, make_bundle, split
from tests.unit.plugins.module_utils.oci.samples import noise
from tests.unit.plugins.modules.run_module import run_module


@pytest.fixture(name="bundle", scope="module")
def a_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("whole")
    make_bundle(root / "bundle")
    split(root / "bundle", root / "parts")
    return root / "bundle"


def test_whole_and_any_part_answer_alike(bundle: Path, tmp_path: Path) -> None:
    whole = run_module(bundle_info.main, {"path": str(bundle)})
    assert not whole["changed"]
    assert whole["expiring"] == []
    assert whole["bundle"]["parts"] == []
    medium = tmp_path / "medium"
    medium.mkdir()
    for path in (bundle.parent / "parts").iterdir():
        if path.suffix != ".tar" or path.name == "bundle.part003.tar":
            shutil.copy(path, medium)
    part = run_module(bundle_info.main, {"path": [str(medium)]}, check=True)
    assert [each["at_hand"] for each in part["bundle"].pop("parts")][:4] == [False, False, True, False]
    assert part["bundle"] == {key: value for key, value in whole["bundle"].items() if key != "parts"}
    assert part["text"][:-1] == whole["text"]
    assert "not at hand: bundle.part001.tar, bundle.part002.tar, bundle.part004.tar" in part["text"][-1]


def test_why(bundle: Path) -> None:
    answer = run_module(bundle_info.main, {"path": str(bundle), "reference": "airgap/a"})
    assert answer["text"][0].startswith("quay.io/airgap/a:1 (image), ")
    assert answer["text"][2] == "  because: release speech: Deployment speech spec.template.spec.containers[0].image"
    nothing = run_module(bundle_info.main, {"path": str(bundle), "reference": "nginx"})
    assert nothing["text"] == ["nginx: nothing in the bundle is called so; the lock names 5 items"]


def test_query(bundle: Path) -> None:
    query = "sort(contents[?kind=='image'].reference)"
    answer = run_module(bundle_info.main, {"path": str(bundle), "query": query})
    images = [item["reference"] for item in answer["bundle"]["contents"] if item["kind"] == "image"]
    assert answer["matches"] == sorted(images) != []
    assert "matches" not in run_module(bundle_info.main, {"path": str(bundle)})


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("items[?", "query items[?: "),
        ("sort(created)", "query sort(created): In function sort(), invalid type for value"),
    ],
)
def test_wrong_query(bundle: Path, query: str, message: str) -> None:
    assert run_module(bundle_info.main, {"path": str(bundle), "query": query})["msg"].startswith(message)


def test_query_without_jmespath(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle_info, "HAS_JMESPATH", False)
    answer = run_module(bundle_info.main, {"path": str(bundle), "query": "items"})
    assert "(jmespath)" in answer["msg"] and "for query" in answer["msg"]


def test_no_bundle(tmp_path: Path) -> None:
    assert "there is no lock" in run_module(bundle_info.main, {"path": str(tmp_path)})["msg"]
    values = {"bundle": str(tmp_path), "path": "x", "dest": str(tmp_path / "x")}
    assert "there is no lock" in run_module(bundle_file.main, values)["msg"]


@pytest.mark.parametrize("where", ["bundle", "parts"])
def test_a_file_is_taken_out_once(bundle: Path, tmp_path: Path, where: str) -> None:
    dest = tmp_path / "bin" / "helm"
    values: dict[str, Any] = {
        "bundle": str(bundle.parent / where),
        "path": "files/tools/helm",
        "dest": str(dest),
        "mode": "0755",
    }
    guess = run_module(bundle_file.main, values, check=True)
    assert guess["changed"]
    assert not dest.exists()
    done = run_module(bundle_file.main, values, diff=True)
    assert done["changed"]
    assert done["diff"]["before"] == ""
    assert dest.read_bytes() == contents(bundle)["files/tools/helm"]
    assert os.access(dest, os.X_OK)
    before = dest.stat().st_mtime_ns
    assert not run_module(bundle_file.main, values)["changed"]
    dest.chmod(0o600)
    assert run_module(bundle_file.main, values)["changed"]
    assert (dest.stat().st_mtime_ns, dest.stat().st_mode & 0o777) == (before, 0o755)
    dest.write_bytes(b"other")
    assert run_module(bundle_file.main, values)["changed"]
    assert dest.read_bytes() == contents(bundle)["files/tools/helm"]


@pytest.mark.parametrize("medium", [1, 2, 3])
def test_any_part_has_the_charts(bundle: Path, tmp_path: Path, medium: int) -> None:
    for path in (bundle.parent / "parts").iterdir():
        if path.suffix != ".tar" or path.name == f"bundle.part{medium:03d}.tar":
            shutil.copy(path, tmp_path)
    dest = tmp_path / "chart.tgz"
    values = {"bundle": str(tmp_path), "chart": "charts/speech:0.1.0", "dest": str(dest), "in_place": True}
    assert run_module(bundle_file.main, values)["dest"] == str(dest)
    assert dest.read_bytes() == noise("chart", 700)


def test_what_was_taken_stays_good_while_its_part_is_away(bundle: Path, tmp_path: Path) -> None:
    dest = tmp_path / "helm"
    values = {"bundle": str(bundle.parent / "parts"), "path": "files/tools/helm", "dest": str(dest), "in_place": True}
    assert run_module(bundle_file.main, values)["changed"]
    second = tmp_path / "second"
    second.mkdir()
    for path in (bundle.parent / "parts").iterdir():
        if path.suffix != ".tar" or path.name == "bundle.part002.tar":
            shutil.copy(path, second)
    values["bundle"] = str(second)
    assert run_module(bundle_file.main, values)["changed"] is False
    dest.write_bytes(b"other")
    for check in (True, False):
        refused = run_module(bundle_file.main, values, check=check)
        assert "part 1 of" in refused["msg"]
        assert "is not at hand; bring it and run again" in refused["msg"]


def test_a_whole_bundle_is_used_in_place(bundle: Path, tmp_path: Path) -> None:
    dest = tmp_path / "never"
    values = {"bundle": str(bundle), "chart": "charts/speech:0.1.0", "dest": str(dest), "in_place": True}
    found = run_module(bundle_file.main, values)
    assert not found["changed"]
    assert Path(found["dest"]).read_bytes() == noise("chart", 700)
    assert not dest.exists()
    bad = tmp_path / "bad"
    shutil.copytree(bundle, bad)
    (bad / "files/tools/helm").write_bytes(b"x" * 60_000)
    values = {"bundle": str(bad), "path": "files/tools/helm", "dest": str(dest), "in_place": True}
    assert "files/tools/helm: sha256 differs; copy that file again" in run_module(bundle_file.main, values)["msg"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"path": "files/none"}, "files/none: is not in the lock"),
        ({"path": "", "chart": "charts/none:1"}, "charts/none:1: is not among the charts of"),
        ({"mode": "rwx"}, "is no octal number"),
        ({"dest": "{file}/x"}, "make room there, or name another place"),
    ],
)
def test_errors(bundle: Path, tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    (tmp_path / "file").write_text("")
    values = {"bundle": str(bundle), "path": "files/tools/helm", "dest": str(tmp_path / "x"), **changes}
    values["dest"] = values["dest"].replace("{file}", str(tmp_path / "file"))
    given = {key: value for key, value in values.items() if value}
    assert message in run_module(bundle_file.main, given)["msg"]
