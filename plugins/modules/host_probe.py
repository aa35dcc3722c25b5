#!/usr/bin/python
# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_probe
short_description: Look at what a host is and has, in one call
version_added: "0.1.0"
author:
  - Airgap Speech contributors (@airgap-speech)
description:
  - Reads the clock, the operating system, memory, swap, the file systems that hold given paths, and containerd.
  - Needs Python's standard library only and no rights of root. Changes nothing.
  - The time of the controller before and after the call is put beside the host's, so that the difference of the clocks
    is known with the round trip taken into account.
attributes:
  check_mode:
    description: The module reads only, so check mode is the same as a run.
    support: full
  diff_mode:
    description: Nothing is changed, so there is no difference to show.
    support: none
options:
  paths:
    description:
      - Absolute paths whose file systems are looked at.
        Of a path that does not exist yet, the file system of the nearest directory above it.
    type: list
    elements: path
    default: []
  measure:
    description: Directories whose contents are added up, as far as they can be read.
    type: list
    elements: path
    default: []
"""

EXAMPLES = r"""
- name: Look at the host
  airgap.speech.host_probe:
    paths:
      - /var/lib/containerd
      - /var/lib/airgap-speech/models
  register: host
"""

RETURN = r"""
epoch:
  description: Time of the host, in seconds since 1970 in UTC.
  returned: success
  type: float
  sample: 1795262435.25
clock:
  description: The host's clock against the controller's.
  returned: success
  type: dict
  contains:
    skew:
      description: Seconds by which the clocks differ for certain, ahead of the controller above zero, behind it below.
      type: float
      sample: 0.0
    round_trip:
      description: Seconds that the call took, within which a difference cannot be told.
      type: float
      sample: 0.31
hostname:
  description: Name of the host as it knows itself.
  returned: success
  type: str
  sample: worker-1
os:
  description: The operating system, from C(os-release).
  returned: success
  type: dict
  contains:
    id:
      description: Its identifier.
      type: str
      sample: debian
    version:
      description: Its version.
      type: str
      sample: "12"
architecture:
  description: Architecture of the processor.
  returned: success
  type: str
  sample: x86_64
kernel:
  description: Release of the kernel.
  returned: success
  type: str
  sample: 6.1.0-28-amd64
cpus:
  description: Number of processors.
  returned: success
  type: int
  sample: 8
cpu_flags:
  description: Flags of the processor.
  returned: success
  type: list
  elements: str
  sample: ["avx2"]
memory_bytes:
  description: Memory of the host.
  returned: success
  type: int
  sample: 16777216000
memory_available_bytes:
  description: Memory that can be used without swapping.
  returned: success
  type: int
  sample: 8388608000
swap_bytes:
  description: Swap that is on.
  returned: success
  type: int
  sample: 0
python:
  description: Version of the Python that ran the module.
  returned: success
  type: str
  sample: 3.11.2
paths:
  description: The file systems of the paths.
  returned: success
  type: dict
  contains:
    path:
      description: One entry a path, with the path as its key.
      type: dict
      contains:
        exists:
          description: Whether the path exists.
          type: bool
        nearest:
          description: The path, or the nearest directory above it that exists.
          type: str
        device:
          description: Number of the file system. Paths with the same number share its room.
          type: int
        total_bytes:
          description: Size of the file system.
          type: int
        free_bytes:
          description: What is free for users that are not root.
          type: int
        used_bytes:
          description: What the contents of the path take. Only for the paths of O(measure).
          type: int
  sample: {"/var/lib/containerd": {"exists": true, "nearest": "/var/lib/containerd", "device": 2049,
           "total_bytes": 107374182400, "free_bytes": 53687091200}}
containerd:
  description: What there is of containerd.
  returned: success
  type: dict
  contains:
    version:
      description: Its version; empty where the program was not found.
      type: str
      sample: 2.4.2
    config:
      description: Path of its configuration file; empty where there is none.
      type: str
      sample: /etc/containerd/config.toml
"""

import os
import platform
import re
import time
from typing import Any, Callable, Dict, List, Optional, Tuple

from ansible.module_utils.basic import AnsibleModule

Run = Callable[[List[str]], Tuple[int, str, str]]

CONTAINERD_CONFIG = "/etc/containerd/config.toml"


def read_text(path: str) -> str:
    """The text of a file of the system; empty where it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except OSError:
        return ""


def os_release(text: str) -> Dict[str, str]:
    """The keys and values of an os-release file."""
    found = re.findall(r"^([A-Z_0-9]+)=[\"']?(.*?)[\"']?$", text, re.MULTILINE)
    return dict(found)


def memory(text: str) -> Dict[str, int]:
    """The bytes of each line of /proc/meminfo."""
    return {key: int(amount) * 1024 for key, amount in re.findall(r"^(\w+):\s+(\d+) kB$", text, re.MULTILINE)}


def nearest_existing(path: str) -> str:
    """The path itself, or the nearest directory above it that exists."""
    path = os.path.abspath(path)
    while not os.path.lexists(path) or not os.path.exists(path):
        parent = os.path.dirname(path)
        if parent == path:
            break
        path = parent
    return path


def file_system(path: str, measured: bool = False) -> Dict[str, Any]:
    """What holds a path, and how much room it has."""
    nearest = nearest_existing(path)
    status = os.statvfs(nearest)
    result: Dict[str, Any] = {
        "exists": nearest == os.path.abspath(path),
        "nearest": nearest,
        "device": os.stat(nearest).st_dev,
        "total_bytes": status.f_blocks * status.f_frsize,
        "free_bytes": status.f_bavail * status.f_frsize,
    }
    if measured:
        result["used_bytes"] = used_bytes(path) if result["exists"] else 0
    return result


def used_bytes(path: str) -> int:
    """What the files below a path take on disk; a file with several names counts once."""
    total = 0
    seen = set()
    for directory, _directories, files in os.walk(path):
        for name in files:
            try:
                status = os.lstat(os.path.join(directory, name))
            except OSError:
                continue
            if (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                total += status.st_blocks * 512
    return total


def containerd(run: Run, find: Callable[[str], Optional[str]]) -> Dict[str, str]:
    """The version and the configuration of containerd, where they are there."""
    version = ""
    program = find("containerd")
    if program:
        code, out, _err = run([program, "--version"])
        match = re.search(r"\sv?(\d+\.\d+\.\d+\S*)", out)
        version = match.group(1) if code == 0 and match else ""
    return {"version": version, "config": CONTAINERD_CONFIG if os.path.exists(CONTAINERD_CONFIG) else ""}


def cpu_flags(text: str) -> List[str]:
    """The flags of the first processor."""
    match = re.search(r"^(?:flags|Features)\s*:\s*(.*)$", text, re.MULTILINE)
    return sorted(match.group(1).split()) if match else []


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "paths": {"type": "list", "elements": "path", "default": []},
            "measure": {"type": "list", "elements": "path", "default": []},
        },
        supports_check_mode=True,
    )
    epoch = time.time()
    measured = module.params["measure"]
    paths = {}
    for path in [*module.params["paths"], *measured]:
        if not os.path.isabs(path):
            module.fail_json(msg=f"host_probe: {path}: an absolute path is wanted; write it from the root on")
        paths[path] = file_system(path, path in measured)
    release = os_release(read_text("/etc/os-release") or read_text("/usr/lib/os-release"))
    amounts = memory(read_text("/proc/meminfo"))
    module.exit_json(
        changed=False,
        epoch=epoch,
        hostname=platform.node(),
        os={"id": release.get("ID", ""), "version": release.get("VERSION_ID", "")},
        architecture=platform.machine(),
        kernel=platform.release(),
        cpus=os.cpu_count() or 0,
        cpu_flags=cpu_flags(read_text("/proc/cpuinfo")),
        memory_bytes=amounts.get("MemTotal", 0),
        memory_available_bytes=amounts.get("MemAvailable", 0),
        swap_bytes=amounts.get("SwapTotal", 0),
        python=platform.python_version(),
        paths=paths,
        containerd=containerd(module.run_command, module.get_bin_path),
    )


if __name__ == "__main__":
    main()
