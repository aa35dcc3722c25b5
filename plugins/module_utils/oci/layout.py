# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One OCI image layout on disk: blobs that are verified while they are written, and an index over them."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional, Union

from ansible_collections.airgap.speech.plugins.module_utils.oci.digest import DigestError, parse_digest

MEDIA_INDEX = "application/vnd.oci.image.index.v1+json"
MEDIA_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
MEDIA_CONFIG = "application/vnd.oci.image.config.v1+json"
MEDIA_LAYER_TAR = "application/vnd.oci.image.layer.v1.tar"
MEDIA_DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
MEDIA_DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
MEDIA_DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"

INDEX_TYPES = frozenset((MEDIA_INDEX, MEDIA_DOCKER_INDEX))
MANIFEST_TYPES = frozenset((MEDIA_MANIFEST, MEDIA_DOCKER_MANIFEST))
REF_NAME = "org.opencontainers.image.ref.name"

_MAX_JSON = 16 << 20
_PARTIAL = ".partial-"


class LayoutError(Exception):
    """Something is wrong with a layout; the text names the blob, the cause and the next step."""


@dataclass(frozen=True)
class Descriptor:
    """What a blob is, and which platform it serves where it is the manifest of one."""

    media_type: str
    digest: str
    size: int
    platform: Optional[str] = None

    @property
    def is_index(self) -> bool:
        """Whether it points to manifests of several platforms."""
        return self.media_type in INDEX_TYPES

    @property
    def is_manifest(self) -> bool:
        """Whether it is a manifest or an index, which a registry takes at another address than blobs."""
        return self.media_type in INDEX_TYPES or self.media_type in MANIFEST_TYPES


def platform_matches(have: Optional[str], wanted: Sequence[str]) -> bool:
    """Whether C(os/arch[/variant]) is one of the wanted platforms; without a variant wanted, any serves."""
    if have is None:
        return False
    return any(have == platform or have.startswith(platform + "/") for platform in wanted)


def _platform_text(raw: Any) -> Optional[str]:
    if not isinstance(raw, dict) or not raw.get("os") or not raw.get("architecture"):
        return None
    parts = [str(raw["os"]), str(raw["architecture"])]
    if raw.get("variant"):
        parts.append(str(raw["variant"]))
    return "/".join(parts)


def descriptor_of(raw: Any, where: str) -> Descriptor:
    """Read a descriptor out of a manifest, refusing what is malformed."""
    if not isinstance(raw, dict):
        raise LayoutError(f"{where}: a descriptor in it is no mapping; make the image again")
    digest, size = raw.get("digest"), raw.get("size")
    if not isinstance(digest, str) or not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise LayoutError(f"{where}: a descriptor in it has no digest or no size; make the image again")
    try:
        parse_digest(digest)
    except DigestError as error:
        raise LayoutError(f"{where}: {error}") from error
    return Descriptor(str(raw.get("mediaType", "")), digest, size, _platform_text(raw.get("platform")))


def media_type_of(document: dict[str, Any]) -> str:
    """The media type of a manifest, also where the optional field was left out."""
    media_type = document.get("mediaType")
    if isinstance(media_type, str) and media_type:
        return media_type
    return MEDIA_INDEX if "manifests" in document else MEDIA_MANIFEST


def references_of(document: dict[str, Any], where: str) -> tuple[list[Descriptor], list[Descriptor]]:
    """What a manifest or index points to: child manifests, then blobs (configuration first).

    Layers that may not be distributed (they carry their own C(urls)) are left where they are.
    """
    children = [descriptor_of(raw, where) for raw in document.get("manifests") or ()]
    blobs: list[Descriptor] = []
    if document.get("config") is not None:
        blobs.append(descriptor_of(document["config"], where))
    for raw in document.get("layers") or ():
        descriptor = descriptor_of(raw, where)
        foreign = "foreign" in descriptor.media_type or "nondistributable" in descriptor.media_type
        if not (foreign and raw.get("urls")):
            blobs.append(descriptor)
    return children, blobs


class Layout:
    """An OCI image layout in a directory."""

    def __init__(self, path: Union[str, os.PathLike[str]]) -> None:
        self.path = Path(path)
        self.blobs = self.path / "blobs" / "sha256"

    def create(self) -> None:
        """Make the directories and the marker file; remove what a killed run left half written."""
        self.blobs.mkdir(parents=True, exist_ok=True)
        for stale in self.blobs.glob(_PARTIAL + "*"):
            stale.unlink()
        marker = self.path / "oci-layout"
        if not marker.is_file():
            self._replace(marker, b'{"imageLayoutVersion":"1.0.0"}\n')

    def blob_path(self, digest: str) -> Path:
        """Where a blob lies, or would lie."""
        return self.blobs / parse_digest(digest)[1]

    def has(self, digest: str, size: Optional[int] = None) -> bool:
        """Whether the blob is there, with this size where one is given."""
        try:
            found = self.blob_path(digest).stat().st_size
        except FileNotFoundError:
            return False
        return size is None or found == size

    def read_bytes(self, digest: str) -> bytes:
        """A small blob (a manifest or a configuration), verified."""
        path = self.blob_path(digest)
        try:
            if path.stat().st_size > _MAX_JSON:
                raise LayoutError(f"blob {digest} ({path}): too large for a manifest; make the bundle again")
            data = path.read_bytes()
        except FileNotFoundError as error:
            raise LayoutError(f"blob {digest} ({path}): it is missing; copy the bundle again") from error
        if "sha256:" + hashlib.sha256(data).hexdigest() != digest:
            raise LayoutError(f"blob {digest} ({path}): sha256 differs; copy the bundle again")
        return data

    def read_json(self, digest: str) -> dict[str, Any]:
        """A manifest, an index or a configuration."""
        try:
            document = json.loads(self.read_bytes(digest))
        except ValueError as error:
            raise LayoutError(f"blob {digest}: it is not JSON; make the image again") from error
        if not isinstance(document, dict):
            raise LayoutError(f"blob {digest}: it is JSON but no mapping; make the image again")
        return document

    def add_bytes(self, data: bytes) -> tuple[str, int]:
        """Store bytes; what is there already is not written again."""
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        if not self.has(digest, len(data)):
            self.add_stream((data,), digest, len(data))
        return digest, len(data)

    def add_stream(
        self, chunks: Iterable[bytes], digest: Optional[str] = None, size: Optional[int] = None
    ) -> tuple[str, int]:
        """Store a blob from a stream; it appears under its name only when complete and verified."""
        if digest is not None:
            parse_digest(digest)
        hasher = hashlib.sha256()
        written = 0
        handle, name = tempfile.mkstemp(prefix=_PARTIAL, dir=self.blobs)
        try:
            with os.fdopen(handle, "wb", buffering=0) as stream:
                for chunk in chunks:
                    view = memoryview(chunk)
                    hasher.update(view)
                    written += len(view)
                    if size is not None and written > size:
                        raise LayoutError(
                            f"blob {digest or 'without a digest'}: more than its {size} bytes came; fetch it again"
                        )
                    while view:
                        view = view[stream.write(view) or 0 :]
                os.fchmod(stream.fileno(), 0o644)
            found = "sha256:" + hasher.hexdigest()
            if size is not None and written != size:
                raise LayoutError(
                    f"blob {digest or found}: {written} bytes came where {size} were announced; fetch it again"
                )
            if digest is not None and found != digest:
                raise LayoutError(f"blob {digest}: sha256 differs ({found} came); fetch it again")
            os.replace(name, self.blob_path(found))
        except BaseException:
            try:
                os.unlink(name)
            except FileNotFoundError:
                pass
            raise
        return found, written

    def add_json(self, document: Any) -> tuple[str, int]:
        """Store a JSON document in its canonical form (sorted keys, no blanks)."""
        return self.add_bytes(json.dumps(document, sort_keys=True, separators=(",", ":")).encode())

    def describe(self, digest: str) -> Descriptor:
        """The descriptor of a manifest or index that is in the layout."""
        document = self.read_json(digest)
        return Descriptor(media_type_of(document), digest, self.blob_path(digest).stat().st_size)

    def walk(self, digest: str, platforms: Optional[Sequence[str]] = None) -> Iterator[Descriptor]:
        """Everything that a manifest or index needs, once each: itself, then its children, then their blobs.

        An index keeps its digest although the bundle may carry only some of its platforms. With
        I(platforms), the children of those have to be there (V(LayoutError) when one is missing);
        without, each child that is there is followed, and one at least has to be. A missing or
        shortened configuration or layer is always an error.
        """
        seen: set[str] = set()
        yield from self._walk(self.describe(digest), platforms, seen)

    def _walk(self, top: Descriptor, platforms: Optional[Sequence[str]], seen: set[str]) -> Iterator[Descriptor]:
        if top.digest in seen:
            return
        seen.add(top.digest)
        document = self.read_json(top.digest)
        yield top
        children, blobs = references_of(document, f"manifest {top.digest}")
        followed = 0
        for child in children:
            if platforms and child.platform is not None and not platform_matches(child.platform, platforms):
                continue
            if not self.has(child.digest) and not (platforms and child.platform is not None):
                continue
            followed += 1
            yield from self._walk(child if child.is_manifest else self.describe(child.digest), platforms, seen)
        if children and not followed:
            wanted = ", ".join(platforms) if platforms else "any platform"
            raise LayoutError(
                f"index {top.digest}: no manifest for {wanted} is in the layout; make the bundle with that platform"
            )
        for blob in blobs:
            if blob.digest in seen:
                continue
            seen.add(blob.digest)
            path = self.blob_path(blob.digest)
            try:
                found = path.stat().st_size
            except FileNotFoundError as error:
                raise LayoutError(f"blob {blob.digest} ({path}): it is missing; copy the bundle again") from error
            if found != blob.size:
                raise LayoutError(
                    f"blob {blob.digest} ({path}): {found} bytes where {blob.size} are announced; copy the bundle again"
                )
            yield blob

    def set_index(self, entries: Sequence[tuple[Descriptor, str]]) -> None:
        """Write C(index.json): each entry with its reference, in a stable order."""
        manifests: list[dict[str, Any]] = []
        for descriptor, reference in sorted(entries, key=lambda entry: (entry[1], entry[0].digest)):
            manifests.append(
                {
                    "mediaType": descriptor.media_type,
                    "digest": descriptor.digest,
                    "size": descriptor.size,
                    "annotations": {REF_NAME: reference},
                }
            )
        document = {"schemaVersion": 2, "mediaType": MEDIA_INDEX, "manifests": manifests}
        self._replace(self.path / "index.json", json.dumps(document, indent=2, sort_keys=True).encode() + b"\n")

    def entries(self) -> list[tuple[Descriptor, str]]:
        """What C(index.json) names: descriptor and reference."""
        path = self.path / "index.json"
        try:
            document = json.loads(path.read_bytes())
        except FileNotFoundError as error:
            raise LayoutError(f"{path}: it is missing; copy the bundle again") from error
        except ValueError as error:
            raise LayoutError(f"{path}: it is not JSON; copy the bundle again") from error
        found: list[tuple[Descriptor, str]] = []
        for raw in document.get("manifests") or ():
            name = (raw.get("annotations") or {}).get(REF_NAME, "")
            found.append((descriptor_of(raw, str(path)), str(name)))
        return found

    def _replace(self, path: Path, data: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
                os.fchmod(stream.fileno(), 0o644)
            os.replace(name, path)
        except BaseException:
            try:
                os.unlink(name)
            except FileNotFoundError:
                pass
            raise
