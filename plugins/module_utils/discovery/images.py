# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find the images that rendered Kubernetes documents need, each with the reason for it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Any

from ansible_collections.airgap.speech.plugins.module_utils.discovery.documents import (
    group_of,
    load_documents,
    needed_by,
    open_lists,
)
from ansible_collections.airgap.speech.plugins.module_utils.discovery.findings import (
    ALWAYS,
    TEST,
    Candidate,
    Discovery,
    Found,
    union,
)
from ansible_collections.airgap.speech.plugins.module_utils.discovery.rules import ImageRules
from ansible_collections.airgap.speech.plugins.module_utils.discovery.schema import discover_schema
from ansible_collections.airgap.speech.plugins.module_utils.discovery.text import NO_TAG, upstream
from ansible_collections.airgap.speech.plugins.module_utils.discovery.walk import Walker

__all__ = [
    "ALWAYS",
    "TEST",
    "Candidate",
    "Discovery",
    "Found",
    "ImageRules",
    "discover",
    "find_images",
    "load_documents",
    "needed_by",
    "union",
    "upstream",
]


def find_images(documents: Iterable[dict[str, Any]], registry: str = "") -> list[Found]:
    """Every image that the documents name, once a place, in the order of the documents.

    `registry` is the private registry whose name the values may already carry: it is taken off.
    """
    return discover(documents, registry).found


def discover(
    documents: Iterable[dict[str, Any]],
    registry: str = "",
    platforms: Collection[str] = (),
    rules: ImageRules | None = None,
) -> Discovery:
    """The images that the documents name, and every candidate that is none or could not be decided.

    `platforms` are those of the bundle (`linux/amd64`): an image for other nodes only is not needed. `rules` add what
    operators name in their code.
    """
    opened = [single for document in documents for single in open_lists(document)]
    groups = {group_of(document) for document in opened}
    for document in opened:
        spec = document.get("spec")
        if document.get("kind") == "CustomResourceDefinition" and isinstance(spec, dict):
            groups.add(str(spec.get("group") or ""))
    groups = {group for group in groups if "." in group}
    discovery = Discovery()
    for document in opened:
        if document.get("kind") == "CustomResourceDefinition":
            discovery.extend(discover_schema(document, opened, registry, groups))
        else:
            discovery.extend(Walker(document, registry, groups, platforms).walk())
    if rules is not None:
        discovery = rules.apply(discovery, opened, registry)
    return _settled(discovery).tidy()


def _settled(discovery: Discovery) -> Discovery:
    """A bare word that is the last part of an image that is needed anyway names that one."""
    needed = {item.reference.partition("@")[0].rpartition("/")[2].partition(":")[0]: item for item in discovery.found}
    undecided: list[Candidate] = []
    for candidate in discovery.undecided:
        known = needed.get(candidate.text)
        if known is None or candidate.why != NO_TAG:
            undecided.append(candidate)
        else:
            why = f"is a part of the name of {known.reference}, which {known.kind} {known.name} names"
            discovery.excluded.append(replace(candidate, why=why))
    discovery.undecided = undecided
    return discovery
