#!/usr/bin/python
# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bundle_info
version_added: "0.1.0"
short_description: Say what is in a bundle, how large, why, and which licences end
description:
  - Reads the lock, the manifests and the bill of materials of a bundle, whole or in parts, and answers in text and
    data.
  - Needs no cluster and no registry. Verifies nothing, M(airgap.speech.bundle_verify) does.
author:
  - Airgap Speech contributors (@airgap-speech)
attributes:
  check_mode:
    support: full
    description: Only reads, so it does the same in check mode.
  diff_mode:
    support: none
    description: Changes nothing, so there is no difference to show.
options:
  path:
    description: The directory of the bundle, or each directory that holds parts of it. Any one part will do.
    type: list
    elements: path
    required: true
  reference:
    description: Says in RV(text) why each image, chart or model is there whose reference has this text in it.
    type: str
    default: ""
  within_days:
    description: A licence that ends within so many days is called due.
    type: int
    default: 90
"""

EXAMPLES = r"""
- name: Look into the bundle
  airgap.speech.bundle_info:
    path: /media/bundle
  register: bundle

- name: Show it
  ansible.builtin.debug:
    var: bundle.text

- name: Ask why an image is there
  airgap.speech.bundle_info:
    path: /media/bundle
    reference: nvidia/driver
"""

RETURN = r"""
text:
  description: The answers for people, a line each.
  returned: success
  type: list
  elements: str
  sample: ["bundle of 2026-11-21T12:00:00Z, airgap.speech 0.1.0, 774.7 MiB"]
bundle:
  description: The answers as data.
  returned: success
  type: dict
  contains:
    created:
      description: When the bundle was made, in UTC.
      type: str
    collection_version:
      description: The version of this collection that made it.
      type: str
    releases:
      description: What it was made for.
      type: list
      elements: str
    size:
      description: Bytes of the bundle.
      type: int
    kinds:
      description: For each kind how many there are, and their bytes. What items share is counted once.
      type: list
      elements: dict
    items:
      description: The images, charts and models, with digest, size, own size, platforms and reasons.
      type: list
      elements: dict
    omitted:
      description: How many blobs are left out, since the site has them.
      type: int
    omitted_size:
      description: The bytes of these blobs.
      type: int
    licences:
      description: Licences of models and platforms, with the days that are left where one ends.
      type: list
      elements: dict
    licences_known:
      description: Whether the bill of materials is in the bundle and at hand.
      type: bool
    parts:
      description: The parts with size, and whether each is at hand. Empty where the bundle is whole.
      type: list
      elements: dict
expiring:
  description: What has a licence that has ended or ends within O(within_days).
  returned: success
  type: list
  elements: str
  sample: [deepgram]
"""

from datetime import datetime, timezone

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.airgap.speech.plugins.module_utils.bundle.info import lines_of, look
from ansible_collections.airgap.speech.plugins.module_utils.bundle.lock import LockError
from ansible_collections.airgap.speech.plugins.module_utils.bundle.parts import PartsError, open_bundle
from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import LayoutError


def main() -> None:
    """Entry of the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "list", "elements": "path", "required": True},
            "reference": {"type": "str", "default": ""},
            "within_days": {"type": "int", "default": 90},
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        info = look(open_bundle(params["path"]), datetime.now(timezone.utc).date())
    except (LayoutError, LockError, PartsError) as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"bundle {', '.join(params['path'])}: {error}; make it readable for this user")
    due = [
        item.thing for item in info.licences if item.days_left is not None and item.days_left <= params["within_days"]
    ]
    module.exit_json(
        changed=False,
        text=lines_of(info, params["reference"], params["within_days"]),
        bundle=info.data(),
        expiring=due,
    )


if __name__ == "__main__":
    main()
