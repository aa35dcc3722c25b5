# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the bytes of an upload come from: ranges of files, or another registry. Memory stays flat for any size."""

from __future__ import annotations

import errno
import fcntl
import io
import os
import select
import socket
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO, Protocol

from ansible_collections.airgap.speech.plugins.module_utils.oci.download import Blob, Downloads
from ansible_collections.airgap.speech.plugins.module_utils.oci.errors import RegistryError, describe
from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import Extent, LayoutError

CHUNK = 1 << 18
PIECE = 16 << 20
PIPE = 1 << 20
_F_SETPIPE_SZ = 1031
_SPLICE_MOVE = 1

Sent = Callable[[int], None]


class Body(Protocol):
    """The bytes of one blob, from any offset."""

    def pour(self, sock: socket.socket, offset: int, count: int, tell: Sent) -> int:
        """Write I(count) bytes from I(offset) on into a connection; how many there were. I(tell) hears of each."""


class FileBody:
    """An open file, or a stream in memory."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def pour(self, sock: socket.socket, offset: int, count: int, tell: Sent) -> int:
        """Inside the kernel without TLS, through one buffer with it."""
        return _pour_stream(sock, self._stream, offset, count, tell)


class ExtentsBody:
    """Ranges of files that follow each other, as a layout or the parts of a bundle hold a blob.

    The first of them is at byte I(start) of the blob; I(thing) is what it is called where an earlier byte is wanted.
    """

    def __init__(self, extents: Sequence[Extent], start: int = 0, thing: str = "blob") -> None:
        self._extents = tuple(extents)
        self._start = start
        self._thing = thing

    def pour(self, sock: socket.socket, offset: int, count: int, tell: Sent) -> int:
        """Each range with C(sendfile), or through one buffer over TLS."""
        skip, left = offset - self._start, count
        if skip < 0:
            raise LayoutError(
                f"{self._thing}: the registry has forgotten what was sent of it; bring all of these and run again"
            )
        for extent in self._extents:
            if skip >= extent.size:
                skip -= extent.size
                continue
            piece = min(left, extent.size - skip)
            if piece <= 0:
                break
            gone = _pour_extent(sock, extent, skip, piece, tell)
            left -= gone
            skip = 0
            if gone < piece:
                break
        return count - left


class BlobBody:
    """A blob of another registry, passed on as it comes. A cut connection to it is taken up where it was."""

    def __init__(self, source: Downloads, repo: str, digest: str, size: int) -> None:
        self._source = source
        self._repo = repo
        self._digest = digest
        self._size = size

    def pour(self, sock: socket.socket, offset: int, count: int, tell: Sent) -> int:
        """From socket to socket inside the kernel where neither side has TLS, else through one buffer."""
        gone = [0]

        def passed(piece: int) -> None:
            gone[0] += piece
            tell(piece)

        attempt = 0
        while gone[0] < count:
            before = gone[0]
            cause = "the connection was cut"
            with self._source.open_blob(self._repo, self._digest, offset + gone[0]) as blob:
                try:
                    _pass_on(blob, sock, count - gone[0], passed)
                except _SourceBroken as error:
                    cause = f"the connection was cut ({error})"
            if gone[0] < count:
                attempt = 0 if gone[0] > before else attempt
                attempt += 1
                self._source.pause(self._source.name(self._repo, self._digest), attempt, None, cause, "cut")
        return gone[0]


class _SourceBroken(Exception):
    """The side that is read from broke, not the one that is written to."""


def _pour_extent(sock: socket.socket, extent: Extent, skip: int, count: int, tell: Sent) -> int:
    try:
        stream = open(extent.path, "rb", buffering=0)  # noqa: SIM115 - its errors are not those of the connection
    except OSError as error:
        raise LayoutError(f"{extent.path}: it cannot be read ({error.strerror}); copy the bundle again") from error
    with stream:
        try:
            return _pour_stream(sock, stream, extent.offset + skip, count, tell)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            raise LayoutError(f"{extent.path}: the medium cannot be read (I/O error); copy it again") from error


def _pour_stream(sock: socket.socket, stream: BinaryIO, start: int, count: int, tell: Sent) -> int:
    left = count
    if _is_plain_socket(sock) and _is_plain_file(stream):
        while left:
            gone = sock.sendfile(stream, start + count - left, min(PIECE, left))
            if not gone:
                break
            left -= gone
            tell(gone)
        return count - left
    if stream.seekable():
        stream.seek(start)
    buffer = bytearray(min(CHUNK, count))
    view = memoryview(buffer)
    fill: Any = getattr(stream, "readinto", None)
    while left:
        gone = fill(view[: min(CHUNK, left)])
        if not gone:
            break
        sock.sendall(view[:gone])
        left -= gone
        tell(gone)
    return count - left


def _is_plain_socket(sock: socket.socket) -> bool:
    """No TLS, whose socket class knows its cipher (asked so, since importing ssl takes time where none is needed)."""
    return not hasattr(sock, "cipher")


def _is_plain_file(stream: BinaryIO) -> bool:
    try:
        return os.fstat(stream.fileno()).st_size >= 0
    except (io.UnsupportedOperation, AttributeError, OSError):
        return False


def _pass_on(blob: Blob, sock: socket.socket, count: int, tell: Sent) -> None:
    """Move up to I(count) bytes from an answer into a connection; fewer where the answer ends."""
    left = count
    source = blob.plain_socket()
    if source is not None and hasattr(os, "splice") and _is_plain_socket(sock):
        # What came along with the headers lies in a buffer, and goes first.
        head = _read(blob, min(CHUNK, left))
        sock.sendall(head)
        tell(len(head))
        left -= len(head)
        if head and left:
            _splice(blob, source, sock, left, tell)
        return
    buffer = bytearray(min(CHUNK, max(1, left)))
    view = memoryview(buffer)
    while left:
        try:
            got = blob.readinto(view[: min(CHUNK, left)])
        except OSError as error:
            raise _SourceBroken(describe(error)) from error
        if not got:
            return
        sock.sendall(view[:got])
        tell(got)
        left -= got


def _read(blob: Blob, count: int) -> bytes:
    try:
        return blob.read1(count)
    except OSError as error:
        raise _SourceBroken(describe(error)) from error


def _splice(blob: Blob, source: int, sock: socket.socket, count: int, tell: Sent) -> None:
    """Through a pipe, so that no byte of it is copied into this process."""
    splice: Any = getattr(os, "splice")  # noqa: B009 - not in Python 3.9
    target = sock.fileno()
    timeout = int((sock.gettimeout() or 60.0) * 1000)
    outlet, inlet = os.pipe()
    try:
        _widen(inlet)
        left = count
        while left:
            try:
                got = splice(source, inlet, min(PIPE, left), flags=_SPLICE_MOVE)
            except BlockingIOError:
                if not _ready(source, select.POLLIN, timeout):
                    raise _SourceBroken("nothing came in time") from None
                continue
            except OSError as error:
                raise _SourceBroken(describe(error)) from error
            if not got:
                raise _SourceBroken("it ended early")
            blob.passed_by(got)
            held = got
            while held:
                try:
                    held -= splice(outlet, target, held, flags=_SPLICE_MOVE)
                except BlockingIOError:
                    if not _ready(target, select.POLLOUT, timeout):
                        raise socket.timeout("the registry took nothing in time") from None
            tell(got)
            left -= got
    finally:
        os.close(outlet)
        os.close(inlet)


def _widen(pipe: int) -> None:
    try:
        fcntl.fcntl(pipe, _F_SETPIPE_SZ, PIPE)
    except OSError:
        pass  # A smaller pipe takes more turns.


def _ready(descriptor: int, event: int, timeout: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, event)
    return bool(poll.poll(timeout))


def short_of(thing: str, have: int, size: int) -> RegistryError:
    """The source of an upload has fewer bytes than it should."""
    return RegistryError(
        thing, f"the file has {have} bytes where {size} are announced", "copy the bundle again", "digest"
    )
