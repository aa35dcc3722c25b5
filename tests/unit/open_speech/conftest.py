# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of open_speech's tests. They run by ./run, in an environment of their own."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
IMAGE = HERE.parents[2] / "roles/speech_platform/profiles/open_speech/image"
KEY = "sk-test-key-of-the-tests-0001"

# The collection's own environment has none of the service's libraries: there, ./run is the way.
if importlib.util.find_spec("ctranslate2") is None or importlib.util.find_spec("openai") is None:
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture
def keys_dir(tmp_path: Path) -> Path:
    """A directory as a mounted Secret is: the keys are links through ..data."""
    directory = tmp_path / "api-keys"
    directory.mkdir()
    swap_secret(directory, {"default": KEY})
    return directory


def swap_secret(directory: Path, keys: dict[str, str]) -> None:
    """Replace the content as the kubelet does: a new directory, and ..data renamed over the old link."""
    fresh = directory / f"..{time.monotonic_ns()}"
    fresh.mkdir()
    for name, key in keys.items():
        (fresh / name).write_text(key, encoding="utf-8")
    link = directory / "..data_tmp"
    link.symlink_to(fresh.name)
    link.rename(directory / "..data")
    for entry in directory.iterdir():
        if not entry.name.startswith("..") and entry.name not in keys:
            entry.unlink()
    for name in keys:
        if not (directory / name).is_symlink():
            (directory / name).symlink_to(f"..data/{name}")


@pytest.fixture(name="swap_secret")
def swap_secret_fixture() -> Callable[[Path, dict[str, str]], None]:
    return swap_secret


@pytest.fixture
def env(tmp_path: Path, keys_dir: Path) -> dict[str, str]:
    """A whole configuration."""
    return {
        "OPEN_SPEECH_HOST": "127.0.0.1",
        "OPEN_SPEECH_MODELS_DIR": str(tmp_path / "models"),
        "OPEN_SPEECH_STT_MODEL": "hears",
        "OPEN_SPEECH_TTS_VOICES": "speaks,speaks-too",
        "OPEN_SPEECH_API_KEYS_DIR": str(keys_dir),
    }


class FakeHears:
    """Stands for Whisper where only the way around it is tested."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.go.set()
        self.fail = False
        self.calls: list[dict[str, Any]] = []

    def language(self, code: str | None) -> str | None:
        return code

    def transcribe(self, samples: Any, **options: Any) -> Any:
        from open_speech.formats import Segment, Transcript, Word

        self.calls.append(options)
        if not self.go.wait(30):
            raise TimeoutError
        if self.fail:
            raise RuntimeError("a message that quotes SECRET-CONTENT")
        words = (Word(" one", 0.0, 0.5), Word(" two.", 0.5, 1.0))
        return Transcript("en", len(samples) / 16000, (Segment(0, 0, 0.0, 1.0, " one two.", words=words),))


class FakeSpeaks:
    rate = 22050

    def __init__(self) -> None:
        self.calls: list[tuple[str, float]] = []

    def speak(self, text: str, *, speed: float) -> list[Any]:
        import numpy

        self.calls.append((text, speed))
        return [numpy.sin(numpy.arange(22050) * 0.06).astype(numpy.float32) / 2]


class Running:
    """The app on a loopback port, with fake engines."""

    def __init__(self, env: dict[str, str], *, ready: bool = True) -> None:
        import uvicorn

        from open_speech.app import create_app
        from open_speech.config import Config
        from open_speech.keys import KeyStore
        from open_speech.service import Service

        self.hears = FakeHears()
        config = Config.from_env(env)
        self.voices = {name: FakeSpeaks() for name in config.tts_voices}
        self.loaded = threading.Event()
        if ready:
            self.loaded.set()

        def loader(_config: Config) -> Any:
            if not self.loaded.wait(30):
                raise TimeoutError
            return {}, self.hears, self.voices

        keys = KeyStore(
            config.api_keys_dir, config.api_keys_file, allow_anonymous=config.allow_anonymous, every_seconds=0
        )
        self.service = Service(config, keys, loader=loader)
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._server = uvicorn.Server(uvicorn.Config(create_app(self.service), log_config=None, access_log=False))
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],))
        self._thread.start()
        while not self._server.started or (ready and not self.service.ready):
            assert self._thread.is_alive()
            time.sleep(0.01)

    def stop(self) -> None:
        self.hears.go.set()
        self.loaded.set()
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()


@pytest.fixture
def run(env: dict[str, str]) -> Iterator[Callable[..., Running]]:
    """Start the app with some variables changed."""
    started: list[Running] = []

    def start(*, ready: bool = True, **changes: str) -> Running:
        started.append(
            Running({**env, **{f"OPEN_SPEECH_{name}": value for name, value in changes.items()}}, ready=ready)
        )
        return started[-1]

    yield start
    for running in started:
        running.stop()


@pytest.fixture(scope="session")
def real_models() -> Path:
    """The models of models.yml, from the cache or downloaded into it."""
    cache = Path(os.environ.get("AIRGAP_SPEECH_CACHE") or Path.home() / ".cache/airgap-speech")
    target = cache / "models-test"
    subprocess.run([sys.executable, str(IMAGE / "fetch_models.py"), str(target)], check=True)
    return target
