# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable

import pytest

from ansible_collections.airgap.speech.plugins.module_utils.bundle.lock import (
    Blob,
    Chart,
    File,
    Image,
    Lock,
    LockError,
    Model,
    ModelFile,
    Omitted,
    Reason,
    Release,
    dump,
    load,
    parse,
)

A, B, C, D = ("sha256:" + letter * 64 for letter in "abcd")


def lock() -> Lock:
    return Lock(
        created="2026-11-21T12:00:00Z",
        collection_version="0.1.0",
        releases=[Release("open_speech", "speech", "speech", "charts/open-speech:0.1.0")],
        images=[
            Image("quay.io/z/z:1", B, 7, ["linux/amd64"], [Reason("release b"), Reason("release a", "Pod", "x")]),
            Image("quay.io/a/a:1", A, 5, ["linux/arm64", "linux/amd64"]),
        ],
        charts=[Chart("charts/open-speech:0.1.0", "open-speech", "0.1.0", C, 3)],
        models=[Model("models/m:1", "m", "1", A, 5, [ModelFile("b", B, 7), ModelFile("a", A, 5)])],
        blobs=[Blob(C, 3), Blob(A, 5), Blob(B, 7)],
        files=[File("setup.sh", A, 5, "setup", "s"), File("files/tools/helm", B, 7, "tool", "t")],
    )


def test_one_form() -> None:
    data = dump(lock())
    assert data == dump(parse(data))
    tree = json.loads(data)
    assert data.decode() == json.dumps(tree, indent=2, sort_keys=True) + "\n"
    assert [image["reference"] for image in tree["images"]] == ["quay.io/a/a:1", "quay.io/z/z:1"]
    assert tree["images"][0]["platforms"] == ["linux/amd64", "linux/arm64"]
    assert [reason["source"] for reason in tree["images"][1]["reasons"]] == ["release a", "release b"]
    assert [blob["digest"] for blob in tree["blobs"]] == [A, B, C]
    assert [file["path"] for file in tree["files"]] == ["files/tools/helm", "setup.sh"]
    assert [file["path"] for file in tree["models"][0]["files"]] == ["a", "b"]
    assert tree["schema"] == "airgap.speech/lock/v1"


def test_counts_and_paths() -> None:
    assert lock().size == 3 + 5 + 7 + 5 + 7
    assert lock().paths()["oci/blobs/sha256/" + "a" * 64] == (A, 5)
    assert lock().paths()["setup.sh"] == (A, 5)
    assert lock().digests()["models/m:1"] == A


def test_what_the_site_has_is_listed_and_not_carried() -> None:
    assert b"omitted" not in dump(lock())
    delta = replace(lock(), omitted=[Omitted(D, 9, ["b/b", "a/a"])])
    data = dump(delta)
    assert json.loads(data)["omitted"] == [{"digest": D, "size": 9, "repositories": ["a/a", "b/b"]}]
    assert dump(parse(data)) == data
    assert delta.size == lock().size
    assert not [path for path in delta.paths() if path.endswith("d" * 64)]


def _set(*path: Any) -> Callable[[dict[str, Any]], None]:
    *way, last, value = path

    def change(tree: dict[str, Any]) -> None:
        node: Any = tree
        for step in way:
            node = node[step]
        node[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set("schema", "airgap.speech/lock/v2"), "reads airgap.speech/lock/v1; use the collection"),
        (_set("created", "yesterday"), "is no UTC time"),
        (_set("images", 0, "digest", "sha512:" + "a" * 128), "is no sha256 digest"),
        (_set("images", 0, "digest", A + "\n"), "is no sha256 digest"),
        (_set("blobs", 0, "size", -1), "size is missing or no count of bytes"),
        (_set("blobs", 0, "size", True), "size is missing or no count of bytes"),
        (_set("files", 0, "path", "../etc/passwd"), "does not stay below"),
        (_set("files", 0, "path", "/etc/passwd"), "does not stay below"),
        (_set("files", 0, "path", "a//b"), "does not stay below"),
        (_set("files", 0, "path", "bundle.lock.json"), "cannot list itself"),
        (_set("files", 0, "kind", "virus"), "is none of tool"),
        (_set("models", 0, "files", 0, "path", "../m"), "does not stay below"),
        (_set("images", "none"), "images is missing or no list"),
        (_set("images", 0, "reasons", [{"source": "x"}]), "kind is missing or no text"),
        (_set("blobs", []), "is not among the blobs"),
        (_set("blobs", 1, "digest", A), "a digest is listed twice"),
        (_set("omitted", [{"digest": A, "size": 5, "repositories": []}]), f"omitted: {A} is among the blobs"),
        (_set("omitted", [{"digest": D, "size": 5, "repositories": []}] * 2), "omitted: a digest is listed twice"),
        (_set("omitted", [{"digest": D, "size": 5, "repositories": "x"}]), "repositories is no list of texts"),
    ],
)
def test_refused(change: Callable[[dict[str, Any]], None], message: str) -> None:
    tree = json.loads(dump(lock()))
    change(tree)
    with pytest.raises(LockError, match=message):
        parse(json.dumps(tree).encode())


def test_no_lock(tmp_path: Path) -> None:
    with pytest.raises(LockError, match=r"bundle\.lock\.json: there is no lock"):
        load(str(tmp_path))
    (tmp_path / "bundle.lock.json").write_text("{")
    with pytest.raises(LockError, match=r"is not JSON"):
        load(str(tmp_path))
    (tmp_path / "bundle.lock.json").write_bytes(dump(lock()))
    assert load(str(tmp_path)) == parse(dump(lock()))
