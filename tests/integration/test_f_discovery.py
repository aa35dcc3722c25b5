# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What discovery says of a chart and of the cluster's own manifests, held against the images that pods then used."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.airgap.speech.plugins.module_utils.discovery.charts import discover_chart
from ansible_collections.airgap.speech.plugins.module_utils.discovery.images import (
    discover,
    load_documents,
    upstream,
)
from ansible_collections.airgap.speech.plugins.module_utils.discovery.render import Chart, Renderer
from dev.discovery import run, tool
from dev.journey import CHECKOUT, Journey
from sandbox.images import BUSYBOX
from sandbox.settings import Settings

CHART = CHECKOUT / "tests" / "discovery" / "charts" / "runs" / "chart"
NAMESPACE = "discovery-runs"
RELEASE = "speech"
OF_HELM = "app.kubernetes.io/managed-by=Helm"  # and not the Job that places models
REGISTRY = "registry.airgap.internal:5000"
STATUSES = ("initContainerStatuses", "containerStatuses")
MANIFEST_KINDS = "deployments,daemonsets,statefulsets,jobs,cronjobs,configmaps"


class Cluster:
    """helm and kubectl of this machine, with the sandbox's kubeconfig."""

    def __init__(self, kubeconfig: Path) -> None:
        self._environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}

    def __call__(self, name: str, *arguments: str) -> str:
        argv = [tool(name), *arguments]
        done = subprocess.run(argv, env=self._environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(argv)}:\n{done.stdout}{done.stderr}"
        return done.stdout

    def items(self, *arguments: str) -> list[dict[str, Any]]:
        answer = json.loads(self("kubectl", "get", *arguments, "-o", "json"))
        found: list[dict[str, Any]] = answer["items"]
        return found


@pytest.fixture(scope="module")
def cluster(journey: Journey) -> Iterator[Cluster]:
    """The cluster, whose nodes hold their busybox under every name that the chart has."""
    settings = Settings(name=journey.name)
    names = discover_chart(Renderer(run, tool("helm")), Chart(str(CHART))).references
    for node in settings.nodes:
        for name in names:
            argv = journey.sandbox_argv(
                "exec", node, "--", "ctr", "-n", "k8s.io", "images", "tag", "--force", BUSYBOX, name
            )
            subprocess.run(argv, cwd=CHECKOUT, check=True, capture_output=True)
    yield Cluster(settings.state / "kubeconfig")
    for node in settings.nodes:
        argv = journey.sandbox_argv("exec", node, "--", "ctr", "-n", "k8s.io", "images", "rm", *names)
        subprocess.run(argv, cwd=CHECKOUT, check=True, capture_output=True)


@pytest.fixture(scope="module")
def ran(cluster: Cluster) -> Iterator[list[dict[str, Any]]]:
    """The pods of the chart: installed, upgraded, tested, and its CronJob run once."""
    try:
        arguments = (str(CHART), "--namespace", NAMESPACE, "--create-namespace", "--wait")
        cluster("helm", "install", "runs", *arguments)
        cluster("helm", "upgrade", "runs", *arguments, "--wait-for-jobs")
        cluster("helm", "test", "runs", "--namespace", NAMESPACE)
        cluster("kubectl", "-n", NAMESPACE, "create", "job", "once", "--from=cronjob/nightly")
        cluster("kubectl", "-n", NAMESPACE, "wait", "job/once", "--for=condition=complete", "--timeout=10m")
        yield cluster.items("pods", "-n", NAMESPACE)
    finally:
        cluster("kubectl", "delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait")


def test_a_chart_needs_what_its_pods_used(ran: list[dict[str, Any]]) -> None:
    used: set[str] = set()
    for pod in ran:
        started = {
            status["name"] for key in STATUSES for status in pod["status"].get(key) or [] if status.get("containerID")
        }
        for container in pod["spec"].get("initContainers", []) + pod["spec"]["containers"]:
            assert container["name"] in started, f"{pod['metadata']['name']}: {container['name']} did not start"
            used.add(container["image"])
    assert used == set(discover_chart(Renderer(run, tool("helm")), Chart(str(CHART))).references)


def test_the_cluster_needs_what_its_pods_used(cluster: Cluster, ran: list[dict[str, Any]]) -> None:
    """What is deployed says what runs, the pod of a volume too: its image is an argument of the provisioner."""
    manifests = cluster("kubectl", "get", MANIFEST_KINDS, "-A", "-o", "yaml")
    found = discover(load_documents(manifests))
    used: set[str] = set()
    for pod in cluster.items("pods", "-A"):
        owners = {owner["kind"] for owner in pod["metadata"].get("ownerReferences") or []}
        if owners & {"ReplicaSet", "DaemonSet", "StatefulSet", "Job"}:
            used |= {container["image"] for container in pod["spec"]["containers"]}
    assert used, "nothing runs"
    assert used <= set(found.references)

    helper = [
        event["message"]
        for event in cluster.items("events", "-A")
        if event["involvedObject"]["name"].startswith("helper-pod-create") and event["reason"] == "Pulled"
    ]
    assert any(f'"{BUSYBOX}"' in message for message in helper), helper
    place = next(item for item in found.found if item.reference == BUSYBOX and item.name == "local-path-provisioner")
    assert place.found == "argument" and place.required


def test_open_speech_needs_what_its_pods_used(cluster: Cluster) -> None:
    """The release that the way deployed, as Helm has it, its test included; names are those of the private registry."""
    texts = [cluster("helm", "get", what, RELEASE, "-n", RELEASE) for what in ("manifest", "hooks")]
    found = discover(load_documents("\n---\n".join(texts)), REGISTRY)
    pods = cluster.items("pods", "-n", RELEASE, "-l", f"app.kubernetes.io/instance={RELEASE},{OF_HELM}")
    used: set[str] = set()
    for pod in pods:
        for key in ("initContainers", "containers"):
            used |= {container["image"] for container in pod["spec"].get(key, [])}
        for status in pod["status"]["containerStatuses"]:
            assert status["imageID"].startswith(REGISTRY), status
    assert used, "nothing runs"
    assert {upstream(image, REGISTRY) for image in used} == set(found.references)
