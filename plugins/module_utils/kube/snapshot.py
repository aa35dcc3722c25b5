# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a cluster is and holds: read from its API with get and list rights only, or from a file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable, Dict, Iterable, Iterator, List, Mapping, Optional, Sequence, Tuple
from urllib.parse import quote

from ansible_collections.airgap.speech.plugins.module_utils.kube.nodes import Node, read_node, split_cluster
from ansible_collections.airgap.speech.plugins.module_utils.kube.podspec import Existing, ExistingReader
from ansible_collections.airgap.speech.plugins.module_utils.kube.quota import Charge

# get(path, query) answers with the decoded JSON of a GET request.
Get = Callable[[str, Mapping[str, str]], Mapping[str, Any]]

_PAGE = "500"


class ForbiddenError(Exception):
    """The API refused a request for want of rights."""


class ApiError(Exception):
    """The API could not be read. The message says what, why and what to do next."""


@dataclass
class Snapshot:
    """A cluster at one moment, as far as it bears on where pods may run."""

    nodes: List[Node] = field(default_factory=list)
    existing: List[Existing] = field(default_factory=list)
    # By namespace and name, what they count for in quotas: pods that wait for a node, and pods that have ended.
    pending: Dict[Tuple[str, str], Charge] = field(default_factory=dict)
    ended: Dict[Tuple[str, str], Charge] = field(default_factory=dict)
    minor: Optional[int] = None
    objects: Dict[str, List[Mapping[str, Any]]] = field(default_factory=dict)
    _reader: ExistingReader = field(default_factory=ExistingReader)

    @property
    def notes(self) -> List[str]:
        """What of the running pods is not known."""
        return self._reader.notes

    def of(self, kind: str) -> List[Mapping[str, Any]]:
        return self.objects.get(kind, [])

    def add_pod(self, document: Mapping[str, Any]) -> None:
        existing = self._reader.read(document)
        metadata = document.get("metadata") or {}
        phase = (document.get("status") or {}).get("phase")
        if existing is not None:
            self.existing.append(existing)
            return
        placeless = self.ended if phase in ("Succeeded", "Failed") else self.pending
        name = (str(metadata.get("namespace") or "default"), str(metadata.get("name") or ""))
        placeless[name] = self._reader.charge(document)


def from_documents(documents: Iterable[Mapping[str, Any]]) -> Snapshot:
    """A cluster from a file: pools of nodes, or objects as ``kubectl get -o yaml`` writes them."""
    snapshot = Snapshot()
    snapshot.nodes, rest = split_cluster(documents)
    for document in rest:
        if document.get("kind") == "Pod":
            snapshot.add_pod(document)
        else:
            snapshot.objects.setdefault(str(document.get("kind", "")), []).append(document)
    return snapshot


def list_all(get: Get, path: str, query: Optional[Mapping[str, str]] = None) -> Iterator[Mapping[str, Any]]:
    """All objects of a list, page by page."""
    asked = {"limit": _PAGE, **(query or {})}
    while True:
        page = get(path, asked)
        yield from page.get("items") or []
        token = (page.get("metadata") or {}).get("continue")
        if not token:
            return
        asked = {**asked, "continue": str(token)}


class Reader:
    """Reads a cluster from its API. Rights that are missing are collected, and told all at once."""

    def __init__(self, get: Get) -> None:
        self._get = get
        self._missing: List[str] = []

    def base(self) -> Snapshot:
        """The version, the nodes, and the pods that take room."""
        snapshot = Snapshot()
        version = self._get("/version", {})
        digits = "".join(letter for letter in str(version.get("minor", "")) if letter.isdigit())
        snapshot.minor = int(digits) if digits else None
        snapshot.nodes = [read_node(document) for document in self._list("nodes", "/api/v1/nodes")]
        running = {"fieldSelector": "status.phase!=Succeeded,status.phase!=Failed"}
        for document in self._list("pods in all namespaces", "/api/v1/pods", running):
            snapshot.add_pod(document)
        return snapshot

    def add(self, snapshot: Snapshot, kind: str, namespaces: Sequence[str] = ()) -> None:
        """Read all objects of a kind, in these namespaces where it has one."""
        group, plural = _KINDS[kind]
        for namespace in namespaces or ("",):
            where = f"/namespaces/{quote(namespace)}" if namespace else ""
            right = f"{plural} in namespace {namespace}" if namespace else plural
            snapshot.objects.setdefault(kind, []).extend(
                {"kind": kind, **document} for document in self._list(right, f"{group}{where}/{plural}")
            )

    def serves(self, group: str, version: str) -> bool:
        """Whether the cluster has a group of the API in a version; every user may ask that."""
        for item in self._get("/apis", {}).get("groups") or []:
            if item.get("name") == group:
                return any(entry.get("version") == version for entry in item.get("versions") or [])
        return False

    def _list(self, right: str, path: str, query: Optional[Mapping[str, str]] = None) -> Iterator[Mapping[str, Any]]:
        try:
            yield from list_all(self._get, path, query)
        except ForbiddenError:
            self._missing.append(right)

    def check_rights(self) -> None:
        """Raise when a right was missing, with all that are."""
        if self._missing:
            raise ApiError(
                "capacity: the cluster does not let this user list "
                + "; ".join(self._missing)
                + ". Give the user of the kubeconfig the verb list on these, in a ClusterRole or Role, and run again"
            )


_KINDS = {
    "LimitRange": ("/api/v1", "limitranges"),
    "ResourceQuota": ("/api/v1", "resourcequotas"),
    "Namespace": ("/api/v1", "namespaces"),
    "PersistentVolumeClaim": ("/api/v1", "persistentvolumeclaims"),
    "PersistentVolume": ("/api/v1", "persistentvolumes"),
    "CSINode": ("/apis/storage.k8s.io/v1", "csinodes"),
    "CSIDriver": ("/apis/storage.k8s.io/v1", "csidrivers"),
    "CSIStorageCapacity": ("/apis/storage.k8s.io/v1", "csistoragecapacities"),
    "StorageClass": ("/apis/storage.k8s.io/v1", "storageclasses"),
    "PodDisruptionBudget": ("/apis/policy/v1", "poddisruptionbudgets"),
    "DeviceClass": ("/apis/resource.k8s.io/v1", "deviceclasses"),
    "PriorityClass": ("/apis/scheduling.k8s.io/v1", "priorityclasses"),
    "RuntimeClass": ("/apis/node.k8s.io/v1", "runtimeclasses"),
}
