# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Other registries than our own on a loopback port, where their programs are at hand: distribution 2.8 (Debian's
docker-registry), crane's, zot. And a token service for the first of them.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Optional

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from tests.unit.registry_server import PASSWORD, USERNAME, free_port, make_certificates


def program(kind: str) -> Optional[Path]:
    """The program of a registry: on the PATH, or where `make bench-mirror` built it."""
    name = {"distribution-2.8": "docker-registry", "crane": "crane", "zot": "zot"}[kind]
    found = shutil.which(name)
    if found:
        return Path(found)
    cache = Path(os.environ.get("AIRGAP_SPEECH_CACHE") or Path.home() / ".cache" / "airgap-speech")
    built = sorted(cache.glob(f"go-bench/{name}/*/{name}"))
    return built[-1] if built else None


class OtherRegistry:
    """A registry process over http."""

    def __init__(self, kind: str, binary: Path, directory: Path, token: Optional[TokenServer] = None) -> None:
        self.kind = kind
        self.port = free_port()
        self.endpoint = f"localhost:{self.port}"
        self.directory = directory
        directory.mkdir(parents=True)
        storage = directory / "storage"
        storage.mkdir()
        if kind == "crane":
            argv = [str(binary), "registry", "serve", "--address", f"127.0.0.1:{self.port}", "--disk", str(storage)]
        elif kind == "zot":
            config = {
                "distSpecVersion": "1.1.1",
                "storage": {"rootDirectory": str(storage), "gc": False},
                "http": {"address": "127.0.0.1", "port": str(self.port)},
                "log": {"level": "info"},
            }
            argv = [str(binary), "serve", str(self._write(config))]
        else:
            config = {
                "version": 0.1,
                "log": {"level": "info", "accesslog": {"disabled": False}},
                "storage": {"filesystem": {"rootdirectory": str(storage)}, "delete": {"enabled": True}},
                "http": {"addr": f"127.0.0.1:{self.port}", "secret": "only-a-test"},
            }
            if token is not None:
                config["auth"] = {
                    "token": {
                        "realm": token.realm,
                        "service": "speech registry",
                        "issuer": "test",
                        "rootcertbundle": str(token.ca_file),
                    }
                }
            argv = [str(binary), "serve", str(self._write(config))]
        with (directory / "log").open("wb") as log:
            self.process = subprocess.Popen(argv, stdout=log, stderr=log, env={"PATH": os.environ["PATH"]})
        for _attempt in range(600):
            if self.process.poll() is not None:
                break
            try:
                urllib.request.urlopen(f"http://{self.endpoint}/v2/", timeout=5).close()
                return
            except urllib.error.HTTPError:
                return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError(f"{kind} did not start:\n{(directory / 'log').read_text()}")

    def _write(self, config: dict[str, Any]) -> Path:
        path = self.directory / "config.json"
        path.write_text(json.dumps(config))
        return path

    def stop(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class TokenServer:
    """A token service as the distribution specification has it: one user, who may do everything.

    I(life) is what its tokens live, in seconds.
    """

    def __init__(self, directory: Path, life: int = 300) -> None:
        directory.mkdir(parents=True)
        self.ca_file, self._certificate, key = make_certificates(directory)
        loaded = serialization.load_pem_private_key(key.read_bytes(), None)
        if not isinstance(loaded, ec.EllipticCurvePrivateKey):
            raise TypeError("the test's key is not of an elliptic curve")
        self._key = loaded
        self._life = life
        self.scopes: list[list[str]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.realm = f"http://127.0.0.1:{self._server.server_port}/token"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        service = self
        login = "Basic " + base64.b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
                allowed = self.headers.get("Authorization") == login
                scopes = query.get("scope", [])
                service.scopes.append(scopes)
                body = json.dumps({"token": service.token(scopes), "expires_in": service._life}).encode()
                self.send_response(200 if allowed else 401)
                self.send_header("Content-Length", str(len(body) if allowed else 0))
                self.end_headers()
                if allowed:
                    self.wfile.write(body)

            def log_message(self, *_args: Any) -> None:
                pass

        return Handler

    def token(self, scopes: list[str]) -> str:
        """A signed token for the scopes."""
        access = []
        for scope in scopes:
            kind, name, actions = scope.split(":", 2)
            access.append({"type": kind, "name": name, "actions": actions.split(",")})
        now = int(time.time())
        claims = {
            "iss": "test",
            "sub": USERNAME,
            "aud": "speech registry",
            "exp": now + self._life,
            "nbf": now - 5,
            "iat": now,
            "jti": str(now),
            "access": access,
        }
        lines = self._certificate.read_text().splitlines()
        header = {"typ": "JWT", "alg": "ES256", "x5c": ["".join(lines[1:-1])]}
        signed = f"{_b64(json.dumps(header).encode())}.{_b64(json.dumps(claims).encode())}"
        r, s = decode_dss_signature(self._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{_b64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"

    def stop(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()
