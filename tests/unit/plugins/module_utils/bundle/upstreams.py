# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands for the internet in tests: images with content that compresses badly, pushed by plain requests."""

from __future__ import annotations

import hashlib
import random
import urllib.request
from typing import Any, Optional

from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import (
    MEDIA_CONFIG,
    MEDIA_INDEX,
    MEDIA_LAYER_TAR,
    MEDIA_MANIFEST,
    Descriptor,
    Layout,
    media_type_of,
)
from tests.unit.registry_server import RegistryServer


def noise(seed: str, size: int) -> bytes:
    """The same bytes for the same seed."""
    return random.Random(seed).randbytes(size)  # noqa: S311 - test data


def add_image(layout: Layout, layers: list[bytes], platform: str = "linux/amd64", **more: Any) -> Descriptor:
    """An image of these layers (raw bytes, no tars)."""
    system, architecture = platform.split("/")[:2]
    blobs = [layout.add_bytes(layer) for layer in layers]
    config, size = layout.add_json(
        {
            "os": system,
            "architecture": architecture,
            "rootfs": {"type": "layers", "diff_ids": [digest for digest, _size in blobs]},
            **more,
        }
    )
    document = {
        "schemaVersion": 2,
        "mediaType": MEDIA_MANIFEST,
        "config": {"mediaType": MEDIA_CONFIG, "digest": config, "size": size},
        "layers": [{"mediaType": MEDIA_LAYER_TAR, "digest": d, "size": s} for d, s in blobs],
    }
    digest, size = layout.add_json(document)
    return Descriptor(MEDIA_MANIFEST, digest, size, platform)


def add_index(layout: Layout, images: list[Descriptor]) -> Descriptor:
    """An index over images of several platforms."""
    entries = []
    for image in images:
        system, architecture = str(image.platform).split("/")[:2]
        entry = {"mediaType": image.media_type, "digest": image.digest, "size": image.size}
        entries.append({**entry, "platform": {"os": system, "architecture": architecture}})
    digest, size = layout.add_json({"schemaVersion": 2, "mediaType": MEDIA_INDEX, "manifests": entries})
    return Descriptor(MEDIA_INDEX, digest, size)


def push_image(server: RegistryServer, layout: Layout, digest: str, name: str) -> str:
    """Push an image or index with all that it names to repository:tag of an open registry over http."""
    repository, tag = name.rsplit(":", 1)
    base = f"http://{server.endpoint}/v2/{repository}"
    parts = list(layout.walk(digest))
    for part in parts:
        if not part.is_manifest:
            location = _send("POST", f"{base}/blobs/uploads/", b"")
            data = layout.read_bytes(part.digest) if part.size < 1 << 20 else layout.blob_path(part.digest).read_bytes()
            _put(f"{location}&digest={part.digest}", data, "application/octet-stream")
    for part in reversed([part for part in parts if part.is_manifest]):
        data = layout.read_bytes(part.digest)
        target = tag if part.digest == digest else part.digest
        _put(f"{base}/manifests/{target}", data, media_type_of(layout.read_json(part.digest)))
    return digest


def push_bytes(server: RegistryServer, layout: Layout, layers: Optional[list[bytes]], name: str) -> str:
    """Push an image of these layers; returns its digest."""
    return push_image(server, layout, add_image(layout, layers or [b"fetched"]).digest, name)


def sha256(data: bytes) -> str:
    """The digest of bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _put(url: str, data: bytes, kind: str) -> None:
    _send("PUT", url, data, kind)


def _send(method: str, url: str, data: bytes, kind: str = "") -> str:
    """One request to a registry of the test; the Location of the answer."""
    headers = {"Content-Type": kind} if kind else {}
    request = urllib.request.Request(url, method=method, data=data, headers=headers)  # noqa: S310
    with urllib.request.urlopen(request) as answer:  # noqa: S310
        return str(answer.headers["Location"])
