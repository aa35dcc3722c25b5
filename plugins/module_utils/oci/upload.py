# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Blobs to a registry: sent in one stream, mounted, and verified by the registry."""

from __future__ import annotations

import http.client
import io
import os
import socket
import ssl
import urllib.parse
from collections.abc import Callable, Sequence
from typing import BinaryIO, Optional

from ansible_collections.airgap.speech.plugins.module_utils.oci.digest import parse_digest
from ansible_collections.airgap.speech.plugins.module_utils.oci.errors import (
    Answer,
    Cut,
    RegistryError,
    cause_of,
    describe,
    retry_after,
)
from ansible_collections.airgap.speech.plugins.module_utils.oci.session import RETRY_STATUS, USER_AGENT, Session

CHUNK = 1 << 20
PIECE = 16 << 20
BLOB_TYPE = "application/octet-stream"

Sent = Callable[[int], None]


class Uploads(Session):
    """The part of a registry that takes blobs."""

    def mount(self, repo: str, digest: str, from_repo: str) -> bool:
        """Make a blob of one repository known in another; false where the registry wants it sent."""
        prefix = f"{self.prefix}/" if self.prefix else ""
        query = urllib.parse.urlencode({"mount": digest, "from": prefix + from_repo})
        thing = self.name(repo, digest)
        scopes = self._scopes(repo, "pull,push", from_repo)
        answer = self._call(thing, "POST", self._path(repo, f"blobs/uploads/?{query}"), scopes)
        if answer.status == 201:
            return True
        if answer.status != 202:
            self._refuse(answer, thing)
        location = answer.headers.get("location")
        if location:
            scheme, host, target = self._upload_target(thing, location)
            if (scheme, host) == (self._scheme, self.endpoint):
                self._call(thing, "DELETE", target, scopes)
        return False

    def _upload_target(self, thing: str, location: str) -> tuple[str, str, str]:
        parts = urllib.parse.urlsplit(urllib.parse.urljoin(f"{self._scheme}://{self.endpoint}/", location))
        query = f"?{parts.query}" if parts.query else ""
        host = parts.netloc.rpartition("@")[2]
        mine = self.endpoint.rpartition(":")[0] or self.endpoint
        theirs = host.rpartition(":")[0] or host
        if host == self.endpoint or (theirs == mine and parts.scheme != self._scheme):
            # A registry behind a TLS proxy writes http, or its inner port, into Location.
            return self._scheme, self.endpoint, parts.path + query
        if parts.scheme not in ("http", "https") or (self._scheme == "https" and parts.scheme == "http"):
            raise RegistryError(
                thing,
                f"the registry sends uploads away from TLS to {host}",
                "correct the registry's host setting",
                "tls",
            )
        return parts.scheme, host, parts.path + query

    def upload(self, repo: str, digest: str, size: int, fileobj: BinaryIO, sent: Optional[Sent] = None) -> None:
        """Send one blob in one stream; the registry verifies its digest before it is there.

        I(sent) hears of bytes as they leave, and of a negative number where a try has to be repeated.
        """
        parse_digest(digest)
        thing = self.name(repo, digest)
        start = fileobj.tell() if fileobj.seekable() else 0
        scopes = self._scopes(repo, "pull,push")
        gone = [0]  # of the try under way

        def tell(count: int) -> None:
            gone[0] += count
            if sent is not None:
                sent(count)

        attempt, logins = 0, 0
        while True:
            opened = self._call(thing, "POST", self._path(repo, "blobs/uploads/"), scopes)
            location = opened.headers.get("location")
            if opened.status != 202 or not location:
                self._refuse(opened, thing)
            scheme, host, target = self._upload_target(thing, location)
            target += ("&" if "?" in target else "?") + "digest=" + urllib.parse.quote(digest, safe=":")
            wait: Optional[float] = None
            try:
                answer = self._put_stream(thing, scheme, host, target, scopes, fileobj, start, size, tell)
                if answer.status in (201, 204):
                    answered = answer.headers.get("docker-content-digest", digest)
                    if answered != digest:
                        raise RegistryError(
                            thing,
                            f"the registry answered with another digest ({answered})",
                            "look at the registry's log",
                            "digest",
                        )
                    return
                tell(-gone[0])
                if (
                    answer.status == 401
                    and logins < 2
                    and self._accept_challenge(answer.headers.get("www-authenticate"), scopes)
                ):
                    logins += 1
                    continue
                if answer.status not in RETRY_STATUS and answer.status != 404:
                    self._refuse(answer, thing)
                cause, kind = cause_of(answer), "busy" if answer.status in (429, 503) else "server"
                wait = retry_after(answer.headers.get("retry-after"))
            except Cut as error:
                tell(-gone[0])
                cause, kind = f"the connection was cut ({error})", "cut"
            attempt += 1
            self._pause(thing, attempt, wait, cause, kind)

    def _put_stream(
        self,
        thing: str,
        scheme: str,
        host: str,
        target: str,
        scopes: Sequence[str],
        fileobj: BinaryIO,
        start: int,
        size: int,
        tell: Sent,
    ) -> Answer:
        connection = self._connection(scheme, host)
        try:
            self._connect(connection, thing, host)
        except RegistryError as error:
            connection.close()
            if error.absent:
                raise Cut(error.cause) from error
            raise
        self._count()
        try:
            connection.putrequest("PUT", target, skip_accept_encoding=True)
            connection.putheader("User-Agent", USER_AGENT)
            connection.putheader("Content-Type", BLOB_TYPE)
            connection.putheader("Content-Length", str(size))
            if (scheme, host) == (self._scheme, self.endpoint):
                authorization = self._authorization(scopes)
                if authorization:
                    connection.putheader("Authorization", authorization)
            connection.endheaders()
            broken: Optional[OSError] = None
            try:
                _pour(connection.sock, fileobj, start, size, tell, thing)
            except (BrokenPipeError, ConnectionResetError) as error:
                broken = error  # The registry may have said why before it hung up.
            connection.sock.settimeout(max(self.timeout, 600.0) if broken is None else 5.0)
            response = connection.getresponse()
            answer = Answer(response.status, dict(response.getheaders()), self._body(response, thing))
            if broken is not None or response.will_close:
                connection.close()
            else:
                connection.sock.settimeout(self.timeout)
            return answer
        except (http.client.HTTPException, OSError) as error:
            connection.close()
            raise Cut(describe(error)) from error
        except BaseException:
            connection.close()
            raise


def _pour(sock: socket.socket, fileobj: BinaryIO, start: int, size: int, tell: Sent, thing: str) -> None:
    """Send I(size) bytes of a file: inside the kernel without TLS, through one buffer with it."""
    left = size
    if not isinstance(sock, ssl.SSLSocket) and _is_plain_file(fileobj):
        while left:
            count = sock.sendfile(fileobj, start + size - left, min(PIECE, left))
            if not count:
                break
            left -= count
            tell(count)
    else:
        if fileobj.seekable():
            fileobj.seek(start)
        while left:
            data = fileobj.read(min(CHUNK, left))
            if not data:
                break
            sock.sendall(data)
            left -= len(data)
            tell(len(data))
    if left:
        raise RegistryError(
            thing, f"the file has {size - left} bytes where {size} are announced", "copy the bundle again", "digest"
        )


def _is_plain_file(fileobj: BinaryIO) -> bool:
    try:
        return os.fstat(fileobj.fileno()).st_size >= 0
    except (io.UnsupportedOperation, AttributeError, OSError):
        return False
