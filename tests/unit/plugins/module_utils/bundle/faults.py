# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A web server between a client and a registry (or a directory) that fails on purpose, once for each fault."""

from __future__ import annotations

import functools
import http.client
import http.server
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Optional


@dataclass
class Fault:
    """What happens to the next `times` requests whose path holds `path`.

    Either an answer of `status` with `headers`, or the real answer with `cut` bytes of its body and then silence, or
    with its body at `rate` bytes a second, or with the byte at `flip` altered.
    """

    path: str
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    cut: Optional[int] = None
    rate: int = 0
    flip: Optional[int] = None
    times: int = 1
    method: str = "GET"


class FaultProxy:
    """Passes requests on to `target` (host:port), faults aside, and keeps what it was asked."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.faults: list[Fault] = []
        self.asked: list[tuple[str, str, Optional[str]]] = []
        self.sent = 0
        self.lock = threading.Lock()
        handler = functools.partial(_Handler, self)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True

    @property
    def endpoint(self) -> str:
        """Where it listens."""
        return f"localhost:{self.server.server_address[1]}"

    def fault(self, method: str, path: str) -> Optional[Fault]:
        """The fault for a request, used up by it."""
        with self.lock:
            for fault in self.faults:
                if fault.times and fault.path in path and fault.method == method:
                    fault.times -= 1
                    return fault
        return None


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, proxy: FaultProxy, *args: object) -> None:
        self.proxy = proxy
        super().__init__(*args)  # type: ignore[arg-type]

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """Pass it on, or fail."""
        proxy = self.proxy
        with proxy.lock:
            proxy.asked.append((self.command, self.path, self.headers.get("Range")))
        fault = proxy.fault(self.command, self.path)
        if fault is not None and fault.status:
            self.send_response(fault.status)
            for name, value in fault.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        upstream = http.client.HTTPConnection(proxy.target)
        upstream.request(self.command, self.path, headers={k: v for k, v in self.headers.items() if k != "Host"})
        answer = upstream.getresponse()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("connection", "transfer-encoding", "server", "date"):
                self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self._body(answer, fault)
        upstream.close()

    do_HEAD = do_GET

    def _body(self, answer: http.client.HTTPResponse, fault: Optional[Fault]) -> None:
        gone = 0
        while True:
            count = 65536 if fault is None or not fault.rate else max(1, fault.rate // 20)
            data = bytearray(answer.read(count))
            if not data:
                return
            if fault is not None and fault.flip is not None and gone <= fault.flip < gone + len(data):
                data[fault.flip - gone] ^= 1
            if fault is not None and fault.cut is not None and gone + len(data) > fault.cut:
                self.wfile.write(data[: fault.cut - gone])
                self.wfile.flush()
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            try:
                self.wfile.write(data)
            except OSError:
                return  # the client has gone
            gone += len(data)
            with self.proxy.lock:
                self.proxy.sent += len(data)
            if fault is not None and fault.rate:
                time.sleep(0.05)


@contextmanager
def fault_proxy(target: str) -> Iterator[FaultProxy]:
    """A running one."""
    proxy = FaultProxy(target)
    thread = threading.Thread(target=proxy.server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield proxy
    finally:
        proxy.server.shutdown()
        proxy.server.server_close()
        thread.join()
