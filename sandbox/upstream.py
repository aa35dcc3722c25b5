# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The outside registry: it stands for docker.io, quay.io, ghcr.io and nvcr.io, by path prefix."""

from __future__ import annotations

import base64
import ctypes
import ctypes.util
import secrets
import ssl
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from sandbox.build import tool_dir, tool_key
from sandbox.containers import Container, File, ensure
from sandbox.images import APPLETS, MANIFEST, Image, busybox_image, ensure_scratch, rootfs_image
from sandbox.network import outside_subnet
from sandbox.pki import Authority, write_private
from sandbox.rootfs import TAGS, recipe
from sandbox.run import SandboxError, Steps, wait_for
from sandbox.settings import Settings, digest, versions

HOSTS = ("docker.io", "quay.io", "ghcr.io", "nvcr.io", "registry.k8s.io")
USERNAME = "sandbox"
PORT = 5000
CONFIG = f"""\
version: 0.1
log: {{level: warn, accesslog: {{disabled: true}}}}
storage:
  filesystem: {{rootdirectory: /var/lib/registry}}
  delete: {{enabled: true}}
auth:
  htpasswd: {{realm: upstream, path: /etc/upstream/htpasswd}}
http:
  addr: ":{PORT}"
  tls: {{certificate: /etc/upstream/upstream.crt, key: /etc/upstream/upstream.key}}
""".encode()


def directory(settings: Settings) -> Path:
    return settings.state / "upstream"


def ca_file(settings: Settings) -> Path:
    return directory(settings) / "upstream-ca.crt"


def password_file(settings: Settings) -> Path:
    return directory(settings) / "password"


def endpoint(settings: Settings) -> str:
    return f"{outside_subnet(settings)[2]}:{PORT}"


def bcrypt(password: str) -> str:
    """A bcrypt hash by the system's libcrypt; the registry knows no other."""
    alphabet = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
    salt = "".join(secrets.choice(alphabet) for _ in range(21)) + secrets.choice(".Oeu")
    library = ctypes.CDLL(ctypes.util.find_library("crypt") or "libcrypt.so.1")
    library.crypt.restype = ctypes.c_char_p
    hashed = library.crypt(password.encode(), f"$2b$10${salt}".encode())
    if not hashed or not hashed.startswith(b"$2b$"):
        raise SandboxError(
            "libcrypt on this machine knows no bcrypt; install the package libcrypt1 of Debian 11 or newer"
        )
    return str(hashed.decode())


def ensure_upstream(settings: Settings, steps: Steps) -> None:
    """The registry runs and holds what the sandbox puts there. The tool `registry` must have been built."""
    place = directory(settings)
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    address = outside_subnet(settings)[2]
    certificate = f"upstream-{address}"
    Authority(place, "upstream-ca").issue(certificate, "upstream", hosts=["upstream", "localhost", str(address)])
    if not password_file(settings).exists():
        password = secrets.token_urlsafe(18)
        write_private(password_file(settings), password.encode())
        write_private(place / "htpasswd", f"{USERNAME}:{bcrypt(password)}\n".encode())
    spec = Container(
        sandbox=settings.name,
        name=settings.container("upstream"),
        image=ensure_scratch(),
        network=settings.outside,
        address=str(address),
        hostname="upstream",
        options=[
            f"--volume={tool_dir('registry')}:/opt:ro",
            f"--volume={settings.name}-upstream:/var/lib/registry",
            "--env=OTEL_TRACES_EXPORTER=none",
            "--entrypoint=/opt/registry",
        ],
        command=["serve", "/etc/upstream/config.yml"],
        files=[
            File("/etc/upstream/config.yml", CONFIG),
            File("/etc/upstream/htpasswd", (place / "htpasswd").read_bytes(), 0o600),
            File("/etc/upstream/upstream.crt", (place / f"{certificate}.crt").read_bytes()),
            File("/etc/upstream/upstream.key", (place / f"{certificate}.key").read_bytes(), 0o600),
        ],
    )
    ensure(spec, steps)
    fill(settings, steps)


def content() -> dict[str, str]:
    """What the upstream registry holds: `repository:tag` -> the content key of what is pushed there."""
    recipe_number = versions()["recipe"]
    return {
        "docker.io/library/debian:12-slim": digest(recipe("debian")),
        "docker.io/library/python:3.11-slim": digest(recipe("python")),
        "quay.io/airgap/busybox:1.0": digest(recipe_number, APPLETS),
    }


def fill(settings: Settings, steps: Steps) -> None:
    client = Client(endpoint(settings), ca_file(settings), USERNAME, password_file(settings).read_text())
    hint = f"look at `docker logs {settings.container('upstream')}`"
    wait_for("the upstream registry", client.answers, 30, hint)
    makers = {
        "docker.io/library/debian:12-slim": lambda: rootfs_image("debian", steps),
        "docker.io/library/python:3.11-slim": lambda: rootfs_image("python", steps),
        "quay.io/airgap/busybox:1.0": lambda: busybox_image(steps, compress=True),
    }
    missing = []
    for name, key in content().items():
        repository, tag = name.rsplit(":", 1)
        marker = directory(settings) / ("pushed-" + digest(name, key, tool_key("registry")))
        if not (marker.exists() and client.manifest_digest(repository, tag) == marker.read_text()):
            missing.append((name, repository, tag, marker))

    def push(item: tuple[str, str, str, Path]) -> None:
        name, repository, tag, marker = item
        with steps.step(f"{name} into the upstream registry"):
            image = makers[name]()
            client.push(repository, tag, image)
            write_private(marker, image.digest.encode())

    with ThreadPoolExecutor(max_workers=2) as pool:
        list(pool.map(push, missing))


class Client:
    """Just enough of the distribution API to push an image."""

    def __init__(self, address: str, ca: Path, username: str, password: str) -> None:
        self._base = f"https://{address}/v2/"
        context = ssl.create_default_context(cafile=str(ca))
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        self._authorization = "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()

    def _call(self, method: str, url: str, data: bytes | None = None, kind: str = "application/octet-stream") -> Any:
        request = urllib.request.Request(url, data=data, method=method)  # noqa: S310 (https, built here)
        request.add_header("Authorization", self._authorization)
        request.add_header("Accept", MANIFEST)
        if data is not None:
            request.add_header("Content-Type", kind)
        return self._opener.open(request, timeout=120)

    def answers(self) -> bool:
        try:
            self._call("GET", self._base).close()
        except OSError:
            return False
        return True

    def manifest_digest(self, repository: str, tag: str) -> str | None:
        try:
            with self._call("HEAD", f"{self._base}{repository}/manifests/{tag}") as response:
                return str(response.headers["Docker-Content-Digest"])
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise

    def _has_blob(self, repository: str, name: str) -> bool:
        try:
            self._call("HEAD", f"{self._base}{repository}/blobs/{name}").close()
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return False
            raise
        return True

    def push(self, repository: str, tag: str, image: Image) -> None:
        for name, data in image.blobs.items():
            if self._has_blob(repository, name):
                continue
            with self._call("POST", f"{self._base}{repository}/blobs/uploads/", b"") as response:
                location = urljoin(self._base, response.headers["Location"])
            separator = "&" if "?" in location else "?"
            self._call("PUT", f"{location}{separator}digest={name}", data).close()
        self._call("PUT", f"{self._base}{repository}/manifests/{tag}", image.manifest, MANIFEST).close()


def variables(settings: Settings) -> dict[str, Any]:
    """What the connected side needs to know, for `ansible-playbook -e @file`."""
    hosts = {
        host: {
            "endpoint": endpoint(settings),
            "prefix": host,
            "ca_file": str(ca_file(settings)),
            "username": USERNAME,
            "password_file": str(password_file(settings)),
        }
        for host in HOSTS
    }
    tools = {
        name: str(tool_dir(tool) / name)
        for tool, name in (("helm", "helm"), ("kubernetes", "kubectl"), ("registry", "registry"))
    }
    return {
        "bundle_registry_hosts": hosts,
        "bundle_build_args": {"BASE_IMAGE": TAGS["debian"]},
        "bundle_tool_paths": tools,
    }
