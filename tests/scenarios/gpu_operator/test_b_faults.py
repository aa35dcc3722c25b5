# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes wrong is named, with its cause and the next step; what stands in the way is, before anything changes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import yaml

from tests.integration.inside import Inside
from tests.scenarios.gpu_operator.cluster import FOLDER, NODES, set_features
from tests.scenarios.way import INSIDE

SOON = {"gpu_operator_ready_seconds": 45}
# The site's own, which a test's would stand over.
VALUES = yaml.safe_load((FOLDER / "inside" / "site.yml").read_text())["gpu_operator_values"]


def refused(inside: Inside, **extra: object) -> str:
    """What the playbook says when it fails."""
    done = inside.playbook("gpu_operator", "-e", f"@{INSIDE}/site.yml", **{**SOON, **extra})
    assert done.rc != 0, done.text
    return " ".join(done.text.replace("\\n", " ").split())


def revision(inside: Inside) -> str:
    return inside.on("bastion", "/home/ops/.airgap/bin/helm", "-n", "gpu-operator", "history", "gpu-operator").text


@contextmanager
def annotated(inside: Inside, node: str, annotation: str) -> Iterator[None]:
    assert inside.kubectl("annotate", "node", node, annotation).rc == 0
    try:
        yield
    finally:
        inside.kubectl("annotate", "node", node, annotation.partition("=")[0] + "-")


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        ({"gpu_operator_nodes": ["t4-1", "away"]}, "node away: must have a GPU, and is not in the cluster"),
        ({"gpu_operator_containerd_min": "3.0"}, "containerd 2.1.4, and the operator wants 3.0 or newer"),
        ({"gpu_operator_nodes": ["worker-1"]}, "runs debian12, for which NVIDIA makes no driver image"),
        (
            {"gpu_operator_needs": {"big": {"memory": 20000}}},
            "Tesla-T4 has 15360 MiB of memory, and big wants 20000 MiB",
        ),
        ({"gpu_operator_needs": {"new": {"driver": 610}}}, "branch 595 (595.91.07), and new wants 610 or newer"),
        ({"gpu_operator_driver_version": "610.57.04"}, "the bundle lacks nvcr.io/nvidia/driver:610.57.04-rocky9"),
        ({"gpu_operator_values": {"toolkit": {"repository": "nvcr.io/x"}}}, "names images outside registry.airgap"),
        ({"gpu_operator_packages": "debian-headers"}, "and the carried packages lack linux-headers-5.15.0-125-generic"),
    ],
)
def test_what_stands_in_the_way_is_named_before_anything_changes(
    inside: Inside, extra: dict[str, object], says: str
) -> None:
    before = revision(inside)
    assert says in refused(inside, **extra)
    assert revision(inside) == before
    assert inside.on("registry", "test", "-e", "/etc/systemd/system/airgap-packages.service").rc != 0


def test_no_labels_of_nfd_is_no_success(inside: Inside) -> None:
    """The site says that it has its own node feature discovery, and it has not: the operator says ready."""
    assert inside.kubectl("-n", "gpu-operator", "delete", "deployment", "node-feature-discovery-master").rc == 0
    waited = inside.kubectl(
        "-n", "gpu-operator", "wait", "pod", "-l", "app=nfd-master", "--for=delete", "--timeout=60s"
    )
    assert waited.rc == 0, waited.text
    try:
        set_features([])
        keys = ["nvidia.com/gpu.present-"]
        for item in inside.kubectl_json("get", "nodes")["items"]:
            labels = item["metadata"]["labels"]
            keys = [f"{key}-" for key in labels if key.startswith(("feature.node", "nvidia.com/gpu"))]
            if keys:
                assert inside.kubectl("label", "node", item["metadata"]["name"], *keys).rc == 0
        text = refused(inside, gpu_operator_nfd=False)
        assert "says ready, but no node has a label of node feature discovery" in text
        assert "node-feature-discovery-worker run on the GPU nodes" in text
    finally:
        set_features(NODES)


def test_no_gpu_nodes_is_no_success(inside: Inside) -> None:
    set_features([])
    try:
        text = refused(inside)
        assert "says ready, but node feature discovery found no NVIDIA GPU on any node" in text
        assert "lspci -d 10de:" in text
    finally:
        set_features(NODES)


def test_a_gpu_that_failed_is_missed(inside: Inside) -> None:
    with annotated(inside, "h100-1", "stand-in/broken-gpus=1"):
        text = refused(inside)
        assert "node h100-1: nvidia.com/gpu: its labels say 8 and 7 can be asked for" in text


def test_cuda_that_fails_is_told(inside: Inside) -> None:
    with annotated(inside, "l4-1", "stand-in/cuda-fails=vector-add"):
        assert "CUDA's program vectorAdd did not succeed on l4-1" in refused(inside, gpu_operator_ready_seconds=300)


def test_a_field_that_the_policy_has_not_is_refused(inside: Inside) -> None:
    text = refused(inside, gpu_operator_values={**VALUES, "toolkit": {"instalDir": "/x"}})
    assert "ReconcileFailed" in text and "unknown field spec.toolkit.instalDir" in text


def test_it_is_well_again(inside: Inside) -> None:
    done = inside.playbook("gpu_operator", "-e", f"@{INSIDE}/site.yml")
    assert done.rc == 0, done.text
    status = inside.kubectl_json("get", "clusterpolicy", "cluster-policy")["status"]
    assert status["state"] == "ready", json.dumps(status)
