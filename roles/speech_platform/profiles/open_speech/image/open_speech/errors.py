# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors: those that stop the service, and those that a client gets, in OpenAI's shape."""

from __future__ import annotations

from fastapi.responses import JSONResponse

EX_CONFIG = 78
"""Exit status (sysexits.h) when the configuration, the keys or a model are not what they should be."""


class StartError(Exception):
    """The service cannot start; the message is one line with the thing, the cause and the next step."""


class ApiError(Exception):
    """What a client did wrong, or what the service cannot do for it now."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type_: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.type = type_
        self.param = param
        self.code = code
        self.headers = headers or {}

    def response(self) -> JSONResponse:
        body = {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}
        return JSONResponse(body, status_code=self.status, headers=self.headers)


def busy(message: str, retry_after: float, *, code: str) -> ApiError:
    """503 that tells the client when to come again."""
    headers = {"Retry-After": str(max(1, round(retry_after)))}
    return ApiError(503, message, type_="server_error", code=code, headers=headers)
