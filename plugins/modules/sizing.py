#!/usr/bin/python
# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: sizing
short_description: Turn concurrent calls into the values of a chart
version_added: "0.1.0"
author:
  - Airgap Speech contributors (@airgap-speech)
description:
  - Reads C(sizing.yml) of a platform's profile, and answers with values (replicas, requests, GPUs) for a size,
    each with the source of its number.
  - Between the rows of a table the upper row serves. A size that the file does not cover is an error or a note,
    as the file says, and never drawn on in silence.
  - The role P(airgap.speech.speech_platform#role) uses it for a release that names a size.
attributes:
  check_mode:
    description: The module reads only, so check mode is the same as a run.
    support: full
  diff_mode:
    description: Nothing is changed, so there is no difference to show.
    support: none
options:
  path:
    description: Path of the profile's C(sizing.yml).
    type: path
    required: true
  concurrent_calls:
    description: Calls at the same moment.
    type: float
  channels:
    description: Audio channels at the same moment.
    type: float
  requests_per_second:
    description: Requests that begin in a second.
    type: float
requirements:
  - PyYAML
"""

EXAMPLES = r"""
- name: Find the values for 40 calls
  airgap.speech.sizing:
    path: profiles/open_speech/sizing.yml
    concurrent_calls: 40
  register: sized
"""

RETURN = r"""
chart_values:
  description: Values of the chart. Empty where no size was given.
  returned: success
  type: dict
  sample: {"stt": {"replicas": 14}}
sources:
  description: Where each value comes from.
  returned: success
  type: list
  elements: dict
  contains:
    path:
      description: The path of the value in the chart's values.
      type: str
      sample: stt.replicas
    value:
      description: The value.
      type: raw
      sample: 14
    rule:
      description: The rule of the file that gave it.
      type: str
      sample: transcription
    source:
      description: The source of its number.
      type: str
      sample: "concurrent_calls 40: 3 a replica (make bench-open-speech)"
notes:
  description: What has to be said about the size, such as that it lies between rows or beyond a table.
  returned: success
  type: list
  elements: str
  sample: ["media gateways: concurrent_calls 12 lies between rows: that of 50 is used"]
volumes:
  description: Room that a release of the platform wants beside its images and models.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Its name.
      type: str
      sample: journal
    what:
      description: What is kept there.
      type: str
      sample: records of usage
    bytes:
      description: How much room, in bytes.
      type: int
      sample: 1073741824
    claim:
      description: Name of the persistent volume claim, where the file names one.
      type: str
      sample: journal-billing-0
    source:
      description: The source of the number.
      type: str
      sample: the chart's default
"""

import traceback
from typing import Any, Dict

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.airgap.speech.plugins.module_utils.sizing.profile import INPUTS, SizingError, load, size


def run(params: Dict[str, Any]) -> Dict[str, Any]:
    """Read the file and find the values."""
    path = params["path"]
    try:
        with open(path, encoding="utf-8") as stream:
            text = stream.read()
    except (OSError, UnicodeDecodeError) as error:
        raise SizingError(
            f"{path}: it cannot be read: {error}; give the profile a sizing.yml, or take the size from the release"
        ) from None
    sizing = load(text, path)
    sized = size(sizing, {name: params[name] for name in INPUTS})
    return {
        "chart_values": sized.values,
        "sources": [
            {"path": item.name, "value": item.value, "rule": item.rule, "source": item.source}
            for item in sized.settings
        ],
        "notes": sized.notes,
        "volumes": [
            {
                "name": volume.name,
                "what": volume.what,
                "bytes": volume.size,
                "claim": volume.claim,
                "source": volume.source,
            }
            for volume in sizing.volumes
        ],
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={"path": {"type": "path", "required": True}, **{name: {"type": "float"} for name in INPUTS}},
        supports_check_mode=True,
    )
    try:
        result = run(module.params)
    except ImportError as error:
        module.fail_json(msg=missing_required_lib(error.name or "PyYAML"), exception=traceback.format_exc())
    except SizingError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
