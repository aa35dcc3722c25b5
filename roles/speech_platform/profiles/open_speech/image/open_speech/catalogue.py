# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names: which loaded model a client means by `whisper-1`, `tts-1`, `alloy` or a name of ours."""

from __future__ import annotations

from .config import OPENAI_VOICES, STT_ALIASES, TTS_ALIASES
from .errors import ApiError, StartError


class Catalogue:
    """What is served, under its own names and under those that OpenAI's clients use."""

    def __init__(
        self,
        stt_model: str | None,
        tts_voices: tuple[str, ...],
        model_aliases: dict[str, str] | None = None,
        voice_aliases: dict[str, str] | None = None,
    ) -> None:
        self.stt_model = stt_model
        self.tts_voices = tts_voices
        self.default_voice = tts_voices[0] if tts_voices else None
        names = [*([stt_model] if stt_model else []), *tts_voices]
        self.aliases: dict[str, str] = {}
        if stt_model:
            self.aliases.update(dict.fromkeys(STT_ALIASES, stt_model))
        if self.default_voice:
            self.aliases.update(dict.fromkeys(TTS_ALIASES, self.default_voice))
        self.voices: dict[str, str] = {}
        if self.default_voice:
            self.voices.update(dict.fromkeys(OPENAI_VOICES, self.default_voice))
        self._merge(self.aliases, model_aliases or {}, names, "MODEL_ALIASES")
        self._merge(self.voices, voice_aliases or {}, list(tts_voices), "VOICE_ALIASES")

    def _merge(self, known: dict[str, str], told: dict[str, str], names: list[str], variable: str) -> None:
        for alias, target in told.items():
            words = {"stt": self.stt_model, "tts": self.default_voice}
            resolved = words.get(target, target)
            if not target:
                known.pop(alias, None)
            elif resolved is None:
                continue  # an alias for the engine that the other Deployment of this image serves
            elif resolved not in names:
                raise StartError(
                    f"OPEN_SPEECH_{variable}: {alias}={target}: {target} is not loaded; "
                    f"name one of {', '.join(names) or 'no model at all'}, or none to drop the alias"
                )
            else:
                known[alias] = resolved

    def kind(self, name: str) -> str:
        return "stt" if name == self.stt_model else "tts"

    def listing(self) -> list[tuple[str, str]]:
        """Every name that a request may use, with the model it means; real names first."""
        real = [*([self.stt_model] if self.stt_model else []), *self.tts_voices]
        return [(name, name) for name in real] + sorted(self.aliases.items())

    def resolve(self, name: str, kind: str | None = None) -> str:
        """The loaded model for `name`; ApiError 404 in OpenAI's words where there is none."""
        resolved = self.aliases.get(name, name)
        if resolved not in (self.stt_model, *self.tts_voices) or (kind is not None and self.kind(resolved) != kind):
            shown = name if len(name) <= 100 else name[:100] + "..."
            known = ", ".join(alias for alias, target in self.listing() if kind is None or self.kind(target) == kind)
            raise ApiError(
                404,
                f"The model '{shown}' does not exist here. Known: {known or 'none of this kind'}.",
                param="model",
                code="model_not_found",
            )
        return resolved

    def voice(self, model: str, voice: str) -> str:
        """The voice to speak with: one named outright, else the model where it is a voice itself, else the alias's."""
        if voice in self.tts_voices:
            return voice
        if voice not in self.voices:
            raise ApiError(
                400,
                f"Unknown voice. Known: {', '.join([*self.tts_voices, *sorted(self.voices)])}.",
                param="voice",
                code="invalid_value",
            )
        return model if model in self.tts_voices else self.voices[voice]
