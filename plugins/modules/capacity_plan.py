#!/usr/bin/python
# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: capacity_plan
short_description: Say what to buy or free for releases, before there is a cluster
version_added: "0.1.0"
author:
  - Airgap Speech contributors (@airgap-speech)
description:
  - Puts rendered releases, a file of nodes and the lock of a bundle together into a plan,
    as data and as a text. No cluster is asked.
  - Places the pods of all releases together, as M(airgap.speech.capacity) does. Where they do not fit, it looks for
    the smallest number of further nodes of each pool that helps.
  - Adds the disk that each place needs, from the lock of the bundle.
  - Used by the playbook C(airgap.speech.plan). Never fails because something does not fit.
attributes:
  check_mode:
    description: The module reads only, so check mode is the same as a run.
    support: full
  diff_mode:
    description: Nothing is changed, so there is no difference to show.
    support: none
options:
  releases:
    description:
      - The releases, each with C(platform), C(name), C(namespace) and C(manifest) (what C(helm template) prints).
      - What else is known of it is shown, or used, C(sizes) (what was asked), C(sources) and C(notes)
        (of M(airgap.speech.sizing)), C(own_values) (values that the release itself sets),
        C(values) (of them, C(models.volume) is read) and C(volumes).
    type: list
    elements: dict
    required: true
  nodes_file:
    description:
      - Path of a YAML file with the nodes. Either C(pools), a list of pools with C(name), C(count), C(allocatable),
        C(labels) and C(taints), or objects as C(kubectl get -o yaml) writes them.
    type: path
    required: true
  lock_file:
    description: Path of the lock of a bundle. Without it, disk is not planned.
    type: path
  kubernetes_minor:
    description: Minor version of the Kubernetes that is planned. The newest that is known when left out.
    type: int
  questions:
    description: Questions of M(airgap.speech.capacity) that all have to be answered with V(fits).
    type: list
    elements: str
    choices: [now, autoscaled, rolling_update, lost_nodes, lost_zone, evict]
    default: [now]
  tolerate_nodes:
    description: How many nodes are gone in the question V(lost_nodes).
    type: int
    default: 1
  images_factor:
    description: How many times its size in the registry an image takes on a node, packed and unpacked.
    type: float
    default: 5.4
  models_keep:
    description: Number of earlier versions of a model that stay beside the one in use.
    type: int
    default: 1
requirements:
  - PyYAML
"""

EXAMPLES = r"""
- name: Plan for a cluster that does not exist yet
  airgap.speech.capacity_plan:
    releases:
      - platform: open_speech
        name: speech
        namespace: speech
        manifest: "{{ rendered.stdout }}"
    nodes_file: nodes.yml
    lock_file: /srv/bundle/bundle.lock.json
  register: planned
"""

RETURN = r"""
plan:
  description: The plan.
  returned: success
  type: dict
  contains:
    schema:
      description: Name of this form.
      type: str
      sample: airgap.speech/plan/v1
    ready:
      description: Whether nothing has to be bought or freed.
      type: bool
    steps:
      description: What has to be bought, freed or changed, in words with numbers.
      type: list
      elements: str
      sample: ["add 3 more node(s) of pool cpu (cpu 8, memory 32Gi each)"]
    add:
      description: Ways to make the pods fit with more nodes, each a map of pools to further nodes.
      type: list
      elements: dict
      sample: [{"cpu": 3}]
    releases:
      description: The releases, with their sizes, each sized value with its source, and notes.
      type: list
      elements: dict
    capacity:
      description: What M(airgap.speech.capacity) says of all releases together.
      type: dict
    pools:
      description: For each pool its nodes, those that got a pod, and what is asked of what they have.
      type: list
      elements: dict
    disk:
      description: The room that each place needs, with its parts and the rule of each, in bytes.
      type: list
      elements: dict
    disk_known:
      description: Whether a lock was given.
      type: bool
text:
  description: The plan, to read.
  returned: success
  type: str
  sample: "release speech in namespace speech (open_speech): concurrent_calls 40"
"""

import traceback
from typing import Any, Dict, Mapping

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.airgap.speech.plugins.module_utils.bundle import lock as locks
from ansible_collections.airgap.speech.plugins.module_utils.kube.quantity import QuantityError
from ansible_collections.airgap.speech.plugins.module_utils.kube.questions import QUESTIONS
from ansible_collections.airgap.speech.plugins.module_utils.kube.terms import SpecError
from ansible_collections.airgap.speech.plugins.module_utils.sizing import disk, plan


def run(params: Mapping[str, Any]) -> Dict[str, Any]:
    """Make the plan."""
    path = params["nodes_file"]
    try:
        with open(path, encoding="utf-8") as stream:
            text = stream.read()
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"nodes file {path}: it cannot be read: {error}; give the path of a text file") from None
    made = plan.make(
        [plan.read_release(entry) for entry in params["releases"]],
        plan.read_cluster(text),
        locks.load(params["lock_file"]) if params["lock_file"] else None,
        minor=params["kubernetes_minor"],
        questions=params["questions"],
        tolerate_nodes=params["tolerate_nodes"],
        factor=params["images_factor"],
        keep=params["models_keep"],
    )
    return {"plan": made, "text": plan.describe(made)}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "releases": {"type": "list", "elements": "dict", "required": True},
            "nodes_file": {"type": "path", "required": True},
            "lock_file": {"type": "path"},
            "kubernetes_minor": {"type": "int"},
            "questions": {"type": "list", "elements": "str", "choices": list(QUESTIONS), "default": ["now"]},
            "tolerate_nodes": {"type": "int", "default": 1},
            "images_factor": {"type": "float", "default": disk.IMAGES_FACTOR},
            "models_keep": {"type": "int", "default": 1},
        },
        supports_check_mode=True,
    )
    try:
        result = run(module.params)
    except ImportError as error:
        module.fail_json(msg=missing_required_lib(error.name or "PyYAML"), exception=traceback.format_exc())
    except (SpecError, QuantityError, locks.LockError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
