# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The images that a rendered GPU operator needs on the nodes of a site, and whether each is at the private registry."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.airgap.speech.plugins.module_utils.discovery.images import discover, upstream
from ansible_collections.airgap.speech.plugins.module_utils.discovery.rules import ImageRules, merged
from ansible_collections.airgap.speech.plugins.module_utils.gpu.systems import System


@dataclass
class Images:
    """What the nodes need, by upstream reference, with a place each; and what is wrong with it."""

    needed: dict[str, str] = field(default_factory=dict)
    # The same as the documents name them, at the private registry.
    references: list[str] = field(default_factory=list)
    # Places that still name an image outside, such as "nvcr.io/nvidia/driver:1 (ClusterPolicy x spec.driver)".
    outside: list[str] = field(default_factory=list)
    undecided: list[str] = field(default_factory=list)


def needed_images(
    documents: Sequence[dict[str, Any]],
    systems: Iterable[System],
    rules: Mapping[str, str],
    registry: str = "",
    platforms: Sequence[str] = (),
) -> Images:
    """The images of rendered documents on these systems. `rules` are files of image rules, name to text.

    Systems and kernels go in pairs: a precompiled driver is wanted for those that there are, not for each with each.
    Raises RulesInvalid.
    """
    variables = variables_of(systems)
    loaded = merged(ImageRules.load(text, name, variables) for name, text in sorted(rules.items()))
    found = discover(list(documents), "", platforms, loaded)
    images = Images()
    for item in sorted(found.found, key=lambda item: item.reference):
        if not item.required:
            continue
        place = f"{item.kind} {item.name} {item.path}"
        images.needed.setdefault(upstream(item.reference, registry), place)
        if item.reference not in images.references:
            images.references.append(item.reference)
        if registry and not item.reference.startswith(registry + "/"):
            images.outside.append(f"{item.reference} ({place})")
    images.undecided = sorted(
        {f"{item.text} {item.why} ({item.kind} {item.name} {item.path})" for item in found.undecided}
    )
    return images


def variables_of(systems: Iterable[System]) -> dict[str, list[str]]:
    """What the rules of image names call `node_os` and `node_kernel_os` (kernel and system in pairs)."""
    given = list(systems)
    return {
        "node_os": sorted({system.tag for system in given}),
        "node_kernel_os": sorted({f"{system.kernel}-{system.tag}" for system in given if system.kernel}),
    }
