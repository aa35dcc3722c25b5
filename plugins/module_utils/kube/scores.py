# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The scores of the default scheduler's profile, with its rounding, so that ties are its ties."""

from __future__ import annotations

import math
from typing import Dict, List, Sequence

from ansible_collections.airgap.speech.plugins.module_utils.kube.cluster import Cluster, View
from ansible_collections.airgap.speech.plugins.module_utils.kube.nodes import HOSTNAME

_MAX = 100
_TAINTS, _NODES, _SPREAD, _PODS = 3, 2, 2, 2


def best(cluster: Cluster, view: View, feasible: Sequence[int]) -> List[int]:
    """The nodes with the highest score among those that can take the pod."""
    if len(feasible) < 2:
        return list(feasible)
    totals = scores(cluster, view, feasible)
    highest = max(totals)
    return [index for index, total in zip(feasible, totals) if total == highest]


def scores(cluster: Cluster, view: View, feasible: Sequence[int]) -> List[int]:
    """The sum of the default plugins' weighted scores for each node that can take the pod."""
    totals = [resource_score(cluster, view, index) for index in feasible]
    if view.images:
        totals = [total + view.images[index] for total, index in zip(totals, feasible)]
    if view.soft_taints:
        counts = [view.soft_taints[index] for index in feasible]
        totals = [total + _TAINTS * score for total, score in zip(totals, _scaled(counts, reverse=True))]
    if view.preferred:
        weights = [view.preferred[index] for index in feasible]
        totals = [total + _NODES * score for total, score in zip(totals, _scaled(weights))]
    if view.soft:
        totals = [total + _SPREAD * score for total, score in zip(totals, _spread(cluster, view, feasible))]
    if view.weighted:
        totals = [total + _PODS * score for total, score in zip(totals, _pod_affinity(view, feasible))]
    return totals


def _scaled(values: List[int], reverse: bool = False) -> List[int]:
    highest = max(values, default=0)
    if not highest:
        return [_MAX] * len(values) if reverse else values
    scaled = [_MAX * value // highest for value in values]
    return [_MAX - value for value in scaled] if reverse else scaled


def resource_score(cluster: Cluster, view: View, index: int) -> int:
    """LeastAllocated and BalancedAllocation of one node."""
    key = (
        cluster.sizes[index],
        cluster.scored_cpu[index],
        cluster.scored_memory[index],
        cluster.cpu[index],
        cluster.memory[index],
    )
    score = view.resource_scores.get(key)
    if score is None:
        score = view.resource_scores[key] = _least_allocated(cluster, view, index) + _balanced(cluster, view, index)
    return score


def _least_allocated(cluster: Cluster, view: View, index: int) -> int:
    allocatable = cluster.nodes[index].allocatable
    scored = cluster.pod(view.class_id).scored
    total = weights = 0
    for name, used, asked in (
        ("cpu", cluster.scored_cpu[index], scored[0]),
        ("memory", cluster.scored_memory[index], scored[1]),
    ):
        capacity = allocatable.get(name, 0)
        if not capacity:
            continue
        weights += 1
        free = capacity - used - asked
        total += free * _MAX // capacity if free >= 0 else 0
    return total // weights if weights else 0


def _balanced(cluster: Cluster, view: View, index: int) -> int:
    asked = cluster.pod(view.class_id).request_map
    version = cluster.version
    if version.balance_skips_idle and not asked.get("cpu") and not asked.get("memory"):
        return 0
    allocatable = cluster.nodes[index].allocatable

    def balance(more: int) -> int:
        shares = []
        for name, free in (("cpu", cluster.cpu[index]), ("memory", cluster.memory[index])):
            capacity = allocatable.get(name, 0)
            if capacity:
                shares.append(min(1.0, (capacity - free + more * asked.get(name, 0)) / capacity))
        deviation = abs((shares[0] - shares[1]) / 2) if len(shares) == 2 else 0.0
        return int((1 - deviation) * float(_MAX))

    if not version.balance_by_change:
        return balance(1)
    half = _MAX // 2
    return half + int((half + balance(1) - balance(0)) / 2)


def _spread(cluster: Cluster, view: View, feasible: Sequence[int]) -> List[int]:
    counters = view.soft
    ignored = set()
    if view.soft_strict:
        ignored = {
            index
            for index in feasible
            if any(
                counter.lookup[index] == -1 or (constraint.topology_key == HOSTNAME and index in cluster.nameless)
                for constraint, counter in counters
            )
        }
    scored = [index for index in feasible if index not in ignored]
    raw: Dict[int, float] = dict.fromkeys(feasible, 0.0)
    for constraint, counter in counters:
        lookup, counts = counter.lookup, counter.counts
        if constraint.topology_key == HOSTNAME:
            size = len(scored)
        else:
            size = len({lookup[index] for index in scored})
        weight = math.log(size + 2)
        extra = float(constraint.max_skew - 1)
        named = constraint.topology_key == HOSTNAME
        for index in scored:
            domain = lookup[index]
            if domain == -1 or (named and index in cluster.nameless):
                continue
            raw[index] += (counts[domain] if domain >= 0 else 0) * weight + extra
    rounded = {index: math.floor(score + 0.5) for index, score in raw.items()}
    kept = [rounded[index] for index in scored]
    highest, lowest = max(kept, default=0), min(kept, default=0)
    result = []
    for index in feasible:
        if index in ignored:
            result.append(0)
        elif not highest:
            result.append(_MAX)
        else:
            result.append(_MAX * (highest + lowest - rounded[index]) // highest)
    return result


def _pod_affinity(view: View, feasible: Sequence[int]) -> List[int]:
    counters = [(counter, weight) for counter, weight in view.weighted if counter.total]
    if not counters:
        return [0] * len(feasible)
    raw = []
    for index in feasible:
        total = 0
        for counter, weight in counters:
            domain = counter.column[index]
            if domain >= 0:
                total += weight * counter.counts[domain]
        raw.append(total)
    lowest, span = min(raw), max(raw) - min(raw)
    return [int(_MAX * ((score - lowest) / span)) if span else 0 for score in raw]
