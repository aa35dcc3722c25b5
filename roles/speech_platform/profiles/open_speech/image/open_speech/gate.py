# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bounded work: so many requests at a time, so many that wait, so long; everybody else is told to come again."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from .errors import ApiError, busy
from .metrics import Metrics


class Gate:
    """A door to `concurrency` workers with a queue of bounded length before it."""

    def __init__(
        self, metrics: Metrics, *, concurrency: int, queue_size: int, queue_seconds: float, requests_per_key: int = 0
    ) -> None:
        self._metrics = metrics
        self._places = concurrency + queue_size
        self._queue_seconds = queue_seconds
        self._requests_per_key = requests_per_key
        self._admitted = 0
        self._by_key: Counter[str] = Counter()
        self._slots = asyncio.Semaphore(concurrency)

    @asynccontextmanager
    async def admitted(self, key: str) -> AsyncIterator[None]:
        """Hold a place from before the body is read to the end; refused at once where all places are taken."""
        if self._requests_per_key and self._by_key[key] >= self._requests_per_key:
            self._metrics.refused.labels("key").inc()
            raise ApiError(
                429,
                f"This API key has {self._requests_per_key} requests under way, which is its limit. Try again later.",
                type_="requests",
                code="rate_limit_exceeded",
                headers={"Retry-After": "1"},
            )
        if self._admitted >= self._places:
            self._metrics.refused.labels("full").inc()
            raise busy("The queue is full. Try again later.", self._queue_seconds / 4, code="queue_full")
        self._admitted += 1
        self._by_key[key] += 1
        try:
            yield
        finally:
            self._admitted -= 1
            self._by_key[key] -= 1
            if not self._by_key[key]:
                del self._by_key[key]

    @asynccontextmanager
    async def slot(self, engine: str) -> AsyncIterator[None]:
        """Wait for a worker, for a bounded time, and hold it."""
        self._metrics.waiting.inc()
        try:
            async with asyncio.timeout(self._queue_seconds):
                await self._slots.acquire()
        except TimeoutError:
            self._metrics.refused.labels("wait").inc()
            raise busy(
                f"No worker was free within {self._queue_seconds:g} s. Try again later.",
                self._queue_seconds,
                code="queue_timeout",
            ) from None
        finally:
            self._metrics.waiting.dec()
        self._metrics.in_flight.labels(engine).inc()
        try:
            yield
        finally:
            self._metrics.in_flight.labels(engine).dec()
            self._slots.release()
