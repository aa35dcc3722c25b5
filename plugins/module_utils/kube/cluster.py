# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of a cluster as pods are placed on it, with the filters and scores of the default scheduler's profile.

Pods that are equal share a class, and everything that depends only on a class and a node is computed once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Dict, FrozenSet, Iterable, List, Mapping, Optional, Sequence, Set, Tuple

from ansible_collections.airgap.speech.plugins.module_utils.kube.nodes import HOSTNAME, ZONE, Node
from ansible_collections.airgap.speech.plugins.module_utils.kube.pods import EVERY_ADDRESS, Existing, HostPort, Pod
from ansible_collections.airgap.speech.plugins.module_utils.kube.terms import (
    NodeTerm,
    PodTerm,
    Spread,
    Taint,
    node_terms,
)

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

_UNSCHEDULABLE_TAINT = Taint("node.kubernetes.io/unschedulable", "", "NoSchedule")
_BLOCKING = ("NoSchedule", "NoExecute")
_MAX_SCORE = 100
# The scheduler's own constraints for pods that have none: they only score.
_DEFAULT_SPREADS = ((HOSTNAME, 3), (ZONE, 5))


@dataclass(frozen=True)
class Words:
    """What differs between releases of the scheduler in what it says."""

    names_taints: bool = False
    volume_affinity: str = "node(s) didn't match PersistentVolume's node affinity"

    @classmethod
    def of(cls, minor: Optional[int]) -> Words:
        """The words of Kubernetes 1.``minor``; of the newest where it is not known."""
        if minor is None or minor >= 35:
            return cls()
        return cls(names_taints=True, volume_affinity="node(s) had volume node affinity conflict")

    def taint(self, taint: Taint) -> str:
        return f"node(s) had untolerated taint {taint}" if self.names_taints else "node(s) had untolerated taint(s)"


@dataclass
class Claim:
    """Where a persistent volume claim lets its pods run."""

    terms: Optional[Tuple[NodeTerm, ...]] = None
    local: bool = False


@dataclass
class Place:
    """A node and what is on it."""

    node: Node
    used: Dict[str, int] = field(default_factory=dict)
    scored: List[int] = field(default_factory=lambda: [0, 0])
    classes: Dict[int, int] = field(default_factory=dict)
    ports: Dict[HostPort, int] = field(default_factory=dict)
    pods: int = 0


@dataclass
class _Checks:
    """What a pod's class needs to know of the other pods before the nodes are looked at."""

    named: Optional[FrozenSet[str]] = None
    spreads: List[Tuple[Spread, Dict[str, int], int, int]] = field(default_factory=list)
    repelled: Set[Tuple[str, str]] = field(default_factory=set)
    near: Dict[Tuple[str, str], int] = field(default_factory=dict)
    away: Set[Tuple[str, str]] = field(default_factory=set)
    first_of_group: bool = False


class Cluster:
    """Nodes, the pods on them, and the answer to where one more pod may go."""

    def __init__(
        self,
        nodes: Sequence[Node],
        *,
        namespaces: Optional[Mapping[str, Mapping[str, str]]] = None,
        claims: Optional[Mapping[str, Claim]] = None,
        words: Optional[Words] = None,
    ) -> None:
        self.places = [Place(node) for node in nodes]
        self.by_name = {node.name: index for index, node in enumerate(nodes)}
        self.namespaces = namespaces or {}
        self.claims = claims or {}
        self.words = words or Words()
        self.pinned: Dict[str, int] = {}
        self._ids: Dict[Tuple[Pod, bool], int] = {}
        self._pods: List[Tuple[Pod, bool]] = []
        self._where: List[Dict[int, int]] = []
        self._static: Dict[int, List[Optional[str]]] = {}
        self._affine: Dict[int, List[bool]] = {}
        self._matches: Dict[Tuple[PodTerm, int], bool] = {}

    # Classes

    def intern(self, pod: Pod, terminating: bool = False) -> int:
        key = (pod, terminating)
        if key not in self._ids:
            self._ids[key] = len(self._pods)
            self._pods.append(key)
            self._where.append({})
        return self._ids[key]

    def pod(self, class_id: int) -> Pod:
        return self._pods[class_id][0]

    def add_existing(self, existing: Iterable[Existing]) -> None:
        """Put pods where they run. Pods of nodes that are not there take no room."""
        for item in existing:
            if item.node in self.by_name:
                self.place(self.intern(item.pod, item.terminating), self.by_name[item.node])

    def place(self, class_id: int, index: int) -> Tuple[str, ...]:
        """Put a pod on a node; what it pinned comes back for :meth:`remove`."""
        self._count(class_id, index, 1)
        newly = []
        pod = self.pod(class_id)
        for name in pod.claims:
            key = f"{pod.namespace}/{name}"
            claim = self.claims.get(key)
            if claim is not None and claim.local and key not in self.pinned:
                self.pinned[key] = index
                newly.append(key)
        return tuple(newly)

    def remove(self, class_id: int, index: int, pinned: Tuple[str, ...] = ()) -> None:
        """Take a pod off a node again."""
        self._count(class_id, index, -1)
        for key in pinned:
            del self.pinned[key]

    def _count(self, class_id: int, index: int, sign: int) -> None:
        place, pod = self.places[index], self.pod(class_id)
        for name, amount in pod.requests:
            place.used[name] = place.used.get(name, 0) + sign * amount
        place.scored[0] += sign * pod.scored[0]
        place.scored[1] += sign * pod.scored[1]
        place.pods += sign
        for port in pod.host_ports:
            place.ports[port] = place.ports.get(port, 0) + sign
            if not place.ports[port]:
                del place.ports[port]
        for counts, key in ((place.classes, class_id), (self._where[class_id], index)):
            counts[key] = counts.get(key, 0) + sign
            if not counts[key]:
                del counts[key]

    # Filters

    def _tolerated(self, pod: Pod, taint: Taint) -> bool:
        return any(toleration.tolerates(taint) for toleration in pod.tolerations)

    def blocking_taint(self, pod: Pod, node: Node) -> Optional[Taint]:
        for taint in node.taints:
            if taint.effect in _BLOCKING and not self._tolerated(pod, taint):
                return taint
        return None

    def node_affinity(self, class_id: int) -> List[bool]:
        """For each node, whether the pod's node selector and required node affinity match it."""
        if class_id not in self._affine:
            pod = self.pod(class_id)
            self._affine[class_id] = [self._matches_node(pod, place.node) for place in self.places]
        return self._affine[class_id]

    @staticmethod
    def _matches_node(pod: Pod, node: Node) -> bool:
        if any(node.labels.get(key) != text for key, text in pod.node_selector):
            return False
        return pod.node_terms is None or any(term.matches(node.labels, node.name) for term in pod.node_terms)

    def static_reasons(self, class_id: int) -> List[Optional[str]]:
        """For each node, why it is out of the question whatever else is placed; None where it is not."""
        if class_id not in self._static:
            pod, affine = self.pod(class_id), self.node_affinity(class_id)
            reasons: List[Optional[str]] = []
            for place, matches in zip(self.places, affine):
                node = place.node
                taint = self.blocking_taint(pod, node)
                if node.unschedulable and not self._tolerated(pod, _UNSCHEDULABLE_TAINT):
                    reasons.append(UNSCHEDULABLE)
                elif pod.node_name and pod.node_name != node.name:
                    reasons.append(OTHER_NODE)
                elif taint is not None:
                    reasons.append(self.words.taint(taint))
                elif not matches:
                    reasons.append(NODE_AFFINITY)
                else:
                    reasons.append(None)
            self._static[class_id] = reasons
        return self._static[class_id]

    def _term_matches(self, term: PodTerm, class_id: int) -> bool:
        key = (term, class_id)
        if key not in self._matches:
            pod = self.pod(class_id)
            namespace = self.namespaces.get(pod.namespace, {"kubernetes.io/metadata.name": pod.namespace})
            self._matches[key] = term.matches(pod.namespace, pod.label_map, namespace)
        return self._matches[key]

    def _label(self, index: int, key: str) -> Optional[str]:
        return self.places[index].node.labels.get(key)

    def _checks(self, class_id: int) -> _Checks:
        pod = self.pod(class_id)
        checks = _Checks(named=named_nodes(pod))
        hard = [constraint for constraint in pod.spreads if constraint.hard]
        for constraint in hard:
            counts = self._domain_counts(class_id, constraint, hard)
            smallest = min(counts.values()) if counts else 0
            if len(counts) < constraint.min_domains:
                smallest = 0
            own = 1 if constraint.selector.matches(pod.label_map) else 0
            checks.spreads.append((constraint, counts, smallest, own))
        for other_id, where in enumerate(self._where):
            if not where:
                continue
            other = self.pod(other_id)
            for term in other.anti_affinity:
                if self._term_matches(term, class_id):
                    checks.repelled.update(self._pairs(where, term.topology_key))
            for term in pod.anti_affinity:
                if self._term_matches(term, other_id):
                    checks.away.update(self._pairs(where, term.topology_key))
            if pod.affinity and all(self._term_matches(term, other_id) for term in pod.affinity):
                for term in pod.affinity:
                    for index, count in where.items():
                        value = self._label(index, term.topology_key)
                        if value is not None:
                            pair = (term.topology_key, value)
                            checks.near[pair] = checks.near.get(pair, 0) + count
        checks.first_of_group = (
            bool(pod.affinity) and not checks.near and all(self._term_matches(term, class_id) for term in pod.affinity)
        )
        return checks

    def _pairs(self, where: Mapping[int, int], key: str) -> List[Tuple[str, str]]:
        values = {self._label(index, key) for index in where}
        return [(key, value) for value in values if value is not None]

    def _eligible(self, class_id: int, index: int, constraint: Spread) -> bool:
        if constraint.honor_affinity and not self.node_affinity(class_id)[index]:
            return False
        node = self.places[index].node
        return not (constraint.honor_taints and self.blocking_taint(self.pod(class_id), node) is not None)

    def _domain_counts(
        self, class_id: int, constraint: Spread, together: Sequence[Spread], within: Optional[Set[str]] = None
    ) -> Dict[str, int]:
        """How many pods that a constraint counts are in each domain of its key."""
        pod = self.pod(class_id)
        keys = [other.topology_key for other in together]
        counts: Dict[str, int] = {}
        for index, place in enumerate(self.places):
            labels = place.node.labels
            if any(key not in labels for key in keys) or not self._eligible(class_id, index, constraint):
                continue
            domain = labels.get(constraint.topology_key, "")
            if within is None or domain in within:
                counts[domain] = counts.get(domain, 0) + self._matching(index, constraint, pod.namespace)
        return counts

    def _matching(self, index: int, constraint: Spread, namespace: str) -> int:
        if constraint.selector.empty or constraint.selector.nothing:
            return 0
        total = 0
        for class_id, count in self.places[index].classes.items():
            pod, terminating = self._pods[class_id]
            if not terminating and pod.namespace == namespace and constraint.selector.matches(pod.label_map):
                total += count
        return total

    def reasons(self, class_id: int) -> List[Tuple[str, ...]]:
        """For each node, why the pod cannot go there now; an empty tuple where it can."""
        pod, checks = self.pod(class_id), self._checks(class_id)
        result: List[Tuple[str, ...]] = []
        for index, static in enumerate(self.static_reasons(class_id)):
            if checks.named is not None and self.places[index].node.name not in checks.named:
                result.append((NOT_NAMED,))
            elif static is not None:
                result.append((static,))
            else:
                result.append(self._dynamic(pod, index, checks))
        return result

    def _dynamic(self, pod: Pod, index: int, checks: _Checks) -> Tuple[str, ...]:
        place = self.places[index]
        if pod.host_ports and self._ports_taken(pod, place):
            return (HOST_PORTS,)
        lacking = self.lacking(pod, place)
        if lacking:
            return lacking
        for name in pod.claims:
            key = f"{pod.namespace}/{name}"
            claim = self.claims.get(key)
            if claim is not None and not self._claim_allows(claim, key, index):
                return (self.words.volume_affinity,)
        labels = place.node.labels
        for constraint, counts, smallest, own in checks.spreads:
            domain = labels.get(constraint.topology_key)
            if domain is None:
                return (SPREAD_LABEL,)
            if counts.get(domain, 0) + own - smallest > constraint.max_skew:
                return (SPREAD,)
        if pod.affinity and not self._near(pod, labels, checks):
            return (AFFINITY,)
        for term in pod.anti_affinity:
            if (term.topology_key, labels.get(term.topology_key)) in checks.away:
                return (ANTI_AFFINITY,)
        if checks.repelled and any(pair in checks.repelled for pair in labels.items()):
            return (EXISTING_ANTI_AFFINITY,)
        return ()

    @staticmethod
    def _near(pod: Pod, labels: Mapping[str, str], checks: _Checks) -> bool:
        for term in pod.affinity:
            if term.topology_key not in labels:
                return False
        return checks.first_of_group or all(
            checks.near.get((term.topology_key, labels[term.topology_key]), 0) > 0 for term in pod.affinity
        )

    @staticmethod
    def _ports_taken(pod: Pod, place: Place) -> bool:
        for protocol, address, number in pod.host_ports:
            for other_protocol, other_address, other_number in place.ports:
                same = number == other_number and protocol == other_protocol
                if same and (address == other_address or EVERY_ADDRESS in (address, other_address)):
                    return True
        return False

    @staticmethod
    def lacking(pod: Pod, place: Place) -> Tuple[str, ...]:
        """The resources that a node has too little of, in the scheduler's words."""
        result = []
        if place.pods + 1 > place.node.pods:
            result.append(TOO_MANY_PODS)
        for name, amount in pod.requests:
            if amount > 0 and amount > place.node.allocatable.get(name, 0) - place.used.get(name, 0):
                result.append(f"Insufficient {name}")
        return tuple(result)

    def _claim_allows(self, claim: Claim, key: str, index: int) -> bool:
        if key in self.pinned:
            return self.pinned[key] == index
        node = self.places[index].node
        return claim.terms is None or any(term.matches(node.labels, node.name) for term in claim.terms)

    def message(self, reasons: Sequence[Tuple[str, ...]]) -> str:
        """Why no node takes a pod, as the scheduler's event says it."""
        counts: Dict[str, int] = {}
        for entry in reasons:
            for reason in entry:
                counts[reason] = counts.get(reason, 0) + 1
        listed = ", ".join(sorted(f"{count} {reason}" for reason, count in counts.items()))
        return (
            f"0/{len(self.places)} nodes are available: {listed}." if listed else "no nodes available to schedule pods"
        )

    # Scores

    def scores(self, class_id: int, feasible: Sequence[int]) -> List[int]:
        """The sum of the default plugins' scores for each node that can take the pod."""
        pod = self.pod(class_id)
        parts = [
            (3, _normalized([self._soft_taints(pod, index) for index in feasible], reverse=True)),
            (2, _normalized([self._preferred_nodes(pod, index) for index in feasible])),
            (1, [self._least_allocated(pod, self.places[index]) for index in feasible]),
            (2, self._spread_scores(class_id, feasible)),
            (2, self._pod_affinity_scores(class_id, feasible)),
            (1, [self._balanced(pod, self.places[index]) for index in feasible]),
        ]
        return [sum(weight * scores[i] for weight, scores in parts) for i in range(len(feasible))]

    def _soft_taints(self, pod: Pod, index: int) -> int:
        return sum(
            1
            for taint in self.places[index].node.taints
            if taint.effect == "PreferNoSchedule" and not self._tolerated(pod, taint)
        )

    def _preferred_nodes(self, pod: Pod, index: int) -> int:
        node = self.places[index].node
        return sum(weight for weight, term in pod.preferred_nodes if term.matches(node.labels, node.name))

    @staticmethod
    def _least_allocated(pod: Pod, place: Place) -> int:
        total = weights = 0
        for number, name in enumerate(("cpu", "memory")):
            capacity = place.node.allocatable.get(name, 0)
            if not capacity:
                continue
            weights += 1
            free = capacity - place.scored[number] - pod.scored[number]
            total += free * _MAX_SCORE // capacity if free >= 0 else 0
        return total // weights if weights else 0

    @staticmethod
    def _balanced(pod: Pod, place: Place) -> int:
        asked = pod.request_map
        if not asked.get("cpu") and not asked.get("memory"):
            return 0

        def balance(more: int) -> int:
            shares = []
            for name in ("cpu", "memory"):
                capacity = place.node.allocatable.get(name, 0)
                if capacity:
                    shares.append(min(1.0, (place.used.get(name, 0) + more * asked.get(name, 0)) / capacity))
            deviation = abs((shares[0] - shares[1]) / 2) if len(shares) == 2 else 0.0
            return int((1 - deviation) * float(_MAX_SCORE))

        half = _MAX_SCORE // 2
        return half + int((half + balance(1) - balance(0)) / 2)

    def _spread_scores(self, class_id: int, feasible: Sequence[int]) -> List[int]:
        pod = self.pod(class_id)
        soft = [constraint for constraint in pod.spreads if not constraint.hard]
        strict = bool(pod.spreads)
        if not strict and not pod.default_spread.nothing:
            soft = [Spread(skew, key, False, pod.default_spread, 1, True, False) for key, skew in _DEFAULT_SPREADS]
        if not soft or not feasible:
            return [0] * len(feasible)
        keys = [constraint.topology_key for constraint in soft]
        ignored = {index for index in feasible if strict and any(self._label(index, key) is None for key in keys)}
        raw = dict.fromkeys(feasible, 0.0)
        for constraint in soft:
            key = constraint.topology_key
            scored = [index for index in feasible if index not in ignored]
            if key == HOSTNAME:
                size, counts = len(scored), {}
            else:
                domains = {self._label(index, key) or "" for index in scored}
                counts = self._domain_counts(class_id, constraint, soft if strict else (), domains)
                size = len(domains)
            weight = math.log(size + 2)
            for index in scored:
                domain = self._label(index, key)
                if domain is None:
                    continue
                if key == HOSTNAME:
                    count = self._matching(index, constraint, pod.namespace)
                else:
                    count = counts.get(domain, 0)
                raw[index] += count * weight + float(constraint.max_skew - 1)
        rounded = {index: math.floor(score + 0.5) for index, score in raw.items()}
        kept = [rounded[index] for index in feasible if index not in ignored]
        highest, lowest = max(kept, default=0), min(kept, default=0)
        result = []
        for index in feasible:
            if index in ignored:
                result.append(0)
            elif not highest:
                result.append(_MAX_SCORE)
            else:
                result.append(_MAX_SCORE * (highest + lowest - rounded[index]) // highest)
        return result

    def _pod_affinity_scores(self, class_id: int, feasible: Sequence[int]) -> List[int]:
        pod = self.pod(class_id)
        totals: Dict[Tuple[str, str], int] = {}

        def add(term: PodTerm, weight: int, where: Mapping[int, int]) -> None:
            for index, count in where.items():
                value = self._label(index, term.topology_key)
                if value is not None:
                    pair = (term.topology_key, value)
                    totals[pair] = totals.get(pair, 0) + weight * count

        for other_id, where in enumerate(self._where):
            if not where:
                continue
            other = self.pod(other_id)
            for terms, sign in ((pod.preferred_affinity, 1), (pod.preferred_anti_affinity, -1)):
                for term in terms:
                    if self._term_matches(term, other_id):
                        add(term, sign * term.weight, where)
            for terms, sign in ((other.preferred_affinity, 1), (other.preferred_anti_affinity, -1)):
                for term in terms:
                    if self._term_matches(term, class_id):
                        add(term, sign * term.weight, where)
            for term in other.affinity:
                if self._term_matches(term, class_id):
                    add(term, 1, where)
        if not totals:
            return [0] * len(feasible)
        raw = [sum(totals.get(pair, 0) for pair in self.places[index].node.labels.items()) for index in feasible]
        lowest, span = min(raw), max(raw) - min(raw)
        return [int(_MAX_SCORE * ((score - lowest) / span)) if span else 0 for score in raw]

    # Equivalence

    def signatures(self, class_ids: Iterable[int]) -> List[Tuple[Any, ...]]:
        """For each node, what of it never changes and could matter to these pods: equal nodes are interchangeable."""
        keys = {ZONE}
        for pod, _terminating in self._pods:
            for term in pod.affinity + pod.anti_affinity + pod.preferred_affinity + pod.preferred_anti_affinity:
                keys.add(term.topology_key)
            keys.update(constraint.topology_key for constraint in pod.spreads)
        classes = sorted(set(class_ids))
        local: List[NodeTerm] = [term for claim in self.claims.values() for term in claim.terms or ()]
        columns = [self.static_reasons(class_id) for class_id in classes]
        result = []
        for index, place in enumerate(self.places):
            node = place.node
            labels = tuple(
                (key, node.labels.get(key))
                for key in sorted(keys)
                if not (key == HOSTNAME and node.labels.get(key) == node.name)
            )
            result.append(
                (
                    labels,
                    tuple(sorted(node.allocatable.items())),
                    tuple(column[index] for column in columns),
                    tuple(self._preferred_nodes(self.pod(class_id), index) for class_id in classes),
                    tuple(self._soft_taints(self.pod(class_id), index) for class_id in classes),
                    tuple(term.matches(node.labels, node.name) for term in local),
                )
            )
        return result

    def state_of(self, index: int) -> Tuple[Any, ...]:
        """What is on a node now, as a key."""
        pins = tuple(sorted(key for key, where in self.pinned.items() if where == index)) if self.pinned else ()
        return (tuple(sorted(self.places[index].classes.items())), pins)


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


def _normalized(scores: List[int], reverse: bool = False) -> List[int]:
    highest = max(scores, default=0)
    if not highest:
        return [_MAX_SCORE] * len(scores) if reverse else scores
    scaled = [_MAX_SCORE * score // highest for score in scores]
    return [_MAX_SCORE - score for score in scaled] if reverse else scaled


def read_claims(
    wanted: Iterable[str],
    claims: Mapping[str, Mapping[str, Any]],
    volumes: Mapping[str, Mapping[str, Any]],
    classes: Mapping[str, Mapping[str, Any]],
) -> Tuple[Dict[str, Claim], List[str]]:
    """Say where claims let their pods run; what is not known or not modelled comes back as notes."""
    result: Dict[str, Claim] = {}
    notes: List[str] = []
    default = next(
        (
            name
            for name, item in sorted(classes.items())
            if ((item.get("metadata") or {}).get("annotations") or {}).get(
                "storageclass.kubernetes.io/is-default-class"
            )
            == "true"
        ),
        "",
    )
    for key in wanted:
        claim = claims.get(key)
        if claim is None:
            notes.append(f"PersistentVolumeClaim {key}: it is not there yet, so its volume's nodes are not known")
            continue
        spec = claim.get("spec") or {}
        volume_name = spec.get("volumeName")
        if volume_name:
            volume = volumes.get(str(volume_name))
            if volume is None:
                notes.append(f"PersistentVolumeClaim {key}: its volume {volume_name} was not found")
                continue
            required = (((volume.get("spec") or {}).get("nodeAffinity")) or {}).get("required") or {}
            terms = required.get("nodeSelectorTerms")
            thing = f"PersistentVolume {volume_name}"
            result[key] = Claim(node_terms(terms, thing, "spec.nodeAffinity.required") if terms else None)
            continue
        class_name = str(spec.get("storageClassName") or default)
        storage = classes.get(class_name)
        if storage is None:
            notes.append(f"PersistentVolumeClaim {key}: its StorageClass {class_name or '(default)'} was not found")
            continue
        provisioner = str(storage.get("provisioner") or "")
        if storage.get("volumeBindingMode") != "WaitForFirstConsumer" or provisioner.endswith("/no-provisioner"):
            notes.append(f"PersistentVolumeClaim {key}: not bound yet, and its volume decides where pods may run")
        elif storage.get("allowedTopologies"):
            notes.append(f"PersistentVolumeClaim {key}: StorageClass {class_name} has allowedTopologies")
        else:
            # A directory of a node: the first pod that uses the claim decides the node for all others.
            result[key] = Claim(local="local" in provisioner or "hostpath" in provisioner)
    return result, notes
