# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What would stand in a driver's way, on each GPU node, before anything is changed: every failure, not the first."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from ansible_collections.airgap.speech.plugins.module_utils.gpu.systems import (
    System,
    grouped,
    has_gpu,
    os_of,
    os_tag,
)
from ansible_collections.airgap.speech.plugins.module_utils.gpu.values import HOST, OPERATOR, PRECOMPILED
from ansible_collections.airgap.speech.plugins.module_utils.preflight import Findings

# Systems for which NVIDIA makes driver images (platform support of v26.7).
DRIVER_SYSTEMS = frozenset(
    ("ubuntu22.04", "ubuntu24.04", "ubuntu26.04", "rhel8", "rhel9", "rhel10", "rocky8", "rocky9", "rocky10")
)
# Precompiled drivers are made for Ubuntu's kernels of these flavours.
PRECOMPILED_FLAVOURS = ("generic", "nvidia", "aws", "azure", "oracle")
# From this branch on, GPUs before compute capability 7.5 have no driver.
_TURING_BRANCH, _TURING = 590, (7, 5)

# Products by their PCI device id: name, compute capability, memory in MiB. Others are judged once they have labels.
PRODUCTS = {
    "15f8": ("Tesla P100 16 GB", (6, 0), 16280),
    "1db4": ("Tesla V100 16 GB", (7, 0), 16384),
    "1db6": ("Tesla V100 32 GB", (7, 0), 32768),
    "1eb8": ("Tesla T4", (7, 5), 15360),
    "2236": ("A10", (8, 6), 23028),
    "20b0": ("A100 SXM4 40 GB", (8, 0), 40960),
    "20b2": ("A100 SXM4 80 GB", (8, 0), 81920),
    "20b5": ("A100 PCIe 80 GB", (8, 0), 81920),
    "20f1": ("A100 PCIe 40 GB", (8, 0), 40960),
    "27b8": ("L4", (8, 9), 23034),
    "26b5": ("L40", (8, 9), 46068),
    "26b9": ("L40S", (8, 9), 46068),
    "2330": ("H100 SXM5 80 GB", (9, 0), 81559),
    "2331": ("H100 PCIe 80 GB", (9, 0), 81559),
}


@dataclass(frozen=True)
class Need:
    """What a platform wants of a GPU: compute capability, memory in MiB, and the oldest branch of the driver."""

    platform: str
    compute: tuple[int, ...] = ()
    memory: int = 0
    driver: int = 0


@dataclass(frozen=True)
class Asked:
    """What is about to be deployed, and what is carried for it."""

    vendor: str = "nvidia"
    driver_mode: str = OPERATOR
    driver_version: str = ""
    containerd_min: tuple[int, ...] = (1, 7)
    needs: tuple[Need, ...] = ()
    # Names of the package files of the carried repository; None where the site has a repository of its own.
    packages: Optional[tuple[str, ...]] = None


@dataclass
class Result:
    """What was found: failures and what passed, the GPU nodes, and the systems and kernels that they run."""

    findings: Findings = field(default_factory=Findings)
    nodes: list[str] = field(default_factory=list)
    systems: list[System] = field(default_factory=list)


@dataclass(frozen=True)
class _Node:
    """One GPU node: as the cluster shows it, and as it was looked at, where it was."""

    name: str
    labels: Mapping[str, str]
    system: System
    runtime: str
    probe: Mapping[str, Any]


def check(
    asked: Asked,
    nodes: Sequence[Mapping[str, Any]],
    probes: Mapping[str, Mapping[str, Any]],
    named: Sequence[str] = (),
) -> Result:
    """Judge the GPU nodes: those of the inventory (`probes` by host), those `named`, and all with a label of a GPU.

    `nodes` are Node objects of the API. A host of the inventory is the node of its name, or of its short name.
    """
    result = Result()
    gpu_nodes = _gpu_nodes(result, asked, nodes, probes, named)
    if not gpu_nodes and not result.findings.failures:
        result.findings.fail(
            "GPU nodes",
            "there is none: the group gpu_nodes is empty, and no node has a label of a GPU",
            "put the hosts with GPUs into the group gpu_nodes, or leave the GPU operator out of the site",
        )
    for node in gpu_nodes:
        _check_system(result.findings, asked, node)
        _check_runtime(result.findings, asked, node)
        if node.probe:
            _check_probe(result.findings, asked, node)
        _check_needs(result.findings, asked, node)
    result.nodes = sorted(node.name for node in gpu_nodes)
    result.systems = grouped(node.system for node in gpu_nodes if node.system.id)
    if len({system.tag for system in result.systems}) > 1:
        tags = ", ".join(sorted({system.tag for system in result.systems}))
        result.findings.passed.append(
            f"the GPU nodes run several systems ({tags}): each gets its driver by a NVIDIADriver"
        )
    return result


def _gpu_nodes(
    result: Result,
    asked: Asked,
    nodes: Sequence[Mapping[str, Any]],
    probes: Mapping[str, Mapping[str, Any]],
    named: Sequence[str],
) -> list[_Node]:
    by_name = {str((node.get("metadata") or {}).get("name")): node for node in nodes}
    found: dict[str, _Node] = {}
    for host, probe in sorted(probes.items()):
        names = [host, host.partition(".")[0], str(probe.get("hostname") or "")]
        name = next((name for name in names if name in by_name), "")
        if not name:
            result.findings.fail(
                f"host {host}",
                "is in gpu_nodes, and the cluster has no node of that name",
                "join it to the cluster, or take it out of gpu_nodes",
            )
            continue
        found[name] = _node(name, by_name[name], probe)
    for name in named:
        if name not in by_name:
            result.findings.fail(
                f"node {name}",
                "must have a GPU, and is not in the cluster",
                "join it, or take it out of gpu_operator_nodes",
            )
        elif name not in found:
            found[name] = _node(name, by_name[name], {})
    for name, document in by_name.items():
        labels = (document.get("metadata") or {}).get("labels") or {}
        if name not in found and has_gpu(labels, asked.vendor):
            found[name] = _node(name, document, {})
    return [found[name] for name in sorted(found)]


def _node(name: str, document: Mapping[str, Any], probe: Mapping[str, Any]) -> _Node:
    info = (document.get("status") or {}).get("nodeInfo") or {}
    labels = (document.get("metadata") or {}).get("labels") or {}
    identity, version = os_of(labels, str(info.get("osImage") or ""))
    kernel = str(probe.get("kernel") or info.get("kernelVersion") or "")
    system = System(str(probe.get("id") or identity), str(probe.get("version") or version), kernel, (name,))
    return _Node(name, labels, system, str(info.get("containerRuntimeVersion") or ""), probe)


def _check_system(findings: Findings, asked: Asked, node: _Node) -> None:
    thing, system = f"node {node.name}", node.system
    if not system.id:
        findings.fail(thing, "its operating system is not known", "put it into gpu_nodes, so that it is looked at")
        return
    if asked.driver_mode == HOST or asked.vendor != "nvidia":
        return
    if system.tag not in DRIVER_SYSTEMS:
        findings.fail(
            thing,
            f"runs {os_tag(system.id, system.version)}, for which NVIDIA makes no driver image",
            "install the driver on the node and set gpu_operator_driver_mode: host",
        )
        return
    if asked.driver_mode == PRECOMPILED:
        flavour = system.kernel.rpartition("-")[2]
        if system.id != "ubuntu" or flavour not in PRECOMPILED_FLAVOURS:
            findings.fail(
                thing,
                f"runs kernel {system.kernel} of {system.tag}; precompiled drivers are for Ubuntu's kernels "
                + ", ".join(PRECOMPILED_FLAVOURS),
                "use another kernel, or gpu_operator_driver_mode: operator or host",
            )
            return
    if asked.driver_mode == OPERATOR and asked.packages is not None:
        lacking = [name for name in headers(system) if not _carried(name, asked.packages)]
        if lacking:
            findings.fail(
                thing,
                f"its driver is made for kernel {system.kernel}, and the carried packages lack {', '.join(lacking)}",
                "add them to bundle_os_packages and make the bundle again, or use driver mode precompiled or host",
            )
            return
    findings.passed.append(f"{thing}: {system.tag}, kernel {system.kernel}")


def headers(system: System) -> list[str]:
    """The packages that the driver's container installs to compile for a kernel, as far as the kernel names them."""
    if system.id in ("ubuntu", "debian"):
        return [f"linux-headers-{system.kernel}"]
    return [f"kernel-devel-{system.kernel}", f"kernel-headers-{system.kernel}"]


def _carried(name: str, files: Sequence[str]) -> bool:
    """Whether a package file is of this name: name_version_arch.deb, or name.rpm with the kernel in it."""
    return any(file.startswith((name + "_", name + ".rpm")) for file in files)


def _check_runtime(findings: Findings, asked: Asked, node: _Node) -> None:
    name, _colon, text = node.runtime.partition("://")
    version = numbers(text)
    if name == "containerd" and version and version < asked.containerd_min:
        findings.fail(
            f"node {node.name}",
            f"containerd {text}, and the operator wants {'.'.join(map(str, asked.containerd_min))} or newer",
            "update containerd on the node",
        )
    elif name not in ("containerd", "cri-o"):
        findings.fail(
            f"node {node.name}",
            f"its container runtime is {node.runtime or 'not known'}",
            "the operator knows containerd and CRI-O; change the runtime of the node",
        )


def _check_probe(findings: Findings, asked: Asked, node: _Node) -> None:
    thing, probe = f"node {node.name}", node.probe
    gpus = [gpu for gpu in probe.get("gpus") or [] if gpu.get("vendor") == asked.vendor]
    modules, driver = probe.get("modules") or [], str(probe.get("driver") or "")
    if not gpus:
        findings.fail(
            thing,
            f"is in gpu_nodes, and its PCI bus has no GPU of {asked.vendor}",
            "pass the GPU through to the machine, or take it out of gpu_nodes",
        )
    if "nouveau" in modules and asked.vendor == "nvidia":
        findings.fail(
            thing,
            "the module nouveau is loaded, so that NVIDIA's cannot have the GPU",
            "write `blacklist nouveau` and `options nouveau modeset=0` to /etc/modprobe.d/blacklist-nouveau.conf, "
            "make the initramfs again and restart the node",
        )
    if probe.get("secure_boot") and asked.driver_mode == OPERATOR and asked.vendor == "nvidia":
        findings.fail(
            thing,
            "secure boot is on, and a driver that is compiled in its container is not signed",
            "use driver mode precompiled (signed for Ubuntu), or host with a signed driver, or turn secure boot off",
        )
    if asked.vendor != "nvidia":
        return
    if asked.driver_mode == HOST and not driver:
        findings.fail(
            thing,
            "gpu_operator_driver_mode is host, and no driver of NVIDIA runs there",
            "install it and restart the node (`nvidia-smi` must answer), or choose another mode",
        )
    elif asked.driver_mode != HOST and driver and "nvidia.com/gpu.deploy.driver" not in node.labels:
        findings.fail(
            thing,
            f"driver {driver} is installed on the host already, and the operator would bring another",
            "remove it from the node, or set gpu_operator_driver_mode: host",
        )


def _check_needs(findings: Findings, asked: Asked, node: _Node) -> None:
    """Held against labels where there are any, else against what the PCI bus shows."""
    if asked.vendor != "nvidia":
        return
    thing = f"node {node.name}"
    version = asked.driver_version
    if asked.driver_mode == HOST:
        version = str(node.probe.get("driver") or node.labels.get("nvidia.com/cuda.driver-version.full") or "")
    branch = (numbers(version) or (0,))[0]
    for product, compute, memory in products(node.labels, node.probe):
        if branch >= _TURING_BRANCH and compute < _TURING and asked.driver_mode != HOST:
            findings.fail(
                thing,
                f"driver branch {branch} does not know the {product} (compute capability {_dotted(compute)})",
                "set gpu_operator_driver_version to a driver of branch 580",
            )
        for need in asked.needs:
            if need.compute and compute < need.compute:
                has, wants = _dotted(compute), _dotted(need.compute)
                cause = f"{product} has compute capability {has}, and {need.platform} wants {wants}"
                findings.fail(thing, cause, "use a newer GPU for it")
            if need.memory and memory and memory < need.memory:
                cause = f"{product} has {memory} MiB of memory, and {need.platform} wants {need.memory} MiB"
                findings.fail(thing, cause, "use a larger GPU, or a larger MIG profile, for it")
    for need in asked.needs:
        if need.driver and branch and branch < need.driver:
            findings.fail(
                thing if asked.driver_mode == HOST else "driver",
                f"branch {branch} ({version}), and {need.platform} wants {need.driver} or newer",
                "update the driver" if asked.driver_mode == HOST else "set gpu_operator_driver_version to a newer one",
            )


def products(labels: Mapping[str, str], probe: Mapping[str, Any]) -> list[tuple[str, tuple[int, ...], int]]:
    """The GPUs of a node that are known: product, compute capability, memory in MiB (0: not known)."""
    major, minor = (labels.get(f"nvidia.com/gpu.compute.{part}", "") for part in ("major", "minor"))
    if major.isdigit():
        memory = labels.get("nvidia.com/gpu.memory", "")
        compute = (int(major), int(minor) if minor.isdigit() else 0)
        return [(labels.get("nvidia.com/gpu.product", "GPU"), compute, int(memory) if memory.isdigit() else 0)]
    devices = {str(gpu.get("device")) for gpu in probe.get("gpus") or []}
    return [PRODUCTS[device] for device in sorted(devices) if device in PRODUCTS]


def numbers(text: str) -> tuple[int, ...]:
    """The leading numbers of a version: 1.7.2-rc1 is (1, 7, 2)."""
    found = re.match(r"v?(\d+(?:\.\d+)*)", text)
    return tuple(int(part) for part in found.group(1).split(".")) if found else ()


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
