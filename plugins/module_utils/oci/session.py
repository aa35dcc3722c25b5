# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One registry and one login: a kept connection a thread, TLS verified, retries that are honest.

HTTP/1.1 on purpose: measured, it uploads in less time and with a fifth of the CPU that HTTP/2 takes.
"""

from __future__ import annotations

import binascii
import json
import socket
import threading
import time
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NoReturn, Optional, TypeVar

from ansible_collections.airgap.speech.plugins.module_utils.oci.errors import (
    LONGEST_WAIT,
    RETRY_STATUS,
    USER_AGENT,
    Answer,
    Cut,
    RegistryError,
    cause_of,
    codes_of,
    describe,
    disk_full,
    human_bytes,
    pause_before,
    retry_after,
)
from ansible_collections.airgap.speech.plugins.module_utils.oci.login import parse_challenge
from ansible_collections.airgap.speech.plugins.module_utils.oci.wire import Connection, Response

if TYPE_CHECKING:
    import ssl

MAX_MANIFEST = 16 << 20
REDIRECTS = frozenset((301, 302, 303, 307, 308))

_Self = TypeVar("_Self", bound="Session")


class Session:
    """One registry, with one login. Safe to use from several threads; each has a connection of its own."""

    def __init__(
        self,
        endpoint: str,
        *,
        username: Optional[str] = None,
        password: Optional[str] = None,
        ca_file: Optional[str] = None,
        ca_pem: Optional[str] = None,
        prefix: str = "",
        plain_http: bool = False,
        attempts: int = 6,
        timeout: float = 60.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.endpoint = endpoint
        self.prefix = prefix.strip("/")
        self.plain_http = plain_http
        self.attempts = max(1, attempts)
        self.timeout = timeout
        self.requests = 0
        self._sleep = sleep
        self._username = username
        self._password = password
        self._scheme = "http" if plain_http else "https"
        self._basic: Optional[str] = None
        if username is not None:
            login = f"{username}:{password or ''}".encode()
            self._basic = "Basic " + binascii.b2a_base64(login, newline=False).decode()
        self._challenge: Optional[dict[str, str]] = None
        self._tokens: dict[tuple[str, ...], tuple[str, float]] = {}
        self._lock = threading.Lock()
        self._answered = False
        self._local = threading.local()
        self._open: list[Connection] = []
        self._context: Optional[ssl.SSLContext] = None
        if not plain_http or ca_file or ca_pem:
            self._context = self._make_context(ca_file, ca_pem)

    # Connections

    def _make_context(self, ca_file: Optional[str], ca_pem: Optional[str]) -> ssl.SSLContext:
        import ssl  # Here, so that plain http does without.

        context = ssl.create_default_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # Python 3.13 asks for extensions that certificates of a site's own CA often lack. Chain, dates and name are
        # verified all the same.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        try:
            if ca_file:
                context.load_verify_locations(cafile=ca_file)
            if ca_pem:
                context.load_verify_locations(cadata=ca_pem)
        except FileNotFoundError as error:
            raise RegistryError(
                f"registry {self.endpoint}",
                f"the CA certificate {ca_file} is missing",
                "name the file of the site's CA",
                "ca_missing",
            ) from error
        except (OSError, ssl.SSLError) as error:
            raise RegistryError(
                f"registry {self.endpoint}",
                f"the CA certificate {ca_file or 'given as text'} cannot be used ({error})",
                "give a PEM file with BEGIN CERTIFICATE in it that this user may read",
                "tls",
            ) from error
        return context

    def _connection(self, scheme: str, host: str) -> Connection:
        kept: dict[tuple[str, str], Connection] = getattr(self._local, "kept", {})
        self._local.kept = kept
        connection = kept.get((scheme, host))
        if connection is None or connection.busy:
            if scheme == "https":
                connection = Connection(host, self.timeout, self._context)
            else:
                connection = Connection(host, self.timeout)
            kept[(scheme, host)] = connection
            with self._lock:
                self._open.append(connection)
        return connection

    def close(self) -> None:
        """End every connection of every thread."""
        with self._lock:
            connections, self._open = self._open, []
        for connection in connections:
            connection.close()
        self._local = threading.local()

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def _connect(self, connection: Connection, thing: str, host: str) -> bool:
        """Open the connection where it is not; true where a kept one is used again."""
        if connection.sock is not None:
            return True
        try:
            connection.connect()
        except socket.gaierror as error:
            raise RegistryError(
                thing,
                f"the name of {host} cannot be resolved ({error.strerror})",
                "check the name, or add it to DNS or /etc/hosts",
                "dns",
            ) from error
        except ConnectionRefusedError as error:
            raise RegistryError(
                thing, f"{host} refused the connection", "start the registry, or correct its port", "refused"
            ) from error
        except (socket.timeout, TimeoutError) as error:
            raise RegistryError(
                thing, f"{host} did not answer in {self.timeout:.0f} s", "check the network and the firewall", "timeout"
            ) from error
        except OSError as error:
            if connection.secure:
                _refuse_tls(error, thing, host)
            if error.errno is not None and not isinstance(error, ConnectionError):
                raise RegistryError(
                    thing, f"{host} cannot be reached ({error.strerror})", "check the route to it", "refused"
                ) from error
            raise Cut(str(error)) from error
        return False

    # Login

    def _authorization(self, scopes: Sequence[str]) -> Optional[str]:
        with self._lock:
            challenge = self._challenge
            token = self._tokens.get(tuple(scopes))
        if challenge is None:
            return self._basic
        if token is not None and token[1] > time.monotonic():
            return "Bearer " + token[0]
        return "Bearer " + self._fetch_token(challenge, scopes)

    def _fetch_token(self, challenge: Mapping[str, str], scopes: Sequence[str]) -> str:
        realm = challenge.get("realm", "")
        parts = urllib.parse.urlsplit(realm)
        thing = f"registry {self.endpoint}"
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise RegistryError(
                thing, f"its token service {realm!r} is no address", "correct the registry's auth settings"
            )
        if parts.scheme == "http" and not self.plain_http and self._basic:
            raise RegistryError(
                thing,
                f"its token service {realm} wants the password without TLS",
                "give the token service https",
                "tls",
            )
        query = urllib.parse.parse_qsl(parts.query)
        if challenge.get("service"):
            query.append(("service", challenge["service"]))
        wanted = list(scopes)
        for extra in challenge.get("scope", "").split():
            if extra not in wanted:
                wanted.append(extra)
        query.extend(("scope", scope) for scope in wanted)
        if self._username:
            query.append(("account", self._username))
        headers = {"Authorization": self._basic} if self._basic else {}
        target = f"{parts.path or '/'}?{urllib.parse.urlencode(query)}"
        answer = self._send(thing, "GET", parts.scheme, parts.netloc, target, headers)
        if answer.status != 200:
            self._refuse(answer, thing)
        try:
            document = json.loads(answer.body)
            token = document.get("token") or document["access_token"]
            life = float(document.get("expires_in") or 60)
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise RegistryError(thing, f"its token service {realm} gave no token", "check the token service") from error
        with self._lock:
            self._tokens[tuple(scopes)] = (str(token), time.monotonic() + max(5.0, life * 0.8))
        return str(token)

    def _accept_challenge(self, header: Optional[str], scopes: Sequence[str]) -> bool:
        """Learn from a 401 how to log in; false where no token is asked for. The caller limits the tries."""
        if not header:
            return False
        scheme, values = parse_challenge(header)
        if scheme != "bearer" or not values.get("realm"):
            return False
        with self._lock:
            self._tokens.pop(tuple(scopes), None)
            self._challenge = {key: values[key] for key in ("realm", "service", "scope") if key in values}
        return True

    # Requests

    def _send(
        self,
        thing: str,
        method: str,
        scheme: str,
        host: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes = b"",
    ) -> Answer:
        """One request with retries over cut connections and busy answers; the answer is whole."""
        attempt = 0
        while True:
            connection = self._connection(scheme, host)
            reused = connection.sock is not None
            wait: Optional[float] = None
            try:
                self._connect(connection, thing, host)
                self._count()
                try:
                    connection.request(method, target, self._headers(headers, method, body), body)
                    response = connection.getresponse(method)
                    answer = Answer(response.status, dict(response.getheaders()), self._body(response, thing))
                except OSError as error:
                    raise Cut(describe(error)) from error
                self._answered = True
                if response.will_close:
                    connection.close()
                if answer.status not in RETRY_STATUS or disk_full(answer):
                    return answer
                cause, kind = cause_of(answer), "busy" if answer.status in (429, 503) else "server"
                wait = retry_after(answer.headers.get("retry-after"))
            except Cut as error:
                connection.close()
                if reused:
                    continue
                cause, kind = f"the connection was cut ({error})", "cut"
            except RegistryError as error:
                connection.close()
                if not (error.absent and self._answered):
                    raise
                cause, kind = error.cause, error.kind
            attempt += 1
            self.pause(thing, attempt, wait, cause, kind)

    def pause(self, thing: str, attempt: int, wait: Optional[float], cause: str, kind: str) -> None:
        """Wait before the next try, as long as the registry asks; give up after the last one."""
        if attempt >= self.attempts:
            raise RegistryError(
                thing, f"{cause}, {attempt} tries", "look at the registry's log, then run again: it goes on here", kind
            )
        if wait is not None and wait > LONGEST_WAIT:
            raise RegistryError(
                thing, f"{cause}; it asks to wait {wait:.0f} s", "wait that long, then run again: it goes on here", kind
            )
        self._sleep(pause_before(attempt, wait))

    def wait(self, seconds: float) -> None:
        """Let some time pass."""
        self._sleep(seconds)

    def _count(self) -> None:
        with self._lock:
            self.requests += 1

    def _headers(self, headers: Mapping[str, str], method: str, body: bytes) -> dict[str, str]:
        full = {"User-Agent": USER_AGENT, "Accept": "*/*"}
        if method in ("POST", "PUT", "PATCH") and not body:
            full["Content-Length"] = "0"
        full.update(headers)
        return full

    def _body(self, response: Response, thing: str) -> bytes:
        data = response.read(MAX_MANIFEST + 1)
        if len(data) > MAX_MANIFEST:
            raise RegistryError(thing, f"an answer of more than {human_bytes(MAX_MANIFEST)} came", "check the address")
        return data

    def _call(
        self,
        thing: str,
        method: str,
        path: str,
        scopes: Sequence[str],
        headers: Optional[Mapping[str, str]] = None,
        body: bytes = b"",
    ) -> Answer:
        """One API request with the login, followed over redirects, which never see the login of another host."""
        tries = 0
        while True:
            scheme, host, target = self._scheme, self.endpoint, path
            for _hop in range(6):
                full = dict(headers or {})
                if (scheme, host) == (self._scheme, self.endpoint):
                    authorization = self._authorization(scopes)
                    if authorization:
                        full["Authorization"] = authorization
                answer = self._send(thing, method, scheme, host, target, full, body)
                location = answer.headers.get("location")
                if answer.status not in REDIRECTS or method not in ("GET", "HEAD") or not location:
                    break
                scheme, host, target = self._follow(thing, scheme, host, target, location)
            tries += 1
            if (
                answer.status == 401
                and tries < 3
                and self._accept_challenge(answer.headers.get("www-authenticate"), scopes)
            ):
                continue
            return answer

    def _follow(self, thing: str, scheme: str, host: str, target: str, location: str) -> tuple[str, str, str]:
        parts = urllib.parse.urlsplit(urllib.parse.urljoin(f"{scheme}://{host}{target}", location))
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise RegistryError(
                thing, f"the registry points to {location!r}", "correct the registry's redirect settings"
            )
        if scheme == "https" and parts.scheme == "http":
            raise RegistryError(
                thing,
                f"the registry points away from TLS to {parts.netloc}",
                "correct the registry's redirect settings",
                "tls",
            )
        query = f"?{parts.query}" if parts.query else ""
        return parts.scheme, parts.netloc.rpartition("@")[2], (parts.path or "/") + query

    def _refuse(self, answer: Answer, thing: str) -> NoReturn:
        """Turn an answer that is none of those expected into an error that helps."""
        status, cause = answer.status, cause_of(answer)
        if disk_full(answer):
            raise RegistryError(
                thing,
                f"the registry's disk is full ({cause})",
                "prune and garbage-collect it, or give it a larger disk, then run again: it goes on here",
                "full",
                status,
            )
        if status == 401:
            who = f"user {self._username}" if self._username is not None else "no user"
            raise RegistryError(
                thing,
                f"the registry refused the login ({who}, 401)",
                "check the user name and the password file",
                "unauthorized",
                401,
            )
        if status == 403:
            who = f"user {self._username}" if self._username is not None else "an unknown user"
            raise RegistryError(
                thing,
                f"the registry does not allow this to {who} (403)",
                "give that user the right, or use the push user",
                "forbidden",
                403,
            )
        if status == 404:
            raise RegistryError(
                thing,
                f"the registry does not have it ({cause})",
                "check the name; some registries want the repository made first",
                "missing",
                404,
            )
        if status == 405:
            raise RegistryError(
                thing, "the registry is read-only (405)", "use the address that takes pushes", "forbidden", 405
            )
        if codes_of(answer.body) & {"DIGEST_INVALID", "SIZE_INVALID"}:
            raise RegistryError(
                thing,
                f"the registry computed another digest ({cause})",
                "what was sent is altered: copy the bundle again",
                "digest",
                status,
            )
        raise RegistryError(thing, cause, "look at the registry's log", "server" if status >= 500 else "answer", status)

    # The API

    def _path(self, repo: str, rest: str) -> str:
        name = f"{self.prefix}/{repo}" if self.prefix else repo
        return f"/v2/{urllib.parse.quote(name)}/{rest}"

    def _scopes(self, repo: str, actions: str, from_repo: Optional[str] = None) -> tuple[str, ...]:
        prefix = f"{self.prefix}/" if self.prefix else ""
        own = f"repository:{prefix}{repo}:{actions}"
        return (own,) if from_repo is None else (own, f"repository:{prefix}{from_repo}:pull")

    def name(self, repo: str, ref: str = "") -> str:
        """How a repository of this registry is called in messages."""
        path = f"{self.endpoint}/{self.prefix}/{repo}" if self.prefix else f"{self.endpoint}/{repo}"
        if not ref:
            return path
        return f"{path}@{ref}" if ref.startswith("sha256:") else f"{path}:{ref}"


def _refuse_tls(error: OSError, thing: str, host: str) -> None:
    """An error of TLS, as one that helps; any other is left to the caller."""
    import ssl

    if isinstance(error, ssl.SSLCertVerificationError):
        raise RegistryError(
            thing,
            f"the certificate of {host} is not trusted ({error.verify_message})",
            "name the CA that signed it, or give the registry a certificate with this host name",
            "tls",
        ) from error
    if isinstance(error, ssl.SSLError):
        raise RegistryError(
            thing,
            f"TLS with {host} failed ({error.reason or error})",
            "check that the port speaks https",
            "tls",
        ) from error
