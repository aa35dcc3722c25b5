# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring the destination in line with a lock: what is right stays, the rest is written, what is stale goes."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from ansible_collections.airgap.speech.plugins.module_utils.bundle.archive import read_chunks
from ansible_collections.airgap.speech.plugins.module_utils.bundle.cache import write_file
from ansible_collections.airgap.speech.plugins.module_utils.bundle.lock import (
    LOCK_NAME,
    SIGNATURE_NAME,
    blob_path,
)
from ansible_collections.airgap.speech.plugins.module_utils.bundle.spec import MakerError, Making, Source
from ansible_collections.airgap.speech.plugins.module_utils.oci.digest import sha256_file
from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import Layout


class Writer:
    """Writes the destination of one run."""

    def __init__(self, making: Making) -> None:
        self.making = making
        self.spec = making.spec
        self.made = making.made

    def bring_in_line(self, sources: dict[str, Source]) -> None:
        lock = self.made.lock
        if lock is None:
            return
        started = time.monotonic()
        todo: list[Source] = []
        for blob in lock.blobs:
            local = str(self.making.layout.blob_path(blob.digest))
            sources[blob_path(blob.digest)] = Source(blob_path(blob.digest), local, blob.digest, blob.size, "blob", "")
        with ThreadPoolExecutor(max_workers=max(1, self.spec.threads)) as pool:
            ordered = sorted(sources.values(), key=lambda source: (-source.size, source.path))
            todo = [source for source, right in zip(ordered, pool.map(self._is_right, ordered)) if not right]
        self.made.written = sorted(source.path for source in todo)
        self.made.bytes_written = sum(source.size for source in todo)
        self.made.changed = bool(todo or self.made.removed or self.made.before != self.made.lock_bytes)
        if self.making.dry or not self.made.changed:
            return
        os.makedirs(self.spec.dest, exist_ok=True)
        free = shutil.disk_usage(self.spec.dest).free
        if free < self.made.bytes_written + len(self.made.lock_bytes):
            raise MakerError(
                f"{self.spec.dest}: {free} bytes are free, the bundle needs {self.made.bytes_written} more; "
                f"free some, or name another destination"
            )
        # From here to the end the destination is no bundle: without its signature nobody takes it for one.
        signed = os.path.join(self.spec.dest, SIGNATURE_NAME)
        if os.path.exists(signed):
            os.unlink(signed)
        Layout(os.path.join(self.spec.dest, "oci")).create()
        done = [0]
        guard = threading.Lock()
        last = [time.monotonic()]

        def write(source: Source) -> None:
            self._write(source)
            with guard:
                done[0] += source.size
                if time.monotonic() - last[0] >= 2:
                    last[0] = time.monotonic()
                    rate = done[0] / max(time.monotonic() - started, 0.001)
                    left = (self.made.bytes_written - done[0]) / max(rate, 1)
                    self.making.tell(
                        f"bundle: {done[0] >> 20} of {self.made.bytes_written >> 20} MB written, "
                        f"{rate / (1 << 20):.0f} MB/s, {left:.0f} s left"
                    )

        with ThreadPoolExecutor(max_workers=max(1, self.spec.threads)) as pool:
            for _nothing in pool.map(write, sorted(todo, key=lambda source: (source.kind == "layout", source.path))):
                pass
        for name in self.made.removed:
            full = os.path.join(self.spec.dest, name)
            if os.path.isdir(full) and not os.path.islink(full):
                shutil.rmtree(full)
            elif os.path.lexists(full):
                os.unlink(full)
        for folder in ("files/tools", "files/wheels", "files/collections", "files"):
            full = os.path.join(self.spec.dest, folder)
            if os.path.isdir(full) and not os.listdir(full):
                os.rmdir(full)
        write_file(os.path.join(self.spec.dest, LOCK_NAME), self.made.lock_bytes)

    def half_written(self) -> list[str]:
        """Half-written files of a run that was killed."""
        found: list[str] = []
        for folder in ("", "files", "files/tools", "files/wheels", "files/collections", "oci", "oci/blobs/sha256"):
            full = os.path.join(self.spec.dest, folder)
            names = os.listdir(full) if os.path.isdir(full) else []
            found += [os.path.join(folder, name) for name in names if name.startswith((".partial-", ".sign-"))]
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
        return sha256_file(full)[0] == source.digest

    def _write(self, source: Source) -> None:
        """Copy a file into the destination, held against its digest on the way."""
        full = os.path.join(self.spec.dest, source.path)
        folder = os.path.dirname(full)
        os.makedirs(folder, exist_ok=True)
        hasher = hashlib.sha256()
        handle, name = tempfile.mkstemp(prefix=".partial-", dir=folder)
        try:
            with os.fdopen(handle, "wb", buffering=0) as out, open(source.local, "rb", buffering=0) as origin:
                for chunk in read_chunks(origin):
                    hasher.update(chunk)
                    out.write(chunk)
                os.fchmod(out.fileno(), 0o755 if source.executable else 0o644)
            actual = "sha256:" + hasher.hexdigest()
            if actual != source.digest:
                if source.kind == "blob":
                    os.unlink(source.local)
                raise MakerError(
                    f"{source.path}: the cache holds it as {source.local} with sha256 {actual}; run the "
                    f"bundle again, it will be made anew"
                )
            os.replace(name, full)
        finally:
            if os.path.exists(name):
                os.unlink(name)
