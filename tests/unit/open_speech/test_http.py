# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way around the engines, over real HTTP: keys, errors in OpenAI's shape, limits, concurrency, metrics, logs."""

from __future__ import annotations

import io
import json
import logging
import threading
import time
import wave
from concurrent.futures import ThreadPoolExecutor

import httpx
import openai
import pytest
from web import web

KEY = "sk-test-key-of-the-tests-0001"
AUTH = {"Authorization": f"Bearer {KEY}"}
TRANSCRIBE = "/v1/audio/transcriptions"
SPEAK = "/v1/audio/speech"


def sound(seconds: float = 1.0) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(int(8000 * seconds) * 2))
    return buffer.getvalue()


def transcribe(url: str, *, headers=AUTH, content: bytes | None = None, **data) -> httpx.Response:
    files = {"file": ("a.wav", sound() if content is None else content)}
    return web.post(url + TRANSCRIBE, headers=headers, files=files, data={"model": "whisper-1", **data})


def speak(url: str, **body) -> httpx.Response:
    whole = {"model": "tts-1", "voice": "alloy", "input": "Hello.", **body}
    return web.post(url + SPEAK, headers=AUTH, json=whole)


def assert_error(response: httpx.Response, status: int, *, code: str | None = None, param: str | None = None) -> str:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-request-id"]
    body = response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert (body["error"]["code"], body["error"]["param"]) == (code, param)
    return body["error"]["message"]


def metric(url: str, name: str) -> float:
    for line in web.get(url + "/metrics").text.splitlines():
        if line.startswith(name + " "):
            return float(line.rpartition(" ")[2])
    raise AssertionError(f"no metric {name}")


def wait_for(condition) -> None:
    while not condition():
        time.sleep(0.01)


def test_keys_are_needed_where_they_are_needed(run):
    url = run().url
    for path in ("/healthz/live", "/healthz/ready", "/metrics"):
        assert web.get(url + path).status_code == 200
    for headers in (AUTH, {"X-API-Key": KEY}):
        assert web.get(url + "/v1/models", headers=headers).status_code == 200
    for headers in ({}, {"Authorization": f"Bearer {KEY}x"}, {"Authorization": f"Basic {KEY}"}, {"X-API-Key": "no"}):
        for path in ("/v1/models", "/v1/nothing"):
            response = web.get(url + path, headers=headers)
            assert_error(response, 401, code="invalid_api_key")
            assert response.headers["www-authenticate"] == "Bearer"
        assert_error(transcribe(url, headers=headers), 401, code="invalid_api_key")
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(api_key="wrong", base_url=url + "/v1", max_retries=0).models.list()


def test_a_rotated_key_counts_without_a_restart(run, keys_dir, swap_secret):
    url = run().url
    swap_secret(keys_dir, {"default": "new-key", "previous": KEY})
    assert web.get(url + "/v1/models", headers=AUTH).status_code == 200
    swap_secret(keys_dir, {"default": "new-key"})
    assert web.get(url + "/v1/models", headers=AUTH).status_code == 401
    assert web.get(url + "/v1/models", headers={"Authorization": "Bearer new-key"}).status_code == 200


def test_models(run):
    url = run(MODEL_ALIASES="ours=speaks-too").url
    client = openai.OpenAI(api_key=KEY, base_url=url + "/v1", max_retries=0)
    names = [model.id for model in client.models.list()]
    assert names[:3] == ["hears", "speaks", "speaks-too"]
    assert {"whisper-1", "tts-1", "ours"} < set(names)
    assert client.models.retrieve("hears").id == "hears"
    assert client.models.retrieve("ours").root == "speaks-too"
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("gpt-5")
    assert caught.value.code == "model_not_found"


@pytest.mark.parametrize(
    ("data", "status", "code", "param"),
    [
        ({"model": "tts-1"}, 404, "model_not_found", "model"),
        ({"model": ""}, 400, "missing_required_parameter", "model"),
        ({"response_format": "xml"}, 400, "invalid_value", "response_format"),
        ({"response_format": "diarized_json"}, 400, "invalid_value", "response_format"),
        ({"temperature": "2"}, 400, "invalid_value", "temperature"),
        ({"temperature": "nan"}, 400, "invalid_value", "temperature"),
        ({"timestamp_granularities[]": "word"}, 400, "invalid_value", "timestamp_granularities"),
        ({"stream": "true"}, 400, "unsupported_parameter", "stream"),
        ({"include[]": "logprobs"}, 400, "unsupported_parameter", "include"),
        ({"content": b"not audio at all"}, 400, "invalid_audio", "file"),
        ({"content": b""}, 400, "invalid_audio", "file"),
        ({"content": b"#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n"}, 400, "invalid_audio", "file"),
    ],
)
def test_wrong_transcription_requests(run, data, status, code, param):
    running = run()
    assert_error(transcribe(running.url, **data), status, code=code, param=param)
    assert running.hears.calls == []


def test_what_the_engine_is_asked(run):
    running = run()
    response = transcribe(running.url, language="en", prompt="Names: Ada.", temperature="0.5")
    assert response.json() == {"text": "one two.", "usage": {"type": "duration", "seconds": 1}}
    assert running.hears.calls == [{"language": "en", "prompt": "Names: Ada.", "temperature": 0.5, "words": False}]
    for name in ("timestamp_granularities[]", "timestamp_granularities"):
        body = transcribe(running.url, response_format="verbose_json", **{name: ["word", "segment"]}).json()
        assert [word["word"] for word in body["words"]] == ["one", "two."]
        assert running.hears.calls[-1]["words"] is True


@pytest.mark.parametrize(
    ("name", "media_type", "text"),
    [
        ("text", "text/plain", "one two.\n"),
        ("srt", "application/x-subrip", "1\n00:00:00,000 --> 00:00:01,000\none two.\n"),
        ("vtt", "text/vtt", "WEBVTT\n\n00:00:00.000 --> 00:00:01.000\none two.\n"),
    ],
)
def test_text_formats(run, name, media_type, text):
    response = transcribe(run().url, response_format=name)
    assert response.headers["content-type"] == f"{media_type}; charset=utf-8"
    assert response.text == text


@pytest.mark.parametrize(
    ("body", "status", "code", "param"),
    [
        ({"model": "whisper-1"}, 404, "model_not_found", "model"),
        ({"model": None}, 400, "missing_required_parameter", "model"),
        ({"input": None}, 400, "missing_required_parameter", "input"),
        ({"input": 5}, 400, "invalid_type", "input"),
        ({"input": " \n"}, 400, "invalid_value", "input"),
        ({"input": "x" * 4097}, 400, "string_above_max_length", "input"),
        ({"voice": None}, 400, "missing_required_parameter", "voice"),
        ({"voice": "bob"}, 400, "invalid_value", "voice"),
        ({"response_format": "ogg"}, 400, "invalid_value", "response_format"),
        ({"response_format": ["mp3"]}, 400, "invalid_value", "response_format"),
        ({"speed": 5}, 400, "invalid_value", "speed"),
        ({"speed": True}, 400, "invalid_value", "speed"),
        ({"stream_format": "sse"}, 400, "unsupported_parameter", "stream_format"),
    ],
)
def test_wrong_speech_requests(run, body, status, code, param):
    running = run()
    assert_error(speak(running.url, **body), status, code=code, param=param)
    assert running.voices["speaks"].calls == []


@pytest.mark.parametrize("name", ["mp3", "opus", "aac", "flac", "wav", "pcm"])
def test_spoken_formats(run, name):
    running = run()
    response = speak(running.url, response_format=name, voice={"id": "speaks-too"}, speed=2)
    assert response.headers["content-type"] == f"audio/{'mpeg' if name == 'mp3' else name}"
    assert running.voices["speaks-too"].calls == [("Hello.", 2.0)]
    if name == "pcm":
        assert len(response.content) == 24000 * 2
    else:
        heard = transcribe(running.url, content=response.content, response_format="verbose_json").json()
        assert heard["duration"] == pytest.approx(1.0, abs=0.1)


def test_wrong_kinds_of_request(run):
    url = run().url
    assert_error(web.post(url + TRANSCRIBE, headers=AUTH, json={}), 415, code="unsupported_content_type")
    assert_error(web.post(url + SPEAK, headers=AUTH, data={"a": "b"}), 415, code="unsupported_content_type")
    as_json = {**AUTH, "Content-Type": "application/json"}
    assert_error(web.post(url + SPEAK, headers=as_json, content=b"{"), 400, code="invalid_json")
    assert_error(web.post(url + SPEAK, headers=as_json, content=b"[]"), 400, code="invalid_json")
    form = {**AUTH, "Content-Type": "multipart/form-data; boundary=x"}
    assert_error(web.post(url + TRANSCRIBE, headers=form, content=b"junk"), 400)
    assert_error(
        web.post(url + TRANSCRIBE, headers=AUTH, files={"other": b"x"}),
        400,
        code="missing_required_parameter",
        param="file",
    )
    assert_error(web.get(url + SPEAK, headers=AUTH), 405, code="method_not_supported")
    assert_error(web.get(url + "/docs", headers=AUTH), 404, code="unknown_url")


def test_one_engine_alone(run):
    stt = run(ENGINES="stt").url
    assert_error(speak(stt), 404, code="unknown_url")
    assert transcribe(stt).status_code == 200
    tts = run(ENGINES="tts").url
    assert_error(transcribe(tts), 404, code="unknown_url")
    assert speak(tts).status_code == 200


def chunks(size: int):
    boundary = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    yield boundary
    for _ in range(size // 65536):
        yield bytes(65536)


@pytest.mark.parametrize("known_length", [True, False])
def test_too_large_an_upload_is_413_and_the_client_hears_it(run, known_length):
    url = run(MAX_UPLOAD_BYTES="200000").url
    if known_length:
        assert "200000 bytes" in assert_error(transcribe(url, content=bytes(8_000_000)), 413, code="request_too_large")
    else:
        headers = {**AUTH, "Content-Type": "multipart/form-data; boundary=x"}
        response = web.post(url + TRANSCRIBE, headers=headers, content=chunks(8_000_000))
        assert_error(response, 413, code="request_too_large")
    assert_error(transcribe(url, content=bytes(230_000)), 413, code="request_too_large", param="file")
    assert transcribe(url).status_code == 200


def test_too_long_audio_is_413(run):
    url = run(MAX_AUDIO_SECONDS="2").url
    assert_error(transcribe(url, content=sound(4)), 413, code="audio_too_long", param="file")
    assert transcribe(url, content=sound(1)).status_code == 200


def test_not_ready_until_the_models_are_loaded(run):
    running = run(ready=False)
    assert web.get(running.url + "/healthz/live").status_code == 200
    assert web.get(running.url + "/healthz/ready").status_code == 503
    response = transcribe(running.url)
    assert_error(response, 503, code="model_loading")
    assert int(response.headers["retry-after"]) >= 1
    running.loaded.set()
    wait_for(lambda: web.get(running.url + "/healthz/ready").status_code == 200)
    assert transcribe(running.url).status_code == 200


def test_a_full_queue_is_refused_at_once(run):
    running = run(CONCURRENCY="1", QUEUE_SIZE="1", QUEUE_SECONDS="60")
    running.hears.go.clear()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(transcribe, running.url)
        wait_for(lambda: metric(running.url, 'open_speech_in_flight{engine="stt"}') == 1)
        second = pool.submit(transcribe, running.url)
        wait_for(lambda: metric(running.url, "open_speech_waiting") == 1)
        refused = transcribe(running.url)
        assert_error(refused, 503, code="queue_full")
        assert int(refused.headers["retry-after"]) >= 1
        running.hears.go.set()
        assert (first.result().status_code, second.result().status_code) == (200, 200)
    assert metric(running.url, 'open_speech_queue_refused_total{reason="full"}') == 1
    assert metric(running.url, 'open_speech_in_flight{engine="stt"}') == 0
    assert transcribe(running.url).status_code == 200


def test_who_waits_too_long_is_refused(run):
    running = run(CONCURRENCY="1", QUEUE_SIZE="4", QUEUE_SECONDS="0.2")
    running.hears.go.clear()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(transcribe, running.url)
        wait_for(lambda: metric(running.url, 'open_speech_in_flight{engine="stt"}') == 1)
        assert_error(transcribe(running.url), 503, code="queue_timeout")
        running.hears.go.set()
        assert first.result().status_code == 200
    assert metric(running.url, 'open_speech_queue_refused_total{reason="wait"}') == 1
    assert transcribe(running.url).status_code == 200


def test_one_key_cannot_take_every_place(run, keys_dir, swap_secret):
    swap_secret(keys_dir, {"default": KEY, "other": "other-key"})
    running = run(CONCURRENCY="1", QUEUE_SIZE="4", REQUESTS_PER_KEY="1")
    running.hears.go.clear()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(transcribe, running.url)
        wait_for(lambda: metric(running.url, 'open_speech_in_flight{engine="stt"}') == 1)
        assert_error(transcribe(running.url), 429, code="rate_limit_exceeded")
        other = pool.submit(transcribe, running.url, headers={"X-API-Key": "other-key"})
        wait_for(lambda: metric(running.url, "open_speech_waiting") == 1)
        running.hears.go.set()
        assert (first.result().status_code, other.result().status_code) == (200, 200)


def test_a_client_that_left_costs_no_worker(run):
    running = run(CONCURRENCY="1", QUEUE_SIZE="4")
    running.hears.go.clear()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(transcribe, running.url)
        wait_for(lambda: metric(running.url, 'open_speech_in_flight{engine="stt"}') == 1)
        with pytest.raises(httpx.ReadTimeout):
            files = {"file": ("a.wav", sound())}
            web.post(running.url + TRANSCRIBE, headers=AUTH, files=files, data={"model": "whisper-1"}, timeout=0.5)
        running.hears.go.set()
        assert first.result().status_code == 200
    wait_for(lambda: metric(running.url, "open_speech_waiting") == 0)
    assert transcribe(running.url).status_code == 200
    assert len(running.hears.calls) == 2


def test_a_failing_engine_is_500_and_nothing_of_the_request_is_logged(run, caplog):
    running = run()
    running.hears.fail = True
    with caplog.at_level(logging.DEBUG, "open_speech"):
        response = transcribe(running.url, prompt="SECRET-CONTENT")
        message = assert_error(response, 500)
        speak(running.url, input="SECRET-CONTENT")
        wait_for(lambda: len([record for record in caplog.records if record.message == "request"]) == 2)
    assert "SECRET-CONTENT" not in message
    fields = [record.fields for record in caplog.records if record.message == "request"]
    text = json.dumps(fields)
    assert "SECRET-CONTENT" not in text
    assert KEY not in text
    assert fields[0]["exception"] == "RuntimeError"
    assert fields[0]["request_id"] == response.headers["x-request-id"]
    assert (fields[1]["status"], fields[1]["key"], fields[1]["audio_seconds"]) == (200, "default", 1.0)


def test_metrics_count(run):
    running = run()
    transcribe(running.url)
    speak(running.url)
    web.get(running.url + "/v1/../whatever-a-client-likes", headers=AUTH)
    wait_for(lambda: 'route="other"' in web.get(running.url + "/metrics").text)
    text = web.get(running.url + "/metrics").text
    assert 'open_speech_requests_total{method="POST",route="/v1/audio/transcriptions",status="200"} 1.0' in text
    assert 'open_speech_request_seconds_count{route="/v1/audio/speech"} 1.0' in text
    assert 'open_speech_audio_seconds_total{engine="stt"} 1.0' in text
    assert 'open_speech_audio_seconds_total{engine="tts"} 1.0' in text
    assert "whatever" not in text


def test_anonymous_only_where_it_is_said(run):
    url = run(API_KEYS_DIR="", ALLOW_ANONYMOUS="true").url
    assert web.get(url + "/v1/models").status_code == 200


def test_no_thread_is_left(run):
    before = threading.active_count()
    running = run()
    transcribe(running.url)
    running.stop()
    assert threading.active_count() <= before
