# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts that a bundle is made of."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from ansible_collections.airgap.speech.plugins.module_utils.bundle import pypi
from ansible_collections.airgap.speech.plugins.module_utils.bundle.archive import (
    ArchiveError,
    compressed,
    one_file_tar,
    read_tar_gz,
    repack,
    tar_gz,
    unpack_tar_gz,
    zipapp,
)
from ansible_collections.airgap.speech.plugins.module_utils.bundle.artifacts import ArtifactError, docker_archive
from ansible_collections.airgap.speech.plugins.module_utils.bundle.cache import Cache
from ansible_collections.airgap.speech.plugins.module_utils.bundle.images import base_images, tree_digests
from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import Layout


def test_repack_depends_on_content_alone() -> None:
    def made(mtime: int, order: list[str]) -> bytes:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w:gz") as archive:
            for name in order:
                info = tarfile.TarInfo(name)
                info.mtime, info.uid, info.uname = mtime, mtime % 1000, f"u{mtime}"
                info.mode = 0o775 if name == "c/run" else 0o600
                info.size = 1
                archive.addfile(info, io.BytesIO(b"x"))
        return out.getvalue()

    one = repack(made(1, ["c/Chart.yaml", "c/a", "c/run"]), "one", ("c/Chart.yaml",))
    two = repack(made(2, ["c/run", "c/a", "c/Chart.yaml"]), "two", ("c/Chart.yaml",))
    assert one == two
    assert read_tar_gz(one, "one") == [("c/Chart.yaml", b"x", False), ("c/a", b"x", False), ("c/run", b"x", True)]


@pytest.mark.parametrize("name", ["../out", "/out", "a/../../out"])
def test_a_member_that_reaches_outside(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.tgz"
    path.write_bytes(tar_gz([(name, b"x", False)]))
    with pytest.raises(ArchiveError, match="does not stay below"):
        unpack_tar_gz(str(path), str(tmp_path / "target"))
    assert not (tmp_path / "out").exists()


def test_a_link_in_an_archive(tmp_path: Path) -> None:
    path = tmp_path / "a.tgz"
    with tarfile.open(path, "w:gz") as archive:
        info = tarfile.TarInfo("link")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(info)
    with pytest.raises(ArchiveError, match="neither a file nor a directory"):
        unpack_tar_gz(str(path), str(tmp_path / "target"))


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 3_000_000])
def test_one_file_tar_is_what_tar_reads(tmp_path: Path, size: int) -> None:
    path = tmp_path / "f"
    path.write_bytes(os.urandom(size))
    data = b"".join(one_file_tar("a/" + "n" * 150, str(path), size))
    assert data == b"".join(one_file_tar("a/" + "n" * 150, str(path), size))
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        (member,) = archive.getmembers()
        handle = archive.extractfile(member)
        assert handle is not None
        assert handle.read() == path.read_bytes()
    assert len(data) % 512 == 0


def test_one_file_tar_of_a_file_that_shrank(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x")
    with pytest.raises(ArchiveError, match="ends 9 bytes too early"):
        list(one_file_tar("f", str(tmp_path / "f"), 10))


@pytest.mark.parametrize("size", [0, 1, 4 * 1024 * 1024, 4 * 1024 * 1024 + 1, 9_000_001])
def test_compressed(size: int) -> None:
    data = os.urandom(size // 2) + b"a" * (size - size // 2)
    chunks = [data[i : i + 700_001] for i in range(0, size, 700_001)]
    one = b"".join(compressed(chunks, threads=1))
    assert gzip.decompress(one) == data
    assert one == b"".join(compressed([data], threads=3))
    assert one[4:8] == b"\0\0\0\0"


def test_zipapp_is_reproducible_and_lists_its_directories() -> None:
    data = zipapp([("a/b/c.py", b"1"), ("__main__.py", b"2")])
    assert data == zipapp([("__main__.py", b"2"), ("a/b/c.py", b"1")])
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.namelist() == ["__main__.py", "a/", "a/b/", "a/b/c.py"]


@pytest.mark.parametrize(
    ("text", "args", "expected"),
    [
        ("FROM debian:12", {}, ["debian:12"]),
        ("FROM --platform=linux/amd64 debian:12 AS a\nFROM a\nFROM scratch", {}, ["debian:12"]),
        ("ARG B=docker.io/x\nFROM ${B}", {}, ["docker.io/x"]),
        ("ARG B=docker.io/x\nFROM $B:1", {"B": "y"}, ["y:1"]),
        ("FROM ${B:-z}", {}, ["z"]),
        ("FROM a\nFROM \\\n  b", {}, ["a", "b"]),
    ],
)
def test_base_images(text: str, args: dict[str, str], expected: list[str]) -> None:
    assert base_images(text, args) == expected


def test_tree_digests(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    first = tree_digests(str(tmp_path))
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "a.pyc").write_text("")
    assert tree_digests(str(tmp_path)) == first
    (tmp_path / "a").chmod(0o755)
    assert tree_digests(str(tmp_path)) != first


def _save(path: Path, layers: dict[str, bytes], link: bool = False, wrong: bool = False) -> None:
    diff_ids = ["sha256:" + hashlib.sha256(data).hexdigest() for data in layers.values()]
    if wrong:
        diff_ids[0] = "sha256:" + "0" * 64
    names = list(layers)
    with tarfile.open(path, "w") as archive:

        def add(name: str, data: bytes) -> None:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))

        for name, data in layers.items():
            add(name, data)
        if link:
            info = tarfile.TarInfo("x/again.tar")
            info.type, info.linkname = tarfile.SYMTYPE, "../" + names[0]
            archive.addfile(info)
            names.append("x/again.tar")
            diff_ids.append(diff_ids[0])
        config = {"os": "linux", "architecture": "amd64", "rootfs": {"diff_ids": diff_ids}}
        add("c.json", json.dumps(config).encode())
        add("manifest.json", json.dumps([{"Config": "c.json", "Layers": names}]).encode())


def test_docker_archive(tmp_path: Path) -> None:
    _save(tmp_path / "s.tar", {"a/layer.tar": b"one" * 9999, "b/layer.tar": b"two"}, link=True)
    layout = Layout(tmp_path / "oci")
    layout.create()
    known: dict[str, tuple[str, int]] = {}

    def remember(diff_id: str, digest: str, size: int) -> None:
        known[diff_id] = (digest, size)

    image = docker_archive(layout, str(tmp_path / "s.tar"), known.get, remember)
    manifest = layout.read_json(image.digest)
    content = [gzip.decompress(layout.blob_path(layer["digest"]).read_bytes()) for layer in manifest["layers"]]
    assert content == [b"one" * 9999, b"two", b"one" * 9999]
    assert len(known) == 2

    def forbidden(diff_id: str, digest: str, size: int) -> None:
        raise AssertionError("packed again")

    assert docker_archive(layout, str(tmp_path / "s.tar"), known.get, forbidden) == image


def test_docker_archive_with_another_layer_than_its_configuration_says(tmp_path: Path) -> None:
    _save(tmp_path / "s.tar", {"a/layer.tar": b"one"}, wrong=True)
    layout = Layout(tmp_path / "oci")
    layout.create()
    with pytest.raises(ArtifactError, match=r"layer sha256:0{64} has sha256"):
        docker_archive(layout, str(tmp_path / "s.tar"), lambda diff_id: None, lambda *args: None)
    assert list((tmp_path / "oci" / "blobs" / "sha256").iterdir()) == []


def _wheel(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("m/model.bin", b"weights")
        info = {"collection_info": {"version": "1.2.3"}}
        archive.writestr("ansible_collections/a/b/MANIFEST.json", json.dumps(info))
        archive.writestr("ansible_collections/a/b/FILES.json", "{}")
        archive.writestr("ansible_collections/a/bc/x", "no")


def test_member_reader(tmp_path: Path) -> None:
    _wheel(tmp_path / "w.whl")
    read = pypi.member_reader(str(tmp_path / "w.whl"), "m/model.bin")
    assert b"".join(read(0)) == b"weights"
    assert b"".join(read(3)) == b"ghts"
    with pytest.raises(pypi.PackageError, match="no member"):
        list(pypi.member_reader(str(tmp_path / "w.whl"), "m/no")(0))
    (tmp_path / "w.whl").write_bytes(b"no zip")
    with pytest.raises(pypi.PackageError, match="is no wheel"):
        list(read(0))


def test_collection_from_wheel(tmp_path: Path) -> None:
    _wheel(tmp_path / "w.whl")
    path = pypi.collection_from_wheel(str(tmp_path / "w.whl"), "a.b", str(tmp_path))
    assert os.path.basename(path) == "a-b-1.2.3.tar.gz"
    names = [name for name, _data, _run in read_tar_gz(Path(path).read_bytes(), path)]
    assert names == ["MANIFEST.json", "FILES.json"]
    with pytest.raises(pypi.PackageError, match=r"holds no collection a\.z"):
        pypi.collection_from_wheel(str(tmp_path / "w.whl"), "a.z", str(tmp_path))


def test_wheels_are_kept_and_fetched_again_when_spoilt(tmp_path: Path) -> None:
    cache = Cache(str(tmp_path))
    calls: list[list[str]] = []

    def pip(argv: list[str]) -> tuple[int, str, str]:
        calls.append(argv)
        assert "--require-hashes" in argv
        assert "--no-deps" in argv
        with open(os.path.join(argv[argv.index("--dest") + 1], "a-1-py3-none-any.whl"), "wb") as handle:
            handle.write(b"wheel")
        return 0, "", ""

    packages = pypi.Packages(pip, "python3", cache)
    text = "a==1 --hash=sha256:" + "0" * 64
    assert pypi.Packages(pip, "python3", cache, dry=True).wheels(text, "3.11") is None
    (wheel,) = packages.wheels(text, "3.11") or []
    assert packages.wheels(text, "3.11") == [wheel]
    assert len(calls) == 1
    Path(wheel).write_bytes(b"whale")
    assert packages.wheels(text, "3.11") == [wheel]
    assert len(calls) == 2
    with pytest.raises(pypi.PackageError, match="have no hashes"):
        packages.wheels("a==1", "3.11")
    failing = pypi.Packages(lambda argv: (1, "", "ERROR: no such\n"), "python3", cache)
    with pytest.raises(pypi.PackageError, match="pip download: ERROR: no such; check"):
        failing.wheels("b==1 --hash=sha256:00", "3.11")


def test_requirement_pins() -> None:
    digest = "a" * 64
    text = f"# x\nansible==1.2 --hash=sha256:{digest}\nFoo==2 \\\n    --hash=sha256:{digest}\n    # via x\n"
    assert pypi.requirement_pins(text) == {"ansible": ("1.2", digest), "foo": ("2", digest)}
