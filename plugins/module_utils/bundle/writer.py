# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring the destination in line with a lock: what is right stays, the rest is written, what is stale goes."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from ansible_collections.airgap.speech.plugins.module_utils.bundle.cache import write_file
from ansible_collections.airgap.speech.plugins.module_utils.bundle.lock import (
    LOCK_NAME,
    SIGNATURE_NAME,
    Lock,
    blob_path,
)
from ansible_collections.airgap.speech.plugins.module_utils.bundle.parts import SETUP_NAME
from ansible_collections.airgap.speech.plugins.module_utils.bundle.spec import MakerError, Making, Source
from ansible_collections.airgap.speech.plugins.module_utils.bundle.split import (
    SourceError,
    Splitter,
    everywhere_of,
    leftovers,
    plan_parts,
)
from ansible_collections.airgap.speech.plugins.module_utils.bundle.verify import digest_of
from ansible_collections.airgap.speech.plugins.module_utils.oci.digest import PIECE
from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import Layout
from ansible_collections.airgap.speech.plugins.module_utils.oci.sink import write_all
from ansible_collections.airgap.speech.plugins.module_utils.oci.transfer import Progress

HALF_WRITTEN = (".partial-", ".sign-")


class Spoilt(Exception):
    """Blobs of the cache that are not what their names say."""

    def __init__(self, digests: list[str]) -> None:
        super().__init__(", ".join(digests))
        self.digests = digests


class Writer:
    """Writes the destination of one run."""

    def __init__(self, making: Making) -> None:
        self.making = making
        self.spec = making.spec
        self.made = making.made

    def bring_in_line(self, sources: dict[str, Source]) -> None:
        """Write what is missing or wrong, remove what is stale, and the lock last."""
        lock = self.made.lock
        if lock is None:
            return
        for blob in lock.blobs:
            local = str(self.making.layout.blob_path(blob.digest))
            sources[blob_path(blob.digest)] = Source(blob_path(blob.digest), local, blob.digest, blob.size, "blob", "")
        if self.spec.part_size:
            self._guarded(lambda: self._split(lock, sources))
            return
        ordered = sorted(sources.values(), key=lambda source: (-source.size, source.path))
        with ThreadPoolExecutor(max_workers=max(1, self.spec.threads)) as pool:
            todo = [source for source, right in zip(ordered, pool.map(self._is_right, ordered)) if not right]
        self.made.written = sorted(source.path for source in todo)
        self.made.bytes_written = sum(source.size for source in todo)
        self.made.changed = bool(todo or self.made.removed or self.made.before != self.made.lock_bytes)
        if self.making.dry or not self.made.changed:
            return
        self._guarded(lambda: self._write_all(todo))

    def _guarded(self, write: Callable[[], None]) -> None:
        try:
            write()
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            raise MakerError(
                f"{self.spec.dest}: cannot be written ({error.strerror}); make room there, or name another "
                "bundle_dest, and "
                "run again: it goes on where it stopped"
            ) from error

    def _write_all(self, todo: list[Source]) -> None:
        os.makedirs(self.spec.dest, exist_ok=True)
        device = os.stat(self.spec.dest).st_dev
        free = shutil.disk_usage(self.spec.dest).free
        need = sum(source.size for source in todo if not _linkable(source, device)) + len(self.made.lock_bytes)
        if free < need:
            raise MakerError(
                f"{self.spec.dest}: {free} bytes are free, the bundle needs {need} more; free {need - free} bytes, "
                "or name another bundle_dest"
            )
        # From here to the end the destination is no bundle: without its signature nobody takes it for one.
        signed = os.path.join(self.spec.dest, SIGNATURE_NAME)
        if os.path.exists(signed):
            os.unlink(signed)
        Layout(os.path.join(self.spec.dest, "oci")).create()
        progress = Progress("bundle", self.made.bytes_written, self.making.tell)
        spoilt: list[str] = []

        def write(source: Source) -> None:
            if not (self._link(source, spoilt) if _linkable(source, device) else self._copy(source, spoilt)):
                return
            progress.add(source.size)

        with ThreadPoolExecutor(max_workers=max(1, self.spec.threads)) as pool:
            # index.json last: until then no tool takes the directory for a layout.
            ordered = sorted(todo, key=lambda source: (source.kind == "layout", -source.size, source.path))
            for _nothing in pool.map(write, ordered):
                pass
        if spoilt:
            raise Spoilt(sorted(spoilt))
        progress.finish()
        self._remove_stale()
        write_file(os.path.join(self.spec.dest, LOCK_NAME), self.made.lock_bytes)

    def _split(self, lock: Lock, sources: dict[str, Source]) -> None:
        """The parts, out of the cache: the whole bundle never lies in the destination."""
        setup = sources.get(SETUP_NAME)
        everywhere = everywhere_of(lock, self.making.layout)
        plan = plan_parts(lock, self.spec.part_size, everywhere, setup.size if setup else 0)
        local = {path: source.local for path, source in sources.items()}
        splitter = Splitter(
            self.spec.dest,
            lock,
            plan,
            local,
            threads=self.spec.threads,
            say=self.making.tell,
            only=self.spec.only_parts,
            seen=self.making.store.fresh,
        )
        if not self.making.dry:
            self._remove_stale()
        try:
            split = splitter.run(self.making.dry)
        except SourceError as error:
            source = sources[error.path]
            if not self._in_cache(source):
                raise
            raise Spoilt([source.digest]) from error
        self.made.parts = split.parts
        self.made.written = split.written
        self.made.bytes_written = split.bytes_written
        self.made.removed = sorted({*self.made.removed, *split.removed})
        self.made.changed = bool(split.changed or self.made.removed or self.made.before != self.made.lock_bytes)

    def _remove_stale(self) -> None:
        for name in self.made.removed:
            full = os.path.join(self.spec.dest, name)
            if os.path.isdir(full) and not os.path.islink(full):
                shutil.rmtree(full)
            elif os.path.lexists(full):
                os.unlink(full)
        tops = ("files", "oci") if self.spec.part_size else ("files",)
        for top in tops:
            for folder, _folders, _names in os.walk(os.path.join(self.spec.dest, top), topdown=False):
                if not os.listdir(folder):
                    os.rmdir(folder)

    def stale(self, old: Lock | None) -> list[str]:
        """What goes: files that the bundle of before had, in the form it had, and half-written ones."""
        lock = self.made.lock
        wanted = {SETUP_NAME} if self.spec.part_size else set(lock.paths() if lock else ())
        gone = [path for path in (old.paths() if old else ()) if path not in wanted]
        there = [path for path in gone if os.path.lexists(os.path.join(self.spec.dest, path))]
        split = [] if self.spec.part_size else leftovers(self.spec.dest)
        return sorted(there + split + self._half_written())

    def _half_written(self) -> list[str]:
        """Half-written files of a run that was killed."""
        tops = [os.path.join(self.spec.dest, name) for name in ("files", "oci")]
        names = os.listdir(self.spec.dest) if os.path.isdir(self.spec.dest) else []
        found = [name for name in names if name.startswith(HALF_WRITTEN)]
        for top in tops:
            for folder, _folders, files in os.walk(top):
                relative = os.path.relpath(folder, self.spec.dest)
                found += [os.path.join(relative, name) for name in files if name.startswith(HALF_WRITTEN)]
        return found

    def _is_right(self, source: Source) -> bool:
        """The destination holds the file, whole and unaltered."""
        full = os.path.join(self.spec.dest, source.path)
        try:
            found = os.lstat(full)
        except OSError:
            return False
        if not stat.S_ISREG(found.st_mode) or found.st_size != source.size:
            return False
        if source.executable and not found.st_mode & 0o100:
            return False
        return digest_of(full) == source.digest

    def _link(self, source: Source, spoilt: list[str]) -> bool:
        """Give a blob of the cache a second name. What this run did not write itself is read once before."""
        if source.digest not in self.making.store.fresh and digest_of(source.local) != source.digest:
            spoilt.append(source.digest)
            return False
        full = self._place(source)
        name = os.path.join(os.path.dirname(full), f".partial-{os.path.basename(full)}")
        try:
            if os.path.lexists(name):
                os.unlink(name)
            os.link(source.local, name)
            os.replace(name, full)
        finally:
            if os.path.lexists(name):  # also where both were names of one file already
                os.unlink(name)
        _sync(full)
        return True

    def _copy(self, source: Source, spoilt: list[str]) -> bool:
        """Copy a file into the destination, held against its digest on the way."""
        full = self._place(source)
        hasher = hashlib.sha256()
        handle, name = tempfile.mkstemp(prefix=".partial-", dir=os.path.dirname(full))
        try:
            with os.fdopen(handle, "wb", buffering=0) as out, open(source.local, "rb", buffering=0) as origin:
                for chunk in iter(lambda: origin.read(PIECE), b""):
                    hasher.update(chunk)
                    write_all(out.fileno(), chunk)
                os.fchmod(out.fileno(), 0o755 if source.executable else 0o644)
                os.fdatasync(out.fileno())
            actual = "sha256:" + hasher.hexdigest()
            if actual != source.digest and self._in_cache(source):
                spoilt.append(source.digest)
                return False
            if actual != source.digest:
                raise MakerError(
                    f"{source.path}: {source.local} changed while the bundle was made ({source.digest} before, "
                    f"{actual} now); run again when nobody writes it"
                )
            os.replace(name, full)
            return True
        finally:
            if os.path.exists(name):
                os.unlink(name)

    def _in_cache(self, source: Source) -> bool:
        return source.local == str(self.making.layout.blob_path(source.digest))

    def _place(self, source: Source) -> str:
        full = os.path.join(self.spec.dest, source.path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        return full


def _linkable(source: Source, device: int) -> bool:
    """A blob of the cache on the file system of the destination: nothing has to be written again."""
    return source.kind == "blob" and os.stat(source.local).st_dev == device


def _sync(path: str) -> None:
    """On the disk before the lock says that it is there."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fdatasync(handle)
    finally:
        os.close(handle)
