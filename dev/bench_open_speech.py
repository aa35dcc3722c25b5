# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`make bench-open-speech`: how many calls one replica of open_speech serves, for the numbers of its sizing.yml.

The real server runs with the real models on a given number of processors (the process is bound to them, and has as many
threads). A call speaks, or is spoken to, all the time: its sentences follow each other without a pause, so that each
sentence of D seconds is sent D seconds after the one before. A number of calls is served when no request is refused and
95 % of the answers come within 2 s. The largest number that is served is what a replica takes.

Writes build/bench/open-speech.json. Run it on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import wave
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx

CHECKOUT = Path(__file__).resolve().parents[1]
IMAGE = CHECKOUT / "roles/speech_platform/profiles/open_speech/image"
TARGET = CHECKOUT / "build/bench/open-speech.json"
KEY = "sk-bench-key-of-this-run-0001"
SENTENCE = "The harbour master wrote down every ship that came in before the storm, and closed the book at noon."
ANSWER_SECONDS = 2.0
MOST = 40


@dataclass(frozen=True)
class Load:
    """What so many calls met: answers, refusals, seconds until an answer came, and processor seconds of an answer."""

    calls: int
    answers: int
    refused: int
    median_seconds: float
    p95_seconds: float
    cpu_seconds: float
    served: bool


@contextlib.contextmanager
def serving(engine: str, cpus: int, models: Path, work: Path) -> Iterator[tuple[str, int]]:
    """The server with one engine on so many processors; its address and process id."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    keys = work / "keys"
    keys.mkdir(exist_ok=True)
    (keys / "default").write_text(KEY, encoding="utf-8")
    env = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(IMAGE),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OPEN_SPEECH_ENGINES": engine,
        "OPEN_SPEECH_HOST": "127.0.0.1",
        "OPEN_SPEECH_PORT": str(port),
        "OPEN_SPEECH_MODELS_DIR": str(models),
        "OPEN_SPEECH_API_KEYS_DIR": str(keys),
        "OPEN_SPEECH_STT_MODEL": "whisper-tiny-en",
        "OPEN_SPEECH_TTS_VOICES": "piper-en-us-joe",
        "OPEN_SPEECH_DEVICE": "cpu",
        "OPEN_SPEECH_THREADS": str(cpus),
        "OPEN_SPEECH_CONCURRENCY": "1",
    }
    mine = os.sched_getaffinity(0)
    log = work / f"{engine}-{cpus}.log"
    os.sched_setaffinity(0, set(sorted(mine)[:cpus]))  # the server inherits it
    try:
        with log.open("wb") as output:
            process = subprocess.Popen([sys.executable, "-m", "open_speech"], env=env, stdout=output, stderr=output)
    finally:
        os.sched_setaffinity(0, mine)
    url = f"http://127.0.0.1:{port}"
    try:
        while True:
            if process.poll() is not None:
                raise SystemExit(f"bench-open-speech: the server ended: {log.read_text()}")
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(url + "/healthz/ready").status_code == 200:
                    break
            time.sleep(0.1)
        yield url, process.pid
    finally:
        process.terminate()
        process.wait()


def peak_bytes(pid: int) -> int:
    """The most memory that a process had at once."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))


def cpu_seconds(pid: int) -> float:
    """What a process has used of the processors."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ask_stt(url: str, audio: bytes) -> Callable[[httpx.Client], int]:
    def ask(client: httpx.Client) -> int:
        files = {"file": ("a.wav", audio)}
        return client.post(url + "/v1/audio/transcriptions", data={"model": "whisper-1"}, files=files).status_code

    return ask


def ask_tts(url: str) -> Callable[[httpx.Client], int]:
    body = {"model": "tts-1", "voice": "alloy", "input": SENTENCE, "response_format": "wav"}

    def ask(client: httpx.Client) -> int:
        return client.post(url + "/v1/audio/speech", json=body).status_code

    return ask


def load(ask: Callable[[httpx.Client], int], pid: int, calls: int, sentence_seconds: float, sentences: int) -> Load:
    """So many calls at once, begun evenly over the length of a sentence, each with so many sentences."""
    waits: list[float] = []
    refused = [0]
    lock = threading.Lock()
    used = cpu_seconds(pid)
    begin = time.monotonic() + 0.5

    def call(number: int) -> None:
        with httpx.Client(headers={"Authorization": f"Bearer {KEY}"}, timeout=60) as client:
            for sentence in range(sentences):
                due = begin + sentence_seconds * (sentence + number / calls)
                time.sleep(max(0.0, due - time.monotonic()))
                status = ask(client)
                # From when it was due: a call that is still waiting for the answer before is late, not idle.
                waited = time.monotonic() - due
                with lock:
                    if status == 200:
                        waits.append(waited)
                    else:
                        refused[0] += 1

    threads = [threading.Thread(target=call, args=(number,)) for number in range(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ordered = sorted(waits) or [float("inf")]
    p95 = ordered[max(0, -(-len(ordered) * 95 // 100) - 1)]
    return Load(
        calls,
        len(waits),
        refused[0],
        round(ordered[len(ordered) // 2], 3),
        round(p95, 3),
        round((cpu_seconds(pid) - used) / max(1, len(waits)), 3),
        not refused[0] and p95 <= ANSWER_SECONDS,
    )


def most_served(ask: Callable[[httpx.Client], int], pid: int, sentence_seconds: float, sentences: int) -> list[Load]:
    """Loads around the largest number of calls that is served, found from one request at a time."""
    with httpx.Client(headers={"Authorization": f"Bearer {KEY}"}, timeout=60) as client:
        ask(client)
        begun = time.monotonic()
        for _ in range(5):
            if ask(client) != 200:
                raise SystemExit("bench-open-speech: a single request was refused")
        alone = (time.monotonic() - begun) / 5
    calls = max(1, min(MOST, int(0.8 * sentence_seconds / alone)))
    tried: dict[int, Load] = {}
    while calls not in tried and 1 <= calls <= MOST:
        tried[calls] = load(ask, pid, calls, sentence_seconds, sentences)
        print(f"  {tried[calls]}", file=sys.stderr, flush=True)
        calls += 1 if tried[calls].served else -1
    return [tried[number] for number in sorted(tried)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cpus", type=int, nargs="+", default=[1, 2], help="processors of a replica")
    parser.add_argument("--sentences", type=int, default=6, help="sentences of each call of a load")
    parser.add_argument("--engines", nargs="+", default=["stt", "tts"], choices=["stt", "tts"])
    options = parser.parse_args()
    there = len(os.sched_getaffinity(0))
    cpus_tried = [cpus for cpus in options.cpus if cpus <= there]
    cache = Path(os.environ.get("AIRGAP_SPEECH_CACHE") or Path.home() / ".cache/airgap-speech")
    models = cache / "models-test"
    subprocess.run([sys.executable, str(IMAGE / "fetch_models.py"), str(models)], check=True)
    model_name = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        "unknown",
    )
    figures: dict[str, Any] = {
        "processor": model_name,
        "processors": there,
        "answer_seconds": ANSWER_SECONDS,
        "sentences_of_a_call": options.sentences,
        "replicas": [],
    }
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        with serving("tts", there, models, work) as (url, _pid):
            body = {"model": "tts-1", "voice": "alloy", "input": SENTENCE, "response_format": "wav"}
            headers = {"Authorization": f"Bearer {KEY}"}
            audio = httpx.post(url + "/v1/audio/speech", json=body, headers=headers, timeout=60).content
        # The length of a streamed WAV is not in its header.
        with wave.open(BytesIO(audio)) as opened:
            rate, width = opened.getframerate(), opened.getsampwidth() * opened.getnchannels()
        seconds = (len(audio) - 44) / (rate * width)
        figures["sentence_seconds"] = round(seconds, 2)
        for engine in options.engines:
            for cpus in cpus_tried:
                print(f"{engine}, {cpus} processor(s):", file=sys.stderr, flush=True)
                with serving(engine, cpus, models, work) as (url, pid):
                    ask = ask_stt(url, audio) if engine == "stt" else ask_tts(url)
                    loads = most_served(ask, pid, seconds, options.sentences)
                    peak = peak_bytes(pid)
                figures["replicas"].append(
                    {
                        "engine": engine,
                        "cpus": cpus,
                        "calls_served": max((item.calls for item in loads if item.served), default=0),
                        "peak_rss_bytes": peak,
                        "loads": [asdict(item) for item in loads],
                    }
                )
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(figures, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
