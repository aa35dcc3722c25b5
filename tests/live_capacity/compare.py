# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What admission makes of a case: as our code says without a cluster, and as the API server did."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import ROUND_CEILING, Decimal
from typing import Any

from kubernetes.utils.quantity import parse_quantity

from ansible_collections.airgap.speech.plugins.module_utils.kube import capacity, snapshot, volumes
from ansible_collections.airgap.speech.plugins.module_utils.kube.quantity import QuantityError
from ansible_collections.airgap.speech.plugins.module_utils.kube.terms import SpecError, Toleration, tolerations
from tests.live_capacity.api import Api
from tests.live_capacity.cases import GPU, Case

Document = dict[str, Any]


def huge(**labels: str) -> Document:
    """A node so large that whatever is let in finds its place: the verdict is then admission's alone."""
    name = "-".join(["huge", *labels.values()])
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, **labels}},
        "status": {
            "allocatable": {
                "cpu": "100000",
                "memory": "100Ti",
                "ephemeral-storage": "100Ti",
                "pods": "10000",
                GPU: "10000",
                "hugepages-2Mi": "1Ti",
            }
        },
    }


# The selectors that the cases ask for.
NODES = [huge(), *(huge(runtime=value, zone="a", disk="ssd") for value in ("r0", "r2", "other"))]


def effective(spec: Mapping[str, Any]) -> dict[str, int]:
    """What the scheduler counts for a pod that admission has completed; written from the documentation anew.

    Thousandths for cpu, whole units for the rest.
    """

    def amounts(values: Mapping[str, Any] | None) -> dict[str, Decimal]:
        return {name: Decimal(parse_quantity(value)) for name, value in (values or {}).items()}

    def add(*parts: Mapping[str, Decimal]) -> dict[str, Decimal]:
        return {
            name: sum((part.get(name, Decimal(0)) for part in parts), Decimal(0)) for part in parts for name in part
        }

    def asked(container: Mapping[str, Any]) -> dict[str, Decimal]:
        return amounts((container.get("resources") or {}).get("requests"))

    total = add({}, *(asked(item) for item in spec["containers"]))
    sidecars: dict[str, Decimal] = {}
    most: dict[str, Decimal] = {}
    for item in spec.get("initContainers") or []:
        if item.get("restartPolicy") == "Always":
            sidecars = add(sidecars, asked(item))
            now = sidecars
        else:
            now = add(sidecars, asked(item))
        most = {name: max(most.get(name, Decimal(0)), now.get(name, Decimal(0))) for name in {*most, *now}}
    total = add(total, sidecars)
    total = {name: max(total.get(name, Decimal(0)), most.get(name, Decimal(0))) for name in {*total, *most}}
    total.update(amounts((spec.get("resources") or {}).get("requests")))
    total = add(total, amounts(spec.get("overhead")))
    scaled = {name: value * 1000 if name == "cpu" else value for name, value in total.items()}
    return {name: int(value.to_integral_value(ROUND_CEILING)) for name, value in scaled.items() if value}


def accepted(items: Sequence[Toleration]) -> list[str]:
    """Tolerations without those that another one covers: the API server drops some of these."""

    def covers(one: Toleration, other: Toleration) -> bool:
        key = one.key == other.key or (not one.key and one.operator == "Exists")
        value = one.operator == "Exists" or (one.operator == other.operator and one.value == other.value)
        return key and value and one.effect in ("", other.effect)

    unique = list(dict.fromkeys(items))
    return sorted(str(item) for item in unique if not any(covers(other, item) for other in unique if other is not item))


def ours(case: Case, extra: Sequence[Document] = (), minor: int | None = None) -> list[Document]:
    """For each pod of a case: whether it is let in, and what it then asks for."""
    cluster = [*NODES, *extra, *case.objects]
    snap = snapshot.from_documents(cluster)
    snap.minor = minor
    try:
        verdict, manifest = capacity.assess(case.pods, case.namespace, snap)
    except (SpecError, QuantityError) as error:
        if len(case.pods) > 1:
            raise
        return [{"accepted": False, "why": str(error)}]
    refused = {item.workload: item.message for item in verdict.shortfalls}
    result = []
    for workload in manifest.workloads:
        if workload.title in refused:
            result.append({"accepted": False, "why": refused[workload.title]})
            continue
        pod = workload.pod
        result.append(
            {
                "accepted": True,
                "requests": {name: amount for name, amount in pod.requests if amount},
                "priority": pod.priority,
                "node_selector": dict(pod.node_selector),
                "tolerations": accepted(pod.tolerations),
                "host_ports": sorted([list(item) for item in pod.host_ports]),
            }
        )
    return result


def live(answers: Iterable[tuple[int, Document]]) -> list[Document]:
    """The same from what the API server answered to each pod."""
    result = []
    for status, answer in answers:
        if status not in (200, 201):
            result.append({"accepted": False, "why": f"{status} {answer.get('message')}"})
            continue
        spec = answer["spec"]
        # Only the form is ours.
        tolerated = tolerations(spec.get("tolerations"), "live", "spec.tolerations")
        result.append(
            {
                "accepted": True,
                "requests": effective(spec),
                "priority": spec.get("priority"),
                "node_selector": spec.get("nodeSelector") or {},
                "tolerations": accepted(tolerated),
                "host_ports": sorted(
                    [port.get("protocol"), port.get("hostIP") or "0.0.0.0", port["hostPort"]]  # noqa: S104
                    for item in spec["containers"]
                    for port in item.get("ports") or []
                    if port.get("hostPort")
                ),
            }
        )
    return result


def differences(case: Case, mine: Sequence[Document], theirs: Sequence[Document]) -> list[Document]:
    """What the two do not agree on, pod by pod; the words of a refusal do not count."""
    found: list[Document] = []
    if len(mine) != len(theirs):
        return [{"case": case.name, "field": "pods", "ours": len(mine), "live": len(theirs)}]
    for index, (one, other) in enumerate(zip(mine, theirs)):
        for key in one if one["accepted"] == other["accepted"] else ("accepted",):
            if key != "why" and one[key] != other[key]:
                found.append(
                    {
                        "case": case.name,
                        "pod": case.pods[index],
                        "field": key,
                        "ours": one[key],
                        "live": other[key],
                        "ours_why": one.get("why"),
                        "live_why": other.get("why"),
                        "objects": case.objects,
                    }
                )
    return found


def dry_run(api: Api, cases: Sequence[Case]) -> list[list[Document]]:
    """What the API server says to the one pod of each case, without keeping it."""
    answers = api.each(lambda case: api.create(case.pods[0], dry=True), cases)
    return [live([answer]) for answer in answers]


def class_of(claim: Document, classes: Sequence[Document]) -> str | None:
    """The class that our code takes a claim to have: told by its provisioner, which each of the classes has alone."""
    storage = volumes.Storage()
    reader = volumes.ClaimReader({"StorageClass": classes}, storage)
    read, note = reader.read("namespace/claim", claim)
    if read is not None and read.waits:
        return next(str(item["metadata"]["name"]) for item in classes if item["provisioner"] == read.provisioner)
    named = note.partition("its StorageClass ")[2].partition(" was not found")[0]
    if not named:
        raise AssertionError(f"{claim['metadata']['name']}: {read} {note}")
    return None if named == "(default)" else named
