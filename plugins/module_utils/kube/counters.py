# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What pods count for each other (affinity, spread), by domain; it follows each pod that is placed or removed."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.airgap.speech.plugins.module_utils.kube.fixed import EACH_NODE, Fixed
from ansible_collections.airgap.speech.plugins.module_utils.kube.podspec import Pod
from ansible_collections.airgap.speech.plugins.module_utils.kube.terms import PodTerm, Selector, Spread
from ansible_collections.airgap.speech.plugins.module_utils.kube.volumes import Claim


class Counter:
    """How many pods of some kind stand in each domain of a topology key.

    ``column`` has the domain that each node counts in, or a number below zero; ``lookup`` the one that it is looked up
    in. ``low`` is the smallest count of any domain, where ``levels`` are kept.
    """

    __slots__ = ("column", "counts", "levels", "lookup", "low", "total")

    def __init__(self, column: List[int], lookup: List[int], domains: int, leveled: bool) -> None:
        self.column = column
        self.lookup = lookup
        self.counts = [0] * domains
        self.total = 0
        self.low = 0
        self.levels: Optional[Dict[int, int]] = {0: domains} if leveled and domains else None

    def add(self, index: int, amount: int) -> None:
        domain = self.column[index]
        if domain < 0:
            return
        before = self.counts[domain]
        now = before + amount
        self.counts[domain] = now
        self.total += amount
        levels = self.levels
        if levels is None:
            return
        left = levels[before] - 1
        if left:
            levels[before] = left
        else:
            del levels[before]
        levels[now] = levels.get(now, 0) + 1
        if now < self.low:
            self.low = now
        elif before == self.low and not left:
            self.low = now if amount == 1 else min(levels)

    def save(self) -> Tuple[List[int], int, int, Optional[Dict[int, int]]]:
        return list(self.counts), self.total, self.low, None if self.levels is None else dict(self.levels)

    def restore(self, saved: Tuple[List[int], int, int, Optional[Dict[int, int]]]) -> None:
        self.counts[:] = saved[0]
        self.total, self.low = saved[1], saved[2]
        self.levels = None if saved[3] is None else dict(saved[3])


class PodClass:
    """Pods that are equal: what they take, and the counters that they count in."""

    __slots__ = ("amounts", "claims", "counted", "labels", "pod", "terminating", "where")

    def __init__(self, pod: Pod, terminating: bool) -> None:
        self.pod = pod
        self.terminating = terminating
        self.labels = pod.label_map
        self.amounts: List[Tuple[List[int], int]] = []
        self.claims: Tuple[Claim, ...] = ()
        self.counted: List[Tuple[Counter, int]] = []
        self.where: Dict[int, int] = {}


class Group:
    """The classes of pods that something counts, and how often each, with the counters that count them."""

    __slots__ = ("counters", "test", "weights")

    def __init__(self, test: Callable[[PodClass], int]) -> None:
        self.test = test
        self.weights: Dict[int, int] = {}
        self.counters: Dict[Tuple[Any, ...], Counter] = {}


class Counters:
    """The classes of pods, and the counters that they count in."""

    def __init__(self, fixed: Fixed, namespaces: Mapping[str, Mapping[str, str]]) -> None:
        self._fixed = fixed
        self._namespaces = namespaces
        self.classes: List[PodClass] = []
        self._groups: Dict[Tuple[Any, ...], Group] = {}

    def add_class(self, entry: PodClass) -> None:
        """Let a new class count wherever it does."""
        class_id = len(self.classes)
        self.classes.append(entry)
        for group in self._groups.values():
            weight = group.test(entry)
            if weight:
                group.weights[class_id] = weight
                entry.counted += [(counter, weight) for counter in group.counters.values()]

    def every(self) -> List[Counter]:
        return [counter for group in self._groups.values() for counter in group.counters.values()]

    def near(self, terms: Tuple[PodTerm, ...], key: str) -> Counter:
        """The pods that all terms match, by a topology key."""
        return self._counter(("all", terms), self._matches_all(terms), key)

    def on_node(self, selector: Selector, namespace: str) -> Counter:
        """The pods that a selector matches, by node."""
        return self._counter(("spread", selector, namespace), _spread_test(selector, namespace), EACH_NODE)

    def _counter(
        self,
        group_key: Tuple[Any, ...],
        test: Callable[[PodClass], int],
        key: str,
        within: Tuple[Any, ...] = (),
        mask: Sequence[bool] = (),
        leveled: bool = False,
    ) -> Counter:
        """The counter of the pods of a group by a topology key; made, and filled with what is placed, when new."""
        group = self._groups.get(group_key)
        if group is None:
            group = self._groups[group_key] = Group(test)
            for class_id, entry in enumerate(self.classes):
                weight = test(entry)
                if weight:
                    group.weights[class_id] = weight
        name = (key, *within, leveled)
        counter = group.counters.get(name)
        if counter is None:
            column, lookup, domains = self._fixed.column(key, within, mask)
            counter = group.counters[name] = Counter(column, lookup, domains, leveled)
            for class_id, weight in group.weights.items():
                entry = self.classes[class_id]
                entry.counted.append((counter, weight))
                for index, count in entry.where.items():
                    for _pod in range(count):
                        counter.add(index, weight)
        return counter

    def term_matches(self, term: PodTerm, entry: PodClass) -> bool:
        namespace = entry.pod.namespace
        labels = self._namespaces.get(namespace)
        if labels is None or "kubernetes.io/metadata.name" not in labels:
            labels = {**(labels or {}), "kubernetes.io/metadata.name": namespace}
        return term.matches(namespace, entry.labels, labels)

    def _matches_all(self, terms: Sequence[PodTerm]) -> Callable[[PodClass], int]:
        return lambda entry: int(all(self.term_matches(term, entry) for term in terms))

    def matching(self, term: PodTerm) -> Counter:
        """The pods that a term matches, by its topology key."""
        return self._counter(("match", term), lambda entry: int(self.term_matches(term, entry)), term.topology_key)

    def holding(self, kind: str, term: PodTerm) -> Counter:
        """The pods that carry a term, by its topology key."""

        def test(entry: PodClass) -> int:
            pod = entry.pod
            terms = {
                "anti": pod.anti_affinity,
                "near": pod.affinity,
                "preferred": pod.preferred_affinity,
                "unwanted": pod.preferred_anti_affinity,
            }[kind]
            return terms.count(term)

        return self._counter(("hold", kind, term), test, term.topology_key)

    def spread(self, pod: Pod, constraint: Spread, together: Sequence[Spread], leveled: bool) -> Counter:
        """The pods that a constraint counts, on the nodes that it looks at."""
        selector, namespace = constraint.selector, pod.namespace
        keys = tuple(sorted({other.topology_key for other in together}))
        affine = constraint.honor_affinity and bool(pod.node_selector or pod.node_terms is not None)
        mask: List[bool] = []
        if affine or constraint.honor_taints or len(keys) > 1:
            mask = [all(key in node.labels for key in keys) for node in self._fixed.nodes]
            if affine:
                mask = [one and other for one, other in zip(mask, self._fixed.node_affinity(pod))]
            if constraint.honor_taints:
                mask = [one and taint is None for one, taint in zip(mask, self._fixed.blocking_taints(pod))]
        within: Tuple[Any, ...] = ()
        if mask:
            affinity = (pod.node_selector, pod.node_terms) if affine else None
            within = (keys, affinity, pod.tolerations if constraint.honor_taints else None)
        return self._counter(
            ("spread", selector, namespace),
            _spread_test(selector, namespace),
            constraint.topology_key,
            within,
            mask,
            leveled,
        )


def _spread_test(selector: Selector, namespace: str) -> Callable[[PodClass], int]:
    def test(entry: PodClass) -> int:
        counts = not entry.terminating and not selector.empty and entry.pod.namespace == namespace
        return int(counts and selector.matches(entry.labels))

    return test
