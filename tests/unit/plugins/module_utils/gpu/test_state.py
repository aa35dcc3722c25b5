# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.airgap.speech.plugins.module_utils.gpu.state import judge

NFD = "feature.node.kubernetes.io/"
T4 = {
    NFD + "pci-10de.present": "true",
    "nvidia.com/gpu.count": "2",
    "nvidia.com/gpu.product": "Tesla-T4",
    "nvidia.com/cuda.driver-version.full": "595.91.07",
}


def policy(state: str = "ready", reason: str = "Reconciled", message: str = "", error: bool = False) -> dict[str, Any]:
    """A ClusterPolicy as the operator's conditions updater writes it."""
    kinds = [("Ready", "False", "Error", ""), ("Error", "True", reason, message)]
    if not error:
        kinds = [("Ready", "True", reason, message), ("Error", "False", "Ready", "")]
    conditions = [{"type": kind, "status": is_so, "reason": why, "message": said} for kind, is_so, why, said in kinds]
    return {"metadata": {"name": "cluster-policy"}, "status": {"state": state, "conditions": conditions}}


def node(name: str = "g1", labels: dict[str, str] | None = None, **gpus: int) -> dict[str, Any]:
    allocatable = {"cpu": "8"} | {
        f"nvidia.com/{key.replace('_', '-', 1)}": str(n) for key, n in (gpus or {"gpu": 2}).items()
    }
    return {
        "metadata": {"name": name, "labels": T4 if labels is None else labels},
        "status": {"allocatable": allocatable},
    }


def pod(app: str, where: str = "g1", phase: str = "Running", waiting: str = "") -> dict[str, Any]:
    status: dict[str, Any] = {"phase": phase}
    if phase == "Running":
        status["conditions"] = [{"type": "Ready", "status": "True"}]
    if waiting:
        status["containerStatuses"] = [{"name": "c", "state": {"waiting": {"reason": waiting}}}]
    return {
        "metadata": {"name": f"{app}-{where}", "labels": {"app": app}},
        "spec": {"nodeName": where},
        "status": status,
    }


def validated(where: str = "g1") -> list[dict[str, Any]]:
    return [pod("nvidia-operator-validator", where), pod("nvidia-cuda-validator", where, "Succeeded")]


def said(state: Any) -> str:
    return "\n".join(map(str, state.failures))


def test_all_is_well() -> None:
    state = judge("nvidia", [policy()], [node()], validated(), ["g1"], "595.91.07")
    assert state.ready, said(state)
    assert state.nodes == [{"name": "g1", "product": "Tesla-T4", "gpus": {"nvidia.com/gpu": 2}}]
    assert "g1: Tesla-T4, 2 nvidia.com/gpu, driver 595.91.07" in "\n".join(state.passed)


@pytest.mark.parametrize(
    ("policies", "says", "remedy"),
    [
        (None, "is unknown to the cluster", "deploy the operator first"),
        ([], "there is none", "clusterPolicy.deployCR"),
        ([policy(reason="NFDLabelsMissing")], "says ready, but no node has a label", "node-feature-discovery-worker"),
        ([policy(reason="NoGPUNodes")], "says ready, but node feature discovery found no", "lspci -d 10de"),
        (
            [policy("notReady", "OperandNotReady", "states not ready: [state-driver]", True)],
            "[state-driver]",
            "look at the pods",
        ),
        (
            [policy("notReady", "ReconcileFailed", "x509: unknown authority", True)],
            "x509",
            "gpu_operator_package_ca_file",
        ),
        (
            [policy("notReady", "ReconcileFailed", "failed to retrieve GPU node OS info", True)],
            "OS info",
            "worker's log",
        ),
        ([{"metadata": {"name": "cluster-policy"}}], "has not said anything", "Deployment gpu-operator"),
        # Ready as the operator of another release says it, without its condition.
        ([{"metadata": {"name": "c"}, "status": {"state": "ready"}}], "state ready, reason not set", "operator's log"),
        ([policy(), {"metadata": {"name": "other"}, "status": {}}], "there are 2 (cluster-policy, other)", "remove"),
    ],
)
def test_what_the_policy_says_is_not_enough(policies: Any, says: str, remedy: str) -> None:
    state = judge("nvidia", policies, [node()], validated())
    assert not state.ready
    assert says in said(state) and remedy in said(state)


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (node(labels={}), "none has a label of node feature discovery"),
        (node(labels={NFD + "cpu-model.id": "1"}), "none has a label of a GPU of nvidia"),
        (node(labels={NFD + "pci-10de.present": "true"}), "no label nvidia.com/gpu.count"),
        (node(gpu=1), "nvidia.com/gpu: its labels say 2 and 1 can be asked for"),
        (node(cpu=1), "nvidia.com/gpu: its labels say 2 and 0 can be asked for"),
        (node(labels=T4 | {"nvidia.com/gpu.replicas": "4"}, gpu=2), "its labels say 8 and 2"),
        (node(labels=T4 | {"nvidia.com/gpu.product": "NVIDIA-A100-MIG-INVALID"}), "not all divided alike"),
        (
            node(labels=T4 | {"nvidia.com/cuda.driver-version.full": "535.1.1"}),
            "driver 535.1.1 runs, and 595.91.07 is wanted",
        ),
        (
            node(labels=T4 | {"nvidia.com/mig-1g.10gb.count": "7"}, **{"mig_1g.10gb": 6}),
            "mig-1g.10gb: its labels say 7 and 6",
        ),
    ],
)
def test_a_node_that_does_not_hold_what_its_labels_say(found: dict[str, Any], says: str) -> None:
    state = judge("nvidia", [policy()], [found], validated(), driver_version="595.91.07")
    assert says in said(state)


@pytest.mark.parametrize(
    ("labels", "gpus", "replicas", "says"),
    [
        ({"nvidia.com/gpu.replicas": "4"}, 8, 4, ""),
        ({}, 2, 1, ""),
        # The device plugin has not taken the new configuration yet, and all else still agrees with the old one.
        ({}, 2, 4, "each GPU is for 1 pods in turns by its labels, and 4 is wanted"),
        ({"nvidia.com/gpu.replicas": "4"}, 8, 1, "each GPU is for 4 pods in turns by its labels, and 1 is wanted"),
        ({"nvidia.com/gpu.replicas": "4"}, 8, 0, ""),
        ({"nvidia.com/gpu.replicas": "4", "nvidia.com/device-plugin.config": "own"}, 8, 1, ""),
        ({"nvidia.com/mig.config.state": "success"}, 2, 1, ""),
        (
            {"nvidia.com/mig.config.state": "failed", "nvidia.com/mig.config": "all-1g.10gb"},
            2,
            1,
            "its GPUs are to be divided as all-1g.10gb, and the state of that is failed; look at the log of nvidia-mig",
        ),
        ({"nvidia.com/mig.config.state": "pending"}, 2, 1, "divided as the default, and the state of that is pending"),
    ],
)
def test_sharing_and_division_that_are_not_done_yet(
    labels: dict[str, str], gpus: int, replicas: int, says: str
) -> None:
    state = judge("nvidia", [policy()], [node(labels=T4 | labels, gpu=gpus)], validated(), replicas=replicas)
    assert says in said(state) and state.ready is (not says), said(state)


@pytest.mark.parametrize(
    ("found", "gpus"),
    [
        (node(labels=T4 | {"nvidia.com/gpu.replicas": "4"}, gpu=8), {"nvidia.com/gpu": 8}),
        (node(labels=T4 | {"nvidia.com/gpu.replicas": "4"}, **{"gpu.shared": 8}), {"nvidia.com/gpu.shared": 8}),
        # Divided GPUs count in gpu.count, and only their slices can be asked for.
        (
            node(labels=T4 | {"nvidia.com/mig-1g.10gb.count": "7"}, **{"gpu": 0, "mig_1g.10gb": 7}),
            {"nvidia.com/mig-1g.10gb": 7},
        ),
    ],
)
def test_sharing_and_slices(found: dict[str, Any], gpus: dict[str, int]) -> None:
    state = judge("nvidia", [policy()], [found], validated())
    assert state.ready, said(state)
    assert state.nodes[0]["gpus"] == gpus


@pytest.mark.parametrize(
    ("pods", "says"),
    [
        ([], "no pod nvidia-operator-validator is ready there"),
        ([pod("nvidia-operator-validator")], "no pod nvidia-cuda-validator has succeeded there"),
        (validated("other"), "node g1: no pod nvidia-operator-validator"),
        (
            [*validated(), pod("nvidia-driver-daemonset", phase="Pending", waiting="ImagePullBackOff")],
            "playbooks/mirror.yml",
        ),
    ],
)
def test_pods(pods: list[dict[str, Any]], says: str) -> None:
    assert says in said(judge("nvidia", [policy()], [node()], pods))


@pytest.mark.parametrize(
    ("image", "says"),
    [
        ("reg:5000/nvcr.io/nvidia/driver:595-ubuntu24.04", ""),
        ("reg:5000/nvcr.io/nvidia/driver:580-ubuntu24.04", "runs reg:5000/nvcr.io/nvidia/driver:580-ubuntu24.04"),
        ("reg:5000/nvcr.io/nvidia/other:1", ""),
    ],
)
def test_pods_of_the_release_before(image: str, says: str) -> None:
    old = pod("nvidia-driver-daemonset")
    old["spec"]["containers"] = [{"name": "driver", "image": image}]
    images = ["reg:5000/nvcr.io/nvidia/driver:595-ubuntu24.04", "reg:5000/nvcr.io/nvidia/gpu-operator:v26.7.0"]
    text = said(judge("nvidia", [policy()], [node()], [*validated(), old], images=images))
    assert (says in text) if says else (text == "")


def test_nodes_that_must_have_a_gpu() -> None:
    plain = {"metadata": {"name": "plain", "labels": {}}, "status": {}}
    text = said(judge("nvidia", [policy()], [node(), plain], validated(), ["g1", "plain", "away"]))
    assert "node plain: is in gpu_nodes, and node feature discovery found no GPU" in text
    assert "node away: is in gpu_nodes and not in the cluster" in text


def test_a_node_that_is_left_out_is_not_asked() -> None:
    out = node(labels={NFD + "pci-10de.present": "true", "nvidia.com/gpu.deploy.operands": "false"})
    state = judge("nvidia", [policy()], [node(), {**out, "metadata": {**out["metadata"], "name": "g2"}}], validated())
    assert state.ready, said(state)


AMD = {NFD + "amd-gpu": "true", "beta.amd.com/gpu.device-id.74a1": "8"}


def device_config(matching: int = 1, available: int = 1, error: str = "") -> dict[str, Any]:
    part = {"nodesMatchingSelectorNumber": matching, "desiredNumber": matching, "availableNumber": available}
    conditions = [{"type": "Error", "status": "True", "message": error}] if error else []
    return {"metadata": {"name": "default"}, "status": {"devicePlugin": part, "conditions": conditions}}


@pytest.mark.parametrize(
    ("config", "gpus", "says"),
    [
        (device_config(), 8, ""),
        (device_config(0, 0), 8, "its selector matches no node"),
        (device_config(1, 0), 8, "devicePlugin: 0 of 1 pods are available"),
        (device_config(error="bad image"), 8, "bad image"),
        (device_config(), 7, "its labels say 8 and 7"),
    ],
)
def test_amd(config: dict[str, Any], gpus: int, says: str) -> None:
    found = {"metadata": {"name": "a", "labels": AMD}, "status": {"allocatable": {"amd.com/gpu": str(gpus)}}}
    state = judge("amd", [config], [found], [])
    assert (said(state) == "") if not says else (says in said(state))
