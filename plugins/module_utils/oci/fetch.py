# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One image of a registry into a layout."""

from __future__ import annotations

import json
from collections.abc import Generator, Sequence
from contextlib import closing
from typing import Any, Optional

from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import (
    MEDIA_CONFIG,
    MEDIA_DOCKER_CONFIG,
    Descriptor,
    Layout,
    LayoutError,
    media_type_of,
    platform_matches,
    references_of,
)
from ansible_collections.airgap.speech.plugins.module_utils.oci.progress import Progress, each
from ansible_collections.airgap.speech.plugins.module_utils.oci.registry import Registry, RegistryError


def fetch(
    source: Registry,
    repo: str,
    ref: str,
    layout: Layout,
    platforms: Optional[Sequence[str]] = None,
    threads: int = 2,
    progress: Optional[Progress] = None,
) -> Descriptor:
    """Fetch one image into the layout: verified while written; what is there already is not fetched again.

    An index is kept byte for byte, so that its digest stays what the upstream published, and the manifests of the
    wanted platforms are fetched below it (all without I(platforms)). Attestations and other children without a
    platform of their own come only with all. Manifests are written after their blobs: a killed run goes on
    with the blobs that are missing.
    """
    manifests: list[bytes] = []
    blobs: dict[str, int] = {}
    data, media_type, digest = source.get_manifest(repo, ref)
    _collect(source, repo, data, digest, platforms, manifests, blobs)
    missing = [(name, size) for name, size in blobs.items() if not layout.has(name, size)]
    missing.sort(key=lambda blob: (-blob[1], blob[0]))
    if progress is not None:
        progress.grow(sum(size for _name, size in missing))

    def get(blob: tuple[str, int]) -> None:
        name, size = blob
        passed = [0]

        def chunks() -> Generator[bytes, None, None]:
            with closing(source.iter_blob(repo, name, size)) as stream:
                for chunk in stream:
                    passed[0] += len(chunk)
                    if progress is not None:
                        progress.add(len(chunk))
                    yield chunk

        for attempt in (1, 2):
            try:
                with closing(chunks()) as stream:
                    layout.add_stream(stream, name, size)
                return
            except LayoutError as error:
                if progress is not None:
                    progress.add(-passed[0])
                passed[0] = 0
                if attempt == 2:
                    raise RegistryError(
                        source.name(repo, name),
                        f"sha256 differs twice ({error})",
                        "push this image to the source again",
                        "digest",
                    ) from error

    each(threads, get, missing)
    for raw in reversed(manifests):
        layout.add_bytes(raw)
    return Descriptor(media_type, digest, len(data))


def _collect(
    source: Registry,
    repo: str,
    data: bytes,
    digest: str,
    platforms: Optional[Sequence[str]],
    manifests: list[bytes],
    blobs: dict[str, int],
) -> None:
    where = source.name(repo, digest)
    try:
        document: Any = json.loads(data)
    except ValueError as error:
        raise RegistryError(where, "its manifest is not JSON", "push this image to the source again") from error
    if not isinstance(document, dict) or document.get("schemaVersion") != 2:
        raise RegistryError(
            where,
            "its manifest is of a kind that is not taken (schema 1, or no manifest)",
            "push it again with a newer tool",
        )
    manifests.append(data)
    children, own = references_of(document, where)
    is_index = bool(children) or "manifests" in document or "index" in media_type_of(document)
    if is_index:
        chosen = [child for child in children if not platforms or platform_matches(child.platform, platforms)]
        if not chosen:
            have = ", ".join(sorted({child.platform for child in children if child.platform})) or "none"
            raise RegistryError(
                where,
                f"no platform of {', '.join(platforms or ('any',))} is in it (it has {have})",
                "ask for one that it has",
                "missing",
            )
        for child in chosen:
            raw, _media_type, child_digest = source.get_manifest(repo, child.digest)
            _collect(source, repo, raw, child_digest, None, manifests, blobs)
        return
    for blob in own:
        blobs[blob.digest] = blob.size
    config = document.get("config") or {}
    if platforms and config.get("mediaType") in (MEDIA_CONFIG, MEDIA_DOCKER_CONFIG):
        _check_platform(source, repo, own[0], platforms, where)


def _check_platform(source: Registry, repo: str, config: Descriptor, platforms: Sequence[str], where: str) -> None:
    """An image of one platform has to be of a wanted one."""
    raw = b"".join(source.iter_blob(repo, config.digest, config.size))
    try:
        document = json.loads(raw)
        have = f"{document['os']}/{document['architecture']}"
    except (ValueError, KeyError, TypeError):
        return
    if have == "/" or any(have == "/".join(platform.split("/")[:2]) for platform in platforms):
        return
    raise RegistryError(
        where, f"it is an image for {have}, where {', '.join(platforms)} is wanted", "ask for that platform", "missing"
    )
