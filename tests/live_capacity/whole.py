# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole cases: simulated nodes and workloads near the edge of what fits, each case on nodes of its own."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.airgap.speech.plugins.module_utils.kube import capacity
from ansible_collections.airgap.speech.plugins.module_utils.kube.problem import Release
from ansible_collections.airgap.speech.plugins.module_utils.kube.snapshot import Reader
from tests.live_capacity.api import Api
from tests.live_capacity.cases import GPU, LABEL

Document = dict[str, Any]

CASE = "tests.airgap.internal/case"
ZONE = "topology.kubernetes.io/zone"
HOST = "kubernetes.io/hostname"
FAKE = {"key": "kwok.x-k8s.io/node", "operator": "Exists", "effect": "NoSchedule"}


@dataclass
class Whole:
    """A namespace, its pools of simulated nodes (as `sandbox pools` takes them), and the objects in their order."""

    name: str
    kind: str
    pools: list[Document]
    objects: list[Document]

    @property
    def pods(self) -> int:
        return sum(item.get("spec", {}).get("replicas", 1) for item in self.objects if item["kind"] != "LimitRange")


@dataclass
class Shape:
    """What a kind of case makes: pools, and workloads as (name, pods, pod spec)."""

    pools: list[Document]
    workloads: list[tuple[str, int, Document]]
    objects: tuple[Document, ...] = ()


def _pod(cpu: str = "1", **more: Any) -> Document:
    limits = more.pop("limits", {})
    resources: Document = {"requests": {"cpu": cpu, "memory": "64Mi"}}
    if limits:
        resources["limits"] = limits
    ports = more.pop("ports", [])
    return {"containers": [{"name": "a", "image": "a", "resources": resources, "ports": ports}], **more}


def _term(app: str, key: str) -> Document:
    return {"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": key}


def _sum(draw: random.Random, extra: int) -> Shape:
    count, cpus = draw.randint(2, 4), draw.randint(2, 4)
    return Shape([{"count": count, "cpu": cpus}], [("a", count * cpus + extra, _pod())])


def _fragments(draw: random.Random, extra: int) -> Shape:
    count = draw.randint(2, 4)
    return Shape([{"count": count, "cpu": 5}], [("a", count + extra, _pod("3"))])


def _gpus(draw: random.Random, extra: int) -> Shape:
    cards = draw.choice([1, 2, 4])
    pools = [{"count": 2, "cpu": 16, "gpus": cards}, {"count": 2, "cpu": 16}]
    return Shape(pools, [("a", 2 * cards + extra, _pod(limits={GPU: 1}))])


def _taints(draw: random.Random, extra: int) -> Shape:
    """A pool that only some pods may use: tolerated or not by value and effect."""
    effect = draw.choice(["NoSchedule", "NoExecute"])
    taints = [{"key": "kwok.x-k8s.io/node", "value": "fake", "effect": "NoSchedule"}]
    pools = [
        {"count": 1, "cpu": 2, "taints": [*taints, {"key": "dedicated", "value": "speech", "effect": effect}]},
        {"count": 2, "cpu": 2, "taints": [*taints, {"key": "dedicated", "value": "other", "effect": effect}]},
    ]
    accepted = [{"key": "dedicated", "operator": "Equal", "value": "speech", "effect": effect}]
    return Shape(pools, [("a", 2 + extra, _pod(tolerations=accepted))])


def _node_affinity(draw: random.Random, extra: int) -> Shape:
    pools = [{"count": 2, "cpu": 2, "labels": {"size": str(size), "tier": f"t{size}"}} for size in (1, 5, 9)]
    term = draw.choice(
        [
            {"key": "size", "operator": "Gt", "values": ["4"]},
            {"key": "tier", "operator": "NotIn", "values": ["t1"]},
            {"key": "tier", "operator": "In", "values": ["t5", "t9", "none"]},
        ]
    )
    required = {"nodeSelectorTerms": [{"matchExpressions": [term]}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
    return Shape(pools, [("a", 8 + extra, _pod(affinity=affinity))])


def _apart(draw: random.Random, extra: int) -> Shape:
    """Required anti-affinity, by host or by zone."""
    key = draw.choice([HOST, ZONE])
    zones = draw.randint(2, 3)
    pools = [{"count": 1 if key == HOST else 2, "cpu": 8, "labels": {ZONE: f"zone-{zone}"}} for zone in range(zones)]
    terms = [_term("a", key)]
    affinity = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}
    return Shape(pools, [("a", zones + extra, _pod(affinity=affinity))])


def _spread(draw: random.Random, extra: int) -> Shape:
    """Two zones, of which the smaller one decides how many there may be in the larger."""
    small, skew = draw.randint(1, 3), draw.choice([1, 2])
    pools = [
        {"count": 1, "cpu": small, "labels": {ZONE: "zone-small"}},
        {"count": 1, "cpu": 12, "labels": {ZONE: "zone-large"}},
    ]
    constraint = {
        "maxSkew": skew,
        "topologyKey": ZONE,
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "a"}},
    }
    return Shape(pools, [("a", 2 * small + skew + extra, _pod(topologySpreadConstraints=[constraint]))])


def _together(draw: random.Random, extra: int) -> Shape:
    """Pods that want to be in the zone of another workload's one pod."""
    pools = [
        {"count": 1, "cpu": 4, "labels": {ZONE: "zone-a"}},
        {"count": 3, "cpu": 4, "labels": {ZONE: "zone-b"}},
    ]
    affinity = {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [_term("a", ZONE)]}}
    home = draw.choice(["zone-a", "zone-b"])
    room = 3 if home == "zone-a" else 11
    return Shape(
        pools,
        [("a", 1, _pod(nodeSelector={ZONE: home})), ("b", room + extra, _pod(affinity=affinity))],
    )


def _ports(draw: random.Random, extra: int) -> Shape:
    count = draw.randint(2, 4)
    ports = [{"containerPort": 5060, "hostPort": 5060, "protocol": draw.choice(["UDP", "TCP"])}]
    return Shape([{"count": count, "cpu": 8}], [("a", count + extra, _pod(ports=ports))])


def _defaults(draw: random.Random, extra: int) -> Shape:
    """Pods that ask for nothing, in a namespace whose limit range does it for them."""
    limits = {"type": "Container", "defaultRequest": {"cpu": draw.choice(["400m", "500m"])}}
    ranges = {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "limits"}, "spec": {"limits": [limits]}}
    return Shape([{"count": 2, "cpu": 1}], [("a", 4 + extra, {"containers": [{"name": "a", "image": "a"}]})], (ranges,))


KINDS: dict[str, Callable[[random.Random, int], Shape]] = {
    "sum": _sum,
    "fragments": _fragments,
    "gpus": _gpus,
    "taints": _taints,
    "node affinity": _node_affinity,
    "apart": _apart,
    "spread": _spread,
    "together": _together,
    "host ports": _ports,
    "limit range": _defaults,
}


def cases(seed: int, rounds: int = 3) -> list[Whole]:
    """Each kind so many times; every other case asks for one pod more than fits."""
    result = []
    for number in range(rounds * len(KINDS)):
        kind = list(KINDS)[number % len(KINDS)]
        draw = random.Random(seed * 1000 + number)  # noqa: S311
        shape = KINDS[kind](draw, (number + number // len(KINDS)) % 2)
        name = f"capacity-case-{number}"
        pools = []
        for index, pool in enumerate(shape.pools):
            # Zones of one case are no domain for another.
            labels = {key: f"{name}-{value}" if key == ZONE else value for key, value in pool.get("labels", {}).items()}
            pools.append({"name": f"{name}-p{index}", **pool, "labels": {CASE: name, **labels}})
        objects = [{**item, "metadata": {**item["metadata"], "namespace": name}} for item in shape.objects]
        for workload, pods, spec in shape.workloads:
            selector = {CASE: name, **{k: f"{name}-{v}" for k, v in spec.get("nodeSelector", {}).items()}}
            own = {**spec, "nodeSelector": selector, "tolerations": [FAKE, *spec.get("tolerations", [])]}
            objects.append(_deployment(name, workload, pods, own))
        result.append(Whole(name, kind, pools, objects))
    return result


def _deployment(namespace: str, name: str, replicas: int, spec: Document) -> Document:
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


def decided(pods: Sequence[Document]) -> dict[str, list[Document]]:
    """Pods that have a node, that wait for one, and that nobody has looked at yet."""
    result: dict[str, list[Document]] = {"placed": [], "waits": [], "open": []}
    for item in pods:
        conditions = {entry["type"]: entry for entry in item.get("status", {}).get("conditions", [])}
        if item["spec"].get("nodeName"):
            result["placed"].append(item)
        elif conditions.get("PodScheduled", {}).get("reason") == "Unschedulable":
            result["waits"].append(item)
        else:
            result["open"].append(item)
    return result


def settle(api: Api, case: Whole, pods: int) -> dict[str, list[Document]]:
    """The pods of a case once each has been decided on, and nothing moves any more."""
    seen: list[dict[str, list[Document]]] = []

    def still() -> bool:
        now = decided(api.list("Pod", case.name))
        known = len(now["placed"]) + len(now["waits"])
        same = bool(seen) and len(seen[-1]["placed"]) == len(now["placed"])
        seen.append(now)
        if known == pods and not now["open"] and same:
            return True
        time.sleep(1)
        return False

    api.wait_for(f"the pods of {case.name} ({case.kind})", still)
    return seen[-1]


def run(api: Api, whole: Sequence[Whole]) -> tuple[list[Document], Counter[str]]:
    """The differences between our verdicts and what the scheduler did, and how often each verdict was given."""
    api.namespaces([case.name for case in whole], {LABEL: "true"})
    # Nodes are tainted until their first heartbeat has been seen.
    api.wait_for(
        "the taints of new nodes to go",
        lambda: (
            not any(
                taint["key"].startswith("node.kubernetes.io/")
                for item in api.list("Node")
                for taint in item["spec"].get("taints", [])
            )
        ),
    )
    verdicts: dict[str, Document] = {}
    for case in whole:
        reader = Reader(api.get)
        releases = [Release(tuple(case.objects), case.name)]
        snap = capacity.complete(reader, reader.base(), releases)
        verdicts[case.name] = capacity.ask(releases, snap)

    def make(case: Whole) -> dict[str, list[Document]]:
        # One workload after the other, as the verdict takes them.
        made, expected = {}, 0
        for item in case.objects:
            api.must_create([item])
            if item["kind"] == "Deployment":
                expected += item["spec"]["replicas"]
                made = settle(api, case, expected)
        return made

    found: list[Document] = []
    counts: Counter[str] = Counter()
    for case, live in zip(whole, api.each(make, whole)):
        mine = verdicts[case.name]
        counts[mine["verdict"]] += 1
        entry = {"case": f"{case.name} ({case.kind})", "pools": case.pools, "objects": case.objects}
        if mine["verdict"] == ("does_not_fit" if not live["waits"] else "fits"):
            reality = f"{len(live['placed'])} placed, {len(live['waits'])} wait"
            found.append({**entry, "field": "verdict", "ours": mine["verdict"], "live": reality})
        waiting = {item["metadata"]["labels"]["app"] for item in live["waits"]}
        short = {item["workload"].rpartition("/")[2]: item for item in mine["shortfalls"]}
        if mine["verdict"] == "does_not_fit" and set(short) != waiting:
            found.append({**entry, "field": "who waits", "ours": sorted(short), "live": sorted(waiting)})
        if mine["verdict"] == "does_not_fit" and len(short) == 1 and set(short) == waiting:
            # The words, without what is said of claims and preemption after them.
            said = {
                condition["message"].partition(". ")[0].rstrip(".") + "."
                for item in live["waits"]
                for condition in item["status"]["conditions"]
                if condition["type"] == "PodScheduled"
            }
            words = next(iter(short.values()))["message"]
            if words not in said:
                found.append({**entry, "field": "message", "ours": words, "live": sorted(said)})
    return found, counts
