#!/usr/bin/python
# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: node_images
version_added: "0.1.0"
short_description: Bring images to a node before its pods ask, and pin them
description:
  - Pulls images into containerd, from where the hosts files of the node say, unpacks them, and writes them to the disk.
    An image that is there whole is not pulled again, unless O(digests) says that its tag means another one now.
  - A pinned image carries the label C(io.cri-containerd.pinned=pinned). containerd's plugin for the kubelet reports it
    as pinned, and the kubelet's garbage collection leaves it.
  - What an earlier run pinned and is not wanted any more loses the pin and stays, until the kubelet collects it.
author:
  - Airgap Speech contributors (@airgap-speech)
attributes:
  check_mode:
    description: Can predict what would be pulled, without pulling it.
    support: full
  diff_mode:
    description: Names the images that are pulled, pinned and let go.
    support: full
options:
  images:
    description: The images, each with its host and tag or digest. An empty list lets go of all.
    type: list
    elements: str
    required: true
  digests:
    description: The digest that a name of O(images) means, where it is known.
    type: dict
    default: {}
  pin:
    description: Whether to keep the kubelet from collecting them.
    type: bool
    default: true
  ctr:
    description: The program ctr, which comes with containerd.
    type: str
    default: ctr
  socket:
    description: containerd's socket.
    type: path
    default: /run/containerd/containerd.sock
  hosts_dir:
    description: The directory of the hosts files.
    type: path
    default: /etc/containerd/certs.d
"""

EXAMPLES = r"""
- name: Have the release's images before its pods come
  airgap.speech.node_images:
    images: [docker.io/library/python:3.11-slim]
"""

RETURN = r"""
pulled:
  description: Images that were pulled.
  returned: success
  type: list
  elements: str
  sample: [docker.io/library/python:3.11-slim]
pinned:
  description: Images that were pinned.
  returned: success
  type: list
  elements: str
  sample: [docker.io/library/python:3.11-slim]
released:
  description: Images that an earlier run pinned and that may be collected now.
  returned: success
  type: list
  elements: str
  sample: []
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.airgap.speech.plugins.module_utils.runtime.prepull import OURS, PINNED, PrepullError, Puller


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "images": {"type": "list", "elements": "str", "required": True},
            "digests": {"type": "dict", "default": {}},
            "pin": {"type": "bool", "default": True},
            "ctr": {"type": "str", "default": "ctr"},
            "socket": {"type": "path", "default": "/run/containerd/containerd.sock"},
            "hosts_dir": {"type": "path", "default": "/etc/containerd/certs.d"},
        },
        supports_check_mode=True,
    )
    params = module.params
    wanted = list(dict.fromkeys(params["images"]))
    mark = [OURS, PINNED] if params["pin"] else [OURS]
    try:
        puller = Puller(module.run_command, ctr=params["ctr"], socket=params["socket"], hosts_dir=params["hosts_dir"])
        present = puller.present()
        pulled = [
            image
            for image in wanted
            if image not in present or params["digests"].get(image, present[image].digest) != present[image].digest
        ]
        pinned = [image for image in wanted if image in pulled or not set(mark) <= present[image].labels]
        # containerd's plugin for the kubelet gives the labels to further names of the same image.
        held = {present[image].digest for image in wanted if image in present}
        released = [
            name
            for name, found in present.items()
            if OURS in found.labels
            and ((name not in wanted and found.digest not in held) or (not params["pin"] and PINNED in found.labels))
        ]
        if not module.check_mode:
            for image in pulled:
                puller.pull(image)
            for image in pinned:
                puller.label(image, mark)
            for name in released:
                gone = [PINNED] if name in wanted else [PINNED, OURS]
                puller.label(name, [label.partition("=")[0] + "=" for label in gone])
            if pulled:
                # What a cut of power would tear is not there yet.
                os.sync()
    except PrepullError as err:
        module.fail_json(msg=str(err))
    done = {"pulled": pulled, "pinned": pinned, "released": released}
    lines = [f"{word} {name}\n" for word, names in done.items() for name in names]
    diff = {"diff": {"prepared": "".join(lines)}} if module._diff else {}
    module.exit_json(changed=bool(lines), **done, **diff)


if __name__ == "__main__":
    main()
