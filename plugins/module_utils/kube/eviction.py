# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom the scheduler would evict so that pods of higher priority find a place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, FrozenSet, Iterator, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.airgap.speech.plugins.module_utils.kube import scores
from ansible_collections.airgap.speech.plugins.module_utils.kube.cluster import Cluster, View
from ansible_collections.airgap.speech.plugins.module_utils.kube.podspec import Existing
from ansible_collections.airgap.speech.plugins.module_utils.kube.terms import Selector, label_selector


@dataclass(frozen=True)
class Victim:
    """A pod that is evicted, and the workload for which it is."""

    pod: str
    node: str
    priority: int
    workload: str


@dataclass(frozen=True)
class Budget:
    """How many more pods that a selector matches may be evicted."""

    namespace: str
    selector: Selector
    allowed: int
    # Pods that are on their way out already.
    disrupted: FrozenSet[str] = frozenset()


def read_budget(document: Mapping[str, Any]) -> Budget:
    """Read a PodDisruptionBudget; what it allows is its status."""
    metadata, status = document.get("metadata") or {}, document.get("status") or {}
    thing = f"PodDisruptionBudget {metadata.get('namespace', '')}/{metadata.get('name', '')}"
    return Budget(
        namespace=str(metadata.get("namespace") or "default"),
        selector=label_selector((document.get("spec") or {}).get("selector"), thing, "spec.selector"),
        allowed=int(status.get("disruptionsAllowed") or 0),
        disrupted=frozenset(str(name) for name in status.get("disruptedPods") or {}),
    )


@dataclass
class _Tenant:
    """A running pod that may be evicted, and the budgets that it counts in."""

    name: str
    class_id: int
    priority: int
    budgets: Tuple[int, ...]


# The smallest difference first: budgets that are broken, the highest priority, the sum of priorities, the number.
Rank = Tuple[int, int, int, int]


class Evictor:
    """Runs pods of a queue onto nodes, and evicts pods of lower priority where no node has room.

    ``tenants`` are pairs of a running pod as it is, and as it stands in the cluster.
    """

    def __init__(
        self, cluster: Cluster, tenants: Sequence[Tuple[Existing, Existing]], budgets: Sequence[Budget] = ()
    ) -> None:
        self._cluster = cluster
        self._budgets = list(budgets)
        self.victims: List[Victim] = []
        self._tenants: Dict[int, List[_Tenant]] = {}
        for whole, item in tenants:
            index = cluster.by_name.get(item.node)
            if index is not None and not item.terminating:
                name = f"{item.pod.namespace}/{item.name}"
                counted = tuple(self._counted(whole)) if budgets else ()
                tenant = _Tenant(name, cluster.intern(item.pod), item.pod.priority, counted)
                self._tenants.setdefault(index, []).append(tenant)

    def _counted(self, item: Existing) -> Iterator[int]:
        labels = item.pod.label_map
        for number, budget in enumerate(self._budgets):
            if (
                labels
                and budget.namespace == item.pod.namespace
                and not budget.selector.empty
                and budget.selector.matches(labels)
                and item.name not in budget.disrupted
            ):
                yield number

    def place(self, class_id: int, workload: str) -> Optional[int]:
        """The node that a pod goes to; None where no eviction helps it."""
        cluster = self._cluster
        view = cluster.view(class_id)
        feasible = cluster.feasible(view)
        if feasible:
            index = scores.best(cluster, view, feasible)[0]
        else:
            pod = cluster.pod(class_id)
            found = self._best(view, pod.priority) if pod.preempts else None
            if found is None:
                return None
            index, victims = found
            for tenant in victims:
                cluster.remove(tenant.class_id, index)
                self._tenants[index].remove(tenant)
                self.victims.append(Victim(tenant.name, cluster.nodes[index].name, tenant.priority, workload))
        cluster.place(class_id, index)
        return index

    def _best(self, view: View, priority: int) -> Optional[Tuple[int, List[_Tenant]]]:
        """The node whose victims matter least, as the scheduler ranks them."""
        best: Optional[Tuple[Rank, int, List[_Tenant]]] = None
        for index in view.open:
            victims, broken = self._victims(view, index, priority)
            if victims:
                # The sum counts from the least priority that there is, so that more pods are worse whatever theirs are.
                priorities = [tenant.priority for tenant in victims]
                rank = (broken, max(priorities), sum(item + 2**31 for item in priorities), len(victims))
                if best is None or rank < best[0]:
                    best = (rank, index, victims)
        return None if best is None else (best[1], best[2])

    def _victims(self, view: View, index: int, priority: int) -> Tuple[List[_Tenant], int]:
        """Those that must go from a node so that the pod fits there (none where it would not), and broken budgets."""
        cluster = self._cluster
        lower = [tenant for tenant in self._tenants.get(index, ()) if tenant.priority < priority]
        if not lower:
            return [], 0
        for tenant in lower:
            cluster.remove(tenant.class_id, index)
        victims: List[_Tenant] = []
        broken = 0
        hopeless = bool(cluster.obstacle(view, index))
        # Those whose budget is used up first, and of these the most important: each that can stay, stays.
        guarded, others = self._divide(sorted(lower, key=lambda item: -item.priority))
        for group, guards in ((guarded, 1), (others, 0)):
            for tenant in group:
                undo = cluster.place(tenant.class_id, index)
                if not hopeless and cluster.obstacle(view, index):
                    cluster.remove(tenant.class_id, index, undo)
                    victims.append(tenant)
                    broken += guards
        for tenant in victims:
            cluster.place(tenant.class_id, index)
        return victims, broken

    def _divide(self, tenants: Sequence[_Tenant]) -> Tuple[List[_Tenant], List[_Tenant]]:
        """Those whose eviction would break a budget, were all of them evicted in this order; and the others."""
        left = [budget.allowed for budget in self._budgets]
        guarded: List[_Tenant] = []
        others: List[_Tenant] = []
        for tenant in tenants:
            for number in tenant.budgets:
                left[number] -= 1
            (guarded if any(left[number] < 0 for number in tenant.budgets) else others).append(tenant)
        return guarded, others
