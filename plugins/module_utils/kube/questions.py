# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The questions that can be put to a problem, each with a verdict of its own."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Dict, Iterable, List, Sequence, Set, Tuple

from ansible_collections.airgap.speech.plugins.module_utils.kube.eviction import Evictor, Victim, read_budget
from ansible_collections.airgap.speech.plugins.module_utils.kube.nodes import ZONE, Node
from ansible_collections.airgap.speech.plugins.module_utils.kube.pods import Workload, share_of
from ansible_collections.airgap.speech.plugins.module_utils.kube.podspec import Existing
from ansible_collections.airgap.speech.plugins.module_utils.kube.problem import Change, Problem
from ansible_collections.airgap.speech.plugins.module_utils.kube.scheduling import DOES_NOT_FIT, Shortfall, Verdict
from ansible_collections.airgap.speech.plugins.module_utils.kube.terms import SpecError

NOW, AUTOSCALED, ROLLING_UPDATE = "now", "autoscaled", "rolling_update"
LOST_NODES, LOST_ZONE, EVICT = "lost_nodes", "lost_zone", "evict"
QUESTIONS = (NOW, AUTOSCALED, ROLLING_UPDATE, LOST_NODES, LOST_ZONE, EVICT)

# Each in turn is gone, where there are no more nodes than this; beyond, those that are likely to matter most.
_EACH_NODE = 30
_ORDER = {"does_not_fit": 0, "order_dependent": 1, "fits": 2}


@dataclass
class Answer:
    """The verdict on one question; ``lost`` are the nodes or the zone that are gone, ``victims`` who is evicted."""

    question: str
    verdict: Verdict
    lost: List[str] = field(default_factory=list)
    victims: List[Victim] = field(default_factory=list)
    subject: str = ""


def answer(problem: Problem, question: str, *, tolerate_nodes: int = 1, headroom: bool = True) -> Answer:
    """Answer one question."""
    if question == NOW:
        return Answer(NOW, problem.solve(Change(headroom=headroom)), subject="now")
    if question == AUTOSCALED:
        change = Change(workloads=autoscaled(problem.manifest.workloads))
        return Answer(AUTOSCALED, problem.solve(change), subject="at the autoscalers' maximum")
    if question == ROLLING_UPDATE:
        return _rolling_update(problem)
    if question == LOST_NODES:
        return _lost_nodes(problem, tolerate_nodes)
    if question == LOST_ZONE:
        return _lost_zone(problem)
    if question == EVICT:
        return _evict(problem)
    raise SpecError(f"capacity: questions: {question!r} is none of {', '.join(QUESTIONS)}")


def autoscaled(workloads: Iterable[Workload]) -> List[Workload]:
    """The workloads with as many pods as their autoscalers may make."""
    return [replace(item, count=max(item.count, item.maximum), autoscaled=False) for item in workloads]


# A rolling update


def surge_of(workload: Workload) -> Tuple[int, int]:
    """How many pods more there may be while a workload is updated, and how many less."""
    surge = share_of(workload.surge, workload.count, up=True)
    unavailable = min(workload.count, share_of(workload.unavailable, workload.count, up=False))
    if not surge and not unavailable:
        # The controller does not let an update stand still.
        unavailable = 1
    return surge, unavailable


def _rolling_update(problem: Problem) -> Answer:
    """All workloads updated at once: the pods of before, and as many new ones as may come before the old ones go."""
    workloads: List[Workload] = []
    for workload in problem.manifest.workloads:
        workloads.append(workload)
        surge = surge_of(workload)[0] if workload.kind == "Deployment" and workload.count else 0
        if surge:
            workloads.append(replace(workload, name=f"{workload.name} (surge)", count=surge, autoscaled=False))
    verdict = problem.solve(Change(workloads=workloads))
    for item in verdict.shortfalls:
        if item.workload.endswith(" (surge)"):
            title = item.workload[: -len(" (surge)")]
            workload = next(entry for entry in problem.manifest.workloads if entry.title == title)
            unavailable = surge_of(workload)[1]
            if unavailable:
                item.details.append(
                    f"the update goes on all the same, in steps: {unavailable} pod(s) may be unavailable meanwhile"
                )
            else:
                item.details.append("the update would stand still: maxUnavailable lets no pod go first")
    return Answer(ROLLING_UPDATE, verdict, subject="during a rolling update")


# Nodes that are gone


def _largest(nodes: Sequence[Node], names: Iterable[str], count: int) -> List[List[str]]:
    """The largest nodes, by each resource."""
    result = []
    for name in names:
        ranked = sorted(nodes, key=lambda node: (-node.allocatable.get(name, 0), node.name))
        result.append([node.name for node in ranked[:count]])
    return result


def _lost_nodes(problem: Problem, count: int) -> Answer:
    if count < 1:
        raise SpecError(f"capacity: tolerate_nodes: {count} is not a whole number above zero")
    nodes = problem.snapshot.nodes
    asked = {name for item in problem.manifest.workloads for name, amount in item.pod.requests if amount}
    candidates = _largest(nodes, sorted(asked | {"cpu", "memory"}), count)
    if count == 1 and len(nodes) <= _EACH_NODE:
        candidates += [[node.name] for node in nodes]
    else:
        # The nodes that hold most of the releases' pods.
        placed = problem.solve().placements
        ranked = sorted(placed, key=lambda name: (-len(placed[name]), name))
        candidates.append(ranked[:count])
    found = _worst(problem, LOST_NODES, candidates)
    found.subject = f"with {_names(found.lost)} gone"
    return found


def _lost_zone(problem: Problem) -> Answer:
    zones: Dict[str, List[str]] = {}
    for node in problem.snapshot.nodes:
        if ZONE in node.labels:
            zones.setdefault(node.labels[ZONE], []).append(node.name)
    if not zones:
        verdict = problem.solve()
        message = f"no node has the label {ZONE}, so no zone can be told; label the nodes"
        shortfalls = [Shortfall("", 0, message)]
        verdict = replace(verdict, verdict=DOES_NOT_FIT, shortfalls=shortfalls)
        return Answer(LOST_ZONE, verdict, subject="with a zone gone")
    found = _worst(problem, LOST_ZONE, list(zones.values()))
    gone = set(found.lost)
    found.lost = [zone for zone, names in zones.items() if gone == set(names)]
    found.subject = f"with zone {', '.join(found.lost)} gone"
    return found


def _names(names: Sequence[str]) -> str:
    return f"node {names[0]}" if len(names) == 1 else f"nodes {', '.join(names)}"


def _worst(problem: Problem, question: str, candidates: Sequence[Sequence[str]]) -> Answer:
    """The answer where the pods are worst off, of all these sets of nodes gone."""
    worst: List[Answer] = []
    seen: Set[Tuple[str, ...]] = set()
    for names in candidates:
        key = tuple(sorted(names))
        if not names or key in seen:
            continue
        seen.add(key)
        verdict = problem.solve(_without_nodes(problem, set(names)))
        found = Answer(question, verdict, list(names))
        if not worst or _badness(found) < _badness(worst[0]):
            worst = [found]
    if not worst:
        return Answer(question, problem.solve())
    return worst[0]


def _badness(found: Answer) -> Tuple[int, int]:
    return _ORDER[found.verdict.verdict], -sum(item.pods for item in found.verdict.shortfalls)


def _without_nodes(problem: Problem, names: Set[str]) -> Change:
    nodes = [node for node in problem.snapshot.nodes if node.name not in names]
    displaced: Dict[Tuple[str, str, str, int], List[Existing]] = {}
    for item in problem.others:
        if item.node in names and item.owner_kind not in ("", "DaemonSet", "Node") and not item.terminating:
            key = (item.owner_kind, item.pod.namespace, item.owner_name, id(item.pod))
            displaced.setdefault(key, []).append(item)
    workloads = [
        Workload(f"displaced {kind}", namespace, name, len(items), items[0].pod)
        for (kind, namespace, name, _pod), items in displaced.items()
    ]
    return Change(nodes=nodes, displaced=workloads)


# Eviction


def _evict(problem: Problem) -> Answer:
    """Whether all would fit by evicting pods of lower priority, and whom."""
    verdict = problem.solve()
    if verdict.fits:
        return Answer(EVICT, verdict, subject="by evicting pods of lower priority")
    simulation, kept = problem.simulation(Change())
    budgets = [read_budget(document) for document in problem.snapshot.of("PodDisruptionBudget")]
    evictor = Evictor(simulation.cluster, problem.tenants(), budgets)
    verdict = simulation.run(kept, headroom=False, evict=evictor.place)
    return Answer(EVICT, verdict, victims=evictor.victims, subject="by evicting pods of lower priority")
