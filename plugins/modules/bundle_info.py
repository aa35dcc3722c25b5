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
requirements:
  - jmespath >= 1.0 (for O(query))
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
  query:
    description: A JMESPath expression over RV(bundle), whose result is RV(matches).
    type: str
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

- name: Ask for the models, the largest first
  airgap.speech.bundle_info:
    path: /media/bundle
    query: "reverse(sort_by(contents[?kind=='model'], &size))[].{model: reference, bytes: size}"
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
    contents:
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
matches:
  description: What O(query) found; of any type, null where it found nothing.
  returned: with O(query)
  type: raw
  sample: [{"model": "models/whisper-tiny:1.0", "bytes": 78000000}]
expiring:
  description: What has a licence that has ended or ends within O(within_days).
  returned: success
  type: list
  elements: str
  sample: [deepgram]
"""

import traceback
from datetime import datetime, timezone
from typing import Any

try:
    import jmespath
except ImportError:
    jmespath = None
    HAS_JMESPATH = False
    JMESPATH_ERROR = traceback.format_exc()
else:
    HAS_JMESPATH = True
    JMESPATH_ERROR = ""

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.airgap.speech.plugins.module_utils.bundle.info import lines_of, look
from ansible_collections.airgap.speech.plugins.module_utils.bundle.lock import LockError
from ansible_collections.airgap.speech.plugins.module_utils.bundle.parts import PartsError, open_bundle
from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import LayoutError


def compiled(module: AnsibleModule, query: str) -> Any:
    """The JMESPath expression; an end of the module where it, or the library, is wrong."""
    if not HAS_JMESPATH:
        module.fail_json(msg=missing_required_lib("jmespath", reason="for query"), exception=JMESPATH_ERROR)
    try:
        return jmespath.compile(query)
    except jmespath.exceptions.JMESPathError as error:
        module.fail_json(msg=f"query {query}: {' '.join(str(error).split())}; see jmespath.org for the language")


def main() -> None:
    """Entry of the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "list", "elements": "path", "required": True},
            "reference": {"type": "str", "default": ""},
            "query": {"type": "str"},
            "within_days": {"type": "int", "default": 90},
        },
        supports_check_mode=True,
    )
    params = module.params
    expression = compiled(module, params["query"]) if params["query"] else None
    try:
        info = look(open_bundle(params["path"]), datetime.now(timezone.utc).date())
    except (LayoutError, LockError, PartsError) as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"bundle {', '.join(params['path'])}: {error}; make it readable for this user")
    due = [
        item.thing for item in info.licences if item.days_left is not None and item.days_left <= params["within_days"]
    ]
    data = info.data()
    result: dict[str, Any] = {"bundle": data, "expiring": due}
    if expression is not None:
        try:
            result["matches"] = expression.search(data)
        except jmespath.exceptions.JMESPathError as error:
            module.fail_json(msg=f"query {params['query']}: {error}; look at the bundle's data for names and types")
    module.exit_json(changed=False, text=lines_of(info, params["reference"], params["within_days"]), **result)


if __name__ == "__main__":
    main()
