#!/usr/bin/python
# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: image_mirror
short_description: Push the images, charts and models of a bundle into the private registry
version_added: "0.1.0"
description:
  - Reads the lock of a bundle and brings the registry to what it says, in one call for all items.
  - Plans over all items first. One request is made for a tag that is right. Of the others each blob is sent once,
    largest first, and mounted into every other repository that needs it. A blob that the registry holds is not sent.
  - All blobs are there before the first tag is set, so that nothing half pushed can be pulled by its tag.
  - The registry verifies the digest of each blob when it takes it. A bundle with a damaged blob is refused by name.
  - An upstream image C(quay.io/a/b:tag) lies at C(<registry>/quay.io/a/b:tag), a chart at C(charts/<name>:<version>)
    and a model at C(models/<name>:<version>).
  - What refers to an image in the bundle (signatures, attestations) goes with it. For a registry without a list of
    referrers of its own, the tag C(sha256-<digest>) holds that list.
  - An upload whose connection is cut, or whose run was killed, goes on at the byte that the registry has.
  - Where the module runs on the controller, C(ansible-playbook) shows bytes, rate and time left while it runs.
  - Digests never change. Where the bundle carries only some platforms of an index, the registry has to take an index
    without all of its platforms (C(validation.manifests.indexes.platforms=none) in the distribution registry).
author:
  - Airgap Speech contributors (@airgap-speech)
extends_documentation_fragment:
  - airgap.speech.registry
seealso:
  - module: airgap.speech.registry_copy
  - module: airgap.speech.registry_prune
attributes:
  check_mode:
    description: Makes the same plan and sends nothing. Images, blobs and bytes are those that would then be sent.
    support: full
  diff_mode:
    description: Shows the references inside with their digests, before and after.
    support: full
options:
  bundle:
    description:
      - Directory of the bundle, or the directories that hold its parts. It is expected to be verified.
      - Where parts are absent, the blobs that are at hand are sent, RV(wanted) names the parts still to bring, and
        the next run with them goes on. Tags are set when all blobs are there.
    type: list
    elements: path
    required: true
  items:
    description:
      - What of the bundle is pushed.
    type: list
    elements: str
    choices: [images, charts, models]
    default: [images, charts, models]
  threads:
    description:
      - How many blobs are sent at once. One stream uses about one core of the registry.
    type: int
    default: 2
  absent_registry_ok:
    description:
      - In check mode, counts a registry as empty that does not answer, or whose CA or password file is not made yet.
      - Has no effect outside of check mode.
    type: bool
    default: false
  move_tags:
    description:
      - Moves a tag that holds something newer than this bundle, or something that no bundle of this site put there.
      - Without it such a tag is refused before anything is sent.
    type: bool
    default: false
  locks_dir:
    description:
      - Directory that keeps the lock of each bundle that was mirrored. A tag may be moved away from what an earlier one
        of them put there, and M(airgap.speech.registry_prune) removes what only they wanted.
      - The lock of this bundle is added when all of it is in the registry.
    type: path
  session_file:
    description:
      - File that keeps which uploads were begun, so that a run that was killed goes on inside a blob, where the
        registry allows it. Without it, a blob that was not finished is sent again from its start.
    type: path
  progress_file:
    description:
      - File that bytes, rate and time left are written to while the module runs, a line each second at most.
    type: path
"""

EXAMPLES = r"""
- name: Mirror the bundle
  airgap.speech.image_mirror:
    bundle: /srv/bundle
    registry: registry.airgap.internal:5001
    username: airgap-push
    password_file: /home/ops/.airgap/secrets/registry-push-password
    ca_file: /home/ops/.airgap/secrets/ca/ca.crt

- name: Mirror a bundle whose parts lie on two drives, and go on where a killed run stopped
  airgap.speech.image_mirror:
    bundle: [/media/disc1, /media/disc2]
    registry: registry.airgap.internal:5001
    username: airgap-push
    password_file: /home/ops/.airgap/secrets/registry-push-password
    ca_file: /home/ops/.airgap/secrets/ca/ca.crt
    session_file: /home/ops/.airgap/mirror-sessions.json
    locks_dir: /home/ops/.airgap/locks

- name: Mirror only the models
  airgap.speech.image_mirror:
    bundle: /srv/bundle
    registry: registry.example.com/speech
    username: airgap-push
    password_file: /home/ops/.airgap/secrets/registry-push-password
    items: [models]
"""

RETURN = r"""
images:
  description: Every item of the lock that was asked for.
  returned: success
  type: list
  elements: dict
  contains:
    reference:
      description: Where it lies inside.
      type: str
    digest:
      description: Its digest.
      type: str
    status:
      description:
        - V(present) where the tag was right, V(pushed) where it was pushed (in check mode, would be), V(waiting)
          where parts of the bundle are still to come.
      type: str
plan:
  description: What the run set out to do. In check mode this is all that is known, and it is exact.
  returned: success
  type: dict
  contains:
    images:
      description: How many images, charts and models are pushed.
      type: int
    blobs:
      description: How many blobs are sent.
      type: int
    bytes:
      description: Bytes of blobs and manifests that are sent.
      type: int
bytes_sent:
  description: Bytes of blobs and manifests that were sent. In check mode, that would be sent.
  returned: success
  type: int
bytes_resent:
  description: Bytes that were lost with cut connections and sent again.
  returned: success
  type: int
blobs_sent:
  description: How many blobs were sent. In check mode, would be.
  returned: success
  type: int
blobs_mounted:
  description: How many times a blob was mounted from one repository into another. In check mode, would be.
  returned: success
  type: int
blobs_skipped:
  description: How many times a blob of a pushed item was in its repository already.
  returned: success
  type: int
requests:
  description: Requests to the registry.
  returned: success
  type: int
seconds:
  description: Time that the work took.
  returned: success
  type: float
wanted:
  description: Parts of the bundle that are still to be brought. Tags are set once there are none.
  returned: success
  type: list
  elements: str
  sample: ["part 3 of 7 (bundle.part003.tar)"]
summary:
  description: The run in one line.
  returned: success
  type: str
  sample: Mirrored 5 items, 312.4 MiB in 14.2 s, 3 already there
registry_absent:
  description: Whether the registry was counted as empty because it is not there yet.
  returned: success
  type: bool
"""

import time
from typing import Any, Optional

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.airgap.speech.plugins.module_utils.bundle.lock import LockError
from ansible_collections.airgap.speech.plugins.module_utils.bundle.mirrored import items_of, movable, records, remember
from ansible_collections.airgap.speech.plugins.module_utils.bundle.parts import Opened, PartsError, open_bundle
from ansible_collections.airgap.speech.plugins.module_utils.oci.digest import DigestError
from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import LayoutError
from ansible_collections.airgap.speech.plugins.module_utils.oci.options import (
    REGISTRY_OPTIONS,
    REGISTRY_REQUIRED_BY,
    client,
)
from ansible_collections.airgap.speech.plugins.module_utils.oci.outcome import outcome
from ansible_collections.airgap.speech.plugins.module_utils.oci.plan import Plan, TransferError, plan_push
from ansible_collections.airgap.speech.plugins.module_utils.oci.reference import ReferenceInvalid
from ansible_collections.airgap.speech.plugins.module_utils.oci.registry import Registry, RegistryError
from ansible_collections.airgap.speech.plugins.module_utils.oci.sessions import Sessions
from ansible_collections.airgap.speech.plugins.module_utils.oci.transfer import PushResult, push_showing


def plan_for(module: AnsibleModule, opened: Opened, sessions: Sessions) -> tuple[Plan, Optional[Registry]]:
    """The plan, and the registry to carry it out; no registry where an absent one counts as empty."""
    params = module.params
    threads = max(1, params["threads"])
    items = items_of(opened.lock, params["items"])
    known = None
    if not params["move_tags"]:
        known = movable(opened.lock, records(params["locks_dir"]) if params["locks_dir"] else ())
    try:
        registry = client(params)
        return plan_push(opened.layout, items, registry, threads, sessions=sessions, known=known), registry
    except RegistryError as error:
        if not (module.check_mode and params["absent_registry_ok"] and error.not_set_up):
            raise
    return plan_push(opened.layout, items, None, threads), None


def mirror(module: AnsibleModule) -> dict[str, Any]:
    """One run of the module."""
    started = time.monotonic()
    params = module.params
    opened = open_bundle(params["bundle"])
    sessions = Sessions(params["session_file"])
    plan, registry = plan_for(module, opened, sessions)
    plan.wanted = tuple(opened.label(name) for name in plan.wanted)
    done: Optional[PushResult] = None
    if not module.check_mode and registry is not None:
        if plan.changed:
            done = push_showing("mirror", params["progress_file"], plan, registry, max(1, params["threads"]), sessions)
        if params["locks_dir"] and not plan.wanted:
            remember(params["locks_dir"], opened.lock_path)
    if registry is not None:
        registry.close()
    requests = registry.requests if registry is not None else 0
    seconds = round(time.monotonic() - started, 3)
    result = outcome(plan, done, params["registry"], requests, seconds, module.check_mode)
    result["registry_absent"] = registry is None
    return result


def main() -> None:
    """Entry of the module."""
    module = AnsibleModule(
        argument_spec={
            "bundle": {"type": "list", "elements": "path", "required": True},
            **REGISTRY_OPTIONS,
            "items": {
                "type": "list",
                "elements": "str",
                "choices": ["images", "charts", "models"],
                "default": ["images", "charts", "models"],
            },
            "threads": {"type": "int", "default": 2},
            "absent_registry_ok": {"type": "bool", "default": False},
            "move_tags": {"type": "bool", "default": False},
            "locks_dir": {"type": "path"},
            "session_file": {"type": "path"},
            "progress_file": {"type": "path"},
        },
        required_by=REGISTRY_REQUIRED_BY,
        supports_check_mode=True,
    )
    try:
        result = mirror(module)
    except (LockError, PartsError, LayoutError, DigestError, ReferenceInvalid, RegistryError, TransferError) as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"bundle {', '.join(module.params['bundle'])}: {error}; make it readable for this user")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
