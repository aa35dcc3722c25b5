# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The real server with the real models: a sentence goes in as text, comes back as audio, and as text again."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest
from web import web

pytestmark = pytest.mark.real_models

IMAGE = Path(__file__).resolve().parents[3] / "roles/speech_platform/profiles/open_speech/image"
KEY = "sk-real-server-key-0001"
SENTENCE = "The harbour master wrote down every ship that came in before the storm, and closed the book at noon."


def word_error_rate(expected: str, actual: str) -> float:
    """Edits between the words, by the words expected."""
    want, got = (re.findall(r"[a-z0-9']+", text.lower().replace("harbor", "harbour")) for text in (expected, actual))
    row = list(range(len(got) + 1))
    for i, word in enumerate(want, start=1):
        previous, row[0] = row[0], i
        for j, other in enumerate(got, start=1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (word != other))
    return row[-1] / len(want)


def server_env(models: Path, keys: Path, port: int, **changes: str) -> dict[str, str]:
    env = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(IMAGE),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OPEN_SPEECH_HOST": "127.0.0.1",
        "OPEN_SPEECH_PORT": str(port),
        "OPEN_SPEECH_MODELS_DIR": str(models),
        "OPEN_SPEECH_API_KEYS_DIR": str(keys),
        "OPEN_SPEECH_STT_MODEL": "whisper-tiny-en",
        "OPEN_SPEECH_TTS_VOICES": "piper-en-us-joe",
        "OPEN_SPEECH_DEVICE": "cpu",
        **changes,
    }
    return env


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def keys(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("keys")
    (directory / "default").write_text(KEY, encoding="utf-8")
    return directory


@contextlib.contextmanager
def serving(env: dict[str, str], log: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, "-m", "open_speech"], env=env, stdout=output, stderr=output)
    url = f"http://127.0.0.1:{env['OPEN_SPEECH_PORT']}"
    try:
        while True:
            assert process.poll() is None, log.read_text()
            with contextlib.suppress(httpx.TransportError):
                if web.get(url + "/healthz/ready").status_code == 200:
                    break
            time.sleep(0.1)
        yield process, url
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def server(real_models, keys, tmp_path_factory) -> Iterator[tuple[openai.OpenAI, Path]]:
    log = tmp_path_factory.mktemp("server") / "log"
    with serving(server_env(real_models, keys, free_port()), log) as (_process, url):
        yield openai.OpenAI(api_key=KEY, base_url=url + "/v1", max_retries=0), log


@pytest.mark.parametrize("audio_format", ["mp3", "opus", "aac", "flac", "wav", "pcm"])
def test_round_trip_in_every_audio_format(server, audio_format):
    client, _log = server
    audio = client.audio.speech.create(
        model="tts-1", voice="alloy", input=SENTENCE, response_format=audio_format
    ).read()
    if audio_format == "pcm":  # has no header: put one before it
        size = len(audio)
        header = b"RIFF" + (36 + size).to_bytes(4, "little") + b"WAVEfmt " + (16).to_bytes(4, "little")
        header += (1).to_bytes(2, "little") * 2 + (24000).to_bytes(4, "little") + (48000).to_bytes(4, "little")
        audio = (
            header
            + (2).to_bytes(2, "little")
            + (16).to_bytes(2, "little")
            + b"data"
            + size.to_bytes(4, "little")
            + audio
        )
    heard = client.audio.transcriptions.create(model="whisper-1", file=(f"a.{audio_format}", audio))
    assert word_error_rate(SENTENCE, heard.text) <= 0.2, heard.text


def test_every_response_format(server):
    client, log = server
    audio = client.audio.speech.create(
        model="piper-en-us-joe", voice="piper-en-us-joe", input=SENTENCE, response_format="wav", speed=0.9
    ).read()

    def heard(**options):
        return client.audio.transcriptions.create(
            model="gpt-4o-mini-transcribe", file=("a.wav", audio), language="en", **options
        )

    text = heard(response_format="text")
    assert isinstance(text, str)
    assert word_error_rate(SENTENCE, text) <= 0.2, text
    for name, mark, first in (("srt", ",", "1\n"), ("vtt", ".", "WEBVTT\n")):
        subtitles = heard(response_format=name)
        assert subtitles.startswith(first)
        times = rf"(?m)^\d\d:\d\d:\d\d\{mark}\d{{3}} --> \d\d:\d\d:\d\d\{mark}\d{{3}}$"
        assert re.search(times, subtitles)
        lines = [
            line for line in subtitles.splitlines() if "-->" not in line and not line.isdigit() and line != "WEBVTT"
        ]
        assert word_error_rate(SENTENCE, " ".join(lines)) <= 0.2, subtitles
    verbose = heard(response_format="verbose_json", timestamp_granularities=["word", "segment"], temperature=0)
    assert verbose.language == "english"
    assert verbose.segments[0].start < verbose.segments[-1].end <= verbose.duration + 0.5
    assert word_error_rate(SENTENCE, " ".join(word.word for word in verbose.words)) <= 0.2
    starts = [word.start for word in verbose.words]
    assert starts == sorted(starts)
    lines = log.read_text(encoding="utf-8")
    assert "harbour" not in lines.lower()
    assert KEY not in lines


def test_silence_is_no_speech(server):
    client, _log = server
    header = client.audio.speech.create(model="tts-1", voice="nova", input="Hello.", response_format="wav").read()[:44]
    silence = header[:40] + (48000 * 5).to_bytes(4, "little") + bytes(48000 * 5)
    assert client.audio.transcriptions.create(model="whisper-1", file=("a.wav", silence)).text == ""


def test_other_languages_are_refused_by_an_english_model(server):
    client, _log = server
    with pytest.raises(openai.BadRequestError) as caught:
        client.audio.transcriptions.create(model="whisper-1", file=("a.wav", b"x"), language="fr")
    assert caught.value.code == "unsupported_language"


def test_sigterm_finishes_what_is_under_way(real_models, keys, tmp_path):
    env = server_env(real_models, keys, free_port(), OPEN_SPEECH_ENGINES="tts", OPEN_SPEECH_DRAIN_SECONDS="600")
    with serving(env, tmp_path / "log") as (process, url):
        client = openai.OpenAI(api_key=KEY, base_url=url + "/v1", max_retries=0)
        answers = []

        def ask() -> None:
            answers.append(client.audio.speech.create(model="tts-1", voice="alloy", input=SENTENCE * 3).read())

        asking = threading.Thread(target=ask)
        asking.start()
        while 'open_speech_in_flight{engine="tts"} 1.0' not in web.get(url + "/metrics").text:
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        asking.join()
        assert len(answers[0]) > 100_000
        assert process.wait() == 0


@pytest.fixture
def spoilt(real_models, tmp_path) -> Path:
    """A volume of links to the models, so that one file can be replaced."""
    for model in real_models.iterdir():
        (tmp_path / "models" / model.name).mkdir(parents=True)
        for file in model.iterdir():
            (tmp_path / "models" / model.name / file.name).symlink_to(file)
    return tmp_path / "models"


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink()
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda root: shutil.rmtree(root / "whisper-tiny-en"), ["model whisper-tiny-en: missing"]),
        (lambda root: shutil.rmtree(root / "silero-vad"), ["model silero-vad: missing"]),
        (
            lambda root: flip(root / "whisper-tiny-en/model.bin"),
            ["model.bin: sha256 differs, expected 1a5afae0", "actual "],
        ),
        (lambda root: flip(root / "silero-vad/silero_vad_v6.onnx"), ["model silero-vad", "sha256 differs"]),
        (lambda root: (root / "piper-en-us-joe/en_US-joe-medium.onnx.json").unlink(), [".onnx.json: missing"]),
    ],
)
def test_a_model_that_is_not_right_is_one_line_and_exit_status_78(spoilt, keys, spoil, words):
    spoil(spoilt)
    result = subprocess.run(
        [sys.executable, "-m", "open_speech"],
        env=server_env(spoilt, keys, free_port()),
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 78
    lines = (result.stdout + result.stderr).splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("open_speech: cannot start: model ")
    for word in words:
        assert word in lines[0]


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"OPEN_SPEECH_API_KEYS_DIR": "/nonexistent/api-keys"}, "API keys: none found in /nonexistent/api-keys"),
        ({"OPEN_SPEECH_STT_MODEL": ""}, "OPEN_SPEECH_STT_MODEL: not set"),
        ({"OPEN_SPEECH_MODELS_DIR": "/nonexistent/models"}, "models: /nonexistent/models is no directory"),
    ],
)
def test_a_wrong_configuration_is_one_line_and_exit_status_78(real_models, keys, changes, word):
    env = {**server_env(real_models, keys, free_port()), **changes}
    result = subprocess.run([sys.executable, "-m", "open_speech"], env=env, capture_output=True, text=True, check=False)
    assert result.returncode == 78
    assert result.stderr.splitlines() == [line for line in result.stderr.splitlines() if word in line]
    assert result.stdout == ""


def test_the_detector_of_the_package_is_never_read(real_models, keys, tmp_path):
    """With faster-whisper's own copy out of reach the voice activity detection still runs: it came from the volume."""
    code = (
        "import faster_whisper.vad as v, faster_whisper.utils as u\n"
        "def no(*a, **k): raise SystemExit('looked into the package')\n"
        "v.get_assets_path = no\n"
        "u.download_model = no\n"
        "import huggingface_hub; huggingface_hub.snapshot_download = no\n"
        "import os, numpy as np\n"
        "from open_speech.config import Config\n"
        "from open_speech.service import load_from_volume\n"
        "_, hears, _ = load_from_volume(Config.from_env(os.environ))\n"
        "noise = np.random.default_rng(1).normal(0, .01, 48000).astype(np.float32)\n"
        "print(repr(hears.transcribe(noise, language='en', prompt=None, temperature=0, words=False).text))\n"
    )
    env = server_env(real_models, keys, 1, OPEN_SPEECH_ENGINES="stt")
    result = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (0, "''\n"), result.stderr
