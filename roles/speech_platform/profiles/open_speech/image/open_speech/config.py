# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Configuration: environment variables OPEN_SPEECH_*, read once at start."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .errors import StartError

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*\Z")

STT_ALIASES = (
    "whisper-1",
    "gpt-transcribe",
    "gpt-4o-transcribe",
    "gpt-4o-mini-transcribe",
    "gpt-4o-mini-transcribe-2025-12-15",
)
TTS_ALIASES = ("tts-1", "tts-1-hd", "gpt-4o-mini-tts", "gpt-4o-mini-tts-2025-12-15")
OPENAI_VOICES = (
    "alloy", "ash", "ballad", "cedar", "coral", "echo", "fable", "marin", "nova", "onyx", "sage", "shimmer", "verse",
)  # fmt: skip


@dataclass(frozen=True)
class Config:
    """Everything that the service was told."""

    engines: tuple[str, ...]
    host: str
    port: int
    models_dir: Path
    stt_model: str | None
    vad_model: str | None
    tts_voices: tuple[str, ...]
    model_aliases: dict[str, str]
    voice_aliases: dict[str, str]
    api_keys_dir: Path | None
    api_keys_file: Path | None
    allow_anonymous: bool
    device: str
    compute_type: str
    threads: int
    beam_size: int
    concurrency: int
    queue_size: int
    queue_seconds: float
    requests_per_key: int
    max_upload_bytes: int
    upload_seconds: float
    max_audio_seconds: float
    max_input_characters: int
    drain_seconds: int

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Config:
        """Read and check OPEN_SPEECH_*; raises StartError that names the variable."""
        read = _Reader(env)
        engines = read.names("ENGINES", "stt,tts")
        for engine in engines:
            if engine not in ("stt", "tts"):
                raise StartError(f"OPEN_SPEECH_ENGINES: unknown engine {engine!r}; set it to stt, tts or stt,tts")
        if not engines:
            raise StartError("OPEN_SPEECH_ENGINES: no engine; set it to stt, tts or stt,tts")
        stt_model = read.text("STT_MODEL") or None
        vad_model: str | None = read.text("VAD_MODEL", "silero-vad")
        if vad_model in ("none", ""):
            vad_model = None
        voices = read.names("TTS_VOICES", "")
        if "stt" in engines and stt_model is None:
            raise StartError("OPEN_SPEECH_STT_MODEL: not set; name a speech-to-text model below OPEN_SPEECH_MODELS_DIR")
        if "tts" in engines and not voices:
            raise StartError("OPEN_SPEECH_TTS_VOICES: not set; name the voices below OPEN_SPEECH_MODELS_DIR")
        for name in (stt_model, vad_model, *voices):
            if name is not None and not _NAME.match(name):
                raise StartError(f"{name!r} is no model name; use lower case letters, digits, dot, dash and underscore")
        device = read.text("DEVICE", "auto")
        if device not in ("auto", "cpu", "cuda"):
            raise StartError(f"OPEN_SPEECH_DEVICE: unknown device {device!r}; set it to auto, cpu or cuda")
        concurrency = read.integer("CONCURRENCY", 1, least=1)
        threads = read.integer("THREADS", 0, least=0)
        return cls(
            engines=engines,
            host=read.text("HOST", "0.0.0.0"),  # noqa: S104 - a pod's own address is not known beforehand
            port=read.integer("PORT", 8000, least=1, most=65535),
            models_dir=Path(read.text("MODELS_DIR", "/models")),
            stt_model=stt_model if "stt" in engines else None,
            vad_model=vad_model if "stt" in engines else None,
            tts_voices=voices if "tts" in engines else (),
            model_aliases=read.aliases("MODEL_ALIASES"),
            voice_aliases=read.aliases("VOICE_ALIASES"),
            api_keys_dir=read.path("API_KEYS_DIR"),
            api_keys_file=read.path("API_KEYS_FILE"),
            allow_anonymous=read.boolean("ALLOW_ANONYMOUS"),
            device=device,
            compute_type=read.text("COMPUTE_TYPE"),
            threads=threads or max(1, len(os.sched_getaffinity(0)) // concurrency),
            beam_size=read.integer("BEAM_SIZE", 5, least=1, most=20),
            concurrency=concurrency,
            queue_size=read.integer("QUEUE_SIZE", 8, least=0),
            queue_seconds=read.number("QUEUE_SECONDS", 30.0),
            requests_per_key=read.integer("REQUESTS_PER_KEY", 0, least=0),
            max_upload_bytes=read.integer("MAX_UPLOAD_BYTES", 25 * 1024 * 1024, least=1024),
            upload_seconds=read.number("UPLOAD_SECONDS", 300.0),
            max_audio_seconds=read.number("MAX_AUDIO_SECONDS", 3600.0),
            max_input_characters=read.integer("MAX_INPUT_CHARACTERS", 4096, least=1),
            drain_seconds=read.integer("DRAIN_SECONDS", 25, least=0),
        )


class _Reader:
    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env

    def text(self, name: str, default: str = "") -> str:
        return self._env.get(f"OPEN_SPEECH_{name}", default).strip()

    def names(self, name: str, default: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(part.strip() for part in self.text(name, default).split(",") if part.strip()))

    def path(self, name: str) -> Path | None:
        text = self.text(name)
        return Path(text) if text else None

    def integer(self, name: str, default: int, *, least: int, most: int | None = None) -> int:
        text = self.text(name) or str(default)
        try:
            value = int(text)
        except ValueError:
            raise StartError(f"OPEN_SPEECH_{name}: {text!r} is no whole number; correct it") from None
        if value < least or (most is not None and value > most):
            limits = f"at least {least}" if most is None else f"from {least} to {most}"
            raise StartError(f"OPEN_SPEECH_{name}: {value} is out of range; it must be {limits}")
        return value

    def number(self, name: str, default: float) -> float:
        text = self.text(name) or str(default)
        try:
            value = float(text)
        except ValueError:
            raise StartError(f"OPEN_SPEECH_{name}: {text!r} is no number; correct it") from None
        if not 0 < value < float("inf"):
            raise StartError(f"OPEN_SPEECH_{name}: {text} is out of range; it must be more than 0")
        return value

    def boolean(self, name: str) -> bool:
        text = self.text(name, "false").lower()
        if text not in ("true", "false", ""):
            raise StartError(f"OPEN_SPEECH_{name}: {text!r} is neither true nor false; correct it")
        return text == "true"

    def aliases(self, name: str) -> dict[str, str]:
        result = {}
        for part in self.names(name, ""):
            alias, equals, target = (piece.strip() for piece in part.partition("="))
            if not alias or not equals:
                raise StartError(f"OPEN_SPEECH_{name}: {part!r} is not alias=model; correct it")
            result[alias] = target
        return result
