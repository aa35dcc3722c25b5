# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bundle is read where it lies: out of one directory, or out of parts in several, some of which may be absent."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable

import pytest

from ansible_collections.airgap.speech.plugins.module_utils.bundle.lock import LOCK_NAME, LockError, Omitted, dump, load
from ansible_collections.airgap.speech.plugins.module_utils.bundle.parts import (
    LIST_NAME,
    PartList,
    PartsError,
    check_list,
    dump_list,
    open_bundle,
    parse_list,
    verify_opened,
)
from ansible_collections.airgap.speech.plugins.module_utils.bundle.verify import BundleError
from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import Layout, LayoutError
from tests.unit.plugins.module_utils.bundle.parts_samples import contents, make_bundle, split


@pytest.fixture(name="bundle", scope="module")
def a_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("whole") / "bundle")


@pytest.fixture(name="parts")
def all_parts(bundle: Path, tmp_path: Path) -> Path:
    split(bundle, tmp_path / "parts")
    return tmp_path / "parts"


def media_of(parts: Path, root: Path) -> list[Path]:
    """One directory a part, each with what travels beside it."""
    media = []
    for number, part in enumerate(sorted(parts.glob("*.tar")), start=1):
        medium = root / f"medium{number}"
        medium.mkdir(parents=True)
        for path in parts.iterdir():
            if path == part or path.suffix != ".tar":
                shutil.copy2(path, medium)
        media.append(medium)
    return media


def the_large(bundle: Path) -> str:
    return "sha256:" + max((bundle / "oci/blobs/sha256").iterdir(), key=lambda path: path.stat().st_size).name


def test_all_parts_hold_every_blob(bundle: Path, parts: Path) -> None:
    whole, opened = open_bundle([str(bundle)]), open_bundle([str(parts)])
    assert not whole.layout.is_split
    assert opened.layout.is_split
    assert opened.lock == whole.lock
    assert opened.wanted() == ()
    for blob in opened.lock.blobs:
        assert opened.layout.size_of(blob.digest) == blob.size
        assert opened.layout.wanted(blob.digest) == ()
        with opened.layout.open(blob.digest) as stream:
            assert "sha256:" + hashlib.sha256(stream.readall()).hexdigest() == blob.digest
        assert {e.path.suffix for e in opened.layout.extents(blob.digest)} == {".tar"}
    for digest in opened.lock.digests().values():
        assert list(opened.layout.walk(digest)) == list(whole.layout.walk(digest))
        assert opened.layout.read_bytes(digest) == whole.layout.read_bytes(digest)
    large = the_large(bundle)
    extents = opened.layout.extents(large)
    assert len(extents) > 2
    data = whole.layout.blob_path(large).read_bytes()
    for start in (0, 1, extents[0].size - 1, extents[0].size, extents[0].size + 1, len(data) - 1, len(data)):
        read = b"".join(
            extent.path.read_bytes()[extent.offset : extent.offset + extent.size]
            for extent in opened.layout.extents_from(large, start)
        )
        assert read == data[start:]
    with pytest.raises(LayoutError, match="it lies in parts, not in a file of its own"):
        opened.layout.blob_path(large)


def test_any_one_part_knows_all_images(bundle: Path, parts: Path, tmp_path: Path) -> None:
    whole = open_bundle([str(bundle)])
    large = the_large(bundle)
    media = media_of(parts, tmp_path / "media")
    reached: set[str] = set()
    for number, medium in enumerate(media, start=1):
        opened = open_bundle([str(medium)])
        assert opened.wanted() == tuple(f"bundle.part{n:03d}.tar" for n in range(1, len(media) + 1) if n != number)
        for digest in opened.lock.digests().values():
            assert list(opened.layout.walk(digest)) == list(whole.layout.walk(digest))
        for blob in opened.lock.blobs:
            wanted = opened.layout.wanted(blob.digest)
            if wanted:
                with pytest.raises(LayoutError, match=rf"{blob.digest}.*{wanted[0]}.* is not at hand; bring it"):
                    opened.layout.extents(blob.digest)
            else:
                reached.add(blob.digest)
        assert opened.layout.wanted(large)
    # Every other blob is whole in some part; the one that is cut needs several.
    assert reached == {blob.digest for blob in whole.lock.blobs} - {large}
    several = open_bundle([str(medium) for medium in media])
    assert several.wanted() == ()
    with several.layout.open(large) as stream:
        assert stream.readall() == whole.layout.blob_path(large).read_bytes()


def test_a_cut_blob_is_read_as_far_as_its_parts_are_at_hand(bundle: Path, parts: Path, tmp_path: Path) -> None:
    large = the_large(bundle)
    data = Layout(bundle / "oci").blob_path(large).read_bytes()
    every = open_bundle([str(parts)]).layout.extents(large)
    holders = [extent.path.name for extent in every]
    media = {next(medium.glob("*.tar")).name: medium for medium in media_of(parts, tmp_path / "media")}
    second = open_bundle([str(media[holders[1]])]).layout
    assert second.wanted(large) == tuple(name for name in holders if name != holders[1])
    assert second.extents_from(large, 0) == ()
    after = every[0].size
    (extent,) = second.extents_from(large, after + 10)
    assert (
        extent.path.read_bytes()[extent.offset : extent.offset + extent.size]
        == data[after + 10 : after + every[1].size]
    )
    assert second.extents_from(large, after + every[1].size) == ()


def test_files_are_taken_from_the_first_part(bundle: Path, parts: Path, tmp_path: Path) -> None:
    media = media_of(parts, tmp_path / "media")
    for opened in (open_bundle([str(bundle)]), open_bundle([str(media[0])])):
        target = tmp_path / "out" / "helm"
        opened.take("files/tools/helm", str(target), 0o755)
        assert target.read_bytes() == (bundle / "files/tools/helm").read_bytes()
        assert os.access(target, os.X_OK)
        with pytest.raises(PartsError, match="files/tools/none: is not in the lock"):
            opened.take("files/tools/none", str(target))
    with pytest.raises(PartsError, match=r"files/tools/helm: part 1 of \d+ \(bundle.part001.tar\) is not at hand"):
        open_bundle([str(media[1])]).take("files/tools/helm", str(tmp_path / "never"))
    assert not (tmp_path / "never").exists()
    flip(next(media[0].glob("*.tar")), bundle / "files/tools/helm")
    with pytest.raises(PartsError, match=r"files/tools/helm in part 1 of \d+ .*: sha256 differs; copy that again"):
        open_bundle([str(media[0])]).take("files/tools/helm", str(tmp_path / "never"))
    assert not list(tmp_path.glob("*never*"))


def flip(part: Path, inside: Path) -> None:
    """Another byte in the middle of a file in a part."""
    data, content = bytearray(part.read_bytes()), inside.read_bytes()
    data[data.index(content) + len(content) // 2] ^= 1
    part.write_bytes(bytes(data))


def test_verify_names_the_part(parts: Path) -> None:
    opened = open_bundle([str(parts)])
    seen: list[tuple[int, int]] = []
    assert opened.shelf is not None
    count = len(opened.shelf.parts.parts)
    total = sum(part.size for part in opened.shelf.parts.parts)
    assert verify_opened(opened, 2, lambda done, of: seen.append((done, of))) == total
    assert seen[-1] == (total, total)
    third = parts / "bundle.part003.tar"
    good = third.read_bytes()
    data = bytearray(good)
    data[len(data) // 3] ^= 1
    third.write_bytes(bytes(data))
    with pytest.raises(BundleError) as caught:
        verify_opened(open_bundle([str(parts)]))
    assert caught.value.problems == [f"part 3 of {count} (bundle.part003.tar): sha256 differs; copy that part again"]
    third.write_bytes(good[:-512])
    with pytest.raises(BundleError) as caught:
        verify_opened(open_bundle([str(parts)]))
    assert caught.value.problems == [
        f"part 3 of {count} (bundle.part003.tar): has {len(good) - 512} bytes, expected {len(good)}; "
        "copy that part again"
    ]
    third.unlink()
    absent = open_bundle([str(parts)])
    assert absent.wanted() == ("bundle.part003.tar",)
    assert verify_opened(absent) == total - len(good)
    empty_drive = open_bundle([str(parts.parent / "nothing-mounted"), str(parts)])
    assert empty_drive.wanted() == ("bundle.part003.tar",)
    assert verify_opened(empty_drive) == total - len(good)


def test_verify_sees_what_does_not_belong(parts: Path) -> None:
    (parts / "bundle.part077.tar").write_bytes(b"of another bundle")
    (parts / "setup.sh").write_text("#!/bin/sh\nrm -rf /\n")
    with pytest.raises(BundleError) as caught:
        verify_opened(open_bundle([str(parts)]))
    assert [problem.split(": ", 1)[1] for problem in caught.value.problems] == [
        "is no part of this bundle; remove it",
        "sha256 differs; copy it again from another medium",
    ]


def test_read_only_media_are_only_read(parts: Path, bundle: Path, tmp_path: Path) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in parts.iterdir()}
    for path in parts.iterdir():
        path.chmod(0o444)
    parts.chmod(0o555)
    try:
        opened = open_bundle([str(parts)])
        verify_opened(opened)
        opened.take("files/tools/helm", str(tmp_path / "helm"))
        with opened.layout.open(the_large(bundle)) as stream:
            stream.readall()
    finally:
        parts.chmod(0o755)
    assert {path.name: path.stat().st_mtime_ns for path in parts.iterdir()} == before


def test_media_of_two_bundles_are_told_apart(parts: Path, tmp_path: Path) -> None:
    other = make_bundle(tmp_path / "other", version="2")
    split(other, tmp_path / "parts2")
    with pytest.raises(PartsError, match=r"parts2/bundle\.lock\.json: differs from .*parts of two bundles"):
        open_bundle([str(parts), str(tmp_path / "parts2")])
    shutil.copy(tmp_path / "parts2" / LIST_NAME, parts / LIST_NAME)
    with pytest.raises(PartsError, match=r"belongs to the lock sha256.*; copy both from one bundle"):
        open_bundle([str(parts)])
    shutil.copy(tmp_path / "parts2" / LOCK_NAME, parts / LOCK_NAME)
    with pytest.raises(BundleError, match=r"part 1 of \d+ \(bundle.part001.tar\): .*copy that part again"):
        verify_opened(open_bundle([str(parts)]))


def test_what_lacks_is_named(parts: Path, bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(PartsError, match="no directory is given; set airgap_bundle"):
        open_bundle([])
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(LockError, match="there is no lock"):
        open_bundle([str(empty)])
    with pytest.raises(PartsError, match="a bundle that is not split lies in one directory"):
        open_bundle([str(bundle), str(empty)])
    (parts / LIST_NAME).unlink()
    with pytest.raises(PartsError, match=r"bundle\.parts\.json: is missing; copy it and its signature"):
        open_bundle([str(parts)])


def test_the_list_is_read_as_it_was_written(parts: Path) -> None:
    data = (parts / LIST_NAME).read_bytes()
    assert dump_list(parse_list(data)) == data


def _drop_entry(tree: dict[str, Any]) -> None:
    tree["parts"][-1]["entries"].pop()


def _other_path(tree: dict[str, Any]) -> None:
    tree["parts"][0]["entries"][0]["path"] = "../../etc/passwd"


def _overlap(tree: dict[str, Any]) -> None:
    entry = next(entry for part in tree["parts"] for entry in part["entries"] if entry["start"])
    entry["start"] -= 512


def _outside(tree: dict[str, Any]) -> None:
    tree["parts"][0]["entries"][0]["offset"] = tree["parts"][0]["size"]


def _name(tree: dict[str, Any]) -> None:
    tree["parts"][0]["name"] = "../bundle.part001.tar"


def _number(tree: dict[str, Any]) -> None:
    tree["parts"][0]["number"] = 2


def _negative(tree: dict[str, Any]) -> None:
    tree["parts"][0]["entries"][0]["offset"] = -1


def _schema(tree: dict[str, Any]) -> None:
    tree["schema"] = "airgap.speech/parts/v9"


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (_drop_entry, "is not whole in the parts"),
        (_other_path, "which the lock does not"),
        (_overlap, "is not whole in the parts"),
        (_outside, "lies outside of part 1"),
        (_name, "part 1 has no name"),
        (_number, "part 1 is missing"),
        (_negative, "is no count of bytes"),
        (_schema, "has schema 'airgap.speech/parts/v9', this version reads"),
        (lambda tree: tree.update(parts=[]), "it has no parts"),
        (lambda tree: tree.update(lock="md5:1"), "no digest of a lock"),
    ],
)
def test_a_list_that_is_wrong_is_refused(parts: Path, change: Callable[[dict[str, Any]], None], cause: str) -> None:
    tree = json.loads((parts / LIST_NAME).read_bytes())
    change(tree)
    (parts / LIST_NAME).write_text(json.dumps(tree))
    with pytest.raises(PartsError, match=cause):
        open_bundle([str(parts)])


def test_a_list_that_is_not_json(parts: Path) -> None:
    (parts / LIST_NAME).write_bytes(b"\xff{")
    with pytest.raises(PartsError, match="is not JSON"):
        open_bundle([str(parts)])


def test_omitted_blobs_are_known_to_the_layout(bundle: Path, tmp_path: Path) -> None:
    lock = load(str(bundle))
    large = the_large(bundle)
    size = next(blob.size for blob in lock.blobs if blob.digest == large)
    delta = tmp_path / "delta"
    shutil.copytree(bundle, delta)
    (delta / "oci/blobs/sha256" / large[7:]).unlink()
    blobs = [blob for blob in lock.blobs if blob.digest != large]
    (delta / LOCK_NAME).write_bytes(
        dump(replace(lock, blobs=blobs, omitted=[Omitted(large, size, ["models/m", "models/n"])]))
    )
    split(delta, tmp_path / "parts")
    for path in (delta, tmp_path / "parts"):
        opened = open_bundle([str(path)])
        verify_opened(opened)
        assert opened.layout.omitted == {large: size}
        assert opened.layout.repositories_of(large) == ("models/m", "models/n")
        assert opened.layout.size_of(large) is None
        assert large in {each.digest for each in opened.layout.walk(lock.models[0].digest)}
    assert large[7:] not in "".join(contents(tmp_path / "parts", None)[LIST_NAME].decode())


def test_a_list_may_repeat_whole_files_only(bundle: Path, parts: Path) -> None:
    lock, listed = load(str(bundle)), parse_list((parts / LIST_NAME).read_bytes())
    check_list(listed, lock)
    first = next(entry for entry in listed.parts[0].entries if entry.path == "files/tools/helm")
    again = replace(listed.parts[1], entries=(*listed.parts[1].entries, first))
    check_list(PartList(listed.lock, listed.part_size, (listed.parts[0], again, *listed.parts[2:])), lock)
    half = replace(listed.parts[1], entries=(*listed.parts[1].entries, replace(first, size=first.size // 2)))
    with pytest.raises(PartsError, match="files/tools/helm is not whole"):
        check_list(PartList(listed.lock, listed.part_size, (listed.parts[0], half, *listed.parts[2:])), lock)
