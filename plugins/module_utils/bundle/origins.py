# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where an image comes from with its digests: a registry, or an OCI layout in a directory or a tar."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional, Protocol, Union

from ansible_collections.airgap.speech.plugins.module_utils.bundle.fetch import FetchError, Item
from ansible_collections.airgap.speech.plugins.module_utils.oci.digest import PIECE, DigestError, parse_digest
from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import (
    MEDIA_CONFIG,
    MEDIA_DOCKER_CONFIG,
    REF_NAME,
    Descriptor,
    Extent,
    Layout,
    LayoutError,
    descriptor_of,
    media_type_of,
    platform_matches,
    references_of,
)
from ansible_collections.airgap.speech.plugins.module_utils.oci.registry import Registry


class Origin(Protocol):
    """What is wanted of a place that holds an image."""

    name: str

    def head(self) -> Optional[Descriptor]:
        """What the reference stands for now; nothing where the place does not have it."""

    def manifest(self, digest: str) -> bytes:
        """A manifest or index, verified."""

    def read(self, digest: str, size: int, offset: int) -> Iterable[Union[bytes, memoryview]]:
        """The bytes of a blob from `offset` on."""


class RegistryOrigin:
    """A repository of a registry, asked for a tag or a digest."""

    def __init__(self, registry: Registry, repository: str, target: str) -> None:
        self.registry = registry
        self.repository = repository
        self.target = target
        self.name = registry.name(repository, target)

    def head(self) -> Optional[Descriptor]:
        """One request."""
        return self.registry.head_manifest(self.repository, self.target)

    def manifest(self, digest: str) -> bytes:
        """One request; the client holds it against its digest."""
        return self.registry.get_manifest(self.repository, digest)[0]

    def read(self, digest: str, size: int, offset: int) -> Iterable[Union[bytes, memoryview]]:
        """Goes on by itself where a connection is cut."""
        return self.registry.iter_blob(self.repository, digest, size, offset)


class LayoutOrigin:
    """An image of an OCI layout; `wanted` is its ref.name or its digest, and may be empty where there is only one."""

    def __init__(self, path: str, wanted: str = "") -> None:
        self.name = f"OCI layout {path}"
        self.layout = open_layout(path)
        self.wanted = wanted

    def head(self) -> Optional[Descriptor]:
        """The entry of index.json."""
        entries = self.layout.entries()
        found = [
            descriptor
            for descriptor, name in entries
            if not self.wanted or self.wanted in (name, name.rpartition(":")[2], descriptor.digest)
        ]
        if len({descriptor.digest for descriptor in found}) > 1:
            names = ", ".join(sorted(name or descriptor.digest for descriptor, name in entries))
            raise FetchError(f"{self.name}: holds several images ({names}); name one of them")
        return found[0] if found else None

    def manifest(self, digest: str) -> bytes:
        """Held against its digest."""
        return self.layout.read_bytes(digest)

    def read(self, digest: str, size: int, offset: int) -> Iterator[bytes]:
        """Nothing is verified here: who writes it does that."""
        with self.layout.open(digest) as stream:
            stream.seek(offset)
            yield from iter(lambda: stream.read(PIECE), b"")


class TarLayout(Layout):
    """An OCI layout in an uncompressed tar, read where it lies."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._members: dict[str, tuple[int, int]] = {}
        try:
            with tarfile.open(path, "r:") as archive:
                for member in archive:
                    if member.isfile():
                        self._members[os.path.normpath(member.name)] = (member.offset_data, member.size)
        except (tarfile.TarError, OSError) as error:
            raise LayoutError(
                f"{path}: is no uncompressed tar ({error}); give the OCI layout as `skopeo` or `oras` "
                "write it, or unpack it first"
            ) from error

    def _member(self, digest: str) -> Optional[tuple[int, int]]:
        return self._members.get("blobs/sha256/" + parse_digest(digest)[1])

    def size_of(self, digest: str) -> Optional[int]:
        """The size of a member in bytes."""
        found = self._member(digest)
        return found[1] if found else None

    def extents(self, digest: str) -> tuple[Extent, ...]:
        """Its place in the tar."""
        found = self._member(digest)
        if found is None:
            raise LayoutError(f"{self.where(digest)}: it is missing; copy the tar again")
        return (Extent(self.path, *found),)

    def where(self, digest: str) -> str:
        """The blob and the tar, for messages."""
        return f"blob {digest} (in {self.path})"

    def entries(self) -> list[tuple[Descriptor, str]]:
        """What index.json names."""
        place = self._members.get("index.json")
        if place is None:
            raise LayoutError(f"{self.path}: holds no index.json, so it is no OCI layout; check which file it is")
        with open(self.path, "rb") as handle:
            handle.seek(place[0])
            data = handle.read(place[1])
        try:
            listed: list[Any] = json.loads(data)["manifests"]
            return [(descriptor_of(raw, str(self.path)), _ref_name(raw)) for raw in listed]
        except (ValueError, KeyError, TypeError) as error:
            raise LayoutError(f"{self.path}: its index.json cannot be read ({error}); make the tar again") from error


def _ref_name(raw: Any) -> str:
    return str((raw.get("annotations") or {}).get(REF_NAME, ""))


def open_layout(path: str) -> Layout:
    """The layout in a directory or in a tar."""
    if os.path.isdir(path):
        if not os.path.isfile(os.path.join(path, "index.json")):
            raise LayoutError(f"{path}: holds no index.json, so it is no OCI layout; check which directory it is")
        return Layout(Path(path))
    if not os.path.exists(path):
        raise LayoutError(f"{path}: there is no such OCI layout; correct the path")
    return TarLayout(path)


@dataclass
class Plan:
    """What one image takes: its manifests (parents first), and the size in bytes of each blob that they name."""

    top: Descriptor
    manifests: list[bytes] = field(default_factory=list)
    blobs: dict[str, int] = field(default_factory=dict)
    # Configurations that were read to know the platform, so that they are not asked for again.
    read: list[bytes] = field(default_factory=list)

    def keep(self, layout: Layout) -> None:
        """Put the manifests into a layout that has the blobs: what is there then is there as a whole."""
        for raw in reversed(self.manifests):
            layout.add_bytes(raw)


def plan_image(origin: Origin, digest: str, platforms: Sequence[str]) -> Plan:
    """Read the manifests of an image. An index is kept whole, and followed only to the platforms that are wanted."""
    data = origin.manifest(digest)
    document = _document(data, origin.name, digest)
    plan = Plan(Descriptor(media_type_of(document), digest, len(data)))
    _follow(origin, digest, data, document, platforms, plan)
    return plan


def _document(data: bytes, name: str, digest: str) -> dict[str, Any]:
    try:
        document = json.loads(data)
    except ValueError as error:
        raise FetchError(f"{name}: its manifest {digest} is not JSON ({error}); push the image again") from error
    if not isinstance(document, dict) or document.get("schemaVersion") != 2:
        raise FetchError(
            f"{name}: its manifest {digest} is of a kind that is not taken (schema 1, or no manifest); push the image "
            "again with a newer tool"
        )
    return document


def _follow(
    origin: Origin, digest: str, data: bytes, document: dict[str, Any], platforms: Sequence[str], plan: Plan
) -> None:
    plan.manifests.append(data)
    try:
        children, blobs = references_of(document, f"{origin.name}: manifest {digest}")
    except (LayoutError, DigestError) as error:
        raise FetchError(str(error)) from error
    if children or "manifests" in document:
        chosen = [child for child in children if not platforms or platform_matches(child.platform, platforms)]
        if not chosen:
            have = ", ".join(sorted({child.platform for child in children if child.platform})) or "none"
            raise FetchError(
                f"{origin.name}: no platform of {', '.join(platforms)} is in it (it has {have}); add one of these to "
                "bundle_platforms, or name another image"
            )
        for child in chosen:
            raw = origin.manifest(child.digest)
            _follow(origin, child.digest, raw, _document(raw, origin.name, child.digest), (), plan)
        return
    for blob in blobs:
        plan.blobs[blob.digest] = blob.size
    config = document.get("config") or {}
    if platforms and config.get("mediaType") in (MEDIA_CONFIG, MEDIA_DOCKER_CONFIG):
        plan.read.append(_check_platform(origin, blobs[0], platforms))


def _check_platform(origin: Origin, config: Descriptor, platforms: Sequence[str]) -> bytes:
    """An image of one platform has to be of a wanted one; its configuration."""
    data = b"".join(bytes(chunk) for chunk in origin.read(config.digest, config.size, 0))
    try:
        document = json.loads(data)
        have = "{}/{}".format(document.get("os") or "", document.get("architecture") or "")
    except (ValueError, AttributeError):
        return data
    if have == "/" or any(have == "/".join(platform.split("/")[:2]) for platform in platforms):
        return data
    raise FetchError(
        f"{origin.name}: it is an image for {have}, where {', '.join(platforms)} is wanted; add {have} to "
        "bundle_platforms, or name another image"
    )


def items_of(origin: Origin, plan: Plan, layout: Layout) -> list[Item]:
    """What of an image is not in the layout yet."""
    items: list[Item] = []
    for data in plan.read:
        layout.add_bytes(data)
    for digest, size in plan.blobs.items():
        if not layout.has(digest, size):

            def read(offset: int, digest: str = digest, size: int = size) -> Iterable[Union[bytes, memoryview]]:
                return origin.read(digest, size, offset)

            items.append(Item(f"{origin.name} blob {digest}", digest, size, read))
    return items
