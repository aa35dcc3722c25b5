# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts are planned from the lock, fit on their media, are plain tars, and are the same bytes each time."""

from __future__ import annotations

import hashlib
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.airgap.speech.plugins.module_utils.bundle import split as split_module
from ansible_collections.airgap.speech.plugins.module_utils.bundle.lock import Blob, Lock, load
from ansible_collections.airgap.speech.plugins.module_utils.bundle.parts import (
    COMPANIONS,
    LIST_NAME,
    PartsError,
    check_list,
    dump_list,
    parse_list,
)
from ansible_collections.airgap.speech.plugins.module_utils.bundle.split import (
    SIGNATURES,
    STATE_NAME,
    everywhere_of,
    manifests_of,
    parse_size,
    plan_parts,
)
from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import Layout
from tests.unit.plugins.module_utils.bundle.parts_samples import PART_SIZE, contents, make_bundle, split


@pytest.fixture(name="bundle", scope="module")
def a_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("whole") / "bundle")


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4.7G", 4_700_000_000),
        ("25 GB", 25_000_000_000),
        ("650Mi", 650 << 20),
        ("650 MiB", 650 << 20),
        ("1.5ki", 1536),
        ("700000", 700_000),
        ("0.1T", 100_000_000_000),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "0", "-1G", "4,7G", "4.7X", "G", "1e9", "0.0G"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(PartsError, match="is no size; write it as"):
        parse_size(text)


@pytest.mark.parametrize("part_size", [PART_SIZE, 300_000, 700_000, 10_000_000])
def test_every_medium_fits(bundle: Path, tmp_path: Path, part_size: int) -> None:
    made = split(bundle, tmp_path, part_size)
    lock = load(str(bundle))
    beside = sum((tmp_path / name).stat().st_size for name in COMPANIONS if (tmp_path / name).exists())
    for part in made.parts.parts:
        path = tmp_path / part.name
        assert path.stat().st_size == part.size
        assert path.stat().st_size + beside + SIGNATURES <= part_size
        assert "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest() == part.digest
    listed = parse_list((tmp_path / LIST_NAME).read_bytes())
    assert listed == made.parts
    check_list(listed, lock)
    # Nothing but manifests is there twice, and hardly any room is given away.
    payload = sum(part.size for part in made.parts.parts)
    assert payload < lock.size + len(made.parts.parts) * 40_000
    manifests = everywhere_of(lock, Layout(bundle / "oci"))
    assert len(manifests_of(lock, Layout(bundle / "oci"))) == 7
    # And the chart's layer and configuration.
    assert len(manifests) == 9
    for part in made.parts.parts:
        assert {f"oci/blobs/{digest.replace(':', '/')}" for digest in manifests} <= {e.path for e in part.entries}
    first = {entry.path for entry in made.parts.parts[0].entries}
    assert {item.path for item in lock.files} <= first


def test_what_this_run_hashed_before_makes_the_same_parts(bundle: Path, tmp_path: Path) -> None:
    plain = split(bundle, tmp_path / "plain")
    lock = load(str(bundle))
    blobs = [blob.digest for blob in lock.blobs]
    for name, seen in (("all", blobs), ("some", blobs[::2])):
        assert split(bundle, tmp_path / name, seen=seen).parts == plain.parts
        assert contents(tmp_path / name) == contents(tmp_path / "plain")
    # A middle piece of the file that is cut, alone.
    part = plain.parts.parts[2]
    (tmp_path / "all" / part.name).unlink()
    assert split(bundle, tmp_path / "all", only=[3], seen=blobs).written == [part.name]
    assert contents(tmp_path / "all") == contents(tmp_path / "plain")


def test_ordinary_tar_and_cat_give_the_bundle_back(bundle: Path, tmp_path: Path) -> None:
    made = split(bundle, tmp_path / "parts")
    assert len(made.parts.parts) > 3
    back = tmp_path / "back"
    back.mkdir()
    for name in made.written:
        subprocess.run(["tar", "-xf", str(tmp_path / "parts" / name), "-C", str(back)], check=True)
    blobs = back / "oci/blobs/sha256"
    cut = sorted(path for path in blobs.iterdir() if "." in path.name)
    assert len(cut) > 2
    assert len({path.name.split(".")[0] for path in cut}) == 1
    whole = blobs / cut[0].name.split(".")[0]
    whole.write_bytes(b"".join(path.read_bytes() for path in cut))
    for path in cut:
        path.unlink()
    expected = contents(bundle)
    expected.pop("bundle.lock.json")
    assert contents(back) == expected
    assert os.access(back / "setup.sh", os.X_OK)
    assert os.access(back / "files/tools/helm", os.X_OK)
    assert not os.access(back / "files/installer.pyz", os.X_OK)


def test_again_changes_nothing_and_anew_gives_the_same_bytes(bundle: Path, tmp_path: Path) -> None:
    assert split(bundle, tmp_path / "a", dry=True).changed
    assert not (tmp_path / "a").exists()
    first = split(bundle, tmp_path / "a")
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "a").iterdir()}
    for dry in (True, False):
        again = split(bundle, tmp_path / "a", dry=dry)
        assert not again.changed
        assert again.written == []
        assert again.bytes_written == 0
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "a").iterdir()} == before
    split(bundle, tmp_path / "b")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert first.written == sorted(name for name in before if name.endswith(".tar"))


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("fault", ["gone", "flipped", "short"])
def test_only_the_bad_part_is_made_again(bundle: Path, tmp_path: Path, number: int, fault: str) -> None:
    made = split(bundle, tmp_path)
    good = contents(tmp_path)
    name = made.parts.parts[number - 1].name
    if fault == "gone":
        (tmp_path / name).unlink()
    else:
        data = bytearray(good[name])
        data[len(data) // 2] ^= 1
        (tmp_path / name).write_bytes(bytes(data) if fault == "flipped" else data[:1000])
    dry = split(bundle, tmp_path, dry=True)
    again = split(bundle, tmp_path)
    for result in (dry, again):
        assert result.changed
        assert result.written == [name]
        assert result.bytes_written == len(good[name])
    assert contents(tmp_path) == good


def test_one_part_for_a_new_medium(bundle: Path, tmp_path: Path) -> None:
    split(bundle, tmp_path / "all")
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    with pytest.raises(PartsError, match=r"bundle\.parts\.json: is missing or of another bundle"):
        split(bundle, fresh, only=[2])
    (fresh / LIST_NAME).write_bytes((tmp_path / "all" / LIST_NAME).read_bytes())
    made = split(bundle, fresh, only=[2])
    assert made.written == ["bundle.part002.tar"]
    for name, data in contents(fresh).items():
        assert data == (tmp_path / "all" / name).read_bytes()
    assert {path.name for path in fresh.iterdir()} == {"bundle.part002.tar", LIST_NAME, "bundle.lock.json", "setup.sh"}
    with pytest.raises(PartsError, match="part 99: the bundle has"):
        split(bundle, fresh, only=[99])


def test_a_part_of_other_content_is_not_taken_for_the_same(bundle: Path, tmp_path: Path) -> None:
    split(bundle, tmp_path)
    listed = parse_list((tmp_path / LIST_NAME).read_bytes())
    wrong = tuple(replace(part, digest="sha256:" + "1" * 64) for part in listed.parts)
    (tmp_path / LIST_NAME).write_bytes(dump_list(replace(listed, parts=wrong)))
    with pytest.raises(PartsError, match=r"part 1 of \d+ \(bundle.part001.tar\): was made again and has sha256"):
        split(bundle, tmp_path)


def test_a_killed_run_goes_on(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = split(bundle, tmp_path / "whole")
    real = split_module.Splitter._write
    calls: list[int] = []

    def dies(self: split_module.Splitter, part: object, hashers: object) -> str:
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(self, part, hashers)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(split_module.Splitter, "_write", dies)
        with pytest.raises(KeyboardInterrupt):
            split(bundle, tmp_path / "killed")
    finished = {path.name for path in (tmp_path / "killed").glob("bundle.part*")}
    assert finished
    assert (tmp_path / "killed" / STATE_NAME).exists()
    assert not (tmp_path / "killed" / LIST_NAME).exists()
    for half in (".partial-bundle.part009.tarxyz", ".partial-xyz"):  # a part, and a small file
        (tmp_path / "killed" / half).write_bytes(b"half")
    on = split(bundle, tmp_path / "killed")
    assert set(on.written) == set(whole.written) - finished
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_a_smaller_bundle_leaves_no_old_parts(bundle: Path, tmp_path: Path) -> None:
    many = split(bundle, tmp_path, 300_000)
    few = split(bundle, tmp_path, 1_200_000)
    assert few.removed == [part.name for part in many.parts.parts[len(few.parts.parts) :]]
    assert sorted(tmp_path.glob("*.tar")) == [tmp_path / part.name for part in few.parts.parts]


@pytest.mark.parametrize("large", [True, False])
def test_a_source_that_rotted_is_refused(tmp_path: Path, large: bool) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    blobs = sorted((bundle / "oci/blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    path = blobs[-1] if large else blobs[-2]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(
        PartsError, match=f"{path.name}: .*has another sha256 than the lock says; make the bundle again"
    ):
        split(bundle, tmp_path / "parts")
    assert not (tmp_path / "parts" / LIST_NAME).exists()


def test_a_part_size_that_is_too_small_says_which_is_enough(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(PartsError, match=r"bundle_part_size: 90000 bytes are too few.* choose (\d+) or more") as caught:
        split(bundle, tmp_path, 90_000)
    enough = int(str(caught.value).split("choose ")[1].split()[0])
    assert split(bundle, tmp_path, enough).written
    with pytest.raises(PartsError, match="are too few"):
        split(bundle, tmp_path, enough * 9 // 10)


def test_a_full_disk_is_seen_before_anything_is_written(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = split_module.shutil.disk_usage(str(tmp_path))
    monkeypatch.setattr(split_module.shutil, "disk_usage", lambda _path: real._replace(free=1000))
    with pytest.raises(PartsError, match=r"1000 bytes are free, the parts need \d+ more; free some"):
        split(bundle, tmp_path / "parts")
    assert not (tmp_path / "parts").exists()


@pytest.mark.parametrize(("size", "count"), [(4_700_000_000, 8), (4 << 30, 9), (25_000_000_000, 3)])
def test_sizes_of_real_media(size: int, count: int) -> None:
    """20 GB of layers and a model of 14 GB: planned without a byte of them."""
    blobs = [Blob(f"sha256:{number:064x}", 200_000_000 + number * 1_000_003) for number in range(80)]
    blobs += [Blob("sha256:" + "a" * 64, 14_000_000_000), Blob("sha256:" + "b" * 64, 700)]
    lock = Lock("2026-11-21T12:00:00Z", "0.1.0", blobs=blobs)
    plan = plan_parts(lock, size, ["sha256:" + "b" * 64])
    check_list(plan, lock)
    assert all(part.size < size for part in plan.parts)
    assert len(plan.parts) <= count
    starts = [
        (entry.start, part.number) for part in plan.parts for entry in part.entries if entry.path.endswith("a" * 64)
    ]
    assert starts == sorted(starts)
    if size > 14_000_000_000:
        assert len(starts) == 1


def test_a_part_size_that_makes_too_many_parts_is_refused() -> None:
    lock = Lock("2026-11-21T12:00:00Z", "0.1.0", blobs=[Blob("sha256:" + "a" * 64, 14_000_000_000)])
    with pytest.raises(PartsError, match=r"999 parts are the most; choose (\d+) or more") as caught:
        plan_parts(lock, 1_000_000, [])
    enough = int(str(caught.value).split("choose ")[1].split()[0])
    assert 900 <= len(plan_parts(lock, enough, []).parts) <= 999
