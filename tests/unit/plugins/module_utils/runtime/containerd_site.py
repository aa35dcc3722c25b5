# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real containerd with a real registry, for tests of its store."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import random
import subprocess
import tarfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.airgap.speech.plugins.module_utils.runtime.store import Store, chain_ids
from sandbox.build import tool_dir
from tests.unit.registry_server import RegistryServer, plain_registry_server

__all__ = ["plain_registry_server"]
BIN = tool_dir("containerd")
NAME = "outside.example.test:8443/team/image:1"
CONFIG = """\
version = 3
root = "{0}/root"
state = "{0}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime",
  "io.containerd.nri.v1.nri"]
[grpc]
  address = "{0}/containerd.sock"
[ttrpc]
  address = "{0}/ttrpc.sock"
"""


def run(argv: Sequence[str]) -> tuple[int, str, str]:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def layer(files: dict[str, bytes | str]) -> bytes:
    """A tar: bytes are files, text is a link's target; a name that ends with a slash is a directory."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name.rstrip("/"))
            info.mode = 0o644
            if name.endswith("/"):
                info.type, info.mode = tarfile.DIRTYPE, 0o755
            elif isinstance(data, str):
                info.type, info.linkname = (
                    (tarfile.LNKTYPE, data[1:]) if data.startswith("=") else (tarfile.SYMTYPE, data)
                )
            else:
                info.size = len(data)
            tar.addfile(info, io.BytesIO(data) if isinstance(data, bytes) else None)
    return out.getvalue()


class Site:
    """A registry with one image, and a containerd that has pulled it."""

    def __init__(self, folder: Path, registry: RegistryServer) -> None:
        self.folder, self.registry = folder, registry
        self.url = f"http://{registry.endpoint}/v2/outside.example.test_8443/team/image"
        hosts = folder / "certs.d" / "outside.example.test_8443_"
        hosts.mkdir(parents=True)
        (hosts / "hosts.toml").write_text(
            f'server = "http://{registry.endpoint}/v2/outside.example.test_8443"\n'
            'override_path = true\ncapabilities = ["pull", "resolve"]\n'
        )
        (folder / "config.toml").write_text(CONFIG.format(folder))
        self.store = Store(
            run,
            root=str(folder / "root"),
            ctr=str(BIN / "ctr"),
            socket=str(folder / "containerd.sock"),
            hosts_dir=str(folder / "certs.d"),
        )
        log = (folder / "log").open("wb")
        self.process = subprocess.Popen(
            [BIN / "containerd", "--config", folder / "config.toml"], stdout=log, stderr=log
        )
        while run(self.ctr("version"))[0] != 0:
            assert self.process.poll() is None, (folder / "log").read_text()
            time.sleep(0.1)

    def ctr(self, *argv: str) -> list[str]:
        return [str(BIN / "ctr"), "--address", str(self.folder / "containerd.sock"), "-n", "k8s.io", *argv]

    def ask(self, *argv: str) -> str:
        rc, out, err = run(self.ctr(*argv))
        assert rc == 0, err
        return out

    def push(self) -> None:
        drawn = random.Random(1)  # noqa: S311 (bytes that do not pack)
        first = layer(
            {"bin/": "", "bin/tool": drawn.randbytes(300_000), "bin/t": "tool", "bin/hard": "=bin/tool", "old": b""}
        )
        second = layer(
            {"bin/": "", "bin/tool": drawn.randbytes(200_000), ".wh.old": b"", "empty": b"", "word": b"word"}
        )
        packed = [gzip.compress(first, mtime=0), second]
        config = json.dumps(
            {
                "os": "linux",
                "architecture": "amd64",
                "rootfs": {"type": "layers", "diff_ids": [digest_of(first), digest_of(second)]},
            }
        ).encode()
        kinds = ["application/vnd.oci.image.layer.v1.tar+gzip", "application/vnd.oci.image.layer.v1.tar"]
        self.manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": {
                    "mediaType": "application/vnd.oci.image.config.v1+json",
                    "digest": digest_of(config),
                    "size": len(config),
                },
                "layers": [
                    {"mediaType": kind, "digest": digest_of(data), "size": len(data)}
                    for kind, data in zip(kinds, packed)
                ],
            }
        ).encode()
        for data in [*packed, config]:
            with self.send("POST", f"{self.url}/blobs/uploads/", b"") as answer:
                place = answer.headers["Location"]
            self.send("PUT", f"{place}&digest={digest_of(data)}", data, "application/octet-stream").close()
        self.send("PUT", f"{self.url}/manifests/1", self.manifest, "application/vnd.oci.image.manifest.v1+json").close()
        self.layers = [digest_of(data) for data in packed]
        self.config = digest_of(config)
        self.keys = chain_ids([digest_of(first), digest_of(second)])

    @staticmethod
    def send(method: str, url: str, data: bytes, kind: str = "application/octet-stream") -> Any:
        request = urllib.request.Request(url, data, {"Content-Type": kind}, method=method)  # noqa: S310 (loopback)
        return urllib.request.urlopen(request)  # noqa: S310 (loopback)

    def pull(self) -> None:
        self.ask("images", "pull", "--hosts-dir", str(self.folder / "certs.d"), NAME)

    def directory(self, place: int) -> Path:
        return Path(self.store._directory(self.keys[place]))


@pytest.fixture
def site(tmp_path: Path, plain_registry_server: RegistryServer) -> Iterator[Site]:
    if os.geteuid() != 0:
        pytest.skip("containerd needs root")
    found = Site(tmp_path, plain_registry_server)
    try:
        found.push()
        found.pull()
        yield found
    finally:
        found.process.terminate()
        found.process.wait()
