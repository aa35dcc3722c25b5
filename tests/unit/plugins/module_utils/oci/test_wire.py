# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP over a socket: each way that an answer may come, in one piece and byte by byte."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Optional

import pytest

from ansible_collections.airgap.speech.plugins.module_utils.oci.wire import Connection, Response, WireError

BODY = bytes(range(256)) * 40
CHUNKED = b"5\r\nhello\r\nA;x=y\r\n, chunked \r\n5\r\nworld\r\n0\r\nTrailer: 1\r\n\r\n"


def serve(data: bytes, piece: int, method: str = "GET") -> Response:
    """The answer that a server makes of these bytes, sent in pieces; then it hangs up."""
    ours, theirs = socket.socketpair()

    def send() -> None:
        with theirs, contextlib.suppress(ConnectionError):
            for start in range(0, len(data), piece):
                theirs.sendall(data[start : start + piece])

    threading.Thread(target=send, daemon=True).start()
    return Response(ours, method)


@pytest.mark.parametrize("piece", [1, 7, 100_000])
@pytest.mark.parametrize(
    ("head", "body", "method", "expected", "closes"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10240\r\n", BODY, "GET", BODY, False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10240\r\n", b"", "HEAD", b"", False),
        (b"HTTP/1.1 204 No Content\r\n", b"", "GET", b"", False),
        (b"HTTP/1.1 304 \r\n", b"", "GET", b"", False),
        (b"HTTP/1.1 200\r\nconTENT-length:   3  \r\nConnection: Close\r\n", b"abc", "GET", b"abc", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", CHUNKED, "GET", b"hello, chunked world", False),
        (b"HTTP/1.1 200 OK\r\n", BODY, "GET", BODY, True),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n", b"ok", "GET", b"ok", True),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n", b"ok", "GET", b"ok", False),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 0\r\n", b"", "PUT", b"", False),
    ],
)
def test_answers(piece: int, head: bytes, body: bytes, method: str, expected: bytes, closes: bool) -> None:
    response = serve(head + b"\r\n" + body, piece, method)
    assert response.status in (200, 201, 204, 304)
    assert response.will_close is closes
    assert response.read(7) + response.read(100_000) == expected
    assert response.read(1) == b""
    assert response.isclosed()


@pytest.mark.parametrize("piece", [1, 100_000])
def test_into_a_buffer(piece: int) -> None:
    response = serve(b"HTTP/1.1 200 OK\r\nContent-Length: 10240\r\n\r\n" + BODY, piece)
    buffer = bytearray(6000)
    assert response.readinto(buffer) == 6000
    assert bytes(buffer) == BODY[:6000]
    assert response.readinto(buffer) == 4240
    assert bytes(buffer[:4240]) == BODY[6000:]
    assert response.readinto(buffer) == 0


def test_what_has_come_is_handed_on_before_the_buffer_is_full() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6000\r\n\r\n" + bytes(1000))
        response = Response(ours, "GET")
        assert response.readinto(bytearray(6000), 0.0) == 1000
        theirs.sendall(bytes(5000))
        assert response.readinto(bytearray(6000)) == 5000


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "no answer came"),
        (b"HTTP/1.1 200 OK\r\nContent", "ended within the headers"),
        (b"SSH-2.0-x\r\n\r\n", "is no HTTP"),
        (b"HTTP/2 200\r\n\r\n", "is no HTTP"),
        (b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n", "is no header"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "a length of '-1'"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", "ended early"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "a chunk of"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nshort", "ended early"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 400_000, "headers without an end"),
    ],
)
def test_what_is_no_answer(data: bytes, text: str) -> None:
    with pytest.raises(WireError, match=text):
        response = serve(data, 1000)
        while response.read(3):
            pass


def test_the_token_service_is_preferred() -> None:
    head = b'HTTP/1.1 401 No\r\nWWW-Authenticate: Bearer realm="x"\r\nWWW-Authenticate: Basic realm="y"\r\n'
    assert serve(head + b"Content-Length: 0\r\n\r\n", 100).getheader("WWW-Authenticate") == 'Bearer realm="x"'


@pytest.mark.parametrize(
    ("host", "secure", "expected"),
    [
        ("r.example:5000", False, ("r.example", 5000)),
        ("r.example", False, ("r.example", 80)),
        ("[::1]:5000", False, ("::1", 5000)),
        ("[::1]", False, ("::1", 80)),
    ],
)
def test_addresses(host: str, secure: bool, expected: tuple[str, int]) -> None:
    connection = Connection(host, 1.0)
    assert (connection._host, connection._port) == expected
    assert connection.secure is secure


@pytest.mark.parametrize(
    ("target", "value", "text"),
    [("/a b", None, "cannot be asked for"), ("/a\r\nX: y", None, "cannot be asked for"), ("/", "a\r\nb", "line end")],
)
def test_nothing_is_smuggled_in(target: str, value: Optional[str], text: str) -> None:
    connection = Connection("r.example", 1.0)
    with pytest.raises(WireError, match=text):
        connection.request("GET", target, {"X": value} if value else {})
