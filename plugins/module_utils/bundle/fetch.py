# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring content into a layout: written once, verified while it is written, going on inside a blob after a kill.

What is under way lies in a folder of its own, under a name that its digest decides. A run that was killed leaves it
there; the next one reads it once, to know its digest so far, and asks its source for the rest.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Optional, Union

from ansible_collections.airgap.speech.plugins.module_utils.oci.digest import CHUNK
from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import Layout
from ansible_collections.airgap.speech.plugins.module_utils.oci.sink import Sink, write_all
from ansible_collections.airgap.speech.plugins.module_utils.oci.transfer import Progress

# read(offset) -> the bytes of the content from there on; each piece holds until the one after the next is asked for
Read = Callable[[int], Iterable[Union[bytes, memoryview]]]

# So much is written before the disk is asked to keep it, so that it works all the time and not only at the end.
FLUSH = 64 << 20
TRIES = 2


class FetchError(Exception):
    """Content that cannot be had, or is not what it should be: the thing, the cause and the next step."""


@dataclass(frozen=True)
class Item:
    """One piece of content that is to come into the layout.

    Where I(prefix) is not empty, the blob is I(prefix), the content and I(suffix), and its own digest is not known
    before; I(digest) and I(size), in bytes, are those of the content.
    """

    name: str
    digest: str
    size: int
    read: Read
    prefix: bytes = b""
    suffix: bytes = b""
    # Hears digest and size of the blob just before it takes its place.
    done: Optional[Callable[[str, int], None]] = None

    @property
    def key(self) -> str:
        """The name of its file while it is under way."""
        if not self.prefix:
            return self.digest.partition(":")[2]
        return self.digest.partition(":")[2] + "-" + hashlib.sha256(self.prefix).hexdigest()[:16]


class _Hashes:
    """Digests that a second thread computes while the first one writes; it waits before the one after the next.

    So a source may have two buffers and use them in turn.
    """

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self.content = hashlib.sha256()
        self.blob = hashlib.sha256()
        self._pool = pool
        self._waiting: Optional[Future[None]] = None

    def add(self, chunk: Union[bytes, memoryview], content: bool = True, both: bool = False) -> None:
        """More of the content, of what is around it (`content` false), or of both digests."""
        if self._waiting is not None:
            self._waiting.result()
        self._waiting = self._pool.submit(self._update, chunk, content, both)

    def _update(self, chunk: Union[bytes, memoryview], content: bool, both: bool) -> None:
        if content:
            self.content.update(chunk)
        if both or not content:
            self.blob.update(chunk)

    def finish(self) -> None:
        """All of it counts."""
        if self._waiting is not None:
            self._waiting.result()
            self._waiting = None


class Store:
    """Content on its way into a layout. `folder` is on the file system of the layout."""

    def __init__(self, layout: Layout, folder: str, threads: int = 2, progress: Optional[Progress] = None) -> None:
        self.layout = layout
        self.folder = folder
        self.threads = max(1, threads)
        self.progress = progress
        # Digests that this run has seen right, so that nothing is read a second time to know them.
        self.fresh: set[str] = set()
        self._lock = threading.Lock()

    def left(self, item: Item) -> int:
        """How many bytes of its content are still to come."""
        try:
            kept = os.stat(os.path.join(self.folder, item.key)).st_size - len(item.prefix)
        except FileNotFoundError:
            return item.size
        return min(item.size, max(0, item.size - kept))

    def bring(self, items: Sequence[Item]) -> list[tuple[str, int]]:
        """All of them, the largest first, some at a time; digest and size of each blob, in the order given.

        The disk has to have room for all of them before the first one is asked for. The first error ends the others,
        which keep what they have.
        """
        need = sum(self.left(item) for item in {item.key: item for item in items}.values())
        free = shutil.disk_usage(self.folder).free
        if need > free:
            raise FetchError(
                f"{self.folder}: {free} bytes are free, {need} more are to be fetched; free {need - free} bytes, or "
                "name another bundle_cache"
            )
        if self.progress is not None:
            self.progress.grow(need)
        order = sorted({item.key: item for item in items}.values(), key=lambda item: (-item.size, item.key))
        results: dict[str, tuple[str, int]] = {}
        stop = threading.Event()
        with ThreadPoolExecutor(self.threads) as hashers, ThreadPoolExecutor(1) as flusher:
            with ThreadPoolExecutor(self.threads) as pool:

                def one(item: Item) -> None:
                    if not stop.is_set():
                        results[item.key] = self._one(item, hashers, flusher, stop)

                futures = [pool.submit(one, item) for item in order]
                try:
                    wait(futures, return_when=FIRST_EXCEPTION)
                finally:
                    stop.set()
            errors = [error for error in (future.exception() for future in futures) if error is not None]
        for error in errors:
            if not isinstance(error, _Stopped):
                raise error
        return [results[item.key] for item in items]

    def _one(
        self, item: Item, hashers: ThreadPoolExecutor, flusher: ThreadPoolExecutor, stop: threading.Event
    ) -> tuple[str, int]:
        try:
            return self._bring(item, hashers, flusher, stop)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            raise FetchError(
                f"{item.name}: cannot be written below {self.folder} ({error.strerror}); make room there, or name "
                "another bundle_cache, and run again: it goes on where it stopped"
            ) from error

    def _bring(
        self, item: Item, hashers: ThreadPoolExecutor, flusher: ThreadPoolExecutor, stop: threading.Event
    ) -> tuple[str, int]:
        path = os.path.join(self.folder, item.key)
        for attempt in range(TRIES):
            hashes = _Hashes(hashers)
            with open(path, "a+b", buffering=0) as out:
                try:
                    resumed = self._take_up(item, out.fileno(), hashes)
                    self._fill(item, out.fileno(), resumed, hashes, flusher, stop)
                finally:
                    hashes.finish()
                content = "sha256:" + hashes.content.hexdigest()
                if content == item.digest:
                    os.fchmod(out.fileno(), 0o644)
                    os.fdatasync(out.fileno())
                    digest = content if not item.prefix else "sha256:" + hashes.blob.hexdigest()
                    size = len(item.prefix) + item.size + len(item.suffix)
                    if item.done is not None:
                        item.done(digest, size)
                    os.replace(path, self.layout.blob_path(digest))
                    with self._lock:
                        self.fresh.add(digest)
                    return digest, size
                os.ftruncate(out.fileno(), 0)
            # What was kept of an earlier run may be spoilt, or a line; once more from the start tells.
            if self.progress is not None and attempt + 1 < TRIES:
                self.progress.add(resumed - item.size)
                self.progress.grow(resumed)
        os.unlink(path)
        raise FetchError(
            f"{item.name}: sha256 differs (expected {item.digest}, {content} came, {TRIES} times); its source is not "
            "what it was announced as: check the digest and the source"
        )

    def _take_up(self, item: Item, out: int, hashes: _Hashes) -> int:
        """Read what an earlier run kept; how many bytes of the content that is."""
        kept = os.fstat(out).st_size
        begin = len(item.prefix)
        if kept < begin or os.pread(out, begin, 0) != item.prefix:
            os.ftruncate(out, 0)
            write_all(out, item.prefix)
            kept = begin
        if kept > begin + item.size:
            os.ftruncate(out, begin + item.size)
            kept = begin + item.size
        if item.prefix:
            hashes.add(item.prefix, content=False)
        position = begin
        while position < kept:
            chunk = os.pread(out, min(CHUNK, kept - position), position)
            hashes.add(chunk, both=bool(item.prefix))
            position += len(chunk)
        return kept - begin

    def _fill(
        self,
        item: Item,
        out: int,
        offset: int,
        hashes: _Hashes,
        flusher: ThreadPoolExecutor,
        stop: threading.Event,
    ) -> None:
        flushing: Optional[Future[None]] = None
        since = 0
        sink = Sink(out, len(item.prefix) + offset)
        if offset < item.size:
            for chunk in item.read(offset):
                if stop.is_set():
                    raise _Stopped
                offset += len(chunk)
                if offset > item.size:
                    break
                hashes.add(chunk, both=bool(item.prefix))
                sink.write(chunk)
                since += 0 if sink.direct else len(chunk)
                if since >= FLUSH and (flushing is None or flushing.done()):
                    flushing, since = flusher.submit(os.fdatasync, out), 0
                if self.progress is not None:
                    self.progress.add(len(chunk))
        if flushing is not None:
            flushing.result()
        if offset != item.size:
            os.ftruncate(out, 0)
            raise FetchError(
                f"{item.name}: {'more than ' if offset > item.size else ''}{min(offset, item.size)} bytes came where "
                f"{item.size} are announced; check the size and the source"
            )
        if item.suffix:
            hashes.add(item.suffix, content=False)
            write_all(out, item.suffix)


class _Stopped(Exception):
    """Another one failed; what there is of this one stays."""
