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
  - Digests never change. Where the bundle carries only some platforms of an index, the registry has to take an index
    without all of its platforms (C(validation.manifests.indexes.platforms=none) in the distribution registry).
author:
  - Airgap Speech contributors (@airgap-speech)
extends_documentation_fragment:
  - airgap.speech.registry
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
      - Directory of the bundle. It is expected to be verified.
    type: path
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
      description: V(present) where the tag was right, V(pushed) where it was pushed (in check mode, would be).
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

import os
import time
from typing import Any, Optional

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.airgap.speech.plugins.module_utils.bundle.lock import LockError, load
from ansible_collections.airgap.speech.plugins.module_utils.oci.digest import DigestError
from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import Layout, LayoutError
from ansible_collections.airgap.speech.plugins.module_utils.oci.reference import Reference, ReferenceInvalid
from ansible_collections.airgap.speech.plugins.module_utils.oci.registry import (
    Registry,
    RegistryError,
    connect,
    human_bytes,
)
from ansible_collections.airgap.speech.plugins.module_utils.oci.transfer import (
    Plan,
    Progress,
    PushItem,
    PushResult,
    TransferError,
    plan_push,
    push,
)


def items_of(bundle: str, kinds: list[str]) -> list[PushItem]:
    """What the lock of a bundle wants in the registry."""
    lock = load(bundle)
    items: list[PushItem] = []
    if "images" in kinds:
        for image in lock.images:
            # The host of the registry is known to the client; here only the path inside counts.
            inside = Reference.parse(image.reference).inside("registry")
            items.append(PushItem(image.digest, inside.repository, inside.tag, image.reference, tuple(image.platforms)))
    for kind, entries in (("charts", lock.charts), ("models", lock.models)):
        if kind in kinds:
            items.extend(
                PushItem(entry.digest, f"{kind}/{entry.name}", entry.version.replace("+", "_"), entry.reference)
                for entry in entries
            )
    return items


def inside_name(registry: str, item: PushItem) -> str:
    """How an item is called inside."""
    separator = ":" if item.tag else "@"
    return f"{registry}/{item.repo}{separator}{item.ref}"


def plan_for(module: AnsibleModule, layout: Layout, items: list[PushItem]) -> tuple[Plan, Optional[Registry]]:
    """The plan, and the registry to carry it out; no registry where an absent one counts as empty."""
    params = module.params
    threads = max(1, params["threads"])
    try:
        registry = connect(
            params["registry"],
            username=params["username"],
            password_file=params["password_file"],
            ca_file=params["ca_file"],
            plain_http=params["plain_http"],
        )
        return plan_push(layout, items, registry, threads), registry
    except RegistryError as error:
        if not (module.check_mode and params["absent_registry_ok"] and error.not_set_up):
            raise
    return plan_push(layout, items, None, threads), None


def carry_out(module: AnsibleModule, plan: Plan, registry: Registry) -> PushResult:
    """Do what the plan says, with progress where a file for it is named."""
    threads = max(1, module.params["threads"])
    path = module.params["progress_file"]
    if not path:
        return push(plan, registry, threads)
    with open(path, "w", encoding="utf-8") as stream:
        return push(plan, registry, threads, Progress.to_stream("mirror", plan.bytes, stream))


def summary_of(plan: Plan, done: PushResult, seconds: float, check: bool) -> str:
    """The run in one line."""
    there = len(plan.images) - plan.pending
    if not plan.changed:
        return f"All {there} items already there"
    amount = f"{plan.pending} items, {human_bytes(done.bytes_sent)} ({done.bytes_sent} bytes)"
    head = f"Would mirror {amount}" if check else f"Mirrored {amount} in {seconds:.1f} s"
    return f"{head}, {there} already there"


def mirror(module: AnsibleModule) -> dict[str, Any]:
    """One run of the module."""
    started = time.monotonic()
    params = module.params
    layout = Layout(os.path.join(params["bundle"], "oci"))
    plan, registry = plan_for(module, layout, items_of(params["bundle"], params["items"]))
    if module.check_mode or registry is None or not plan.changed:
        done = PushResult(
            bytes_sent=plan.bytes,
            blobs_sent=plan.blobs,
            blobs_mounted=len(plan.mounts),
            blobs_skipped=plan.skipped,
        )
    else:
        done = carry_out(module, plan, registry)
    before, after, images = [], [], []
    for image in plan.images:
        name = inside_name(params["registry"], image.item)
        images.append({"reference": name, "digest": image.item.digest, "status": image.status})
        after.append(f"{name} {image.item.digest}")
        if image.before is not None:
            before.append(f"{name} {image.before}")
    if registry is not None:
        registry.close()
    seconds = round(time.monotonic() - started, 3)
    return {
        "changed": plan.changed,
        "images": images,
        "plan": {"images": plan.pending, "blobs": plan.blobs, "bytes": plan.bytes},
        "bytes_sent": done.bytes_sent,
        "bytes_resent": done.bytes_resent,
        "blobs_sent": done.blobs_sent,
        "blobs_mounted": done.blobs_mounted,
        "blobs_skipped": done.blobs_skipped,
        "requests": registry.requests if registry is not None else 0,
        "seconds": seconds,
        "summary": summary_of(plan, done, seconds, module.check_mode),
        "registry_absent": registry is None,
        "diff": {"before": "".join(f"{line}\n" for line in before), "after": "".join(f"{line}\n" for line in after)},
    }


def main() -> None:
    """Entry of the module."""
    module = AnsibleModule(
        argument_spec={
            "bundle": {"type": "path", "required": True},
            "registry": {"type": "str", "required": True},
            "username": {"type": "str"},
            "password_file": {"type": "path", "no_log": False},
            "ca_file": {"type": "path"},
            "plain_http": {"type": "bool", "default": False},
            "items": {
                "type": "list",
                "elements": "str",
                "choices": ["images", "charts", "models"],
                "default": ["images", "charts", "models"],
            },
            "threads": {"type": "int", "default": 2},
            "absent_registry_ok": {"type": "bool", "default": False},
            "progress_file": {"type": "path"},
        },
        required_by={"password_file": "username"},
        supports_check_mode=True,
    )
    try:
        result = mirror(module)
    except (LockError, LayoutError, DigestError, ReferenceInvalid, RegistryError, TransferError) as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"bundle {module.params['bundle']}: {error}; make it readable for this user")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
