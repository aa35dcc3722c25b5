# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pods that a cluster runs, cut down to what bears on pods to be placed, so that most of them are equal."""

from __future__ import annotations

from dataclasses import replace
from typing import Dict, Iterable, List, Mapping, Sequence, Set, Tuple

from ansible_collections.airgap.speech.plugins.module_utils.kube.pods import Workload
from ansible_collections.airgap.speech.plugins.module_utils.kube.podspec import Existing, Pod
from ansible_collections.airgap.speech.plugins.module_utils.kube.terms import NOTHING, PodTerm, Selector

# Labels of pods to be placed whose values are not known before they are created.
_UNKNOWN_VALUES = frozenset(
    (
        "pod-template-hash",
        "controller-revision-hash",
        "statefulset.kubernetes.io/pod-name",
        "apps.kubernetes.io/pod-index",
        "batch.kubernetes.io/controller-uid",
        "controller-uid",
    )
)


class Residents:
    """Cuts running pods down, for the workloads that are to be placed beside them."""

    def __init__(
        self, workloads: Sequence[Workload], namespaces: Mapping[str, Mapping[str, str]], claims: Set[str]
    ) -> None:
        self._pods = [workload.pod for workload in workloads]
        self._namespaces = namespaces
        self._claims = claims
        self._keys = {key for pod in self._pods for selector in _selectors(pod) for key in _keys(selector)}
        self._cut: Dict[int, Tuple[Pod, Pod]] = {}

    def cut(self, existing: Iterable[Existing]) -> List[Existing]:
        """The same pods, with what nothing asks for left out."""
        return [item._replace(pod=self._pod(item.pod)) for item in existing]

    def _pod(self, pod: Pod) -> Pod:
        known = self._cut.get(id(pod))
        if known is None:
            known = self._cut[id(pod)] = (pod, self._reduce(pod))
        return known[1]

    def _reduce(self, pod: Pod) -> Pod:
        return replace(
            pod,
            labels=tuple(item for item in pod.labels if item[0] in self._keys),
            node_name="",
            node_selector=(),
            node_terms=None,
            preferred_nodes=(),
            tolerations=(),
            affinity=self._heard(pod.affinity),
            anti_affinity=self._heard(pod.anti_affinity),
            preferred_affinity=self._heard(pod.preferred_affinity),
            preferred_anti_affinity=self._heard(pod.preferred_anti_affinity),
            spreads=(),
            default_spread=NOTHING,
            claims=tuple(name for name in pod.claims if f"{pod.namespace}/{name}" in self._claims),
            images=(),
            image_volumes=(),
        )

    def _heard(self, terms: Tuple[PodTerm, ...]) -> Tuple[PodTerm, ...]:
        """The terms that could match a pod to be placed."""
        return tuple(term for term in terms if any(self._may_match(term, pod) for pod in self._pods))

    def _may_match(self, term: PodTerm, pod: Pod) -> bool:
        if any(key in _UNKNOWN_VALUES for key in _keys(term.selector)):
            return True
        labels = {"kubernetes.io/metadata.name": pod.namespace, **self._namespaces.get(pod.namespace, {})}
        return term.matches(pod.namespace, pod.label_map, labels)


def _selectors(pod: Pod) -> List[Selector]:
    terms = pod.affinity + pod.anti_affinity + pod.preferred_affinity + pod.preferred_anti_affinity
    return [*(term.selector for term in terms), *(item.selector for item in pod.spreads), pod.default_spread]


def _keys(selector: Selector) -> List[str]:
    return [requirement.key for requirement in selector.requirements]
