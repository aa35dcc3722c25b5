# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""After the playbook: the GPUs of every simulated node can be used, by images of the private registry."""

from __future__ import annotations

import pytest

from tests.integration.inside import Inside
from tests.scenarios.gpu_operator.cluster import NODES
from tests.scenarios.way import Scenario

REGISTRY = "registry.airgap.internal:5000"


def test_the_policy_was_reconciled(inside: Inside) -> None:
    status = inside.kubectl_json("get", "clusterpolicy", "cluster-policy")["status"]
    reasons = [item["reason"] for item in status["conditions"] if item["type"] == "Ready"]
    assert (status["state"], reasons) == ("ready", ["Reconciled"])


@pytest.mark.parametrize("node", [node["name"] for node in NODES])
def test_as_many_gpus_as_the_labels_say(inside: Inside, node: str) -> None:
    found = inside.kubectl_json("get", "node", node)
    hardware = next(item for item in NODES if item["name"] == node)
    wanted = {"nvidia.com/gpu": str(hardware["count"])}
    if hardware.get("slices"):
        wanted = {f"nvidia.com/mig-{name}": str(number) for name, number in hardware["slices"].items()}
        assert found["metadata"]["labels"]["nvidia.com/mig.config"] == "all-1g.10gb"
    assert wanted.items() <= found["status"]["allocatable"].items()
    assert found["metadata"]["labels"]["nvidia.com/gpu.product"] == hardware["product"]


def test_each_system_has_its_driver(inside: Inside) -> None:
    sets = inside.kubectl_json("-n", "gpu-operator", "get", "daemonsets", "-l", "made-by=stand-in")["items"]
    images = [item["spec"]["template"]["spec"]["containers"][0]["image"] for item in sets]
    drivers = sorted(image.rpartition(":")[2] for image in images if "/driver:" in image)
    assert drivers == ["595.91.07-rocky9", "595.91.07-ubuntu22.04", "595.91.07-ubuntu24.04"]
    assert all(image.startswith(f"{REGISTRY}/nvcr.io/nvidia/") for image in images)


def test_node_feature_discovery_is_real_and_came_from_the_registry(inside: Inside) -> None:
    pods = inside.kubectl_json("-n", "gpu-operator", "get", "pods", "-l", "app in (nfd-master, nfd-worker)")["items"]
    assert {pod["metadata"]["labels"]["app"] for pod in pods} == {"nfd-master", "nfd-worker"}
    for pod in pods:
        status = pod["status"]["containerStatuses"][0]
        assert status["ready"] and status["imageID"].startswith(f"{REGISTRY}/registry.k8s.io/nfd/")
    labels = inside.kubectl_json("get", "node", "worker-1")["metadata"]["labels"]
    # What the real worker saw of the real node.
    assert labels["feature.node.kubernetes.io/system-os_release.ID"] == "debian"


def test_the_namespace_lets_drivers_in(inside: Inside) -> None:
    labels = inside.kubectl_json("get", "namespace", "gpu-operator")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "privileged"


def test_the_proof_left_nothing(inside: Inside) -> None:
    pods = inside.kubectl_json("-n", "gpu-operator", "get", "pods", "-l", "app.kubernetes.io/name=airgap-vector-add")
    assert pods["items"] == []


def test_check_mode_shows_the_change_and_makes_none(inside: Inside, scenario: Scenario) -> None:
    done = scenario.playbook("gpu_operator", "--check", "--diff", "-e", "gpu_operator_time_slicing=4")
    assert done.changed > 0
    assert "timeSlicing" in done.output
    config = inside.kubectl("-n", "gpu-operator", "get", "configmap", "airgap-device-plugin")
    assert config.rc != 0 and "not found" in config.text


def test_time_slicing_multiplies_what_can_be_asked_for(inside: Inside, scenario: Scenario) -> None:
    scenario.playbook("gpu_operator", "-e", "gpu_operator_time_slicing=4")
    assert inside.kubectl_json("get", "node", "l4-1")["status"]["allocatable"]["nvidia.com/gpu"] == "8"
    scenario.playbook("gpu_operator")
    assert inside.kubectl_json("get", "node", "l4-1")["status"]["allocatable"]["nvidia.com/gpu"] == "2"


def test_nothing_was_tried_outside(inside: Inside) -> None:
    report = inside.journey.egress()
    assert report["packets_total"] == 0 and report["names_total"] == 0, report
