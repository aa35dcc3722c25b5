# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One or more releases and a cluster, read once, so that several questions can be put to them."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from typing import Any, Dict, FrozenSet, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.airgap.speech.plugins.module_utils.kube import versions
from ansible_collections.airgap.speech.plugins.module_utils.kube.admission import admission_from
from ansible_collections.airgap.speech.plugins.module_utils.kube.cluster import Cluster
from ansible_collections.airgap.speech.plugins.module_utils.kube.nodes import Node
from ansible_collections.airgap.speech.plugins.module_utils.kube.pods import Manifest, Workload, read_manifest
from ansible_collections.airgap.speech.plugins.module_utils.kube.podspec import Existing
from ansible_collections.airgap.speech.plugins.module_utils.kube.quota import Quota, Quotas, read_quota
from ansible_collections.airgap.speech.plugins.module_utils.kube.residents import Residents
from ansible_collections.airgap.speech.plugins.module_utils.kube.scheduling import (
    Simulation,
    Verdict,
    split_existing,
)
from ansible_collections.airgap.speech.plugins.module_utils.kube.snapshot import Snapshot
from ansible_collections.airgap.speech.plugins.module_utils.kube.volumes import ClaimReader, Storage, read_storage

Document = Mapping[str, Any]


@dataclass(frozen=True)
class Release:
    """Rendered manifests, and the name and namespace that they are deployed under; the name may be empty."""

    documents: Tuple[Document, ...]
    namespace: str
    name: str = ""

    @property
    def subject(self) -> str:
        if self.name:
            return f"release {self.name} in namespace {self.namespace}"
        return f"the manifest in namespace {self.namespace}"


@dataclass
class Change:
    """What of a problem is different in a question: workloads, nodes, quotas, or pods that come on top."""

    workloads: Optional[Sequence[Workload]] = None
    nodes: Optional[Sequence[Node]] = None
    quotas: Optional[Sequence[Quota]] = None
    # Pods of others that have to find a new place, beside the workloads.
    displaced: Sequence[Workload] = ()
    headroom: bool = False


@dataclass
class Problem:
    """Releases and a cluster, read."""

    releases: Sequence[Release]
    snapshot: Snapshot
    manifest: Manifest = field(default_factory=Manifest)
    notes: List[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        snapshot = self.snapshot
        self.version = versions.of(snapshot.minor)
        documents = [document for release in self.releases for document in release.documents]
        known = [*snapshot.of("PriorityClass"), *snapshot.of("RuntimeClass"), *snapshot.of("LimitRange")]
        self._admission = admission_from([*known, *documents], self.version)
        for release in self.releases:
            read = read_manifest(release.documents, release.namespace, self._admission)
            self.manifest.workloads += read.workloads
            self.manifest.claims.update(read.claims)
            self.manifest.not_modelled += read.not_modelled
        self.storage = read_storage(snapshot.objects)
        self.notes = list(self.manifest.not_modelled) + self._read_claims()
        self.namespaces = {
            str(item["metadata"]["name"]): item["metadata"].get("labels") or {} for item in snapshot.of("Namespace")
        }
        names = frozenset((release.namespace, release.name) for release in self.releases if release.name)
        self.others, self.kept = split_existing(snapshot.existing, self.manifest.workloads, names)
        # What an autoscaler has made stays asked for, as long as it runs.
        self.manifest.workloads = [
            replace(item, count=max(item.count, len(self.kept.get(item.title, ())))) if item.autoscaled else item
            for item in self.manifest.workloads
        ]
        # The scheduler keeps room for a pod that it has evicted others for, but not from pods of higher priority.
        least = min((item.pod.priority for item in self.manifest.workloads), default=0)
        self.others = [item for item in self.others if not item.nominated or item.pod.priority >= least]
        self._residents = Residents(self.manifest.workloads, self.namespaces, set(self.storage.claims))
        self.quotas, quota_notes = self._read_quotas()
        self.notes += quota_notes
        self.notes += self._devices() + snapshot.notes
        strangers = [name for name in snapshot.pending if not self._of_manifest(*name)]
        if strangers:
            first = "/".join(strangers[0])
            self.notes.append(
                f"{len(strangers)} pod(s) of others wait for a node and may take the room, such as {first}"
            )

    def _devices(self) -> List[str]:
        """Resources that a device class hands out, which no node counts."""
        asked = {name for item in self.manifest.workloads for name, amount in item.pod.requests if amount}
        notes = []
        for item in self.snapshot.of("DeviceClass"):
            name = str((item.get("metadata") or {}).get("name") or "")
            resource = str((item.get("spec") or {}).get("extendedResourceName") or "")
            if asked & {resource, f"deviceclass.resource.kubernetes.io/{name}"}:
                notes.append(f"DeviceClass {name}: devices that it gives for an extended resource (DRA)")
        return notes

    def _of_manifest(self, namespace: str, name: str) -> bool:
        return any(item.namespace == namespace and name.startswith(item.name) for item in self.manifest.workloads)

    def _read_claims(self) -> List[str]:
        """Read the claims that pods mount; what of them is not known comes back as notes."""
        in_cluster: Dict[str, Document] = {}
        for claim in self.snapshot.of("PersistentVolumeClaim"):
            metadata = claim.get("metadata") or {}
            in_cluster[f"{metadata.get('namespace', 'default')}/{metadata.get('name', '')}"] = claim
        known: Dict[str, Document] = {**self.manifest.claims, **in_cluster}
        reader = ClaimReader(self.snapshot.objects, self.storage)
        self.manifest.found_claims(frozenset(known))
        notes = []
        for key in self.manifest.claim_names:
            read, note = reader.read(key, known.get(key), planned=key not in in_cluster)
            if read is not None:
                self.storage.claims[key] = read
            if note:
                notes.append(note)
        # Claims of others matter where volumes are counted, or where one is for a single pod.
        if self.storage.claims:
            mounted = {f"{item.pod.namespace}/{name}" for item in self.snapshot.existing for name in item.pod.claims}
            for key in sorted(mounted - set(self.storage.claims)):
                read, _note = reader.read(key, known.get(key))
                if read is not None:
                    self.storage.claims[key] = read
        return notes

    def _read_quotas(self) -> Tuple[List[Quota], List[str]]:
        """The quotas with what is used of them, once the pods of the release that are replaced have gone."""
        quotas = Quotas(read_quota(document) for document in self.snapshot.of("ResourceQuota"))
        if not quotas.quotas:
            return [], []
        namespaces = {quota.namespace for quota in quotas.quotas}
        staying = {id(item) for item in self.others} | {id(item) for items in self.kept.values() for item in items}
        for item in self.snapshot.existing:
            if item.charge is not None and item.pod.namespace in namespaces:
                if id(item) in staying:
                    quotas.count(item.pod.namespace, item.charge)
                else:
                    quotas.release(item.pod.namespace, item.charge)
        for (namespace, name), charge in self.snapshot.pending.items():
            if self._of_manifest(namespace, name):
                quotas.release(namespace, charge)
            else:
                quotas.count(namespace, charge)
        for (namespace, _name), charge in self.snapshot.ended.items():
            quotas.count(namespace, charge)
        notes = []
        for quota in quotas.quotas:
            other = sorted(set(quota.hard) - quota.restricted)
            if other:
                notes.append(f"ResourceQuota {quota.namespace}/{quota.name}: {', '.join(other)}: only pods are counted")
        return quotas.quotas, notes

    def simulation(self, change: Change) -> Tuple[Simulation, Dict[str, List[Existing]]]:
        """A cluster as it is once a change is made, and the pods of the releases that stay where they are."""
        nodes = list(self.snapshot.nodes if change.nodes is None else change.nodes)
        cluster = Cluster(
            nodes,
            namespaces=self.namespaces,
            storage=Storage(self.storage.claims, self.storage.limits, self.storage.topology_keys),
            version=self.version,
        )
        cluster.add_existing(self._residents.cut(self.others))
        workloads = list(self.manifest.workloads if change.workloads is None else change.workloads)
        quotas = copy.deepcopy(list(self.quotas if change.quotas is None else change.quotas))
        simulation = Simulation(cluster, [*change.displaced, *workloads], quotas=Quotas(quotas))
        simulation.not_modelled += self.notes
        names = {node.name for node in nodes}
        kept = {title: [item for item in items if item.node in names] for title, items in self.kept.items()}
        return simulation, kept

    def tenants(self) -> List[Tuple[Existing, Existing]]:
        """The pods of others: each as it is, and as it stands in :meth:`simulation`'s cluster."""
        return list(zip(self.others, self._residents.cut(self.others)))

    def solve(self, change: Optional[Change] = None) -> Verdict:
        """The verdict once a change is made."""
        change = change or Change()
        simulation, kept = self.simulation(change)
        verdict = simulation.run(kept, headroom=change.headroom)
        if change.displaced:
            verdict = _without(verdict, frozenset(item.title for item in change.displaced))
        return verdict


def _without(verdict: Verdict, titles: FrozenSet[str]) -> Verdict:
    """A verdict on the other workloads: pods of these only take room."""
    own = [item for item in verdict.shortfalls if item.workload not in titles]
    others = sum(item.pods for item in verdict.shortfalls if item.workload in titles)
    notes = list(verdict.not_modelled)
    if others:
        notes.append(f"{others} pod(s) of others that ran on the nodes that are gone would stay pending")
    placements = {node: [title for title in pods if title not in titles] for node, pods in verdict.placements.items()}
    found = verdict.verdict if own or verdict.verdict == "fits" else "fits"
    return replace(
        verdict,
        verdict=found,
        shortfalls=own,
        placements={node: pods for node, pods in placements.items() if pods},
        not_modelled=notes,
    )
