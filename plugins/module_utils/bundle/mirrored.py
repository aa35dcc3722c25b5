# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the lock of a bundle wants in the registry, and the locks of the bundles that were mirrored before."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.airgap.speech.plugins.module_utils.bundle.cache import write_file
from ansible_collections.airgap.speech.plugins.module_utils.bundle.lock import Lock, parse
from ansible_collections.airgap.speech.plugins.module_utils.oci.plan import PushItem
from ansible_collections.airgap.speech.plugins.module_utils.oci.reference import Reference

KINDS = ("images", "charts", "models")


def items_of(lock: Lock, kinds: Iterable[str] = KINDS) -> list[PushItem]:
    """The items of a lock and their places inside: images, what refers to them, charts and models."""
    wanted = set(kinds)
    items: list[PushItem] = []
    if "images" in wanted:
        for image in lock.images:
            # The host of the registry is known to the client; here only the path inside counts.
            inside = Reference.parse(image.reference).inside("registry")
            items.append(PushItem(image.digest, inside.repository, inside.tag, image.reference, tuple(image.platforms)))
            for each in image.referrers:
                what = f"{image.reference} ({each.tag or 'referrer'})"
                items.append(PushItem(each.digest, inside.repository, each.tag or None, what, (), image.digest))
    for kind, entries in (("charts", lock.charts), ("models", lock.models)):
        if kind in wanted:
            items.extend(
                PushItem(entry.digest, f"{kind}/{entry.name}", entry.version.replace("+", "_"), entry.reference)
                for entry in entries
            )
    return items


@dataclass(frozen=True)
class Record:
    """A lock that was mirrored, in the directory that keeps them."""

    path: Path
    lock: Lock


def records(directory: str) -> list[Record]:
    """The locks in a directory, oldest bundle first. None where the directory is not there yet."""
    found = [Record(path, parse(path.read_bytes(), str(path))) for path in Path(directory).glob("*.lock.json")]
    return sorted(found, key=lambda record: (record.lock.created, record.path.name))


def remember(directory: str, lock_path: str) -> Path:
    """Keep a copy of a lock that was mirrored; the same lock is kept once."""
    data = Path(lock_path).read_bytes()
    created = parse(data, lock_path).created.replace("-", "").replace(":", "")
    path = Path(directory) / f"{created}-{hashlib.sha256(data).hexdigest()[:12]}.lock.json"
    if path.exists():
        return path
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_file(str(path), data, mode=0o600)
    return path


def movable(lock: Lock, earlier: Iterable[Record]) -> dict[str, frozenset[str]]:
    """For each tag inside (C(repository:tag)) the digests that it may be moved away from: those of bundles that are not
    newer than this one."""
    known: dict[str, set[str]] = {}
    for record in earlier:
        if record.lock.created <= lock.created:
            for item in items_of(record.lock):
                known.setdefault(f"{item.repo}:{item.tag}", set()).add(item.digest)
    return {name: frozenset(digests) for name, digests in known.items()}
