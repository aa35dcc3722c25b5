# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small images, models and bundles for the tests."""

from __future__ import annotations

import io
import json
import random
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import (
    MEDIA_CONFIG,
    MEDIA_INDEX,
    MEDIA_LAYER_TAR,
    MEDIA_MANIFEST,
    Layout,
)


def noise(seed: str, size: int) -> bytes:
    """Bytes that do not compress and are the same each time."""
    return random.Random(seed).randbytes(size)  # noqa: S311 - test data


def add_image(layout: Layout, layers: Sequence[bytes], platform: str = "linux/amd64", note: str = "") -> str:
    """An image of these layers; its digest."""
    os_name, architecture = platform.split("/")[:2]
    config, config_size = layout.add_json({"os": os_name, "architecture": architecture, "note": note})
    described = [layout.add_bytes(data) for data in layers]
    manifest = {
        "schemaVersion": 2,
        "mediaType": MEDIA_MANIFEST,
        "config": {"mediaType": MEDIA_CONFIG, "digest": config, "size": config_size},
        "layers": [{"mediaType": MEDIA_LAYER_TAR, "digest": digest, "size": size} for digest, size in described],
    }
    return layout.add_json(manifest)[0]


def add_index(layout: Layout, images: Mapping[str, str]) -> str:
    """An index over images of several platforms; its digest."""
    manifests = []
    for platform, digest in images.items():
        os_name, architecture = platform.split("/")[:2]
        manifests.append(
            {
                "mediaType": MEDIA_MANIFEST,
                "digest": digest,
                "size": layout.blob_path(digest).stat().st_size,
                "platform": {"os": os_name, "architecture": architecture},
            }
        )
    return layout.add_json({"schemaVersion": 2, "mediaType": MEDIA_INDEX, "manifests": manifests})[0]


def tar_of(path: str, data: bytes, fmt: int = tarfile.PAX_FORMAT) -> bytes:
    """A plain tar layer with one file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=fmt) as archive:
        info = tarfile.TarInfo(path)
        info.size = len(data)
        info.mode = 0o644
        archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def add_model(layout: Layout, files: Mapping[str, bytes]) -> str:
    """A model: one plain tar layer a file; its digest."""
    return add_image(layout, [tar_of(path, data) for path, data in files.items()])


def write_lock(bundle: Path, layout: Layout, **parts: Any) -> None:
    """A lock over the blobs that are in the layout."""
    blobs = [{"digest": f"sha256:{path.name}", "size": path.stat().st_size} for path in sorted(layout.blobs.iterdir())]
    lock: dict[str, Any] = {
        "schema": "airgap.speech/lock/v1",
        "created": "2026-11-21T12:00:00Z",
        "collection_version": "0.1.0",
        "releases": [],
        "images": [],
        "charts": [],
        "models": [],
        "blobs": blobs,
        "files": [],
    }
    lock.update(parts)
    (bundle / "bundle.lock.json").write_text(json.dumps(lock, indent=2, sort_keys=True) + "\n")
