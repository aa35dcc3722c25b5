# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The text of each response format."""

from __future__ import annotations

import pytest

from open_speech.formats import Segment, Transcript, Word, json_body, srt, timestamp, verbose_body, vtt

WORDS = (Word(" Hello", 0.0, 0.5), Word(" there.", 0.5, 1.25))
TRANSCRIPT = Transcript(
    "en",
    3725.0625,
    (
        Segment(0, 0, 0.0, 1.25, " Hello there.", (50364, 2425), 0.0, -0.25, 1.5, 0.01, WORDS),
        Segment(1, 125, 3661.5, 3725.0604, " An --> arrow\nand a line. "),
    ),
)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "00:00:00,000"),
        (-1, "00:00:00,000"),
        (1.0006, "00:00:01,001"),
        (59.9996, "00:01:00,000"),
        (360000, "100:00:00,000"),
    ],
)
def test_timestamp(seconds, text):
    assert timestamp(seconds, ",") == text


def test_srt():
    assert srt(TRANSCRIPT) == (
        "1\n00:00:00,000 --> 00:00:01,250\nHello there.\n\n2\n01:01:01,500 --> 01:02:05,060\nAn -> arrow and a line.\n"
    )


def test_vtt():
    assert vtt(TRANSCRIPT) == (
        "WEBVTT\n\n"
        "00:00:00.000 --> 00:00:01.250\nHello there.\n\n"
        "01:01:01.500 --> 01:02:05.060\nAn -> arrow and a line.\n"
    )


def test_nothing_said():
    silence = Transcript("en", 1.0, ())
    assert srt(silence) == ""
    assert vtt(silence) == "WEBVTT\n"
    assert json_body(silence) == {"text": "", "usage": {"type": "duration", "seconds": 1}}


def test_verbose():
    body = verbose_body(TRANSCRIPT, frozenset({"segment", "word"}))
    assert (body["task"], body["language"], body["duration"]) == ("transcribe", "english", 3725.062)
    assert body["words"] == [
        {"word": "Hello", "start": 0.0, "end": 0.5},
        {"word": "there.", "start": 0.5, "end": 1.25},
    ]
    assert body["segments"][0] == {
        "id": 0,
        "seek": 0,
        "start": 0.0,
        "end": 1.25,
        "text": " Hello there.",
        "tokens": [50364, 2425],
        "temperature": 0.0,
        "avg_logprob": -0.25,
        "compression_ratio": 1.5,
        "no_speech_prob": 0.01,
    }


@pytest.mark.parametrize(
    ("granularities", "keys"),
    [({"word"}, {"words"}), ({"segment"}, {"segments"}), ({"word", "segment"}, {"words", "segments"})],
)
def test_verbose_holds_what_was_asked_for(granularities, keys):
    assert set(verbose_body(TRANSCRIPT, frozenset(granularities))) & {"words", "segments"} == keys
