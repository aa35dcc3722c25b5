# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node is to a GPU driver: read from its own files, with the standard library, without rights of root."""

from __future__ import annotations

import os
import re
from typing import Any

SECURE_BOOT = "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
VENDORS = {"10de": "nvidia", "1002": "amd"}
# PCI classes: VGA controller, 3D controller, processing accelerator.
_CLASSES = ("0300", "0302", "1200")
_MODULES = ("nouveau", "nvidia", "amdgpu")


def probe(root: str = "/") -> dict[str, Any]:
    """The host below `root`: system, kernel, secure boot, modules that are loaded, GPUs, and the driver that runs.

    `secure_boot` is None where the firmware cannot tell: without UEFI there is none.
    """
    release = _os_release(_read(os.path.join(root, "etc/os-release")))
    driver = re.search(
        r"Kernel Module(?: for \S+)?\s+(\d+(?:\.\d+)+)", _read(os.path.join(root, "proc/driver/nvidia/version"))
    )
    loaded = {line.split(" ")[0] for line in _read(os.path.join(root, "proc/modules")).splitlines()}
    return {
        "hostname": _read(os.path.join(root, "proc/sys/kernel/hostname")).strip(),
        "id": release.get("ID", ""),
        "version": release.get("VERSION_ID", ""),
        "kernel": _read(os.path.join(root, "proc/sys/kernel/osrelease")).strip(),
        "secure_boot": _secure_boot(os.path.join(root, SECURE_BOOT)),
        "modules": [name for name in _MODULES if name in loaded],
        "gpus": _gpus(os.path.join(root, "sys/bus/pci/devices")),
        "driver": driver.group(1) if driver else "",
    }


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as handle:
            return handle.read()
    except OSError:
        return ""


def _os_release(text: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return {key.strip(): value.strip().strip("\"'") for key, _equals, value in pairs}


def _secure_boot(path: str) -> bool | None:
    """The variable is four bytes of attributes and one of its value."""
    try:
        with open(path, "rb") as handle:
            data = handle.read()
    except OSError:
        return None
    return data[4] == 1 if len(data) > 4 else None


def _gpus(folder: str) -> list[dict[str, str]]:
    """GPUs on the PCI bus, each with address, vendor and device id (four hexadecimal digits)."""
    found = []
    for address in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        vendor, device, kind = (
            _read(os.path.join(folder, address, name)).strip()[2:] for name in ("vendor", "device", "class")
        )
        if vendor in VENDORS and kind[:4] in _CLASSES:
            found.append({"address": address, "vendor": VENDORS[vendor], "device": device})
    return found
