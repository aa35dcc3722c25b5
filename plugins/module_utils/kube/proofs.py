# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is certain in every order, found by counting and without following any."""

from __future__ import annotations

from typing import Dict, List, Optional, Sequence, Tuple

from ansible_collections.airgap.speech.plugins.module_utils.kube.cluster import Cluster, View
from ansible_collections.airgap.speech.plugins.module_utils.kube.counters import Counter
from ansible_collections.airgap.speech.plugins.module_utils.kube.podspec import EVERY_ADDRESS, Pod

# A class of pods, and how many of it come one after the other.
Total = Tuple[int, int]

# Nodes times batches that are looked at: a second at most.
_BUDGET = 300_000


def always_fits(cluster: Cluster, totals: Sequence[Total]) -> bool:
    """Whether each pod of the queue finds a node, wherever those before it went.

    A node takes no pod of a class once something of it is used up: a resource, a place for a pod, a port. The pods
    before can use up a share of a node each, no more than their greatest request is of what the nodes have left. Where
    all of them together cannot use up every node, one is free.
    """
    if len(cluster.nodes) * len(totals) > _BUDGET:
        return False
    before: Dict[int, int] = {}
    for class_id, count in totals:
        # The last of the pods has the hardest time.
        before[class_id] = before.get(class_id, 0) + count - 1
        if not _always(cluster, cluster.view(class_id), before):
            return False
        before[class_id] += 1
    return True


def _always(cluster: Cluster, view: View, before: Dict[int, int]) -> bool:
    if view.near or view.claims:
        return False
    pod = cluster.pod(view.class_id)
    domains: Optional[Counter] = None
    steady: List[Tuple[Counter, int]] = []
    for counter, skew, own, short in view.spreads:
        if len(counter.counts) == len(cluster.nodes):
            # Pods on one node, beside those that are there, until it takes no more.
            places = skew + 1 - own - max(counter.counts)
            if places < 1:
                return False
            steady.append((counter, places))
        elif short or domains is not None:
            return False
        else:
            domains = counter
    blockers = _blockers(cluster, view, pod, before)
    if blockers is None:
        return False
    nodes: Dict[int, List[int]] = {}
    for index in view.open:
        if any(entry[0].lookup[index] < 0 for entry in view.spreads):
            continue
        if cluster.obstacle(view, index) and (domains is None or not _only_now(cluster, view, index)):
            continue
        nodes.setdefault(domains.lookup[index] if domains is not None else 0, []).append(index)
    if domains is not None and set(nodes) < set(range(len(domains.counts))):
        return False
    return bool(nodes) and all(_enough(cluster, pod, part, before, blockers, steady) for part in nodes.values())


def _only_now(cluster: Cluster, view: View, index: int) -> bool:
    """Whether a node is shut for nothing but the spread over domains, as it stands now."""
    spreads, view.spreads = view.spreads, []
    try:
        return not cluster.obstacle(view, index)
    finally:
        view.spreads = spreads


def _blockers(cluster: Cluster, view: View, pod: Pod, before: Dict[int, int]) -> Optional[Dict[int, int]]:
    """The classes before of which one pod shuts a node; None where one could shut more than its own node."""
    result: Dict[int, int] = {}
    for class_id, count in before.items():
        if not count:
            continue
        other = cluster.pod(class_id)
        if _ports_clash(pod, other):
            result[class_id] = 1
        for counter in view.away + view.repelled:
            if any(entry[0] is counter for entry in cluster.classes[class_id].counted):
                if len(counter.counts) < len(cluster.nodes):
                    return None
                result[class_id] = 1
    return result


def _ports_clash(pod: Pod, other: Pod) -> bool:
    return any(
        one[2] == two[2] and one[0] == two[0] and (one[1] == two[1] or EVERY_ADDRESS in (one[1], two[1]))
        for one in pod.host_ports
        for two in other.host_ports
    )


def _enough(
    cluster: Cluster,
    pod: Pod,
    nodes: Sequence[int],
    before: Dict[int, int],
    blockers: Dict[int, int],
    steady: Sequence[Tuple[Counter, int]],
) -> bool:
    """Whether the pods before cannot use up all of these nodes."""
    # What has to be used of a resource on each node before it takes no more of this class.
    names = [name for name, amount in pod.requests if amount]
    left: List[List[int]] = [
        [cluster.free[name][index] - amount + 1 for index in nodes] for name, amount in pod.requests if amount
    ]
    left.append([cluster.slots[index] for index in nodes])
    weights = [len(nodes) / sum(column) for column in left]
    # What it costs to shut each node, by whatever of it is the cheapest to use up.
    costs = [min([weight * column[i] for weight, column in zip(weights, left)]) for i in range(len(nodes))]
    dearest = max(costs)
    used = 0.0
    for class_id, count in before.items():
        if not count:
            continue
        asked = cluster.pod(class_id).request_map
        share = max([weights[-1]] + [weight * asked.get(name, 0) for weight, name in zip(weights, names)])
        if class_id in blockers:
            share = max(share, dearest)
        for counter, places in steady:
            if any(entry[0] is counter for entry in cluster.classes[class_id].counted):
                share = max(share, dearest / places)
        used += count * share
    return used < sum(costs) * (1 - 1e-9)


def never_fits(cluster: Cluster, totals: Sequence[Total]) -> bool:
    """Whether some class asks for more than all nodes that could take it have left, or all classes together."""
    counts: Dict[int, int] = {}
    for class_id, count in totals:
        counts[class_id] = counts.get(class_id, 0) + count
    asked: Dict[str, int] = {}
    nodes = set()
    for class_id, count in counts.items():
        view = cluster.view(class_id)
        nodes.update(view.open)
        room = 0
        for index in view.open:
            room += max(0, min([cluster.slots[index], *(column[index] // amount for column, amount in view.needs)]))
            if room >= count:
                break
        if room < count:
            return True
        for name, amount in cluster.pod(class_id).requests:
            asked[name] = asked.get(name, 0) + amount * count
    if sum(max(0, cluster.slots[index]) for index in nodes) < sum(counts.values()):
        return True
    return any(
        sum(max(0, cluster.free[name][index]) for index in nodes) < amount for name, amount in asked.items() if amount
    )
