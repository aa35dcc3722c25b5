# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Power cuts while models are placed: on a real file system over a block device, and in the strictest model of a disk.

The block device is a loop device. What has reached its backing file is what a disk without a cache would hold; what
the file system still keeps in memory is lost (this kernel has no device mapper). In the model all that no fsync has
asked for may be lost, each name by itself, as POSIX allows; there every fsync is taken out in turn.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional, Union

import pytest

from ansible_collections.airgap.speech.plugins.module_utils.oci.preload import Model, Preloader
from tests.unit.plugins.module_utils.oci.samples import noise
from tests.unit.plugins.module_utils.oci.test_preload import Site
from tests.unit.registry_server import registry_server  # noqa: F401 - fixture

OLD = {"model.bin": noise("power-old", 300_000), "sub/words.txt": b"old\n"}
NEW = {"model.bin": noise("power-new", 400_000), "sub/words.txt": b"new\n", "more.json": b"{}"}


class PowerCutError(BaseException):
    """The run ends here: the machine is off."""


@pytest.fixture(name="site")
def a_site(registry_server: Any, tmp_path: Path) -> Site:  # noqa: F811
    return Site(registry_server, tmp_path)


def content(root: Path) -> dict[str, bytes]:
    return {
        os.path.relpath(os.path.join(parent, file), root): Path(parent, file).read_bytes()
        for parent, _directories, files in os.walk(root)
        for file in files
    }


# A real file system


@contextmanager
def steps(monkeypatch: pytest.MonkeyPatch, each: Callable[[str], None]) -> Iterator[None]:
    """Hear of each call that changes or syncs something, before it is made."""
    with monkeypatch.context() as patch:
        for name in ("write", "fsync", "fdatasync", "rename", "replace", "symlink", "unlink", "mkdir", "ftruncate"):
            real = getattr(os, name)

            def call(*args: Any, _name: str = name, _real: Any = real, **kwargs: Any) -> Any:
                each(_name)
                return _real(*args, **kwargs)

            patch.setattr(os, name, call)
        yield


class Disk:
    """An ext4 over a loop device, mounted without what ext4 does to help programs that forget an fsync."""

    size = 24 << 20
    # Metadata may be on disk before the data that it points to, and names before the file is.
    options = "data=writeback,noauto_da_alloc,commit=300"

    def __init__(self, root: Path) -> None:
        self.backing, self.mount = root / "disk.img", root / "mount"
        self.mount.mkdir()
        with self.backing.open("wb") as stream:
            stream.truncate(self.size)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-b", "1024", "-E", "lazy_itable_init=0", self.backing], check=True)
        self.device = ""

    def start(self) -> None:
        done = subprocess.run(["losetup", "-f", "--show", self.backing], capture_output=True, text=True, check=True)
        self.device = done.stdout.strip()
        subprocess.run(["mount", "-o", self.options, self.device, self.mount], check=True)

    def stop(self) -> None:
        subprocess.run(["umount", self.mount], check=True)
        subprocess.run(["losetup", "-d", self.device], check=True)
        self.device = ""

    def cut(self, image: Path) -> None:
        """What is on the disk now. The machine goes on, so that one run shows many cuts."""
        subprocess.run(["cp", "--sparse=always", self.backing, image], check=True)

    def after(self, image: Path) -> None:
        """Start again from what was on the disk: the journal is replayed by the mount."""
        self.stop()
        os.replace(image, self.backing)
        self.start()


@pytest.fixture(name="disk")
def a_disk(tmp_path: Path) -> Iterator[Disk]:
    if os.geteuid() or not os.path.exists("/dev/loop-control") or not shutil.which("mkfs.ext4"):
        pytest.skip("no block device to cut the power of: it takes root, a loop device and mkfs.ext4")
    disk = Disk(tmp_path)
    disk.start()
    yield disk
    if disk.device:
        disk.stop()


def place_with_cuts(
    disk: Disk,
    site: Site,
    models: tuple[Model, Model],
    monkeypatch: pytest.MonkeyPatch,
    chance: float,
    images: Path,
) -> list[Path]:
    """Place the new model over the old one; keep what the disk holds at some moments, and after the end."""
    site.directory = disk.mount / "models"
    site.preloader().run([models[0]])
    kept: list[Path] = []
    dice = random.Random()  # noqa: S311 - moments of cuts

    def each(name: str) -> None:
        if dice.random() < chance or name in ("rename", "replace", "symlink"):
            kept.append(images / f"cut{len(kept)}.img")
            disk.cut(kept[-1])

    with steps(monkeypatch, each):
        site.preloader(keep=0).run([models[1]])
    kept.append(images / "end.img")
    disk.cut(kept[-1])
    return kept


def test_a_cut_leaves_a_whole_model_on_a_real_disk(
    site: Site, disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = (site.add(OLD, "0"), site.add(NEW, "1"))
    kept = place_with_cuts(disk, site, models, monkeypatch, 0.1, tmp_path)
    assert len(kept) >= 8
    for image in kept:
        last = image.name == "end.img"
        disk.after(image)
        found = content(site.directory / "whisper")
        assert found == NEW if last else found in (OLD, NEW), image.name
        site.preloader(keep=0, full=True).run([models[1]])
        assert content(site.directory / "whisper") == NEW
        assert not site.preloader(keep=0, full=True).run([models[1]]).changed


@pytest.mark.parametrize("lost", ["files", "directories"])
def test_without_fsync_the_real_disk_shows_it(
    site: Site, disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    """The same with the fsyncs of files, or of directories, taken out: what was promised is not there."""
    models = (site.add(OLD, "0"), site.add(NEW, "1"))
    real = os.fsync

    def weak(handle: int) -> None:
        is_directory = os.path.isdir(f"/proc/self/fd/{handle}")
        if is_directory != (lost == "directories"):
            real(handle)

    site.directory = disk.mount / "models"
    site.preloader().run([models[0]])
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", weak)
        patch.setattr(os, "fdatasync", lambda _handle: None)
        site.preloader(keep=0).run([models[1]])
        disk.cut(tmp_path / "end.img")
    disk.after(tmp_path / "end.img")
    assert content(site.directory / "whisper") != NEW


# The strictest disk that POSIX allows


Entry = Union["Inode", str]


@dataclass(eq=False)
class Inode:
    """A file or directory: what programs see, and what is on disk."""

    names: Optional[dict[str, Entry]] = None
    data: bytes = b""
    disk_names: dict[str, Entry] = field(default_factory=dict)
    disk_data: bytes = b""
    # Names that changed and are not on disk: each may or may not be there after a cut.
    pending: dict[str, list[Optional[Entry]]] = field(default_factory=dict)


class StrictDisk:
    """Follows the calls of a process below one directory, as a disk that keeps only what an fsync asked for."""

    def __init__(self, root: Path, skip: str = "none") -> None:
        self.root = os.path.realpath(root)
        self.tree = Inode(names={})
        self.skip = skip
        self.syncs: list[str] = []
        self.dice = random.Random(0)  # noqa: S311 - the same worlds each time
        self.check: Callable[[Callable[[str], Optional[Entry]]], None] = lambda _look: None
        self._load(self.tree, self.root)

    def _load(self, inode: Inode, path: str) -> None:
        """What is there at the beginning is on disk."""
        assert inode.names is not None
        for entry in os.scandir(path):
            if entry.is_symlink():
                inode.names[entry.name] = os.readlink(entry.path)
            elif entry.is_dir():
                child = Inode(names={})
                self._load(child, entry.path)
                inode.names[entry.name] = child
            else:
                data = Path(entry.path).read_bytes()
                inode.names[entry.name] = Inode(data=data, disk_data=data)
        inode.disk_names = dict(inode.names)

    def _parts(self, path: str) -> Optional[list[str]]:
        full = os.path.join(os.path.realpath(os.path.dirname(path) or "."), os.path.basename(path))
        if full == self.root:
            return []
        return full[len(self.root) + 1 :].split("/") if full.startswith(self.root + "/") else None

    def _at(self, parts: list[str]) -> Optional[Entry]:
        found: Optional[Entry] = self.tree
        for part in parts:
            found = found.names.get(part) if isinstance(found, Inode) and found.names is not None else None
        return found

    def _set(self, parts: list[str], entry: Optional[Entry]) -> None:
        parent = self._at(parts[:-1])
        assert isinstance(parent, Inode) and parent.names is not None
        parent.pending.setdefault(parts[-1], [parent.disk_names.get(parts[-1])]).append(entry)
        if entry is None:
            parent.names.pop(parts[-1], None)
        else:
            parent.names[parts[-1]] = entry

    def created(self, path: str, entry: Entry) -> None:
        parts = self._parts(path)
        if parts and self._at(parts) is None:
            self._set(parts, entry)

    def removed(self, path: str) -> None:
        parts = self._parts(path)
        if parts:
            self._set(parts, None)

    def renamed(self, source: str, target: str) -> None:
        old, new = self._parts(source), self._parts(target)
        if old and new:
            entry = self._at(old)
            self._set(new, entry)
            self._set(old, None)

    def written(self, path: str) -> None:
        """Take what the file holds now; only an fsync brings it to the disk."""
        parts = self._parts(path)
        inode = self._at(parts) if parts else None
        if isinstance(inode, Inode):
            inode.data = Path(path).read_bytes()

    def synced(self, path: str) -> None:
        parts = self._parts(path)
        inode = self._at(parts) if parts is not None else None
        if not isinstance(inode, Inode):
            return
        name = "/".join(parts or [])
        self.syncs.append(name)
        if name == self.skip:
            return
        if inode.names is None:
            inode.disk_data = inode.data
        else:
            inode.disk_names, inode.pending = dict(inode.names), {}

    # What may be there after a cut

    def _world(self, choose: Callable[[list[Optional[Entry]]], Optional[Entry]]) -> Callable[[str], Optional[Entry]]:
        chosen: dict[tuple[int, str], Optional[Entry]] = {}

        def name_of(inode: Inode, name: str) -> Optional[Entry]:
            if name not in inode.pending:
                return inode.disk_names.get(name)
            key = (id(inode), name)
            if key not in chosen:
                chosen[key] = choose(inode.pending[name])
            return chosen[key]

        def look(path: str) -> Optional[Entry]:
            found: Optional[Entry] = self.tree
            for part in path.split("/"):
                if not isinstance(found, Inode):
                    return None
                found = name_of(found, part)
            return found

        return look

    def cut(self) -> None:
        """Hold what may be there against the check: nothing of what is pending, all of it, and random parts."""
        self.check(self._world(lambda values: values[0]))
        self.check(self._world(lambda values: values[-1]))
        for _turn in range(6):
            self.check(self._world(self.dice.choice))


@contextmanager
def followed(disk: StrictDisk, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the disk follow this process; after each call it is cut."""
    real = {
        name: getattr(os, name)
        for name in ("open", "mkdir", "write", "ftruncate", "fsync", "fdatasync", "rename", "replace", "symlink")
        + ("unlink", "rmdir")
    }

    def where(path: Any, directory: Any = None) -> str:
        text = os.fspath(path)
        return os.path.join(os.readlink(f"/proc/self/fd/{directory}"), text) if directory is not None else text

    def of(handle: int) -> str:
        return os.readlink(f"/proc/self/fd/{handle}")

    def opened(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        full = where(path, kwargs.get("dir_fd"))
        handle: int = real["open"](path, flags, *args, **kwargs)
        if flags & os.O_CREAT:
            disk.created(full, Inode())
            if flags & os.O_TRUNC:
                disk.written(full)
        return handle

    def on_path(name: str, then: Callable[[str], None]) -> Callable[..., Any]:
        def call(path: Any, *args: Any, **kwargs: Any) -> Any:
            full = where(path, kwargs.get("dir_fd"))
            done = real[name](path, *args, **kwargs)
            then(full)
            disk.cut()
            return done

        return call

    def on_handle(name: str, then: Callable[[str], None]) -> Callable[..., Any]:
        def call(handle: int, *args: Any) -> Any:
            done = real[name](handle, *args)
            then(of(handle))
            disk.cut()
            return done

        return call

    def moved(name: str) -> Callable[..., Any]:
        def call(source: Any, target: Any) -> None:
            real[name](source, target)
            disk.renamed(os.fspath(source), os.fspath(target))
            disk.cut()

        return call

    def linked(source: Any, path: Any) -> None:
        real["symlink"](source, path)
        disk.created(os.fspath(path), os.fspath(source))
        disk.cut()

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", opened)
        patch.setattr(os, "mkdir", on_path("mkdir", lambda path: disk.created(path, Inode(names={}))))
        patch.setattr(os, "unlink", on_path("unlink", disk.removed))
        patch.setattr(os, "rmdir", on_path("rmdir", disk.removed))
        for name in ("write", "ftruncate"):
            patch.setattr(os, name, on_handle(name, disk.written))
        for name in ("fsync", "fdatasync"):
            patch.setattr(os, name, on_handle(name, disk.synced))
        for name in ("rename", "replace"):
            patch.setattr(os, name, moved(name))
        patch.setattr(os, "symlink", linked)
        yield


class LostError(AssertionError):
    """After a cut something else than a whole model may be there."""


def whole(look: Callable[[str], Optional[Entry]], link: str) -> Optional[dict[str, bytes]]:
    """What a reader of the link finds: nothing where there is no link."""
    target = look(f"models/{link}")
    if target is None:
        return None
    if not isinstance(target, str):
        raise LostError("the link is no link")
    found = {}
    for path in {**OLD, **NEW}:
        entry = look(f"models/{target}/{path}")
        if isinstance(entry, Inode):
            found[path] = entry.disk_data
    return found


def strict_run(site: Site, models: list[Model], monkeypatch: pytest.MonkeyPatch, root: Path, skip: str) -> StrictDisk:
    """Place the last model over what the others left, with a cut after every call; LostError where one loses."""
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    site.directory = root / "models"
    for model in models[:-1]:
        site.preloader(keep=0).run([model])
    disk = StrictDisk(root, skip)
    before = OLD if models[:-1] else None

    def check(look: Callable[[str], Optional[Entry]]) -> None:
        found = whole(look, "whisper")
        if found not in (before, NEW):
            raise LostError(f"a reader finds {None if found is None else sorted(found)}")

    disk.check = check
    with followed(disk, monkeypatch):
        Preloader(site.registry, str(site.directory), keep=0).run([models[-1]])

    def at_the_end(look: Callable[[str], Optional[Entry]]) -> None:
        if whole(look, "whisper") != NEW:
            raise LostError("the run ended well, and a cut takes the model away")

    disk.check = at_the_end
    disk.cut()
    return disk


@pytest.mark.parametrize("first", [True, False])
def test_no_cut_loses_a_model_on_the_strictest_disk(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: bool
) -> None:
    models = [site.add(NEW, "1")] if first else [site.add(OLD, "0"), site.add(NEW, "1")]
    disk = strict_run(site, models, monkeypatch, tmp_path / "strict", skip="none")
    assert len(disk.syncs) > 10


@pytest.mark.parametrize("first", [True, False])
def test_each_fsync_is_needed(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: bool) -> None:
    """Without it a model may be lost; but for those of records, which only spare a second download."""
    models = [site.add(NEW, "1")] if first else [site.add(OLD, "0"), site.add(NEW, "1")]
    syncs = strict_run(site, models, monkeypatch, tmp_path / "strict", skip="none").syncs
    # By what is synced: some names are, for good reason, more than once.
    lost = set()
    for path in dict.fromkeys(syncs):
        try:
            strict_run(site, models, monkeypatch, tmp_path / "strict", skip=path)
        except LostError:
            lost.add(path)
    home = "models/.versions/whisper"
    partial = f"{home}/{models[-1].hex}.partial"
    needed = {f"{partial}/{path}" for path in NEW} | {f"{partial}/sub", partial, home, "models"}
    needed |= {"models/.versions", ""} if first else set()
    assert needed <= lost
    assert {path for path in syncs if path not in lost} <= {
        f"{partial}.json.new",
        f"{home}/{models[-1].hex}.json.new",
        "models/.versions",
    }


def test_a_full_disk_is_an_error(site: Site, disk: Disk) -> None:
    """Bytes that cannot be kept are never reported as written."""
    model = site.add({"model.bin": noise("full", 3_000_000)}, "1")
    site.directory = disk.mount / "models"
    with open(disk.mount / "ballast", "wb", buffering=0) as stream:
        try:
            while True:
                stream.write(bytes(1 << 16))
        except OSError as error:
            assert error.errno == errno.ENOSPC
    preloader = site.preloader()
    preloader._need_space = lambda _wanted: None  # type: ignore[method-assign] # as if it filled up meanwhile
    with pytest.raises(OSError, match="No space left"):
        preloader.run([model])
    assert not os.path.lexists(site.directory / "whisper")
