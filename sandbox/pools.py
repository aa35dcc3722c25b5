# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Simulated nodes (kwok): pools of a size, with resources, labels and taints."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

from sandbox.cluster import kubectl, objects
from sandbox.run import SandboxError, Steps, wait_for
from sandbox.settings import Settings

POOL_LABEL = "sandbox.airgap.internal/pool"
FAKE = {"key": "kwok.x-k8s.io/node", "value": "fake", "effect": "NoSchedule"}
KEYS = {"name", "count", "cpu", "memory", "gpus", "pods", "labels", "taints"}
GPU = "nvidia.com/gpu"


def load_pools(path: str) -> list[dict[str, Any]]:
    try:
        data = yaml.safe_load(Path(path).read_text())
    except (OSError, yaml.YAMLError) as error:
        raise SandboxError(f"pools file {path}: {error}") from error
    if isinstance(data, dict) and set(data) == {"pools"}:
        data = data["pools"]
    return check_pools(data or [], path)


def check_pools(data: Any, path: str) -> list[dict[str, Any]]:
    """A list of pools, each with known keys."""
    if not isinstance(data, list) or not all(isinstance(item, dict) for item in data):
        raise SandboxError(f"{path}: pools are a list of mappings; see sandbox/README.md")
    for item in data:
        unknown = sorted(set(item) - KEYS)
        if unknown:
            raise SandboxError(
                f"{path}: pool {item.get('name')!r} has the unknown key {unknown[0]!r}; "
                f"known are {', '.join(sorted(KEYS))}"
            )
        if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?", str(item.get("name", ""))):
            raise SandboxError(
                f"{path}: pool name {item.get('name')!r} will not do; give lower-case letters, digits and hyphens"
            )
        if not isinstance(item.get("count", 1), int) or item.get("count", 1) < 0:
            raise SandboxError(f"{path}: count of pool {item['name']} is {item['count']!r}; give a number of nodes")
    names = [item["name"] for item in data]
    if len(set(names)) != len(names):
        raise SandboxError(f"{path}: two pools have one name; give each its own")
    return data


def node(pool: dict[str, Any], number: int) -> dict[str, Any]:
    """The Node object of a simulated node."""
    name = f"{pool['name']}-{number}"
    resources = {
        "cpu": str(pool.get("cpu", 8)),
        "memory": str(pool.get("memory", "32Gi")),
        "pods": str(pool.get("pods", 110)),
    }
    resources["ephemeral-storage"] = "500Gi"
    if pool.get("gpus"):
        resources[GPU] = str(pool["gpus"])
    labels = {
        "type": "kwok",
        POOL_LABEL: pool["name"],
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        **{key: str(value) for key, value in (pool.get("labels") or {}).items()},
    }
    taints = pool.get("taints", [FAKE])
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": labels,
            "annotations": {"kwok.x-k8s.io/node": "fake", "node.alpha.kubernetes.io/ttl": "0"},
        },
        "spec": {"taints": taints or []},
        "status": {"allocatable": resources, "capacity": resources},
    }


def fingerprint(item: dict[str, Any]) -> str:
    return json.dumps(
        [item["metadata"]["labels"], item["spec"].get("taints"), item["status"]["allocatable"]], sort_keys=True
    )


def apply_pools(settings: Settings, pools: list[dict[str, Any]], steps: Steps) -> None:
    """The simulated nodes are those of the pools, and no others."""
    wanted = {
        item["metadata"]["name"]: item
        for pool in pools
        for item in (node(pool, n) for n in range(1, pool.get("count", 1) + 1))
    }
    mark = "sandbox.airgap.internal/specification"
    for item in wanted.values():
        item["metadata"]["annotations"][mark] = fingerprint(item)
    there = {
        item["metadata"]["name"]: item["metadata"].get("annotations", {}).get(mark)
        for item in objects(settings, "nodes", "-l", POOL_LABEL)
    }
    gone = [
        name
        for name, was in there.items()
        if name not in wanted or was != wanted[name]["metadata"]["annotations"][mark]
    ]
    if gone:
        with steps.step(f"removing {len(gone)} simulated nodes"):
            kubectl(settings, "delete", "node", "--wait=true", *gone)
            for name in gone:
                # Pods of a node that is no more would stay until the collector's next round.
                kubectl(
                    settings,
                    "delete",
                    "pod",
                    "-A",
                    f"--field-selector=spec.nodeName={name}",
                    "--force",
                    "--grace-period=0",
                    check=False,
                )
    new = [item for name, item in wanted.items() if name not in there or name in gone]
    if new:
        with steps.step(f"{len(new)} simulated nodes"):
            document = {"apiVersion": "v1", "kind": "List", "items": new}
            kubectl(settings, "create", "-f", "-", stdin=json.dumps(document).encode())

    def ready() -> bool:
        found = objects(settings, "nodes", "-l", POOL_LABEL)
        states = {
            i["metadata"]["name"]: {c["type"]: c["status"] for c in i.get("status", {}).get("conditions", [])}
            for i in found
        }
        return all(states.get(name, {}).get("Ready") == "True" for name in wanted)

    wait_for("the simulated nodes", ready, 60, "look at kwok's journal on the control plane")
