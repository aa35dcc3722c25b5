#!/usr/bin/python
# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: node_originals
version_added: "0.1.0"
short_description: Give back the files of a host that ours had replaced
description:
  - What M(airgap.speech.managed_files) kept in O(directory) is put back, with owner and mode, where nothing lies at its
    place any more. Run it after what replaced the files was removed.
author:
  - Airgap Speech contributors (@airgap-speech)
attributes:
  check_mode:
    description: Can predict what would be changed, without changing it.
    support: full
  diff_mode:
    description: Names the files and shows nothing of them, since they may hold passwords.
    support: full
options:
  directory:
    description: Where the originals are kept; only root reads it.
    type: path
    required: true
  marker:
    description: First line of files that are ours.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Give the hosts files back that the site wrote
  airgap.speech.node_originals:
    directory: /var/lib/airgap-speech/node_runtime/files
    marker: "# Written by airgap.speech"
"""

RETURN = r"""
files:
  description: Files that were given back.
  returned: success
  type: list
  elements: str
  sample: [/etc/containerd/certs.d/docker.io/hosts.toml]
occupied:
  description: Files that were not given back, since something else lies at their place.
  returned: success
  type: list
  elements: str
  sample: []
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.airgap.speech.plugins.module_utils.runtime.originals import Originals, OriginalsError, read


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "marker": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    marker = module.params["marker"].encode()
    files: list[str] = []
    occupied: list[str] = []
    try:
        store = Originals(module.params["directory"])
        for path in store.paths:
            data = read(path)
            if data is not None and not data.startswith(marker):
                occupied.append(path)
                continue
            files.append(path)
            if not module.check_mode:
                store.give_back(path)
                module.set_default_selinux_context(path, False)
    except OriginalsError as err:
        module.fail_json(msg=str(err))
    except OSError as err:
        module.fail_json(msg=f"{err.filename}: {err.strerror}; check the rights and the disk of the host")
    result = {"changed": bool(files), "files": files, "occupied": occupied}
    if module._diff:
        result["diff"] = [{"prepared": f"{path}: given back ({os.path.basename(store.directory)})\n"} for path in files]
    module.exit_json(**result)


if __name__ == "__main__":
    main()
