# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a push will do, known before the first byte is sent: planned over all images, each blob once, tags last."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional, Protocol

from ansible_collections.airgap.speech.plugins.module_utils.oci.digest import parse_digest
from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import (
    MEDIA_INDEX,
    Descriptor,
    Extent,
    LayoutError,
)
from ansible_collections.airgap.speech.plugins.module_utils.oci.progress import each
from ansible_collections.airgap.speech.plugins.module_utils.oci.registry import Registry
from ansible_collections.airgap.speech.plugins.module_utils.oci.sessions import WORTH_KEEPING, Sessions
from ansible_collections.airgap.speech.plugins.module_utils.oci.upload import Place


class TransferError(Exception):
    """What was asked for contradicts itself, or what the registry holds."""


class Source(Protocol):
    """What a push reads: a layout, the parts of a bundle, or another registry."""

    is_split: bool
    omitted: Mapping[str, int]

    def walk(self, digest: str, platforms: Optional[Sequence[str]] = None) -> Iterator[Descriptor]:
        """A manifest, its children and their blobs."""

    def read_bytes(self, digest: str) -> bytes:
        """A manifest."""

    def size_of(self, digest: str) -> Optional[int]:
        """The size of a blob that it has."""

    def wanted(self, digest: str, start: int = 0) -> tuple[str, ...]:
        """The parts to bring before a blob is whole from a byte on."""

    def extents_from(self, digest: str, start: int) -> Sequence[Extent]:
        """What is at hand of a blob from a byte on."""

    def repositories_of(self, digest: str) -> tuple[str, ...]:
        """Where the registry is said to hold a blob that is left out here."""


@dataclass(frozen=True)
class PushItem:
    """One image, chart or model and the place that it is to have. A referrer names the manifest it belongs to."""

    digest: str
    repo: str
    tag: Optional[str]
    reference: str = ""
    platforms: tuple[str, ...] = ()
    subject: str = ""

    @property
    def ref(self) -> str:
        """What it is pushed under: the tag, or the digest where a reference has none."""
        return self.tag or self.digest


@dataclass(frozen=True)
class PlanImage:
    """What happens to one item."""

    item: PushItem
    status: str
    before: Optional[str]


@dataclass(frozen=True)
class Upload:
    """A blob that is sent once, and the repository that it is sent to. I(place) is where an earlier run stopped."""

    digest: str
    size: int
    repo: str
    place: Optional[Place] = None
    until: Optional[int] = None

    @property
    def bytes(self) -> int:
        """What is left to send of it."""
        return (self.size if self.until is None else self.until) - (self.place.offset if self.place else 0)


@dataclass(frozen=True)
class Mount:
    """A blob that the registry holds, made known in one more repository."""

    digest: str
    size: int
    repo: str
    from_repo: str


@dataclass(frozen=True)
class ManifestPut:
    """A manifest or index, under its digest or a tag. I(data) where it is made here: a list of referrers."""

    repo: str
    ref: str
    descriptor: Descriptor
    reference: str
    data: Optional[bytes] = None


@dataclass
class Plan:
    """Everything that a push will do, known before the first byte is sent."""

    source: Source
    images: list[PlanImage] = field(default_factory=list)
    uploads: list[Upload] = field(default_factory=list)
    mounts: list[Mount] = field(default_factory=list)
    children: list[ManifestPut] = field(default_factory=list)
    tops: list[ManifestPut] = field(default_factory=list)
    skipped: int = 0
    wanted: tuple[str, ...] = ()
    absent_repos: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether anything is to be done."""
        return bool(self.uploads or self.mounts or (self.tops and not self.wanted))

    @property
    def pending(self) -> int:
        """How many items are pushed, now or once all parts were there."""
        return sum(1 for image in self.images if image.status != "present")

    @property
    def blobs(self) -> int:
        """How many blobs are sent."""
        return len(self.uploads)

    @property
    def blob_bytes(self) -> int:
        """The bytes of them that are sent."""
        return sum(upload.bytes for upload in self.uploads)

    @property
    def bytes(self) -> int:
        """All bytes that are sent: blobs and manifests."""
        puts = [] if self.wanted else self.children + self.tops
        return self.blob_bytes + sum(put.descriptor.size for put in puts)


def plan_push(
    source: Source,
    items: Sequence[PushItem],
    registry: Optional[Registry],
    threads: int = 2,
    *,
    sessions: Optional[Sessions] = None,
    known: Optional[Mapping[str, frozenset[str]]] = None,
) -> Plan:
    """Compare the items with what the registry holds. One request for an item that is right; nothing is changed.

    Without a registry all of it counts as missing, as it is before a registry has been set up. I(known) are the
    digests that a tag (C(repository:tag)) may be moved away from; without it, from any. I(sessions) are uploads
    of earlier runs, which go on where they stopped.
    """
    wanted: dict[tuple[str, str], PushItem] = {}
    for item in items:
        parse_digest(item.digest)
        other = wanted.setdefault((item.repo, item.ref), item)
        if other.digest != item.digest:
            raise TransferError(
                f"{item.repo}:{item.ref}: the bundle's lock names it with two digests "
                f"({other.digest} and {item.digest}); make the bundle again"
            )
    unique = list(wanted.values())
    planner = _Planner(source, registry, threads, sessions or Sessions())
    befores = planner.befores(unique)
    plan = Plan(source)
    for item, before in zip(unique, befores):
        plan.images.append(PlanImage(item, "present" if before == item.digest else "pushed", before))
    if known is not None:
        _refuse_backwards(plan, known)
    if any(image.status != "present" for image in plan.images):
        planner.fill(plan)
    return plan


def _refuse_backwards(plan: Plan, known: Mapping[str, frozenset[str]]) -> None:
    """A tag is moved only away from what an earlier bundle put there."""
    foreign = [
        image
        for image in plan.images
        if image.item.tag
        and image.before not in (None, image.item.digest)
        and image.before not in known.get(f"{image.item.repo}:{image.item.tag}", frozenset())
        and not image.item.tag.startswith("sha256-")
    ]
    if foreign:
        named = ", ".join(f"{image.item.repo}:{image.item.tag} (holds {image.before})" for image in foreign[:5])
        more = f" and {len(foreign) - 5} more" if len(foreign) > 5 else ""
        raise TransferError(
            f"{named}{more}: the registry holds something newer, or something that no bundle of this site put there; "
            "push a bundle that is not older, or ask for tags to be moved (move_tags)"
        )


class _Planner:
    """The questions to the registry, and what follows from the answers."""

    def __init__(self, source: Source, registry: Optional[Registry], threads: int, sessions: Sessions) -> None:
        self._source = source
        self._registry = registry
        self._threads = threads
        self._sessions = sessions
        self._listed: dict[tuple[str, str], dict[str, Any]] = {}
        self._needs: dict[str, tuple[int, list[str]]] = {}
        self._held: dict[str, set[str]] = {}
        self._users: dict[str, str] = {}

    def befores(self, items: Sequence[PushItem]) -> list[Optional[str]]:
        """What each item's place holds now. All referrers of one manifest are asked for at once."""
        registry = self._registry
        if registry is None:
            return [None] * len(items)
        subjects = sorted({(item.repo, item.subject) for item in items if item.subject and not item.tag})
        listed = each(self._threads, lambda pair: registry.referrers_index(*pair), subjects)
        self._listed = dict(zip(subjects, listed))
        heads = [item for item in items if item.tag or not item.subject]
        found = each(self._threads, lambda item: registry.head_manifest(item.repo, item.ref), heads)
        digests = {(item.repo, item.ref): there.digest for item, there in zip(heads, found) if there is not None}
        for (repo, _subject), index in self._listed.items():
            digests.update({(repo, raw["digest"]): raw["digest"] for raw in index["manifests"]})
        return [digests.get((item.repo, item.ref)) for item in items]

    def fill(self, plan: Plan) -> None:
        """Uploads, mounts and manifests of what is not right yet."""
        known_repos = {image.item.repo for image in plan.images if image.before is not None}
        self._collect(plan)
        order = sorted(self._needs, key=lambda digest: (-self._needs[digest][0], digest))
        if self._registry is not None:
            self._ask(plan, self._registry, order, known_repos)
        parts: list[str] = []
        for digest in order:
            size, repos = self._needs[digest]
            where = self._held.get(digest, set())
            missing = [repo for repo in repos if repo not in where]
            plan.skipped += len(repos) - len(missing)
            if where:
                source = min(where)
            else:
                source, missing = self._send(plan, digest, size, missing, parts)
            plan.mounts.extend(Mount(digest, size, repo, source) for repo in missing)
        if parts:
            # What is there of the other parts waits until all blobs can be known in all repositories.
            plan.wanted = tuple(dict.fromkeys(parts))
            plan.mounts = []

    def _send(self, plan: Plan, digest: str, size: int, missing: list[str], parts: list[str]) -> tuple[str, list[str]]:
        """Plan to send a blob that no repository has; the repository it goes to, and the others."""
        if digest in self._source.omitted and self._source.size_of(digest) is None:
            raise TransferError(
                f"blob {digest} ({size} bytes, of {self._users[digest]}): the bundle leaves it out because the site "
                "was said to hold it, and the registry does not have it; make the bundle with a new inventory of this "
                "site, or without one"
            )
        registry = self._registry
        place: Optional[Place] = None
        repo = missing[0]
        if registry is not None and size >= WORTH_KEEPING:
            for candidate in missing:
                location = self._sessions.get(registry.name(candidate, digest))
                if location is None:
                    continue
                place = registry.upload_place(candidate, digest, location)
                if place is not None and place.offset <= size:
                    repo = candidate
                    break
                place = None
        until: Optional[int] = None
        start = place.offset if place else 0
        absent = self._source.wanted(digest, start)
        if absent:
            parts.extend(absent)
            until = self._at_hand(digest, start)
        if until is None or until > start:
            plan.uploads.append(Upload(digest, size, repo, place, until))
        return repo, [other for other in missing if other != repo]

    def _at_hand(self, digest: str, start: int) -> int:
        """Up to which byte a blob that lies in several parts can be sent now."""
        return start + sum(extent.size for extent in self._source.extents_from(digest, start))

    def _collect(self, plan: Plan) -> None:
        """What the items need: blobs by repository, child manifests, tags."""
        seen_puts: set[tuple[str, str]] = set()
        lists: dict[tuple[str, str], list[Descriptor]] = {}
        for image in sorted(plan.images, key=lambda one: (bool(one.item.subject), one.item.repo, one.item.ref)):
            item = image.item
            if image.status == "present":
                try:
                    for descriptor in self._source.walk(item.digest, item.platforms):
                        self._held.setdefault(descriptor.digest, set()).add(item.repo)
                except LayoutError:
                    pass  # What is right in the registry need not be whole in the layout.
                continue
            manifests: list[Descriptor] = []
            for descriptor in self._source.walk(item.digest, item.platforms):
                if descriptor.is_manifest:
                    manifests.append(descriptor)
                    continue
                repos = self._needs.setdefault(descriptor.digest, (descriptor.size, []))[1]
                self._users.setdefault(descriptor.digest, item.reference or f"{item.repo}:{item.ref}")
                if item.repo not in repos:
                    repos.append(item.repo)
            for child in reversed(manifests[1:]):
                if (item.repo, child.digest) not in seen_puts:
                    seen_puts.add((item.repo, child.digest))
                    plan.children.append(ManifestPut(item.repo, child.digest, child, item.reference))
            if item.subject and not item.tag:
                plan.children.append(ManifestPut(item.repo, item.digest, manifests[0], item.reference))
                lists.setdefault((item.repo, item.subject), []).append(manifests[0])
            else:
                plan.tops.append(ManifestPut(item.repo, item.ref, manifests[0], item.reference))
        if lists and not (self._registry is not None and self._registry.has_referrers_api):
            plan.tops.extend(self._list_put(*key, added) for key, added in sorted(lists.items()))

    def _list_put(self, repo: str, subject: str, added: Sequence[Descriptor]) -> ManifestPut:
        """The tag that lists the referrers of a manifest, for a registry that keeps no such list itself."""
        index = self._listed.get((repo, subject)) or {"schemaVersion": 2, "mediaType": MEDIA_INDEX, "manifests": []}
        entries = {raw["digest"]: raw for raw in index["manifests"]}
        for descriptor in added:
            document = json.loads(self._source.read_bytes(descriptor.digest))
            entry = {"mediaType": descriptor.media_type, "digest": descriptor.digest, "size": descriptor.size}
            kind = document.get("artifactType") or (document.get("config") or {}).get("mediaType")
            if kind:
                entry["artifactType"] = kind
            if document.get("annotations"):
                entry["annotations"] = document["annotations"]
            entries[descriptor.digest] = entry
        merged = {**index, "manifests": [entries[digest] for digest in sorted(entries)]}
        data = json.dumps(merged, sort_keys=True, separators=(",", ":")).encode()
        ref = subject.replace(":", "-")
        return ManifestPut(repo, ref, Descriptor(MEDIA_INDEX, "", len(data)), f"referrers of {subject}", data)

    def _ask(self, plan: Plan, registry: Registry, order: Sequence[str], known_repos: set[str]) -> None:
        """Find which of the needed blobs are in which repository, with few requests.

        A repository that has tags is asked for each blob. One without any is either new, or was left by a run that
        was killed before its tags: such a run went through the blobs in this very order, so a number of
        misses in a row ends the questions. Parts come in any order: then each repository is asked for all.
        """
        needs, held = self._needs, self._held
        repos = sorted({repo for _size, names in needs.values() for repo in names} - known_repos)
        tagged = each(self._threads, registry.has_tags, repos)
        plan.absent_repos = tuple(repo for repo, has in zip(repos, tagged) if not has)
        known = known_repos | {repo for repo, has in zip(repos, tagged) if has}
        pairs = [
            (digest, repo)
            for digest in order
            for repo in needs[digest][1]
            if (repo in known or self._source.is_split) and repo not in held.get(digest, set())
        ]
        asked = set(pairs)
        for digest in order:
            if digest in self._source.omitted and not held.get(digest):
                more = {*needs[digest][1], *self._source.repositories_of(digest)}
                pairs.extend((digest, repo) for repo in sorted(more) if (digest, repo) not in asked)
        answers = each(self._threads, lambda pair: registry.has_blob(pair[1], pair[0]), pairs)
        for (digest, repo), there in zip(pairs, answers):
            if there:
                held.setdefault(digest, set()).add(repo)
        misses = 0
        for digest in order:
            if held.get(digest) or misses >= 2 * self._threads + 4:
                continue
            owner = needs[digest][1][0]
            if owner in known or self._source.is_split or digest in self._source.omitted:
                continue
            if registry.has_blob(owner, digest):
                held.setdefault(digest, set()).add(owner)
                misses = 0
            else:
                misses += 1
