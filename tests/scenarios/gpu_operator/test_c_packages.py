# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The packages of a driver come from a repository that the bundle carried, by the operator's own ConfigMaps.

The pod stands for the driver's container: the ConfigMaps are mounted where the operator mounts them (one key a file, in
/etc/apt/sources.list.d and /usr/local/share/ca-certificates), and Debian's kernel headers are what it installs.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from tests.integration.inside import Inside
from tests.scenarios.gpu_operator.cluster import NAMESPACE, NODES, Api, set_features
from tests.scenarios.gpu_operator.packages import headers
from tests.scenarios.way import Scenario

INSTALL = """
set -e
rm -f /etc/apt/sources.list /etc/apt/sources.list.d/debian.sources
update-ca-certificates
apt-get update
apt-get install -y --no-install-recommends "$1"
ls -l "/usr/src/$1/Makefile"
"""
PLACES = {"airgap-packages": "/etc/apt/sources.list.d", "airgap-packages-ca": "/usr/local/share/ca-certificates"}


@pytest.fixture(scope="module", autouse=True)
def one_node() -> Iterator[None]:
    """One GPU node alone, whose kernel is the one that the packages are for."""
    node = next(item for item in NODES if item["name"] == "t4-1")
    kernel = headers().removeprefix("linux-headers-")
    changed = {**node, "system": {**node["system"], "kernel": kernel}}
    api = Api()
    path = "/api/v1/nodes/t4-1/status"
    api.call("PATCH", path, {"status": {"nodeInfo": {"kernelVersion": kernel}}})
    set_features([changed])
    yield
    api.call("PATCH", path, {"status": {"nodeInfo": {"kernelVersion": node["system"]["kernel"]}}})
    set_features(NODES)


def test_the_role_serves_them_and_names_them(inside: Inside, scenario: Scenario) -> None:
    given = {"gpu_operator_packages": "debian-headers", "gpu_operator_nodes": ["t4-1"], "gpu_operator_mig_nodes": {}}
    assert scenario.playbook("gpu_operator", "-e", json.dumps(given)).changed > 0
    driver = inside.kubectl_json("get", "clusterpolicy", "cluster-policy")["spec"]["driver"]
    assert driver["repoConfig"]["configMapName"] == "airgap-packages"
    assert driver["certConfig"]["name"] == "airgap-packages-ca"
    assert scenario.playbook("gpu_operator", "-e", json.dumps(given)).changed == 0


def test_kernel_headers_are_installed_from_them(inside: Inside) -> None:
    mounts, volumes = [], []
    for name, place in PLACES.items():
        data = inside.kubectl_json("-n", NAMESPACE, "get", "configmap", name)["data"]
        volumes.append({"name": name, "configMap": {"name": name}})
        mounts += [{"name": name, "mountPath": f"{place}/{key}", "subPath": key} for key in data]
    container = {
        "name": "driver",
        "image": "registry.airgap.internal:5000/docker.io/library/python:3.11-slim",
        "command": ["sh", "-c", INSTALL, "install", headers()],
        "volumeMounts": mounts,
    }
    spec = {
        "restartPolicy": "Never",
        "hostNetwork": True,
        "nodeName": "worker-1",
        "imagePullSecrets": [{"name": "airgap-registry"}],
        "containers": [container],
        "volumes": volumes,
    }
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "headers", "namespace": NAMESPACE}, "spec": spec}
    assert inside.kubectl("apply", "-f", "-", stdin=json.dumps(pod)).rc == 0
    try:
        phase = "Pending"
        while phase in ("Pending", "Running"):
            time.sleep(1)
            phase = inside.kubectl_json("-n", NAMESPACE, "get", "pod", "headers")["status"]["phase"]
        text = inside.kubectl("-n", NAMESPACE, "logs", "headers").text
        assert phase == "Succeeded", text
        assert f"https://registry.airgap.internal:5443/debian-headers ./ {headers()}" in text, text
    finally:
        inside.kubectl("-n", NAMESPACE, "delete", "pod", "headers", "--wait=true")


def test_nothing_was_tried_outside(inside: Inside) -> None:
    report = inside.journey.egress()
    assert report["packets_total"] == 0 and report["names_total"] == 0, report
