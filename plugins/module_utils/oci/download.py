# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Blobs from a registry: streamed, and taken up again where a connection was cut."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from typing import Optional, Union

from ansible_collections.airgap.speech.plugins.module_utils.oci.digest import CHUNK, PIECE, parse_digest
from ansible_collections.airgap.speech.plugins.module_utils.oci.errors import (
    RETRY_STATUS,
    USER_AGENT,
    Answer,
    Cut,
    RegistryError,
    cause_of,
    describe,
    retry_after,
)
from ansible_collections.airgap.speech.plugins.module_utils.oci.session import REDIRECTS, Session
from ansible_collections.airgap.speech.plugins.module_utils.oci.sink import aligned
from ansible_collections.airgap.speech.plugins.module_utils.oci.wire import Connection, Response

# On a slow line a piece is handed on before it is full, after this many seconds: a killed run loses no more than that.
PATIENCE = 0.1


class Blob:
    """The body of a blob, as a stream."""

    def __init__(self, response: Response, connection: Connection, keep: bool) -> None:
        self._response = response
        self._connection = connection
        self._keep = keep

    def read(self, count: int) -> bytes:
        """Up to I(count) bytes; empty at the end."""
        return self._response.read(count)

    def readinto(self, buffer: Union[bytearray, memoryview], seconds: float = math.inf) -> int:
        """Fill a buffer, or what of it comes within I(seconds); 0 at the end."""
        return self._response.readinto(buffer, seconds)

    def read1(self, count: int) -> bytes:
        """What has come already, or the next bytes that come; empty at the end."""
        return self._response.read1(count)

    def plain_socket(self) -> Optional[int]:
        """The descriptor that the rest of the body comes from as it is: no TLS, and no chunks around it."""
        if (
            self._connection.secure
            or self._response.chunked
            or self._response.length is None
            or self._response.isclosed()
        ):
            return None
        return self._response.fileno()

    def passed_by(self, count: int) -> None:
        """Bytes were taken from the descriptor, past this object."""
        if self._response.length is not None:
            self._response.length -= count
            if self._response.length <= 0:
                self._response.close()

    def close(self) -> None:
        """End it. What was not read to its end costs the connection."""
        if not self._keep or not self._response.isclosed():
            self._connection.close()
        self._response.close()

    def __enter__(self) -> Blob:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


class Downloads(Session):
    """The part of a registry that hands out blobs."""

    def open_blob(self, repo: str, digest: str, offset: int = 0) -> Blob:
        """The bytes of a blob from I(offset) on, following redirects without the login."""
        parse_digest(digest)
        thing = self.name(repo, digest)
        scopes = self._scopes(repo, "pull")
        attempt, logins = 0, 0
        while True:
            scheme, host, target = self._scheme, self.endpoint, self._path(repo, f"blobs/{digest}")
            wait: Optional[float] = None
            try:
                for _hop in range(6):
                    response, connection = self._start_get(thing, scheme, host, target, scopes, offset)
                    location = response.getheader("location")
                    if response.status not in REDIRECTS or not location:
                        break
                    self._drain(response, connection, thing)
                    scheme, host, target = self._follow(thing, scheme, host, target, location)
                if response.status in (200, 206):
                    blob = Blob(response, connection, not response.will_close)
                    if offset and response.status == 200:
                        self._skip(blob, offset)
                    return blob
                answer = self._drain(response, connection, thing)
                if (
                    answer.status == 401
                    and logins < 2
                    and self._accept_challenge(answer.headers.get("www-authenticate"), scopes)
                ):
                    logins += 1
                    continue
                if answer.status not in RETRY_STATUS:
                    self._refuse(answer, thing)
                cause, kind = cause_of(answer), "busy" if answer.status in (429, 503) else "server"
                wait = retry_after(answer.headers.get("retry-after"))
            except Cut as error:
                cause, kind = f"the connection was cut ({error})", "cut"
            except RegistryError as error:
                if not (error.absent and self._answered):
                    raise
                cause, kind = error.cause, error.kind
            attempt += 1
            self.pause(thing, attempt, wait, cause, kind)

    def _start_get(
        self, thing: str, scheme: str, host: str, target: str, scopes: Sequence[str], offset: int
    ) -> tuple[Response, Connection]:
        headers = {"User-Agent": USER_AGENT, "Accept": "*/*"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
        if (scheme, host) == (self._scheme, self.endpoint):
            authorization = self._authorization(scopes)
            if authorization:
                headers["Authorization"] = authorization
        connection = self._connection(scheme, host)
        while True:
            try:
                reused = self._connect(connection, thing, host)
            except (RegistryError, Cut):
                connection.close()
                raise
            self._count()
            try:
                connection.request("GET", target, headers)
                response = connection.getresponse("GET")
                self._answered = True
                return response, connection
            except OSError as error:
                connection.close()
                if not reused:
                    raise Cut(describe(error)) from error

    def _drain(self, response: Response, connection: Connection, thing: str) -> Answer:
        try:
            answer = Answer(response.status, dict(response.getheaders()), self._body(response, thing))
        except OSError as error:
            connection.close()
            raise Cut(describe(error)) from error
        if response.will_close:
            connection.close()
        return answer

    def _skip(self, blob: Blob, count: int) -> None:
        while count:
            try:
                piece = len(blob.read(min(CHUNK, count)))
            except OSError as error:
                blob.close()
                raise Cut(describe(error)) from error
            if not piece:
                blob.close()
                raise Cut("the blob ended early")
            count -= piece

    def iter_blob(self, repo: str, digest: str, size: int, offset: int = 0) -> Generator[memoryview, None, None]:
        """The bytes of a blob from I(offset) on, going on where a cut connection left off.

        There are two buffers: what is yielded holds until the piece after the next one is asked for.
        """
        thing = self.name(repo, digest)
        free, used = (aligned(min(PIECE, max(0, size - offset))) for _buffer in range(2))
        attempt = 0
        while offset < size:
            cause = "the connection was cut"
            with self.open_blob(repo, digest, offset) as blob:
                try:
                    while offset < size:
                        # Up to a multiple of PIECE, so that whoever writes them comes back to whole blocks.
                        room = min(PIECE - offset % PIECE, size - offset)
                        count = blob.readinto(free[:room], PATIENCE)
                        if not count:
                            break
                        offset += count
                        attempt = 0
                        free, used = used, free
                        yield used[:count]
                    if offset >= size and blob.read(1):
                        raise RegistryError(
                            thing, f"more than its {size} bytes came", "push this image to the registry again", "digest"
                        )
                except OSError as error:
                    cause = f"the connection was cut ({describe(error)})"
            if offset < size:
                attempt += 1
                self.pause(thing, attempt, None, cause, "cut")
