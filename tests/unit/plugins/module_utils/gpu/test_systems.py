# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from ansible_collections.airgap.speech.plugins.module_utils.gpu.systems import (
    System,
    grouped,
    has_gpu,
    os_of,
    os_tag,
)

RELEASE = "feature.node.kubernetes.io/system-os_release."


@pytest.mark.parametrize(
    ("pretty", "wanted"),
    [
        ("Ubuntu 24.04.1 LTS", "ubuntu24.04"),
        ("Ubuntu 22.04.5 LTS", "ubuntu22.04"),
        ("Red Hat Enterprise Linux 9.4 (Plow)", "rhel9"),
        ("Red Hat Enterprise Linux CoreOS 418.94.202501", "rhcos418.94"),
        ("Rocky Linux 8.10 (Green Obsidian)", "rocky8"),
        ("Oracle Linux Server 9.3", "ol9"),
        ("Debian GNU/Linux 12 (bookworm)", "debian12"),
        ("SUSE Linux Enterprise Server 15 SP5", "sles15.5"),
        ("Something else", ""),
    ],
)
def test_what_the_kubelet_says_becomes_a_tag(pretty: str, wanted: str) -> None:
    assert os_tag(*os_of({}, pretty)) == wanted


def test_labels_of_nfd_come_first() -> None:
    labels = {RELEASE + "ID": "rhel", RELEASE + "VERSION_ID": "8.8"}
    assert os_of(labels, "Ubuntu 24.04 LTS") == ("rhel", "8.8")


def test_nodes_of_one_system_and_kernel_are_one() -> None:
    nodes = [
        System("ubuntu", "24.04", "6.8.0-50-generic", ("c",)),
        System("ubuntu", "24.04", "6.8.0-45-generic", ("b",)),
        System("ubuntu", "24.04", "6.8.0-45-generic", ("a", "b")),
        System("rhel", "9.4", "5.14", ("d",)),
        System("rhel", "9.5", "5.14", ("e",)),
    ]
    assert grouped(nodes) == [
        System("rhel", "9.4", "5.14", ("d",)),
        System("rhel", "9.5", "5.14", ("e",)),
        System("ubuntu", "24.04", "6.8.0-45-generic", ("a", "b")),
        System("ubuntu", "24.04", "6.8.0-50-generic", ("c",)),
    ]


@pytest.mark.parametrize(
    ("label", "vendor", "wanted"),
    [
        ("feature.node.kubernetes.io/pci-10de.present", "nvidia", True),
        ("feature.node.kubernetes.io/pci-0302_10de.present", "nvidia", True),
        ("feature.node.kubernetes.io/pci-1002.present", "nvidia", False),
        ("feature.node.kubernetes.io/amd-gpu", "amd", True),
    ],
)
def test_gpus_by_label(label: str, vendor: str, wanted: bool) -> None:
    assert has_gpu({label: "true"}, vendor) is wanted
