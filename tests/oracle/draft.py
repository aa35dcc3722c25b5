# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A case while it is being made: a small cluster, and a main workload whose replicas are grown to the edge."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

Document = dict[str, Any]

HOSTNAME = "kubernetes.io/hostname"
ZONE = "topology.kubernetes.io/zone"
NAMESPACE = "speech"
MIB = 2**20


def cpu_text(rng: random.Random, milli: int) -> Any:
    """The same amount, in one of the ways to write it."""
    forms: list[Any] = [f"{milli}m", f"{milli}m"]
    if milli % 1000 == 0:
        forms += [str(milli // 1000), milli // 1000]
    if milli % 100 == 0:
        forms.append(f"{milli / 1000:.1f}")
    return rng.choice(forms)


def bytes_text(rng: random.Random, mebibytes: int) -> Any:
    forms: list[Any] = [f"{mebibytes}Mi", f"{mebibytes}Mi", str(mebibytes * MIB), f"{mebibytes * 1024}Ki"]
    if mebibytes % 1024 == 0:
        forms.append(f"{mebibytes // 1024}Gi")
    return rng.choice(forms)


@dataclass
class Draft:
    """What features change; `case` makes the documents of it for a number of replicas."""

    rng: random.Random
    minor: int
    nodes: list[Document] = field(default_factory=list)
    cluster: list[Document] = field(default_factory=list)
    before: list[Document] = field(default_factory=list)
    after: list[Document] = field(default_factory=list)
    kind: str = "Deployment"
    labels: dict[str, str] = field(default_factory=lambda: {"app": "main"})
    pod: Document = field(default_factory=dict)
    claim_templates: list[Document] = field(default_factory=list)
    features: set[str] = field(default_factory=set)
    most: int = 12
    names: int = 0

    # -- small helpers of features

    @property
    def container(self) -> Document:
        found: Document = self.pod["containers"][0]
        return found

    @property
    def requests(self) -> Document:
        wanted: Document = self.container.setdefault("resources", {}).setdefault("requests", {})
        return wanted

    @property
    def affinity(self) -> Document:
        wanted: Document = self.pod.setdefault("affinity", {})
        return wanted

    def some_nodes(self, least: int = 1) -> list[Document]:
        """Some of the nodes, in their order."""
        chosen = {id(node) for node in self.rng.sample(self.nodes, self.rng.randint(least, len(self.nodes)))}
        return [node for node in self.nodes if id(node) in chosen]

    def name(self, stem: str) -> str:
        self.names += 1
        return f"{stem}-{self.names}"

    def some_cpu(self) -> int:
        """A request that a node has room for a few times."""
        smallest = min(milli_cpu(node) for node in self.nodes)
        return max(
            50, self.rng.choice([smallest // self.rng.randint(2, 5), self.rng.randrange(100, smallest + 100, 50)])
        )

    def some_memory(self) -> int:
        smallest = min(mebibytes(node) for node in self.nodes)
        return max(
            64, self.rng.choice([smallest // self.rng.randint(2, 5), self.rng.randrange(128, smallest + 128, 64)])
        )

    def other(self, **pod: Any) -> Document:
        """A container spec of another pod, of a random size."""
        resources = {"requests": {"cpu": f"{self.some_cpu()}m", "memory": f"{self.some_memory()}Mi"}}
        return {"containers": [{"name": "other", "image": "registry/other:1", "resources": resources}], **pod}

    def run_elsewhere(
        self,
        node: Document,
        labels: dict[str, str] | None = None,
        spec: Document | None = None,
        namespace: str = NAMESPACE,
    ) -> Document:
        """A pod that runs on a node already."""
        pod: Document = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": self.name("existing"),
                "namespace": namespace,
                "labels": labels or {"app": "existing"},
            },
            "spec": {**(spec or self.other()), "nodeName": node["metadata"]["name"]},
            "status": {"phase": "Running"},
        }
        pod["spec"].setdefault("priority", 0)
        self.cluster.append(pod)
        return pod

    def namespace(self, name: str, labels: dict[str, str]) -> None:
        document = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
        if not any(item["kind"] == "Namespace" and item["metadata"]["name"] == name for item in self.cluster):
            self.cluster.append(document)

    def storage_class(self, name: str, provisioner: str, mode: str = "WaitForFirstConsumer", **more: Any) -> None:
        self.cluster.append(
            {
                "apiVersion": "storage.k8s.io/v1",
                "kind": "StorageClass",
                "metadata": {"name": name, **more.pop("metadata", {})},
                "provisioner": provisioner,
                "volumeBindingMode": mode,
                **more,
            }
        )

    def mount(self, claim: str) -> None:
        volume = self.name("volume")
        self.pod.setdefault("volumes", []).append({"name": volume, "persistentVolumeClaim": {"claimName": claim}})

    # -- the whole

    def case(self, replicas: int, name: str = "") -> Document:
        main = workload(self.kind, "main", replicas, self.labels, self.pod, self.claim_templates)
        return {
            "id": name,
            "runs": 10,
            "minor": self.minor,
            "namespace": NAMESPACE,
            "cluster": [*self.nodes, *self.cluster],
            "manifest": [*self.before, main, *self.after],
        }


def milli_cpu(node: Document) -> int:
    return int(node["status"]["allocatable"]["cpu"].removesuffix("m"))


def mebibytes(node: Document) -> int:
    return int(node["status"]["allocatable"]["memory"].removesuffix("Mi"))


def workload(
    kind: str, name: str, replicas: int, labels: dict[str, str], spec: Document, claims: list[Document] | None = None
) -> Document:
    """An object that makes pods."""
    version = {"Job": "batch/v1", "ReplicationController": "v1", "Pod": "v1"}.get(kind, "apps/v1")
    template = {"metadata": {"labels": labels}, "spec": spec}
    body: Document = {"replicas": replicas, "selector": {"matchLabels": {"app": labels["app"]}}, "template": template}
    if kind == "Job":
        body = {"parallelism": replicas, "template": {**template, "spec": {"restartPolicy": "Never", **spec}}}
    elif kind == "ReplicationController":
        body["selector"] = {"app": labels["app"]}
    elif kind == "DaemonSet":
        del body["replicas"]
    elif kind == "StatefulSet":
        body |= {"serviceName": name, "volumeClaimTemplates": claims or []}
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": body}


def new_draft(rng: random.Random, minor: int) -> Draft:
    """Two to five nodes in up to three zones, some pods there, and a main workload that asks for cpu and memory."""
    draft = Draft(rng, minor)
    zones = ["a", "b", "c"][: rng.randint(1, 3)]
    alike = rng.random() < 0.5
    sizes = [(rng.randrange(1000, 4001, 250), rng.randrange(2048, 8193, 256)) for _ in range(5)]
    for number in range(rng.randint(1, 5)):
        name = f"node-{number}"
        cpu, memory = sizes[0] if alike else sizes[number]
        labels = {
            HOSTNAME: name,
            ZONE: rng.choice(zones) if rng.random() < 0.3 else zones[number % len(zones)],
            "disk": rng.choice(["ssd", "hdd"]),
            "generation": str(rng.randint(1, 5)),
            "kubernetes.io/os": "linux",
        }
        if rng.random() < 0.06:
            del labels[ZONE]
        amounts = {"cpu": f"{cpu}m", "memory": f"{memory}Mi", "pods": str(rng.choice([110, 110, 20, 8, 5]))}
        amounts["ephemeral-storage"] = f"{rng.randrange(10, 60, 5)}Gi"
        draft.nodes.append(
            {
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {"name": name, "labels": labels},
                "spec": {},
                "status": {"allocatable": amounts},
            }
        )
    resources = {"requests": {"cpu": cpu_text(rng, draft.some_cpu()), "memory": bytes_text(rng, draft.some_memory())}}
    draft.pod = {"containers": [{"name": "main", "image": "registry/main:1", "resources": resources}]}
    if rng.random() < 0.25:
        draft.kind = rng.choice(["ReplicaSet", "StatefulSet", "Job", "ReplicationController"])
    return draft
