# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many pods on many nodes: the pods of a workload are placed together, the emptiest node first.

From a hundred nodes on the scheduler looks at a sample of them, so which node it takes is not known. What is exact here
is whether a node takes a pod, and that no node does when one stays pending; which of them it is, is one likely order.
"""

from __future__ import annotations

import random
from heapq import heapify, heappop, heappush
from typing import List, Optional, Sequence, Tuple

from ansible_collections.airgap.speech.plugins.module_utils.kube.cluster import LIFTED_LATER, Cluster, View
from ansible_collections.airgap.speech.plugins.module_utils.kube.nodes import HOSTNAME
from ansible_collections.airgap.speech.plugins.module_utils.kube.orders import Outcomes, Path
from ansible_collections.airgap.speech.plugins.module_utils.kube.volumes import Undo

# Pods placed while orders are tried; so many nodes that are looked at for a batch count as one pod.
_BUDGET = 60_000
_NODES_A_POD = 20
_ORDERS = 12
# Domains of a key with more values than this are looked at node by node.
_FEW_DOMAINS = 64
# How much fuller a node may be and still be taken before one that has a pod of the same workload already.
_SPREAD_PENALTY = 1.0
_SOFT_TAINT_PENALTY = 0.5

Entry = Tuple[float, int]


class _Cell:
    """Nodes that are in the same domains, the emptiest first; those put aside may be free later."""

    __slots__ = ("aside", "heap", "ranks", "sample")

    def __init__(self, sample: int) -> None:
        self.sample = sample
        self.heap: List[Entry] = []
        self.aside: List[Entry] = []
        # Where to look up how many pods the cell's domains hold.
        self.ranks: List[Tuple[List[int], int]] = []


class _Splitter:
    """The domains that all nodes of a cell share, and whether they are shut for the class just now."""

    def __init__(self, view: View) -> None:
        self._spreads = [entry for entry in view.spreads if len(entry[0].counts) <= _FEW_DOMAINS]
        self._soft = [
            counter
            for constraint, counter in view.soft
            if constraint.topology_key != HOSTNAME and len(counter.counts) <= _FEW_DOMAINS
        ]
        self._near = [counter for counter in view.near if len(counter.counts) <= _FEW_DOMAINS]
        self._away = [counter for counter in view.away + view.repelled if len(counter.counts) <= _FEW_DOMAINS]
        self._ranked = [entry[0] for entry in self._spreads] + self._soft
        self.lookups = [counter.lookup for counter in self._ranked + self._near + self._away]
        self.always_open = not (self._spreads or self._near or self._away)

    def rank(self, cell: _Cell) -> None:
        found = [(counter.counts, counter.lookup[cell.sample]) for counter in self._ranked]
        cell.ranks = [(counts, domain) for counts, domain in found if domain >= 0]

    def shut(self, cell: _Cell) -> bool:
        sample = cell.sample
        for counter, skew, own, short in self._spreads:
            domain = counter.lookup[sample]
            count = counter.counts[domain] if domain >= 0 else 0
            if count + own - (0 if short else counter.low) > skew:
                return True
        for counter in self._near:
            domain = counter.column[sample]
            if counter.total and (domain < 0 or not counter.counts[domain]):
                return True
        for counter in self._away:
            domain = counter.column[sample]
            if domain >= 0 and counter.counts[domain]:
                return True
        return False


class Filler:
    """Places pods of one class after the other; ``jitter`` makes it take other nodes, up to that much fuller."""

    def __init__(self, cluster: Cluster, jitter: float = 0.0, seed: int = 0) -> None:
        self._cluster = cluster
        self._jitter = jitter
        self._random = random.Random(seed)  # noqa: S311 - the same orders each time
        self._weights = [
            (
                0.5 / node.allocatable["cpu"] if node.allocatable.get("cpu") else 0.0,
                0.5 / node.allocatable["memory"] if node.allocatable.get("memory") else 0.0,
            )
            for node in cluster.nodes
        ]

        self._loads = [self._load(index) for index in range(len(cluster.nodes))]

    def _load(self, index: int) -> float:
        cpu, memory = self._weights[index]
        return self._cluster.scored_cpu[index] * cpu + self._cluster.scored_memory[index] * memory

    def place(self, class_id: int, count: int, *, plain: bool = False) -> List[Tuple[int, Undo]]:
        """Place up to so many pods of a class: the nodes that they went to. Fewer, when no node takes the next.

        ``plain`` leaves out what makes one node better than another, apart from how full it is.
        """
        cluster, loads = self._cluster, self._loads
        view = cluster.view(class_id)
        splitter = _Splitter(view)
        cells = self._cells(view, splitter, plain)
        penalty = _SPREAD_PENALTY if view.soft or view.spreads or view.away else 0.0
        cpu, memory = cluster.pod(class_id).scored
        placed: List[Tuple[int, Undo]] = []
        while len(placed) < count:
            found = self._next(view, cells, splitter)
            if found is None:
                break
            cell, (key, index) = found
            placed.append((index, cluster.place(class_id, index)))
            weight = self._weights[index]
            more = cpu * weight[0] + memory * weight[1]
            loads[index] += more
            heappush(cell.heap, (key + more + penalty, index))
        return placed

    def remove(self, class_id: int, placed: Sequence[Tuple[int, Undo]]) -> None:
        """Take back what :meth:`place` did last."""
        for index, undo in reversed(placed):
            self._cluster.remove(class_id, index, undo)
        for index, _undo in placed:
            self._loads[index] = self._load(index)

    def _cells(self, view: View, splitter: _Splitter, plain: bool) -> List[_Cell]:
        own = next((counter.counts for constraint, counter in view.soft if constraint.topology_key == HOSTNAME), None)
        plain = plain or not (view.soft_taints or view.preferred or self._jitter or (own is not None and any(own)))
        loads = self._loads
        cells = []
        for indexes in self._cluster.fixed.parts(view.open, splitter.lookups):
            cell = _Cell(indexes[0])
            splitter.rank(cell)
            if plain:
                cell.heap = [(loads[index], index) for index in indexes]
            else:
                cell.heap = [(loads[index] + self._extra(view, index, own), index) for index in indexes]
            heapify(cell.heap)
            cells.append(cell)
        return cells

    def _extra(self, view: View, index: int, own: Optional[List[int]]) -> float:
        """How much worse than its load a node is for the class."""
        extra = self._random.random() * self._jitter if self._jitter else 0.0
        if own is not None:
            extra += own[index] * _SPREAD_PENALTY
        if view.soft_taints:
            extra += view.soft_taints[index] * _SOFT_TAINT_PENALTY
        if view.preferred:
            extra -= view.preferred[index] / 100
        return extra

    def _next(self, view: View, cells: List[_Cell], splitter: _Splitter) -> Optional[Tuple[_Cell, Entry]]:
        """The next node that takes a pod, from the cells with the fewest pods of the workload first."""
        found = self._from(view, cells if splitter.always_open else [cell for cell in cells if not splitter.shut(cell)])
        if found is None and any(cell.aside for cell in cells):
            for cell in cells:
                cell.heap += cell.aside
                cell.aside = []
                heapify(cell.heap)
            found = self._from(view, [cell for cell in cells if not splitter.shut(cell)])
        return found

    def _from(self, view: View, cells: Sequence[_Cell]) -> Optional[Tuple[_Cell, Entry]]:
        obstacle = self._cluster.obstacle
        if len(cells) > 1:
            ranked = []
            for cell in cells:
                if cell.heap:
                    rank = cell.heap[0][0] / 2
                    for counts, domain in cell.ranks:
                        rank += counts[domain]
                    ranked.append((rank, cell.sample, cell))
            # Most of the time the first is the one; the others are looked at when it turns out to be full.
            ranked.sort()
            cells = [entry[2] for entry in ranked]
        for cell in cells:
            heap = cell.heap
            while heap:
                top = heappop(heap)
                reasons = obstacle(view, top[1])
                if not reasons:
                    return cell, top
                if reasons[0] in LIFTED_LATER:
                    cell.aside.append(top)
        return None


# Pods of one class that come one after the other in the queue: the class, and the numbers of the pods.
Batch = Tuple[int, List[int]]


def follow(cluster: Cluster, batches: Sequence[Batch], filler: Filler) -> Tuple[Path, List[Batch]]:
    """Place the batches for good: where pods went, and what stays pending."""
    path: Path = []
    pending = list(batches)
    while pending:
        waiting, moved = pending, False
        pending = []
        for class_id, numbers in waiting:
            placed = filler.place(class_id, len(numbers))
            path += [(number, index) for number, (index, _undo) in zip(numbers, placed)]
            moved = moved or bool(placed)
            if len(placed) < len(numbers):
                pending.append((class_id, numbers[len(placed) :]))
        views = [cluster.view(class_id) for class_id, _numbers in pending]
        if not moved or not any(view.spreads or view.near for view in views):
            break
    return path, pending


def some(cluster: Cluster, batches: Sequence[Batch]) -> Tuple[Outcomes, Optional[Path]]:
    """Try some orders. Where all end alike, the likeliest stays placed and comes back too."""
    outcomes = Outcomes(complete=False)
    pods = sum(len(numbers) for _class_id, numbers in batches)
    for class_id, _numbers in batches:
        cluster.view(class_id)
    cost = max(1, pods + len(batches) * len(cluster.nodes) // _NODES_A_POD)
    attempts = max(1, min(_ORDERS, _BUDGET // cost))
    saved = cluster.save() if attempts > 1 else None
    for attempt in reversed(range(attempts)):
        path, pending = follow(cluster, batches, Filler(cluster, attempt * 0.05, attempt))
        outcomes.orders += 1
        if pending and outcomes.failed is None:
            outcomes.failed = path
        elif not pending and outcomes.placed is None:
            outcomes.placed = path
        if saved is None or (attempt == 0 and not outcomes.differ):
            return outcomes, path
        cluster.restore(saved)
        if outcomes.differ:
            break
    return outcomes, None
