# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random cases near the edge: the same seed and number give the same case."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from dataclasses import dataclass

from tests.oracle.draft import Document, Draft, mebibytes, milli_cpu, new_draft, workload
from tests.oracle.features import FEATURES, SINCE

# fits(case): whether ours says that all pods of a case are placed.
Fits = Callable[[Document], bool]
_ATTEMPTS = 8
# What can be asked of a second workload too, without other objects of the same name.
_OF_ANY_POD = [
    "init_containers",
    "sidecars",
    "ephemeral_storage",
    "gpu",
    "node_selector",
    "node_affinity_in",
    "node_affinity_not_in",
    "preferred_node_affinity",
    "taint_no_schedule",
    "taint_prefer_no_schedule",
    "pod_affinity",
    "pod_anti_affinity",
    "preferred_pod_affinity",
    "preferred_pod_anti_affinity",
    "namespace_selector",
    "spread_host",
    "spread_zone",
    "spread_min_domains",
    "spread_taints_policy",
    "spread_soft",
    "host_ports",
    "order_of_objects",
]
# Other features seldom go with these, so their turn comes more often.
_TWICE = ("pvc_read_write_once_pod",)
# Other priorities, pods that no scheduler places, and pods that admission refuses say nothing about eviction.
_NOT_WITH_EVICTION = {"priority_class", "node_name", "resource_quota", "limit_range_bounds"}


@dataclass
class Case:
    """A case, and what is in it. `edge` says that one replica more or less changes the verdict."""

    document: Document
    features: list[str]
    edge: bool


def names_of(minor: int) -> list[str]:
    """The features that a minor has."""
    return [name for name in FEATURES if SINCE.get(name, 0) <= minor]


def add_second(draft: Draft) -> None:
    """Another workload with demands of its own on the same nodes; its terms and constraints speak of the main one."""
    rng = draft.rng
    main = draft.kind, draft.labels, draft.pod, draft.claim_templates
    draft.kind, draft.labels, draft.claim_templates = "Deployment", {"app": rng.choice(["second", "friend"])}, []
    draft.pod = draft.other()
    for name in rng.sample(_OF_ANY_POD, rng.randint(1, 3)):
        FEATURES[name](draft)
        draft.features.add(name)
    second = workload("Deployment", draft.name("second"), rng.randint(1, 3), draft.labels, draft.pod)
    draft.kind, draft.labels, draft.pod, draft.claim_templates = main
    rng.choice([draft.before, draft.after]).append(second)


def draft_of(rng: random.Random, minor: int, focus: str) -> Draft:
    draft = new_draft(rng, minor)
    names = names_of(minor)
    chosen = [focus, *rng.sample(names, rng.choice([0, 1, 2, 2, 3, 3]))]
    if rng.random() < 0.3:
        chosen.append("existing_pods")
    volumes = [name for name in chosen if name.startswith("pvc_")]
    for name in names:  # in the order of the table, so that what adds comes after what replaces
        if name in chosen and name not in volumes[1:]:
            FEATURES[name](draft)
            draft.features.add(name)
    draft.features |= {
        name for name in ("cpu", "memory") if name in draft.container.get("resources", {}).get("requests", {})
    }
    return draft


def make(seed: int, number: int, minor: int, fits: Fits) -> Case:
    """One case, about the feature whose turn it is, grown until one pod more would not fit, or that pod with it."""
    rng = random.Random(f"{seed}/{number}")  # noqa: S311 - a case, not a secret
    names = [*names_of(minor), *_TWICE]
    focus = names[number % len(names)]
    wanted = rng.random() < 0.53
    found: list[tuple[bool, bool, Draft, int]] = []
    while len(found) < _ATTEMPTS and not (found and found[-1][0] and found[-1][1]):
        draft = draft_of(rng, minor, focus)
        replicas, placed, edge = grown(draft, wanted, fits)
        found.append((placed == wanted, edge, draft, replicas))
    _as_wanted, edge, draft, replicas = max(found, key=lambda item: item[:2])
    return Case(copy.deepcopy(draft.case(replicas, f"{seed}/{number}")), sorted(draft.features), edge)


def grown(draft: Draft, wanted: bool, fits: Fits) -> tuple[int, bool, bool]:
    """How many replicas: the most that fit, or one more. With it whether they fit, and whether that is at the edge."""
    if not fits(draft.case(1)):
        return 1, False, fits(draft.case(0))
    low, high = 1, draft.most + 1
    if fits(draft.case(draft.most)):
        return draft.most, True, False
    while high - low > 1:
        middle = (low + high) // 2
        if fits(draft.case(middle)):
            low = middle
        else:
            high = middle
    return (low, True, True) if wanted else (high, False, True)


def make_evicting(seed: int, number: int, minor: int) -> Document:
    """A case in which pods of lower, equal and higher priority than the main workload's fill the nodes."""
    rng = random.Random(f"evict/{seed}/{number}")  # noqa: S311 - a case, not a secret
    draft = draft_of(rng, minor, rng.choice([name for name in names_of(minor) if name not in _NOT_WITH_EVICTION]))
    draft.cluster.append(
        {
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": "urgent"},
            "value": 1000,
        }
    )
    draft.pod["priorityClassName"] = "urgent"
    for node in draft.nodes:
        for _ in range(rng.randint(0, 3)):
            spec = draft.other()
            asked = spec["containers"][0]["resources"]["requests"]
            asked["cpu"] = f"{milli_cpu(node) // rng.randint(2, 4)}m"
            asked["memory"] = f"{mebibytes(node) // rng.randint(2, 4)}Mi"
            pod = draft.run_elsewhere(node, spec=spec)
            pod["spec"]["priority"] = rng.choice([0, 0, 10, 1000, 2000])
            pod["status"]["startTime"] = f"2026-01-01T00:00:{rng.randint(0, 59):02d}Z"
    return copy.deepcopy(draft.case(rng.randint(1, 4), f"evict/{seed}/{number}"))
