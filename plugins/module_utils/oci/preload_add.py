# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Make a model out of files that a vendor gave, straight into the registry: nothing is written on this machine.

The model is as a bundle has it: an OCI image of plain tar layers, one a file. Its manifest keeps the digests of the
files in an annotation, so that a second run asks the registry for one manifest and reads no file.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import socket
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from ansible_collections.airgap.speech.plugins.module_utils.oci.body import Body, ExtentsBody, FileBody, Sent
from ansible_collections.airgap.speech.plugins.module_utils.oci.digest import (
    CHUNK,
    DigestError,
    parse_digest,
    sha256_bytes,
)
from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import (
    MEDIA_CONFIG,
    MEDIA_LAYER_TAR,
    MEDIA_MANIFEST,
    Extent,
)
from ansible_collections.airgap.speech.plugins.module_utils.oci.preload_model import Model, PreloadError, safe_path
from ansible_collections.airgap.speech.plugins.module_utils.oci.registry import Registry, human_bytes

FILES_ANNOTATION = "airgap.speech.model.files"
_SUM = re.compile(r"\\?([0-9a-f]{64}) [ *](.+)\Z")


@dataclass(frozen=True)
class GivenFile:
    """A file that a vendor gave: its path below the model, where it lies, its digest and its size in bytes."""

    path: str
    local: str
    digest: str
    size: int

    def listed(self) -> dict[str, Any]:
        """As a lock lists it."""
        return {"path": self.path, "digest": self.digest, "size": self.size}


@dataclass
class Added:
    """What became of a model: its manifest's digest, its files, and the bytes that were sent."""

    digest: str
    files: list[dict[str, Any]]
    before: Optional[str]
    bytes_sent: int = 0

    @property
    def changed(self) -> bool:
        """Whether the registry did not have it."""
        return self.before != self.digest


def read_sums(path: str) -> dict[str, str]:
    """The digest of each path in a file as sha256sum writes it."""
    try:
        with open(path, encoding="utf-8") as stream:
            lines = stream.read().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise PreloadError(f"digest file {path}: it cannot be read ({error}); copy it from the vendor again") from error
    found: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _SUM.match(line)
        if not match:
            raise PreloadError(
                f"digest file {path}, line {number}: it is not as sha256sum writes it (64 hex digits, two blanks, "
                "a path); correct the line"
            )
        name = match.group(2)
        found[name[2:] if name.startswith("./") else name] = "sha256:" + match.group(1)
    if not found:
        raise PreloadError(f"digest file {path}: no digest is in it; name the list that the vendor gave")
    return found


def given_files(title: str, directory: str, digests: Mapping[str, str]) -> list[GivenFile]:
    """The files of a model in the order of their paths. Nothing is read yet but their sizes."""
    found = []
    for path in sorted(digests):
        safe_path(path, title)
        try:
            parse_digest(digests[path])
        except DigestError as error:
            raise PreloadError(f"{title}, {path}: {error}") from error
        local = os.path.join(directory, path)
        try:
            size = os.stat(local).st_size
        except OSError as error:
            raise PreloadError(f"{title}: {local} cannot be read ({error.strerror}); copy it there") from error
        if not os.path.isfile(local):
            raise PreloadError(f"{title}: {local} is no file; name files only")
        found.append(GivenFile(path, local, digests[path], size))
    if not found:
        raise PreloadError(f"{title}: it has no files; list them, or name a digest file")
    return found


def _header(file: GivenFile) -> bytes:
    info = tarfile.TarInfo(file.path)
    info.size = file.size
    info.mode = 0o644
    return info.tobuf(tarfile.PAX_FORMAT)


def _end(size: int) -> bytes:
    return b"\0" * (-size % tarfile.BLOCKSIZE + 2 * tarfile.BLOCKSIZE)


class _LayerBody:
    """A layer as it is sent: the tar header, the file where it lies, and zeros."""

    def __init__(self, file: GivenFile) -> None:
        head, end = _header(file), _end(file.size)
        self._pieces: list[tuple[int, Body]] = [
            (len(head), FileBody(io.BytesIO(head))),
            (file.size, ExtentsBody((Extent(Path(file.local), 0, file.size),))),
            (len(end), FileBody(io.BytesIO(end))),
        ]
        self.size = sum(size for size, _body in self._pieces)

    def pour(self, sock: socket.socket, offset: int, count: int, tell: Sent) -> int:
        """Write I(count) bytes from I(offset) on into a connection; how many there were."""
        left = count
        for size, body in self._pieces:
            piece = min(left, size - offset)
            if piece > 0:
                gone = body.pour(sock, offset, piece, tell)
                left -= gone
                if gone < piece:
                    break
            offset = max(0, offset - size)
        return count - left


def _layer_of(title: str, file: GivenFile) -> str:
    """The digest of a file's layer; the file itself is held against its own in the same pass."""
    own, layer = hashlib.sha256(), hashlib.sha256(_header(file))
    buffer = bytearray(CHUNK)
    view = memoryview(buffer)
    try:
        with open(file.local, "rb", buffering=0) as stream:
            while True:
                count = stream.readinto(buffer)
                if not count:
                    break
                own.update(view[:count])
                layer.update(view[:count])
    except OSError as error:
        raise PreloadError(f"{title}: {file.local} cannot be read ({error.strerror}); copy it there again") from error
    if "sha256:" + own.hexdigest() != file.digest:
        raise PreloadError(
            f"{title}: sha256 of {file.local} ({human_bytes(file.size)}) is {own.hexdigest()}, and the list has "
            f"{file.digest[7:]}; copy the file again, or get the vendor's list for this version"
        )
    layer.update(_end(file.size))
    return "sha256:" + layer.hexdigest()


def _json(document: Any) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _there(registry: Registry, repo: str, version: str) -> tuple[Optional[str], Optional[list[dict[str, Any]]]]:
    """What the tag stands for now: its digest, and its files where the manifest lists them."""
    if registry.head_manifest(repo, version) is None:
        return None, None
    data, _media_type, digest = registry.get_manifest(repo, version)
    try:
        return digest, json.loads(json.loads(data)["annotations"][FILES_ANNOTATION])
    except (ValueError, KeyError, TypeError):
        return digest, None


def add_model(
    registry: Optional[Registry],
    name: str,
    version: str,
    files: Sequence[GivenFile],
    *,
    check: bool = False,
    prefix: str = "models",
) -> Added:
    """Push a model of these files where the registry does not have it. Every file is verified before a byte is sent."""
    model = Model.read({"name": name, "version": version, "digest": "sha256:" + "0" * 64})
    repo = f"{prefix}/{name}"
    listed = [file.listed() for file in files]
    before, held = _there(registry, repo, version) if registry is not None else (None, None)
    if before is not None and held == listed:
        return Added(before, listed, before)
    if before is not None:
        raise PreloadError(
            f"{model.title}: the registry holds other files under this version ({before}); "
            "give these another version, or delete that one from the registry"
        )
    layers = []
    bodies = []
    for file in files:
        body = _LayerBody(file)
        layers.append({"mediaType": MEDIA_LAYER_TAR, "digest": _layer_of(model.title, file), "size": body.size})
        bodies.append(body)
    annotations = {
        "org.opencontainers.image.title": name,
        "org.opencontainers.image.version": version,
        FILES_ANNOTATION: _json(listed).decode(),
    }
    config = _json(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Labels": {key: value for key, value in annotations.items() if key != FILES_ANNOTATION}},
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]},
        }
    )
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": MEDIA_MANIFEST,
            "config": {"mediaType": MEDIA_CONFIG, "digest": sha256_bytes(config), "size": len(config)},
            "layers": layers,
            "annotations": annotations,
        }
    )
    added = Added(sha256_bytes(manifest), listed, before)
    if check or registry is None:
        return added
    parts: list[tuple[str, int, Body]] = [
        (str(layer["digest"]), body.size, body) for layer, body in zip(layers, bodies)
    ]
    parts.append((sha256_bytes(config), len(config), FileBody(io.BytesIO(config))))
    for digest, size, body_of in parts:
        if not registry.has_blob(repo, digest):
            added.bytes_sent += registry.upload(repo, digest, size, body_of)
    registry.put_manifest(repo, version, manifest, MEDIA_MANIFEST)
    return added
