# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From rendered manifests and a cluster to verdicts."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.airgap.speech.plugins.module_utils.kube import describe as words
from ansible_collections.airgap.speech.plugins.module_utils.kube import quantity as quantities
from ansible_collections.airgap.speech.plugins.module_utils.kube.describe import as_result
from ansible_collections.airgap.speech.plugins.module_utils.kube.pods import Manifest
from ansible_collections.airgap.speech.plugins.module_utils.kube.problem import Change, Problem, Release
from ansible_collections.airgap.speech.plugins.module_utils.kube.questions import EVICT, NOW, Answer, answer
from ansible_collections.airgap.speech.plugins.module_utils.kube.remedies import Finder, Remedy
from ansible_collections.airgap.speech.plugins.module_utils.kube.scheduling import Verdict
from ansible_collections.airgap.speech.plugins.module_utils.kube.snapshot import Reader, Snapshot, from_documents


def _pod_specs(documents: Sequence[Mapping[str, Any]]) -> List[Mapping[str, Any]]:
    """Every pod spec of the documents, found by its containers."""
    found: List[Mapping[str, Any]] = []

    def walk(value: Any) -> None:
        if isinstance(value, Mapping):
            if isinstance(value.get("containers"), list):
                found.append(value)
                return
            for item in value.values():
                walk(item)

    for document in documents:
        if document.get("kind") != "CustomResourceDefinition":
            walk(document.get("spec"))
    return found


def _asks_for_devices(specs: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a container asks for an extended resource, such as a GPU."""
    containers = [
        item for spec in specs for group in ("initContainers", "containers") for item in spec.get(group) or []
    ]
    resources = [item.get("resources") or {} for item in containers]
    names = [name for item in resources for kind in ("limits", "requests") for name in item.get(kind) or {}]
    return any(quantities.is_extended(str(name)) for name in names)


def complete(
    reader: Reader, snapshot: Snapshot, releases: Sequence[Release], questions: Sequence[str] = (NOW,)
) -> Snapshot:
    """Read from the API what the pods of these releases and the questions bring up, and nothing else."""
    documents = [document for release in releases for document in release.documents]
    namespaces = sorted(
        {
            str((document.get("metadata") or {}).get("namespace") or release.namespace)
            for release in releases
            for document in release.documents
        }
        | {release.namespace for release in releases}
    )
    specs = _pod_specs(documents)
    reader.add(snapshot, "LimitRange", namespaces)
    reader.add(snapshot, "ResourceQuota", namespaces)
    # A class may be the default of all pods.
    reader.add(snapshot, "PriorityClass")
    if EVICT in questions:
        reader.add(snapshot, "PodDisruptionBudget")
    if any(spec.get("runtimeClassName") for spec in specs):
        reader.add(snapshot, "RuntimeClass")
    if _asks_for_devices(specs) and reader.serves("resource.k8s.io", "v1"):
        # A class may give devices for what no node counts.
        reader.add(snapshot, "DeviceClass")
    volumes = [volume for spec in specs for volume in spec.get("volumes") or []]
    mounts = any(volume.get("persistentVolumeClaim") or volume.get("ephemeral") for volume in volumes)
    if mounts or any((document.get("spec") or {}).get("volumeClaimTemplates") for document in documents):
        for kind in ("PersistentVolume", "StorageClass", "CSINode", "CSIDriver"):
            reader.add(snapshot, kind)
        limited = any(
            (driver.get("allocatable") or {}).get("count") is not None
            for item in snapshot.of("CSINode")
            for driver in (item.get("spec") or {}).get("drivers") or []
        )
        # Where a node attaches so many volumes and no more, those of others count.
        reader.add(snapshot, "PersistentVolumeClaim", () if limited else namespaces)
        if any((item.get("spec") or {}).get("storageCapacity") for item in snapshot.of("CSIDriver")):
            reader.add(snapshot, "CSIStorageCapacity")
    terms = [term for item in snapshot.existing for term in item.pod.anti_affinity + item.pod.preferred_anti_affinity]
    asked = "namespaceSelector" in str([spec.get("affinity") for spec in specs])
    if asked or any(not term.namespace_selector.nothing for term in terms):
        reader.add(snapshot, "Namespace")
    reader.check_rights()
    return snapshot


def assess(
    documents: Sequence[Mapping[str, Any]], namespace: str, snapshot: Snapshot, release: str = ""
) -> Tuple[Verdict, Manifest]:
    """The verdict on the pods of a manifest in a cluster, and those pods."""
    problem = Problem([Release(tuple(documents), namespace, release)], snapshot)
    return problem.solve(Change(headroom=True)), problem.manifest


def describe(verdict: Verdict, manifest: Manifest, release: str, namespace: str) -> str:
    """The verdict as a text."""
    return words.describe(verdict, manifest, Release((), namespace, release).subject)


def ask(
    releases: Sequence[Release],
    snapshot: Snapshot,
    questions: Sequence[str] = (NOW,),
    *,
    tolerate_nodes: int = 1,
    brief: bool = False,
) -> Dict[str, Any]:
    """Answer questions on releases in a cluster, as plain data: the first one's answer, and ``answers`` by question.

    ``brief`` leaves out the headroom, the remedies and the text.
    """
    problem = Problem(releases, snapshot)
    subject = " and ".join(release.subject for release in releases)
    found = [
        answer(problem, question, tolerate_nodes=tolerate_nodes, headroom=not brief)
        for question in dict.fromkeys(questions or (NOW,))
    ]
    first = found[0]
    remedies: List[Remedy] = []
    if not brief and not first.verdict.fits and first.question == NOW:
        remedies = Finder(problem, first.verdict).find()
    text = ""
    if not brief:
        title = subject if first.question == NOW else f"{subject}, {first.subject}"
        parts = [words.describe(first.verdict, problem.manifest, title, remedies)]
        parts += [words.describe_answer(item) for item in found[1:]]
        text = "\n".join(parts)
    result = _as_dict(first, text, snapshot.minor)
    result["remedies"] = [remedy.as_dict() for remedy in remedies]
    result["answers"] = {
        item.question: _as_dict(item, "" if brief else words.describe_answer(item), snapshot.minor) for item in found
    }
    return result


def _as_dict(found: Answer, text: str, minor: Optional[int]) -> Dict[str, Any]:
    result = as_result(found.verdict, text, minor)
    result["lost"] = found.lost
    result["victims"] = [
        {"pod": item.pod, "node": item.node, "priority": item.priority, "for": item.workload} for item in found.victims
    ]
    return result


def judge(
    cluster: Sequence[Mapping[str, Any]],
    manifest: Sequence[Mapping[str, Any]],
    namespace: str = "default",
    minor: Optional[int] = None,
    release: str = "",
    brief: bool = False,
    questions: Sequence[str] = (NOW,),
    tolerate_nodes: int = 1,
) -> Dict[str, Any]:
    """The verdict on the objects of a manifest in a cluster of these objects, as plain data.

    ``minor`` is the minor version of Kubernetes; the newest known where it is left out. ``brief`` leaves out the
    headroom, the remedies and the text. Raises :class:`SpecError` or :class:`QuantityError` where the API server would
    refuse an object.
    """
    snapshot = from_documents(cluster)
    snapshot.minor = minor
    releases = [Release(tuple(manifest), namespace, release)]
    return ask(releases, snapshot, questions, tolerate_nodes=tolerate_nodes, brief=brief)
