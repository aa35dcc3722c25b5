# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Configuration, and the names that clients use for what is loaded."""

from __future__ import annotations

import pytest

from open_speech.catalogue import Catalogue
from open_speech.config import Config
from open_speech.errors import ApiError, StartError

GOOD = {"OPEN_SPEECH_STT_MODEL": "tiny", "OPEN_SPEECH_TTS_VOICES": "joe, amy"}


def test_one_process_serves_what_its_configuration_says():
    both = Config.from_env(GOOD)
    assert (both.engines, both.stt_model, both.vad_model, both.tts_voices) == (
        ("stt", "tts"),
        "tiny",
        "silero-vad",
        ("joe", "amy"),
    )
    stt = Config.from_env({**GOOD, "OPEN_SPEECH_ENGINES": "stt"})
    assert (stt.stt_model, stt.tts_voices) == ("tiny", ())
    tts = Config.from_env({**GOOD, "OPEN_SPEECH_ENGINES": "tts"})
    assert (tts.stt_model, tts.vad_model, tts.tts_voices) == (None, None, ("joe", "amy"))
    assert Config.from_env({**GOOD, "OPEN_SPEECH_VAD_MODEL": "none"}).vad_model is None


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"ENGINES": "stt,asr"}, "OPEN_SPEECH_ENGINES: unknown engine 'asr'"),
        ({"ENGINES": " "}, "OPEN_SPEECH_ENGINES: no engine"),
        ({"STT_MODEL": ""}, "OPEN_SPEECH_STT_MODEL: not set"),
        ({"TTS_VOICES": ""}, "OPEN_SPEECH_TTS_VOICES: not set"),
        ({"STT_MODEL": "../tiny"}, "'../tiny' is no model name"),
        ({"DEVICE": "tpu"}, "OPEN_SPEECH_DEVICE: unknown device 'tpu'"),
        ({"CONCURRENCY": "0"}, "OPEN_SPEECH_CONCURRENCY: 0 is out of range"),
        ({"CONCURRENCY": "two"}, "OPEN_SPEECH_CONCURRENCY: 'two' is no whole number"),
        ({"PORT": "70000"}, "OPEN_SPEECH_PORT: 70000 is out of range; it must be from 1 to 65535"),
        ({"QUEUE_SECONDS": "nan"}, "OPEN_SPEECH_QUEUE_SECONDS: nan is out of range"),
        ({"ALLOW_ANONYMOUS": "yes"}, "OPEN_SPEECH_ALLOW_ANONYMOUS: 'yes' is neither true nor false"),
        ({"MODEL_ALIASES": "whisper-1"}, "OPEN_SPEECH_MODEL_ALIASES: 'whisper-1' is not alias=model"),
    ],
)
def test_faults_name_the_variable(changes, word):
    with pytest.raises(StartError) as caught:
        Config.from_env({**GOOD, **{f"OPEN_SPEECH_{name}": value for name, value in changes.items()}})
    assert str(caught.value).startswith(word)


def test_openai_names_mean_what_is_loaded():
    catalogue = Catalogue("tiny", ("joe", "amy"))
    for name in ("tiny", "whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe"):
        assert catalogue.resolve(name, "stt") == "tiny"
    for name in ("joe", "tts-1", "tts-1-hd", "gpt-4o-mini-tts"):
        assert catalogue.resolve(name, "tts") == "joe"
    assert catalogue.resolve("amy") == "amy"
    assert catalogue.listing()[:3] == [("tiny", "tiny"), ("joe", "joe"), ("amy", "amy")]


@pytest.mark.parametrize(
    ("name", "kind"), [("tts-1", "stt"), ("whisper-1", "tts"), ("nope", None), ("", None), ("silero-vad", None)]
)
def test_unknown_models_are_404(name, kind):
    with pytest.raises(ApiError) as caught:
        Catalogue("tiny", ("joe",)).resolve(name, kind)
    assert (caught.value.status, caught.value.code, caught.value.param) == (404, "model_not_found", "model")


def test_aliases_are_configurable():
    aliases = {"our-asr": "stt", "our-voice": "amy", "tts-1": "amy", "whisper-1": ""}
    catalogue = Catalogue("tiny", ("joe", "amy"), aliases, {"nova": "amy", "echo": ""})
    assert catalogue.resolve("our-asr") == "tiny"
    assert catalogue.resolve("tts-1") == "amy"
    with pytest.raises(ApiError):
        catalogue.resolve("whisper-1")
    assert catalogue.voice("joe-alias-resolved-elsewhere", "nova") == "amy"
    with pytest.raises(ApiError):
        catalogue.voice("joe", "echo")
    with pytest.raises(StartError, match="OPEN_SPEECH_MODEL_ALIASES: x=big: big is not loaded"):
        Catalogue("tiny", (), {"x": "big"})
    assert Catalogue(None, ("joe",), {"our-asr": "stt"}).listing()[0] == ("joe", "joe")


def test_voices():
    catalogue = Catalogue(None, ("joe", "amy"))
    assert catalogue.voice("joe", "alloy") == "joe"
    assert catalogue.voice("amy", "alloy") == "amy"
    assert catalogue.voice("joe", "amy") == "amy"
    with pytest.raises(ApiError) as caught:
        catalogue.voice("joe", "bob")
    assert (caught.value.status, caught.value.param) == (400, "voice")
