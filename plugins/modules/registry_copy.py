#!/usr/bin/python
# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: registry_copy
short_description: Copy images from one registry to another, with no bundle between them
version_added: "0.1.0"
description:
  - For a registry in a DMZ, or a second one inside, with the engine of M(airgap.speech.image_mirror). Plans over all
    images first, sends each blob once, mounts it where else it is needed, and sets tags last.
  - Blobs are passed on as they come. Nothing of them is written to a disk, and memory stays flat for any size.
  - Signatures, attestations and other referrers go with their images.
  - Repositories keep their names. Digests never change.
author:
  - Airgap Speech contributors (@airgap-speech)
extends_documentation_fragment:
  - airgap.speech.registry
seealso:
  - module: airgap.speech.image_mirror
attributes:
  check_mode:
    description: Makes the same plan and sends nothing. Images, blobs and bytes are those that would then be sent.
    support: full
  diff_mode:
    description: Shows the references with their digests, before and after.
    support: full
options:
  source:
    description:
      - The registry that is read.
    type: dict
    required: true
    suboptions:
      registry:
        description:
          - Its address as C(host:port), or C(host:port/prefix) where only what lies below a path is read.
        type: str
        required: true
      username:
        description:
          - User of it. Without one nothing is sent as a login.
        type: str
      password_file:
        description:
          - File with the password of that user.
        type: path
      ca_file:
        description:
          - PEM file with the CA that signed its certificate.
        type: path
      plain_http:
        description:
          - Talks to it without TLS.
        type: bool
        default: false
  images:
    description:
      - Repositories of the source with a tag or a digest, as in V(quay.io/a/b:1) or V(models/m@sha256:...).
      - Without it, every tag of every repository that the source lists is copied.
    type: list
    elements: str
    default: []
  referrers:
    description:
      - Copies what refers to an image as well. It costs requests to the source for each image.
    type: bool
    default: true
  threads:
    description:
      - How many blobs are sent at once. One stream uses about one core of the registry.
    type: int
    default: 2
  move_tags:
    description:
      - Moves a tag of the target that stands for something else. Without it such a tag is refused before anything is
        sent.
    type: bool
    default: false
  session_file:
    description:
      - File that keeps which uploads were begun, so that a run that was killed goes on inside a blob.
    type: path
  progress_file:
    description:
      - File that bytes, rate and time left are written to while the module runs, a line each second at most.
    type: path
"""

EXAMPLES = r"""
- name: Copy what the DMZ's registry holds into the one inside
  airgap.speech.registry_copy:
    source:
      registry: registry.dmz.example.com
      ca_file: /etc/airgap/dmz-ca.crt
    registry: registry.airgap.internal:5001
    username: airgap-push
    password_file: /home/ops/.airgap/secrets/registry-push-password
    ca_file: /home/ops/.airgap/secrets/ca/ca.crt

- name: Copy one model
  airgap.speech.registry_copy:
    source:
      registry: registry.dmz.example.com
    images: ["models/whisper-small:2"]
    registry: registry.airgap.internal:5001
    username: airgap-push
    password_file: /home/ops/.airgap/secrets/registry-push-password
    ca_file: /home/ops/.airgap/secrets/ca/ca.crt
"""

RETURN = r"""
images:
  description: Every image that was asked for.
  returned: success
  type: list
  elements: dict
  contains:
    reference:
      description: Where it lies in the target.
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
      description: How many images are pushed.
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
  description: How many times a blob of a pushed image was in its repository already.
  returned: success
  type: int
requests:
  description: Requests to the target.
  returned: success
  type: int
source_requests:
  description: Requests to the source.
  returned: success
  type: int
seconds:
  description: Time that the work took.
  returned: success
  type: float
wanted:
  description: Always empty; it is here so that the result has the form of M(airgap.speech.image_mirror).
  returned: success
  type: list
  elements: str
summary:
  description: The run in one line.
  returned: success
  type: str
  sample: Mirrored 5 items, 312.4 MiB in 14.2 s, 3 already there
"""

import time
from typing import Any, Optional

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.airgap.speech.plugins.module_utils.oci.digest import DigestError
from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import LayoutError
from ansible_collections.airgap.speech.plugins.module_utils.oci.options import (
    REGISTRY_OPTIONS,
    REGISTRY_REQUIRED_BY,
    client,
)
from ansible_collections.airgap.speech.plugins.module_utils.oci.outcome import outcome
from ansible_collections.airgap.speech.plugins.module_utils.oci.plan import TransferError, plan_push
from ansible_collections.airgap.speech.plugins.module_utils.oci.reference import ReferenceInvalid
from ansible_collections.airgap.speech.plugins.module_utils.oci.registry import RegistryError
from ansible_collections.airgap.speech.plugins.module_utils.oci.relay import RegistrySource, items_of_source
from ansible_collections.airgap.speech.plugins.module_utils.oci.sessions import Sessions
from ansible_collections.airgap.speech.plugins.module_utils.oci.transfer import PushResult, push_showing


def copy(module: AnsibleModule) -> dict[str, Any]:
    """One run of the module."""
    started = time.monotonic()
    params = module.params
    threads = max(1, params["threads"])
    sessions = Sessions(params["session_file"])
    with client(params["source"]) as origin, client(params) as registry:
        relay = RegistrySource(origin)
        items = items_of_source(relay, params["images"], params["referrers"], threads)
        known: Optional[dict[str, frozenset[str]]] = None if params["move_tags"] else {}
        plan = plan_push(relay, items, registry, threads, sessions=sessions, known=known)
        done: Optional[PushResult] = None
        if plan.changed and not module.check_mode:
            done = push_showing("copy", params["progress_file"], plan, registry, threads, sessions)
        seconds = round(time.monotonic() - started, 3)
        result = outcome(plan, done, params["registry"], registry.requests, seconds, module.check_mode)
        result["source_requests"] = origin.requests
    return result


def main() -> None:
    """Entry of the module."""
    module = AnsibleModule(
        argument_spec={
            **REGISTRY_OPTIONS,
            "source": {
                "type": "dict",
                "required": True,
                "options": REGISTRY_OPTIONS,
                "required_by": REGISTRY_REQUIRED_BY,
            },
            "images": {"type": "list", "elements": "str", "default": []},
            "referrers": {"type": "bool", "default": True},
            "threads": {"type": "int", "default": 2},
            "move_tags": {"type": "bool", "default": False},
            "session_file": {"type": "path"},
            "progress_file": {"type": "path"},
        },
        required_by=REGISTRY_REQUIRED_BY,
        supports_check_mode=True,
    )
    try:
        result = copy(module)
    except (LayoutError, DigestError, ReferenceInvalid, RegistryError, TransferError) as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"registry_copy: {error}; make the file readable for this user, or name another")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
