# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import io
import struct
import wave

import pytest

from ansible_collections.airgap.speech.plugins.module_utils.audio import wav_seconds


def wav(seconds: float, rate: int = 16000, channels: int = 1) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(b"\0" * int(seconds * rate) * 2 * channels)
    return out.getvalue()


@pytest.mark.parametrize(
    ("seconds", "rate", "channels"), [(1.0, 16000, 1), (0.5, 22050, 1), (2.0, 8000, 2), (0.0, 16000, 1)]
)
def test_length(seconds: float, rate: int, channels: int) -> None:
    assert wav_seconds(wav(seconds, rate, channels)) == pytest.approx(seconds, abs=1 / rate)


def test_a_streamed_header_promises_more_than_there_is() -> None:
    data = bytearray(wav(1.0))
    at = data.index(b"data") + 4
    data[at : at + 4] = struct.pack("<I", 0xFFFFFFFF)
    assert wav_seconds(bytes(data)) == pytest.approx(1.0)


def test_a_chunk_of_odd_size_is_padded() -> None:
    data = wav(1.0)
    at = data.index(b"data")
    assert wav_seconds(data[:at] + b"LIST" + struct.pack("<I", 3) + b"abc\0" + data[at:]) == pytest.approx(1.0)


@pytest.mark.parametrize(
    "data", [b"", b"ID3 an mp3", b"RIFF\0\0\0\0WAVE", b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0", wav(1.0)[:30]]
)
def test_what_is_no_whole_wav_has_no_length(data: bytes) -> None:
    assert wav_seconds(data) is None
