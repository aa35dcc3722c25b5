# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a site holds: written inside from its registry, read outside so that the next bundle carries only the rest.

Every entry was asked of the registry: a blob is listed where the registry answered that this repository has it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any, Optional, Protocol

from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import Descriptor, references_of
from ansible_collections.airgap.speech.plugins.module_utils.oci.plan import PushItem

SCHEMA = "airgap.speech/inventory/v1"

_DIGEST = re.compile(r"^sha256:[0-9a-f]{64}\Z")
_TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\Z")


class InventoryError(ValueError):
    """The inventory is absent, unreadable or not what this version understands."""


class Holder(Protocol):
    """What is wanted of a registry."""

    def head_manifest(self, repo: str, ref: str) -> Optional[Descriptor]:
        """What a tag or digest stands for, or nothing."""

    def get_manifest(self, repo: str, ref: str) -> tuple[bytes, str, str]:
        """A manifest, its media type and its digest."""

    def has_blob(self, repo: str, digest: str) -> bool:
        """Whether the repository holds the blob."""


@dataclass(frozen=True)
class Item:
    """A tag or digest that the registry holds."""

    reference: str
    repository: str
    ref: str
    digest: str


@dataclass(frozen=True)
class HeldBlob:
    """A blob, its size in bytes and every repository that has it."""

    digest: str
    size: int
    repositories: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Inventory:
    """All that was found. C(missing) are references that a lock names and the registry does not hold."""

    created: str
    registry: str
    items: list[Item] = field(default_factory=list)
    blobs: list[HeldBlob] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Bytes of all blobs."""
        return sum(blob.size for blob in self.blobs)


def collect(
    registry: Holder,
    name: str,
    wanted: Iterable[PushItem],
    created: str,
    threads: int = 2,
    say: Optional[Callable[[str], None]] = None,
) -> Inventory:
    """Ask a registry for all items of locks. A tag that stands for another digest is listed as it is."""
    unique = {(item.repo, item.ref): item for item in wanted}
    items: list[Item] = []
    missing: list[str] = []
    sizes: dict[str, int] = {}
    asked: set[tuple[str, str]] = set()

    def look(item: PushItem) -> tuple[PushItem, Optional[str], dict[str, int]]:
        there = registry.head_manifest(item.repo, item.ref)
        return item, there.digest if there else None, _blobs_of(registry, item.repo, there) if there else {}

    with ThreadPoolExecutor(max_workers=max(1, threads)) as pool:
        for item, digest, blobs in pool.map(look, [unique[key] for key in sorted(unique)]):
            if digest is None:
                missing.append(item.reference)
                continue
            items.append(Item(item.reference, item.repo, item.ref, digest))
            sizes.update(blobs)
            asked.update((item.repo, blob) for blob in blobs)
        if say is not None:
            say(f"inventory: {len(items)} items held, {len(missing)} not; asking for {len(asked)} blobs")
        pairs = sorted(asked)
        answers = pool.map(lambda pair: registry.has_blob(*pair), pairs)
        where: dict[str, list[str]] = {}
        for (repository, digest), there in zip(pairs, answers):
            if there:
                where.setdefault(digest, []).append(repository)
    held = [HeldBlob(digest, sizes[digest], sorted(where[digest])) for digest in sorted(where)]
    return Inventory(created, name, items, held, sorted(missing))


def _blobs_of(registry: Holder, repository: str, top: Descriptor) -> dict[str, int]:
    """Digest and size of all blobs below a manifest; children of an index that were left out are passed over."""
    found: dict[str, int] = {}
    todo = [top]
    seen: set[str] = set()
    while todo:
        descriptor = todo.pop()
        if descriptor.digest in seen:
            continue
        seen.add(descriptor.digest)
        if descriptor is not top and registry.head_manifest(repository, descriptor.digest) is None:
            continue
        data, _media_type, digest = registry.get_manifest(repository, descriptor.digest)
        try:
            document = json.loads(data)
        except ValueError:
            continue
        if not isinstance(document, dict):
            continue
        children, blobs = references_of(document, f"{repository}@{digest}")
        todo += children
        found.update({blob.digest: blob.size for blob in blobs})
    return found


def dump(inventory: Inventory) -> bytes:
    """The one form of an inventory: sorted keys, lists in a fixed order, a newline at the end."""
    data: dict[str, Any] = {"schema": SCHEMA, **asdict(inventory)}
    data["items"].sort(key=lambda item: (item["repository"], item["ref"]))
    data["blobs"].sort(key=lambda item: item["digest"])
    return (json.dumps(data, indent=1, sort_keys=True, ensure_ascii=True) + "\n").encode("ascii")


def parse(data: bytes, thing: str) -> Inventory:
    """An inventory from its bytes; refuses what is not wholly understood."""

    def fail(cause: str) -> InventoryError:
        return InventoryError(f"{thing}: {cause}; export the inventory of the site again")

    def texts(node: Any, keys: tuple[str, ...], what: str) -> list[str]:
        values = [node.get(key) if isinstance(node, dict) else None for key in keys]
        for key, value in zip(keys, values):
            if not isinstance(value, str) or (key == "digest" and not _DIGEST.match(value)):
                raise fail(f"{what} has no {key}")
        return [str(value) for value in values]

    try:
        tree = json.loads(data.decode("utf-8"))
    except (UnicodeDecodeError, ValueError) as error:
        raise fail(f"is not JSON ({error})") from error
    if not isinstance(tree, dict) or tree.get("schema") != SCHEMA:
        found = tree.get("schema") if isinstance(tree, dict) else None
        raise InventoryError(f"{thing}: has schema {found!r}, this version reads {SCHEMA}; give the file of the site")
    created, registry = texts(tree, ("created", "registry"), "it")
    if not _TIME.match(created):
        raise fail(f"created {created!r} is no UTC time")
    for key in ("items", "blobs", "missing"):
        if not isinstance(tree.get(key), list):
            raise fail(f"{key} is no list")
    items = [Item(*texts(node, ("reference", "repository", "ref", "digest"), "an item")) for node in tree["items"]]
    blobs: list[HeldBlob] = []
    for node in tree["blobs"]:
        (digest,) = texts(node, ("digest",), "a blob")
        size, repositories = node.get("size"), node.get("repositories")
        if not isinstance(size, int) or isinstance(size, bool) or size < 0:
            raise fail(f"blob {digest} has no size")
        if not isinstance(repositories, list) or not all(isinstance(name, str) and name for name in repositories):
            raise fail(f"blob {digest} has no list of repositories")
        blobs.append(HeldBlob(digest, size, repositories))
    if not all(isinstance(name, str) for name in tree["missing"]):
        raise fail("missing is no list of texts")
    return Inventory(created, registry, items, blobs, list(tree["missing"]))


def load(path: str) -> Inventory:
    """Read the inventory of a site."""
    try:
        with open(path, "rb") as handle:
            return parse(handle.read(), path)
    except OSError as error:
        raise InventoryError(
            f"{path}: cannot be read ({error.strerror}); give the file that inventory_export wrote inside"
        ) from error


def held(path: str) -> dict[str, list[str]]:
    """Digest to repositories of the blobs that a site holds and a bundle for it can leave out.

    Charts are always carried: they are small, and the deploy reads them from the bundle.
    """
    return {
        blob.digest: blob.repositories
        for blob in load(path).blobs
        if blob.repositories and not any(name.startswith("charts/") for name in blob.repositories)
    }


def same_but_time(before: bytes, after: Inventory) -> bool:
    """Whether a file says the same, the time aside."""
    try:
        there = parse(before, os.devnull)
    except InventoryError:
        return False
    return dump(there) == before and asdict(there) == {**asdict(after), "created": there.created}
