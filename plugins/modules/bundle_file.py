#!/usr/bin/python
# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bundle_file
version_added: "0.1.0"
short_description: Take a file out of a bundle, whole or in parts
description:
  - Copies a file that the lock of a bundle names to another place, or a chart, held against its digest while it is
    written. It may lie in a directory or in a part, which is not unpacked.
  - A destination that has the digest already is left as it is, also while the part with the file is not at hand.
author:
  - Airgap Speech contributors (@airgap-speech)
attributes:
  check_mode:
    support: full
    description: Says whether the file would be written. The bundle has to be at hand.
  diff_mode:
    support: full
    description: Shows the digest before and after.
options:
  bundle:
    description: The directory of the bundle, or each directory that holds parts of it.
    type: list
    elements: path
    required: true
  path:
    description: The path of the file in the bundle.
    type: str
  chart:
    description:
      - In place of O(path), the reference of a chart in the lock, whose package is wanted. Each part carries it.
    type: str
  dest:
    description: Where to put it.
    type: path
    required: true
  in_place:
    description:
      - Use the file where it lies, if the bundle is whole. It is held against its digest, RV(dest) is its own path, and
        nothing is written.
    type: bool
    default: false
  mode:
    description: The mode of the file, in octal digits.
    type: str
    default: "0644"
"""

EXAMPLES = r"""
- name: Take the registry's program out of the bundle
  airgap.speech.bundle_file:
    bundle: /media/bundle
    path: files/tools/registry
    dest: /usr/local/bin/airgap-registry
    mode: "0755"
"""

RETURN = r"""
dest:
  description: Where it is. With O(in_place) that may be in the bundle itself.
  returned: success
  type: str
digest:
  description: Its sha256, as the lock names it.
  returned: success
  type: str
size:
  description: Its size in bytes.
  returned: success
  type: int
"""

import os
import stat
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.airgap.speech.plugins.module_utils.bundle.lock import LockError, blob_path
from ansible_collections.airgap.speech.plugins.module_utils.bundle.parts import Opened, PartsError, open_bundle
from ansible_collections.airgap.speech.plugins.module_utils.oci.digest import sha256_file
from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import LayoutError

CHART_LAYER = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"


def chart_path(opened: Opened, reference: str) -> str:
    """The path of a chart's package in the bundle."""
    digest = next((chart.digest for chart in opened.lock.charts if chart.reference == reference), "")
    if not digest:
        raise PartsError(
            f"{reference}: is not among the charts of {opened.lock_path}; make a bundle with a release that uses it"
        )
    for layer in opened.layout.read_json(digest).get("layers") or ():
        if layer.get("mediaType") == CHART_LAYER:
            return blob_path(str(layer["digest"]))
    raise PartsError(f"{reference}: its manifest names no chart package; make the bundle again")


def take(module: AnsibleModule) -> dict[str, Any]:
    """One run of the module."""
    params = module.params
    dest = params["dest"]
    try:
        mode = int(params["mode"], 8)
    except ValueError as error:
        raise PartsError(f"mode {params['mode']!r}: is no octal number; write it as 0644") from error
    opened = open_bundle(params["bundle"])
    path = params["path"] or chart_path(opened, params["chart"])
    digest, size = opened.lock.paths().get(path, ("", 0))
    if params["in_place"] and opened.shelf is None:
        dest = str(opened.extents(path)[0].path)
        if sha256_file(dest)[0] != digest:
            raise PartsError(f"{dest}: sha256 differs; copy that file again")
        return {"changed": False, "dest": dest, "digest": digest, "size": size}
    before = "" if not os.path.isfile(dest) else f"{sha256_file(dest)[0]} {stat.S_IMODE(os.stat(dest).st_mode):04o}"
    after = f"{digest} {mode:04o}"
    if not digest or not before.startswith(digest):
        opened.extents(path)
    if before != after and not module.check_mode:
        if before.startswith(digest):
            os.chmod(dest, mode)
        else:
            opened.take(path, dest, mode)
    return {
        "changed": before != after,
        "dest": dest,
        "digest": digest,
        "size": size,
        "diff": {
            "before": f"{before}\n" if before else "",
            "after": f"{after}\n",
            "before_header": dest,
            "after_header": dest,
        },
    }


def main() -> None:
    """Entry of the module."""
    module = AnsibleModule(
        argument_spec={
            "bundle": {"type": "list", "elements": "path", "required": True},
            "path": {"type": "str"},
            "chart": {"type": "str"},
            "dest": {"type": "path", "required": True},
            "in_place": {"type": "bool", "default": False},
            "mode": {"type": "str", "default": "0644"},
        },
        mutually_exclusive=[("path", "chart")],
        required_one_of=[("path", "chart")],
        supports_check_mode=True,
    )
    try:
        result = take(module)
    except (LayoutError, LockError, PartsError) as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"{module.params['dest']}: {error}; make room there, or name another place")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
