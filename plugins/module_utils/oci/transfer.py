# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Carry out a plan: blobs first, largest first; then mounts, child manifests, and tags last of all."""

from __future__ import annotations

import hashlib
import threading
import time
from dataclasses import dataclass
from typing import Optional, Protocol, cast

from ansible_collections.airgap.speech.plugins.module_utils.oci.body import Body, ExtentsBody
from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import Layout, LayoutError
from ansible_collections.airgap.speech.plugins.module_utils.oci.plan import (
    ManifestPut,
    Mount,
    Plan,
    PlanImage,
    PushItem,
    Source,
    TransferError,
    Upload,
    plan_push,
)
from ansible_collections.airgap.speech.plugins.module_utils.oci.progress import Progress, each
from ansible_collections.airgap.speech.plugins.module_utils.oci.registry import Registry, RegistryError
from ansible_collections.airgap.speech.plugins.module_utils.oci.sessions import Sessions

__all__ = [
    "Plan",
    "PlanImage",
    "Progress",
    "PushItem",
    "PushResult",
    "TransferError",
    "plan_push",
    "push",
    "push_showing",
]


class _PassedOn(Protocol):
    """A source whose blobs are not files: another registry."""

    def body(self, digest: str, size: int) -> Body:
        """The bytes of a blob."""


@dataclass
class PushResult:
    """What a push did."""

    bytes_sent: int = 0
    bytes_resent: int = 0
    blobs_sent: int = 0
    blobs_mounted: int = 0
    blobs_skipped: int = 0
    seconds: float = 0.0
    wanted: tuple[str, ...] = ()


def push(
    plan: Plan,
    registry: Registry,
    threads: int = 2,
    progress: Optional[Progress] = None,
    sessions: Optional[Sessions] = None,
) -> PushResult:
    """Do what the plan says. Where parts of the bundle are still to come, everything but manifests and tags."""
    run = _Push(plan, registry, threads, progress, sessions or Sessions())
    return run.run()


def push_showing(
    label: str, path: Optional[str], plan: Plan, registry: Registry, threads: int, sessions: Sessions
) -> PushResult:
    """push() that writes its progress, under I(label), into the file I(path) where one is named."""
    if not path:
        return push(plan, registry, threads, sessions=sessions)
    with open(path, "w", encoding="utf-8") as stream:
        return push(plan, registry, threads, Progress.to_stream(label, plan.bytes, stream), sessions)


class _Push:
    """One push under way."""

    def __init__(
        self, plan: Plan, registry: Registry, threads: int, progress: Optional[Progress], sessions: Sessions
    ) -> None:
        self._plan = plan
        self._registry = registry
        self._threads = threads
        self._progress = progress
        self._sessions = sessions
        self._lock = threading.Lock()
        self._result = PushResult(blobs_skipped=plan.skipped, wanted=plan.wanted)

    def run(self) -> PushResult:
        """All of it, in the order that leaves nothing half pushed behind a tag."""
        started = time.monotonic()
        each(self._threads, self._send, self._plan.uploads)
        each(self._threads, self._mount, self._plan.mounts)
        if not self._plan.wanted:
            # Indexes may hold indexes: each child goes before what points to it, so the order is kept.
            each(1, self._put, self._plan.children)
            each(self._threads, self._put, self._plan.tops)
            self._sessions.drop_all(self._registry.endpoint)
        self._result.seconds = time.monotonic() - started
        if self._progress is not None:
            self._progress.finish()
        return self._result

    def _send(self, upload: Upload) -> None:
        passed = [0, 0]

        def sent(count: int) -> None:
            passed[0] += count
            if count < 0:
                passed[1] -= count
            if self._progress is not None:
                self._progress.add(count)

        body = _body_of(self._plan.source, upload)
        try:
            kept = self._registry.upload(
                upload.repo,
                upload.digest,
                upload.size,
                body,
                sent,
                sessions=self._sessions,
                place=upload.place,
                until=upload.until,
            )
        except RegistryError as error:
            if error.kind == "digest":
                _name_the_damaged(self._plan.source, upload.digest, error)
            if error.kind == "no_repository" and len(self._plan.absent_repos) > 1:
                names = ", ".join(self._registry.name(repo) for repo in self._plan.absent_repos)
                raise RegistryError(
                    error.thing, error.cause, f"{error.next_step}; not there yet: {names}", error.kind, error.status
                ) from error
            raise
        with self._lock:
            self._result.bytes_sent += kept
            self._result.bytes_resent += passed[1]
            self._result.blobs_sent += 1

    def _mount(self, wanted: Mount) -> None:
        taken = self._registry.mount(wanted.repo, wanted.digest, wanted.from_repo)
        # A registry that knows no mounts may hold its blobs for all repositories at once.
        if taken or self._registry.has_blob(wanted.repo, wanted.digest):
            with self._lock:
                self._result.blobs_mounted += 1
            return
        if self._plan.source.size_of(wanted.digest) is None and wanted.digest in self._plan.source.omitted:
            raise TransferError(
                f"blob {wanted.digest}: the bundle leaves it out, and the registry does not take it over from "
                f"{wanted.from_repo} into {wanted.repo}; make the bundle without an inventory"
            )
        if self._progress is not None:
            self._progress.grow(wanted.size)
        self._send(Upload(wanted.digest, wanted.size, wanted.repo))

    def _put(self, wanted: ManifestPut) -> None:
        data = wanted.data if wanted.data is not None else self._plan.source.read_bytes(wanted.descriptor.digest)
        self._registry.put_manifest(wanted.repo, wanted.ref, data, wanted.descriptor.media_type)
        with self._lock:
            self._result.bytes_sent += len(data)
        if self._progress is not None:
            self._progress.add(len(data))


def _body_of(source: Source, upload: Upload) -> Body:
    if isinstance(source, Layout):
        if not source.is_split:
            return ExtentsBody(source.extents(upload.digest))
        # Only what is not in the registry yet has to be at hand.
        start = upload.place.offset if upload.place else 0
        return ExtentsBody(source.extents_from(upload.digest, start), start, source.where(upload.digest))
    return cast("_PassedOn", source).body(upload.digest, upload.size)


def _name_the_damaged(source: Source, digest: str, error: RegistryError) -> None:
    """Where the registry refused a blob, see whether it is the file that is altered."""
    if not isinstance(source, Layout):
        return
    hasher = hashlib.sha256()
    with source.open(digest) as stream:
        while True:
            piece = stream.read(1 << 20)
            if not piece:
                break
            hasher.update(piece)
    if "sha256:" + hasher.hexdigest() != digest:
        raise LayoutError(
            f"{source.where(digest)}: sha256 differs, the registry refused it; copy the bundle again"
        ) from error
