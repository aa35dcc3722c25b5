# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a rendered manifest and a cluster to a verdict, and a text that a person can read."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.airgap.speech.plugins.module_utils.kube import quantity as quantities
from ansible_collections.airgap.speech.plugins.module_utils.kube import versions
from ansible_collections.airgap.speech.plugins.module_utils.kube.admission import admission_from
from ansible_collections.airgap.speech.plugins.module_utils.kube.cluster import Cluster
from ansible_collections.airgap.speech.plugins.module_utils.kube.pods import Manifest, read_manifest
from ansible_collections.airgap.speech.plugins.module_utils.kube.podspec import Existing
from ansible_collections.airgap.speech.plugins.module_utils.kube.quota import Quotas, read_quota
from ansible_collections.airgap.speech.plugins.module_utils.kube.residents import Residents
from ansible_collections.airgap.speech.plugins.module_utils.kube.scheduling import (
    DOES_NOT_FIT,
    FITS,
    Simulation,
    Verdict,
    split_existing,
)
from ansible_collections.airgap.speech.plugins.module_utils.kube.snapshot import Reader, Snapshot, from_documents
from ansible_collections.airgap.speech.plugins.module_utils.kube.volumes import ClaimReader, Storage, read_storage

_SENTENCES = {
    FITS: "every pod finds a node",
    DOES_NOT_FIT: "pods would stay pending",
    "order_dependent": "whether every pod finds a node depends on the order in which equal nodes are chosen",
}


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


def complete(reader: Reader, snapshot: Snapshot, documents: Sequence[Mapping[str, Any]], namespace: str) -> Snapshot:
    """Read from the API what the pods of this manifest bring into question, and nothing else."""
    namespaces = sorted(
        {namespace} | {str((document.get("metadata") or {}).get("namespace") or namespace) for document in documents}
    )
    specs = _pod_specs(documents)
    reader.add(snapshot, "LimitRange", namespaces)
    reader.add(snapshot, "ResourceQuota", namespaces)
    if any(spec.get("priorityClassName") for spec in specs):
        reader.add(snapshot, "PriorityClass")
    if any(spec.get("runtimeClassName") for spec in specs):
        reader.add(snapshot, "RuntimeClass")
    mounts = any(volume.get("persistentVolumeClaim") for spec in specs for volume in spec.get("volumes") or [])
    if mounts or any((document.get("spec") or {}).get("volumeClaimTemplates") for document in documents):
        reader.add(snapshot, "PersistentVolumeClaim", namespaces)
        reader.add(snapshot, "PersistentVolume")
        reader.add(snapshot, "StorageClass")
    running = [term for item in snapshot.existing for term in item.pod.anti_affinity + item.pod.preferred_anti_affinity]
    asked = "namespaceSelector" in str([spec.get("affinity") for spec in specs])
    if asked or any(not term.namespace_selector.nothing for term in running):
        reader.add(snapshot, "Namespace")
    reader.check_rights()
    return snapshot


def assess(
    documents: Sequence[Mapping[str, Any]], namespace: str, snapshot: Snapshot, release: str = ""
) -> Tuple[Verdict, Manifest]:
    """The verdict on the pods of a manifest in a cluster, and those pods."""
    version = versions.of(snapshot.minor)
    admission = admission_from(
        [*snapshot.of("PriorityClass"), *snapshot.of("RuntimeClass"), *snapshot.of("LimitRange"), *documents], version
    )
    manifest = read_manifest(documents, namespace, admission)
    storage = read_storage(snapshot.objects)
    notes = list(manifest.not_modelled) + _read_claims(manifest, snapshot, storage)
    namespaces = {
        str(item["metadata"]["name"]): item["metadata"].get("labels") or {} for item in snapshot.of("Namespace")
    }
    cluster = Cluster(snapshot.nodes, namespaces=namespaces, storage=storage, version=version)
    others, kept = split_existing(snapshot.existing, manifest.workloads, release, namespace)
    quotas, quota_notes = _quotas(snapshot, others, kept)
    cluster.add_existing(Residents(manifest.workloads, namespaces, set(storage.claims)).cut(others))
    strangers = [name for name in snapshot.pending if not _of_manifest(name, manifest)]
    if strangers:
        notes.append(f"{len(strangers)} pod(s) of others wait for a node and may take the room, such as {strangers[0]}")
    simulation = Simulation(cluster, manifest.workloads, quotas=quotas)
    simulation.not_modelled += notes + quota_notes
    return simulation.run(kept), manifest


def _quotas(
    snapshot: Snapshot, others: Sequence[Existing], kept: Mapping[str, Sequence[Existing]]
) -> Tuple[Quotas, List[str]]:
    """The quotas with what is used of them, once the pods of the release that are replaced have gone."""
    quotas = Quotas(read_quota(document) for document in snapshot.of("ResourceQuota"))
    if not quotas.quotas:
        return quotas, []
    namespaces = {quota.namespace for quota in quotas.quotas}
    staying = {id(item) for item in others} | {id(item) for items in kept.values() for item in items}
    for item in snapshot.existing:
        if item.charge is not None and item.pod.namespace in namespaces:
            if id(item) in staying:
                quotas.count(item.pod.namespace, item.charge)
            else:
                quotas.release(item.pod.namespace, item.charge)
    notes = []
    for quota in quotas.quotas:
        other = sorted(set(quota.hard) - quota.restricted)
        if other:
            notes.append(f"ResourceQuota {quota.namespace}/{quota.name}: {', '.join(other)}: only pods are counted")
    return quotas, notes


def _of_manifest(name: str, manifest: Manifest) -> bool:
    return any(name.startswith(f"{workload.namespace}/{workload.name}") for workload in manifest.workloads)


def _read_claims(manifest: Manifest, snapshot: Snapshot, storage: Storage) -> List[str]:
    """Read the claims that pods mount into ``storage``; what of them is not known comes back as notes."""
    known: Dict[str, Mapping[str, Any]] = dict(manifest.claims)
    for claim in snapshot.of("PersistentVolumeClaim"):
        metadata = claim.get("metadata") or {}
        known[f"{metadata.get('namespace', 'default')}/{metadata.get('name', '')}"] = claim
    reader = ClaimReader(snapshot.objects, storage)
    notes = []
    in_cluster = {
        f"{(item.get('metadata') or {}).get('namespace', 'default')}/{(item.get('metadata') or {}).get('name', '')}"
        for item in snapshot.of("PersistentVolumeClaim")
    }
    manifest.found_claims(frozenset(known))
    mounted = {f"{item.pod.namespace}/{name}" for item in snapshot.existing for name in item.pod.claims}
    for key in manifest.claim_names:
        claim_read, note = reader.read(key, known.get(key), planned=key not in in_cluster)
        if claim_read is not None:
            storage.claims[key] = claim_read
        if note:
            notes.append(note)
    for key in sorted(mounted - set(storage.claims)):
        claim_read, _note = reader.read(key, known.get(key))
        if claim_read is not None:
            storage.claims[key] = claim_read
    return notes


def table(rows: Sequence[Sequence[str]]) -> List[str]:
    """Rows as lines with aligned columns."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]


def describe(verdict: Verdict, manifest: Manifest, release: str, namespace: str) -> str:
    """The verdict as a text."""
    subject = f"release {release} in namespace {namespace}" if release else f"the manifest in namespace {namespace}"
    lines = [
        f"capacity: {subject}: {verdict.verdict}: {_SENTENCES[verdict.verdict]}"
        f" ({verdict.pods} pods, {verdict.nodes} nodes)"
    ]
    for shortfall in verdict.shortfalls:
        lines.append(f"- {shortfall.workload}: {shortfall.pods} pod(s) pending: {shortfall.message}")
        lines += [f"  {detail}" for detail in shortfall.details]
    where: Dict[str, Dict[str, int]] = {}
    for node, titles in verdict.placements.items():
        for title in titles:
            places = where.setdefault(title, {})
            places[node] = places.get(node, 0) + 1
    rows = [["workload", "pods", "a pod asks for", "nodes", "room for more"]]
    for workload in manifest.workloads:
        if workload.hook:
            continue
        asked = [f"{name} {quantities.text_of(name, amount)}" for name, amount in workload.pod.requests if amount]
        places = where.get(workload.title, {})
        nodes = [f"{name} ({count})" if count > 1 else name for name, count in sorted(places.items())]
        more = verdict.headroom.get(workload.title)
        rows.append(
            [
                workload.title,
                str(sum(places.values()) if workload.daemon else workload.count),
                ", ".join(asked) or "nothing",
                _some(nodes) or "-",
                "-" if more is None else f"{more} or more" if more >= 100 else str(more),
            ]
        )
    if len(rows) > 1:
        lines += table(rows)
    lines += [f"not modelled: {note}" for note in verdict.not_modelled]
    return "\n".join(lines)


def _some(names: Sequence[str], limit: int = 6) -> str:
    shown = ", ".join(names[:limit])
    return f"{shown} and {len(names) - limit} more" if len(names) > limit else shown


def as_result(verdict: Verdict, message: str, version_minor: Optional[int] = None) -> Dict[str, Any]:
    """The verdict as plain data."""
    return {
        "verdict": verdict.verdict,
        "fits": verdict.fits,
        "message": message,
        "nodes": verdict.nodes,
        "pods": verdict.pods,
        "kept": verdict.kept,
        "placements": verdict.placements,
        "shortfalls": [
            {"workload": item.workload, "pods": item.pods, "message": item.message, "details": item.details}
            for item in verdict.shortfalls
        ],
        "headroom": verdict.headroom,
        "not_modelled": verdict.not_modelled,
        "orders_tried": verdict.orders,
        "exhaustive": verdict.exhaustive,
        "kubernetes_minor": version_minor,
    }


def judge(
    cluster: Sequence[Mapping[str, Any]],
    manifest: Sequence[Mapping[str, Any]],
    namespace: str = "default",
    minor: Optional[int] = None,
    release: str = "",
    brief: bool = False,
) -> Dict[str, Any]:
    """The verdict on the objects of a manifest in a cluster of these objects, as plain data.

    ``minor`` is the minor version of Kubernetes; the newest known where it is left out. ``brief`` leaves out the
    headroom and the text. Raises :class:`SpecError` or :class:`QuantityError` where the API server would refuse.
    """
    snapshot = from_documents(cluster)
    snapshot.minor = minor
    verdict, found = assess(manifest, namespace, snapshot, release)
    message = "" if brief else describe(verdict, found, release, namespace)
    return as_result(verdict, message, minor)
