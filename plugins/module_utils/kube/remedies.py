# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What would make the pods fit: each remedy is tried in the simulation before it is named."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Dict, Iterable, List, Optional, Sequence, Set, Tuple

from ansible_collections.airgap.speech.plugins.module_utils.kube import quantity as quantities
from ansible_collections.airgap.speech.plugins.module_utils.kube.nodes import HOSTNAME, Node
from ansible_collections.airgap.speech.plugins.module_utils.kube.pods import Workload
from ansible_collections.airgap.speech.plugins.module_utils.kube.problem import Change, Problem
from ansible_collections.airgap.speech.plugins.module_utils.kube.quota import Quota
from ansible_collections.airgap.speech.plugins.module_utils.kube.scheduling import QUOTA, Verdict
from ansible_collections.airgap.speech.plugins.module_utils.kube.terms import Taint, Toleration

# Nodes and pods that are looked at while remedies are tried: some seconds at most.
_BUDGET = 300_000
_TRIALS = 40
_MOST_NODES = 256
_KINDS = 6
_BLOCKING = ("NoSchedule", "NoExecute")


@dataclass(frozen=True)
class Remedy:
    """One change after which all pods fit. ``data`` has its parts, by name."""

    kind: str
    text: str
    data: Tuple[Tuple[str, Any], ...] = ()

    def as_dict(self) -> Dict[str, Any]:
        return {"kind": self.kind, "text": self.text, **dict(self.data)}


class Finder:
    """Tries changes to a problem, as long as the budget lasts."""

    def __init__(self, problem: Problem, verdict: Verdict) -> None:
        self._problem = problem
        self._short = {item.workload: item for item in verdict.shortfalls}
        self._nodes = list(problem.snapshot.nodes)
        self._workloads = problem.manifest.workloads
        self._trials = min(_TRIALS, max(4, _BUDGET // max(1, verdict.pods + len(self._nodes))))
        self._pending = sum(item.pods for item in verdict.shortfalls)

    def find(self) -> List[Remedy]:
        """The remedies that work, the smallest changes first."""
        found: List[Optional[Remedy]] = []
        if any(item.cause == QUOTA for item in self._short.values()):
            found.append(self._quota())
        found += [self._uncordon(), *self._tolerate(), *self._label(), *self._more_nodes()]
        if not any(found):
            found.append(self._fewer())
        return [remedy for remedy in found if remedy is not None]

    def _fits(self, change: Change) -> bool:
        if self._trials <= 0:
            return False
        self._trials -= 1
        return self._problem.solve(change).fits

    def _lacking(self) -> List[Workload]:
        return [workload for workload in self._workloads if workload.title in self._short]

    # Quotas

    def _quota(self) -> Optional[Remedy]:
        """Each quota raised to what all pods ask for."""
        needed: List[Quota] = []
        texts = []
        for quota in self._problem.quotas:
            raised = dict(quota.hard)
            total = dict(quota.used)
            for workload in self._workloads:
                if (
                    workload.charge is None
                    or workload.namespace != quota.namespace
                    or not quota.matches(workload.charge)
                ):
                    continue
                wanted = workload.count - len(self._problem.kept.get(workload.title, ()))
                for name, amount in workload.charge.used:
                    if name in raised:
                        whole = quantities.Quantity(amount.nanos * max(0, wanted), amount.binary)
                        total[name] = total.get(name, quantities.ZERO) + whole
            for name in sorted(raised):
                if total.get(name, quantities.ZERO) > raised[name]:
                    raised[name] = total[name]
                    texts.append(f"{name} of ResourceQuota {quota.namespace}/{quota.name} to {total[name]}")
            needed.append(replace(quota, hard=raised))
        if not texts or not self._fits(Change(quotas=needed)):
            return None
        return Remedy("quota", f"raise {', '.join(texts)}", (("quotas", texts),))

    # Nodes that are there

    def _uncordon(self) -> Optional[Remedy]:
        cordoned = [node.name for node in self._nodes if node.unschedulable]
        for name in cordoned:
            nodes = [_open(node) if node.name == name else node for node in self._nodes]
            if self._fits(Change(nodes=nodes)):
                return Remedy("uncordon", f"make node {name} schedulable again", (("node", name),))
        if len(cordoned) > 1 and self._fits(Change(nodes=[_open(node) for node in self._nodes])):
            return Remedy("uncordon", f"make the {len(cordoned)} unschedulable nodes schedulable again", ())
        return None

    def _tolerate(self) -> List[Optional[Remedy]]:
        """A taint that the pods that stay pending could tolerate."""
        result: List[Optional[Remedy]] = []
        taints: Dict[Taint, int] = {}
        for node in self._nodes:
            for taint in node.taints:
                if taint.effect in _BLOCKING and taint.key != "node.kubernetes.io/unschedulable":
                    taints[taint] = taints.get(taint, 0) + 1
        for taint, count in sorted(taints.items(), key=lambda item: -item[1])[:_KINDS]:
            titles = {
                item.title for item in self._lacking() if not any(t.tolerates(taint) for t in item.pod.tolerations)
            }
            toleration = Toleration(taint.key, "Equal", taint.value, taint.effect)
            if titles and self._fits(Change(workloads=[_tolerating(w, titles, toleration) for w in self._workloads])):
                mark = f"{taint.key}={taint.value}:{taint.effect}" if taint.value else f"{taint.key}:{taint.effect}"
                text = f"let {', '.join(sorted(titles))} tolerate the taint {mark} of {count} node(s)"
                result.append(Remedy("toleration", text, (("taint", mark), ("workloads", sorted(titles)))))
        return result

    def _label(self) -> List[Optional[Remedy]]:
        """A label that a node selector asks for and nodes do not have."""
        result: List[Optional[Remedy]] = []
        tried: Set[Tuple[str, str]] = set()
        for workload in self._lacking():
            for key, value in [*workload.pod.node_selector, *_wanted_labels(workload)]:
                if (key, value) in tried:
                    continue
                tried.add((key, value))
                result.append(self._label_nodes(key, value))
        return result

    def _label_nodes(self, key: str, value: str) -> Optional[Remedy]:
        candidates = [node for node in self._nodes if node.labels.get(key) != value and not node.unschedulable]
        candidates.sort(key=lambda node: (bool(node.taints), -node.allocatable.get("cpu", 0), node.name))

        def change(count: int) -> Change:
            names = {node.name for node in candidates[:count]}
            return Change(nodes=[_labelled(node, key, value) if node.name in names else node for node in self._nodes])

        count = self._fewest(len(candidates), change)
        if count is None:
            return None
        names = [node.name for node in candidates[:count]]
        shown = ", ".join(names[:4]) + (f" and {count - 4} more" if count > 4 else "")
        text = f"give the label {key}={value} to {count} more node(s), such as {shown}"
        return Remedy("label", text, (("label", f"{key}={value}"), ("nodes", count), ("names", names)))

    # More nodes

    def _more_nodes(self) -> List[Optional[Remedy]]:
        result: List[Optional[Remedy]] = []
        for pool, like in _pools(self._nodes)[:_KINDS]:

            def change(count: int, like: Node = like) -> Change:
                return Change(nodes=[*self._nodes, *(_another(like, number) for number in range(1, count + 1))])

            count = self._fewest(min(_MOST_NODES, 3 + self._pending), change)
            if count is not None:
                text = f"{count} more node(s) like {pool}"
                result.append(Remedy("nodes", text, (("nodes", count), ("like", pool))))
        return result

    def _fewest(self, most: int, change: Any) -> Optional[int]:
        """The smallest number with which all pods fit, found by doubling and then halving."""
        high = 1
        while not self._fits(change(high)):
            if high >= most or self._trials <= 0:
                return None
            high = min(most, high * 2)
        low = high // 2
        while high - low > 1:
            middle = (low + high) // 2
            if self._fits(change(middle)):
                high = middle
            else:
                low = middle
        return high

    def _fewer(self) -> Optional[Remedy]:
        """Fewer pods of what stays pending."""
        workloads = []
        texts = []
        for workload in self._workloads:
            short = self._short.get(workload.title)
            if short is not None and not workload.daemon and 0 < short.pods < workload.count:
                fewer = workload.count - short.pods
                texts.append(f"{fewer} pod(s) of {workload.title}")
                workloads.append(replace(workload, count=fewer))
            else:
                workloads.append(workload)
        if texts and self._fits(Change(workloads=workloads)):
            return Remedy("replicas", f"no more than {', '.join(texts)}", (("workloads", texts),))
        return None


def _open(node: Node) -> Node:
    taints = tuple(taint for taint in node.taints if taint.key != "node.kubernetes.io/unschedulable")
    return replace(node, unschedulable=False, taints=taints)


def _labelled(node: Node, key: str, value: str) -> Node:
    return replace(node, labels={**node.labels, key: value})


def _tolerating(workload: Workload, titles: Set[str], toleration: Toleration) -> Workload:
    if workload.title not in titles:
        return workload
    pods = tuple(replace(pod, tolerations=(*pod.tolerations, toleration)) for pod in workload.indexed)
    pod = replace(workload.pod, tolerations=(*workload.pod.tolerations, toleration))
    return replace(workload, pod=pod, indexed=pods)


def _wanted_labels(workload: Workload) -> Iterable[Tuple[str, str]]:
    for term in workload.pod.node_terms or ():
        for requirement in term.expressions:
            if requirement.operator == "In":
                yield requirement.key, requirement.values[0]


def _pools(nodes: Sequence[Node]) -> List[Tuple[str, Node]]:
    """Nodes that are alike but for their names, the most numerous first: what each kind is called, and one of it."""
    found: Dict[Tuple[Any, ...], List[Node]] = {}
    for node in nodes:
        labels = tuple(sorted(item for item in node.labels.items() if item[0] != HOSTNAME))
        key = (labels, tuple(sorted(node.allocatable.items())), tuple(t for t in node.taints if t.effect in _BLOCKING))
        found.setdefault(key, []).append(node)
    groups = sorted(found.values(), key=lambda group: (-len(group), group[0].name))
    return [(group[0].pool or group[0].name, group[0]) for group in groups]


def _another(like: Node, number: int) -> Node:
    name = f"{like.name}-more-{number}"
    labels = {**like.labels}
    if HOSTNAME in labels:
        labels[HOSTNAME] = name
    return replace(like, name=name, labels=labels, unschedulable=False)
