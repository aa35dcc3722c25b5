# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Audio in and out, by the FFmpeg libraries that PyAV carries."""

from __future__ import annotations

import io
import wave
from typing import Any, BinaryIO

import av
import numpy as np
import numpy.typing as npt

from .errors import ApiError

Samples = npt.NDArray[np.float32]

STT_RATE = 16000
SPEECH_RATE = 24000
"""Rate of everything that is spoken: OpenAI's `pcm` is 24 kHz, 16 bits, mono, and has no header to say otherwise."""

CONTENT_TYPES = {
    "mp3": "audio/mpeg",
    "opus": "audio/opus",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}

_ENCODERS = {
    "mp3": ("mp3", "libmp3lame", "s16p", 96_000),
    "opus": ("ogg", "libopus", "s16", 48_000),
    "aac": ("adts", "aac", "fltp", 96_000),
    "flac": ("flac", "flac", "s16", None),
}

# Containers that hold their audio themselves. Playlists (hls, concat, dash) are left out:
# they name further files and addresses, which a server must never open for a client.
_DEMUXERS = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,caf,eac3,flac,flv,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,mp3,mpeg,mpegts,"
    "ogg,tta,w64,wav,wv"
)


class _Stream:
    """Only what PyAV needs of a file: SpooledTemporaryFile has a `name` that is none."""

    def __init__(self, file: BinaryIO) -> None:
        self.read = file.read
        self.seek = file.seek
        self.tell = file.tell


def _unreadable(detail: str) -> ApiError:
    return ApiError(
        400,
        f"The audio file could not be decoded ({detail}). Send flac, mp3, mp4, m4a, mpeg, ogg, opus, wav or webm.",
        param="file",
        code="invalid_audio",
    )


def decode(file: BinaryIO, *, max_seconds: float) -> Samples:
    """The first audio stream as mono float samples at 16 kHz; ApiError where it is no audio or too much of it."""
    most = int(max_seconds * STT_RATE)
    pieces: list[npt.NDArray[np.int16]] = []
    count = 0
    try:
        options = {"format_whitelist": _DEMUXERS, "protocol_whitelist": "none"}
        with av.open(_Stream(file), mode="r", container_options=options, metadata_errors="ignore") as container:
            if not container.streams.audio:
                raise _unreadable("it has no audio stream")
            resampler = av.AudioResampler(format="s16", layout="mono", rate=STT_RATE)
            for packet in container.demux(container.streams.audio[0]):
                for frame in _frames(packet):
                    frame.pts = None  # a gap or a jump in the clock is no reason to stop
                    for piece in resampler.resample(frame):
                        pieces.append(piece.to_ndarray().reshape(-1))
                        count += piece.samples
                if count > most:
                    raise ApiError(
                        413,
                        f"The audio is longer than {max_seconds:g} s, the most that this server takes. Send pieces.",
                        param="file",
                        code="audio_too_long",
                    )
            for piece in resampler.resample(None) if count else ():
                pieces.append(piece.to_ndarray().reshape(-1))
    except av.FFmpegError as error:
        raise _unreadable(type(error).__name__) from None
    except (ValueError, OSError, EOFError) as error:
        raise _unreadable(type(error).__name__) from None
    if not count:
        raise _unreadable("it holds no sound")
    return np.concatenate(pieces).astype(np.float32) / 32768.0


def _frames(packet: Any) -> list[Any]:
    try:
        return list(packet.decode())
    except av.InvalidDataError:
        return []  # one broken packet; if they all are, there is no sound and that is said


def encode(pieces: list[Samples], rate: int, response_format: str) -> tuple[bytes, float]:
    """The file in this format, and its seconds."""
    samples = np.concatenate(pieces) if pieces else np.zeros(0, np.float32)
    pcm = np.clip(np.rint(samples * 32767.0), -32768, 32767).astype(np.int16)
    if rate != SPEECH_RATE and pcm.size:
        pcm = _resample(pcm, rate)
    seconds = pcm.size / SPEECH_RATE
    if response_format == "pcm":
        return pcm.astype("<i2").tobytes(), seconds
    buffer = io.BytesIO()
    if response_format == "wav":
        with wave.open(buffer, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(SPEECH_RATE)
            file.writeframes(pcm.astype("<i2").tobytes())
        return buffer.getvalue(), seconds
    container_format, codec, sample_format, bit_rate = _ENCODERS[response_format]
    with av.open(buffer, mode="w", format=container_format) as container:
        stream = container.add_stream(codec, rate=SPEECH_RATE, layout="mono", format=sample_format)
        if bit_rate is not None:
            stream.bit_rate = bit_rate
        frame = av.AudioFrame.from_ndarray(pcm.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = SPEECH_RATE
        # Encoders want frames of their own size (the last one may be shorter): the resampler cuts them.
        resampler = av.AudioResampler(
            sample_format, "mono", SPEECH_RATE, frame_size=stream.codec_context.frame_size or 4096
        )
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    return buffer.getvalue(), seconds


def _resample(pcm: npt.NDArray[np.int16], rate: int) -> npt.NDArray[np.int16]:
    frame = av.AudioFrame.from_ndarray(pcm.reshape(1, -1), format="s16", layout="mono")
    frame.sample_rate = rate
    resampler = av.AudioResampler(format="s16", layout="mono", rate=SPEECH_RATE)
    pieces = [*resampler.resample(frame), *resampler.resample(None)]
    return np.concatenate([piece.to_ndarray().reshape(-1) for piece in pieces])
