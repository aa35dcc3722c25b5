# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Another registry as the source of a push: manifests are read, blobs are passed on as they come."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Optional

from ansible_collections.airgap.speech.plugins.module_utils.oci.body import BlobBody
from ansible_collections.airgap.speech.plugins.module_utils.oci.digest import parse_digest
from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import (
    Descriptor,
    Extent,
    LayoutError,
    media_type_of,
    platform_matches,
    references_of,
)
from ansible_collections.airgap.speech.plugins.module_utils.oci.plan import PushItem
from ansible_collections.airgap.speech.plugins.module_utils.oci.progress import each
from ansible_collections.airgap.speech.plugins.module_utils.oci.reference import ReferenceInvalid
from ansible_collections.airgap.speech.plugins.module_utils.oci.registry import Registry, RegistryError

_ATTACHED = re.compile(r"sha256-[0-9a-f]{64}(\.(sig|att|sbom))?\Z")


class RegistrySource:
    """Images of a registry, as a push reads them. Nothing of a blob is kept on disk, and a little in memory."""

    is_split = False

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.omitted: Mapping[str, int] = {}
        self._manifests: dict[str, tuple[bytes, str]] = {}
        self._repos: dict[str, str] = {}
        self._sizes: dict[str, int] = {}
        self._lock = threading.Lock()

    def find(self, repo: str, ref: str) -> Descriptor:
        """What a tag or a digest of the source stands for, with one request."""
        found = self.registry.head_manifest(repo, ref)
        if found is None:
            raise RegistryError(
                self.registry.name(repo, ref), "the source does not have it", "correct the reference", "missing", 404
            )
        with self._lock:
            self._repos.setdefault(found.digest, repo)
        return found

    def find_all(self, references: Sequence[tuple[str, str]], threads: int = 2) -> list[Descriptor]:
        """What several tags or digests (repository, reference) stand for, in their order."""
        return each(threads, lambda pair: self.find(*pair), references)

    def belongs(self, digest: str, repo: str) -> None:
        """A manifest is in a repository of the source."""
        with self._lock:
            self._repos.setdefault(digest, repo)

    def walk(self, digest: str, platforms: Optional[Sequence[str]] = None) -> Iterator[Descriptor]:
        """As a layout does: itself, its children, their blobs, once each."""
        yield from self._walk(digest, platforms, set())

    def _walk(self, digest: str, platforms: Optional[Sequence[str]], seen: set[str]) -> Iterator[Descriptor]:
        if digest in seen:
            return
        seen.add(digest)
        data, media_type = self._manifest(digest)
        where = self.registry.name(self._repos[digest], digest)
        try:
            document: Any = json.loads(data)
        except ValueError as error:
            raise LayoutError(f"{where}: its manifest is not JSON; push it to the source again") from error
        if not isinstance(document, dict) or document.get("schemaVersion") != 2:
            raise LayoutError(f"{where}: its manifest is of a kind that is not taken; push it with a newer tool")
        children, blobs = references_of(document, where)
        yield Descriptor(media_type or media_type_of(document), digest, len(data))
        followed = 0
        for child in children:
            if platforms and child.platform is not None and not platform_matches(child.platform, platforms):
                continue
            self.belongs(child.digest, self._repos[digest])
            try:
                self._manifest(child.digest)
            except RegistryError as error:
                if error.kind != "missing" or (platforms and child.platform is not None):
                    raise
                continue  # An index keeps its digest although only some of its platforms were carried.
            followed += 1
            yield from self._walk(child.digest, platforms, seen)
        if children and not followed:
            raise LayoutError(f"{where}: none of the manifests of the index is in the source; push it there again")
        for blob in blobs:
            if blob.digest not in seen:
                seen.add(blob.digest)
                with self._lock:
                    self._repos.setdefault(blob.digest, self._repos[digest])
                    self._sizes[blob.digest] = blob.size
                yield blob

    def _manifest(self, digest: str) -> tuple[bytes, str]:
        known = self._manifests.get(digest)
        if known is None:
            data, media_type, _digest = self.registry.get_manifest(self._repos[digest], digest)
            known = (data, media_type)
            with self._lock:
                self._manifests[digest] = known
        return known

    def read_bytes(self, digest: str) -> bytes:
        """A manifest, verified when it was read."""
        return self._manifest(digest)[0]

    def size_of(self, digest: str) -> Optional[int]:
        """The size of a blob that a manifest named."""
        return self._sizes.get(digest)

    def wanted(self, digest: str, start: int = 0) -> tuple[str, ...]:
        """Nothing: a registry is not split."""
        del digest, start
        return ()

    def extents_from(self, digest: str, start: int) -> Sequence[Extent]:
        """Nothing of it lies in a file."""
        del digest, start
        return ()

    def repositories_of(self, digest: str) -> tuple[str, ...]:
        """Nothing is left out."""
        del digest
        return ()

    def body(self, digest: str, size: int) -> BlobBody:
        """The bytes of a blob, as they come."""
        return BlobBody(self.registry, self._repos[digest], digest, size)


def items_of_source(
    source: RegistrySource, images: Sequence[str] = (), referrers: bool = True, threads: int = 2
) -> list[PushItem]:
    """What a copy takes: the named images of a source (C(repository:tag) or C(repository@digest)), or all of them, and
    what refers to them.
    """
    registry = source.registry
    wanted = [split_name(image) for image in images]
    if not images:
        repos = registry.repositories()
        listed = each(threads, registry.tags, repos)
        wanted = [(repo, tag) for repo, tags in zip(repos, listed) for tag in tags]
        # These hold signatures and lists of referrers, which go with their images below.
        wanted = [(repo, tag) for repo, tag in wanted if not (referrers and _ATTACHED.match(tag))]
    found = source.find_all(wanted, threads)
    items = [
        PushItem(there.digest, repo, None if ref.startswith("sha256:") else ref, source.registry.name(repo, ref))
        for (repo, ref), there in zip(wanted, found)
    ]
    if referrers:
        subjects = sorted({(item.repo, item.digest) for item in items})
        for added in each(threads, lambda pair: _referring(source, *pair), subjects):
            items.extend(added)
    return items


def _referring(source: RegistrySource, repo: str, digest: str) -> list[PushItem]:
    registry = source.registry
    items: list[PushItem] = []
    for tag, descriptor in registry.attached(repo, digest):
        source.belongs(descriptor.digest, repo)
        items.append(PushItem(descriptor.digest, repo, tag, registry.name(repo, tag), (), digest))
    for descriptor in registry.referrers(repo, digest):
        source.belongs(descriptor.digest, repo)
        name = registry.name(repo, descriptor.digest)
        items.append(PushItem(descriptor.digest, repo, None, name, (), digest))
    return items


def split_name(name: str) -> tuple[str, str]:
    """Repository and tag or digest out of C(repository:tag) or C(repository@digest), where no host is in it."""
    repo, at_sign, digest = name.partition("@")
    head, colon, tag = repo.rpartition(":")
    if at_sign:
        parse_digest(digest)
        return (head if colon else repo), digest
    if not colon or "/" in tag or not head or not tag:
        raise ReferenceInvalid(f"image {name!r}: there is no tag in it; write repository:tag or repository@digest")
    return head, tag
