# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts cases to a real scheduler, and prints them with what it answered.

    record_scheduler_events.py KUBECONFIG CASES.yml > scheduler_cases.yml

The cluster is one with an API server, the controllers of workloads and the default scheduler, and **no node that
matters**: the nodes of each case are made and removed again, beside the namespace ``capacity-cases``.
Objects are made one after the other, each placed before the next, so that the order is the order of the objects.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import yaml
from kubernetes import client, config, utils

from ansible_collections.airgap.speech.plugins.module_utils.kube.nodes import read_pools

NAMESPACE = "capacity-cases"
QUIET_SECONDS = 1.0


def wait(condition: Callable[[], bool], what: str, seconds: float = 40) -> None:
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise SystemExit(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.2)


def expected_pods(document: dict[str, Any]) -> int:
    return 1 if document["kind"] == "Pod" else int(document["spec"].get("replicas", 1))


def record(core: client.CoreV1Api, api: client.ApiClient, case: dict[str, Any]) -> dict[str, Any]:
    for pool in case["nodes"]:
        for node in read_pools([pool]):
            amounts = {name: str(amount) for name, amount in pool["allocatable"].items()}
            amounts.setdefault("pods", "110")
            body = {
                "metadata": {"name": node.name, "labels": dict(node.labels)},
                "spec": {"taints": pool.get("taints")},
                "status": {"allocatable": amounts, "capacity": amounts},
            }
            core.create_node(body)
            core.patch_node_status(node.name, body)
            # Admission marks every new node as not ready.
            core.patch_node(node.name, {"spec": {"taints": pool.get("taints") or []}})
    core.create_namespace({"metadata": {"name": NAMESPACE}})
    wanted = 0
    settled: Any = None
    since = time.monotonic()
    for document in case["manifest"]:
        utils.create_from_dict(api, {**document}, namespace=NAMESPACE)
        wanted += expected_pods(document)
        since, settled = time.monotonic(), None
        while time.monotonic() - since < QUIET_SECONDS:
            pods = core.list_namespaced_pod(NAMESPACE).items
            now = sorted((pod.metadata.name, pod.spec.node_name or "", bool(pod.status.conditions)) for pod in pods)
            done = len(pods) >= wanted or document["kind"] == "DaemonSet"
            if now != settled or not done or any(not node and not judged for _name, node, judged in now):
                since, settled = time.monotonic(), now
            time.sleep(0.2)
    pending: dict[str, int] = {}
    for pod in core.list_namespaced_pod(NAMESPACE).items:
        if not pod.spec.node_name:
            app = pod.metadata.labels["app"]
            pending[app] = pending.get(app, 0) + 1
    events: dict[str, set[str]] = {}
    for pod in core.list_namespaced_pod(NAMESPACE).items:
        for condition in pod.status.conditions or []:
            if condition.type == "PodScheduled" and condition.status == "False":
                text = (condition.message or "").split(" preemption:")[0].split(" no new claims")[0].strip()
                events.setdefault(pod.metadata.labels["app"], set()).add(text)
    core.delete_namespace(NAMESPACE)
    for pod in core.list_namespaced_pod(NAMESPACE).items:
        core.delete_namespaced_pod(pod.metadata.name, NAMESPACE, grace_period_seconds=0)
    for pool in case["nodes"]:
        for node in read_pools([pool]):
            core.delete_node(node.name)

    def gone() -> bool:
        for pod in core.list_namespaced_pod(NAMESPACE).items:
            try:
                core.delete_namespaced_pod(pod.metadata.name, NAMESPACE, grace_period_seconds=0)
            except client.ApiException:
                pass
        return all(item.metadata.name != NAMESPACE for item in core.list_namespace().items)

    wait(gone, "the namespace to go")
    return {**case, "pending": pending, "events": {app: sorted(texts) for app, texts in sorted(events.items())}}


def main(kubeconfig: str, path: str) -> None:
    config.load_kube_config(kubeconfig)
    api = client.ApiClient()
    core = client.CoreV1Api(api)
    with open(path, encoding="utf-8") as stream:
        cases = yaml.safe_load(stream)["cases"]
    recorded = []
    for case in cases:
        print(case["name"], file=sys.stderr)
        recorded.append(record(core, api, case))
    yaml.dump({"cases": recorded}, sys.stdout, sort_keys=False, width=1000)


if __name__ == "__main__":
    main(*sys.argv[1:3])
