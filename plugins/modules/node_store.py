#!/usr/bin/python
# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: node_store
version_added: "0.1.0"
short_description: Find and heal damage in containerd's store
description:
  - Hashes every blob that containerd holds, and compares the files of every unpacked layer (overlayfs
    snapshotter) with the layer's blob, by content, size, kind and mode. All is read, so it takes as long as the disk.
  - A damaged blob is removed and fetched again by its digest, from where containerd's hosts files say. A damaged layer
    is removed, with those upon it, and unpacked again. A layer that a container runs on is named and left.
  - In check mode it looks and changes nothing.
author:
  - Airgap Speech contributors (@airgap-speech)
attributes:
  check_mode:
    description: Says what is damaged, without healing it.
    support: full
  diff_mode:
    description: There is no text to show; the result names what was damaged and healed.
    support: none
options:
  config:
    description: containerd's main file, which names its root and snapshotter.
    type: path
    default: /etc/containerd/config.toml
  program:
    description: containerd's program.
    type: str
    default: containerd
  ctr:
    description: The program ctr, which comes with containerd.
    type: str
    default: ctr
  socket:
    description: containerd's socket.
    type: path
    default: /run/containerd/containerd.sock
  hosts_dir:
    description: The directory of the hosts files that say where blobs are fetched from.
    type: path
    default: /etc/containerd/certs.d
  namespace:
    description: containerd's namespace.
    type: str
    default: k8s.io
"""

EXAMPLES = r"""
- name: Heal what a cut of power tore
  airgap.speech.node_store:
  register: store

- name: Only look
  airgap.speech.node_store:
  check_mode: true
"""

RETURN = r"""
blobs:
  description: Blobs that were hashed.
  returned: success
  type: int
  sample: 41
bytes:
  description: Their size.
  returned: success
  type: int
  sample: 873000123
snapshots:
  description: Unpacked layers that were compared.
  returned: success
  type: int
  sample: 22
damaged:
  description: What was wrong, by the digest of a blob or the key of an unpacked layer.
  returned: always
  type: dict
  sample: {}
healed:
  description: Which of these are right now.
  returned: always
  type: list
  elements: str
  sample: []
failures:
  description: Which of these are not, and why.
  returned: always
  type: dict
  sample: {}
unchecked:
  description: Unpacked layers that could not be compared, and why.
  returned: always
  type: dict
  sample: {}
"""

from dataclasses import asdict

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.airgap.speech.plugins.module_utils.runtime.containerd import Containerd, ContainerdError
from ansible_collections.airgap.speech.plugins.module_utils.runtime.store import Store, StoreError
from ansible_collections.airgap.speech.plugins.module_utils.runtime.toml_text import TomlError


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "config": {"type": "path", "default": "/etc/containerd/config.toml"},
            "program": {"type": "str", "default": "containerd"},
            "ctr": {"type": "str", "default": "ctr"},
            "socket": {"type": "path", "default": "/run/containerd/containerd.sock"},
            "hosts_dir": {"type": "path", "default": "/etc/containerd/certs.d"},
            "namespace": {"type": "str", "default": "k8s.io"},
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        dump = Containerd(module.run_command, params["program"], params["config"]).dump()
        store = Store(
            module.run_command,
            root=dump.root,
            ctr=params["ctr"],
            socket=params["socket"],
            snapshotter=dump.snapshotter,
            hosts_dir=params["hosts_dir"],
            namespace=params["namespace"],
        )
        report = store.check() if module.check_mode else store.heal()
    except (ContainerdError, StoreError, TomlError) as err:
        module.fail_json(msg=str(err))
    except OSError as err:
        module.fail_json(msg=f"{err.filename}: {err.strerror}; check the rights and the disk of the host")
    result = asdict(report)
    failed = result.pop("failed")
    if failed:
        module.fail_json(msg="; ".join(failed.values()), changed=bool(report.healed), failures=failed, **result)
    module.exit_json(changed=bool(report.damaged), failures=failed, **result)


if __name__ == "__main__":
    main()
