# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers about a bundle, where it lies: what is in it, how large, why it is there, which licences end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any, Optional

from ansible_collections.airgap.speech.plugins.module_utils.bundle.lock import Chart, Image, Lock, Model
from ansible_collections.airgap.speech.plugins.module_utils.bundle.parts import Opened, PartsError
from ansible_collections.airgap.speech.plugins.module_utils.bundle.sbom import (
    SBOM_NAME,
    Licence,
    licences_of,
    reason_text,
)
from ansible_collections.airgap.speech.plugins.module_utils.oci.errors import human_bytes
from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import ExtentReader, Layout


@dataclass(frozen=True)
class KindSize:
    """How many of a kind there are, and their bytes; what several items share is counted once."""

    kind: str
    count: int
    size: int


@dataclass(frozen=True)
class ItemInfo:
    """An image, a chart or a model. C(own) are the bytes that would go with it, since nothing else needs them."""

    kind: str
    reference: str
    digest: str
    size: int
    own: int
    omitted: int
    platforms: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class LicenceInfo:
    """A licence, and how many days it is still good for; none where it does not end."""

    thing: str
    licence: str
    expires: str
    days_left: Optional[int]
    note: str


@dataclass(frozen=True)
class PartInfo:
    """A part, and whether it is at hand."""

    number: int
    name: str
    size: int
    at_hand: bool


@dataclass(frozen=True)
class Info:
    """All answers about a bundle."""

    created: str
    collection_version: str
    releases: list[str]
    size: int
    kinds: list[KindSize]
    contents: list[ItemInfo]
    omitted: int
    omitted_size: int
    licences: list[LicenceInfo]
    licences_known: bool
    parts: list[PartInfo]

    def data(self) -> dict[str, Any]:
        """The same as plain data."""
        return asdict(self)


def look(opened: Opened, today: date) -> Info:
    """Read lock, manifests and bill of materials. Nothing is verified here."""
    lock = opened.lock
    reached = _reached(lock, opened.layout)
    users: dict[str, int] = {}
    for blobs in reached.values():
        for digest in blobs:
            users[digest] = users.get(digest, 0) + 1
    omitted = {blob.digest: blob.size for blob in lock.omitted}
    items: list[ItemInfo] = []
    kinds: list[KindSize] = []
    counted: set[str] = set()
    groups: list[tuple[str, Sequence[Image | Chart | Model]]] = [
        ("image", lock.images),
        ("chart", lock.charts),
        ("model", lock.models),
    ]
    for kind, entries in groups:
        size = 0
        for entry in entries:
            blobs = reached[entry.reference]
            fresh = set(blobs) - counted - set(omitted)
            counted |= fresh
            size += sum(blobs[digest] for digest in fresh)
            items.append(
                ItemInfo(
                    kind,
                    entry.reference,
                    entry.digest,
                    entry.size,
                    sum(count for digest, count in blobs.items() if users[digest] == 1),
                    sum(count for digest, count in blobs.items() if digest in omitted),
                    list(entry.platforms) if isinstance(entry, Image) else [],
                    sorted({reason_text(reason) for reason in entry.reasons}),
                )
            )
        if entries:
            kinds.append(KindSize(kind, len(entries), size))
    for kind in sorted({item.kind for item in lock.files}):
        sizes = [item.size for item in lock.files if item.kind == kind]
        kinds.append(KindSize(kind, len(sizes), sum(sizes)))
    known, licences = _licences(opened, today)
    shelf = opened.shelf
    return Info(
        created=lock.created,
        collection_version=lock.collection_version,
        releases=[f"{r.platform}: {r.namespace}/{r.name} ({r.chart})" for r in lock.releases],
        size=lock.size,
        kinds=kinds,
        contents=items,
        omitted=len(omitted),
        omitted_size=sum(omitted.values()),
        licences=licences,
        licences_known=known,
        parts=[PartInfo(part.number, part.name, part.size, part.number in shelf.present) for part in shelf.parts.parts]
        if shelf
        else [],
    )


def _reached(lock: Lock, layout: Layout) -> dict[str, dict[str, int]]:
    """Reference to the blobs that it needs, manifests included, each with its size."""
    platforms = {image.reference: image.platforms for image in lock.images}
    return {
        reference: {each.digest: each.size for each in layout.walk(digest, platforms.get(reference))}
        for reference, digest in lock.digests().items()
    }


def _licences(opened: Opened, today: date) -> tuple[bool, list[LicenceInfo]]:
    """Whether the bundle says anything about licences here, and what."""
    if SBOM_NAME not in opened.lock.paths():
        return False, []
    try:
        with ExtentReader(opened.extents(SBOM_NAME)) as stream:
            document = json.loads(stream.readall())
    except PartsError:
        return False, []
    except ValueError as error:
        raise PartsError(f"{SBOM_NAME}: is not JSON ({error}); copy the bundle again") from error
    return True, [
        LicenceInfo(item.thing, item.licence, item.expires, _days(item, today), item.note)
        for item in licences_of(document)
    ]


def _days(item: Licence, today: date) -> Optional[int]:
    return (date.fromisoformat(item.expires) - today).days if item.expires else None


# -- as text ---------------------------------------------------------------------------------------------------------


def lines_of(info: Info, wanted: str = "", within_days: int = 90) -> list[str]:
    """The answers for people. With I(wanted), only items whose reference has that text, with each reason."""
    found = [item for item in info.contents if wanted in item.reference]
    if wanted:
        lines: list[str] = []
        for item in found:
            lines.append(f"{item.reference} ({item.kind}), {human_bytes(item.size)}, {item.digest}")
            lines.append(f"  without it the bundle were {human_bytes(item.own)} smaller")
            lines += [f"  because: {reason}" for reason in item.reasons] or ["  no reason is noted"]
        return lines or [f"{wanted}: nothing in the bundle is called so; the lock names {len(info.contents)} items"]
    lines = [
        f"bundle of {info.created}, airgap.speech {info.collection_version}, {human_bytes(info.size)}",
        *(f"for {release}" for release in info.releases),
    ]
    lines += [f"{each.kind}: {each.count}, {human_bytes(each.size)}" for each in info.kinds]
    if info.omitted:
        lines.append(f"left out, since the site has it: {info.omitted} blobs, {human_bytes(info.omitted_size)}")
    for item in found:
        platforms = f" [{', '.join(item.platforms)}]" if item.platforms else ""
        reason = item.reasons[0] if item.reasons else "no reason is noted"
        more = f" (and {len(item.reasons) - 1} more)" if len(item.reasons) > 1 else ""
        lines.append(f"{item.reference}{platforms}, {human_bytes(item.size)}: {reason}{more}")
    lines += _licence_lines(info, within_days)
    if info.parts:
        absent = [part.name for part in info.parts if not part.at_hand]
        lines.append(f"parts: {len(info.parts)}, " + (f"not at hand: {', '.join(absent)}" if absent else "all at hand"))
    return lines


def _licence_lines(info: Info, within_days: int) -> list[str]:
    if not info.licences_known:
        return ["licences: not known here (no bill of materials in the bundle, or its part is not at hand)"]
    lines: list[str] = []
    for item in info.licences:
        what = item.licence or "licence not noted"
        note = f" ({item.note})" if item.note else ""
        if item.days_left is None:
            lines.append(f"licence of {item.thing}: {what}{note}")
        elif item.days_left < 0:
            lines.append(f"licence of {item.thing}: {what}, ENDED on {item.expires}{note}; renew it before the deploy")
        else:
            soon = "; renew it" if item.days_left <= within_days else ""
            lines.append(f"licence of {item.thing}: {what}, ends on {item.expires}, {item.days_left} days{soon}{note}")
    return lines or ["licences: none noted"]
