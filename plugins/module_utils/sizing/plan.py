# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan before there is a cluster: rendered releases, a file of nodes and a bundle become what to buy or free."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.airgap.speech.plugins.module_utils.bundle.lock import Lock
from ansible_collections.airgap.speech.plugins.module_utils.kube import capacity, problem
from ansible_collections.airgap.speech.plugins.module_utils.kube import quantity as quantities
from ansible_collections.airgap.speech.plugins.module_utils.kube.describe import table
from ansible_collections.airgap.speech.plugins.module_utils.kube.nodes import Node, read_pools
from ansible_collections.airgap.speech.plugins.module_utils.kube.pods import load_documents
from ansible_collections.airgap.speech.plugins.module_utils.kube.questions import NOW, QUESTIONS
from ansible_collections.airgap.speech.plugins.module_utils.kube.snapshot import Snapshot, from_documents
from ansible_collections.airgap.speech.plugins.module_utils.sizing import disk

SCHEMA = "airgap.speech/plan/v1"
# More nodes than this are not looked for: a pod that this many do not help is helped by none.
MOST_NODES = 1024
FITS = "fits"


@dataclass(frozen=True)
class Release:
    """A rendered release: ``entry`` is what the role knows of it (name, namespace, platform, sizes, sources, ...)."""

    entry: Mapping[str, Any]
    asked: problem.Release


@dataclass(frozen=True)
class Asked:
    """What is asked of a cluster: releases that have to fit together, and the questions that all have to be answered
    with ``fits``."""

    releases: Sequence[problem.Release]
    minor: Optional[int] = None
    questions: Sequence[str] = (NOW,)
    tolerate_nodes: int = 1

    def of(self, snapshot: Snapshot) -> Dict[str, Any]:
        """The answers, as :func:`capacity.ask` gives them."""
        snapshot.minor = self.minor
        return capacity.ask(self.releases, snapshot, self.questions, tolerate_nodes=self.tolerate_nodes)

    def fits(self, cluster: Cluster, more: Mapping[str, int]) -> bool:
        """Whether all of it fits with so many more nodes. The costly questions come last, if at all."""
        snapshot = from_documents(cluster.documents(more))
        snapshot.minor = self.minor
        return all(
            capacity.ask(self.releases, snapshot, (question,), tolerate_nodes=self.tolerate_nodes, brief=True)[
                "verdict"
            ]
            == FITS
            for question in sorted(self.questions, key=QUESTIONS.index)
        )


@dataclass
class Cluster:
    """The file of nodes: its pools can grow in thought, everything else is taken as it is."""

    pools: List[Dict[str, Any]] = field(default_factory=list)
    others: List[Mapping[str, Any]] = field(default_factory=list)

    def documents(self, more: Optional[Mapping[str, int]] = None) -> List[Mapping[str, Any]]:
        """The cluster with so many more nodes in each pool."""
        if not more:
            return [*self.others, {"pools": self.pools}] if self.pools else list(self.others)
        grown = [{**pool, "count": pool.get("count", 1) + more.get(str(pool.get("name")), 0)} for pool in self.pools]
        return [*self.others, {"pools": grown}]


def read_cluster(text: str) -> Cluster:
    """Read a file of nodes: pools, or objects as ``kubectl get -o yaml`` writes them. Raises SpecError."""
    cluster = Cluster()
    for document in load_documents(text):
        if "pools" in document:
            read_pools(document["pools"], "cluster file")
            cluster.pools += [dict(pool) for pool in document["pools"]]
        else:
            cluster.others.append(document)
    return cluster


def read_release(entry: Mapping[str, Any]) -> Release:
    """Read a release. Raises SpecError where its manifest is no YAML."""
    documents = tuple(load_documents(str(entry.get("manifest") or "")))
    namespace, name = str(entry.get("namespace") or "default"), str(entry.get("name") or "")
    return Release(entry, problem.Release(documents, namespace, name))


def make(
    releases: Sequence[Release],
    cluster: Cluster,
    lock: Optional[Lock] = None,
    *,
    minor: Optional[int] = None,
    questions: Sequence[str] = (NOW,),
    tolerate_nodes: int = 1,
    factor: float = disk.IMAGES_FACTOR,
    keep: int = 1,
) -> Dict[str, Any]:
    """The plan as plain data. Raises SpecError and QuantityError where a manifest or the file of nodes is wrong."""
    asked = Asked([release.asked for release in releases], minor, questions or (NOW,), tolerate_nodes)
    snapshot = from_documents(cluster.documents())
    answer = asked.of(snapshot)
    places: List[disk.Place] = []
    if lock is not None:
        entries = [disk.release_disk(release.entry) for release in releases]
        places = disk.places(lock, entries, factor=factor, keep=keep)
    well = all(found["verdict"] == FITS for found in answer["answers"].values())
    plan = {
        "schema": SCHEMA,
        "releases": [_release(release) for release in releases],
        "capacity": answer,
        "pools": _pools(cluster, asked, snapshot, answer),
        "add": [] if well else nodes_to_add(cluster, asked),
        "disk": [place.as_dict() for place in places],
        "disk_known": lock is not None,
    }
    plan["steps"] = _steps(plan, cluster, snapshot.nodes)
    plan["ready"] = not plan["steps"]
    return plan


def nodes_to_add(cluster: Cluster, asked: Asked) -> List[Dict[str, int]]:
    """The ways to make it fit with more nodes: each a map of pools to nodes, of any one pool alone, or of several.

    Empty where no number of nodes of these pools helps. Each count is the smallest that does, the other pools being
    as they are.
    """
    names = [str(pool.get("name")) for pool in cluster.pools]
    workloads = problem.Problem(asked.releases, from_documents(cluster.documents())).manifest.workloads
    # One node a pod is enough where a node is any help, and those that may be lost beside them.
    pods = sum(max(1, workload.count) for workload in workloads if not workload.daemon)
    limit = min(MOST_NODES, 2 * max(1, pods) + asked.tolerate_nodes)
    found = {name: _least(cluster, asked, {}, name, limit) for name in names}
    ways = [{name: count} for name, count in found.items() if count is not None]
    if ways or len(names) < 2:
        return ways
    more = dict.fromkeys(names, limit)
    if not asked.fits(cluster, more):
        return []
    # Several pools have to grow together: make one after the other as small as it can be.
    for name in names:
        more[name] = _least(cluster, asked, more, name, limit) or 0
    return [{name: count for name, count in more.items() if count}]


def _least(cluster: Cluster, asked: Asked, more: Mapping[str, int], name: str, limit: int) -> Optional[int]:
    """The smallest number of further nodes of a pool that makes it fit; None where up to ``limit`` does not."""
    low, high = 0, 1
    # Small clusters are judged fast: double until it fits, and halve from there.
    while not asked.fits(cluster, {**more, name: high}):
        if high == limit:
            return None
        low, high = high + 1, min(2 * high, limit)
    while low < high:
        middle = (low + high) // 2
        if asked.fits(cluster, {**more, name: middle}):
            high = middle
        else:
            low = middle + 1
    return high


def _release(release: Release) -> Dict[str, Any]:
    """A release in the plan: its size, and each sized value with its source and what the release itself says."""
    own = release.entry.get("own_values") or {}
    settings = []
    for item in release.entry.get("sources") or []:
        setting = dict(item)
        given = _at(own, str(item.get("path") or ""))
        if given is not None and given != item.get("value"):
            setting["overridden"] = given
        settings.append(setting)
    return {
        "platform": release.entry.get("platform"),
        "name": release.entry.get("name"),
        "namespace": release.entry.get("namespace"),
        "sizes": dict(release.entry.get("sizes") or {}),
        "settings": settings,
        "notes": list(release.entry.get("notes") or []),
    }


def _at(values: Any, path: str) -> Any:
    """What stands at a path of values; keys that hold points are found by trying all splits."""
    if not path or not isinstance(values, Mapping):
        return values if not path else None
    parts = path.split(".")
    for count in range(1, len(parts) + 1):
        key = ".".join(parts[:count])
        if key in values:
            return _at(values[key], ".".join(parts[count:]))
    return None


def _pools(cluster: Cluster, asked: Asked, snapshot: Snapshot, answer: Mapping[str, Any]) -> List[Dict[str, Any]]:
    """For each pool: its nodes, those that got a pod, and what is asked of what they have."""
    workloads = problem.Problem(asked.releases, snapshot).manifest.workloads
    requests = {item.title: item.pod.request_map for item in workloads}
    names = [str(pool.get("name")) for pool in cluster.pools]
    rows: Dict[str, Dict[str, Any]] = {}
    for node in snapshot.nodes:
        stem, _dash, number = node.name.rpartition("-")
        pool = stem if number.isdigit() and stem in names else "nodes"
        row = rows.setdefault(pool, {"name": pool, "nodes": 0, "used": 0, "resources": {}})
        row["nodes"] += 1
        placed = answer["placements"].get(node.name) or []
        row["used"] += bool(placed)
        for resource, amount in node.allocatable.items():
            if resource == "pods":
                continue
            cell = row["resources"].setdefault(resource, {"allocatable": 0, "asked": 0})
            cell["allocatable"] += amount
            cell["asked"] += sum(requests.get(title, {}).get(resource, 0) for title in placed)
    return list(rows.values())


def _steps(plan: Mapping[str, Any], cluster: Cluster, nodes: Sequence[Node]) -> List[str]:
    """What has to be bought, freed or changed before the releases can be deployed."""
    steps: List[str] = []
    answers = plan["capacity"]["answers"]
    short = {name: found for name, found in answers.items() if found["verdict"] != FITS}
    if short:
        for way in plan["add"]:
            parts = [f"{count} more node(s) of pool {name}{_node_text(cluster, name)}" for name, count in way.items()]
            steps.append("add " + " and ".join(parts))
        if len(steps) > 1:
            steps = ["any one of these: " + "; or ".join(steps)]
        if not steps:
            (question, found), *_others = short.items()
            causes = [f"{item['workload']}: {item['message']}" for item in found["shortfalls"]]
            causes = causes or [f"the question {question}: {found['verdict']}"]
            causes += [f"What would help: {item['text']}." for item in plan["capacity"]["remedies"]]
            steps.append(
                "no number of further nodes of these pools helps: "
                + " ".join(causes)
                + " Give a pool larger nodes, other labels or no taint, or ask for less in the values"
            )
    steps += _disk_steps(plan, nodes)
    return steps


def _node_text(cluster: Cluster, name: str) -> str:
    pool = next(pool for pool in cluster.pools if str(pool.get("name")) == name)
    amounts = [f"{resource} {amount}" for resource, amount in (pool.get("allocatable") or {}).items()]
    return f" ({', '.join(amounts)} each)" if amounts else ""


def _disk_steps(plan: Mapping[str, Any], nodes: Sequence[Node]) -> List[str]:
    """Nodes whose disk is known from the file, and smaller than what the bundle needs on each."""
    need = sum(place["bytes"] for place in plan["disk"] if place["kind"] == "node")
    steps = []
    small: Dict[int, List[str]] = {}
    for node in nodes:
        have = node.allocatable.get("ephemeral-storage")
        if have is not None and have < need:
            small.setdefault(have, []).append(node.name)
    for have, names in sorted(small.items()):
        shown = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
        steps.append(
            f"give {len(names)} node(s) ({shown}) {quantities.bytes_text(need - have)} more disk each:"
            f" they have {quantities.bytes_text(have)} for pods and images,"
            f" and {quantities.bytes_text(need)} are needed"
        )
    return steps


def describe(plan: Mapping[str, Any]) -> str:
    """The plan as a text."""
    lines: List[str] = []
    for release in plan["releases"]:
        size = ", ".join(f"{name} {_number(value)}" for name, value in release["sizes"].items()) or "no size named"
        lines.append(f"release {release['name']} in namespace {release['namespace']} ({release['platform']}): {size}")
        rows = [["value", "is", "source"]]
        for item in release["settings"]:
            source = item["source"]
            if "overridden" in item:
                source = f"the release's own value; sized it would be {item['value']}: {source}"
            rows.append([item["path"], str(item.get("overridden", item["value"])), source])
        lines += [f"  {line}" for line in table(rows)] if len(rows) > 1 else []
        lines += [f"  note: {note}" for note in release["notes"]]
        lines.append("")
    lines += [str(plan["capacity"]["message"]), ""]
    lines += [*_pool_lines(plan["pools"]), ""]
    if plan["disk_known"]:
        rows = [["disk", "needed", "for"]]
        for place in plan["disk"]:
            parts = "; ".join(
                f"{part['what']} {quantities.bytes_text(part['bytes'])}: {part['rule']}" for part in place["parts"]
            )
            rows.append([place["name"], quantities.bytes_text(place["bytes"]), parts])
        lines += [*table(rows), ""]
    else:
        lines += ["disk: not known, for no bundle was given", ""]
    if plan["steps"]:
        lines.append("what to buy or free:")
        lines += [f"{number}. {step}" for number, step in enumerate(plan["steps"], 1)]
    else:
        lines.append("what to buy or free: nothing; every pod finds a node")
    return "\n".join(lines)


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _pool_lines(pools: Sequence[Mapping[str, Any]]) -> List[str]:
    resources: List[str] = []
    for pool in pools:
        resources += [name for name in pool["resources"] if name not in resources]
    rows = [["pool", "nodes", "used", *(f"{name} asked of all" for name in resources)]]
    for pool in pools:
        cells: List[str] = []
        for name in resources:
            cell: Optional[Tuple[int, int]] = None
            if name in pool["resources"]:
                cell = (pool["resources"][name]["asked"], pool["resources"][name]["allocatable"])
            cells.append(" of ".join(quantities.text_of(name, amount) for amount in cell) if cell else "-")
        rows.append([pool["name"], str(pool["nodes"]), str(pool["used"]), *cells])
    return table(rows)
