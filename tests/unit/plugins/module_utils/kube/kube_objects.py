# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small objects for the tests of the verdict."""

from __future__ import annotations

from typing import Any

ZONE = "topology.kubernetes.io/zone"
HOSTNAME = "kubernetes.io/hostname"


def template(name: str, cpu: str = "1", limits: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    resources: dict[str, Any] = {"requests": {"cpu": cpu}}
    if limits:
        resources["limits"] = limits
    container = {"name": "c", "image": "registry.example/x", "resources": resources}
    return {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container], **spec}}


def deployment(
    name: str = "app", replicas: int = 1, cpu: str = "1", namespace: str = "", **spec: Any
) -> dict[str, Any]:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": template(name, cpu, **spec),
        },
    }


def stateful_set(
    name: str = "db", replicas: int = 1, cpu: str = "1", claim: dict[str, Any] | None = None
) -> dict[str, Any]:
    spec = {
        "replicas": replicas,
        "selector": {"matchLabels": {"app": name}},
        "template": template(name, cpu),
        "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": claim or {}}],
    }
    return {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": name}, "spec": spec}


def pool(name: str = "worker", count: int = 2, cpu: str = "4", **more: Any) -> dict[str, Any]:
    return {"name": name, "count": count, "allocatable": {"cpu": cpu, "memory": "8Gi"}, **more}


def pools(*items: dict[str, Any]) -> dict[str, Any]:
    return {"pools": list(items)}


def running(
    name: str, node: str, cpu: str = "1", namespace: str = "other", owner: str = "", **spec: Any
) -> dict[str, Any]:
    """A pod as a cluster runs it."""
    metadata: dict[str, Any] = {"name": name, "namespace": namespace, "labels": {"app": owner or name}}
    if owner:
        metadata["ownerReferences"] = [{"kind": "ReplicaSet", "name": owner, "controller": True}]
    return {
        "kind": "Pod",
        "metadata": metadata,
        "spec": {**template(name, cpu)["spec"], "nodeName": node, **spec},
        "status": {"phase": "Running"},
    }


def scaler(name: str, low: int, high: int) -> dict[str, Any]:
    target = {"kind": "Deployment", "name": name}
    return {
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name},
        "spec": {"scaleTargetRef": target, "minReplicas": low, "maxReplicas": high},
    }


def named(kind: str, name: str, namespace: str = "", **more: Any) -> dict[str, Any]:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"kind": kind, "metadata": metadata, **more}
