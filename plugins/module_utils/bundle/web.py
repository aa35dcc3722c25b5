# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files from http(s) servers: ranges, retries that honour Retry-After, and the proxies of the environment."""

from __future__ import annotations

import base64
import http.client
import os
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Optional

from ansible_collections.airgap.speech.plugins.module_utils.bundle.fetch import FetchError
from ansible_collections.airgap.speech.plugins.module_utils.oci.digest import CHUNK, PIECE
from ansible_collections.airgap.speech.plugins.module_utils.oci.errors import (
    LONGEST_WAIT,
    RETRY_STATUS,
    USER_AGENT,
    pause_before,
    retry_after,
)
from ansible_collections.airgap.speech.plugins.module_utils.oci.login import read_password

ATTEMPTS = 6


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows, but never away from TLS."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Optional[urllib.request.Request]:
        if req.full_url.startswith("https:") and not newurl.startswith("https:"):
            raise FetchError(f"{req.full_url}: points away from TLS to {newurl}; name an address that does not")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class Web:
    """http(s) servers. `hosts` is the mapping of bundle_registry_hosts: ca_file, username and password_file count."""

    def __init__(
        self,
        hosts: Optional[Mapping[str, Any]] = None,
        timeout: float = 60.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._hosts = dict(hosts or {})
        self._timeout = timeout
        self._sleep = sleep

    def get(self, url: str, limit: int = 64 << 20) -> bytes:
        """A small file, whole."""
        data = bytearray()
        for chunk in self.read(url):
            data += chunk
            if len(data) > limit:
                raise FetchError(f"{url}: has more than {limit} bytes; check the address")
        return bytes(data)

    def size(self, url: str) -> int:
        """The size in bytes that the server says a file has."""
        try:
            with self._open(url, 0) as response:
                found = _whole(response, 0)
        except urllib.error.HTTPError as error:
            raise FetchError(_refusal(url, error.code, error.reason)) from error
        except (http.client.HTTPException, OSError) as error:
            raise FetchError(f"{url}: cannot be had ({error}); check the address and the network") from error
        if found is None:
            raise FetchError(
                f"{url}: its server does not say how large it is; give the size in bytes beside the sha256"
            )
        return found

    def read(self, url: str, offset: int = 0) -> Iterator[bytes]:
        """The bytes from `offset` on, going on where a cut connection left off."""
        attempt = 0
        while True:
            wait: Optional[float] = None
            try:
                with self._open(url, offset) as response:
                    whole = _whole(response, offset)
                    if offset and response.status != 206:
                        _skip(response, offset)
                    for chunk in iter(lambda: response.read(PIECE), b""):
                        offset += len(chunk)
                        attempt = 0
                        yield chunk
                    if whole is None or offset >= whole:
                        return
                    cause = f"the connection was cut after {offset} of {whole} bytes"
            except urllib.error.HTTPError as error:
                if error.code == 416 and offset:
                    return
                if error.code not in RETRY_STATUS:
                    raise FetchError(_refusal(url, error.code, error.reason)) from error
                cause, wait = f"status {error.code} {error.reason}", retry_after(error.headers.get("Retry-After"))
            except urllib.error.URLError as error:
                if isinstance(error.reason, ssl.SSLCertVerificationError):
                    raise FetchError(
                        f"{url}: its certificate is not trusted ({error.reason.verify_message}); name its CA as "
                        "ca_file of this host in bundle_registry_hosts"
                    ) from error
                cause = str(error.reason)
            except (http.client.HTTPException, OSError) as error:
                cause = f"the connection was cut ({error or type(error).__name__})"
            attempt += 1
            if attempt >= ATTEMPTS or (wait is not None and wait > LONGEST_WAIT):
                raise FetchError(
                    f"{url}: {cause}, {attempt} tries; check the server and run again: it goes on where it stopped"
                )
            self._sleep(pause_before(attempt, wait))

    def _open(self, url: str, offset: int) -> Any:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise FetchError(f"{url}: is no http or https address; correct it")
        host = parts.netloc.rpartition("@")[2]
        entry = dict(self._hosts.get(host) or self._hosts.get(parts.hostname) or {})
        context = ssl.create_default_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if entry.get("ca_file"):
            try:
                context.load_verify_locations(cafile=os.path.expanduser(str(entry["ca_file"])))
            except OSError as error:  # an SSLError is one too
                raise FetchError(
                    f"{url}: the CA certificate {entry['ca_file']} cannot be used ({error}); give a PEM file as "
                    "ca_file of "
                    f"{host} in bundle_registry_hosts"
                ) from error
        opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), _Redirects())
        # The scheme was checked above.
        request = urllib.request.Request(  # noqa: S310
            url, headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"}
        )
        if offset:
            request.add_header("Range", f"bytes={offset}-")
        if entry.get("username"):
            if parts.scheme == "http" and not entry.get("plain_http"):
                raise FetchError(f"{url}: wants the password without TLS; use https, or set plain_http for {host}")
            path = entry.get("password_file")
            password = read_password(os.path.expanduser(str(path))) if path else ""
            login = base64.b64encode(f"{entry['username']}:{password}".encode()).decode("ascii")
            # Unredirected: another host never sees it.
            request.add_unredirected_header("Authorization", "Basic " + login)
        return opener.open(request, timeout=self._timeout)


def _whole(response: Any, offset: int) -> Optional[int]:
    """The size of the whole file in bytes, where the server says."""
    length = str(response.headers.get("Content-Length") or "")
    if not length.isdigit():
        return None
    return int(length) + (offset if response.status == 206 else 0)


def _skip(response: Any, count: int) -> None:
    """The server sent all of it although only the rest was asked for."""
    while count:
        piece = len(response.read(min(CHUNK, count)))
        if not piece:
            raise OSError("it ended early")
        count -= piece


def _refusal(url: str, status: int, reason: str) -> str:
    what = {
        401: "wants a login; give username and password_file for this host in bundle_registry_hosts",
        403: "is not allowed for this user; give a user with the right in bundle_registry_hosts",
        404: "is not there; correct the address",
    }.get(status, "cannot be had; look at the server's log")
    return f"{url}: status {status} {reason}: it {what}"
