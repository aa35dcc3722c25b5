# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prometheus metrics, in a registry of their own so that several apps can live in one process (tests)."""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST as CONTENT_TYPE
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

__all__ = ["CONTENT_TYPE", "Metrics"]

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


class Metrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.requests = Counter(
            "open_speech_requests", "Requests answered.", ["route", "method", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "open_speech_request_seconds",
            "Seconds from a request's first byte to the end of its answer, waiting included.",
            ["route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.work_seconds = Histogram(
            "open_speech_work_seconds",
            "Seconds that a worker spent on a request, waiting not included.",
            ["engine"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.audio_seconds = Counter(
            "open_speech_audio_seconds",
            "Seconds of audio transcribed (stt) or spoken (tts).",
            ["engine"],
            registry=self.registry,
        )
        self.in_flight = Gauge("open_speech_in_flight", "Requests in work now.", ["engine"], registry=self.registry)
        for engine in ("stt", "tts"):
            self.in_flight.labels(engine)
        self.waiting = Gauge("open_speech_waiting", "Requests that wait for a worker now.", registry=self.registry)
        self.refused = Counter(
            "open_speech_queue_refused",
            "Requests refused: no place in the queue (full), waited too long (wait), too many of one key (key).",
            ["reason"],
            registry=self.registry,
        )
        for reason in ("full", "wait", "key"):
            self.refused.labels(reason)
        self.ready = Gauge("open_speech_ready", "1 when every model is loaded.", registry=self.registry)
        self.load_seconds = Gauge(
            "open_speech_load_seconds", "Seconds that verifying and loading the models took.", registry=self.registry
        )
        self.model = Gauge(
            "open_speech_model_info", "A loaded model.", ["name", "version", "kind"], registry=self.registry
        )

    def render(self) -> bytes:
        return generate_latest(self.registry)
