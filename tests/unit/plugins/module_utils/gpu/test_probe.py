# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.airgap.speech.plugins.module_utils.gpu.probe import SECURE_BOOT, probe

FILES = {
    "etc/os-release": 'PRETTY_NAME="Ubuntu 24.04.1 LTS"\nID=ubuntu\nVERSION_ID="24.04"\n# comment=1\n',
    "proc/sys/kernel/osrelease": "6.8.0-45-generic\n",
    "proc/sys/kernel/hostname": "gpu-1\n",
    "proc/modules": "nouveau 2334720 0 - Live 0x0\nnvidia_uvm 1 0\next4 1 0\n",
    "sys/bus/pci/devices/0000:65:00.0/vendor": "0x10de\n",
    "sys/bus/pci/devices/0000:65:00.0/device": "0x1eb8\n",
    "sys/bus/pci/devices/0000:65:00.0/class": "0x030200\n",
    # Its sound, and a network card: no GPUs.
    "sys/bus/pci/devices/0000:65:00.1/vendor": "0x10de\n",
    "sys/bus/pci/devices/0000:65:00.1/device": "0x10f8\n",
    "sys/bus/pci/devices/0000:65:00.1/class": "0x040300\n",
    "sys/bus/pci/devices/0000:66:00.0/vendor": "0x8086\n",
    "sys/bus/pci/devices/0000:66:00.0/device": "0x1572\n",
    "sys/bus/pci/devices/0000:66:00.0/class": "0x020000\n",
}


def host(folder: Path, files: dict[str, str]) -> str:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return str(folder)


def test_a_host(tmp_path: Path) -> None:
    assert probe(host(tmp_path, FILES)) == {
        "hostname": "gpu-1",
        "id": "ubuntu",
        "version": "24.04",
        "kernel": "6.8.0-45-generic",
        "secure_boot": None,
        "modules": ["nouveau"],
        "gpus": [{"address": "0000:65:00.0", "vendor": "nvidia", "device": "1eb8"}],
        "driver": "",
    }


@pytest.mark.parametrize(("data", "wanted"), [(b"\6\0\0\0\1", True), (b"\6\0\0\0\0", False), (b"", None)])
def test_secure_boot(tmp_path: Path, data: bytes, wanted: Any) -> None:
    (tmp_path / SECURE_BOOT).parent.mkdir(parents=True)
    (tmp_path / SECURE_BOOT).write_bytes(data)
    assert probe(str(tmp_path))["secure_boot"] is wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.309.01  Wed Jul\nGCC version: 12\n", "535.309.01"),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  595.91.07  Release Build\n", "595.91.07"),
        ("", ""),
    ],
)
def test_the_driver_that_runs(tmp_path: Path, text: str, wanted: str) -> None:
    assert probe(host(tmp_path, {"proc/driver/nvidia/version": text}))["driver"] == wanted


def test_this_machine() -> None:
    assert probe()["kernel"]
