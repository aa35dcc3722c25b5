# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much disk each place of a site needs for what a bundle holds, from the bundle's lock. Sizes are bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import AbstractSet, Any, Dict, List, Mapping, Sequence

from ansible_collections.airgap.speech.plugins.module_utils.bundle.lock import Lock, Model

# A node keeps the packed layers of an image (containerd's content store) and the unpacked ones; while a new version is
# pulled, the packed layers of both. Unpacked, the images of our bundle take 3.1 and 3.4 times their packed layers,
# files rounded to blocks of 4 KiB (python -m dev.unpacked build/demo/bundle). So 2 + 3.4.
IMAGES_FACTOR = 5.4
IMAGES_RULE = "{factor:g} x packed: packed layers of this version and the next, and the unpacked ones"
MODELS_RULE = "{copies} copies: the version in use, and {kept} beside it while one is replaced"
REGISTRY_RULE = "every blob of the lock once"
STAGING_RULE = "the bundle as it was carried; parts are read where they lie"

MODELS_ON_NODE = "models in their directory"

# Where a release reads its models from (models.volume.type of its values).
PVC, NODE_DIRECTORY, IMAGE_VOLUME = "pvc", "node_directory", "image"


@dataclass(frozen=True)
class Room:
    """Disk that one thing wants, and the rule that the number comes from."""

    what: str
    size: int
    rule: str


@dataclass(frozen=True)
class Place:
    """A place of a site: ``registry``, ``node`` (each one), ``volume`` (a claim) or ``staging`` (the bastion)."""

    kind: str
    name: str
    rooms: Sequence[Room]

    @property
    def size(self) -> int:
        return sum(room.size for room in self.rooms)

    def as_dict(self) -> Dict[str, Any]:
        parts = [{"what": room.what, "bytes": room.size, "rule": room.rule} for room in self.rooms]
        return {"kind": self.kind, "name": self.name, "bytes": self.size, "parts": parts}


@dataclass(frozen=True)
class Volume:
    """A claim that must hold something, such as a journal."""

    claim: str
    what: str
    size: int
    source: str


@dataclass(frozen=True)
class ReleaseDisk:
    """What a release keeps on disk: where its models lie, and its other volumes."""

    name: str
    namespace: str
    models: str = PVC
    claim: str = ""
    volumes: Sequence[Volume] = ()


def registry_bytes(lock: Lock) -> int:
    """What the registry stores for a bundle: shared layers once, and what a delta leaves out because it is there."""
    return sum(blob.size for blob in lock.blobs) + sum(blob.size for blob in lock.omitted)


def packed_bytes(lock: Lock, present: AbstractSet[str] = frozenset()) -> int:
    """Packed layers of the images that a node does not hold yet; ``present`` are digests that it holds.

    Layers that images share count once for each image, but never more than all blobs of the lock.
    """
    wanted = sum(image.size for image in lock.images if image.digest not in present)
    return min(wanted, registry_bytes(lock))


def models_of(lock: Lock, release: str = "") -> List[Model]:
    """The models of a release, told by the reasons in the lock; all of them where none names it."""
    named = [model for model in lock.models if any(reason.source == f"release {release}" for reason in model.reasons)]
    return named or list(lock.models)


def models_bytes(lock: Lock, release: str = "") -> int:
    """The files of a release's models, as they lie on a volume."""
    return sum(item.size for model in models_of(lock, release) for item in model.files)


def held_digests(names: Sequence[str]) -> AbstractSet[str]:
    """The digests among the names that a node reports of its images."""
    return {name.rsplit("@", 1)[1] for name in names if "@" in name}


def image_room(lock: Lock, factor: float = IMAGES_FACTOR, present: AbstractSet[str] = frozenset()) -> Room:
    """Disk for images on one node."""
    return Room("images", int(factor * packed_bytes(lock, present)), IMAGES_RULE.format(factor=factor))


def places(lock: Lock, releases: Sequence[ReleaseDisk], *, factor: float = IMAGES_FACTOR, keep: int = 1) -> List[Place]:
    """Every place that needs disk. ``keep`` is the number of earlier versions of a model that stay."""
    copies = 1 + keep
    rule = MODELS_RULE.format(copies=copies, kept=keep)
    node = [image_room(lock, factor)]
    if any(release.models == NODE_DIRECTORY for release in releases):
        # The role model_preload places all models of the lock on every node of the group.
        node.append(Room(MODELS_ON_NODE, copies * models_bytes(lock), rule))
    mounted = {
        model.digest: model.size
        for release in releases
        if release.models == IMAGE_VOLUME
        for model in models_of(lock, release.name)
    }
    if mounted:
        packed = int(factor * sum(mounted.values()))
        node.append(Room("models as image volumes", packed, IMAGES_RULE.format(factor=factor)))
    result = [
        Place("registry", "registry", [Room("images, charts and models", registry_bytes(lock), REGISTRY_RULE)]),
        Place("staging", "bastion", [Room("the bundle", lock.size, STAGING_RULE)]),
        Place("node", "each node", node),
    ]
    for release in releases:
        where = f"{release.namespace}/"
        if release.models == PVC and models_of(lock, release.name):
            room = Room("models", copies * models_bytes(lock, release.name), rule)
            result.append(Place("volume", where + (release.claim or f"{release.name}-models"), [room]))
        result += [
            Place("volume", where + (volume.claim or f"{release.name} {volume.what}"), [_journal(volume)])
            for volume in release.volumes
        ]
    return result


def _journal(volume: Volume) -> Room:
    return Room(volume.what, volume.size, volume.source)


def release_disk(entry: Mapping[str, Any]) -> ReleaseDisk:
    """Read what a role knows of a release: name, namespace, values as deployed, volumes of its sizing."""
    name = str(entry.get("name") or "")
    volume = ((entry.get("values") or {}).get("models") or {}).get("volume") or {}
    claims = [
        Volume(
            str(item.get("claim") or "").replace("<release>", name),
            str(item.get("what") or item.get("name") or ""),
            int(item.get("bytes") or 0),
            str(item.get("source") or ""),
        )
        for item in entry.get("volumes") or []
    ]
    return ReleaseDisk(
        name=name,
        namespace=str(entry.get("namespace") or ""),
        models=str(volume.get("type") or PVC),
        claim=str((volume.get("pvc") or {}).get("name") or ""),
        volumes=claims,
    )
