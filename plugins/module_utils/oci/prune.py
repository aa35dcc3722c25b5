# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Take out of a registry what only earlier bundles wanted: planned first, and nothing that anybody else put there."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field

from ansible_collections.airgap.speech.plugins.module_utils.oci.plan import PushItem
from ansible_collections.airgap.speech.plugins.module_utils.oci.progress import each
from ansible_collections.airgap.speech.plugins.module_utils.oci.registry import Registry


@dataclass(frozen=True)
class Doomed:
    """A manifest that is deleted, with what it is known by."""

    repo: str
    digest: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class Spared:
    """A manifest that an earlier bundle put there and that stays, and why."""

    repo: str
    digest: str
    why: str


@dataclass
class PrunePlan:
    """What would be deleted. Blobs are freed by the registry's own garbage collection, after that."""

    doomed: list[Doomed] = field(default_factory=list)
    spared: list[Spared] = field(default_factory=list)

    @property
    def changed(self) -> bool:
        """Whether anything is deleted."""
        return bool(self.doomed)


def plan_prune(registry: Registry, gone: Iterable[PushItem], kept: Iterable[PushItem], threads: int = 2) -> PrunePlan:
    """What of I(gone) (all that earlier bundles put there) is there still, and wanted by none of I(kept).

    A manifest stays where a kept one needs it, or where a tag that no bundle set stands for it: then it is somebody
    else's as well.
    """
    stay: dict[str, set[str]] = {}
    stay_names: set[tuple[str, str]] = set()
    for item in kept:
        stay.setdefault(item.repo, set()).add(item.digest)
        stay_names.add((item.repo, item.ref))
    known: dict[tuple[str, str], set[str]] = {}
    ours: dict[str, set[str]] = {}
    for item in gone:
        ours.setdefault(item.repo, set()).add(item.ref)
        if item.digest not in stay.get(item.repo, ()):
            known.setdefault((item.repo, item.digest), set()).add(item.ref)
    plan = PrunePlan()
    candidates = sorted(known)
    there = each(threads, lambda pair: registry.head_manifest(*pair), candidates)
    present = [pair for pair, found in zip(candidates, there) if found is not None]
    repos = sorted({repo for repo, _digest in present})
    foreign = dict(zip(repos, each(threads, lambda repo: _foreign_tags(registry, repo, ours[repo]), repos)))
    needed = dict(zip(repos, each(threads, lambda repo: _needed(registry, repo, stay.get(repo, set())), repos)))
    doomed: dict[tuple[str, str], set[str]] = {}
    for repo, digest in present:
        tags = sorted(tag for tag, held in foreign[repo].items() if held == digest)
        if tags:
            plan.spared.append(Spared(repo, digest, f"the tag {', '.join(tags)}, which no bundle set, stands for it"))
        elif digest in needed[repo]:
            plan.spared.append(Spared(repo, digest, "an index that stays needs it"))
        else:
            doomed[(repo, digest)] = known[(repo, digest)]
    _add_dependents(registry, doomed, foreign, needed, stay)
    # An index goes before what it points to: a registry may refuse the other order.
    plan.doomed = [
        Doomed(repo, digest, tuple(sorted(names)))
        for (repo, digest), names in sorted(doomed.items(), key=lambda one: (one[0][0], not one[1], one[0][1]))
    ]
    return plan


def _add_dependents(
    registry: Registry,
    doomed: dict[tuple[str, str], set[str]],
    foreign: dict[str, dict[str, str]],
    needed: dict[str, set[str]],
    stay: dict[str, set[str]],
) -> None:
    """The platforms of an index that goes, and the list of referrers of a manifest that goes."""
    for repo, digest in sorted(doomed):
        for child in sorted(_children(registry, repo, digest)):
            wanted = child in needed[repo] or child in stay.get(repo, ()) or child in foreign[repo].values()
            if not wanted and (repo, child) not in doomed and registry.head_manifest(repo, child) is not None:
                doomed[(repo, child)] = set()
        tag = digest.replace(":", "-")
        listed = registry.head_manifest(repo, tag)
        if listed is not None:
            doomed.setdefault((repo, listed.digest), set()).add(tag)


def _foreign_tags(registry: Registry, repo: str, ours: set[str]) -> dict[str, str]:
    """The tags of a repository that no bundle set, and what they stand for."""
    found: dict[str, str] = {}
    for tag in registry.tags(repo):
        if tag in ours or tag.startswith("sha256-"):
            continue
        there = registry.head_manifest(repo, tag)
        if there is not None:
            found[tag] = there.digest
    return found


def _needed(registry: Registry, repo: str, stay: set[str]) -> set[str]:
    """What the indexes that stay in a repository point to."""
    found: set[str] = set()
    for digest in sorted(stay):
        there = registry.head_manifest(repo, digest)
        if there is not None and there.is_index:
            found |= _children(registry, repo, digest)
    return found


def _children(registry: Registry, repo: str, digest: str) -> set[str]:
    data, _media_type, _digest = registry.get_manifest(repo, digest)
    document = json.loads(data)
    return {str(raw["digest"]) for raw in document.get("manifests") or () if isinstance(raw, dict) and "digest" in raw}


def prune(plan: PrunePlan, registry: Registry) -> int:
    """Delete what the plan names; how many manifests went."""
    return sum(1 for one in plan.doomed if registry.delete_manifest(one.repo, one.digest))
