# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files from web servers, faults included."""

from __future__ import annotations

import functools
import http.server
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Optional

import pytest

from ansible_collections.airgap.speech.plugins.module_utils.bundle.fetch import FetchError
from ansible_collections.airgap.speech.plugins.module_utils.bundle.web import Web
from tests.unit.plugins.module_utils.bundle.faults import Fault, FaultProxy, fault_proxy
from tests.unit.plugins.module_utils.bundle.upstreams import noise
from tests.unit.registry_server import make_certificates

DATA = noise("web", 3_000_000)


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files of a directory; with ranges where `ranges` is set; a password where `login` is set."""

    protocol_version = "HTTP/1.1"
    ranges = True
    login: Optional[str] = None

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """A file, or the rest of it."""
        if self.path.startswith("/moved/"):
            self.send_response(302)
            self.send_header("Location", self.path.replace("/moved/", "/"))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if self.login and self.headers.get("Authorization") != self.login:
            self.send_error(401)
            return
        path = Path(self.directory) / self.path.lstrip("/")
        if not path.is_file():
            self.send_error(404)
            return
        data, wanted = path.read_bytes(), self.headers.get("Range")
        if wanted and self.ranges:
            data = data[int(wanted.partition("=")[2].rstrip("-")) :]
            self.send_response(206)
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def web_server(
    directory: Path, certificates: Optional[tuple[Path, Path, Path]] = None, **settings: Any
) -> Iterator[str]:
    """Host and port of a web server over a directory."""
    kind = type("Configured", (Handler,), settings)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(kind, directory=str(directory)))
    if certificates:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates[1], certificates[2])
        server.socket = context.wrap_socket(server.socket, server_side=True)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"localhost:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(params=[True, False], ids=["ranges", "no ranges"])
def proxy(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[FaultProxy]:
    """A web server with one file, behind a proxy that fails on purpose."""
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "f.bin").write_bytes(DATA)
    with web_server(tmp_path / "web", ranges=request.param) as target, fault_proxy(target) as proxy:
        yield proxy


@pytest.mark.parametrize(
    ("fault", "waits"),
    [
        (None, []),
        (Fault("f.bin", cut=1_000_000, times=2), 2),
        (Fault("f.bin", 429, {"Retry-After": "9"}), [9.0]),
        (Fault("f.bin", 503), 1),
    ],
)
def test_it_comes_from_anywhere(proxy: FaultProxy, fault: Optional[Fault], waits: Any) -> None:
    for offset in (0, 7, len(DATA) - 1, len(DATA)):
        waited: list[float] = []
        proxy.faults[:] = [Fault(**fault.__dict__)] if fault and not offset else []
        assert b"".join(Web(sleep=waited.append).read(f"http://{proxy.endpoint}/f.bin", offset)) == DATA[offset:]
        if not offset:
            assert (len(waited) if isinstance(waits, int) else waited) == waits
    assert Web().size(f"http://{proxy.endpoint}/f.bin") == len(DATA)
    assert b"".join(Web().read(f"http://{proxy.endpoint}/moved/f.bin")) == DATA


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault("f.bin", 401), "status 401 .*: it wants a login"),
        (Fault("f.bin", 403), "status 403 .*: it is not allowed"),
        (Fault("f.bin", 404), "status 404 .*: it is not there"),
        (Fault("f.bin", 500, times=9), r"status 500 .*, 6 tries; check the server and run again"),
        (Fault("f.bin", 503, {"Retry-After": "4000"}), "status 503"),
    ],
)
def test_it_cannot_come(proxy: FaultProxy, fault: Fault, message: str) -> None:
    proxy.faults.append(Fault(**fault.__dict__))
    with pytest.raises(FetchError, match=message):
        list(Web(sleep=lambda seconds: None).read(f"http://{proxy.endpoint}/f.bin"))


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://example.com/f", "https:///f", "f.bin"])
def test_only_web_addresses(url: str) -> None:
    with pytest.raises(FetchError, match="is no http or https address"):
        list(Web().read(url))


def test_nobody_listens() -> None:
    from tests.unit.registry_server import free_port

    waited: list[float] = []
    with pytest.raises(FetchError, match="Connection refused, 6 tries"):
        list(Web(sleep=waited.append).read(f"http://localhost:{free_port()}/f"))
    assert len(waited) == 5
    assert waited == sorted(waited)


def test_tls_with_a_private_ca_and_a_password(tmp_path: Path) -> None:
    (tmp_path / "f.bin").write_bytes(DATA)
    (tmp_path / "password").write_text("pw\n")
    certificates = make_certificates(tmp_path)
    with web_server(tmp_path, certificates, login="Basic bWU6cHc=") as host:
        url = f"https://{host}/f.bin"
        with pytest.raises(FetchError, match=r"its certificate is not trusted .*; name its CA"):
            list(Web().read(url))
        for wrong in (tmp_path / "none", tmp_path / "f.bin"):
            with pytest.raises(FetchError, match=f"the CA certificate {wrong} cannot be used"):
                list(Web({host: {"ca_file": str(wrong)}}).read(url))
        known = {"ca_file": str(certificates[0])}
        with pytest.raises(FetchError, match="wants a login; give username"):
            list(Web({host: known}).read(url))
        login = {**known, "username": "me", "password_file": str(tmp_path / "password")}
        assert b"".join(Web({host: login}).read(url)) == DATA
        assert b"".join(Web({"localhost": login}).read(url, 10)) == DATA[10:]
        with pytest.raises(FetchError, match="wants the password without TLS"):
            list(Web({host: login}).read(f"http://{host}/f.bin"))


def test_a_redirect_never_leads_away_from_tls(tmp_path: Path) -> None:
    (tmp_path / "f.bin").write_bytes(DATA)
    certificates = make_certificates(tmp_path)

    def away(self: Handler) -> None:
        self.send_response(302)
        self.send_header("Location", f"http://localhost:{self.server.server_address[1]}/f.bin")  # type: ignore[index]
        self.send_header("Content-Length", "0")
        self.end_headers()

    with (
        web_server(tmp_path, certificates, do_GET=away) as host,
        pytest.raises(FetchError, match="points away from TLS to http:"),
    ):
        list(Web({host: {"ca_file": str(certificates[0])}}).read(f"https://{host}/f.bin"))
