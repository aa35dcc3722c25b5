# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One OCI image layout on disk: blobs that are verified while they are written, and an index over them."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional, Union

from ansible_collections.airgap.speech.plugins.module_utils.oci.digest import DigestError, parse_digest, sha256_bytes

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


@dataclass(frozen=True)
class Extent:
    """A range of a file, in bytes: the whole of a blob, or a piece of one."""

    path: Path
    offset: int
    size: int


class ExtentReader(io.RawIOBase):
    """One seekable, read-only stream over extents that follow each other; opens one file at a time."""

    def __init__(self, extents: Sequence[Extent]) -> None:
        super().__init__()
        self._extents = tuple(extents)
        self._starts: list[int] = []
        self.size = 0
        for extent in self._extents:
            self._starts.append(self.size)
            self.size += extent.size
        self._position = 0
        self._open: Optional[tuple[Path, io.FileIO]] = None

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """The position in the blob, in bytes."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position in the blob."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        """The next bytes, never across the end of an extent; 0 at the end. An extent that is cut short is an error."""
        view = memoryview(buffer).cast("B")
        if not view.nbytes or self._position >= self.size:
            return 0
        index = max(i for i, start in enumerate(self._starts) if start <= self._position and self._extents[i].size)
        extent, into = self._extents[index], self._position - self._starts[index]
        stream = self._file(extent.path)
        stream.seek(extent.offset + into)
        count = stream.readinto(view[: extent.size - into])
        if not count:
            raise LayoutError(f"{extent.path}: it ends before byte {extent.offset + extent.size}; copy it again")
        self._position += count
        return count

    def _file(self, path: Path) -> io.FileIO:
        if self._open is None or self._open[0] != path:
            if self._open is not None:
                self._open[1].close()
            self._open = (path, io.FileIO(path, "rb"))
        return self._open[1]

    def close(self) -> None:
        """Close the file that is open."""
        if self._open is not None:
            self._open[1].close()
            self._open = None
        super().close()


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
    """An OCI image layout in a directory.

    What I(omitted) names (digest to size in bytes) is known and may be absent: the place that the bundle goes to
    holds it already.
    """

    # Whether the blobs lie in parts, of which some may not be at hand.
    is_split = False

    def __init__(
        self,
        path: Union[str, os.PathLike[str]],
        omitted: Optional[Mapping[str, int]] = None,
        repositories: Optional[Mapping[str, Sequence[str]]] = None,
    ) -> None:
        self.path = Path(path)
        self.blobs = self.path / "blobs" / "sha256"
        self.omitted: Mapping[str, int] = dict(omitted or {})
        self._repositories = dict(repositories or {})

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
        found = self.size_of(digest)
        return found is not None and (size is None or found == size)

    def size_of(self, digest: str) -> Optional[int]:
        """The size of a blob in bytes; nothing where the layout does not have it."""
        try:
            return self.blob_path(digest).stat().st_size
        except FileNotFoundError:
            return None

    def extents(self, digest: str) -> tuple[Extent, ...]:
        """Where the bytes of a blob lie, in their order; an error where they are not all at hand."""
        size = self.size_of(digest)
        if size is None:
            raise LayoutError(f"{self.where(digest)}: it is missing; copy the bundle again")
        return (Extent(self.blob_path(digest), 0, size),)

    def extents_from(self, digest: str, start: int) -> tuple[Extent, ...]:
        """Where the bytes of a blob lie from byte I(start) on, as far as they are at hand without a gap."""
        left = start
        found: list[Extent] = []
        for extent in self.extents(digest):
            skipped = min(left, extent.size)
            left -= skipped
            if extent.size > skipped:
                found.append(Extent(extent.path, extent.offset + skipped, extent.size - skipped))
        return tuple(found)

    def wanted(self, digest: str, start: int = 0) -> tuple[str, ...]:
        """What has to be brought before the blob is whole from byte I(start) on, by name; nothing where the bundle is
        not split."""
        del digest, start
        return ()

    def repositories_of(self, digest: str) -> tuple[str, ...]:
        """Where the site's inventory saw an omitted blob: repositories of the registry inside, without its address."""
        return tuple(self._repositories.get(digest, ()))

    def open(self, digest: str) -> ExtentReader:
        """A stream over a blob. Nothing is verified."""
        return ExtentReader(self.extents(digest))

    def where(self, digest: str) -> str:
        """The blob and its file, for messages."""
        return f"blob {digest} ({self.blob_path(digest)})"

    def read_bytes(self, digest: str) -> bytes:
        """A small blob (a manifest or a configuration), verified."""
        extents = self.extents(digest)
        if sum(extent.size for extent in extents) > _MAX_JSON:
            raise LayoutError(f"{self.where(digest)}: too large for a manifest; make the bundle again")
        with ExtentReader(extents) as stream:
            data = stream.readall()
        if sha256_bytes(data) != digest:
            raise LayoutError(f"{self.where(digest)}: sha256 differs; copy the bundle again")
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
        digest = sha256_bytes(data)
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
        import tempfile  # Here, as readers of a layout do without.

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
        return Descriptor(media_type_of(document), digest, sum(extent.size for extent in self.extents(digest)))

    def walk(self, digest: str, platforms: Optional[Sequence[str]] = None) -> Iterator[Descriptor]:
        """Everything that a manifest or index needs, once each: itself, then its children, then their blobs.

        An index keeps its digest although the bundle may carry only some of its platforms. With
        I(platforms), the children of those have to be there (V(LayoutError) when one is missing);
        without, each child that is there is followed, and one at least has to be. A missing or
        shortened configuration or layer is always an error, unless it is one of I(omitted).
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
            found = self.size_of(blob.digest)
            if found is None:
                found = self.omitted.get(blob.digest)
            if found is None:
                raise LayoutError(f"{self.where(blob.digest)}: it is missing; copy the bundle again")
            if found != blob.size:
                raise LayoutError(
                    f"{self.where(blob.digest)}: {found} bytes where {blob.size} are announced; copy the bundle again"
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
        import tempfile  # Here, as readers of a layout do without.

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
