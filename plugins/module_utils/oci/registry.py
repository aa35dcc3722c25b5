# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A client of the OCI distribution API: one kept connection a thread, TLS verified, retries that are honest.

HTTP/1.1 on purpose: measured, it uploads in less time and with a fifth of the CPU that HTTP/2 takes.
"""

from __future__ import annotations

import base64
import email.utils
import http.client
import io
import json
import os
import random
import re
import socket
import ssl
import threading
import time
import urllib.parse
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, BinaryIO, NoReturn, Optional, Union

from ansible_collections.airgap.speech.plugins.module_utils.oci.digest import parse_digest, sha256_bytes
from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import (
    INDEX_TYPES,
    MANIFEST_TYPES,
    MEDIA_MANIFEST,
    Descriptor,
)
from ansible_collections.airgap.speech.plugins.module_utils.oci.reference import ReferenceInvalid, split_registry

ACCEPT = ", ".join(sorted(INDEX_TYPES | MANIFEST_TYPES))
USER_AGENT = "airgap-speech/0.1"
CHUNK = 1 << 20
PIECE = 16 << 20
MAX_MANIFEST = 16 << 20
RETRY_STATUS = frozenset((408, 429, 500, 502, 503, 504))
REDIRECTS = frozenset((301, 302, 303, 307, 308))
BLOB_TYPE = "application/octet-stream"

Sent = Callable[[int], None]


class RegistryError(Exception):
    """A request that cannot succeed: the thing, the cause and the next step.

    C(kind) is one of V(refused), V(dns), V(timeout), V(tls), V(ca_missing), V(secret_missing), V(secret),
    V(unauthorized), V(forbidden), V(missing), V(digest), V(busy), V(cut), V(server) and V(answer).
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


class _Cut(Exception):
    """The connection ended before the answer was whole; the request may be tried again."""


class _Answer:
    """A response whose body was read."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.headers = {key.lower(): value for key, value in headers.items()}
        self.body = body


class Blob:
    """The body of a blob, as a stream."""

    def __init__(self, response: http.client.HTTPResponse, connection: http.client.HTTPConnection, keep: bool) -> None:
        self._response = response
        self._connection = connection
        self._keep = keep

    def read(self, count: int) -> bytes:
        """Up to I(count) bytes; empty at the end."""
        return self._response.read(count)

    def readinto(self, buffer: Union[bytearray, memoryview]) -> int:
        """Fill a buffer; 0 at the end."""
        return self._response.readinto(buffer)

    def close(self) -> None:
        """End it. What was not read to its end costs the connection."""
        if not self._keep or not self._response.isclosed():
            self._connection.close()
        self._response.close()

    def __enter__(self) -> Blob:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


def human_bytes(count: float) -> str:
    """A size with its unit, as it is shown to people."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024 or unit == "GiB":
            return f"{int(count)} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return ""


def parse_challenge(header: str) -> tuple[str, dict[str, str]]:
    """Split a C(WWW-Authenticate) header into its scheme and its parameters."""
    scheme, _blank, rest = header.strip().partition(" ")
    values = {
        match.group(1).lower(): match.group(2) if match.group(2) is not None else match.group(3)
        for match in re.finditer(r'([A-Za-z_]+)\s*=\s*(?:"([^"]*)"|([^\s,]+))', rest)
    }
    return scheme.lower(), values


def retry_after(value: Optional[str], now: Optional[float] = None) -> Optional[float]:
    """The seconds that a C(Retry-After) header asks for: a number, or a date."""
    if not value:
        return None
    value = value.strip()
    if value.isdigit():
        return float(value)
    try:
        when = email.utils.parsedate_to_datetime(value).timestamp()
    except (TypeError, ValueError):
        return None
    return max(0.0, when - (time.time() if now is None else now))


def credentials_of(path: str, endpoint: str) -> tuple[Optional[str], Optional[str]]:
    """User and password for a registry out of a file in the format of C(~/.docker/config.json)."""
    try:
        with open(path, encoding="utf-8") as stream:
            document = json.load(stream)
    except OSError as error:
        raise RegistryError(
            path, f"cannot be read ({error.strerror})", "name the file with the registry's login"
        ) from error
    except ValueError as error:
        raise RegistryError(path, "is not JSON", "write it as docker login does") from error
    auths = document.get("auths") if isinstance(document, dict) else None
    for key, entry in (auths or {}).items():
        host = re.sub(r"^https?://", "", key).split("/", 1)[0]
        if host != endpoint or not isinstance(entry, dict):
            continue
        if entry.get("username"):
            return str(entry["username"]), str(entry.get("password", ""))
        if entry.get("auth"):
            try:
                user, _colon, password = base64.b64decode(entry["auth"]).decode().partition(":")
            except ValueError as error:
                raise RegistryError(path, f"the entry of {endpoint} is not base64", "run the login again") from error
            return user, password
    return None, None


def read_password(path: str) -> str:
    """The password in a file, without the line end."""
    try:
        with open(path, encoding="utf-8") as stream:
            password = stream.read().rstrip("\r\n")
    except FileNotFoundError as error:
        raise RegistryError(
            f"password file {path}", "it is missing", "make it, or name another file", "secret_missing"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise RegistryError(
            f"password file {path}", f"it cannot be read ({error})", "make it readable for this user", "secret"
        ) from error
    if not password:
        raise RegistryError(f"password file {path}", "it is empty", "write the password into it", "secret")
    return password


def connect(
    address: str,
    *,
    username: Optional[str] = None,
    password: Optional[str] = None,
    password_file: Optional[str] = None,
    ca_file: Optional[str] = None,
    ca_pem: Optional[str] = None,
    plain_http: bool = False,
) -> Registry:
    """A registry by C(host[:port][/prefix]), with the password out of a file where one is named."""
    try:
        endpoint, prefix = split_registry(address)
    except ReferenceInvalid as error:
        raise RegistryError(f"registry {address!r}", str(error), "correct the address") from error
    if password_file and password is None:
        password = read_password(password_file)
    return Registry(
        endpoint,
        username=username,
        password=password,
        ca_file=ca_file,
        ca_pem=ca_pem,
        prefix=prefix,
        plain_http=plain_http,
    )


class Registry:
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
            self._basic = "Basic " + base64.b64encode(login).decode()
        self._challenge: Optional[dict[str, str]] = None
        self._tokens: dict[tuple[str, ...], tuple[str, float]] = {}
        self._lock = threading.Lock()
        self._answered = False
        self._local = threading.local()
        self._open: list[http.client.HTTPConnection] = []
        self._context: Optional[ssl.SSLContext] = None
        if not plain_http or ca_file or ca_pem:
            self._context = self._make_context(ca_file, ca_pem)

    # Connections

    def _make_context(self, ca_file: Optional[str], ca_pem: Optional[str]) -> ssl.SSLContext:
        context = ssl.create_default_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
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

    def _connection(self, scheme: str, host: str) -> http.client.HTTPConnection:
        kept: dict[tuple[str, str], http.client.HTTPConnection] = getattr(self._local, "kept", {})
        self._local.kept = kept
        connection = kept.get((scheme, host))
        if connection is None:
            if scheme == "https":
                connection = http.client.HTTPSConnection(host, timeout=self.timeout, context=self._context)
            else:
                connection = http.client.HTTPConnection(host, timeout=self.timeout)
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

    def __enter__(self) -> Registry:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def _connect(self, connection: http.client.HTTPConnection, thing: str, host: str) -> bool:
        """Open the connection where it is not; true where a kept one is used again."""
        if connection.sock is not None:
            return True
        try:
            connection.connect()
            opened: Any = connection.sock
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except ssl.SSLCertVerificationError as error:
            raise RegistryError(
                thing,
                f"the certificate of {host} is not trusted ({error.verify_message})",
                "name the CA that signed it, or give the registry a certificate with this host name",
                "tls",
            ) from error
        except ssl.SSLError as error:
            raise RegistryError(
                thing,
                f"TLS with {host} failed ({error.reason or error})",
                "check that the port speaks https",
                "tls",
            ) from error
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
            if error.errno is not None and not isinstance(error, ConnectionError):
                raise RegistryError(
                    thing, f"{host} cannot be reached ({error.strerror})", "check the route to it", "refused"
                ) from error
            raise _Cut(str(error)) from error
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
        """Learn from a 401 how to log in; false where there is no use in another try."""
        if not header:
            return False
        scheme, values = parse_challenge(header)
        if scheme != "bearer" or not values.get("realm"):
            return False
        with self._lock:
            known = self._challenge is not None
            fresh = self._tokens.pop(tuple(scopes), None)
            self._challenge = {key: values[key] for key in ("realm", "service", "scope") if key in values}
        return not known or fresh is not None

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
    ) -> _Answer:
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
                    connection.request(method, target, body=body or None, headers=self._headers(headers, method, body))
                    response = connection.getresponse()
                    answer = _Answer(response.status, dict(response.getheaders()), self._body(response, thing))
                except (http.client.HTTPException, OSError) as error:
                    raise _Cut(_describe(error)) from error
                self._answered = True
                if response.will_close:
                    connection.close()
                if answer.status not in RETRY_STATUS:
                    return answer
                cause, kind = _cause_of(answer), "busy" if answer.status in (429, 503) else "server"
                wait = retry_after(answer.headers.get("retry-after"))
            except _Cut as error:
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
            self._pause(thing, attempt, wait, cause, kind)

    def _pause(self, thing: str, attempt: int, wait: Optional[float], cause: str, kind: str) -> None:
        """Wait before the next try, as long as the registry asks; give up after the last one."""
        if attempt >= self.attempts:
            raise RegistryError(
                thing, f"{cause}, {attempt} tries", "look at the registry's log, then run again: it goes on here", kind
            )
        if wait is not None and wait > 300:
            raise RegistryError(
                thing, f"{cause}; it asks to wait {wait:.0f} s", "wait that long, then run again: it goes on here", kind
            )
        backoff = min(30.0, 0.5 * 2 ** (attempt - 1)) * random.uniform(0.75, 1.25)  # noqa: S311 - spreads retries
        self._sleep(backoff if wait is None else max(wait, 0.1))

    def _count(self) -> None:
        with self._lock:
            self.requests += 1

    def _headers(self, headers: Mapping[str, str], method: str, body: bytes) -> dict[str, str]:
        full = {"User-Agent": USER_AGENT, "Accept": "*/*"}
        if method in ("POST", "PUT", "PATCH") and not body:
            full["Content-Length"] = "0"
        full.update(headers)
        return full

    def _body(self, response: http.client.HTTPResponse, thing: str) -> bytes:
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
    ) -> _Answer:
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

    def _refuse(self, answer: _Answer, thing: str) -> NoReturn:
        """Turn an answer that is none of those expected into an error that helps."""
        status, cause = answer.status, _cause_of(answer)
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
        if _codes(answer.body) & {"DIGEST_INVALID", "SIZE_INVALID"}:
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

    def ping(self) -> None:
        """See that a registry answers and takes the login."""
        thing = f"registry {self.endpoint}"
        answer = self._call(thing, "GET", "/v2/", ())
        if answer.status != 200:
            if answer.status == 404:
                raise RegistryError(
                    thing, "there is no OCI registry at this address (404)", "check host and port", "missing", 404
                )
            self._refuse(answer, thing)

    def head_manifest(self, repo: str, ref: str) -> Optional[Descriptor]:
        """What a tag or digest stands for, or nothing."""
        thing = self.name(repo, ref)
        answer = self._call(
            thing, "HEAD", self._path(repo, f"manifests/{ref}"), self._scopes(repo, "pull"), {"Accept": ACCEPT}
        )
        if answer.status == 404:
            return None
        if answer.status != 200:
            self._refuse(answer, thing)
        digest = answer.headers.get("docker-content-digest", "")
        length = answer.headers.get("content-length", "")
        if not digest.startswith("sha256:") or not length.isdigit():
            data, media_type, digest = self.get_manifest(repo, ref)
            return Descriptor(media_type, digest, len(data))
        return Descriptor(answer.headers.get("content-type", "").split(";")[0].strip(), digest, int(length))

    def get_manifest(self, repo: str, ref: str) -> tuple[bytes, str, str]:
        """A manifest or index as it was pushed, its media type and its digest, which is verified."""
        thing = self.name(repo, ref)
        answer = self._call(
            thing, "GET", self._path(repo, f"manifests/{ref}"), self._scopes(repo, "pull"), {"Accept": ACCEPT}
        )
        if answer.status != 200:
            self._refuse(answer, thing)
        digest = sha256_bytes(answer.body)
        claimed = ref if ref.startswith("sha256:") else answer.headers.get("docker-content-digest", digest)
        if claimed != digest:
            raise RegistryError(
                thing,
                f"sha256 differs ({digest} came, {claimed} was announced)",
                "push this image to the registry again",
                "digest",
            )
        media_type = answer.headers.get("content-type", "").split(";")[0].strip()
        return answer.body, media_type or MEDIA_MANIFEST, digest

    def put_manifest(self, repo: str, ref: str, data: bytes, media_type: str) -> str:
        """Push a manifest or index under a tag or its digest; the registry's digest has to be ours."""
        thing = self.name(repo, ref)
        answer = self._call(
            thing,
            "PUT",
            self._path(repo, f"manifests/{ref}"),
            self._scopes(repo, "pull,push"),
            {"Content-Type": media_type},
            data,
        )
        digest = sha256_bytes(data)
        if answer.status not in (200, 201, 202):
            if _codes(answer.body) & {"MANIFEST_BLOB_UNKNOWN", "MANIFEST_UNKNOWN"} and media_type in INDEX_TYPES:
                raise RegistryError(
                    thing,
                    f"the registry wants every platform of the index ({_cause_of(answer)})",
                    "set validation.manifests.indexes.platforms to none in the registry's configuration, "
                    "or make the bundle with all platforms",
                    "answer",
                    answer.status,
                )
            self._refuse(answer, thing)
        answered = answer.headers.get("docker-content-digest", digest)
        if answered != digest:
            raise RegistryError(
                thing,
                f"the registry answered with another digest ({answered} for {digest})",
                "look at the registry's log",
                "digest",
            )
        return digest

    def has_tags(self, repo: str) -> bool:
        """Whether the repository holds any tag; true as well where the registry does not say."""
        answer = self._call(self.name(repo), "GET", self._path(repo, "tags/list?n=1"), self._scopes(repo, "pull"))
        if answer.status == 404:
            return False
        if answer.status == 401:
            self._refuse(answer, self.name(repo))
        if answer.status != 200:
            return True
        try:
            return bool(json.loads(answer.body).get("tags"))
        except (ValueError, AttributeError):
            return True

    def has_blob(self, repo: str, digest: str) -> bool:
        """Whether the repository holds the blob."""
        thing = self.name(repo, digest)
        answer = self._call(thing, "HEAD", self._path(repo, f"blobs/{digest}"), self._scopes(repo, "pull"))
        if answer.status == 200:
            return True
        if answer.status != 404:
            self._refuse(answer, thing)
        return False

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
                cause, kind = _cause_of(answer), "busy" if answer.status in (429, 503) else "server"
                wait = retry_after(answer.headers.get("retry-after"))
            except _Cut as error:
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
    ) -> _Answer:
        connection = self._connection(scheme, host)
        try:
            self._connect(connection, thing, host)
        except RegistryError as error:
            connection.close()
            if error.absent:
                raise _Cut(error.cause) from error
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
            answer = _Answer(response.status, dict(response.getheaders()), self._body(response, thing))
            if broken is not None or response.will_close:
                connection.close()
            else:
                connection.sock.settimeout(self.timeout)
            return answer
        except (http.client.HTTPException, OSError) as error:
            connection.close()
            raise _Cut(_describe(error)) from error
        except BaseException:
            connection.close()
            raise

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
                cause, kind = _cause_of(answer), "busy" if answer.status in (429, 503) else "server"
                wait = retry_after(answer.headers.get("retry-after"))
            except _Cut as error:
                cause, kind = f"the connection was cut ({error})", "cut"
            except RegistryError as error:
                if not (error.absent and self._answered):
                    raise
                cause, kind = error.cause, error.kind
            attempt += 1
            self._pause(thing, attempt, wait, cause, kind)

    def _start_get(
        self, thing: str, scheme: str, host: str, target: str, scopes: Sequence[str], offset: int
    ) -> tuple[http.client.HTTPResponse, http.client.HTTPConnection]:
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
            except (RegistryError, _Cut):
                connection.close()
                raise
            self._count()
            try:
                connection.request("GET", target, headers=headers)
                response = connection.getresponse()
                self._answered = True
                return response, connection
            except (http.client.HTTPException, OSError) as error:
                connection.close()
                if not reused:
                    raise _Cut(_describe(error)) from error

    def _drain(self, response: http.client.HTTPResponse, connection: http.client.HTTPConnection, thing: str) -> _Answer:
        try:
            answer = _Answer(response.status, dict(response.getheaders()), self._body(response, thing))
        except (http.client.HTTPException, OSError) as error:
            connection.close()
            raise _Cut(_describe(error)) from error
        if response.will_close:
            connection.close()
        return answer

    def _skip(self, blob: Blob, count: int) -> None:
        while count:
            try:
                piece = len(blob.read(min(CHUNK, count)))
            except (http.client.HTTPException, OSError) as error:
                blob.close()
                raise _Cut(_describe(error)) from error
            if not piece:
                blob.close()
                raise _Cut("the blob ended early")
            count -= piece

    def iter_blob(self, repo: str, digest: str, size: int, offset: int = 0) -> Generator[bytes, None, None]:
        """The bytes of a blob from I(offset) on, going on where a cut connection left off."""
        thing = self.name(repo, digest)
        attempt = 0
        while offset < size:
            cause = "the connection was cut"
            with self.open_blob(repo, digest, offset) as blob:
                try:
                    while offset < size:
                        chunk = blob.read(min(CHUNK, size - offset))
                        if not chunk:
                            break
                        offset += len(chunk)
                        attempt = 0
                        yield chunk
                    if offset >= size and blob.read(1):
                        raise RegistryError(
                            thing, f"more than its {size} bytes came", "push this image to the registry again", "digest"
                        )
                except (http.client.HTTPException, OSError) as error:
                    cause = f"the connection was cut ({_describe(error)})"
            if offset < size:
                attempt += 1
                self._pause(thing, attempt, None, cause, "cut")


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


def _describe(error: BaseException) -> str:
    text = str(error) or type(error).__name__
    return "it ended early" if isinstance(error, http.client.IncompleteRead) else text


def _errors(body: bytes) -> list[dict[str, Any]]:
    try:
        document = json.loads(body)
        found = document.get("errors") or []
        return [entry for entry in found if isinstance(entry, dict)]
    except (ValueError, AttributeError, TypeError):
        return []


def _codes(body: bytes) -> set[str]:
    return {str(entry.get("code")) for entry in _errors(body)}


def _cause_of(answer: _Answer) -> str:
    """What the registry says about a refusal, in a few words."""
    said = [
        " ".join(str(part) for part in (entry.get("code"), entry.get("message")) if part)
        for entry in _errors(answer.body)
    ]
    text = f"status {answer.status} {http.client.responses.get(answer.status, '')}".rstrip()
    return f"{text} ({'; '.join(said)})" if said else text
