# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom the scheduler would evict so that pods of higher priority find a place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, List, Optional, Sequence, Tuple

from ansible_collections.airgap.speech.plugins.module_utils.kube import scores
from ansible_collections.airgap.speech.plugins.module_utils.kube.cluster import Cluster, View
from ansible_collections.airgap.speech.plugins.module_utils.kube.podspec import Existing


@dataclass(frozen=True)
class Victim:
    """A pod that is evicted, and the workload for which it is."""

    pod: str
    node: str
    priority: int
    workload: str


@dataclass
class _Tenant:
    """A running pod that may be evicted."""

    name: str
    class_id: int
    priority: int


class Evictor:
    """Runs pods of a queue onto nodes, and evicts pods of lower priority where no node has room."""

    def __init__(self, cluster: Cluster, tenants: Sequence[Existing]) -> None:
        self._cluster = cluster
        self.victims: List[Victim] = []
        self._tenants: Dict[int, List[_Tenant]] = {}
        for item in tenants:
            index = cluster.by_name.get(item.node)
            if index is not None and not item.terminating:
                name = f"{item.pod.namespace}/{item.name}"
                tenant = _Tenant(name, cluster.intern(item.pod), item.pod.priority)
                self._tenants.setdefault(index, []).append(tenant)

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
        best: Optional[Tuple[Tuple[int, int, int], int, List[_Tenant]]] = None
        for index in view.open:
            victims = self._victims(view, index, priority)
            if victims:
                # The smallest highest priority, then the smallest sum, then the fewest. The sum counts from the least
                # priority that there is, so that more pods are worse whatever their priorities are.
                rank = (
                    max(tenant.priority for tenant in victims),
                    sum(tenant.priority + 2**31 for tenant in victims),
                    len(victims),
                )
                if best is None or rank < best[0]:
                    best = (rank, index, victims)
        return None if best is None else (best[1], best[2])

    def _victims(self, view: View, index: int, priority: int) -> List[_Tenant]:
        """Those that must go from a node so that the pod fits there; none where it would not fit without them all."""
        cluster = self._cluster
        lower = [tenant for tenant in self._tenants.get(index, ()) if tenant.priority < priority]
        if not lower:
            return []
        for tenant in lower:
            cluster.remove(tenant.class_id, index)
        victims: List[_Tenant] = []
        hopeless = bool(cluster.obstacle(view, index))
        # The most important first: each that can stay, stays.
        for tenant in sorted(lower, key=lambda item: -item.priority):
            undo = cluster.place(tenant.class_id, index)
            if not hopeless and cluster.obstacle(view, index):
                cluster.remove(tenant.class_id, index, undo)
                victims.append(tenant)
        for tenant in victims:
            cluster.place(tenant.class_id, index)
        return victims
