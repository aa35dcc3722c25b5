# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Move images between a registry and a layout: planned over all of them, each blob once, tags last."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Optional, TextIO, TypeVar

from ansible_collections.airgap.speech.plugins.module_utils.oci.digest import sha256_file
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
from ansible_collections.airgap.speech.plugins.module_utils.oci.registry import Registry, RegistryError, human_bytes

_In = TypeVar("_In")
_Out = TypeVar("_Out")


class TransferError(Exception):
    """What was asked for contradicts itself."""


class Progress:
    """Bytes, rate and time left, one line at most each I(every) seconds; a repeated try takes its bytes back."""

    def __init__(
        self,
        label: str,
        total: int = 0,
        write: Optional[Callable[[str], None]] = None,
        every: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.label = label
        self.total = total
        self.done = 0
        self._write = write
        self._every = every
        self._clock = clock
        self._start = clock()
        self._last = self._start
        self._lock = threading.Lock()

    @classmethod
    def to_stream(cls, label: str, total: int, stream: TextIO) -> Progress:
        """Write the lines to an open file."""

        def write(line: str) -> None:
            stream.write(line + "\n")
            stream.flush()

        return cls(label, total, write)

    def grow(self, count: int) -> None:
        """More bytes are to come than were known."""
        with self._lock:
            self.total += count

    def add(self, count: int) -> None:
        """Bytes moved; negative where they have to be moved again."""
        with self._lock:
            self.done += count
            now = self._clock()
            if self._write is None or now - self._last < self._every:
                return
            self._last = now
            line = self._line(now)
            self._write(line)

    def finish(self) -> None:
        """The last line."""
        with self._lock:
            if self._write is not None:
                self._write(self._line(self._clock()))

    def _line(self, now: float) -> str:
        seconds = max(now - self._start, 1e-6)
        rate = max(self.done, 0) / seconds
        left = f"{(self.total - self.done) / rate:.0f} s left" if rate else "time left unknown"
        if self.done >= self.total:
            left = f"{seconds:.1f} s"
        return f"{self.label}: {human_bytes(self.done)} of {human_bytes(self.total)}, {human_bytes(rate)}/s, {left}"


def _each(threads: int, call: Callable[[_In], _Out], things: Iterable[_In]) -> list[_Out]:
    """Call over all things in order with some threads; the first error ends the rest and is raised."""
    work = list(things)
    if threads <= 1 or len(work) <= 1:
        return [call(thing) for thing in work]
    stop = threading.Event()

    def guarded(thing: _In) -> Optional[_Out]:
        if stop.is_set():
            return None
        try:
            return call(thing)
        except BaseException:
            stop.set()
            raise

    with ThreadPoolExecutor(max_workers=min(threads, len(work))) as pool:
        futures = [pool.submit(guarded, thing) for thing in work]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        except BaseException:
            stop.set()
            raise
        for future in futures:
            if future.done() and future.exception() is not None:
                stop.set()
                break
    for future in futures:
        error = future.exception()
        if error is not None:
            raise error
    results: list[_Out] = []
    for future in futures:
        results.append(future.result())  # type: ignore[arg-type]
    return results


# Layout -> registry


@dataclass(frozen=True)
class PushItem:
    """One image, chart or model of the layout and the place that it is to have."""

    digest: str
    repo: str
    tag: Optional[str]
    reference: str = ""
    platforms: tuple[str, ...] = ()

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
    """A blob that is sent once, and the repositories that it is then mounted into."""

    digest: str
    size: int
    repo: str


@dataclass(frozen=True)
class Mount:
    """A blob that the registry holds, made known in one more repository."""

    digest: str
    size: int
    repo: str
    from_repo: str


@dataclass(frozen=True)
class ManifestPut:
    """A manifest or index, under its digest or a tag."""

    repo: str
    ref: str
    descriptor: Descriptor
    reference: str


@dataclass
class Plan:
    """Everything that a push will do, known before the first byte is sent."""

    layout: Layout
    images: list[PlanImage] = field(default_factory=list)
    uploads: list[Upload] = field(default_factory=list)
    mounts: list[Mount] = field(default_factory=list)
    children: list[ManifestPut] = field(default_factory=list)
    tops: list[ManifestPut] = field(default_factory=list)
    skipped: int = 0

    @property
    def changed(self) -> bool:
        """Whether anything is to be done."""
        return bool(self.tops)

    @property
    def pending(self) -> int:
        """How many images are pushed."""
        return len(self.tops)

    @property
    def blobs(self) -> int:
        """How many blobs are sent."""
        return len(self.uploads)

    @property
    def blob_bytes(self) -> int:
        """The bytes of those blobs."""
        return sum(upload.size for upload in self.uploads)

    @property
    def bytes(self) -> int:
        """All bytes that are sent: blobs and manifests."""
        return self.blob_bytes + sum(put.descriptor.size for put in self.children + self.tops)


@dataclass
class PushResult:
    """What a push did."""

    bytes_sent: int = 0
    bytes_resent: int = 0
    blobs_sent: int = 0
    blobs_mounted: int = 0
    blobs_skipped: int = 0
    seconds: float = 0.0


def plan_push(layout: Layout, items: Sequence[PushItem], registry: Optional[Registry], threads: int = 2) -> Plan:
    """Compare the items with what the registry holds. One request for an item that is right; nothing is changed.

    Without a registry all of it counts as missing, as it is before a registry has been set up.
    """
    wanted: dict[tuple[str, str], PushItem] = {}
    for item in items:
        other = wanted.setdefault((item.repo, item.ref), item)
        if other.digest != item.digest:
            raise TransferError(
                f"{item.repo}:{item.ref}: the bundle's lock names it with two digests "
                f"({other.digest} and {item.digest}); make the bundle again"
            )
    unique = list(wanted.values())

    def before_of(item: PushItem) -> Optional[str]:
        if registry is None:
            return None
        found = registry.head_manifest(item.repo, item.ref)
        return found.digest if found is not None else None

    befores = _each(threads, before_of, unique)
    plan = Plan(layout)
    for item, before in zip(unique, befores):
        plan.images.append(PlanImage(item, "present" if before == item.digest else "pushed", before))
    if all(image.status == "present" for image in plan.images):
        return plan

    needs: dict[str, tuple[int, list[str]]] = {}
    held: dict[str, set[str]] = {}
    known_repos = {image.item.repo for image in plan.images if image.before is not None}
    seen_puts: set[tuple[str, str]] = set()
    for image in sorted(plan.images, key=lambda each: (each.item.repo, each.item.ref)):
        item = image.item
        if image.status == "present":
            try:
                for descriptor in layout.walk(item.digest, item.platforms):
                    held.setdefault(descriptor.digest, set()).add(item.repo)
            except LayoutError:
                pass  # What is right in the registry need not be whole in the layout.
            continue
        manifests: list[Descriptor] = []
        for descriptor in layout.walk(item.digest, item.platforms):
            if descriptor.is_manifest:
                manifests.append(descriptor)
                continue
            repos = needs.setdefault(descriptor.digest, (descriptor.size, []))[1]
            if item.repo not in repos:
                repos.append(item.repo)
        for child in reversed(manifests[1:]):
            if (item.repo, child.digest) not in seen_puts:
                seen_puts.add((item.repo, child.digest))
                plan.children.append(ManifestPut(item.repo, child.digest, child, item.reference))
        plan.tops.append(ManifestPut(item.repo, item.ref, manifests[0], item.reference))

    order = sorted(needs, key=lambda digest: (-needs[digest][0], digest))
    if registry is not None:
        _ask_blobs(registry, order, needs, held, known_repos, threads)
    for digest in order:
        size, repos = needs[digest]
        where = held.get(digest, set())
        missing = [repo for repo in repos if repo not in where]
        plan.skipped += len(repos) - len(missing)
        if not where:
            plan.uploads.append(Upload(digest, size, missing[0]))
            source, missing = missing[0], missing[1:]
        else:
            source = min(where)
        plan.mounts.extend(Mount(digest, size, repo, source) for repo in missing)
    return plan


def _ask_blobs(
    registry: Registry,
    order: Sequence[str],
    needs: dict[str, tuple[int, list[str]]],
    held: dict[str, set[str]],
    known_repos: set[str],
    threads: int,
) -> None:
    """Find which of the needed blobs are in which repository, with few requests.

    A repository that has tags is asked for each blob. One without any is either new, or was left by a run that
    was killed before its tags: such a run went through the blobs in this very order, so a number of
    misses in a row ends the questions.
    """
    repos = sorted({repo for _size, names in needs.values() for repo in names} - known_repos)
    tagged = _each(threads, registry.has_tags, repos)
    known = known_repos | {repo for repo, has in zip(repos, tagged) if has}
    pairs = [
        (digest, repo)
        for digest in order
        for repo in needs[digest][1]
        if repo in known and repo not in held.get(digest, set())
    ]
    answers = _each(threads, lambda pair: registry.has_blob(pair[1], pair[0]), pairs)
    for (digest, repo), there in zip(pairs, answers):
        if there:
            held.setdefault(digest, set()).add(repo)
    misses = 0
    for digest in order:
        if held.get(digest) or misses >= 2 * threads + 4:
            continue
        owner = needs[digest][1][0]
        if owner in known:
            continue
        if registry.has_blob(owner, digest):
            held.setdefault(digest, set()).add(owner)
            misses = 0
        else:
            misses += 1


def push(plan: Plan, registry: Registry, threads: int = 2, progress: Optional[Progress] = None) -> PushResult:
    """Do what the plan says: all blobs first, largest first; then mounts, child manifests, and tags last of all."""
    result = PushResult(blobs_skipped=plan.skipped)
    lock = threading.Lock()
    started = time.monotonic()

    def send(upload: Upload) -> None:
        passed = [0, 0]

        def sent(count: int) -> None:
            passed[0] += count
            if count < 0:
                passed[1] -= count
            if progress is not None:
                progress.add(count)

        path = plan.layout.blob_path(upload.digest)
        try:
            with open(path, "rb", buffering=0) as stream:
                registry.upload(upload.repo, upload.digest, upload.size, stream, sent)
        except FileNotFoundError as error:
            raise LayoutError(f"blob {upload.digest} ({path}): it is missing; copy the bundle again") from error
        except RegistryError as error:
            if error.kind == "digest" and path.is_file() and sha256_file(path)[0] != upload.digest:
                raise LayoutError(
                    f"blob {upload.digest} ({path}): sha256 differs, the registry refused it; copy the bundle again"
                ) from error
            raise
        with lock:
            result.bytes_sent += upload.size
            result.bytes_resent += passed[1]
            result.blobs_sent += 1

    def mount(wanted: Mount) -> None:
        if registry.mount(wanted.repo, wanted.digest, wanted.from_repo):
            with lock:
                result.blobs_mounted += 1
            return
        if progress is not None:
            progress.grow(wanted.size)
        send(Upload(wanted.digest, wanted.size, wanted.repo))

    def put(wanted: ManifestPut) -> None:
        data = plan.layout.read_bytes(wanted.descriptor.digest)
        registry.put_manifest(wanted.repo, wanted.ref, data, wanted.descriptor.media_type)
        with lock:
            result.bytes_sent += len(data)
        if progress is not None:
            progress.add(len(data))

    _each(threads, send, plan.uploads)
    _each(threads, mount, plan.mounts)
    # Indexes may hold indexes: each child goes before what points to it, so the order is kept.
    _each(1, put, plan.children)
    _each(threads, put, plan.tops)
    result.seconds = time.monotonic() - started
    if progress is not None:
        progress.finish()
    return result


# Registry -> layout


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

    _each(threads, get, missing)
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
