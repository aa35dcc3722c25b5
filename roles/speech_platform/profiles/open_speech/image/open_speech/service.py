# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is behind the routes: models, keys, the gate and the threads that do the work."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from . import engines, models
from .catalogue import Catalogue
from .config import Config
from .engines import Hears, Speaks
from .errors import ApiError, StartError, busy
from .gate import Gate
from .keys import KeyStore
from .metrics import Metrics
from .models import Model

_LOGGER = logging.getLogger("open_speech")
_T = TypeVar("_T")

Loader = Callable[[Config], tuple[dict[str, Model], Hears | None, dict[str, Speaks]]]


def load_from_volume(config: Config) -> tuple[dict[str, Model], Hears | None, dict[str, Speaks]]:
    """Verify what the configuration names, then load it."""
    found = models.verify(config.models_dir, engines.wanted(config), threads=max(2, config.threads))
    return (found, *engines.load(config, found))


class Service:
    def __init__(self, config: Config, keys: KeyStore, *, loader: Loader = load_from_volume) -> None:
        self.config = config
        self.keys = keys
        self.catalogue = Catalogue(config.stt_model, config.tts_voices, config.model_aliases, config.voice_aliases)
        self.metrics = Metrics()
        self.gate = Gate(
            self.metrics,
            concurrency=config.concurrency,
            queue_size=config.queue_size,
            queue_seconds=config.queue_seconds,
            requests_per_key=config.requests_per_key,
        )
        self.started = int(time.time())
        self.ready = False
        self.failure: StartError | None = None
        self._hears: Hears | None = None
        self._speaks: dict[str, Speaks] = {}
        self._loader = loader
        self._workers = ThreadPoolExecutor(config.concurrency, "worker")

    def load(self) -> None:
        """Verify and load every model (blocks); raises StartError."""
        begin = time.perf_counter()
        found, self._hears, self._speaks = self._loader(self.config)
        seconds = time.perf_counter() - begin
        for model in found.values():
            self.metrics.model.labels(model.name, model.version, model.kind).set(1)
        self.metrics.load_seconds.set(seconds)
        self.metrics.ready.set(1)
        self.ready = True
        names = [f"{model.name} {model.version}" for model in found.values()]
        _LOGGER.info("ready", extra={"fields": {"models": names, "seconds": round(seconds, 2)}})

    def require(self, engine: str) -> None:
        """Raise ApiError unless this process serves `engine` and has loaded it."""
        if engine not in self.config.engines:
            served = " and ".join(self.config.engines)
            raise ApiError(404, f"This server has no {engine} engine, only {served}.", code="unknown_url")
        if not self.ready:
            raise busy("The models are being loaded. Try again shortly.", 5, code="model_loading")

    @property
    def hears(self) -> Hears:
        if self._hears is None:
            raise RuntimeError("no speech-to-text model is loaded")
        return self._hears

    def speaks(self, voice: str) -> Speaks:
        return self._speaks[voice]

    async def work(self, engine: str, job: Callable[[], _T]) -> _T:
        """Run `job` in a worker thread and count its seconds."""
        begin = time.perf_counter()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._workers, job)
        finally:
            self.metrics.work_seconds.labels(engine).observe(time.perf_counter() - begin)

    def close(self) -> None:
        self._workers.shutdown(wait=True, cancel_futures=True)
