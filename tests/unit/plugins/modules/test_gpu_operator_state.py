# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.airgap.speech.plugins.modules.gpu_operator_state import main
from tests.unit.plugins.modules.run_module import run_module
from tests.unit.plugins.modules.small_api import api

LABELS = {"feature.node.kubernetes.io/pci-10de.present": "true", "nvidia.com/gpu.count": "1"}
NODE = {"metadata": {"name": "g1", "labels": LABELS}, "status": {"allocatable": {"nvidia.com/gpu": "1"}}}
CONDITIONS = [{"type": "Ready", "status": "True", "reason": "Reconciled"}]
POLICY = {"metadata": {"name": "cluster-policy"}, "status": {"state": "ready", "conditions": CONDITIONS}}
READY = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}


def pod(app: str, status: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"name": app, "labels": {"app": app}}, "spec": {"nodeName": "g1"}, "status": status}


PODS = [pod("nvidia-operator-validator", READY), pod("nvidia-cuda-validator", {"phase": "Succeeded"})]
ANSWERS: dict[str, Any] = {
    "/apis": {"groups": [{"name": "nvidia.com", "versions": [{"version": "v1"}, {"version": "v1alpha1"}]}]},
    "/apis/nvidia.com/v1": {"resources": [{"name": "clusterpolicies"}]},
    "/apis/nvidia.com/v1/clusterpolicies": {"items": [POLICY]},
    "/api/v1/nodes": {"items": [NODE]},
    "/api/v1/namespaces/gpu-operator/pods": {"items": PODS},
}


def asked(folder: Path, answers: dict[str, Any], **values: Any) -> dict[str, Any]:
    with api({**ANSWERS, **answers}, folder) as kubeconfig:
        return run_module(main, {"kubeconfig": kubeconfig, **values})


def test_gpus_that_can_be_used(tmp_path: Path) -> None:
    result = asked(tmp_path, {}, expected_nodes=["g1"])
    assert (result["ready"], result["failures"], result["changed"]) == (True, [], False), result
    assert result["nodes"] == [{"name": "g1", "product": "GPU", "gpus": {"nvidia.com/gpu": 1}}]


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        ({"/apis": {"groups": []}}, "ClusterPolicy: is unknown to the cluster"),
        ({"/apis/nvidia.com/v1": {"resources": []}}, "ClusterPolicy: is unknown to the cluster"),
        ({"/apis/nvidia.com/v1/clusterpolicies": {"items": []}}, "ClusterPolicy: there is none"),
        ({"/api/v1/namespaces/gpu-operator/pods": {"items": []}}, "no pod nvidia-operator-validator is ready"),
    ],
)
def test_gpus_that_cannot(tmp_path: Path, answers: dict[str, Any], says: str) -> None:
    result = asked(tmp_path, answers)
    assert not result["ready"] and says in result["message"], result


@pytest.mark.parametrize(
    ("answers", "says"),
    [({"/api/v1/nodes": 403}, "does not let this user read /api/v1/nodes"), ({"/api/v1/nodes": 500}, "answered 500")],
)
def test_a_cluster_that_refuses(tmp_path: Path, answers: dict[str, Any], says: str) -> None:
    result = asked(tmp_path, answers)
    assert result["failed"] and says in result["msg"]


def test_amd(tmp_path: Path) -> None:
    part = {"nodesMatchingSelectorNumber": 1, "desiredNumber": 1, "availableNumber": 1}
    labels = {"feature.node.kubernetes.io/amd-gpu": "true"}
    answers = {
        "/apis": {"groups": [{"name": "amd.com", "versions": [{"version": "v1alpha1"}]}]},
        "/apis/amd.com/v1alpha1": {"resources": [{"name": "deviceconfigs"}]},
        "/apis/amd.com/v1alpha1/deviceconfigs": {"items": [{"status": {"devicePlugin": part}}]},
        "/api/v1/nodes": {
            "items": [{"metadata": {"name": "a", "labels": labels}, "status": {"allocatable": {"amd.com/gpu": "8"}}}]
        },
        "/api/v1/namespaces/gpu-operator/pods": {"items": []},
    }
    result = asked(tmp_path, answers, vendor="amd")
    assert result["ready"], result
