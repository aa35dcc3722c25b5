#!/usr/bin/python
# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gpu_node_probe
short_description: Look at what a node is to a GPU driver
version_added: "0.1.0"
author:
  - Airgap Speech contributors (@airgap-speech)
description:
  - Reads the system, the kernel, secure boot, the modules that are loaded, the GPUs on the PCI bus and the driver that
    runs. For M(airgap.speech.gpu_preflight) to judge.
  - Needs Python's standard library only and no rights of root. Changes nothing.
attributes:
  check_mode:
    description: The module reads only, so check mode is the same as a run.
    support: full
  diff_mode:
    description: Nothing is changed, so there is no difference to show.
    support: none
options: {}
"""

EXAMPLES = r"""
- name: Look at the node
  airgap.speech.gpu_node_probe:
  register: node
"""

RETURN = r"""
probe:
  description: What was seen.
  returned: success
  type: dict
  contains:
    hostname:
      description: Name of the host.
      type: str
    id:
      description: C(ID) of os-release.
      type: str
      sample: ubuntu
    version:
      description: C(VERSION_ID) of os-release.
      type: str
      sample: "24.04"
    kernel:
      description: The kernel that runs, as C(uname -r) has it.
      type: str
      sample: 6.8.0-45-generic
    secure_boot:
      description: Whether secure boot is on. None where the firmware does not tell.
      type: bool
    modules:
      description: Which of nouveau, nvidia and amdgpu are loaded.
      type: list
      elements: str
    gpus:
      description: GPUs of NVIDIA and AMD on the PCI bus.
      type: list
      elements: dict
      sample: [{"address": "0000:65:00.0", "vendor": "nvidia", "device": "1eb8"}]
    driver:
      description: Version of NVIDIA's driver that runs. Empty for none.
      type: str
      sample: 595.91.07
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.airgap.speech.plugins.module_utils.gpu.probe import probe


def main() -> None:
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    module.exit_json(changed=False, probe=probe())


if __name__ == "__main__":
    main()
