# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a transcription looks like: json, text, verbose_json, srt and vtt."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from .languages import LANGUAGES

RESPONSE_FORMATS = ("json", "text", "srt", "verbose_json", "vtt")


@dataclass(frozen=True)
class Word:
    word: str
    start: float
    end: float


@dataclass(frozen=True)
class Segment:
    id: int
    seek: int
    start: float
    end: float
    text: str
    tokens: tuple[int, ...] = ()
    temperature: float = 0.0
    avg_logprob: float = 0.0
    compression_ratio: float = 0.0
    no_speech_prob: float = 0.0
    words: tuple[Word, ...] = ()


@dataclass(frozen=True)
class Transcript:
    language: str
    duration: float
    segments: tuple[Segment, ...]

    @property
    def text(self) -> str:
        return "".join(segment.text for segment in self.segments).strip()


def timestamp(seconds: float, mark: str) -> str:
    """`01:02:03,004` with the decimal mark of SubRip (comma) or WebVTT (full stop)."""
    milliseconds = max(0, round(seconds * 1000))
    hours, rest = divmod(milliseconds, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    return f"{hours:02d}:{minutes:02d}:{rest // 1000:02d}{mark}{rest % 1000:03d}"


def _line(segment: Segment) -> str:
    # An arrow inside a cue would end it as a timing line, and so would an empty line.
    return " ".join(segment.text.split()).replace("-->", "->")


def srt(transcript: Transcript) -> str:
    cues = [
        f"{number}\n{timestamp(segment.start, ',')} --> {timestamp(segment.end, ',')}\n{_line(segment)}\n"
        for number, segment in enumerate(transcript.segments, start=1)
    ]
    return "\n".join(cues)


def vtt(transcript: Transcript) -> str:
    cues = [
        f"{timestamp(segment.start, '.')} --> {timestamp(segment.end, '.')}\n{_line(segment)}\n"
        for segment in transcript.segments
    ]
    return "\n".join(["WEBVTT\n", *cues])


def _usage(transcript: Transcript) -> dict[str, Any]:
    return {"type": "duration", "seconds": math.ceil(transcript.duration)}


def json_body(transcript: Transcript) -> dict[str, Any]:
    return {"text": transcript.text, "usage": _usage(transcript)}


def verbose_body(transcript: Transcript, granularities: frozenset[str]) -> dict[str, Any]:
    """`verbose_json`; segments unless only words were asked for, words only where asked for."""
    body: dict[str, Any] = {
        "task": "transcribe",
        "language": LANGUAGES.get(transcript.language, transcript.language),
        "duration": round(transcript.duration, 3),
        "text": transcript.text,
        "usage": _usage(transcript),
    }
    if "word" in granularities:
        body["words"] = [
            {"word": word.word.strip(), "start": round(word.start, 3), "end": round(word.end, 3)}
            for segment in transcript.segments
            for word in segment.words
        ]
    if "segment" in granularities:
        body["segments"] = [
            {
                "id": segment.id,
                "seek": segment.seek,
                "start": round(segment.start, 3),
                "end": round(segment.end, 3),
                "text": segment.text,
                "tokens": list(segment.tokens),
                "temperature": segment.temperature,
                "avg_logprob": segment.avg_logprob,
                "compression_ratio": segment.compression_ratio,
                "no_speech_prob": segment.no_speech_prob,
            }
            for segment in transcript.segments
        ]
    return body
