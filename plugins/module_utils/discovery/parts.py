# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""References that stand in several fields: repository + image + version, repository + tag, X_IMAGE + X_TAG."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.airgap.speech.plugins.module_utils.discovery.findings import EXCLUDED, NEEDED, UNDECIDED
from ansible_collections.airgap.speech.plugins.module_utils.discovery.text import (
    FULL,
    NO_TAG,
    says_image,
    words_of,
)

REGISTRY_KEYS = ("registry", "imageRegistry", "hub")
REPOSITORY_KEYS = ("repository", "imageRepository", "imageRepo", "repo")
IMAGE_KEYS = ("image", "imageName")
TAG_KEYS = ("version", "tag", "imageTag", "imageVersion", "defaultImageVersion")
DIGEST_KEYS = ("digest", "sha", "sha256", "imageDigest", "hash")
# In a node that is itself called image: these hold the repository, too.
INNER_KEYS = ("name", "path", "repository", "image")
# Beside a repository, these say that it is one of git or of Helm charts.
OTHER_SOURCES = ("chart", "branch", "revision", "targetRevision", "ref", "commit", "git", "gitRef")
SOURCE_PARENTS = ("chart", "git", "helm", "gitRepository", "helmChart")

_SHA = re.compile(r"(?:sha256:)?[0-9a-f]{64}")
_REPOSITORY = re.compile(r"[a-z0-9._:-]+(?:/[a-z0-9._-]+)*/?")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}|sha256:[0-9a-f]{64}")
_IMAGE_WORDS = ("image", "repository", "repo", "name")
_TAG_WORDS = ("tag", "version", "digest")


@dataclass(frozen=True)
class Joined:
    """A reference from several fields: `status` as a verdict has it, and the keys that were used."""

    status: str
    text: str
    keys: tuple[str, ...]
    why: str = ""


def text_of(value: Any) -> str:
    """A scalar as text; nothing for true, false, null and what is no scalar."""
    if isinstance(value, bool) or value is None:
        return ""
    return str(value).strip() if isinstance(value, (str, int, float)) else ""


def join(node: Mapping[str, Any], parent: str) -> Joined | None:
    """The reference that the fields of a node make together, or nothing where they are no parts of one.

    `parent` is the key under which the node stands.
    """
    artifact = _artifact(node)
    if artifact is not None:
        return artifact
    inside = says_image(parent) if parent else False
    registry = _first(node, REGISTRY_KEYS)
    repository = _first(node, REPOSITORY_KEYS)
    image = _first(node, IMAGE_KEYS)
    tag = _first(node, TAG_KEYS)
    digest = _first(node, DIGEST_KEYS)
    if digest and not _SHA.fullmatch(digest[1]):
        digest = None
    if not repository and not image:
        name = _first(node, ("name", "path"))
        if name is None or not (inside or (FULL.fullmatch(name[1]) and tag)):
            return None
        image = name
    source = any(key in node for key in OTHER_SOURCES) or parent in SOURCE_PARENTS
    if repository and source and not image:
        where = repository[1]
        return Joined(EXCLUDED, where, (repository[0],), "is a repository of charts or of git") if tag else None
    parts = [part for part in (registry, repository, image) if part]
    keys = tuple(part[0] for part in parts + [part for part in (tag, digest) if part])
    if any("://" in part[1] for part in parts):
        return Joined(EXCLUDED, parts[0][1], keys, "is a URL") if len(keys) > 1 else None
    whole = image[1] if image else ""
    if whole and _has_version(whole):
        # A reference of its own; what stands beside it says something else (spec.version of a Prometheus).
        return None
    if not repository and not registry and image and not (tag or digest):
        return None
    if image and FULL.fullmatch(whole) and (repository or registry):
        # image is whole but for its tag: what a default repository says beside it does not count.
        parts = [image]
    base = "/".join(part[1].strip("/") for part in parts)
    if not _REPOSITORY.fullmatch(base) or (tag and not _TAG.fullmatch(tag[1])):
        joined = base + (":" + tag[1] if tag else "")
        run_time = any(mark in joined for mark in ("{{", "${", "$("))
        return Joined(UNDECIDED, joined, keys, "is put together at run time") if run_time else None
    if _has_version(base):
        return Joined(NEEDED, base, keys) if inside or image else None
    if not tag and not digest:
        if not (repository and image) and not inside and not (registry and (repository or image)):
            return None
        return Joined(UNDECIDED, base, keys, NO_TAG)
    if "/" not in base and not inside and not image:
        return Joined(UNDECIDED, f"{base}:{(tag or digest or ('', ''))[1]}", keys, "is a bare word with a version")
    return Joined(NEEDED, _with(base, tag[1] if tag else "", digest[1] if digest else ""), keys)


def _artifact(node: Mapping[str, Any]) -> Joined | None:
    """What a controller pulls out of a registry: url with ref.tag or ref.digest, chart with version."""
    for key in ("url", "chart", "repoURL"):
        value = text_of(node.get(key))
        base = value[len("oci://") :].rstrip("/")
        if not value.startswith("oci://") or not FULL.fullmatch(base) or _has_version(base):
            continue
        ref = node.get("ref")
        inner = _first(ref, ("digest", "tag", "semver")) if isinstance(ref, Mapping) else None
        version = (f"ref.{inner[0]}", inner[1]) if inner else _first(node, ("version", "targetRevision"))
        if version is None:
            return None
        if not _TAG.fullmatch(version[1]) or re.search(r"(?:^|[.])[x*](?:$|[.])", version[1]):
            return Joined(UNDECIDED, f"{base}:{version[1]}", (key, version[0]), "is a range of versions")
        return Joined(NEEDED, _with(base, version[1], ""), (key, version[0]))
    return None


def join_named(values: Mapping[str, str]) -> dict[str, Joined]:
    """References of flags or variables that belong together: X_IMAGE or X_REPOSITORY with X_TAG or X_VERSION.

    Returns the name of the first part to the reference.
    """
    found: dict[str, Joined] = {}
    tags: dict[tuple[str, ...], str] = {}
    for name in values:
        words = words_of(name)
        if words and words[-1] in _TAG_WORDS:
            tags.setdefault(tuple(word for word in words[:-1] if word not in _IMAGE_WORDS), name)
    for name, value in values.items():
        words = words_of(name)
        if not words or words[-1] not in _IMAGE_WORDS or not ({"image", "repository", "repo"} & set(words)):
            continue
        other = tags.get(tuple(word for word in words if word not in _IMAGE_WORDS))
        if other is None or other == name or _has_version(value) or "://" in value:
            continue
        tag = values[other].strip()
        if _REPOSITORY.fullmatch(value.strip()) and _TAG.fullmatch(tag):
            digest = tag if _SHA.fullmatch(tag) else ""
            found[name] = Joined(NEEDED, _with(value.strip().strip("/"), "" if digest else tag, digest), (name, other))
    return found


def parts_above(node: Mapping[str, Any]) -> tuple[str, str] | None:
    """The registry and the tag that a node sets for the images below it, or nothing where it does not set both."""
    registry = _first(node, ("hub", "registry", "imageRegistry"))
    tag = _first(node, ("tag", "imageTag", "version"))
    if registry is None or tag is None or _first(node, REPOSITORY_KEYS + IMAGE_KEYS) is not None:
        return None
    joined = f"{registry[1]}/x:{tag[1]}"
    return (registry[1].rstrip("/"), tag[1]) if FULL.fullmatch(joined) else None


def _first(node: Mapping[str, Any], keys: tuple[str, ...]) -> tuple[str, str] | None:
    for key in keys:
        value = text_of(node.get(key))
        if value:
            return key, value
    return None


def _has_version(text: str) -> bool:
    return "@sha256:" in text or ":" in text.rpartition("/")[2]


def _with(base: str, tag: str, digest: str) -> str:
    if tag.startswith("sha256:"):
        tag, digest = "", tag
    if digest and not digest.startswith("sha256:"):
        digest = "sha256:" + digest
    return base + (":" + tag if tag else "") + ("@" + digest if digest else "")
