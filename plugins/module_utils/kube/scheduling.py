# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verdict: would the scheduler place these pods, in every order of ties, in none, or in some."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import Any, Dict, Iterable, List, Optional, Sequence, Set, Tuple

from ansible_collections.airgap.speech.plugins.module_utils.kube import quantity as quantities
from ansible_collections.airgap.speech.plugins.module_utils.kube.cluster import Cluster
from ansible_collections.airgap.speech.plugins.module_utils.kube.pods import Existing, Pod, Workload
from ansible_collections.airgap.speech.plugins.module_utils.kube.terms import NodeTerm, Requirement

FITS = "fits"
DOES_NOT_FIT = "does_not_fit"
ORDER_DEPENDENT = "order_dependent"

# From this many nodes on, the scheduler looks at a sample of them only.
_SAMPLED_NODES = 100
# Steps of the search for an order that differs, times nodes: a few seconds at most.
_BUDGET = 60_000
_ORDERS = 12
_HEADROOM_LIMIT = 100


@dataclass(frozen=True)
class Item:
    """One pod to place."""

    workload: Workload
    class_id: int


@dataclass
class Shortfall:
    """Pods of one workload that stay pending, and why."""

    workload: str
    pods: int
    message: str
    details: List[str] = field(default_factory=list)


@dataclass
class Verdict:
    """What the simulation found."""

    verdict: str
    nodes: int
    pods: int
    kept: int
    placements: Dict[str, List[str]]
    shortfalls: List[Shortfall]
    headroom: Dict[str, int]
    not_modelled: List[str]
    orders: int
    exhaustive: bool

    @property
    def fits(self) -> bool:
        return self.verdict == FITS


@dataclass
class _Outcomes:
    """What the orders that were tried ended with."""

    placed: Optional[List[int]] = None
    failed: Optional[List[int]] = None
    complete: bool = True
    orders: int = 0

    def absorb(self, other: _Outcomes) -> None:
        self.placed = self.placed if self.placed is not None else other.placed
        self.failed = self.failed if self.failed is not None else other.failed
        self.orders += other.orders


def _belongs(existing: Existing, workload: Workload) -> bool:
    if existing.pod.namespace != workload.namespace:
        return False
    if workload.kind == "Pod":
        return existing.name == workload.name
    if workload.kind == "CronJob":
        return existing.owner_kind == "Job" and existing.owner_name.rsplit("-", 1)[0] == workload.name
    return existing.owner_kind == workload.kind and existing.owner_name == workload.name


_SET_BY_CONTROLLERS = frozenset(
    (
        "pod-template-hash",
        "controller-revision-hash",
        "statefulset.kubernetes.io/pod-name",
        "apps.kubernetes.io/pod-index",
        "pod-template-generation",
        "batch.kubernetes.io/controller-uid",
        "batch.kubernetes.io/job-name",
        "controller-uid",
        "job-name",
    )
)


def _bare(pod: Pod, templates: Sequence[str] = ()) -> Pod:
    """A pod without what controllers and admission add to it."""
    claims = sorted(claim for claim in pod.claims if not any(claim.startswith(f"{name}-") for name in templates))
    labels = tuple(item for item in pod.labels if item[0] not in _SET_BY_CONTROLLERS)
    return replace(pod, labels=labels, claims=tuple(claims), default_spread=Pod("").default_spread)


def split_existing(
    existing: Iterable[Existing], workloads: Sequence[Workload], release: str, namespace: str
) -> Tuple[List[Existing], Dict[str, List[Existing]]]:
    """Divide the pods of a cluster into those of others, and those of this release that stay where they run.

    A pod of the release whose template has not changed is not made again by an upgrade, so it keeps its place.
    The others of the release are left out: the manifest's take their place.
    """
    others: List[Existing] = []
    kept: Dict[str, List[Existing]] = {}
    for item in existing:
        owner = next((workload for workload in workloads if _belongs(item, workload)), None)
        of_release = (
            bool(release)
            and item.pod.namespace == namespace
            and (item.pod.label_map.get("app.kubernetes.io/instance") == release)
        )
        if owner is None:
            if not of_release:
                others.append(item)
            continue
        if owner.daemon or owner.hook or item.terminating or owner.kind in ("Job", "CronJob"):
            continue
        room = owner.autoscaled or len(kept.get(owner.title, ())) < owner.count
        if room and _bare(item.pod, owner.claim_templates) == _bare(owner.pod, owner.claim_templates):
            kept.setdefault(owner.title, []).append(item)
    return others, kept


def queue(workloads: Sequence[Workload]) -> List[Workload]:
    """The order in which the scheduler takes them: by priority, then as the objects stand."""
    return sorted(workloads, key=lambda workload: -workload.pod.priority)


class Simulation:
    """Places the pods of workloads on a cluster, in one order of ties after the other."""

    def __init__(self, cluster: Cluster, workloads: Sequence[Workload], *, exact_scores: bool = True) -> None:
        self.cluster = cluster
        self.workloads = list(workloads)
        self.exact = exact_scores and len(cluster.places) < _SAMPLED_NODES
        self.not_modelled: List[str] = []
        self.shortfalls: List[Shortfall] = []
        self._placements: Dict[str, List[str]] = {}
        self._kept = 0
        self._signatures: List[int] = []

    def run(self, kept: Optional[Dict[str, List[Existing]]] = None) -> Verdict:
        """Find the verdict."""
        kept = kept or {}
        hooks = [workload for workload in self.workloads if workload.hook]
        main = [workload for workload in self.workloads if not workload.hook]
        for title, pods in kept.items():
            for item in pods:
                index = self.cluster.by_name.get(item.node)
                if index is not None:
                    self.cluster.place(self.cluster.intern(item.pod), index)
                    self._note(title, index)
                    self._kept += 1
        self._run_hooks([hook for hook in hooks if hook.hook == "before"])
        self._run_daemons([workload for workload in main if workload.daemon])
        blocked = list(self.shortfalls)
        items = []
        for workload in queue([workload for workload in main if not workload.daemon]):
            here = len(kept.get(workload.title, ()))
            for index in range(here, workload.count):
                items.append(Item(workload, self.cluster.intern(workload.pod_at(index))))
        outcomes, complete, verdict = self._explore(items)
        # Where every order ends alike, the one that the scores choose is shown.
        path = outcomes.failed if verdict == ORDER_DEPENDENT else outcomes.placed if not complete else []
        self._follow(items, path or [])
        headroom = self._headroom(queue([workload for workload in main if not workload.daemon]))
        self._run_hooks([hook for hook in hooks if hook.hook == "after"])
        if blocked or (verdict == FITS and self.shortfalls):
            verdict = DOES_NOT_FIT
        total = len(items) + self._kept + sum(len(names) for names in self._daemon_placements())
        return Verdict(
            verdict=verdict,
            nodes=len(self.cluster.places),
            pods=total,
            kept=self._kept,
            placements={name: sorted(pods) for name, pods in sorted(self._placements.items())},
            shortfalls=self.shortfalls,
            headroom=headroom,
            not_modelled=self.not_modelled,
            orders=outcomes.orders,
            exhaustive=complete,
        )

    def _daemon_placements(self) -> List[List[str]]:
        titles = {workload.title for workload in self.workloads if workload.daemon}
        return [[title for title in pods if title in titles] for pods in self._placements.values()]

    def _note(self, title: str, index: int) -> None:
        self._placements.setdefault(self.cluster.places[index].node.name, []).append(title)

    # Pods that are not of the queue

    def _run_daemons(self, daemons: Sequence[Workload]) -> None:
        for workload in daemons:
            class_id = self.cluster.intern(workload.pod)
            affine = self.cluster.node_affinity(class_id)
            failed: List[str] = []
            for index, place in enumerate(self.cluster.places):
                wanted = workload.pod.node_name in ("", place.node.name)
                if not (wanted and affine[index]) or self.cluster.blocking_taint(workload.pod, place.node):
                    continue
                reasons = self.cluster.reasons(self.cluster.intern(_on_node(workload.pod, place.node.name)))
                if reasons[index]:
                    failed.append(self.cluster.message(reasons))
                else:
                    self.cluster.place(class_id, index)
                    self._note(workload.title, index)
            if failed:
                self.shortfalls.append(Shortfall(workload.title, len(failed), failed[0]))

    def _run_hooks(self, hooks: Sequence[Workload]) -> None:
        """Hooks run one after the other and go away again: each needs room of its own, not room together."""
        for workload in hooks:
            placed: List[Tuple[int, int, Tuple[str, ...]]] = []
            missing = 0
            message = ""
            class_id = self.cluster.intern(workload.pod)
            for _number in range(workload.count):
                reasons = self.cluster.reasons(class_id)
                feasible = [index for index, entry in enumerate(reasons) if not entry]
                if feasible:
                    index = self._best(class_id, feasible)[0]
                    placed.append((class_id, index, self.cluster.place(class_id, index)))
                else:
                    missing += 1
                    message = message or self.cluster.message(reasons)
            if missing:
                self._short(workload, class_id, missing, message)
            for placed_id, index, pinned in reversed(placed):
                self.cluster.remove(placed_id, index, pinned)

    # Orders of ties

    def _explore(self, items: Sequence[Item]) -> Tuple[_Outcomes, bool, str]:
        self._prepare(items)
        anywhere = self._search(items, best_only=False)
        if anywhere.complete and (anywhere.placed is None or anywhere.failed is None):
            return anywhere, True, FITS if anywhere.failed is None else DOES_NOT_FIT
        if self.exact:
            scored = self._search(items, best_only=True)
            complete = scored.complete
            if not complete:
                scored.absorb(self._sample(items, best_only=True))
        else:
            scored = anywhere
            complete = anywhere.complete
            scored.absorb(self._sample(items, best_only=True))
            scored.absorb(self._sample(items, best_only=False))
        if scored.placed is not None and scored.failed is not None:
            return scored, complete, ORDER_DEPENDENT
        return scored, complete, FITS if scored.failed is None else DOES_NOT_FIT

    def _prepare(self, items: Sequence[Item]) -> None:
        numbers: Dict[Tuple[Any, ...], int] = {}
        signatures = self.cluster.signatures(item.class_id for item in items)
        self._signatures = [numbers.setdefault(signature, len(numbers)) for signature in signatures]

    def _kinds(self, indexes: Sequence[int]) -> List[int]:
        """One node of each kind: nodes that are alike and hold the same pods are interchangeable."""
        seen: Set[Tuple[Any, ...]] = set()
        result = []
        for index in indexes:
            key = (self._signatures[index], self.cluster.state_of(index))
            if key not in seen:
                seen.add(key)
                result.append(index)
        return result

    def _best(self, class_id: int, feasible: Sequence[int]) -> List[int]:
        scores = self.cluster.scores(class_id, feasible)
        highest = max(scores)
        return [index for index, score in zip(feasible, scores) if score == highest]

    def _choices(self, item: Item, best_only: bool) -> List[int]:
        feasible = [index for index, entry in enumerate(self.cluster.reasons(item.class_id)) if not entry]
        if best_only and feasible:
            feasible = self._best(item.class_id, feasible)
        return self._kinds(feasible)

    def _search(self, items: Sequence[Item], *, best_only: bool) -> _Outcomes:
        """Try every order of ties, as far as the budget goes; stop when one places all and one does not."""
        outcomes = _Outcomes()
        nodes = max(1, len(self.cluster.places))
        steps = max(_BUDGET // nodes, 2 * len(items))
        seen: Set[Tuple[int, Tuple[Any, ...]]] = set()
        # Each level: the choices left, and what undoes the one in force.
        stack: List[List[int]] = []
        placed: List[Tuple[int, int, Tuple[str, ...]]] = []
        path: List[int] = []

        def undo() -> None:
            class_id, index, pinned = placed.pop()
            self.cluster.remove(class_id, index, pinned)
            path.pop()

        choices: List[int] = []
        descending = True
        while True:
            if descending:
                depth = len(path)
                if depth == len(items):
                    outcomes.orders += 1
                    if outcomes.placed is None:
                        outcomes.placed = list(path)
                    choices = []
                else:
                    key = (depth, self._state())
                    if key in seen:
                        choices = []
                    else:
                        seen.add(key)
                        steps -= 1
                        choices = self._choices(items[depth], best_only)
                        if not choices:
                            outcomes.orders += 1
                            if outcomes.failed is None:
                                outcomes.failed = list(path)
                stack.append(choices)
            finished = outcomes.placed is not None and outcomes.failed is not None
            if finished or steps <= 0:
                outcomes.complete = finished or not any(stack)
                while placed:
                    undo()
                return outcomes
            if stack[-1]:
                index = stack[-1].pop(0)
                item = items[len(path)]
                placed.append((item.class_id, index, self.cluster.place(item.class_id, index)))
                path.append(index)
                descending = True
            else:
                stack.pop()
                if not stack:
                    return outcomes
                undo()
                descending = False

    def _state(self) -> Tuple[Any, ...]:
        return tuple(
            sorted((self._signatures[index], self.cluster.state_of(index)) for index in range(len(self._signatures)))
        )

    def _sample(self, items: Sequence[Item], *, best_only: bool) -> _Outcomes:
        """Try some orders: the first and the last node of each tie, the fullest, the emptiest, and random ones."""
        outcomes = _Outcomes(complete=False)
        generator = random.Random(0)  # noqa: S311 - the same orders each time
        cost = max(1, len(items) * len(self.cluster.places))
        for number in range(max(3, min(_ORDERS, 2 * _BUDGET // cost))):
            path: List[int] = []
            placed: List[Tuple[int, int, Tuple[str, ...]]] = []
            for item in items:
                choices = self._choices(item, best_only)
                if not choices:
                    break
                index = self._pick(number, choices, generator)
                placed.append((item.class_id, index, self.cluster.place(item.class_id, index)))
                path.append(index)
            for class_id, index, pinned in reversed(placed):
                self.cluster.remove(class_id, index, pinned)
            outcomes.orders += 1
            if len(path) == len(items):
                outcomes.placed = outcomes.placed or path
            else:
                outcomes.failed = outcomes.failed or path
            if outcomes.placed is not None and outcomes.failed is not None:
                break
        return outcomes

    def _pick(self, number: int, choices: Sequence[int], generator: random.Random) -> int:
        if number == 0:
            return choices[0]
        if number == 1:
            return choices[-1]
        if number in (2, 3):
            ranked = sorted(choices, key=lambda index: self.cluster.places[index].scored[0])
            return ranked[-1] if number == 2 else ranked[0]
        return generator.choice(list(choices))

    def _follow(self, items: Sequence[Item], path: Sequence[int]) -> None:
        """Place the pods for good along an order; after its end, wherever the scores say."""
        missing: Dict[Tuple[str, int], List[str]] = {}
        owners: Dict[Tuple[str, int], Workload] = {}
        for number, item in enumerate(items):
            if number < len(path):
                index = path[number]
            else:
                reasons = self.cluster.reasons(item.class_id)
                feasible = [place for place, entry in enumerate(reasons) if not entry]
                if not feasible:
                    key = (item.workload.title, item.class_id)
                    owners[key] = item.workload
                    missing.setdefault(key, []).append(self.cluster.message(reasons))
                    continue
                index = self._best(item.class_id, feasible)[0]
            self.cluster.place(item.class_id, index)
            self._note(item.workload.title, index)
        for key, messages in missing.items():
            self._short(owners[key], key[1], len(messages), messages[0])

    def _short(self, workload: Workload, class_id: int, pods: int, message: str) -> None:
        details = self._details(workload.pod, class_id)
        if any(place_pod.priority < workload.pod.priority for place_pod in self._placed_pods()):
            note = "preemption: pods of lower priority that could be evicted"
            if note not in self.not_modelled:
                self.not_modelled.append(note)
        self.shortfalls.append(Shortfall(workload.title, pods, message, details))

    def _placed_pods(self) -> List[Pod]:
        ids = {class_id for place in self.cluster.places for class_id in place.classes}
        return [self.cluster.pod(class_id) for class_id in ids]

    def _details(self, pod: Pod, class_id: int) -> List[str]:
        """What the event does not say: the taints, the selector, and the most that a node has free."""
        details = []
        taints: Dict[str, int] = {}
        for place in self.cluster.places:
            taint = self.cluster.blocking_taint(pod, place.node)
            if taint is not None:
                taints[f"{taint.key}={taint.value}:{taint.effect}"] = (
                    taints.get(f"{taint.key}={taint.value}:{taint.effect}", 0) + 1
                )
        details += [f"taint {text} on {count} node(s) is not tolerated" for text, count in sorted(taints.items())]
        if self.cluster.places and not any(self.cluster.node_affinity(class_id)):
            wanted = ", ".join(f"{key}={text}" for key, text in pod.node_selector)
            details.append("no node has what the node selector and affinity ask" + (f": {wanted}" if wanted else ""))
        open_places = [
            place for place, static in zip(self.cluster.places, self.cluster.static_reasons(class_id)) if static is None
        ]
        for name, amount in pod.requests:
            free = [place.node.allocatable.get(name, 0) - place.used.get(name, 0) for place in open_places]
            if amount and free and max(free) < amount:
                details.append(
                    f"a pod asks for {quantities.text_of(name, amount)} of {name}; "
                    f"the node with the most has {quantities.text_of(name, max(0, *free))} free"
                )
        return details

    def _headroom(self, workloads: Sequence[Workload]) -> Dict[str, int]:
        """How many more pods of each workload would find a place, each workload alone."""
        result = {}
        for workload in workloads:
            class_id = self.cluster.intern(workload.pod_at(workload.count))
            placed: List[Tuple[int, Tuple[str, ...]]] = []
            while len(placed) < _HEADROOM_LIMIT:
                feasible = [index for index, entry in enumerate(self.cluster.reasons(class_id)) if not entry]
                if not feasible:
                    break
                index = self._best(class_id, feasible)[0]
                placed.append((index, self.cluster.place(class_id, index)))
            for index, pinned in reversed(placed):
                self.cluster.remove(class_id, index, pinned)
            result[workload.title] = len(placed)
        return result


def _on_node(pod: Pod, name: str) -> Pod:
    """A pod of a DaemonSet: its affinity names its node."""
    named = Requirement("metadata.name", "In", (name,))
    if pod.node_terms:
        terms = tuple(NodeTerm(term.expressions, (*term.fields, named)) for term in pod.node_terms)
    else:
        terms = (NodeTerm((), (named,)),)
    return replace(pod, node_terms=terms)
