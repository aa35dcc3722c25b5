#!/usr/bin/python
# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: inventory_export
version_added: "0.1.0"
short_description: Write down which digests the private registry of a site holds
description:
  - Asks the registry for everything that the locks of the given bundles name, and writes what it holds into one file.
    Nothing is taken on trust, each blob is asked for.
  - Carried to the connected side and given to M(airgap.speech.bundle) as O(airgap.speech.bundle#module:inventory), it
    makes the next bundle carry only what the site lacks.
  - The file holds names and digests, and no secret.
author:
  - Airgap Speech contributors (@airgap-speech)
extends_documentation_fragment:
  - airgap.speech.registry
attributes:
  check_mode:
    support: full
    description: Asks the registry as it does otherwise, and writes nothing.
  diff_mode:
    support: full
    description: Shows the references that the file names before and after, with their digests.
options:
  bundles:
    description:
      - What to ask for. Each is the directory of a bundle, a directory with parts of one, or a lock. Only the lock is
        read.
    type: list
    elements: path
    default: []
  locks_dir:
    description:
      - A directory in which M(airgap.speech.image_mirror) keeps the lock of each bundle that it mirrored. All of them
        are asked for too.
    type: path
  dest:
    description: The file to write. It is left as it is where it says the same already.
    type: path
    required: true
  threads:
    description: Requests at a time.
    type: int
    default: 4
"""

EXAMPLES = r"""
- name: Write down what this site holds
  airgap.speech.inventory_export:
    bundles:
      - /media/bundle
    locks_dir: /home/ops/.airgap/locks
    registry: registry.airgap.internal:5001
    username: airgap-push
    password_file: /home/ops/.airgap/secrets/registry-push-password
    ca_file: /home/ops/.airgap/secrets/ca/ca.crt
    dest: /home/ops/outbound/site.inventory.json
"""

RETURN = r"""
dest:
  description: The file.
  returned: success
  type: str
contents:
  description: What the registry holds of what the locks name.
  returned: success
  type: list
  elements: dict
  contains:
    reference:
      description: The reference in the lock.
      type: str
    repository:
      description: The repository inside.
      type: str
    ref:
      description: The tag, or the digest where there is none.
      type: str
    digest:
      description: What the tag stands for.
      type: str
missing:
  description: References that a lock names and the registry does not hold.
  returned: success
  type: list
  elements: str
blobs:
  description: How many blobs the registry holds of them.
  returned: success
  type: int
bytes:
  description: The bytes of these blobs, each counted once.
  returned: success
  type: int
requests:
  description: Requests to the registry.
  returned: success
  type: int
"""

import os
import time
import traceback
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.airgap.speech.plugins.module_utils.bundle import inventory
from ansible_collections.airgap.speech.plugins.module_utils.bundle.cache import write_file
from ansible_collections.airgap.speech.plugins.module_utils.bundle.lock import Lock, LockError, load
from ansible_collections.airgap.speech.plugins.module_utils.bundle.mirrored import items_of, records
from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import LayoutError
from ansible_collections.airgap.speech.plugins.module_utils.oci.options import (
    REGISTRY_OPTIONS,
    REGISTRY_REQUIRED_BY,
    client,
)
from ansible_collections.airgap.speech.plugins.module_utils.oci.reference import ReferenceInvalid
from ansible_collections.airgap.speech.plugins.module_utils.oci.registry import RegistryError


def created() -> str:
    """Now, or the time that the environment asks for."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(int(epoch) if epoch.isdigit() else None))


def lines_of(data: bytes, thing: str) -> str:
    """The references of an inventory, for the diff."""
    try:
        items = inventory.parse(data, thing).items
    except inventory.InventoryError:
        return ""
    return "".join(f"{item.repository} {item.ref} {item.digest}\n" for item in items)


def locks(params: dict[str, Any]) -> list[Lock]:
    """The locks to ask for."""
    found = [load(path) for path in params["bundles"]]
    found += [record.lock for record in records(params["locks_dir"])] if params["locks_dir"] else []
    if not found:
        where = f"{params['locks_dir']} holds no lock" if params["locks_dir"] else "no bundle and no locks_dir is given"
        raise LockError(f"inventory: {where}, so there is nothing to ask for; name a bundle or its lock in bundles")
    return found


def export(module: AnsibleModule) -> dict[str, Any]:
    """One run of the module."""
    params = module.params
    wanted = [item for lock in locks(params) for item in items_of(lock)]
    with client(params) as registry:
        registry.ping()
        found = inventory.collect(registry, params["registry"], wanted, created(), max(1, params["threads"]))
    before = b""
    if os.path.isfile(params["dest"]):
        with open(params["dest"], "rb") as handle:
            before = handle.read()
    after = before if inventory.same_but_time(before, found) else inventory.dump(found)
    if after != before and not module.check_mode:
        os.makedirs(os.path.dirname(os.path.abspath(params["dest"])), exist_ok=True)
        write_file(params["dest"], after)
    return {
        "changed": after != before,
        "dest": params["dest"],
        "contents": [vars(item) for item in found.items],
        "missing": found.missing,
        "blobs": len(found.blobs),
        "bytes": found.size,
        "requests": registry.requests,
        "diff": {
            "before": lines_of(before, params["dest"]),
            "after": lines_of(after, params["dest"]),
            "before_header": params["dest"],
            "after_header": params["dest"],
        },
    }


def main() -> None:
    """Entry of the module."""
    module = AnsibleModule(
        argument_spec={
            "bundles": {"type": "list", "elements": "path", "default": []},
            "locks_dir": {"type": "path"},
            **REGISTRY_OPTIONS,
            "dest": {"type": "path", "required": True},
            "threads": {"type": "int", "default": 4},
        },
        required_by=REGISTRY_REQUIRED_BY,
        supports_check_mode=True,
    )
    try:
        result = export(module)
    except (LockError, LayoutError, ReferenceInvalid, RegistryError) as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(
            msg=f"inventory {module.params['dest']}: {error}; name another file, or make its directory writable",
            exception=traceback.format_exc(),
        )
    module.exit_json(**result)


if __name__ == "__main__":
    main()
