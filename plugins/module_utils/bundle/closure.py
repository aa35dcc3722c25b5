# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The closure of a release: what it names is in the lock and in the registry, and what runs came from there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ansible_collections.airgap.speech.plugins.module_utils.bundle.lock import Lock
from ansible_collections.airgap.speech.plugins.module_utils.discovery.images import Found
from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import (
    Descriptor,
    platform_matches,
    references_of,
)
from ansible_collections.airgap.speech.plugins.module_utils.oci.reference import Reference

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
STATUSES = ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses")


class Registry(Protocol):
    """What is wanted of a registry."""

    def head_manifest(self, repo: str, ref: str) -> Descriptor | None:
        """The descriptor of a manifest, or nothing."""

    def get_manifest(self, repo: str, ref: str) -> tuple[bytes, str, str]:
        """A manifest with its media type and digest."""

    def has_blob(self, repo: str, digest: str) -> bool:
        """Whether a blob is there."""


@dataclass(frozen=True)
class Entry:
    """One image of a release: where it is wanted, and what is wrong with it."""

    reference: str
    where: str
    needed: str
    digest: str = ""
    inside: str = ""
    problem: str = ""


def lock_digest(lock: Lock, reference: str) -> str:
    """The digest that the lock has for a reference, also where the reference carries a digest of its own."""
    known = lock.digests()
    if reference in known:
        return known[reference]
    name, at_sign, digest = reference.partition("@")
    if not at_sign:
        return ""
    if known.get(name) == digest or (name not in known and digest in known.values()):
        return digest
    return ""


def platforms_of(lock: Lock) -> list[str]:
    """The platforms that the images of a lock were made or fetched for."""
    return sorted({platform for image in lock.images for platform in image.platforms})


def repository_inside(reference: str) -> str:
    """The repository inside, below the registry: upstream host first, but none for charts and models."""
    if reference.startswith(("models/", "charts/")):
        return reference.split("@", maxsplit=1)[0].rpartition(":")[0]
    parsed = Reference.parse(reference)
    return Reference.parse(reference).inside("registry.invalid").repository if parsed else ""


def before(lock: Lock, found: Iterable[Found], registry: Registry, name: str) -> list[Entry]:
    """Every required image of the rendered release, once, with what is missing."""
    entries: dict[str, Entry] = {}
    for item in found:
        if not item.required or item.reference in entries:
            continue
        where = f"{item.kind} {item.name} {item.path}"
        digest = lock_digest(lock, item.reference)
        repository = repository_inside(item.reference)
        inside = f"{name}/{repository}@{digest}"
        if not digest:
            problem = (
                f"is not in the lock of the bundle (wanted by {where}, {item.needed}); make the bundle "
                f"with the values of this deploy"
            )
            inside = ""
        else:
            problem = _missing(registry, repository, digest)
            if problem:
                problem = f"{problem} (wanted by {where}, {item.needed}); run image_mirror again"
        entries[item.reference] = Entry(item.reference, where, item.needed, digest, inside, problem)
    return list(entries.values())


def _missing(registry: Registry, repository: str, digest: str) -> str:
    """What the registry lacks of a manifest; of an index, at least one whole image has to be there."""
    if registry.head_manifest(repository, digest) is None:
        return f"is not in the registry as {repository}@{digest}"
    data, _media_type, _digest = registry.get_manifest(repository, digest)
    children, blobs = references_of(json.loads(data), f"{repository}@{digest}")
    for blob in blobs:
        if not registry.has_blob(repository, blob.digest):
            return f"has no blob {blob.digest} in the registry's {repository}"
    if not children:
        return ""
    problem = f"is an index without any of its images in the registry's {repository}"
    for child in children:
        if child.platform is not None and platform_matches(child.platform, ("unknown/unknown",)):
            continue
        if registry.head_manifest(repository, child.digest) is not None:
            return _missing(registry, repository, child.digest)
    return problem


def allowed_digests(lock: Lock, registry: Registry | None = None) -> dict[str, str]:
    """Digest to reference of all that may run: what the lock names, and the images below an index of it."""
    allowed = {item.digest: item.reference for item in lock.images}
    allowed.update({item.digest: item.reference for item in lock.models})
    if registry is not None:
        for image in lock.images:
            repository = repository_inside(image.reference)
            if registry.head_manifest(repository, image.digest) is None:
                continue
            data, _media_type, _digest = registry.get_manifest(repository, image.digest)
            document = json.loads(data)
            for child in references_of(document, image.reference)[0]:
                allowed[child.digest] = image.reference
            config = document.get("config")
            if isinstance(config, dict) and config.get("digest"):
                # Some runtimes report the configuration's digest as the id of an image.
                allowed[str(config["digest"])] = image.reference
    return allowed


def belongs(pod: Mapping[str, Any], release: str) -> bool:
    """Whether Helm, or the labels that charts agree on, count a pod to a release."""
    metadata = pod.get("metadata") or {}
    labels = metadata.get("labels") or {}
    annotations = metadata.get("annotations") or {}
    return release in (
        annotations.get("meta.helm.sh/release-name"),
        labels.get("app.kubernetes.io/instance"),
        labels.get("release"),
        labels.get("helm.sh/release"),
    )


def pods_of(pods: Iterable[Mapping[str, Any]], release: str = "") -> list[Mapping[str, Any]]:
    """The pods of a release, or of all, that run or are to: one that has ended, or is being deleted, may be older."""
    return [
        pod
        for pod in pods
        if (not release or belongs(pod, release))
        and (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")
        and not (pod.get("metadata") or {}).get("deletionTimestamp")
    ]


def after(pods: Iterable[Mapping[str, Any]], allowed: Mapping[str, str]) -> list[Entry]:
    """Every container of the pods that has an image, with what is wrong with it."""
    entries: list[Entry] = []
    for pod in pods:
        status = pod.get("status") or {}
        pod_name = str((pod.get("metadata") or {}).get("name") or "")
        for key in STATUSES:
            for container in status.get(key) or []:
                where = "pod {} container {}".format(pod_name, container.get("name"))
                image, image_id = str(container.get("image") or ""), str(container.get("imageID") or "")
                match = _DIGEST.search(image_id)
                if match is None:
                    problem = f"has no imageID ({where}); look at the pod, its image was not pulled"
                    entries.append(Entry(image, where, "always", problem=problem))
                    continue
                digest = match.group(0)
                problem = ""
                if digest not in allowed:
                    problem = (
                        f"runs as {image_id}, which the lock does not have ({where}); delete the pod and deploy again"
                    )
                entries.append(Entry(allowed.get(digest, image), where, "always", digest, image_id, problem))
    return entries
