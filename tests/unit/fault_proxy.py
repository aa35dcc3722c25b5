# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A TCP proxy on a loopback port that is slow, or hangs up within a request: for faults of a network."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

PIECE = 64 << 10


class FaultProxy:
    """Passes bytes on to a port of this machine.

    I(rate) is the most bytes a second that go to the server, over all connections. I(cuts) are counts of bytes: the
    connection on which the next one is passed is cut there, once each.
    """

    def __init__(self, port: int, rate: float = 0, cuts: list[int] | None = None) -> None:
        self._target = port
        self._rate = rate
        self._cuts = list(cuts or [])
        self._lock = threading.Lock()
        self._free_at = 0.0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.port = self._listener.getsockname()[1]
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _address = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                return
            self.connections += 1
            self._open += [client, server]
            threading.Thread(target=self._pass, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self._pass, args=(server, client, False), daemon=True).start()

    def _pass(self, origin: socket.socket, to: socket.socket, up: bool) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while True:
                data = origin.recv(PIECE)
                if not data:
                    break
                if up:
                    self._wait(len(data))
                    with self._lock:
                        if self._cuts and passed + len(data) > self._cuts[0]:
                            self._cuts.pop(0)
                            break
                passed += len(data)
                to.sendall(data)
        for one in (origin, to):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)  # wakes the thread of the other way
            one.close()  # only this makes the peer's sending fail, rather than wait

    def _wait(self, count: int) -> None:
        if not self._rate:
            return
        with self._lock:
            now = time.monotonic()
            self._free_at = max(self._free_at, now) + count / self._rate
            pause = self._free_at - now
        time.sleep(pause)

    def close(self) -> None:
        """Take no more connections, and end those that are open."""
        self._listener.close()
        for one in self._open:
            one.close()

    def __enter__(self) -> FaultProxy:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()
