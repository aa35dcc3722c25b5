# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engines: faster-whisper hears, Piper speaks. Both read only files that were verified on the volume."""

from __future__ import annotations

import json
import logging
from typing import Protocol

import numpy as np

from .audio import STT_RATE, Samples
from .config import Config
from .errors import ApiError, StartError
from .formats import Segment, Transcript, Word
from .languages import LANGUAGES
from .models import Model

_LOGGER = logging.getLogger("open_speech.engines")


class Hears(Protocol):
    """Speech to text."""

    def language(self, code: str | None) -> str | None:
        """The language code that the engine takes for what the client said; ApiError where it knows none."""

    def transcribe(
        self, samples: Samples, *, language: str | None, prompt: str | None, temperature: float, words: bool
    ) -> Transcript:
        """What is said in the samples, with the time of each word where words is set."""


class Speaks(Protocol):
    """Text to speech with one voice."""

    rate: int

    def speak(self, text: str, *, speed: float) -> list[Samples]:
        """The text spoken, a piece for each sentence, at rate samples a second."""


class Whisper:
    """A Whisper model in CTranslate2's form, with Silero's voice activity detection before it."""

    def __init__(self, model: Model, vad: Model | None, config: Config) -> None:
        import ctranslate2
        from faster_whisper import WhisperModel

        for needed in ("config.json", "model.bin", "tokenizer.json"):
            if not model.has(needed):
                # Without its tokenizer, faster-whisper would look for one on a hub.
                raise StartError(f"model {model.name}: model.json does not list {needed}; add it to the model")
        unlisted = model.directory / "preprocessor_config.json"
        if unlisted.exists() and not model.has(unlisted.name):
            raise StartError(f"model {model.name}: {unlisted}: not in model.json; remove it or list it")
        device = config.device
        if device == "auto":
            device = "cuda" if ctranslate2.get_cuda_device_count() > 0 else "cpu"
        compute_type = config.compute_type or ("int8" if device == "cpu" else "float16")
        try:
            self._model = WhisperModel(
                str(model.directory),
                device=device,
                compute_type=compute_type,
                cpu_threads=config.threads,
                num_workers=config.concurrency,
                local_files_only=True,
            )
            self._vad = vad is not None
            if vad is not None:
                _use_vad(vad)
            self._beam_size = config.beam_size
            self._multilingual = bool(self._model.model.is_multilingual)
            # One second of silence goes all the way, so that a missing CUDA library stops the start and not a request.
            list(self._model.transcribe(np.zeros(STT_RATE, np.float32), language="en", beam_size=1)[0])
        except (RuntimeError, ValueError) as error:
            cause = " ".join(str(error).split())
            raise StartError(
                f"model {model.name}: cannot be loaded on {device} as {compute_type} ({cause}); correct the model, "
                "or OPEN_SPEECH_DEVICE and OPEN_SPEECH_COMPUTE_TYPE"
            ) from None
        _LOGGER.info("model %s %s loaded on %s as %s", model.name, model.version, device, compute_type)

    def language(self, code: str | None) -> str | None:
        if not code:
            return None if self._multilingual else "en"
        short = code.strip().lower().replace("_", "-").partition("-")[0]
        names = {name: short_name for short_name, name in LANGUAGES.items()}
        short = names.get(code.strip().lower(), short)
        if short not in LANGUAGES:
            raise ApiError(
                400, "Unknown language; give an ISO 639-1 code such as en.", param="language", code="invalid_value"
            )
        if not self._multilingual and short != "en":
            raise ApiError(400, "The loaded model knows English only.", param="language", code="unsupported_language")
        return short

    def transcribe(
        self, samples: Samples, *, language: str | None, prompt: str | None, temperature: float, words: bool
    ) -> Transcript:
        segments, info = self._model.transcribe(
            samples,
            language=language,
            initial_prompt=prompt or None,
            # 0 means: begin without chance, and raise the temperature only where the result is poor.
            temperature=[0.0, 0.2, 0.4, 0.6, 0.8, 1.0] if temperature == 0 else temperature,
            beam_size=self._beam_size,
            vad_filter=self._vad,
            word_timestamps=words,
        )
        found = tuple(
            Segment(
                id=number,
                seek=segment.seek,
                start=segment.start,
                end=segment.end,
                text=segment.text,
                tokens=tuple(segment.tokens),
                temperature=segment.temperature or 0.0,
                avg_logprob=segment.avg_logprob,
                compression_ratio=segment.compression_ratio,
                no_speech_prob=segment.no_speech_prob,
                words=tuple(Word(word.word, word.start, word.end) for word in segment.words or ()),
            )
            for number, segment in enumerate(segments)
        )
        return Transcript(info.language, len(samples) / STT_RATE, found)


def _use_vad(model: Model) -> None:
    """Give faster-whisper the detector from the volume in place of the one in its package."""
    from faster_whisper import vad

    try:
        detector = vad.SileroVADModel(str(model.one(".onnx")))
        detector(np.zeros(512, np.float32))
    except StartError:
        raise
    except Exception as error:  # onnxruntime's exceptions have no common class of their own
        raise StartError(
            f"model {model.name}: not a Silero detector that this faster-whisper knows ({type(error).__name__}); "
            "place the one that models.yml names"
        ) from None
    vad.get_vad_model = lambda: detector


class Piper:
    """One Piper voice. Piper runs on the CPU: it speaks many times faster than real time there."""

    def __init__(self, model: Model, config: Config) -> None:
        import onnxruntime
        from piper import PiperConfig, PiperVoice

        path = model.one(".onnx")
        if not model.has(f"{path.name}.json"):
            raise StartError(f"model {model.name}: model.json does not list {path.name}.json; add it to the model")
        try:
            settings = json.loads((model.directory / f"{path.name}.json").read_text(encoding="utf-8"))
            if settings.get("phoneme_type", "espeak") not in ("espeak", "text"):
                # Some of Piper's other phonemizers download their data.
                raise ValueError(f"phoneme_type {settings['phoneme_type']} is not supported")
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = config.threads
            options.inter_op_num_threads = 1
            session = onnxruntime.InferenceSession(str(path), sess_options=options, providers=["CPUExecutionProvider"])
            self._voice = PiperVoice(config=PiperConfig.from_dict(settings), session=session)
            self.rate = self._voice.config.sample_rate
            self.speak("Ready.", speed=1.0)
        except Exception as error:  # onnxruntime's exceptions have no common class of their own
            cause = " ".join(str(error).split())
            raise StartError(f"model {model.name}: cannot be loaded ({cause}); correct the model") from None
        _LOGGER.info("voice %s %s loaded", model.name, model.version)

    def speak(self, text: str, *, speed: float) -> list[Samples]:
        from piper import SynthesisConfig

        scale = self._voice.config.length_scale / speed
        chunks = self._voice.synthesize(text, SynthesisConfig(length_scale=scale))
        return [chunk.audio_float_array for chunk in chunks]


def wanted(config: Config) -> dict[str, tuple[str, str]]:
    """The models that this configuration needs: name -> (kind, engine)."""
    models: dict[str, tuple[str, str]] = {}
    if config.stt_model:
        models[config.stt_model] = ("stt", "faster-whisper")
    if config.vad_model:
        models[config.vad_model] = ("vad", "silero-vad")
    models.update(dict.fromkeys(config.tts_voices, ("tts", "piper")))
    return models


def load(config: Config, models: dict[str, Model]) -> tuple[Hears | None, dict[str, Speaks]]:
    """Everything that this configuration serves."""
    hears = None
    if config.stt_model:
        hears = Whisper(models[config.stt_model], models[config.vad_model] if config.vad_model else None, config)
    return hears, {name: Piper(models[name], config) for name in config.tts_voices}
