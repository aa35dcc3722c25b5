# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The real distribution registry on a loopback port, with TLS and a password, for unit tests.

    from registry_server import registry_server  # a fixture: one registry a test module

The binary is AIRGAP_SPEECH_REGISTRY_BINARY, else /tmp/gobin/registry, else the newest in the cache.
"""

from __future__ import annotations

import datetime
import ipaddress
import json
import os
import shutil
import socket
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

import bcrypt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

USERNAME = "airgap-push"
PASSWORD = "correct horse: battery"


def registry_binary() -> Optional[Path]:
    """The registry's binary, or nothing."""
    named = os.environ.get("AIRGAP_SPEECH_REGISTRY_BINARY")
    if named:
        return Path(named)
    built = Path("/tmp/gobin/registry")
    if built.is_file():
        return built
    cache = Path(os.environ.get("AIRGAP_SPEECH_CACHE") or Path.home() / ".cache" / "airgap-speech")
    found = sorted(cache.glob("go/registry/*/bin/registry"), key=lambda path: path.stat().st_mtime)
    return found[-1] if found else None


def make_certificates(directory: Path, name: str = "localhost") -> tuple[Path, Path, Path]:
    """A CA and a server certificate for C(name) and 127.0.0.1: paths of CA, certificate and key."""
    now = datetime.datetime.now(datetime.timezone.utc)
    day = datetime.timedelta(days=1)
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Airgap Speech test CA")])
    ca = (
        x509.CertificateBuilder()
        .subject_name(ca_name)
        .issuer_name(ca_name)
        .public_key(ca_key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        # What Python 3.13 wants of every certificate, which is strict.
        .add_extension(x509.KeyUsage(True, False, False, False, False, True, True, False, False), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    key = ec.generate_private_key(ec.SECP256R1())
    names = x509.SubjectAlternativeName([x509.DNSName(name), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(ca_name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(names, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    paths = directory / "ca.crt", directory / "server.crt", directory / "server.key"
    paths[0].write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[2].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


def free_port() -> int:
    """A loopback port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class RegistryServer:
    """A registry process with its directory. TLS and password unless told otherwise."""

    directory: Path
    binary: Path
    tls: bool = True
    auth: bool = True
    port: int = field(default_factory=free_port)
    process: Optional[subprocess.Popen[bytes]] = None

    username = USERNAME
    password = PASSWORD

    def __post_init__(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self.ca_file, self._certificate, self._key = make_certificates(self.directory)
        self.password_file = self.directory / "password"
        self.password_file.write_text(PASSWORD + "\n")
        self.storage = self.directory / "storage"
        self.log = self.directory / "registry.log"

    @property
    def endpoint(self) -> str:
        """Host and port."""
        return f"localhost:{self.port}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        htpasswd = self.directory / "htpasswd"
        htpasswd.write_bytes(USERNAME.encode() + b":" + bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)) + b"\n")
        config: dict[str, Any] = {
            "version": 0.1,
            "log": {"level": "info", "accesslog": {"disabled": False}},
            "storage": {"filesystem": {"rootdirectory": str(self.storage)}, "delete": {"enabled": True}},
            "http": {"addr": f"127.0.0.1:{self.port}", "secret": "only-a-test"},
            # An index keeps its digest although only some of its platforms are carried.
            "validation": {"manifests": {"indexes": {"platforms": "none"}}},
        }
        if self.tls:
            config["http"]["tls"] = {"certificate": str(self._certificate), "key": str(self._key)}
        if self.auth:
            config["auth"] = {"htpasswd": {"realm": "test", "path": str(htpasswd)}}
        path = self.directory / "config.yml"
        path.write_text(json.dumps(config))
        environment = {"PATH": os.environ["PATH"], "OTEL_TRACES_EXPORTER": "none"}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [str(self.binary), "serve", str(path)], stdout=log, stderr=log, env=environment
            )
        context = ssl.create_default_context(cafile=str(self.ca_file)) if self.tls else None
        url = f"{'https' if self.tls else 'http'}://localhost:{self.port}/v2/"
        for _attempt in range(600):
            if self.process.poll() is not None:
                break
            try:
                urllib.request.urlopen(url, context=context, timeout=5).close()  # noqa: S310
                return
            except urllib.error.HTTPError:
                return
            except OSError:
                time.sleep(0.05)
        self.process.kill()
        self.process.wait()
        raise RuntimeError(f"the registry did not start:\n{self.log.read_text()}")

    def stop(self) -> None:
        """End it; what it holds stays."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def empty(self) -> None:
        """Take out everything that it holds."""
        self.stop()
        shutil.rmtree(self.storage, ignore_errors=True)
        self.start()

    def requests(self) -> list[str]:
        """The requests that it has answered so far: method and path, in order."""
        found = []
        for line in self.log.read_text(errors="replace").splitlines():
            if '] "' in line and " HTTP/" in line:
                method, path = line.split('] "', 1)[1].split(" ", 2)[:2]
                found.append(f"{method} {path}")
        return found


def _serve(directory: Path, *, tls: bool, auth: bool) -> Iterator[RegistryServer]:
    binary = registry_binary()
    if binary is None or not binary.is_file():
        pytest.skip("no registry binary: run `make sandbox` once, or set AIRGAP_SPEECH_REGISTRY_BINARY")
    server = RegistryServer(directory, binary, tls=tls, auth=auth)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture()
def registry_server(tmp_path: Path) -> Iterator[RegistryServer]:
    """An empty registry with TLS and a password."""
    yield from _serve(tmp_path / "registry", tls=True, auth=True)


@pytest.fixture()
def plain_registry_server(tmp_path: Path) -> Iterator[RegistryServer]:
    """An empty registry over http, open to all."""
    yield from _serve(tmp_path / "plain-registry", tls=False, auth=False)
