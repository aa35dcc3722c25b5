# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Blobs to a registry: sent in one stream, taken up where it was cut, mounted, and verified by the registry."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

from ansible_collections.airgap.speech.plugins.module_utils.oci.body import Body, Sent, short_of
from ansible_collections.airgap.speech.plugins.module_utils.oci.digest import parse_digest
from ansible_collections.airgap.speech.plugins.module_utils.oci.errors import (
    RETRY_STATUS,
    USER_AGENT,
    Answer,
    Cut,
    RegistryError,
    cause_of,
    codes_of,
    describe,
    disk_full,
    retry_after,
)
from ansible_collections.airgap.speech.plugins.module_utils.oci.session import Session
from ansible_collections.airgap.speech.plugins.module_utils.oci.sessions import WORTH_KEEPING, Sessions

BLOB_TYPE = "application/octet-stream"
_RANGE = re.compile(r"(?:bytes=)?0-(\d+)\Z")


@dataclass(frozen=True)
class Place:
    """Where an upload goes on: the address that the registry gave, and how many bytes it has."""

    location: str
    offset: int = 0


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
        if answer.status == 404:
            return False  # The upload that follows says which repository has to be made.
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

    def upload(
        self,
        repo: str,
        digest: str,
        size: int,
        body: Body,
        sent: Optional[Sent] = None,
        *,
        sessions: Optional[Sessions] = None,
        place: Optional[Place] = None,
        until: Optional[int] = None,
    ) -> int:
        """Send one blob in one stream; the registry verifies its digest before it is there.

        A cut connection is taken up at the byte that the registry has, where it says so, and else from the start.
        With I(place), an upload of an earlier run goes on. With I(until), only the bytes before that offset are
        at hand: they are sent, and the upload stays open in I(sessions). I(sent) hears of bytes as they leave, and
        of a negative number where some have to be sent again. Returns how many bytes of the blob were sent and kept.
        """
        parse_digest(digest)
        one = _Upload(self, repo, digest, size, body, sent, sessions if size >= WORTH_KEEPING or until else None)
        return one.run(place, size if until is None else until)

    def upload_place(self, repo: str, digest: str, location: str) -> Optional[Place]:
        """How far an upload of an earlier run came; nothing where the registry has forgotten it."""
        thing = self.name(repo, digest)
        scheme, host, target = self._upload_target(thing, location)
        if (scheme, host) != (self._scheme, self.endpoint):
            return None  # An object store behind the registry has no such question.
        answer = self._call(thing, "GET", target, self._scopes(repo, "pull,push"))
        if answer.status not in (200, 202, 204):
            return None
        found = _RANGE.match(answer.headers.get("range", "").strip())
        # A registry with nothing says 0-0, as does one with a single byte; the first is what happens.
        last = int(found.group(1)) if found else 0
        return Place(answer.headers.get("location") or location, last + 1 if last else 0)

    def _open_upload(self, repo: str, thing: str) -> Place:
        opened = self._call(thing, "POST", self._path(repo, "blobs/uploads/"), self._scopes(repo, "pull,push"))
        location = opened.headers.get("location")
        if opened.status == 202 and location:
            return Place(location)
        if opened.status == 404 or (opened.status in (400, 403) and "NAME_UNKNOWN" in codes_of(opened.body)):
            raise RegistryError(
                self.name(repo),
                f"the registry has no such repository, and makes none on a push ({cause_of(opened)})",
                "make the repository there first (in Harbor its project, in ECR the repository), then run again",
                "no_repository",
                opened.status,
            )
        self._refuse(opened, thing)

    def _stream(
        self,
        method: str,
        thing: str,
        address: tuple[str, str, str],
        scopes: Sequence[str],
        body: Body,
        span: tuple[int, int],
        ranged: bool,
        tell: Sent,
    ) -> Answer:
        """One PUT or PATCH with the bytes from C(span[0]) to before C(span[1])."""
        scheme, host, target = address
        start, end = span
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
            headers = {
                "User-Agent": USER_AGENT,
                "Content-Type": BLOB_TYPE,
                "Content-Length": str(end - start),
            }
            if ranged and end > start:
                headers["Content-Range"] = f"{start}-{end - 1}"
            if (scheme, host) == (self._scheme, self.endpoint):
                authorization = self._authorization(scopes)
                if authorization:
                    headers["Authorization"] = authorization
            sock = connection.send_head(method, target, headers)
            broken: Optional[OSError] = None
            try:
                gone = body.pour(sock, start, end - start, tell)
                if gone < end - start:
                    raise short_of(thing, start + gone, end)
            except (BrokenPipeError, ConnectionResetError) as error:
                broken = error  # The registry may have said why before it hung up.
            sock.settimeout(max(self.timeout, 600.0) if broken is None else 5.0)
            response = connection.getresponse(method)
            answer = Answer(response.status, dict(response.getheaders()), self._body(response, thing))
            if broken is not None or response.will_close:
                connection.close()
            else:
                sock.settimeout(self.timeout)
            return answer
        except OSError as error:
            connection.close()
            raise Cut(describe(error)) from error
        except BaseException:
            connection.close()
            raise


class _Upload:
    """One blob on its way, over all its tries."""

    def __init__(
        self,
        registry: Uploads,
        repo: str,
        digest: str,
        size: int,
        body: Body,
        sent: Optional[Sent],
        sessions: Optional[Sessions],
    ) -> None:
        self._registry = registry
        self._repo = repo
        self._digest = digest
        self._size = size
        self._body = body
        self._sent = sent
        self._sessions = sessions
        self._thing = registry.name(repo, digest)
        self._scopes = registry._scopes(repo, "pull,push")
        self._first: Optional[int] = None  # the byte that this run began at
        self._gone = 0  # told of so far, and not taken back

    def _tell(self, count: int) -> None:
        self._gone += count
        if self._sent is not None and count:
            self._sent(count)

    def run(self, place: Optional[Place], until: int) -> int:
        """Send what is missing up to the byte I(until); the whole blob is closed with its digest."""
        attempt, logins, again = 0, 0, False
        while True:
            place = self._begin(place)
            wait: Optional[float] = None
            try:
                answer = self._try(place, until)
            except Cut as error:
                cause, kind = f"the connection was cut ({error})", "cut"
            else:
                if answer.status in (201, 204) or (until < self._size and answer.status == 202):
                    self._end(answer, until)
                    return self._gone
                if (
                    answer.status == 401
                    and logins < 2
                    and self._registry._accept_challenge(answer.headers.get("www-authenticate"), self._scopes)
                ):
                    logins += 1
                    place = self._look(place)
                    continue
                if codes_of(answer.body) & {"DIGEST_INVALID", "SIZE_INVALID"} and place.offset and not again:
                    # What an earlier run left may be wrong; what is sent now from the start is not.
                    again, place = True, None
                    self._forget()
                    continue
                if answer.status not in RETRY_STATUS | {404, 416} or disk_full(answer):
                    if not disk_full(answer):
                        self._forget()
                    self._registry._refuse(answer, self._thing)
                cause, kind = cause_of(answer), "busy" if answer.status in (429, 503) else "server"
                wait = retry_after(answer.headers.get("retry-after"))
            attempt += 1
            self._registry.pause(self._thing, attempt, wait, cause, kind)
            place = self._look(place)

    def _begin(self, place: Optional[Place]) -> Place:
        if place is None or place.offset > self._size:
            place = self._registry._open_upload(self._repo, self._thing)
        if self._first is None or place.offset < self._first:
            self._first = place.offset
        self._tell(place.offset - self._first - self._gone)
        if self._sessions is not None:
            self._sessions.keep(self._thing, place.location)
        return place

    def _try(self, place: Place, until: int) -> Answer:
        scheme, host, target = self._registry._upload_target(self._thing, place.location)
        method = "PATCH"
        if until == self._size:
            method = "PUT"
            target += ("&" if "?" in target else "?") + "digest=" + urllib.parse.quote(self._digest, safe=":")
        ranged = place.offset > 0 or method == "PATCH"
        return self._registry._stream(
            method,
            self._thing,
            (scheme, host, target),
            self._scopes,
            self._body,
            (place.offset, until),
            ranged,
            self._tell,
        )

    def _look(self, place: Place) -> Optional[Place]:
        """How much of a broken try has arrived; nothing where it has to begin again."""
        if self._size < WORTH_KEEPING:
            return None
        found = self._registry.upload_place(self._repo, self._digest, place.location)
        # The registry may still be writing down what came before the cut.
        for _turn in range(20):
            if found is None:
                break
            before = found.offset
            self._registry.wait(0.1)
            found = self._registry.upload_place(self._repo, self._digest, place.location)
            if found is not None and found.offset == before:
                break
        return found

    def _forget(self) -> None:
        if self._sessions is not None:
            self._sessions.drop(self._thing)

    def _end(self, answer: Answer, until: int) -> None:
        if until < self._size:
            location = answer.headers.get("location")
            if location and self._sessions is not None:
                self._sessions.keep(self._thing, location)
            return
        self._forget()
        answered = answer.headers.get("docker-content-digest", self._digest)
        if answered != self._digest:
            raise RegistryError(
                self._thing,
                f"the registry answered with another digest ({answered})",
                "look at the registry's log",
                "digest",
            )
