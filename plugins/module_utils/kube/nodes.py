# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes: those of a cluster, or pools of nodes from a file, so that a cluster can be planned before it exists."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any, Dict, Iterable, List, Mapping, Set, Tuple

from ansible_collections.airgap.speech.plugins.module_utils.kube import quantity as quantities
from ansible_collections.airgap.speech.plugins.module_utils.kube.terms import (
    SpecError,
    Taint,
    mapping,
    sequence,
    string_map,
    taints,
)

# Images together count from this size on.
SMALLEST_IMAGE = 23 * 2**20
HOSTNAME = "kubernetes.io/hostname"
ZONE = "topology.kubernetes.io/zone"


@dataclass(frozen=True)
class Node:
    """A node: what it can give, and what it asks of pods."""

    name: str
    labels: Mapping[str, str]
    allocatable: Mapping[str, int]
    taints: Tuple[Taint, ...] = ()
    unschedulable: bool = False
    # Bytes of each image, by name.
    images: Mapping[str, int] = field(default_factory=dict)
    # The pool of a cluster file that it belongs to.
    pool: str = ""

    @property
    def pods(self) -> int:
        return self.allocatable.get("pods", 0)


def _amounts(values: Any, thing: str, field: str) -> Dict[str, int]:
    read = quantities.resource_list(values, thing, field)
    return {name: quantities.whole_units(name, amount) for name, amount in read.items()}


def read_node(document: Mapping[str, Any]) -> Node:
    """Read a Node object of the API."""
    metadata = mapping(document.get("metadata"), "Node", "metadata")
    name = str(metadata.get("name") or "")
    thing = f"Node {name}"
    spec = mapping(document.get("spec"), thing, "spec")
    status = mapping(document.get("status"), thing, "status")
    given = status.get("allocatable")
    if given is None:
        given = status.get("capacity")
    images = {
        sys.intern(str(image)): int(entry.get("sizeBytes") or 0)
        for entry in status.get("images") or []
        for image in entry.get("names") or []
    }
    return Node(
        name=name,
        labels=string_map(metadata.get("labels"), thing, "metadata.labels"),
        allocatable=_amounts(given, thing, "status.allocatable"),
        taints=taints(spec.get("taints"), thing, "spec.taints"),
        unschedulable=bool(spec.get("unschedulable")),
        images=images,
    )


_POOL_KEYS = frozenset(("name", "count", "allocatable", "labels", "taints"))


def read_pools(pools: Any, where: str = "pools") -> List[Node]:
    """Make the nodes of a list of pools: name, count, allocatable, labels and taints."""
    nodes: List[Node] = []
    for index, item in enumerate(sequence(pools, where, "pools")):
        pool = mapping(item, where, f"pools[{index}]")
        name = str(pool.get("name") or "")
        thing = f"pool {name or index}"
        unknown = sorted(set(pool) - _POOL_KEYS)
        if not name:
            raise SpecError(f"{thing}: name: Required value; give the pool a name")
        if unknown:
            raise SpecError(f"{thing}: {unknown[0]}: unknown field; a pool has {', '.join(sorted(_POOL_KEYS))}")
        count = pool.get("count", 1)
        if isinstance(count, bool) or not isinstance(count, int) or count < 0:
            raise SpecError(f"{thing}: count: {count!r} is not a whole number of zero or more")
        allocatable = _amounts(pool.get("allocatable"), thing, "allocatable")
        for wanted in ("cpu", "memory"):
            if wanted not in allocatable:
                raise SpecError(f"{thing}: allocatable.{wanted}: Required value; say what one node can give to pods")
        allocatable.setdefault("pods", 110)
        labels = string_map(pool.get("labels"), thing, "labels")
        marks = taints(pool.get("taints"), thing, "taints")
        for number in range(1, count + 1):
            node = f"{name}-{number}"
            base = {HOSTNAME: node, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
            nodes.append(Node(node, {**base, **labels}, allocatable, marks, pool=name))
    return nodes


def split_cluster(documents: Iterable[Mapping[str, Any]]) -> Tuple[List[Node], List[Mapping[str, Any]]]:
    """Take the nodes out of a cluster file (pools, or Node objects); the rest, such as Pods, comes back as it was."""
    nodes: List[Node] = []
    rest: List[Mapping[str, Any]] = []
    for document in documents:
        if "pools" in document:
            nodes += read_pools(document["pools"], "cluster file")
        elif document.get("kind") == "Node":
            nodes.append(read_node(document))
        else:
            rest.append(document)
    names: Set[str] = set()
    for node in nodes:
        if node.name in names:
            raise SpecError(f"cluster file: two nodes are named {node.name}; give each pool a name of its own")
        names.add(node.name)
    return nodes, rest
