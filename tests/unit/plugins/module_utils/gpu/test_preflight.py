# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.airgap.speech.plugins.module_utils.gpu.preflight import Asked, Need, check

NFD = "feature.node.kubernetes.io/pci-10de.present"
DEEPGRAM = Need("deepgram", (7, 0), 15000, 580)
ASKED = Asked(driver_version="595.91.07", needs=(DEEPGRAM,))
PROBE: dict[str, Any] = {
    "hostname": "g1",
    "id": "ubuntu",
    "version": "24.04",
    "kernel": "6.8.0-45-generic",
    "secure_boot": False,
    "modules": [],
    "gpus": [{"vendor": "nvidia", "device": "1eb8"}],
    "driver": "",
}


def node(
    name: str = "g1",
    system: str = "Ubuntu 24.04.1 LTS",
    kernel: str = "6.8.0-45-generic",
    runtime: str = "containerd://1.7.2",
    **labels: str,
) -> dict[str, Any]:
    info = {"osImage": system, "kernelVersion": kernel, "containerRuntimeVersion": runtime}
    named = {"nvidia.com/" + key.replace("__", "-").replace("_", "."): value for key, value in labels.items()}
    return {"metadata": {"name": name, "labels": {NFD: "true"} | named}, "status": {"nodeInfo": info}}


def said(asked: Asked, nodes: list[dict[str, Any]], probes: dict[str, Any]) -> str:
    return "\n".join(str(failure) for failure in check(asked, nodes, probes).findings.failures)


def test_a_node_with_nothing_in_the_way() -> None:
    result = check(ASKED, [node()], {"g1.example.test": PROBE})
    assert result.findings.failures == []
    assert result.nodes == ["g1"]
    assert [system.tag for system in result.systems] == ["ubuntu24.04"]
    assert result.findings.passed == ["node g1: ubuntu24.04, kernel 6.8.0-45-generic"]


@pytest.mark.parametrize(
    ("change", "asked", "says"),
    [
        ({"modules": ["nouveau"]}, {}, "module nouveau is loaded"),
        ({"secure_boot": True}, {}, "secure boot is on"),
        ({"secure_boot": True}, {"driver_mode": "precompiled", "driver_version": "580"}, ""),
        ({"gpus": []}, {}, "its PCI bus has no GPU of nvidia"),
        ({"driver": "535.1"}, {}, "driver 535.1 is installed on the host already"),
        ({}, {"driver_mode": "host"}, "is host, and no driver of NVIDIA runs"),
        ({"driver": "580.95.05"}, {"driver_mode": "host"}, ""),
        ({"driver": "535.309.01"}, {"driver_mode": "host"}, "branch 535 (535.309.01), and deepgram wants 580"),
        ({}, {"driver_version": "535.309.01"}, "driver: branch 535 (535.309.01), and deepgram wants 580"),
        ({"gpus": [{"vendor": "nvidia", "device": "15f8"}]}, {}, "Tesla P100 16 GB has compute capability 6.0"),
        ({"gpus": [{"vendor": "nvidia", "device": "1db4"}]}, {}, "branch 595 does not know the Tesla V100 16 GB"),
        ({"gpus": [{"vendor": "nvidia", "device": "1db4"}]}, {"driver_version": "580.173.02"}, ""),
        ({"gpus": [{"vendor": "nvidia", "device": "ffff"}]}, {}, ""),
        ({}, {"packages": ("linux-headers-6.8.0-44-generic_1_amd64.deb",)}, "lack linux-headers-6.8.0-45-generic"),
        ({}, {"packages": ("linux-headers-6.8.0-45-generic_6.8_amd64.deb",)}, ""),
        ({"version": "12", "id": "debian"}, {}, "runs debian12, for which NVIDIA makes no driver image"),
        ({"version": "12", "id": "debian", "driver": "595.1"}, {"driver_mode": "host"}, ""),
        ({"kernel": "6.8.0-45-lowlatency"}, {"driver_mode": "precompiled", "driver_version": "580"}, "lowlatency"),
    ],
)
def test_what_a_look_at_the_host_shows(change: dict[str, Any], asked: dict[str, Any], says: str) -> None:
    text = said(replace(ASKED, **asked), [node()], {"g1": PROBE | change})
    assert (says in text) if says else (text == "")


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (node(), ""),
        (node(runtime="containerd://1.6.20"), "containerd 1.6.20, and the operator wants 1.7"),
        (node(runtime="cri-o://1.33.1"), ""),
        (node(runtime="docker://20.10.1"), "its container runtime is docker://20.10.1"),
        (node(system="Red Hat Enterprise Linux 9.4 (Plow)"), ""),
        (node(system="Debian GNU/Linux 12 (bookworm)"), "no driver image"),
        (node(system="Unheard of"), "its operating system is not known"),
        (
            node(gpu_compute_major="6", gpu_compute_minor="1", gpu_memory="24000"),
            "capability 6.1, and deepgram wants 7.0",
        ),
        (node(gpu_compute_major="8", gpu_memory="9728"), "9728 MiB of memory, and deepgram wants 15000"),
    ],
)
def test_what_the_cluster_shows(found: dict[str, Any], says: str) -> None:
    text = said(ASKED, [found], {})
    assert (says in text) if says else (text == "")


def test_no_gpu_node_at_all() -> None:
    plain = {"metadata": {"name": "w", "labels": {}}, "status": {}}
    assert "GPU nodes: there is none" in said(ASKED, [plain], {})


def test_a_host_that_is_no_node() -> None:
    assert "host away: is in gpu_nodes, and the cluster has no node of that name" in said(
        ASKED, [node()], {"away": PROBE | {"hostname": "away"}}
    )


def test_nodes_that_are_named() -> None:
    plain = {**node("plain"), "metadata": {"name": "plain", "labels": {}}}
    result = check(ASKED, [plain], {}, ["plain", "away"])
    assert result.nodes == ["plain"]
    assert [str(failure).split(";")[0] for failure in result.findings.failures] == [
        "node away: must have a GPU, and is not in the cluster"
    ]


def test_mixed_systems_are_all_named() -> None:
    nodes = [node("a"), node("b", "Ubuntu 22.04.5 LTS", "5.15.0-1-generic"), node("c", "Rocky Linux 9.3", "5.14.0")]
    result = check(ASKED, nodes, {})
    assert result.findings.failures == []
    assert [(system.tag, system.kernel) for system in result.systems] == [
        ("rocky9", "5.14.0"),
        ("ubuntu22.04", "5.15.0-1-generic"),
        ("ubuntu24.04", "6.8.0-45-generic"),
    ]
    assert "each gets its driver by a NVIDIADriver" in result.findings.passed[-1]


def test_several_failures_are_all_told() -> None:
    text = said(
        ASKED, [node(runtime="containerd://1.6.1")], {"g1": PROBE | {"modules": ["nouveau"], "secure_boot": True}}
    )
    assert text.count("node g1") == 3
