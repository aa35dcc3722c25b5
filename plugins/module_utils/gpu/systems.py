# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which driver images the nodes need: by system and kernel, as the operators make their tags."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

NFD = "feature.node.kubernetes.io/"
GPU_LABELS = {
    "nvidia": tuple(NFD + name for name in ("pci-10de.present", "pci-0302_10de.present", "pci-0300_10de.present")),
    "amd": (NFD + "amd-gpu", NFD + "amd-vgpu"),
}
RESOURCES = {"nvidia": "nvidia.com/gpu", "amd": "amd.com/gpu"}

# These have one driver image for all releases of a major version.
_MAJOR_ONLY = ("rhel", "rocky", "ol")

# What a kubelet reports of the system (PRETTY_NAME of os-release), and what os-release calls it.
_NAMES = (
    (re.compile(r"Ubuntu (?:Core )?(\d+\.\d+)"), "ubuntu"),
    (re.compile(r"Red Hat Enterprise Linux CoreOS (\d+\.\d+|\d+)"), "rhcos"),
    (re.compile(r"Red Hat Enterprise Linux(?: \w+)? (\d+(?:\.\d+)?)"), "rhel"),
    (re.compile(r"Rocky Linux (\d+(?:\.\d+)?)"), "rocky"),
    (re.compile(r"Oracle Linux Server (\d+(?:\.\d+)?)"), "ol"),
    (re.compile(r"CentOS (?:Stream |Linux )?(\d+)"), "centos"),
    (re.compile(r"Debian GNU/Linux (\d+)"), "debian"),
    (re.compile(r"SUSE Linux Enterprise Server (\d+)(?: SP(\d+))?"), "sles"),
)


@dataclass(frozen=True)
class System:
    """A system and kernel that nodes run. `id` and `version` are those of os-release; `nodes` has their names."""

    id: str
    version: str
    kernel: str
    nodes: tuple[str, ...] = ()

    @property
    def tag(self) -> str:
        """The system as the tag of a driver image ends, such as `ubuntu24.04` or `rhel9`."""
        return os_tag(self.id, self.version)


def os_tag(identity: str, version: str) -> str:
    """How NVIDIA's operator (v26.7, getOSTag) names a system in a driver's tag."""
    return identity + (version.partition(".")[0] if identity in _MAJOR_ONLY else version)


def os_of(labels: Mapping[str, str], pretty: str) -> tuple[str, str]:
    """Id and version of a node's system: from the labels of node feature discovery, else from what its kubelet says.

    Empty texts where neither tells.
    """
    identity = labels.get(NFD + "system-os_release.ID", "")
    version = labels.get(NFD + "system-os_release.VERSION_ID", "")
    if identity and version:
        return identity, version
    for pattern, name in _NAMES:
        found = pattern.search(pretty)
        if found:
            return name, ".".join(part for part in found.groups() if part)
    return "", ""


def has_gpu(labels: Mapping[str, str], vendor: str) -> bool:
    """Whether node feature discovery found a GPU of the vendor."""
    return any(labels.get(label) == "true" for label in GPU_LABELS[vendor])


def has_nfd(labels: Mapping[str, str]) -> bool:
    """Whether node feature discovery has labelled the node at all."""
    return any(label.startswith(NFD) for label in labels)


def grouped(systems: Iterable[System]) -> list[System]:
    """Each system and kernel once, with all nodes that run it, in order."""
    names: dict[tuple[str, str, str], list[str]] = {}
    for system in systems:
        names.setdefault((system.id, system.version, system.kernel), []).extend(system.nodes)
    return [System(*key, tuple(sorted(set(nodes)))) for key, nodes in sorted(names.items())]
