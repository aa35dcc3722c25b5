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
        self._answers: list[threading.Thread] = []
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
            answers = threading.Thread(target=self._pass_answers, args=(server, client), daemon=True)
            self._answers.append(answers)
            answers.start()
            threading.Thread(target=self._pass_requests, args=(client, server), daemon=True).start()

    def _pass_requests(self, client: socket.socket, server: socket.socket) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while data := client.recv(PIECE):
                self._wait(len(data))
                with self._lock:
                    if self._cuts and passed + len(data) > self._cuts[0]:
                        self._cuts.pop(0)
                        _hang_up(client, server)
                        return
                passed += len(data)
                server.sendall(data)
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_WR)  # and hear when it has dealt with what it got

    def _pass_answers(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(PIECE):
                with contextlib.suppress(OSError):  # of a client that was killed
                    client.sendall(data)
        _hang_up(client, server)

    def _wait(self, count: int) -> None:
        if not self._rate:
            return
        with self._lock:
            now = time.monotonic()
            self._free_at = max(self._free_at, now) + count / self._rate
            pause = self._free_at - now
        time.sleep(pause)

    def settle(self) -> None:
        """Wait until the server has dealt with all that clients sent before they went, or were killed."""
        for answers in self._answers:
            answers.join()

    def close(self) -> None:
        """Take no more connections, and end those that are open."""
        self._listener.close()
        for one in self._open:
            one.close()

    def __enter__(self) -> FaultProxy:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


def _hang_up(*connection: socket.socket) -> None:
    for end in connection:
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)  # wakes the thread of the other way
        end.close()  # only this makes the peer's sending fail, rather than wait
