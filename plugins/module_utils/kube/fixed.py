# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of the nodes never changes as pods are placed: which of them a pod may go to at all, and their domains."""

from __future__ import annotations

from typing import Any, Dict, FrozenSet, List, Optional, Sequence, Set, Tuple

from ansible_collections.airgap.speech.plugins.module_utils.kube.nodes import SMALLEST_IMAGE, Node
from ansible_collections.airgap.speech.plugins.module_utils.kube.podspec import Pod
from ansible_collections.airgap.speech.plugins.module_utils.kube.terms import Taint, Toleration
from ansible_collections.airgap.speech.plugins.module_utils.kube.versions import Version

UNSCHEDULABLE = "node(s) were unschedulable"
OTHER_NODE = "node(s) didn't match the requested node name"
NODE_AFFINITY = "node(s) didn't match Pod's node affinity/selector"

_UNSCHEDULABLE_TAINT = Taint("node.kubernetes.io/unschedulable", "", "NoSchedule")
_BLOCKING = ("NoSchedule", "NoExecute")
_MOST_OF_IMAGE = 1000 * 2**20
# In place of a topology key: each node is a domain of its own.
EACH_NODE = ""
ABSENT = -1
ELSEWHERE = -2


class Fixed:
    """Nodes as they are, with what is found out about them kept."""

    def __init__(self, nodes: Sequence[Node], version: Version) -> None:
        self.nodes = list(nodes)
        self.version = version
        self.has_soft_taints = any(t.effect == "PreferNoSchedule" for node in self.nodes for t in node.taints)
        self._images = {image for node in self.nodes for image in node.images}
        self._columns: Dict[Tuple[Any, ...], Tuple[List[int], List[int], int]] = {}
        self._affine: Dict[Tuple[Any, ...], List[bool]] = {}
        self._taints: Dict[Tuple[Toleration, ...], List[Optional[Taint]]] = {}
        # What of these is shared by classes lives as long as the nodes, so that it is told by its identity.
        self._statics: Dict[Tuple[Any, ...], Tuple[List[Optional[str]], List[int]]] = {}
        self._parts: Dict[Tuple[int, ...], List[List[int]]] = {}

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

    def static(self, pod: Pod) -> Tuple[List[Optional[str]], List[int]]:
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

    def parts(self, opened: List[int], lookups: Sequence[List[int]]) -> List[List[int]]:
        """The open nodes of a class, as :meth:`static` gives them, divided by the domains that they are in."""
        key = (id(opened), *[id(lookup) for lookup in lookups])
        found = self._parts.get(key)
        if found is None:
            divided: Dict[Tuple[int, ...], List[int]] = {}
            for index in opened:
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

    def column(
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
                column.append(domains.setdefault(value, len(domains)) if counts and value is not None else ABSENT)
            lookup = column
            if mask:
                lookup = [
                    ABSENT if key not in node.labels else domains.get(node.labels[key], ELSEWHERE)
                    for node in self.nodes
                ]
            found = self._columns[(key, *within)] = (column, lookup, len(domains))
        return found

    def image_scores(self, pod: Pod) -> Optional[List[int]]:
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


def _full_name(image: str) -> str:
    return image if image.rfind(":") > image.rfind("/") else f"{image}:latest"


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
