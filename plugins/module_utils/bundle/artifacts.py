# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Charts, models and images of a Docker engine as OCI content of one layout."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Callable

from ansible_collections.airgap.speech.plugins.module_utils.bundle.archive import (
    ArchiveError,
    compressed,
    one_file_tar,
    read_chunks,
)
from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import Descriptor, Layout

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
IMAGE_CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER_TAR = "application/vnd.oci.image.layer.v1.tar"
LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
CHART_CONFIG = "application/vnd.cncf.helm.config.v1+json"
CHART_CONTENT = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
MODEL_SCHEMA = "airgap.speech/model/v1"
MODEL_CARD = "model.json"


class ArtifactError(Exception):
    """Something cannot be made into an artifact."""


@dataclass(frozen=True)
class ModelSource:
    """A file of a model and where it lies on this machine."""

    path: str
    digest: str
    size: int
    local: str


def chart_artifact(layout: Layout, package: bytes, metadata: dict[str, Any]) -> Descriptor:
    """A packed chart as the OCI artifact that Helm pulls."""
    config, config_size = layout.add_json(metadata)
    layer, layer_size = layout.add_bytes(package)
    annotations = {
        "org.opencontainers.image.title": str(metadata.get("name", "")),
        "org.opencontainers.image.version": str(metadata.get("version", "")),
        "org.opencontainers.image.description": str(metadata.get("description", "")),
    }
    return _manifest(
        layout,
        _descriptor(CHART_CONFIG, config, config_size),
        [_descriptor(CHART_CONTENT, layer, layer_size)],
        {key: value for key, value in annotations.items() if value},
    )


def model_card(name: str, version: str, kind: str, engine: str, files: Iterable[ModelSource]) -> bytes:
    """model.json: what the service holds a model directory against."""
    card = {
        "schema": MODEL_SCHEMA,
        "name": name,
        "version": version,
        "kind": kind,
        "engine": engine,
        "files": [
            {"path": item.path, "sha256": item.digest.split(":", 1)[1], "size": item.size}
            for item in sorted(files, key=lambda item: item.path)
        ],
    }
    return (json.dumps(card, indent=2, sort_keys=True) + "\n").encode("utf-8")


def model_image(
    layout: Layout, files: Iterable[ModelSource], annotations: dict[str, str], platform: str = "linux/amd64"
) -> Descriptor:
    """A model as an image of plain tar layers, one a file, that can be mounted as an image volume."""
    layers = [
        layout.add_stream(one_file_tar(item.path, item.local, item.size))
        for item in sorted(files, key=lambda item: item.path)
    ]
    return model_manifest(layout, layers, annotations, platform)


def model_manifest(
    layout: Layout, blobs: Iterable[tuple[str, int]], annotations: dict[str, str], platform: str = "linux/amd64"
) -> Descriptor:
    """The same, of layers (digest and size) that are in the layout already, in the order of their files' paths."""
    layers = [_descriptor(LAYER_TAR, digest, size) for digest, size in blobs]
    system, architecture = platform.split("/")[:2]
    config, config_size = layout.add_json(
        {
            "architecture": architecture,
            "os": system,
            "config": {"Labels": annotations},
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]},
        }
    )
    return _manifest(layout, _descriptor(IMAGE_CONFIG, config, config_size), layers, annotations)


def docker_archive(
    layout: Layout,
    path: str,
    known: Callable[[str], tuple[str, int] | None],
    remember: Callable[[str, str, int], None],
    threads: int = 2,
    name: str = "",
) -> Descriptor:
    """An image of an archive of `docker save`, as an OCI image with gzipped layers.

    `name` is the tag of the image (repository:tag), and may be empty where the archive holds one image only.

    `known` gives digest and size of the gzipped layer of a diff_id where it is in the layout already;
    `remember` is told of each new one.
    """
    try:
        with tarfile.open(path, "r:") as archive:
            members = {member.name: member for member in archive}
            listing = json.loads(_member_bytes(archive, members, "manifest.json", path))
            image = _named_image(listing, name, path)
            config = _member_bytes(archive, members, str(image["Config"]), path)
    except (tarfile.TarError, OSError, ValueError, KeyError) as error:
        raise ArtifactError(f"{path}: is no archive of docker save ({error})") from error
    diff_ids = list(json.loads(config)["rootfs"]["diff_ids"])
    names = list(image["Layers"])
    if len(diff_ids) != len(names):
        raise ArtifactError(f"{path}: has {len(names)} layers, its configuration names {len(diff_ids)}")

    def layer(pair: tuple[str, str]) -> dict[str, Any]:
        diff_id, name = pair
        there = known(diff_id)
        if there is None:
            member = _resolve(members, name, path)
            there = layout.add_stream(_layer_chunks(path, member, diff_id, threads))
            remember(diff_id, there[0], there[1])
        return _descriptor(LAYER_GZIP, there[0], there[1])

    wanted = dict(zip(diff_ids, names))
    with ThreadPoolExecutor(max_workers=max(1, threads)) as pool:
        made = dict(zip(wanted, pool.map(layer, wanted.items())))
    digest, size = layout.add_bytes(config)
    return _manifest(layout, _descriptor(IMAGE_CONFIG, digest, size), [made[diff_id] for diff_id in diff_ids], {})


def _named_image(listing: Any, name: str, path: str) -> dict[str, Any]:
    """The entry of manifest.json with that tag, or the only one."""
    if not isinstance(listing, list) or not all(isinstance(entry, dict) for entry in listing):
        raise ArtifactError(f"{path}: is no archive of docker save (its manifest.json is no list); save it again")
    short = name.split("docker.io/library/", 1)[-1]
    found = [entry for entry in listing if not name or {name, short} & set(entry.get("RepoTags") or ())]
    if len(found) == 1:
        return dict(found[0])
    tags = ", ".join(sorted(tag for entry in listing for tag in entry.get("RepoTags") or ())) or "no tags"
    if name:
        raise ArtifactError(f"{path}: holds no image {name} (it has {tags}); correct the name")
    raise ArtifactError(f"{path}: holds {len(listing)} images ({tags}); name one of them")


def _layer_chunks(path: str, member: tarfile.TarInfo, diff_id: str, threads: int) -> Iterator[bytes]:
    """The gzipped layer; its content is held against the diff_id on the way."""
    hasher = hashlib.sha256()

    def plain(chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            hasher.update(chunk)
            yield chunk

    with open(path, "rb") as handle:
        handle.seek(member.offset_data)
        magic = handle.read(2)
        handle.seek(member.offset_data)
        if magic == b"\x1f\x8b":
            unpacker = zlib.decompressobj(31)
            for chunk in read_chunks(handle, member.size):
                hasher.update(unpacker.decompress(chunk))
                yield chunk
            hasher.update(unpacker.flush())
        else:
            yield from compressed(plain(read_chunks(handle, member.size)), threads=threads)
    actual = "sha256:" + hasher.hexdigest()
    if actual != diff_id:
        raise ArtifactError(f"{path}: layer {diff_id} has sha256 {actual}; build the image again")


def _resolve(members: dict[str, tarfile.TarInfo], name: str, path: str) -> tarfile.TarInfo:
    """A member, through the links that docker save writes for layers that it has written already."""
    for _hop in range(8):
        member = members.get(name)
        if member is None:
            break
        if member.isfile():
            return member
        name = (
            os.path.normpath(os.path.join(os.path.dirname(name), member.linkname))
            if member.issym()
            else member.linkname
        )
    raise ArtifactError(f"{path}: the member {name} is missing")


def _member_bytes(archive: tarfile.TarFile, members: dict[str, tarfile.TarInfo], name: str, path: str) -> bytes:
    handle = archive.extractfile(_resolve(members, name, path))
    if handle is None:
        raise ArtifactError(f"{path}: the member {name} is no file")
    return handle.read()


def _descriptor(media_type: str, digest: str, size: int) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest, "size": size}


def _manifest(
    layout: Layout, config: dict[str, Any], layers: list[dict[str, Any]], annotations: dict[str, str]
) -> Descriptor:
    document: dict[str, Any] = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers}
    if annotations:
        document["annotations"] = annotations
    digest, size = layout.add_json(document)
    return Descriptor(MANIFEST, digest, size)


def save_stream(chunks: Iterable[bytes], folder: str) -> str:
    """Write a stream into a temporary file of a folder; the caller removes it."""
    handle, name = tempfile.mkstemp(prefix=".save-", dir=folder)
    try:
        with os.fdopen(handle, "wb") as out:
            for chunk in chunks:
                out.write(chunk)
    except BaseException:
        os.unlink(name)
        raise
    return name


__all__ = [
    "ArchiveError",
    "ArtifactError",
    "ModelSource",
    "chart_artifact",
    "docker_archive",
    "model_card",
    "model_image",
    "model_manifest",
    "save_stream",
]
