#!/usr/bin/python
# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: registry_prune
short_description: Take out of the private registry what only earlier bundles wanted
version_added: "0.1.0"
description:
  - Reads the locks of the bundles that M(airgap.speech.image_mirror) has kept, and deletes the manifests that an
    earlier one put there and that none of the newest O(keep) wants.
  - Nothing else is deleted. A manifest that carries a tag that no bundle set stays, and the result says so.
  - Check mode and diff show the whole list first.
  - The room on the disk comes back when the registry collects its garbage. The role P(airgap.speech.image_mirror#role)
    does that for the collection's own registry.
author:
  - Airgap Speech contributors (@airgap-speech)
extends_documentation_fragment:
  - airgap.speech.registry
seealso:
  - module: airgap.speech.image_mirror
attributes:
  check_mode:
    description: Lists what would be deleted and deletes nothing.
    support: full
  diff_mode:
    description: Shows the manifests with their names, before and after.
    support: full
options:
  locks_dir:
    description:
      - Directory with the locks of the bundles that were mirrored, as
        O(airgap.speech.image_mirror#module:locks_dir) keeps them.
      - The locks of the bundles that were pruned are removed from it.
    type: path
    required: true
  keep:
    description:
      - How many of the newest bundles stay whole. V(2) leaves the one before, so that a release can be rolled back.
    type: int
    default: 2
  threads:
    description:
      - How many questions are asked at once.
    type: int
    default: 2
"""

EXAMPLES = r"""
- name: Show what only older bundles wanted
  airgap.speech.registry_prune:
    registry: registry.airgap.internal:5001
    username: airgap-push
    password_file: /home/ops/.airgap/secrets/registry-push-password
    ca_file: /home/ops/.airgap/secrets/ca/ca.crt
    locks_dir: /home/ops/.airgap/locks
  check_mode: true
  diff: true
"""

RETURN = r"""
deleted:
  description: The manifests that were deleted. In check mode, that would be.
  returned: success
  type: list
  elements: dict
  contains:
    repository:
      description: Where it lay, with the registry.
      type: str
    digest:
      description: Its digest.
      type: str
    names:
      description: Tags that stood for it, as the bundles set them.
      type: list
      elements: str
spared:
  description: Manifests of earlier bundles that stay although no kept bundle names them, and why.
  returned: success
  type: list
  elements: dict
  contains:
    repository:
      description: Where it lies, with the registry.
      type: str
    digest:
      description: Its digest.
      type: str
    why:
      description: Why it stays.
      type: str
bundles:
  description: How many bundles were kept and how many pruned.
  returned: success
  type: dict
  contains:
    kept:
      description: Bundles that stay.
      type: int
    pruned:
      description: Bundles of which only what others want is left.
      type: int
requests:
  description: Requests to the registry.
  returned: success
  type: int
summary:
  description: The run in one line.
  returned: success
  type: str
  sample: Deleted 4 manifests of 1 earlier bundle; garbage collection frees their room
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.airgap.speech.plugins.module_utils.bundle.lock import LockError
from ansible_collections.airgap.speech.plugins.module_utils.bundle.mirrored import items_of, records
from ansible_collections.airgap.speech.plugins.module_utils.oci.digest import DigestError
from ansible_collections.airgap.speech.plugins.module_utils.oci.options import (
    REGISTRY_OPTIONS,
    REGISTRY_REQUIRED_BY,
    client,
)
from ansible_collections.airgap.speech.plugins.module_utils.oci.prune import plan_prune, prune
from ansible_collections.airgap.speech.plugins.module_utils.oci.reference import ReferenceInvalid
from ansible_collections.airgap.speech.plugins.module_utils.oci.registry import RegistryError


def run(module: AnsibleModule) -> dict[str, Any]:
    """One run of the module."""
    params = module.params
    known = records(params["locks_dir"])
    keep = max(1, params["keep"])
    kept, old = known[-keep:], known[:-keep]
    with client(params) as registry:
        gone = [item for record in old for item in items_of(record.lock)]
        stay = [item for record in kept for item in items_of(record.lock)]
        plan = plan_prune(registry, gone, stay, max(1, params["threads"]))
        if not module.check_mode:
            prune(plan, registry)
            for record in old:
                record.path.unlink()
        place = registry.name
        deleted = [
            {"repository": place(one.repo), "digest": one.digest, "names": list(one.names)} for one in plan.doomed
        ]
        spared = [{"repository": place(one.repo), "digest": one.digest, "why": one.why} for one in plan.spared]
    count, bundles = len(deleted), f"{len(old)} earlier bundle{'' if len(old) == 1 else 's'}"
    verb = "Would delete" if module.check_mode else "Deleted"
    summary = f"{verb} {count} manifest{'' if count == 1 else 's'} of {bundles}; garbage collection frees their room"
    if not count:
        summary = f"Nothing to prune; {len(kept)} bundles are kept"
    lines = "".join(f"{one['repository']}@{one['digest']} {' '.join(one['names'])}".rstrip() + "\n" for one in deleted)
    return {
        "changed": plan.changed,
        "deleted": deleted,
        "spared": spared,
        "bundles": {"kept": len(kept), "pruned": len(old)},
        "requests": registry.requests,
        "summary": summary,
        "diff": {"before": lines, "after": ""},
    }


def main() -> None:
    """Entry of the module."""
    module = AnsibleModule(
        argument_spec={
            **REGISTRY_OPTIONS,
            "locks_dir": {"type": "path", "required": True},
            "keep": {"type": "int", "default": 2},
            "threads": {"type": "int", "default": 2},
        },
        required_by=REGISTRY_REQUIRED_BY,
        supports_check_mode=True,
    )
    try:
        result = run(module)
    except (LockError, DigestError, ReferenceInvalid, RegistryError) as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"{module.params['locks_dir']}: {error}; make it readable and writable for this user")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
