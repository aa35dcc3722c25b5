# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The routes, as OpenAI's clients speak them."""

from __future__ import annotations

import asyncio
import json
import logging
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from . import __version__, audio, formats
from .errors import ApiError, StartError
from .front import Front
from .metrics import CONTENT_TYPE
from .service import Service

_LOGGER = logging.getLogger("open_speech")


def create_app(service: Service, *, on_failure: Callable[[], None] = lambda: None) -> ASGIApp:
    """The whole application; `on_failure` is called when the models cannot be loaded (service.failure says why)."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async def load() -> None:
            try:
                await asyncio.to_thread(service.load)
            except StartError as error:
                service.failure = error
                on_failure()
            except Exception as error:
                _LOGGER.exception("the models cannot be loaded")
                service.failure = StartError(f"models: {type(error).__name__} while loading; see the log line before")
                on_failure()

        loading = asyncio.create_task(load())
        yield
        loading.cancel()
        service.close()

    # No /docs: its page would load scripts from the internet.
    app = FastAPI(
        title="open_speech", version=__version__, openapi_url=None, docs_url=None, redoc_url=None, lifespan=lifespan
    )

    @app.exception_handler(ApiError)
    async def api_error(_request: Request, error: ApiError) -> Response:
        return error.response()

    @app.exception_handler(HTTPException)
    async def http_error(_request: Request, error: HTTPException) -> Response:
        if error.status_code == 404:
            return ApiError(404, "Unknown request URL.", code="unknown_url").response()
        if error.status_code == 405:
            return ApiError(405, "Not allowed method for this URL.", code="method_not_supported").response()
        return ApiError(error.status_code, str(error.detail), headers=dict(error.headers or {})).response()

    @app.exception_handler(Exception)
    async def unexpected(_request: Request, _error: Exception) -> Response:
        return ApiError(500, "The server had an error; its log has the request id.", type_="server_error").response()

    @app.get("/healthz/live")
    async def live() -> Response:
        return JSONResponse({"status": "live"})

    @app.get("/healthz/ready")
    async def ready() -> Response:
        return JSONResponse({"status": "ready"}) if service.ready else JSONResponse({"status": "loading"}, 503)

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(service.metrics.render(), headers={"Content-Type": CONTENT_TYPE})

    def model_object(name: str, model: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": service.started, "owned_by": "airgap.speech", "root": model}

    @app.get("/v1/models")
    async def list_models() -> Response:
        data = [model_object(name, model) for name, model in service.catalogue.listing()]
        return JSONResponse({"object": "list", "data": data})

    @app.get("/v1/models/{name:path}")
    async def get_model(name: str) -> Response:
        return JSONResponse(model_object(name, service.catalogue.resolve(name)))

    @app.post("/v1/audio/transcriptions")
    async def transcriptions(request: Request) -> Response:
        service.require("stt")
        if _media_type(request) != "multipart/form-data":
            raise ApiError(
                415, "Send multipart/form-data with the fields 'file' and 'model'.", code="unsupported_content_type"
            )
        async with service.gate.admitted(request.state.key):
            try:
                async with asyncio.timeout(service.config.upload_seconds):
                    form = await request.form(max_files=1, max_fields=64)
            except TimeoutError:
                raise ApiError(408, "The upload took too long.", code="upload_timeout") from None
            try:
                return await _transcribe(request, form, service)
            finally:
                await form.close()

    @app.post("/v1/audio/speech")
    async def speech(request: Request) -> Response:
        service.require("tts")
        media_type = _media_type(request)
        if media_type != "application/json":
            raise ApiError(415, "Send application/json.", code="unsupported_content_type")
        async with service.gate.admitted(request.state.key):
            try:
                async with asyncio.timeout(service.config.upload_seconds):
                    body = json.loads(await request.body())
            except TimeoutError:
                raise ApiError(408, "The upload took too long.", code="upload_timeout") from None
            except (ValueError, RecursionError):
                raise ApiError(400, "The body is not JSON.", code="invalid_json") from None
            return await _speak(request, body, service)

    return Front(app, service)


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def _gone(request: Request) -> bool:
    """True when nobody waits for the answer any more, so that no worker is spent on it."""
    return await request.is_disconnected()


@dataclass(frozen=True)
class _Wish:
    response_format: str
    language: str | None
    prompt: str | None
    temperature: float
    granularities: frozenset[str]


def _field(form: FormData, name: str) -> str | None:
    value = form.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise ApiError(400, f"'{name}' must be text, not a file.", param=name, code="invalid_value")
    return value


def _list(form: FormData, name: str) -> list[str]:
    return [value for key in (f"{name}[]", name) for value in form.getlist(key) if isinstance(value, str) and value]


def _wish(form: FormData, service: Service) -> _Wish:
    response_format = _field(form, "response_format") or "json"
    if response_format not in formats.RESPONSE_FORMATS:
        known = ", ".join(formats.RESPONSE_FORMATS)
        raise ApiError(400, f"Unknown response_format. Known: {known}.", param="response_format", code="invalid_value")
    try:
        temperature = float(_field(form, "temperature") or 0)
    except ValueError:
        temperature = math.nan
    if not 0 <= temperature <= 1:
        raise ApiError(400, "'temperature' must be a number from 0 to 1.", param="temperature", code="invalid_value")
    granularities = frozenset(_list(form, "timestamp_granularities"))
    if granularities - {"word", "segment"}:
        raise ApiError(
            400,
            "'timestamp_granularities' may hold 'word' and 'segment'.",
            param="timestamp_granularities",
            code="invalid_value",
        )
    if granularities and response_format != "verbose_json":
        raise ApiError(
            400,
            "'timestamp_granularities' needs response_format verbose_json.",
            param="timestamp_granularities",
            code="invalid_value",
        )
    for name, refused in (("stream", ("true", "1")), ("include", ("logprobs",))):
        if any(value.lower() in refused for value in _list(form, name)):
            raise ApiError(400, f"'{name}' is not supported by this server.", param=name, code="unsupported_parameter")
    return _Wish(
        response_format,
        service.hears.language(_field(form, "language")),
        _field(form, "prompt"),
        temperature,
        granularities or frozenset({"segment"}),
    )


async def _transcribe(request: Request, form: FormData, service: Service) -> Response:
    upload = form.get("file")
    if not isinstance(upload, UploadFile):
        raise ApiError(400, "'file' is missing.", param="file", code="missing_required_parameter")
    if upload.size is not None and upload.size > service.config.max_upload_bytes:
        message = f"The file is larger than {service.config.max_upload_bytes} bytes, the most that this server takes."
        raise ApiError(413, message, param="file", code="request_too_large")
    model = _field(form, "model")
    if model is None:
        raise ApiError(400, "'model' is missing.", param="model", code="missing_required_parameter")
    service.catalogue.resolve(model, "stt")
    wish = _wish(form, service)

    def job() -> formats.Transcript:
        samples = audio.decode(upload.file, max_seconds=service.config.max_audio_seconds)
        return service.hears.transcribe(
            samples,
            language=wish.language,
            prompt=wish.prompt,
            temperature=wish.temperature,
            words="word" in wish.granularities,
        )

    async with service.gate.slot("stt"):
        if await _gone(request):
            return Response(status_code=499)
        transcript = await service.work("stt", job)
    service.metrics.audio_seconds.labels("stt").inc(transcript.duration)
    request.state.fields["audio_seconds"] = round(transcript.duration, 2)
    if wish.response_format == "text":
        return PlainTextResponse(transcript.text + "\n")
    if wish.response_format == "srt":
        return PlainTextResponse(formats.srt(transcript), media_type="application/x-subrip; charset=utf-8")
    if wish.response_format == "vtt":
        return PlainTextResponse(formats.vtt(transcript), media_type="text/vtt")
    if wish.response_format == "verbose_json":
        return JSONResponse(formats.verbose_body(transcript, wish.granularities))
    return JSONResponse(formats.json_body(transcript))


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if value is None:
        raise ApiError(400, f"'{name}' is missing.", param=name, code="missing_required_parameter")
    if not isinstance(value, str):
        raise ApiError(400, f"'{name}' must be a string.", param=name, code="invalid_type")
    return value


async def _speak(request: Request, body: Any, service: Service) -> Response:
    if not isinstance(body, dict):
        raise ApiError(400, "The body must be a JSON object.", code="invalid_json")
    if isinstance(body.get("voice"), dict):
        body["voice"] = body["voice"].get("id")
    text = _text(body, "input")
    model = service.catalogue.resolve(_text(body, "model"), "tts")
    voice = service.catalogue.voice(model, _text(body, "voice"))
    if not text.strip():
        raise ApiError(400, "'input' is empty.", param="input", code="invalid_value")
    most = service.config.max_input_characters
    if len(text) > most:
        message = f"'input' has {len(text)} characters, the most is {most}."
        raise ApiError(400, message, param="input", code="string_above_max_length")
    response_format = body.get("response_format")
    response_format = "mp3" if response_format is None else response_format
    if not isinstance(response_format, str) or response_format not in audio.CONTENT_TYPES:
        known = ", ".join(audio.CONTENT_TYPES)
        raise ApiError(400, f"Unknown response_format. Known: {known}.", param="response_format", code="invalid_value")
    speed = body.get("speed")
    speed = 1.0 if speed is None else speed
    if isinstance(speed, bool) or not isinstance(speed, (int, float)) or not 0.25 <= speed <= 4:
        raise ApiError(400, "'speed' must be a number from 0.25 to 4.", param="speed", code="invalid_value")
    if body.get("stream_format") not in (None, "audio"):
        message = "'stream_format' other than audio is not supported by this server."
        raise ApiError(400, message, param="stream_format", code="unsupported_parameter")

    def job() -> tuple[bytes, float]:
        speaker = service.speaks(voice)
        return audio.encode(speaker.speak(text, speed=float(speed)), speaker.rate, response_format)

    async with service.gate.slot("tts"):
        if await _gone(request):
            return Response(status_code=499)
        content, seconds = await service.work("tts", job)
    service.metrics.audio_seconds.labels("tts").inc(seconds)
    request.state.fields["audio_seconds"] = round(seconds, 2)
    return Response(content, media_type=audio.CONTENT_TYPES[response_format])
