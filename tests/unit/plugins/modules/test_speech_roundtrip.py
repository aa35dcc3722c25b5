# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

"""The ways in which the round trip fails. The way on which it succeeds needs the real models: the sandbox has it."""

import base64
import contextlib
import io
import json
import threading
import wave
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils import basic
from ansible.module_utils.testing import patch_module_args

from ansible_collections.airgap.speech.plugins.modules import speech_roundtrip

KEY = "a-key-that-must-not-show"


class Ended(Exception):
    """A module that has said its result."""

    def __init__(self, result: dict[str, Any]) -> None:
        super().__init__(result.get("msg"))
        self.result = result


@pytest.fixture(autouse=True)
def module_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    def end(failed: bool) -> Callable[..., None]:
        def say(_module: object, **result: Any) -> None:
            raise Ended({"failed": failed, **result})

        return say

    monkeypatch.setattr(basic.AnsibleModule, "exit_json", end(False))
    monkeypatch.setattr(basic.AnsibleModule, "fail_json", end(True))


def call(check_mode: bool = False, **arguments: Any) -> dict[str, Any]:
    if check_mode:
        arguments["_ansible_check_mode"] = True
    with patch_module_args({"model": "whisper", "voice": "joe", **arguments}), pytest.raises(Ended) as ended:
        speech_roundtrip.main()
    return ended.value.result


def silence(seconds: float = 1.0) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(b"\0\0" * int(16000 * seconds))
    return out.getvalue()


@contextlib.contextmanager
def server(answers: dict[str, tuple[int, bytes]]) -> Iterator[tuple[str, list[tuple[str, dict[str, str], bytes]]]]:
    """A service that gives one answer a path, and what it was asked."""
    asked: list[tuple[str, dict[str, str], bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, answer = answers[self.path]
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            asked.append((self.path, dict(self.headers), body))
            self.do_GET()

        def log_message(self, *_arguments: object) -> None:
            """Quiet."""

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listening.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.server_port}", asked
    finally:
        listening.shutdown()
        listening.server_close()


@pytest.fixture
def key_file(tmp_path: Path) -> str:
    file = tmp_path / "default"
    file.write_text(KEY + "\n", encoding="utf-8")
    return str(file)


SPEECH, TRANSCRIPT = "/v1/audio/speech", "/v1/audio/transcriptions"


def test_above_the_limit_names_both_texts(key_file: str, tmp_path: Path) -> None:
    heard = json.dumps({"text": " the cat flat "}).encode()
    with server({SPEECH: (200, silence()), TRANSCRIPT: (200, heard)}) as (url, asked):
        result = call(
            stt_url=url,
            tts_url=url + "/",
            text="The cat sat.",
            api_key_file=key_file,
            audio_dest=str(tmp_path / "said.wav"),
        )
    assert result["failed"] is True
    assert "'The cat sat.'" in result["msg"]
    assert "'the cat flat'" in result["msg"]
    assert result["word_error_rate"] == pytest.approx(0.3333)
    assert result["audio_seconds"] == 1.0
    assert (tmp_path / "said.wav").read_bytes() == silence()
    (speech, transcription) = asked
    assert json.loads(speech[2]) == {"model": "joe", "voice": "joe", "input": "The cat sat.", "response_format": "wav"}
    assert speech[1]["Authorization"] == transcription[1]["Authorization"] == f"Bearer {KEY}"
    assert silence() in transcription[2]
    assert b'name="model"\r\n\r\nwhisper\r\n' in transcription[2]


def test_check_mode_asks_but_keeps_no_file(key_file: str, tmp_path: Path) -> None:
    heard = json.dumps({"text": "something else entirely"}).encode()
    with server({SPEECH: (200, silence()), TRANSCRIPT: (200, heard)}) as (url, asked):
        result = call(
            check_mode=True,
            stt_url=url,
            tts_url=url,
            text="The cat sat.",
            api_key_file=key_file,
            audio_dest=str(tmp_path / "said.wav"),
        )
    assert len(asked) == 2
    assert result["changed"] is False
    assert not (tmp_path / "said.wav").exists()


@pytest.mark.parametrize(
    ("speech", "transcript", "says"),
    [
        ((401, b'{"error": "no"}'), (200, b"{}"), ["POST /v1/audio/speech answered 401", "check the API key"]),
        ((503, b"busy " + KEY.encode()), (200, b"{}"), ["answered 503", "busy ********"]),
        ((200, b"not audio"), (200, b"{}"), ["9 bytes that are not a WAV file"]),
        ((200, silence(0)), (200, b"{}"), ["not a WAV file with sound in it"]),
        ((200, silence()), (500, b"oops"), ["POST /v1/audio/transcriptions answered 500", "oops"]),
        ((200, silence()), (200, b"not json"), ["did not answer with JSON"]),
        ((200, silence()), (200, b"[]"), ["did not answer with JSON"]),
        ((200, silence()), (200, b'{"words": []}'), ["did not answer with JSON"]),
    ],
)
def test_a_step_that_fails_says_which(
    key_file: str, speech: tuple[int, bytes], transcript: tuple[int, bytes], says: list[str]
) -> None:
    with server({SPEECH: speech, TRANSCRIPT: transcript}) as (url, _asked):
        result = call(stt_url=url, tts_url=url, text="The cat sat.", api_key_file=key_file)
    assert result["failed"] is True
    for part in says:
        assert part in result["msg"]
    assert KEY not in json.dumps(result)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"stt_url": "http://127.0.0.1:9", "tts_url": "http://127.0.0.1:9", "text": "Hello."}, "is the service up"),
        ({"stt_url": "ftp://x", "tts_url": "ftp://x", "text": "Hello."}, "not an http or https address"),
        ({"stt_url": "http://127.0.0.1:9", "text": "Hello."}, "tts_service or tts_url, are needed"),
        ({"stt_url": "http://127.0.0.1:9", "tts_url": "http://127.0.0.1:9", "text": "..."}, "holds no word"),
        ({"stt_url": "http://127.0.0.1:9", "audio": "/no/such.wav"}, "recording /no/such.wav"),
        ({"stt_service": "s", "tts_service": "t", "text": "Hello."}, "kubeconfig and namespace are needed"),
        (
            {"stt_service": "s", "tts_service": "t", "text": "Hello.", "namespace": "n", "kubeconfig": "/no/such"},
            "kubeconfig /no/such",
        ),
        (
            {"stt_url": "http://127.0.0.1:9", "tts_url": "http://127.0.0.1:9", "text": "Hello.", "api_key_file": "/no"},
            "API key file /no",
        ),
        (
            {"stt_url": "https://127.0.0.1:9", "tts_url": "https://127.0.0.1:9", "text": "Hello.", "ca_file": "/no"},
            "CA file /no",
        ),
        ({"stt_url": "http://127.0.0.1:9"}, "one of the following is required: text, audio"),
        ({"stt_url": "http://x", "stt_service": "s", "text": "Hello."}, "mutually exclusive"),
    ],
)
def test_refused(arguments: dict[str, Any], says: str) -> None:
    result = call(**arguments)
    assert result["failed"] is True
    assert says in result["msg"]


@pytest.mark.parametrize("content", ["", "two keys\n", "a\nb\n"])
def test_a_key_file_holds_one_key(tmp_path: Path, content: str) -> None:
    file = tmp_path / "key"
    file.write_text(content, encoding="utf-8")
    result = call(stt_url="http://127.0.0.1:9", tts_url="http://127.0.0.1:9", text="Hello.", api_key_file=str(file))
    assert "must hold one key" in result["msg"]


def test_a_recording_without_its_text_is_only_transcribed(tmp_path: Path) -> None:
    file = tmp_path / "call.wav"
    file.write_bytes(silence(2))
    with server({TRANSCRIPT: (200, b'{"text": "anything"}')}) as (url, asked):
        result = call(stt_url=url, audio=str(file))
    assert result["failed"] is False
    assert (result["transcript"], result["expected"], result["word_error_rate"]) == ("anything", "", None)
    assert b'filename="call.wav"' in asked[0][2]
    assert result["audio_seconds"] == 2.0


def test_a_file_name_cannot_leave_its_header() -> None:
    body, content_type = speech_roundtrip.multipart({}, "file", 'a"\r\nX: y.wav', b"sound")
    assert b'filename="a___X: y.wav"' in body
    boundary = content_type.split("boundary=")[1].encode()
    assert body.endswith(b"--" + boundary + b"--\r\n")


def by_secret(tmp_path: Path, secret: tuple[int, bytes]) -> tuple[dict[str, Any], list[Any]]:
    """The result with that answer for the Secret, and what the service was asked."""
    answers = {
        "/api/v1/namespaces/speech/secrets/keys": secret,
        SPEECH: (200, silence()),
        TRANSCRIPT: (200, b'{"text": "the cat sat"}'),
    }
    with server(answers) as (url, asked):
        cluster = {"name": "c", "cluster": {"server": url}}
        context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
        config = {"apiVersion": "v1", "kind": "Config", "current-context": "c", "clusters": [cluster]}
        config |= {"contexts": [context], "users": [{"name": "u", "user": {}}]}
        (tmp_path / "kubeconfig").write_text(json.dumps(config))
        where = {"kubeconfig": str(tmp_path / "kubeconfig"), "namespace": "speech", "api_key_secret": "keys"}
        return call(stt_url=url, tts_url=url, text="The cat sat.", **where), asked


def test_the_first_key_of_a_secret_is_used(tmp_path: Path) -> None:
    entries = {"team-b": b"another-key", "team-a": KEY.encode() + b"\n"}
    data = {name: base64.b64encode(key).decode() for name, key in entries.items()}
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}, "data": data}
    result, asked = by_secret(tmp_path, (200, json.dumps(body).encode()))
    assert result["failed"] is False, result
    assert [headers["Authorization"] for _path, headers, _body in asked] == [f"Bearer {KEY}"] * 2
    assert KEY not in json.dumps(result)


@pytest.mark.parametrize(
    ("secret", "says"),
    [
        ((404, b"{}"), "Secret speech/keys: the cluster answered 404 Not Found; the role credentials makes it"),
        ((403, b"{}"), "needs get on secrets there"),
        ((200, b'{"kind": "Secret"}'), "Secret speech/keys: holds no API key; give it one entry a key"),
        ((200, b'{"data": {"a": "YSBi"}}'), "Secret speech/keys, entry a: must hold one key, and nothing else"),
    ],
)
def test_a_secret_without_a_key_is_named(tmp_path: Path, secret: tuple[int, bytes], says: str) -> None:
    result, asked = by_secret(tmp_path, secret)
    assert result["failed"] is True
    assert says in result["msg"]
    assert not asked
