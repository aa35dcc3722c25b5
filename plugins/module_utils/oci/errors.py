# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What can go wrong with a registry, and an answer as it came."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any, Optional

USER_AGENT = "airgap-speech/0.1"
# Answers after which the same request may succeed.
RETRY_STATUS = frozenset((408, 429, 500, 502, 503, 504))
# Seconds; a server that asks for a longer wait is left to the user.
LONGEST_WAIT = 300.0
PHRASES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    413: "Request Entity Too Large",
    416: "Range Not Satisfiable",
    429: "Too Many Requests",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
    507: "Insufficient Storage",
}


class RegistryError(Exception):
    """A request that cannot succeed: the thing, the cause and the next step.

    C(kind) is one of V(refused), V(dns), V(timeout), V(tls), V(ca_missing), V(secret_missing), V(secret),
    V(unauthorized), V(forbidden), V(missing), V(digest), V(busy), V(cut), V(full),
    V(no_repository), V(server) and V(answer).
    """

    def __init__(self, thing: str, cause: str, next_step: str, kind: str = "answer", status: int = 0) -> None:
        super().__init__(f"{thing}: {cause}; {next_step}")
        self.thing = thing
        self.cause = cause
        self.next_step = next_step
        self.kind = kind
        self.status = status

    @property
    def absent(self) -> bool:
        """Whether nothing answered at the address, as before a registry has been set up."""
        return self.kind in ("refused", "dns", "timeout")

    @property
    def not_set_up(self) -> bool:
        """The same, or that its CA or its password have not been made yet."""
        return self.absent or self.kind in ("ca_missing", "secret_missing")


class Cut(Exception):
    """The connection ended before the answer was whole; the request may be tried again."""


class Answer:
    """A response whose body was read."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.headers = {key.lower(): value for key, value in headers.items()}
        self.body = body


def human_bytes(count: float) -> str:
    """A size with its unit, as it is shown to people."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024 or unit == "GiB":
            return f"{int(count)} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return ""


def retry_after(value: Optional[str], now: Optional[float] = None) -> Optional[float]:
    """The seconds that a C(Retry-After) header asks for: a number, or a date."""
    if not value:
        return None
    value = value.strip()
    if value.isdigit():
        return float(value)
    import email.utils  # Here, as it takes long and comes rarely.

    try:
        when = email.utils.parsedate_to_datetime(value).timestamp()
    except (TypeError, ValueError):
        return None
    return max(0.0, when - (time.time() if now is None else now))


def pause_before(attempt: int, asked: Optional[float] = None) -> float:
    """Seconds to wait before the next try: what the server asked for, else longer after each of I(attempt) tries."""
    if asked is not None:
        return max(asked, 0.1)
    import random  # Here, as most runs never wait.

    return min(30.0, 0.5 * 2.0 ** (attempt - 1)) * random.uniform(0.75, 1.25)  # noqa: S311 - spreads retries


def describe(error: BaseException) -> str:
    """What broke, in a few words."""
    return str(error) or type(error).__name__


def _errors(body: bytes) -> list[dict[str, Any]]:
    try:
        document = json.loads(body)
        found = document.get("errors") or []
        return [entry for entry in found if isinstance(entry, dict)]
    except (ValueError, AttributeError, TypeError):
        return []


def codes_of(body: bytes) -> set[str]:
    """The error codes of the distribution API in an answer."""
    return {str(entry.get("code")) for entry in _errors(body)}


def cause_of(answer: Answer) -> str:
    """What the registry says about a refusal, in a few words."""
    said = [
        " ".join(str(part) for part in (entry.get("code"), entry.get("message")) if part)
        for entry in _errors(answer.body)
    ]
    if disk_full(answer):
        said.append("no space left on the registry's disk")
    text = f"status {answer.status} {PHRASES.get(answer.status, '')}".rstrip()
    return f"{text} ({'; '.join(said)})" if said else text


def disk_full(answer: Answer) -> bool:
    """Whether the registry has no room for what is sent."""
    return answer.status == 507 or (answer.status >= 500 and b"no space left on device" in answer.body)
