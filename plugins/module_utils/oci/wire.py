# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""HTTP/1.1 over one socket: what a registry client needs of it, and no more.

Not C(http.client): with the e-mail parser behind it, importing that takes longer than a run in which nothing changed,
and here the socket under an answer is needed as it is, for C(splice).
"""

from __future__ import annotations

import math
import re
import socket
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Optional, Union

if TYPE_CHECKING:
    import ssl

MAX_HEAD = 256 << 10
_READ = 64 << 10
_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: |\Z)")
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f]")


class WireError(OSError):
    """An answer that is no HTTP, or that ended before it was whole."""


class Response:
    """An answer: status and headers at once, the body as it is asked for."""

    def __init__(self, sock: socket.socket, method: str) -> None:
        self._sock: Optional[socket.socket] = sock
        self._buffer = b""
        status = 100
        while 100 <= status < 200:  # what comes before the answer proper
            old, status, self._headers = self._head()
        self.status = status
        connection = self._headers.get("connection", "").lower()
        self.will_close = connection == "close" or (old and connection != "keep-alive")
        self.chunked = self._headers.get("transfer-encoding", "").lower() == "chunked"
        self.length: Optional[int] = None
        self._chunk = 0
        if method == "HEAD" or status in (204, 304):
            self.length, self.chunked = 0, False
        elif not self.chunked:
            text = self._headers.get("content-length")
            if text is None:
                self.will_close = True  # it goes on until the connection ends
            elif text.isdigit():
                self.length = int(text)
            else:
                raise WireError(f"a length of {text!r} came")
        if self.length == 0 and not self.chunked:
            self.close()

    def _head(self) -> tuple[bool, int, dict[str, str]]:
        while True:
            end = self._buffer.find(b"\r\n\r\n")
            if end >= 0:
                break
            if len(self._buffer) > MAX_HEAD:
                raise WireError("headers without an end came")
            if not self._fill():
                raise WireError("no answer came" if not self._buffer else "it ended within the headers")
        lines = self._buffer[:end].split(b"\r\n")
        self._buffer = self._buffer[end + 4 :]
        found = _STATUS.match(lines[0])
        if not found:
            raise WireError(f"what came is no HTTP ({lines[0][:40]!r})")
        headers: dict[str, str] = {}
        for line in lines[1:]:
            name, colon, value = line.decode("latin-1").partition(":")
            if not colon:
                raise WireError(f"what came is no header ({line[:40]!r})")
            name, value = name.strip().lower(), value.strip()
            # Of several ways to log in, the token service is the one that a client with a password is meant to take.
            if name in headers and name == "www-authenticate" and not value.lower().startswith("bearer"):
                continue
            headers[name] = value
        return found.group(1) == b"0", int(found.group(2)), headers

    def _fill(self) -> bool:
        data = self._sock.recv(_READ) if self._sock is not None else b""
        self._buffer += data
        return bool(data)

    def getheader(self, name: str) -> Optional[str]:
        """A header, whatever its case."""
        return self._headers.get(name.lower())

    def getheaders(self) -> list[tuple[str, str]]:
        """All of them, in lower case."""
        return list(self._headers.items())

    def fileno(self) -> int:
        """The socket that the body comes from. What came with the headers is read first with RV(read1)."""
        if self._sock is None:
            raise WireError("the answer is closed")
        return self._sock.fileno()

    def isclosed(self) -> bool:
        """Whether the body was read to its end, or given up."""
        return self._sock is None

    def close(self) -> None:
        """No more of it is wanted. The connection is its owner's to close."""
        self._sock = None
        self._buffer = b""

    def read(self, count: int) -> bytes:
        """I(count) bytes; fewer only where the body ends, or breaks, which the next call then says."""
        pieces: list[bytes] = []
        while count > 0:
            try:
                piece = self.read1(count)
            except OSError:
                if not pieces:
                    raise
                break
            if not piece:
                break
            pieces.append(piece)
            count -= len(piece)
        return b"".join(pieces)

    def readinto(self, buffer: Union[bytearray, memoryview], seconds: float = math.inf) -> int:
        """Fill a buffer; less only where the body ends, or breaks, which the next call says, or after I(seconds)."""
        view = memoryview(buffer)
        filled = 0
        until = time.monotonic() + seconds
        while filled < len(view) and (not filled or time.monotonic() < until):
            try:
                count = self._some_into(view[filled:])
            except OSError:
                if not filled:
                    raise
                break
            if not count:
                break
            filled += count
        return filled

    def read1(self, count: int) -> bytes:
        """What has come already, else what comes next, up to I(count) bytes; empty at the end."""
        buffer = bytearray(min(count, len(self._buffer) or _READ * 4))
        found = self._some_into(memoryview(buffer))
        return bytes(memoryview(buffer)[:found])

    def _some_into(self, view: memoryview) -> int:
        if self._sock is None or not len(view):
            return 0
        if self.chunked:
            if not self._chunk and not self._next_chunk():
                return 0
            count = self._take(view[: self._chunk])
            self._chunk -= count
        else:
            count = self._take(view if self.length is None else view[: self.length])
            if self.length is not None:
                self.length -= count
        if not count:
            if self.chunked or self.length:
                raise WireError("it ended early")
            self.close()
        elif self.length == 0 and not self.chunked:
            self.close()
        return count

    def _take(self, view: memoryview) -> int:
        if self._buffer:
            piece = self._buffer[: len(view)]
            view[: len(piece)] = piece
            self._buffer = self._buffer[len(piece) :]
            return len(piece)
        return self._sock.recv_into(view) if self._sock is not None else 0

    def _line(self) -> bytes:
        while b"\r\n" not in self._buffer:
            if len(self._buffer) > MAX_HEAD or not self._fill():
                raise WireError("it ended early")
        line, _end, self._buffer = self._buffer.partition(b"\r\n")
        return line

    def _next_chunk(self) -> bool:
        """Go to the next chunk; false after the last one."""
        line = self._line()
        if not line:  # the end of the chunk before
            line = self._line()
        try:
            self._chunk = int(line.partition(b";")[0], 16)
        except ValueError:
            raise WireError(f"a chunk of {line[:40]!r} came") from None
        if self._chunk:
            return True
        while self._line():  # trailers
            pass
        self.close()
        return False


class Connection:
    """One connection to C(host[:port]), opened when it is asked to be."""

    def __init__(self, host: str, timeout: float, context: Optional[ssl.SSLContext] = None) -> None:
        name, colon, port = host.rpartition(":")
        if not colon or "]" in port:
            name, port = host, ""
        self._host = name.strip("[]")
        self._port = int(port) if port else (443 if context else 80)
        self._header = host
        self._timeout = timeout
        self._context = context
        self._response: Optional[Response] = None
        self.sock: Optional[socket.socket] = None

    @property
    def secure(self) -> bool:
        """Whether it has TLS."""
        return self._context is not None

    @property
    def busy(self) -> bool:
        """Whether an answer on it has not been read to its end."""
        return self._response is not None and not self._response.isclosed()

    def connect(self) -> None:
        """Open it, with TLS where it has a context."""
        sock = socket.create_connection((self._host, self._port), self._timeout)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._context is not None:
                sock = self._context.wrap_socket(sock, server_hostname=self._host)
        except BaseException:
            sock.close()
            raise
        self.sock = sock

    def send_head(self, method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> socket.socket:
        """Send the line and the headers of a request, and a small body with them; the socket, for a large one."""
        if _FORBIDDEN.search(target):
            raise WireError(f"the address {target!r} cannot be asked for")
        lines = [f"{method} {target} HTTP/1.1", f"Host: {self._header}"]
        for name, value in headers.items():
            if "\r" in value or "\n" in value:
                raise WireError(f"the header {name} has a line end in it")
            lines.append(f"{name}: {value}")
        if self.sock is None:
            raise WireError("the connection is closed")
        self.sock.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        return self.sock

    def request(self, method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> None:
        """Send a whole request."""
        if body:
            headers = {**headers, "Content-Length": str(len(body))}
        self.send_head(method, target, headers, body)

    def getresponse(self, method: str) -> Response:
        """The answer to what was sent."""
        if self.sock is None:
            raise WireError("the connection is closed")
        self._response = Response(self.sock, method)
        return self._response

    def close(self) -> None:
        """End it. It can be opened again."""
        if self._response is not None:
            self._response.close()
            self._response = None
        if self.sock is not None:
            self.sock.close()
            self.sock = None
