# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of a cluster as pods are placed on it, with the filters of the default scheduler's profile.

Pods that are equal share a class, and everything that depends only on a class and a node is computed once. What pods
count for each other (affinity, spread) stands in counters by domain, which follow each pod that is placed or removed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable, Dict, FrozenSet, Iterable, List, Mapping, Optional, Sequence, Set, Tuple

from ansible_collections.airgap.speech.plugins.module_utils.kube.nodes import HOSTNAME, SMALLEST_IMAGE, ZONE, Node
from ansible_collections.airgap.speech.plugins.module_utils.kube.podspec import (
    EVERY_ADDRESS,
    Existing,
    HostPort,
    Pod,
)
from ansible_collections.airgap.speech.plugins.module_utils.kube.terms import (
    PodTerm,
    Selector,
    Spread,
    Taint,
    Toleration,
)
from ansible_collections.airgap.speech.plugins.module_utils.kube.versions import Version
from ansible_collections.airgap.speech.plugins.module_utils.kube.volumes import UNBOUND, Claim, Storage, Undo, Volumes

UNSCHEDULABLE = "node(s) were unschedulable"
OTHER_NODE = "node(s) didn't match the requested node name"
NODE_AFFINITY = "node(s) didn't match Pod's node affinity/selector"
NOT_NAMED = "node(s) didn't satisfy plugin(s) [NodeAffinity]"
HOST_PORTS = "node(s) didn't have free ports for the requested pod ports"
TOO_MANY_PODS = "Too many pods"
SPREAD = "node(s) didn't match pod topology spread constraints"
SPREAD_LABEL = f"{SPREAD} (missing required label)"
AFFINITY = "node(s) didn't match pod affinity rules"
ANTI_AFFINITY = "node(s) didn't match pod anti-affinity rules"
EXISTING_ANTI_AFFINITY = "node(s) didn't satisfy existing pods anti-affinity rules"

# Other pods of the queue can lift these; all else can only get worse as pods are placed.
LIFTED_LATER = frozenset((SPREAD, AFFINITY))

_UNSCHEDULABLE_TAINT = Taint("node.kubernetes.io/unschedulable", "", "NoSchedule")
_BLOCKING = ("NoSchedule", "NoExecute")
# The scheduler's own constraints for pods that have none: they only score.
_DEFAULT_SPREADS = ((HOSTNAME, 3), (ZONE, 5))

_MOST_OF_IMAGE = 1000 * 2**20
# In place of a topology key: each node is a domain of its own.
EACH_NODE = ""
_ABSENT = -1
_ELSEWHERE = -2

_PORTS_REASON = (HOST_PORTS,)
_SPREAD_REASON = (SPREAD,)
_SPREAD_LABEL_REASON = (SPREAD_LABEL,)
_AFFINITY_REASON = (AFFINITY,)
_ANTI_AFFINITY_REASON = (ANTI_AFFINITY,)
_EXISTING_REASON = (EXISTING_ANTI_AFFINITY,)


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


class _PodClass:
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


class _Group:
    """The classes of pods that something counts, and how often each, with the counters that count them."""

    __slots__ = ("counters", "test", "weights")

    def __init__(self, test: Callable[[_PodClass], int]) -> None:
        self.test = test
        self.weights: Dict[int, int] = {}
        self.counters: Dict[Tuple[Any, ...], Counter] = {}


@dataclass
class View:
    """What a class of pods to be placed asks of a node, compiled."""

    class_id: int
    static: List[Optional[str]]
    named: Optional[FrozenSet[str]]
    open: List[int]
    needs: List[Tuple[List[int], int]]
    ports: FrozenSet[HostPort] = frozenset()
    claims: Tuple[Claim, ...] = ()
    # Counter, greatest skew, whether the pod counts itself, and whether there are fewer domains than wanted.
    spreads: List[Tuple[Counter, int, int, bool]] = field(default_factory=list)
    near: List[Counter] = field(default_factory=list)
    near_self: bool = False
    away: List[Counter] = field(default_factory=list)
    repelled: List[Counter] = field(default_factory=list)
    # For the scores: constraints that only score (hostname has a counter by node), and weighted counters.
    soft: List[Tuple[Spread, Counter]] = field(default_factory=list)
    soft_strict: bool = False
    weighted: List[Tuple[Counter, int]] = field(default_factory=list)
    soft_taints: Optional[List[int]] = None
    preferred: Optional[List[int]] = None
    images: Optional[List[int]] = None
    # Whether nothing but resources keeps its pods off open nodes.
    alone: bool = False
    resource_scores: Dict[Tuple[int, int, int, int, int], int] = field(default_factory=dict)


class Cluster:
    """Nodes, the pods on them, and the answer to where one more pod may go."""

    def __init__(
        self,
        nodes: Sequence[Node],
        *,
        namespaces: Optional[Mapping[str, Mapping[str, str]]] = None,
        storage: Optional[Storage] = None,
        version: Optional[Version] = None,
    ) -> None:
        self.nodes = list(nodes)
        self.nameless = frozenset(index for index, node in enumerate(self.nodes) if HOSTNAME not in node.labels)
        self.by_name = {node.name: index for index, node in enumerate(self.nodes)}
        self.namespaces = namespaces or {}
        self.version = version or Version()
        self.volumes = Volumes(self.nodes, storage or Storage(), self.version)
        size = len(self.nodes)
        self.free: Dict[str, List[int]] = {}
        self.slots = [node.pods for node in self.nodes]
        # What is used, as the scheduler counts it for scores: thousandths of cpu, and bytes.
        self.scored_cpu = [0] * size
        self.scored_memory = [0] * size
        self.contents: List[Dict[int, int]] = [{} for _node in self.nodes]
        self.ports: List[Dict[HostPort, int]] = [{} for _node in self.nodes]
        self.cpu, self.memory = self._column_of("cpu"), self._column_of("memory")
        sizes: Dict[Tuple[int, int], int] = {}
        self.sizes = [
            sizes.setdefault((node.allocatable.get("cpu", 0), node.allocatable.get("memory", 0)), len(sizes))
            for node in self.nodes
        ]
        self._has_soft_taints = any(t.effect == "PreferNoSchedule" for node in self.nodes for t in node.taints)
        self._images = {image for node in self.nodes for image in node.images}
        self._ids: Dict[Tuple[Pod, bool], int] = {}
        self._quick: Dict[Tuple[int, bool], Tuple[Pod, int]] = {}
        self.classes: List[_PodClass] = []
        self._views: Dict[int, View] = {}
        self._groups: Dict[Tuple[Any, ...], _Group] = {}
        self._holders: Dict[Tuple[str, PodTerm], None] = {}
        self._columns: Dict[Tuple[Any, ...], Tuple[List[int], List[int], int]] = {}
        self._affine: Dict[Tuple[Any, ...], List[bool]] = {}
        # What of these is shared by classes lives as long as the cluster, so that it is told by its identity.
        self._statics: Dict[Tuple[Any, ...], Tuple[List[Optional[str]], List[int]]] = {}
        self._parts: Dict[Tuple[int, ...], List[List[int]]] = {}
        self._taints: Dict[Tuple[Toleration, ...], List[Optional[Taint]]] = {}

    def _column_of(self, name: str) -> List[int]:
        """What is free of a resource on each node. It must be there before a pod that takes of it is placed."""
        if name not in self.free:
            self.free[name] = [node.allocatable.get(name, 0) for node in self.nodes]
        return self.free[name]

    # Classes

    def intern(self, pod: Pod, terminating: bool = False) -> int:
        """The class of a pod."""
        quick = self._quick.get((id(pod), terminating))
        if quick is not None:
            return quick[1]
        key = (pod, terminating)
        class_id = self._ids.get(key)
        if class_id is None:
            class_id = self._ids[key] = len(self.classes)
            self._add_class(pod, terminating)
        self._quick[(id(pod), terminating)] = (pod, class_id)
        return class_id

    def _add_class(self, pod: Pod, terminating: bool) -> None:
        class_id = len(self.classes)
        entry = _PodClass(pod, terminating)
        entry.amounts = [(self._column_of(name), amount) for name, amount in pod.requests if amount]
        entry.claims = self.volumes.of(pod.namespace, pod.claims)
        self.classes.append(entry)
        for group in self._groups.values():
            weight = group.test(entry)
            if weight:
                group.weights[class_id] = weight
                entry.counted += [(counter, weight) for counter in group.counters.values()]
        for kind, terms in (
            ("anti", pod.anti_affinity),
            ("near", pod.affinity),
            ("preferred", pod.preferred_affinity),
            ("unwanted", pod.preferred_anti_affinity),
        ):
            for term in terms:
                if (kind, term) not in self._holders:
                    # Whoever the term matches has to know of it.
                    self._holders[(kind, term)] = None
                    self._views.clear()

    def pod(self, class_id: int) -> Pod:
        return self.classes[class_id].pod

    def add_existing(self, existing: Iterable[Existing]) -> None:
        """Put pods where they run. Pods of nodes that are not there take no room."""
        for item in existing:
            index = self.by_name.get(item.node)
            if index is not None:
                self.place(self.intern(item.pod, item.terminating), index)

    def place(self, class_id: int, index: int) -> Undo:
        """Put a pod on a node; what it did to the volumes comes back for :meth:`remove`."""
        entry = self.classes[class_id]
        for column, amount in entry.amounts:
            column[index] -= amount
        pod = entry.pod
        self.scored_cpu[index] += pod.scored[0]
        self.scored_memory[index] += pod.scored[1]
        self.slots[index] -= 1
        for port in pod.host_ports:
            self.ports[index][port] = self.ports[index].get(port, 0) + 1
        contents, where = self.contents[index], entry.where
        contents[class_id] = contents.get(class_id, 0) + 1
        where[index] = where.get(index, 0) + 1
        for counter, weight in entry.counted:
            counter.add(index, weight)
        return self.volumes.place(entry.claims, index) if entry.claims else ((), ())

    def remove(self, class_id: int, index: int, undo: Undo = ((), ())) -> None:
        """Take a pod off a node again."""
        entry = self.classes[class_id]
        for column, amount in entry.amounts:
            column[index] += amount
        pod = entry.pod
        self.scored_cpu[index] -= pod.scored[0]
        self.scored_memory[index] -= pod.scored[1]
        self.slots[index] += 1
        ports = self.ports[index]
        for port in pod.host_ports:
            ports[port] -= 1
            if not ports[port]:
                del ports[port]
        for counts, key in ((self.contents[index], class_id), (entry.where, index)):
            counts[key] -= 1
            if not counts[key]:
                del counts[key]
        for counter, weight in entry.counted:
            counter.add(index, -weight)
        if entry.claims:
            self.volumes.remove(entry.claims, index, undo)

    def save(self) -> Tuple[Any, ...]:
        """The whole state, to come back to with :meth:`restore`."""
        counters = [counter for group in self._groups.values() for counter in group.counters.values()]
        return (
            {name: list(column) for name, column in self.free.items()},
            list(self.slots),
            list(self.scored_cpu),
            list(self.scored_memory),
            [dict(entry) for entry in self.contents],
            [dict(entry) for entry in self.ports],
            [dict(entry.where) for entry in self.classes],
            [(counter, counter.save()) for counter in counters],
            self.volumes.save(),
        )

    def restore(self, saved: Tuple[Any, ...]) -> None:
        """Come back to a state. Counters and classes that are newer than it must not exist."""
        for name, column in saved[0].items():
            self.free[name][:] = column
        self.slots[:], self.scored_cpu[:], self.scored_memory[:] = saved[1], saved[2], saved[3]
        self.contents[:] = [dict(entry) for entry in saved[4]]
        self.ports[:] = [dict(entry) for entry in saved[5]]
        for entry, where in zip(self.classes, saved[6]):
            entry.where = dict(where)
        for counter, values in saved[7]:
            counter.restore(values)
        self.volumes.restore(saved[8])

    # What is computed once

    @staticmethod
    def tolerated(pod: Pod, taint: Taint) -> bool:
        return any(toleration.tolerates(taint) for toleration in pod.tolerations)

    def blocking_taints(self, pod: Pod) -> List[Optional[Taint]]:
        """For each node, the first taint that keeps the pod off it."""
        found = self._taints.get(pod.tolerations)
        if found is None:
            of_taints: Dict[Tuple[Taint, ...], Optional[Taint]] = {(): None}
            for node in self.nodes:
                if node.taints not in of_taints:
                    of_taints[node.taints] = next(
                        (t for t in node.taints if t.effect in _BLOCKING and not self.tolerated(pod, t)), None
                    )
            found = self._taints[pod.tolerations] = [of_taints[node.taints] for node in self.nodes]
        return found

    def node_affinity(self, pod: Pod) -> List[bool]:
        """For each node, whether the pod's node selector and required node affinity match it."""
        key = (pod.node_selector, pod.node_terms)
        found = self._affine.get(key)
        if found is None:
            if not pod.node_selector and pod.node_terms is None:
                found = [True] * len(self.nodes)
            else:
                found = [self._matches_node(pod, node) for node in self.nodes]
            self._affine[key] = found
        return found

    @staticmethod
    def _matches_node(pod: Pod, node: Node) -> bool:
        if any(node.labels.get(key) != text for key, text in pod.node_selector):
            return False
        return pod.node_terms is None or any(term.matches(node.labels, node.name) for term in pod.node_terms)

    def _static(self, pod: Pod) -> Tuple[List[Optional[str]], List[int]]:
        """For each node, why it is out of the question whatever else is placed, or None; and the nodes that are not."""
        key = (pod.node_name, pod.node_selector, pod.node_terms, pod.tolerations)
        found = self._statics.get(key)
        if found is None:
            reasons, named = self._static_reasons(pod), named_nodes(pod)
            opened = [
                index
                for index, reason in enumerate(reasons)
                if reason is None and (named is None or self.nodes[index].name in named)
            ]
            found = self._statics[key] = (reasons, opened)
        return found

    def parts(self, view: View, lookups: Sequence[List[int]]) -> List[List[int]]:
        """The open nodes of a class, divided by the domains that they are in."""
        key = (id(view.open), *[id(lookup) for lookup in lookups])
        found = self._parts.get(key)
        if found is None:
            divided: Dict[Tuple[int, ...], List[int]] = {}
            for index in view.open:
                divided.setdefault(tuple([lookup[index] for lookup in lookups]), []).append(index)
            found = self._parts[key] = list(divided.values())
        return found

    def _static_reasons(self, pod: Pod) -> List[Optional[str]]:
        reasons: List[Optional[str]] = []
        unschedulable = not self.tolerated(pod, _UNSCHEDULABLE_TAINT)
        for node, taint, matches in zip(self.nodes, self.blocking_taints(pod), self.node_affinity(pod)):
            if node.unschedulable and unschedulable:
                reasons.append(UNSCHEDULABLE)
            elif pod.node_name and pod.node_name != node.name:
                reasons.append(OTHER_NODE)
            elif taint is not None:
                reasons.append(self.taint_words(taint))
            elif not matches:
                reasons.append(NODE_AFFINITY)
            else:
                reasons.append(None)
        return reasons

    def taint_words(self, taint: Taint) -> str:
        named = self.version.names_taints
        return f"node(s) had untolerated taint {taint}" if named else "node(s) had untolerated taint(s)"

    def _column(
        self, key: str, within: Tuple[Any, ...] = (), mask: Sequence[bool] = ()
    ) -> Tuple[List[int], List[int], int]:
        """The domain of each node for a topology key, and the number of domains; only nodes of the mask make one."""
        found = self._columns.get((key, *within))
        if found is None and key == EACH_NODE:
            every = list(range(len(self.nodes)))
            found = self._columns[(key, *within)] = (every, every, len(every))
        if found is None:
            domains: Dict[str, int] = {}
            column: List[int] = []
            for index, node in enumerate(self.nodes):
                value = node.labels.get(key)
                counts = value is not None and (not mask or mask[index])
                column.append(domains.setdefault(value, len(domains)) if counts and value is not None else _ABSENT)
            lookup = column
            if mask:
                lookup = [
                    _ABSENT if key not in node.labels else domains.get(node.labels[key], _ELSEWHERE)
                    for node in self.nodes
                ]
            found = self._columns[(key, *within)] = (column, lookup, len(domains))
        return found

    # Counters

    def _counter(
        self,
        group_key: Tuple[Any, ...],
        test: Callable[[_PodClass], int],
        key: str,
        within: Tuple[Any, ...] = (),
        mask: Sequence[bool] = (),
        leveled: bool = False,
    ) -> Counter:
        """The counter of the pods of a group by a topology key; made, and filled with what is placed, when new."""
        group = self._groups.get(group_key)
        if group is None:
            group = self._groups[group_key] = _Group(test)
            for class_id, entry in enumerate(self.classes):
                weight = test(entry)
                if weight:
                    group.weights[class_id] = weight
        name = (key, *within, leveled)
        counter = group.counters.get(name)
        if counter is None:
            column, lookup, domains = self._column(key, within, mask)
            counter = group.counters[name] = Counter(column, lookup, domains, leveled)
            for class_id, weight in group.weights.items():
                entry = self.classes[class_id]
                entry.counted.append((counter, weight))
                for index, count in entry.where.items():
                    for _pod in range(count):
                        counter.add(index, weight)
        return counter

    def _term_matches(self, term: PodTerm, entry: _PodClass) -> bool:
        namespace = entry.pod.namespace
        labels = self.namespaces.get(namespace)
        if labels is None or "kubernetes.io/metadata.name" not in labels:
            labels = {**(labels or {}), "kubernetes.io/metadata.name": namespace}
        return term.matches(namespace, entry.labels, labels)

    def _matches_all(self, terms: Sequence[PodTerm]) -> Callable[[_PodClass], int]:
        return lambda entry: int(all(self._term_matches(term, entry) for term in terms))

    def _matching_counter(self, term: PodTerm) -> Counter:
        """The pods that a term matches, by its topology key."""
        return self._counter(("match", term), lambda entry: int(self._term_matches(term, entry)), term.topology_key)

    def _holding_counter(self, kind: str, term: PodTerm) -> Counter:
        """The pods that carry a term, by its topology key."""

        def test(entry: _PodClass) -> int:
            pod = entry.pod
            terms = {
                "anti": pod.anti_affinity,
                "near": pod.affinity,
                "preferred": pod.preferred_affinity,
                "unwanted": pod.preferred_anti_affinity,
            }[kind]
            return terms.count(term)

        return self._counter(("hold", kind, term), test, term.topology_key)

    def _spread_counter(self, pod: Pod, constraint: Spread, together: Sequence[Spread], leveled: bool) -> Counter:
        """The pods that a constraint counts, on the nodes that it looks at."""
        selector, namespace = constraint.selector, pod.namespace
        keys = tuple(sorted({other.topology_key for other in together}))
        affine = constraint.honor_affinity and bool(pod.node_selector or pod.node_terms is not None)
        mask: List[bool] = []
        if affine or constraint.honor_taints or len(keys) > 1:
            mask = [all(key in node.labels for key in keys) for node in self.nodes]
            if affine:
                mask = [one and other for one, other in zip(mask, self.node_affinity(pod))]
            if constraint.honor_taints:
                mask = [one and taint is None for one, taint in zip(mask, self.blocking_taints(pod))]
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

    # Views

    def view(self, class_id: int) -> View:
        """What a class of pods asks of nodes, compiled."""
        view = self._views.get(class_id)
        if view is None:
            view = self._views[class_id] = self._compile(class_id)
        return view

    def _compile(self, class_id: int) -> View:
        entry = self.classes[class_id]
        pod = entry.pod
        static, opened = self._static(pod)
        view = View(
            class_id=class_id,
            static=static,
            named=named_nodes(pod),
            open=opened,
            needs=entry.amounts,
            ports=pod.host_ports,
            claims=entry.claims,
        )
        hard = [constraint for constraint in pod.spreads if constraint.hard]
        for constraint in hard:
            counter = self._spread_counter(pod, constraint, hard, True)
            own = int(constraint.selector.matches(entry.labels))
            view.spreads.append((counter, constraint.max_skew, own, len(counter.counts) < constraint.min_domains))
        for key in sorted({term.topology_key for term in pod.affinity}):
            view.near.append(self._counter(("all", pod.affinity), self._matches_all(pod.affinity), key))
        view.near_self = all(self._term_matches(term, entry) for term in pod.affinity)
        view.away = [self._matching_counter(term) for term in pod.anti_affinity]
        for kind, term in self._holders:
            if not self._term_matches(term, entry):
                continue
            if kind == "anti":
                view.repelled.append(self._holding_counter(kind, term))
            elif kind == "near":
                view.weighted.append((self._holding_counter(kind, term), 1))
            else:
                sign = 1 if kind == "preferred" else -1
                view.weighted.append((self._holding_counter(kind, term), sign * term.weight))
        view.weighted += [(self._matching_counter(term), term.weight) for term in pod.preferred_affinity]
        view.weighted += [(self._matching_counter(term), -term.weight) for term in pod.preferred_anti_affinity]
        self._compile_soft(view, pod)
        view.alone = not (view.ports or view.claims or view.spreads or view.near or view.away or view.repelled)
        return view

    def _compile_soft(self, view: View, pod: Pod) -> None:
        soft = [constraint for constraint in pod.spreads if not constraint.hard]
        view.soft_strict = bool(pod.spreads)
        if not view.soft_strict and not pod.default_spread.nothing and not pod.default_spread.empty:
            soft = [Spread(skew, key, False, pod.default_spread, 1, True, False) for key, skew in _DEFAULT_SPREADS]
        together = soft if view.soft_strict else ()
        for constraint in soft:
            if constraint.topology_key == HOSTNAME:
                # Counted on the node itself, whichever nodes the constraint looks at.
                counted = (constraint.selector, pod.namespace)
                counter = self._counter(("spread", *counted), _spread_test(*counted), EACH_NODE)
            else:
                counter = self._spread_counter(pod, constraint, together, False)
            view.soft.append((constraint, counter))
        if self._has_soft_taints:
            view.soft_taints = [
                sum(1 for t in node.taints if t.effect == "PreferNoSchedule" and not self.tolerated(pod, t))
                for node in self.nodes
            ]
        view.images = self._image_scores(pod)
        if pod.preferred_nodes:
            view.preferred = [
                sum(weight for weight, term in pod.preferred_nodes if term.matches(node.labels, node.name))
                for node in self.nodes
            ]

    def _image_scores(self, pod: Pod) -> Optional[List[int]]:
        """For each node, the score of the pod's images that are on it; None where no node has one."""
        wanted = [_full_name(image) for image in pod.images]
        mounted = [_full_name(image) for image in pod.image_volumes] if self.version.image_volumes_score else []
        weights: Dict[str, int] = {}
        for image in self._images.intersection(wanted + mounted):
            holders = [node.images[image] for node in self.nodes if image in node.images]
            weights[image] = int(float(holders[0]) * (len(holders) / len(self.nodes)))
        if not weights:
            return None
        most = _MOST_OF_IMAGE * len(wanted)
        scores = []
        for node in self.nodes:
            total = sum(weights[image] for image in wanted + mounted if image in weights and image in node.images)
            scores.append(100 * (min(max(total, SMALLEST_IMAGE), most) - SMALLEST_IMAGE) // (most - SMALLEST_IMAGE))
        return scores

    # Filters

    def obstacle(self, view: View, index: int) -> Tuple[str, ...]:
        """Why a pod cannot go to an open node now; empty where it can."""
        if view.ports and self._ports_taken(view.ports, index):
            return _PORTS_REASON
        if self.slots[index] <= 0:
            return self._lacking(view, index)
        for column, amount in view.needs:
            if amount > column[index]:
                return self._lacking(view, index)
        if view.claims:
            reasons = self.volumes.obstacle(view.claims, index)
            if reasons:
                return reasons
        for spread_counter, skew, own, short in view.spreads:
            domain = spread_counter.lookup[index]
            if domain == _ABSENT:
                return _SPREAD_LABEL_REASON
            count = spread_counter.counts[domain] if domain >= 0 else 0
            if count + own - (0 if short else spread_counter.low) > skew:
                return _SPREAD_REASON
        if view.near and not self._near(view, index):
            return _AFFINITY_REASON
        for counter in view.away:
            domain = counter.column[index]
            if domain >= 0 and counter.counts[domain]:
                return _ANTI_AFFINITY_REASON
        for counter in view.repelled:
            domain = counter.column[index]
            if domain >= 0 and counter.counts[domain]:
                return _EXISTING_REASON
        return ()

    @staticmethod
    def _near(view: View, index: int) -> bool:
        there = True
        for counter in view.near:
            domain = counter.column[index]
            if domain < 0:
                return False
            if not counter.counts[domain]:
                there = False
        return there or (view.near_self and not any(counter.total for counter in view.near))

    def _ports_taken(self, ports: FrozenSet[HostPort], index: int) -> bool:
        for protocol, address, number in ports:
            for other_protocol, other_address, other_number in self.ports[index]:
                same = number == other_number and protocol == other_protocol
                if same and (address == other_address or EVERY_ADDRESS in (address, other_address)):
                    return True
        return False

    def _lacking(self, view: View, index: int) -> Tuple[str, ...]:
        """The resources that a node has too little of, in the scheduler's words."""
        result = [TOO_MANY_PODS] if self.slots[index] <= 0 else []
        for name, amount in self.pod(view.class_id).requests:
            if amount and amount > self.free[name][index]:
                result.append(f"Insufficient {name}")
        return tuple(result)

    def refusal(self, class_id: int, index: Optional[int]) -> str:
        """Why the kubelet of a node refuses a pod that names it; empty where it takes it in."""
        pod = self.pod(class_id)
        if index is None:
            return f'the node "{pod.node_name}" that the pod names is not there'
        node, view = self.nodes[index], self.view(class_id)
        where = f"the kubelet of node {node.name} refuses it"
        for name, amount in [("pods", 1), *pod.requests]:
            free = self.slots[index] if name == "pods" else self.free[name][index]
            if amount > free:
                return f"{where}: OutOf{name}: Node didn't have enough resource: {name}"
        if not self.node_affinity(pod)[index]:
            return f"{where}: NodeAffinity: Predicate NodeAffinity failed: {NODE_AFFINITY}"
        if view.ports and self._ports_taken(view.ports, index):
            return f"{where}: NodePorts: Predicate NodePorts failed: {HOST_PORTS}"
        if any(taint.effect == "NoExecute" and not self.tolerated(pod, taint) for taint in node.taints):
            return f"{where}: TaintToleration: Predicate TaintToleration failed: a taint is not tolerated"
        return ""

    def feasible(self, view: View) -> List[int]:
        """The nodes that a pod can go to now."""
        obstacle = self.obstacle
        return [index for index in view.open if not obstacle(view, index)]

    def reasons(self, class_id: int) -> List[Tuple[str, ...]]:
        """For each node, why the pod cannot go there now; an empty tuple where it can."""
        view = self.view(class_id)
        result: List[Tuple[str, ...]] = []
        for index, static in enumerate(view.static):
            if view.named is not None and self.nodes[index].name not in view.named:
                result.append((NOT_NAMED,))
            elif static is not None:
                result.append((static,))
            else:
                result.append(self.obstacle(view, index))
        return result

    def may_be_lifted(self, reasons: Iterable[Tuple[str, ...]]) -> bool:
        """Whether pods that are placed later could let in a pod that these reasons keep out."""
        return any(reason in LIFTED_LATER for entry in reasons for reason in entry)

    def message(self, reasons: Sequence[Tuple[str, ...]]) -> str:
        """Why no node takes a pod, as the scheduler's event says it."""
        counts: Dict[str, int] = {}
        for entry in reasons:
            for reason in entry:
                counts[reason] = counts.get(reason, 0) + 1
        if UNBOUND in counts:
            return f"0/{len(self.nodes)} nodes are available: {UNBOUND}."
        return self.sentence(counts)

    def sentence(self, counts: Mapping[str, int]) -> str:
        """The scheduler's sentence of how many nodes have which reason."""
        listed = ", ".join(sorted(f"{count} {reason}" for reason, count in counts.items()))
        return (
            f"0/{len(self.nodes)} nodes are available: {listed}." if listed else "no nodes available to schedule pods"
        )

    # Equivalence

    def signatures(self, class_ids: Iterable[int]) -> List[Tuple[Any, ...]]:
        """For each node, what of it never changes and could matter to these pods: equal nodes are interchangeable."""
        keys: Set[str] = {ZONE}
        for entry in self.classes:
            pod = entry.pod
            for term in pod.affinity + pod.anti_affinity + pod.preferred_affinity + pod.preferred_anti_affinity:
                keys.add(term.topology_key)
            keys.update(constraint.topology_key for constraint in pod.spreads)
        views = [self.view(class_id) for class_id in sorted(set(class_ids))]
        result = []
        for index, node in enumerate(self.nodes):
            labels = tuple(
                (key, node.labels.get(key))
                for key in sorted(keys)
                if not (key == HOSTNAME and node.labels.get(key) == node.name)
            )
            result.append(
                (
                    labels,
                    tuple(sorted(node.allocatable.items())),
                    tuple(view.static[index] for view in views),
                    tuple(view.named is None or node.name in view.named for view in views),
                    tuple(view.preferred[index] for view in views if view.preferred),
                    tuple(view.soft_taints[index] for view in views if view.soft_taints),
                    tuple(entry[0].lookup[index] < 0 for view in views for entry in view.spreads),
                    tuple(entry[0].column[index] < 0 for view in views for entry in view.spreads),
                    tuple(counter.column[index] < 0 for view in views for _constraint, counter in view.soft),
                    tuple(view.images[index] for view in views if view.images),
                    self.volumes.signature(index),
                )
            )
        return result


def _full_name(image: str) -> str:
    return image if image.rfind(":") > image.rfind("/") else f"{image}:latest"


def _spread_test(selector: Selector, namespace: str) -> Callable[[_PodClass], int]:
    def test(entry: _PodClass) -> int:
        counts = not entry.terminating and not selector.empty and entry.pod.namespace == namespace
        return int(counts and selector.matches(entry.labels))

    return test


def named_nodes(pod: Pod) -> Optional[FrozenSet[str]]:
    """The nodes that a pod's affinity allows by name; None where a term allows all."""
    if not pod.node_terms:
        return None
    names: Set[str] = set()
    for term in pod.node_terms:
        allowed = term.node_names()
        if allowed is None:
            return None
        names |= allowed
    return frozenset(names)
