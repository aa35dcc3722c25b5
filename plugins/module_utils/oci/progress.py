# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Progress of a transfer, and work in a few threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Optional, TextIO, TypeVar

from ansible_collections.airgap.speech.plugins.module_utils.oci.errors import human_bytes

_In = TypeVar("_In")
_Out = TypeVar("_Out")


class Progress:
    """Bytes, rate and time left, one line at most each I(every) seconds; a repeated try takes its bytes back."""

    def __init__(
        self,
        label: str,
        total: int = 0,
        write: Optional[Callable[[str], None]] = None,
        every: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.label = label
        self.total = total
        self.done = 0
        self._write = write
        self._every = every
        self._clock = clock
        self._start = clock()
        self._last = self._start
        self._lock = threading.Lock()

    @classmethod
    def to_stream(cls, label: str, total: int, stream: TextIO) -> Progress:
        """Write the lines to an open file."""

        def write(line: str) -> None:
            stream.write(line + "\n")
            stream.flush()

        return cls(label, total, write)

    def grow(self, count: int) -> None:
        """More bytes are to come than were known."""
        with self._lock:
            self.total += count

    def add(self, count: int) -> None:
        """Bytes moved; negative where they have to be moved again."""
        with self._lock:
            self.done += count
            now = self._clock()
            if self._write is None or now - self._last < self._every:
                return
            self._last = now
            line = self._line(now)
            self._write(line)

    def finish(self) -> None:
        """The last line."""
        with self._lock:
            if self._write is not None:
                self._write(self._line(self._clock()))

    def _line(self, now: float) -> str:
        seconds = max(now - self._start, 1e-6)
        rate = max(self.done, 0) / seconds
        left = f"{(self.total - self.done) / rate:.0f} s left" if rate else "time left unknown"
        if self.done >= self.total:
            left = f"{seconds:.1f} s"
        return f"{self.label}: {human_bytes(self.done)} of {human_bytes(self.total)}, {human_bytes(rate)}/s, {left}"


def each(threads: int, call: Callable[[_In], _Out], things: Iterable[_In]) -> list[_Out]:
    """Call over all things in order with some threads; the first error ends the rest and is raised."""
    work = list(things)
    if threads <= 1 or len(work) <= 1:
        return [call(thing) for thing in work]
    results: dict[int, _Out] = {}
    failed: list[BaseException] = []
    waiting = iter(enumerate(work))
    lock = threading.Lock()

    def run() -> None:
        while not failed:
            with lock:
                turn = next(waiting, None)
            if turn is None:
                return
            try:
                results[turn[0]] = call(turn[1])
            except BaseException as error:
                failed.append(error)

    # Plain threads: concurrent.futures takes as long to import as the rest of a run that changes nothing.
    workers = [threading.Thread(target=run, daemon=True) for _number in range(min(threads, len(work)))]
    for worker in workers:
        worker.start()
    try:
        for worker in workers:
            worker.join()
    except BaseException as error:
        failed.append(error)
        raise
    if failed:
        raise failed[0]
    return [results[number] for number in range(len(work))]
