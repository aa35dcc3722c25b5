# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Our capacity verdict against the sandbox's live API server and scheduler.

The cases are drawn from a seed that is printed; CAPACITY_SEED draws the same again. What does not agree is written to
build/way/capacity-<name>.json.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.airgap.speech.plugins.module_utils.kube import capacity
from ansible_collections.airgap.speech.plugins.module_utils.kube.problem import Release
from ansible_collections.airgap.speech.plugins.module_utils.kube.snapshot import Reader
from dev.journey import CHECKOUT, Journey
from sandbox.pools import POOL_LABEL
from sandbox.settings import Settings
from tests.live_capacity import cases as drawn
from tests.live_capacity import compare, whole
from tests.live_capacity.api import Api
from tests.live_capacity.cases import LABEL, Case

Document = dict[str, Any]

SELECTOR = f"{LABEL}=true"
LEAST = 50


@pytest.fixture(scope="module")
def seed() -> int:
    """Printed with each failure, and in the summary with -rA."""
    return int(os.environ.get("CAPACITY_SEED") or secrets.randbelow(2**31))


@pytest.fixture(scope="module")
def api(journey: Journey) -> Iterator[Api]:
    """The API server; what the tests make in it goes away with them."""
    client = Api(Settings(name=journey.name).state / "kubeconfig")
    clean(client)
    yield client
    clean(client)


def clean(api: Api) -> None:
    for kind in ("PriorityClass", "RuntimeClass", "StorageClass", "Namespace"):
        api.remove(kind, SELECTOR)


@pytest.fixture
def agree(journey: Journey, request: pytest.FixtureRequest, seed: int) -> Callable[[list[Document], int], None]:
    """agree(differences, compared): none, of at least LEAST cases; each is kept in a file otherwise."""

    def check(found: list[Document], compared: int, least: int = LEAST) -> None:
        print(f"{request.node.name}: seed {seed}, {compared} cases, {len(found)} differences")
        if found:
            target = CHECKOUT / "build" / "way" / f"capacity-{request.node.name}.json"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(json.dumps({"seed": seed, "differences": found}, indent=1))
        shown = [f"{item['case']}: {item['field']}: ours {item['ours']}, live {item['live']}" for item in found[:10]]
        assert not found, "\n".join(shown)
        assert compared >= least

    return check


def names(word: str, count: int) -> list[str]:
    return [f"capacity-{word}-{number}" for number in range(count)]


def asked_dry(api: Api, cases: Sequence[Case], extra: Sequence[Document] = ()) -> list[Document]:
    """The differences of cases with one pod each, which are not kept."""
    live = compare.dry_run(api, cases)
    both = {entry["accepted"] for answers in live for entry in answers}
    assert both == {True, False}, "the cases are one-sided"
    return [
        difference
        for case, theirs in zip(cases, live)
        for difference in compare.differences(case, compare.ours(case, extra, api.minor), theirs)
    ]


def test_defaulting_from_limits(api: Api, seed: int, agree: Callable[..., None]) -> None:
    (namespace,) = names("defaults", 1)
    api.namespaces([namespace], {LABEL: "true"})
    cases = drawn.defaulting(seed, 60, namespace)
    agree(asked_dry(api, cases), len(cases))


def test_limit_ranges(api: Api, seed: int, agree: Callable[..., None]) -> None:
    namespaces = names("limits", 10)
    api.namespaces(namespaces, {LABEL: "true"})
    cases = drawn.limit_ranges(seed, namespaces, 6)
    objects = {id(item): item for case in cases for item in case.objects}
    api.must_create(objects.values())
    agree(asked_dry(api, cases), len(cases))


def test_runtime_classes(api: Api, seed: int, agree: Callable[..., None]) -> None:
    (namespace,) = names("runtimes", 1)
    api.namespaces([namespace], {LABEL: "true"})
    classes, cases = drawn.runtime_classes(seed, 60, namespace, "capacity-runtime")
    api.must_create(classes)
    agree(asked_dry(api, cases, classes), len(cases))


def test_priority_classes(api: Api, seed: int, agree: Callable[..., None]) -> None:
    """Once without a class that is everybody's, once with one."""
    (namespace,) = names("priorities", 1)
    api.namespaces([namespace], {LABEL: "true"})
    classes, cases = drawn.priority_classes(seed, 40, namespace, "capacity-priority")
    api.must_create(classes)
    known = api.list("PriorityClass")
    found = asked_dry(api, cases, known)
    # One of them becomes everybody's; that cannot be patched, so it is made anew.
    chosen = {**classes[3], "globalDefault": True}
    assert api.request("DELETE", api.path("PriorityClass", "", chosen["metadata"]["name"]))[0] == 200
    api.must_create([chosen])
    known = api.list("PriorityClass")
    _classes, more = drawn.priority_classes(seed + 1, 40, namespace, "capacity-priority")
    found += asked_dry(api, more, known)
    agree(found, len(cases) + len(more))


def test_resource_quotas(api: Api, seed: int, agree: Callable[..., None]) -> None:
    """Here the pods are kept: each uses up some of the quota."""
    namespaces = names("quota", 54)
    api.namespaces(namespaces, {LABEL: "true"})
    cases = drawn.quotas(seed, namespaces)
    api.each(lambda case: api.must_create(case.objects), cases)
    for case in cases:
        api.wait_for(
            f"the quotas of {case.namespace}",
            lambda case=case: all(
                (item.get("status") or {}).get("hard") == item["spec"]["hard"]
                for item in api.list("ResourceQuota", case.namespace)
            ),
        )
    live = api.each(lambda case: compare.live([api.create(item) for item in case.pods]), cases)
    found = [
        difference
        for case, theirs in zip(cases, live)
        for difference in compare.differences(case, compare.ours(case, api.list("PriorityClass"), api.minor), theirs)
    ]
    kept = [entry["accepted"] for theirs in live for entry in theirs]
    assert True in kept and False in kept
    agree(found, len(cases))


def test_storage_classes(api: Api, seed: int, agree: Callable[..., None]) -> None:
    """The class of a claim that names none: of one default, of several, and of none."""
    (namespace,) = names("storage", 1)
    api.namespaces([namespace], {LABEL: "true"})
    prefix, mark = "capacity-storage", "storageclass.kubernetes.io/is-default-class"
    classes = drawn.storage_classes(prefix)
    found: list[Document] = []
    compared = 0

    def asked(phase: str) -> None:
        nonlocal compared
        known = api.list("StorageClass")
        claims = drawn.claims(seed + compared, 20, namespace, prefix, phase)
        answers = api.each(lambda claim: api.create(claim, dry=True), claims)
        for claim, (status, answer) in zip(claims, answers):
            assert status == 201, answer.get("message")
            mine, theirs = compare.class_of(claim, known), answer["spec"].get("storageClassName")
            old = (answer["metadata"].get("annotations") or {}).get("volume.beta.kubernetes.io/storage-class")
            if mine != (theirs or old or None):
                found.append({"case": claim, "field": phase, "ours": mine, "live": theirs, "objects": known})
        compared += len(claims)

    api.must_create(classes)
    asked("one")
    for item in classes[:2]:
        patch = {"metadata": {"annotations": {mark: "true"}}}
        assert api.request("PATCH", api.path("StorageClass", "", item["metadata"]["name"]), patch)[0] == 200
    asked("several")
    default = [
        item["metadata"]["name"]
        for item in api.list("StorageClass")
        if item["metadata"].get("annotations", {}).get(mark) == "true"
    ]
    try:
        for name in default:
            api.request("PATCH", api.path("StorageClass", "", name), {"metadata": {"annotations": {mark: "false"}}})
        asked("none")
    finally:
        for name in default:
            api.request("PATCH", api.path("StorageClass", "", name), {"metadata": {"annotations": {mark: "true"}}})
    agree(found, compared)


def test_a_pod_that_names_its_node_stands_the_taints_that_admission_lets_it(api: Api) -> None:
    """A real kubelet takes it in on a node that is marked as unreachable, and so do we."""
    (namespace,) = names("named", 1)
    api.namespaces([namespace], {LABEL: "true"})
    worker = next(
        item["metadata"]["name"]
        for item in api.list("Node")
        if not item["spec"].get("taints") and "type" not in item["metadata"]["labels"]
    )
    path = api.path("Node", "", worker)
    taint = {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}

    def tainted() -> bool:
        return taint["key"] in str(api.get(path, {})["spec"].get("taints"))

    def one(number: int) -> str:
        """The reason of a refusal, `taken`, or nothing where the taint was taken away too soon."""
        # The cluster sees that the node is well and takes the taint away, so it is set for each pod.
        assert api.request("PATCH", path, {"spec": {"taints": [taint]}})[0] == 200
        container = {"name": "a", "image": "sandbox.airgap.internal/busybox:1", "imagePullPolicy": "Never"}
        container["command"] = ["sleep", "600"]
        spec = {"nodeName": worker, "terminationGracePeriodSeconds": 0, "containers": [container]}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"named-{number}", "namespace": namespace}}
        release = Release(({**pod, "spec": spec},), namespace)
        snapshot = Reader(api.get).base()
        ours = capacity.ask([release], snapshot, brief=True)
        api.must_create([{**pod, "spec": spec}])
        stored: Document = {}

        def started() -> bool:
            stored.update(api.get(api.path("Pod", namespace, f"named-{number}"), {})["status"])
            return bool(stored.get("startTime") or stored.get("reason"))

        api.wait_for(f"the kubelet of {worker} to see the pod", started)
        seen = any(item.key == taint["key"] for node in snapshot.nodes for item in node.taints)
        if not seen or not tainted():
            return ""
        assert ours["verdict"] == "fits", ours["shortfalls"]
        return str(stored.get("reason") or "taken")

    try:
        answers = [one(number) for number in range(10)]
    finally:
        api.request("PATCH", path, {"spec": {"taints": None}})
    print(answers)
    assert set(answers) - {""} == {"taken"}


@pytest.fixture
def pools(journey: Journey, tmp_path: Path) -> Iterator[Callable[[list[Document]], None]]:
    """pools(list): the simulated nodes are these; none afterwards."""

    def apply(wanted: list[Document]) -> None:
        file = tmp_path / "pools.yml"
        file.write_text(yaml.safe_dump(wanted), encoding="utf-8")
        argv = journey.sandbox_argv("pools", str(file))
        done = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    yield apply
    # The nodes in few requests: `pools` would ask for the pods of each, and there are none.
    client = Api(Settings(name=journey.name).state / "kubeconfig")
    client.remove("Namespace", SELECTOR)
    client.remove("Node", POOL_LABEL)
    apply([])


def test_whole_cases(api: Api, seed: int, agree: Callable[..., None], pools: Callable[[list[Document]], None]) -> None:
    """Simulated nodes and pods of each case: who is placed and who waits, against the verdict before."""
    cases = whole.cases(seed)
    pools([pool for case in cases for pool in case.pools])
    found, verdicts = whole.run(api, cases)
    print(verdicts)
    assert verdicts["fits"] >= 8 and verdicts["does_not_fit"] >= 8
    agree(found, len(cases), least=30)
