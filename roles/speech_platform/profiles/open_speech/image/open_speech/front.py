# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Before the routes: keys, body limits, request ids, metrics and one access log line a request."""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from typing import Any

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .errors import ApiError
from .keys import presented
from .logs import describe
from .service import Service

_LOGGER = logging.getLogger("open_speech.access")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")
_OPEN = ("/healthz/live", "/healthz/ready", "/metrics")
_UPLOAD = "/v1/audio/transcriptions"
_ROUTES = (*_OPEN, _UPLOAD, "/v1/audio/speech", "/v1/models")
_SMALL_BODY = 1024 * 1024
_DRAIN_BYTES = 64 * 1024 * 1024
_DRAIN_SECONDS = 5.0


def route_of(path: str) -> str:
    """A name for metrics and logs that a client cannot choose."""
    if path in _ROUTES:
        return path
    return "/v1/models/{model}" if path.startswith("/v1/models/") else "other"


class Front:
    """ASGI application around the routes."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send, self._service.config.max_upload_bytes)
        failure: BaseException | None = None
        try:
            refusal = self._refusal(exchange)
            if refusal is not None:
                await refusal.response()(scope, exchange.receive, exchange.send)
            else:
                await self._app(scope, exchange.receive, exchange.send)
        except ClientDisconnect:
            exchange.status = exchange.status or 499
        except Exception as error:  # the routes have answered 500 by now, or the client is gone
            failure = error
        finally:
            self._account(exchange, failure)

    def _refusal(self, exchange: _Exchange) -> ApiError | None:
        if exchange.route not in _OPEN:
            name = self._service.keys.name_of(presented(exchange.header("authorization"), exchange.header("x-api-key")))
            if name is None:
                return ApiError(
                    401,
                    "Incorrect or missing API key. Send it as 'Authorization: Bearer <key>' or 'X-API-Key: <key>'.",
                    code="invalid_api_key",
                    headers={"WWW-Authenticate": "Bearer"},
                )
            exchange.key = name
            exchange.scope.setdefault("state", {})["key"] = name
            exchange.scope["state"]["fields"] = exchange.fields
        length = exchange.header("content-length") or ""
        if length.isdigit() and int(length) > exchange.limit:
            return exchange.too_large()
        return None

    def _account(self, exchange: _Exchange, failure: BaseException | None) -> None:
        seconds = time.perf_counter() - exchange.begin
        status = exchange.status or 500
        metrics = self._service.metrics
        method = exchange.scope["method"] if exchange.scope["method"] in ("GET", "POST", "HEAD", "OPTIONS") else "other"
        metrics.requests.labels(exchange.route, method, str(status)).inc()
        metrics.seconds.labels(exchange.route).observe(seconds)
        if exchange.route in _OPEN and failure is None:
            return  # probes and scrapes would drown the rest
        fields: dict[str, Any] = {
            "method": method,
            "route": exchange.route,
            "status": status,
            "seconds": round(seconds, 3),
            "bytes_in": exchange.received,
            "key": exchange.key,
            "request_id": exchange.request_id,
            **exchange.fields,
        }
        if failure is not None:
            fields.update(describe(failure))
        _LOGGER.log(
            logging.ERROR if status >= 500 and status != 503 else logging.INFO, "request", extra={"fields": fields}
        )


class _Exchange:
    def __init__(self, scope: Scope, receive: Receive, send: Send, max_upload_bytes: int) -> None:
        self.scope = scope
        self.begin = time.perf_counter()
        self.route = route_of(scope["path"])
        # Form fields and boundaries come on top of the file itself.
        self.limit = max_upload_bytes + 64 * 1024 if self.route == _UPLOAD else _SMALL_BODY
        self.max_upload_bytes = max_upload_bytes
        self.status = 0
        self.received = 0
        self.key: str | None = None
        self.fields: dict[str, Any] = {}
        self._receive = receive
        self._send = send
        self._headers = Headers(scope=scope)
        self._whole = not ("content-length" in self._headers or "transfer-encoding" in self._headers)
        given = self._headers.get("x-request-id", "")
        self.request_id = given if _REQUEST_ID.match(given) else uuid.uuid4().hex

    def header(self, name: str) -> str | None:
        return self._headers.get(name)

    def too_large(self) -> ApiError:
        most = self.max_upload_bytes if self.route == _UPLOAD else self.limit
        return ApiError(
            413, f"The request is larger than {most} bytes, the most that this server takes.", code="request_too_large"
        )

    async def _next(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            self._whole = True
        self.received += len(message.get("body", b""))
        return message

    async def receive(self) -> Message:
        message = await self._next()
        if self.received > self.limit:
            raise self.too_large()
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message.get("headers", []), (b"x-request-id", self.request_id.encode())]
            await self._drain()
        await self._send(message)

    async def _drain(self) -> None:
        """Read what a refused client still sends: it reads our answer only when it has sent its request."""
        if self._whole or self._headers.get("expect"):
            return
        most = self.received + _DRAIN_BYTES
        try:
            async with asyncio.timeout(_DRAIN_SECONDS):
                while not self._whole and self.received < most:
                    await self._next()
        except TimeoutError:
            pass
