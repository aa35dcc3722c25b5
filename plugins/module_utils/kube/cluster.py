# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of a cluster as pods are placed on it, with the filters of the default scheduler's profile.

Pods that are equal share a class, and everything that depends only on a class and a node is computed once. What pods
count for each other (affinity, spread) stands in counters by domain, which follow each pod that is placed or removed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, FrozenSet, Iterable, List, Mapping, Optional, Sequence, Set, Tuple

from ansible_collections.airgap.speech.plugins.module_utils.kube.counters import Counter, Counters, PodClass
from ansible_collections.airgap.speech.plugins.module_utils.kube.fixed import (
    ABSENT,
    NODE_AFFINITY,
    Fixed,
    named_nodes,
)
from ansible_collections.airgap.speech.plugins.module_utils.kube.nodes import HOSTNAME, ZONE, Node
from ansible_collections.airgap.speech.plugins.module_utils.kube.podspec import (
    EVERY_ADDRESS,
    Existing,
    HostPort,
    Pod,
)
from ansible_collections.airgap.speech.plugins.module_utils.kube.terms import (
    PodTerm,
    Spread,
)
from ansible_collections.airgap.speech.plugins.module_utils.kube.versions import Version
from ansible_collections.airgap.speech.plugins.module_utils.kube.volumes import UNBOUND, Claim, Storage, Undo, Volumes

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

# The scheduler's own constraints for pods that have none: they only score.
_DEFAULT_SPREADS = ((HOSTNAME, 3), (ZONE, 5))

_PORTS_REASON = (HOST_PORTS,)
_SPREAD_REASON = (SPREAD,)
_SPREAD_LABEL_REASON = (SPREAD_LABEL,)
_AFFINITY_REASON = (AFFINITY,)
_ANTI_AFFINITY_REASON = (ANTI_AFFINITY,)
_EXISTING_REASON = (EXISTING_ANTI_AFFINITY,)


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
        self.version = version or Version()
        self.fixed = Fixed(nodes, self.version)
        self.nodes = self.fixed.nodes
        self.nameless = frozenset(index for index, node in enumerate(self.nodes) if HOSTNAME not in node.labels)
        self.by_name = {node.name: index for index, node in enumerate(self.nodes)}
        self.counters = Counters(self.fixed, namespaces or {})
        self.classes = self.counters.classes
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
        self._ids: Dict[Tuple[Pod, bool], int] = {}
        self._quick: Dict[Tuple[int, bool], Tuple[Pod, int]] = {}
        self._views: Dict[int, View] = {}
        self._holders: Dict[Tuple[str, PodTerm], None] = {}

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
        entry = PodClass(pod, terminating)
        entry.amounts = [(self._column_of(name), amount) for name, amount in pod.requests if amount]
        entry.claims = self.volumes.of(pod.namespace, pod.claims)
        self.counters.add_class(entry)
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
        return (
            {name: list(column) for name, column in self.free.items()},
            list(self.slots),
            list(self.scored_cpu),
            list(self.scored_memory),
            [dict(entry) for entry in self.contents],
            [dict(entry) for entry in self.ports],
            [dict(entry.where) for entry in self.classes],
            [(counter, counter.save()) for counter in self.counters.every()],
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
        static, opened = self.fixed.static(pod)
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
            counter = self.counters.spread(pod, constraint, hard, True)
            own = int(constraint.selector.matches(entry.labels))
            view.spreads.append((counter, constraint.max_skew, own, len(counter.counts) < constraint.min_domains))
        for key in sorted({term.topology_key for term in pod.affinity}):
            view.near.append(self.counters.near(pod.affinity, key))
        view.near_self = all(self.counters.term_matches(term, entry) for term in pod.affinity)
        view.away = [self.counters.matching(term) for term in pod.anti_affinity]
        for kind, term in self._holders:
            if not self.counters.term_matches(term, entry):
                continue
            if kind == "anti":
                view.repelled.append(self.counters.holding(kind, term))
            elif kind == "near":
                view.weighted.append((self.counters.holding(kind, term), 1))
            else:
                sign = 1 if kind == "preferred" else -1
                view.weighted.append((self.counters.holding(kind, term), sign * term.weight))
        view.weighted += [(self.counters.matching(term), term.weight) for term in pod.preferred_affinity]
        view.weighted += [(self.counters.matching(term), -term.weight) for term in pod.preferred_anti_affinity]
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
                counter = self.counters.on_node(constraint.selector, pod.namespace)
            else:
                counter = self.counters.spread(pod, constraint, together, False)
            view.soft.append((constraint, counter))
        if self.fixed.has_soft_taints:
            view.soft_taints = [
                sum(1 for t in node.taints if t.effect == "PreferNoSchedule" and not self.fixed.tolerated(pod, t))
                for node in self.nodes
            ]
        view.images = self.fixed.image_scores(pod)
        if pod.preferred_nodes:
            view.preferred = [
                sum(weight for weight, term in pod.preferred_nodes if term.matches(node.labels, node.name))
                for node in self.nodes
            ]

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
            if domain == ABSENT:
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
        if not self.fixed.node_affinity(pod)[index]:
            return f"{where}: NodeAffinity: Predicate NodeAffinity failed: {NODE_AFFINITY}"
        if view.ports and self._ports_taken(view.ports, index):
            return f"{where}: NodePorts: Predicate NodePorts failed: {HOST_PORTS}"
        if any(taint.effect == "NoExecute" and not self.fixed.tolerated(pod, taint) for taint in node.taints):
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
        if not self.nodes:
            return "no nodes available to schedule pods"
        told = self.fixed.version.counts_not_named
        listed = sorted(f"{count} {reason}" for reason, count in counts.items() if told or reason != NOT_NAMED)
        return f"0/{len(self.nodes)} nodes are available:" + (f" {', '.join(listed)}." if listed else "")

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
