# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cases of admission: pods and claims, and the objects of a cluster that bear on how the API server takes them in.

All are drawn from a seed; some are fixed, because chance would seldom draw them.
"""

from __future__ import annotations

import copy
import random
from dataclasses import dataclass, field
from typing import Any

Document = dict[str, Any]

LABEL = "tests.airgap.internal/capacity"
CPU = ["10m", "100m", "250m", "0.5", "1", "1500m", "2", 1, 0.25]
MEMORY = ["32Mi", "64Mi", "128Mi", "500M", "1Gi", "1.5Gi", "1e8", "2Gi"]
STORAGE = ["1Mi", "100Mi", "1Gi"]
GPU = "nvidia.com/gpu"


@dataclass
class Case:
    """Pods that are created in this order, and what is in the cluster beside them."""

    name: str
    namespace: str
    pods: list[Document]
    objects: list[Document] = field(default_factory=list)


def maybe(draw: random.Random, chance: float) -> bool:
    return draw.random() < chance


def resource_list(draw: random.Random, chance: float, *, gpu: float = 0.0) -> Document:
    result: Document = {}
    if maybe(draw, chance):
        result["cpu"] = draw.choice(CPU)
    if maybe(draw, chance):
        result["memory"] = draw.choice(MEMORY)
    if maybe(draw, chance / 3):
        result["ephemeral-storage"] = draw.choice(STORAGE)
    if maybe(draw, gpu):
        result[GPU] = draw.choice([1, "2", 4])
    return result


def container(draw: random.Random, name: str, *, chance: float = 0.5, gpu: float = 0.0) -> Document:
    """A container with some requests and limits, which may contradict each other."""
    resources: Document = {}
    requests = resource_list(draw, chance)
    limits = resource_list(draw, chance, gpu=gpu)
    if requests:
        resources["requests"] = requests
    if limits:
        resources["limits"] = limits
    item: Document = {"name": name, "image": "sandbox.airgap.internal/busybox:1"}
    if resources or maybe(draw, 0.5):
        item["resources"] = resources
    return item


def pod(name: str, namespace: str, containers: list[Document], **spec: Any) -> Document:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
        # No scheduler has this name: the pod stays as admission left it.
        "spec": {"schedulerName": "nobody", "containers": containers, **spec},
    }


def random_pod(draw: random.Random, name: str, namespace: str, *, gpu: float = 0.0) -> Document:
    """A pod of one to three containers, sometimes with init containers and sidecars."""
    containers = [container(draw, f"c{index}", gpu=gpu) for index in range(draw.choice([1, 1, 2, 3]))]
    spec: Document = {}
    if maybe(draw, 0.4):
        inits = [container(draw, f"i{index}") for index in range(draw.choice([1, 2]))]
        for item in inits:
            if maybe(draw, 0.4):
                item["restartPolicy"] = "Always"
        spec["initContainers"] = inits
    return pod(name, namespace, containers, **spec)


def agree(item: Document) -> None:
    """Take requests away where there are limits, for those that contradict each other are refused before all else."""
    for entry in item["spec"]["containers"] + item["spec"].get("initContainers", []):
        resources = entry.get("resources") or {}
        for name in resources.get("limits") or {}:
            (resources.get("requests") or {}).pop(name, None)


def defaulting(seed: int, count: int, namespace: str) -> list[Case]:
    """What is filled in from limits, and from the ports of a pod on the host's network."""
    draw = random.Random(seed)  # noqa: S311 - not a secret
    cases = []
    for index in range(count):
        item = random_pod(draw, f"pod-{index}", namespace, gpu=0.2)
        spec = item["spec"]
        if maybe(draw, 0.8):
            agree(item)
        if maybe(draw, 0.25):
            spec["resources"] = {
                key: resource_list(draw, 0.7) for key in draw.choice([["requests"], ["limits"], ["requests", "limits"]])
            }
            for values in spec["resources"].values():
                values.pop("ephemeral-storage", None)
        if maybe(draw, 0.3):
            spec["hostNetwork"] = maybe(draw, 0.7)
            for number, entry in enumerate(spec["containers"]):
                port: Document = {"containerPort": 8000 + number}
                if maybe(draw, 0.3):
                    port["hostPort"] = 8000 + number
                if maybe(draw, 0.3):
                    port["protocol"] = "UDP"
                entry["ports"] = [port]
        if maybe(draw, 0.2):
            spec["tolerations"] = [{"key": "a", "operator": "Exists", "effect": "NoSchedule"}]
        cases.append(Case(item["metadata"]["name"], namespace, [item]))
    fixed = [
        {"limits": {GPU: 1}},
        {"limits": {GPU: "1"}, "requests": {GPU: "1"}},
        {"requests": {GPU: "1"}},
        {"limits": {GPU: 2}, "requests": {GPU: 1}},
        {"limits": {GPU: "0.5"}},
        {"limits": {"cpu": "1"}, "requests": {"cpu": "2"}},
        {"limits": {"memory": "100m"}},
        {"requests": {"cpu": "0.1m"}},
        {"limits": {"hugepages-2Mi": "4Mi", "memory": "64Mi"}},
        {"limits": {"hugepages-2Mi": "3Mi", "memory": "64Mi"}},
        {"requests": {"memory": "1GB"}},
        {"requests": {"cpu": "-1"}},
    ]
    for index, resources in enumerate(fixed):
        entry = {"name": "a", "image": "a", "resources": resources}
        cases.append(Case(f"fixed-{index}", namespace, [pod(f"fixed-{index}", namespace, [entry])]))
    return cases


def limit_range(name: str, namespace: str, *limits: Document) -> Document:
    return {
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"limits": list(limits)},
    }


def limit_ranges(seed: int, namespaces: list[str], each: int) -> list[Case]:
    """Pods in namespaces with limit ranges: defaults, least and most, the ratio, for containers and for pods."""
    draw = random.Random(seed)  # noqa: S311
    cases = []
    for number, namespace in enumerate(namespaces):
        cpu = sorted(draw.sample([5, 20, 200, 400, 2000, 4000], 4))
        memory = sorted(draw.sample([8, 16, 128, 256, 2048, 4096], 4))
        levels = [{"cpu": f"{a}m", "memory": f"{b}Mi"} for a, b in zip(cpu, memory)]
        entry: Document = {"type": "Container"}
        # In this order the levels never contradict each other.
        for key, level in zip(("min", "defaultRequest", "default", "max"), levels):
            if maybe(draw, 0.6):
                entry[key] = {name: level[name] for name in level if maybe(draw, 0.8)}
        if maybe(draw, 0.3):
            entry["maxLimitRequestRatio"] = {draw.choice(["cpu", "memory"]): draw.choice(["2", "4"])}
            entry.pop("defaultRequest", None)
        limits = [entry]
        if maybe(draw, 0.5):
            limits.append({"type": "Pod", "max": {"cpu": "3", "memory": "3Gi"}, "min": {"cpu": "60m"}})
        objects = [limit_range("limits", namespace, *limits)]
        if number % 3 == 2:
            # Of two ranges that default the same resource, either may win (the API server's order is not fixed).
            storage = {"default": {"ephemeral-storage": "300Mi"}, "defaultRequest": {"ephemeral-storage": "48Mi"}}
            second = {"type": "Container", **storage}
            objects.append(limit_range("more", namespace, second))
        for index in range(each):
            item = random_pod(draw, f"pod-{index}", namespace)
            if maybe(draw, 0.8):
                agree(item)
            cases.append(Case(f"{namespace}/{index}", namespace, [item], objects))
    return cases


def quotas(seed: int, namespaces: list[str]) -> list[Case]:
    """Pods one after the other into a namespace with a quota, or two, until it is used up."""
    draw = random.Random(seed)  # noqa: S311
    cases = []
    for namespace in namespaces:
        hard: Document = {}
        for name, values in {
            "requests.cpu": ["400m", "1", "2"],
            "cpu": ["500m", "1500m"],
            "limits.cpu": ["1", "3"],
            "requests.memory": ["256Mi", "1Gi"],
            "limits.memory": ["512Mi", "2Gi"],
            "pods": [2, 3],
            "count/pods": ["2", "4"],
            f"requests.{GPU}": [1, 2],
            "requests.ephemeral-storage": ["50Mi", "1Gi"],
        }.items():
            if maybe(draw, 0.3):
                hard[name] = draw.choice(values)
        hard = hard or {"pods": 3}
        spec: Document = {"hard": hard}
        scope = draw.choice(["", "", "BestEffort", "NotBestEffort", "NotTerminating", "priority"])
        if scope == "BestEffort":
            spec = {"hard": {"pods": draw.choice([1, 2])}, "scopes": [scope]}
        elif scope == "priority":
            spec["scopeSelector"] = {
                "matchExpressions": [
                    {"scopeName": "PriorityClass", "operator": "In", "values": ["system-node-critical"]}
                ]
            }
            spec["hard"] = {"pods": 1}
        elif scope:
            spec["scopes"] = [scope]
            # A scope is for cpu, memory and the number of pods alone.
            allowed = ("cpu", "memory", "pods", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory")
            spec["hard"] = {name: value for name, value in hard.items() if name in allowed} or {"pods": 2}
        objects = [_quota("quota", namespace, spec)]
        if maybe(draw, 0.25):
            objects.append(_quota("second", namespace, {"hard": {"pods": draw.choice([3, 4])}}))
        pods = []
        for index in range(5):
            item = random_pod(draw, f"pod-{index}", namespace, gpu=0.2)
            agree(item)
            for entry in item["spec"]["containers"] + item["spec"].get("initContainers", []):
                if maybe(draw, 0.7):
                    _complete(entry, draw)
            if maybe(draw, 0.2):
                item["spec"]["activeDeadlineSeconds"] = 3600
            pods.append(item)
        cases.append(Case(namespace, namespace, pods, objects))
    return cases


def _quota(name: str, namespace: str, spec: Document) -> Document:
    return {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


def _complete(entry: Document, draw: random.Random) -> None:
    """Give a container limits for cpu and memory, so that a quota for these lets it in."""
    resources = entry.setdefault("resources", {})
    limits = resources.setdefault("limits", {})
    for name, values in (("cpu", ["50m", "200m"]), ("memory", ["32Mi", "100Mi"])):
        limits[name] = draw.choice(values)
        if name in (resources.get("requests") or {}):
            del resources["requests"][name]


def runtime_classes(seed: int, count: int, namespace: str, prefix: str) -> tuple[list[Document], list[Case]]:
    """Classes with overhead, selectors and tolerations, and pods that ask for them."""
    draw = random.Random(seed)  # noqa: S311
    classes: list[Document] = []
    for index in range(8):
        item: Document = {
            "apiVersion": "node.k8s.io/v1",
            "kind": "RuntimeClass",
            "metadata": {"name": f"{prefix}-{index}", "labels": {LABEL: "true"}},
            "handler": "runc",
        }
        if index % 2:
            item["overhead"] = {"podFixed": {"cpu": draw.choice(["10m", "250m"]), "memory": draw.choice(MEMORY)}}
        if index % 3 != 1:
            item["scheduling"] = {"nodeSelector": {"runtime": f"r{index % 3}", "zone": "a"}}
            if maybe(draw, 0.6):
                item["scheduling"]["tolerations"] = [
                    {"key": "runtime", "operator": "Equal", "value": "sandboxed", "effect": "NoSchedule"}
                ]
        classes.append(item)
    cases = []
    for index in range(count):
        item = random_pod(draw, f"pod-{index}", namespace)
        agree(item)
        chosen = draw.choice(classes)
        spec = item["spec"]
        spec["runtimeClassName"] = chosen["metadata"]["name"] if maybe(draw, 0.9) else f"{prefix}-none"
        if maybe(draw, 0.4):
            spec["nodeSelector"] = draw.choice(
                [{"runtime": "r0"}, {"runtime": "other"}, {"zone": "a"}, {"disk": "ssd"}]
            )
        if maybe(draw, 0.2):
            overhead = (chosen.get("overhead") or {}).get("podFixed")
            spec["overhead"] = draw.choice([overhead or {"cpu": "1m"}, {"cpu": "1"}])
        if maybe(draw, 0.3):
            spec["tolerations"] = [{"key": "runtime", "operator": "Exists"}]
        cases.append(Case(item["metadata"]["name"], namespace, [item]))
    return classes, cases


def priority_classes(seed: int, count: int, namespace: str, prefix: str) -> tuple[list[Document], list[Case]]:
    """Classes, and pods that name one, a wrong one, none, or a number of their own."""
    draw = random.Random(seed)  # noqa: S311
    classes = [
        {
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": f"{prefix}-{index}", "labels": {LABEL: "true"}},
            "value": value,
            "preemptionPolicy": draw.choice(["PreemptLowerPriority", "Never"]),
        }
        for index, value in enumerate([-1000, -5, 0, 7, 1000, 1_000_000_000])
    ]
    names = [item["metadata"]["name"] for item in classes] + [
        "system-node-critical",
        "system-cluster-critical",
        f"{prefix}-none",
        "",
        "",
    ]
    cases = []
    for index in range(count):
        item = random_pod(draw, f"pod-{index}", namespace)
        agree(item)
        name = draw.choice(names)
        if name:
            item["spec"]["priorityClassName"] = name
        if maybe(draw, 0.2):
            item["spec"]["priority"] = draw.choice([0, 7, 1000, 12345])
        cases.append(Case(item["metadata"]["name"], namespace, [item]))
    return classes, cases


def storage_classes(prefix: str) -> list[Document]:
    """Classes whose provisioner tells them apart; each waits for its first pod."""
    return [
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": f"{prefix}-{index}", "labels": {LABEL: "true"}},
            "provisioner": f"csi-{index}.airgap.internal",
            "volumeBindingMode": "WaitForFirstConsumer",
        }
        for index in range(3)
    ]


def claims(seed: int, count: int, namespace: str, prefix: str, phase: str) -> list[Document]:
    """Claims that name a class in each way there is."""
    draw = random.Random(seed)  # noqa: S311
    result = []
    for index in range(count):
        spec: Document = {
            "accessModes": [draw.choice(["ReadWriteOnce", "ReadWriteMany", "ReadWriteOncePod"])],
            "resources": {"requests": {"storage": draw.choice(["1Gi", "500M", "10Gi"])}},
        }
        annotations: Document = {}
        way = draw.choice(["none", "none", "none", "empty", "named", "unknown", "old", "null"])
        if way == "empty":
            spec["storageClassName"] = ""
        elif way == "named":
            spec["storageClassName"] = f"{prefix}-{draw.randrange(3)}"
        elif way == "unknown":
            spec["storageClassName"] = f"{prefix}-none"
        elif way == "null":
            spec["storageClassName"] = None
        elif way == "old":
            annotations["volume.beta.kubernetes.io/storage-class"] = f"{prefix}-{draw.randrange(3)}"
        result.append(
            {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {"name": f"{phase}-{index}", "namespace": namespace, "annotations": annotations},
                "spec": spec,
            }
        )
    return copy.deepcopy(result)
