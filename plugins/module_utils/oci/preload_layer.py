# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One layer of a model: its tar header, and its file from the registry to the disk in one pass.

Receiving, hashing and writing run side by side in threads, so that the slowest alone decides the speed. Memory is a few
buffers. Where writing goes through the page cache, one more thread has it brought to the disk, and what the kernel may
hold back is bounded.
"""

from __future__ import annotations

import os
import queue
import tarfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Optional

from ansible_collections.airgap.speech.plugins.module_utils.oci.digest import CHUNK, PIECE
from ansible_collections.airgap.speech.plugins.module_utils.oci.download import Blob
from ansible_collections.airgap.speech.plugins.module_utils.oci.errors import describe
from ansible_collections.airgap.speech.plugins.module_utils.oci.registry import Registry
from ansible_collections.airgap.speech.plugins.module_utils.oci.sink import Sink, aligned, write_all

_BLOCK = 512
_MAX_HEAD = 1 << 20
# Of 4 MiB each: the disk, or else the kernel, takes what comes in such pieces for half the work.
_BUFFERS = 4
# Written back while more is received, so that the last fsync has little left to do; no more than the second is dirty.
_FLUSH = 16 << 20
_MAX_DIRTY = 128 << 20


class BadBytes(Exception):
    """What came is not what was announced."""


class LayerStream:
    """The bytes of a layer from any offset on; a cut connection is taken up where it was."""

    def __init__(self, registry: Registry, repo: str, digest: str, size: int) -> None:
        self._registry = registry
        self._repo = repo
        self._digest = digest
        self._size = size
        self._offset = 0
        self._attempt = 0
        self._blob: Optional[Blob] = None

    def seek(self, offset: int) -> None:
        """Go on at another byte."""
        if offset != self._offset:
            self.close()
            self._offset = offset

    def close(self) -> None:
        """End the request. What was not read to its end costs the connection."""
        if self._blob is not None:
            self._blob.close()
            self._blob = None

    def fill(self, view: memoryview) -> int:
        """Fill a buffer with the next bytes, in part where the layer ends; 0 at its end."""
        view = view[: self._size - self._offset]
        filled = 0
        while filled < len(view):
            cause = "the connection was cut"
            try:
                if self._blob is None:
                    self._blob = self._registry.open_blob(self._repo, self._digest, self._offset)
                count = self._blob.readinto(view[filled:])
            except OSError as error:
                cause, count = f"the connection was cut ({describe(error)})", 0
            if count:
                filled += count
                self._offset += count
                self._attempt = 0
                continue
            self.close()
            self._attempt += 1
            thing = self._registry.name(self._repo, self._digest)
            self._registry.pause(thing, self._attempt, None, cause, "cut")
        return filled

    def take(self, count: int) -> bytes:
        """The next I(count) bytes; fewer where the layer ends."""
        buffer = bytearray(count)
        return bytes(memoryview(buffer)[: self.fill(memoryview(buffer))])


def _pax(data: bytes) -> dict[str, str]:
    """The records of an extended header: C(<length> <key>=<value>) with a line end each."""
    found: dict[str, str] = {}
    while data:
        length, _blank, _rest = data.partition(b" ")
        if not length.isdigit() or int(length) <= len(length) or int(length) > len(data):
            raise BadBytes("an extended tar header is malformed")
        line, data = data[len(length) + 1 : int(length) - 1], data[int(length) :]
        key, _equals, value = line.partition(b"=")
        found[key.decode("utf-8", "replace")] = value.decode("utf-8", "surrogateescape")
    return found


class Head:
    """The start of a layer: everything up to the first byte of its one regular file."""

    def __init__(self, take: Callable[[int], bytes]) -> None:
        self.raw = b""
        self._read = take
        overrides: dict[str, str] = {}
        long_name: Optional[str] = None
        while True:
            block = self._take(_BLOCK)
            if not any(block):
                raise BadBytes("there is no regular file in the layer")
            try:
                info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
            except tarfile.TarError as error:
                raise BadBytes(f"it is not a plain tar layer ({error})") from error
            if info.type in (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME):
                data = self._take(-(-info.size // _BLOCK) * _BLOCK)[: info.size]
                if info.type == tarfile.GNUTYPE_LONGNAME:
                    long_name = data.rstrip(b"\0").decode("utf-8", "surrogateescape")
                else:
                    overrides.update(_pax(data))
                continue
            if info.type == tarfile.DIRTYPE:
                overrides, long_name = {}, None
                continue
            if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
                raise BadBytes("there is something else than one regular file in the layer")
            name = overrides.get("path") or long_name or info.name
            self.path = name[2:] if name.startswith("./") else name
            self.size = int(overrides.get("size", info.size))
            return

    def _take(self, count: int) -> bytes:
        if len(self.raw) + count > _MAX_HEAD:
            raise BadBytes("its tar header is larger than 1 MiB")
        data = self._read(count)
        if len(data) < count:
            raise BadBytes("the layer ends within its tar header")
        self.raw += data
        return data


class _WriteBack:
    """Has what was written brought to the disk by a thread of its own, and holds the writer back where it is late."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self._written = 0
        self._synced = 0
        self._ended = False
        self._error: Optional[BaseException] = None
        self._turn = threading.Condition()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def wrote(self, count: int) -> None:
        """Bytes were written; waits while too many of them are not on disk."""
        with self._turn:
            self._written += count
            if self._written - self._synced < _FLUSH:
                return
            self._turn.notify_all()
            while self._written - self._synced > _MAX_DIRTY and self._error is None:
                self._turn.wait()
            if self._error is not None:
                raise self._error

    def end(self) -> None:
        """No more comes; an error of the disk is raised by the fsync that follows."""
        with self._turn:
            self._ended = True
            self._turn.notify_all()
        self._thread.join()

    def _run(self) -> None:
        try:
            while True:
                with self._turn:
                    while self._written - self._synced < _FLUSH and not self._ended:
                        self._turn.wait()
                    if self._ended:
                        return
                    mark = self._written
                os.fdatasync(self._handle)
                with self._turn:
                    self._synced = mark
                    self._turn.notify_all()
        except BaseException as error:
            with self._turn:
                self._error = error
                self._turn.notify_all()


class _Writer:
    """Writes the buffers that it is handed in a thread of its own, and hashes each in another one meanwhile."""

    def __init__(self, handle: int, offset: int, hasher: Any, wrote: Callable[[int], None]) -> None:
        self._sink = Sink(handle, offset)
        self._hasher = hasher
        self._wrote = wrote
        self._free: queue.Queue[Optional[memoryview]] = queue.Queue()
        self._full: queue.Queue[Optional[tuple[memoryview, int]]] = queue.Queue()
        self._error: Optional[BaseException] = None
        for _number in range(_BUFFERS):
            self._free.put(aligned(PIECE))
        self._back = _WriteBack(handle)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def buffer(self) -> memoryview:
        """A buffer to fill, as soon as one is free."""
        found = self._free.get()
        if found is None:
            raise self._error or RuntimeError("the writer has ended")
        return found

    def write(self, buffer: memoryview, count: int) -> None:
        """Hand over a buffer with I(count) bytes in it."""
        self._full.put((buffer, count))

    def end(self) -> None:
        """Wait until all is written; an error of the thread is raised here."""
        self._full.put(None)
        self._thread.join()
        self._back.end()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            with ThreadPoolExecutor(1) as hashing:
                while True:
                    work = self._full.get()
                    if work is None:
                        return
                    buffer, count = work
                    hashed = hashing.submit(self._hasher.update, buffer[:count])
                    self._sink.write(buffer[:count])
                    hashed.result()
                    self._free.put(buffer)
                    self._wrote(count)
                    if not self._sink.direct:
                        self._back.wrote(count)
        except BaseException as error:
            self._error = error
            self._free.put(None)


def pour(stream: LayerStream, handle: int, left: int, hasher: Any, wrote: Callable[[int], None]) -> None:
    """I(left) bytes from the registry to the end of an open file, each written once; the hasher sees them all."""
    if left <= 2 * PIECE:  # too little for threads to pay
        while left:
            data = stream.take(min(CHUNK, left))
            if not data:
                raise BadBytes("the layer ended early")
            hasher.update(data)
            write_all(handle, data)
            wrote(len(data))
            left -= len(data)
        return
    offset = os.lseek(handle, 0, os.SEEK_CUR)
    writer = _Writer(handle, offset, hasher, wrote)
    try:
        while left:
            buffer = writer.buffer()
            # Up to a multiple of PIECE, so that a file which was taken up again comes back to whole blocks.
            count = stream.fill(buffer[: min(left, PIECE - offset % PIECE)])
            if not count:
                raise BadBytes("the layer ended early")
            writer.write(buffer, count)
            left -= count
            offset += count
    except BaseException:
        try:
            writer.end()  # What came stays, so that the next run goes on behind it.
        except Exception as error:
            raise error from None
        raise
    writer.end()


def read_zeros(stream: LayerStream, left: int, hasher: Any) -> None:
    """The end of a layer behind its file, which has to be zeros."""
    while left:
        data = stream.take(min(CHUNK, left))
        if not data:
            raise BadBytes("the layer ended early")
        if any(data):
            raise BadBytes("there is more than one file in the layer")
        hasher.update(data)
        left -= len(data)


def hash_again(handle: int, have: int, hasher: Any) -> None:
    """Take in what a killed run left of a file; whether it is right shows at the end. Leaves the file behind it."""
    buffer = bytearray(CHUNK)
    view = memoryview(buffer)
    os.lseek(handle, 0, os.SEEK_SET)
    while have:
        count = os.readv(handle, [view[: min(CHUNK, have)]])
        if not count:
            raise BadBytes("a file became shorter while it was read")
        hasher.update(view[:count])
        have -= count
