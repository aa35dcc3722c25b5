#!/usr/bin/python
# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: node_images_plan
version_added: "0.1.0"
short_description: Say which images of a release each node needs
description:
  - Reads the pods of rendered releases and the nodes of a cluster. A node needs the images of every pod that its labels
    and taints let run there, whether there is room or not. A node that is cordoned or not ready counts too.
  - Changes nothing.
requirements:
  - PyYAML
author:
  - Airgap Speech contributors (@airgap-speech)
attributes:
  check_mode:
    description: Looks in check mode as it does otherwise.
    support: full
  diff_mode:
    description: Changes nothing, so there is no difference to show.
    support: none
extends_documentation_fragment:
  - airgap.speech.cluster
notes:
  - The user of O(kubeconfig) needs to list nodes.
options:
  releases:
    description: The releases.
    type: list
    elements: dict
    required: true
    suboptions:
      namespace:
        description: Namespace of the release.
        type: str
        required: true
      manifest:
        description: The rendered release.
        type: str
        required: true
"""

EXAMPLES = r"""
- name: Find out what each node needs
  airgap.speech.node_images_plan:
    kubeconfig: ~/.kube/config
    releases:
      - {namespace: speech, manifest: "{{ rendered.stdout }}"}
  register: wanted
"""

RETURN = r"""
nodes:
  description: Images by the name of the node, each with its host and tag or digest.
  returned: success
  type: dict
  sample: {worker-1: ["docker.io/library/python:3.11-slim"], control-plane: []}
"""

import traceback

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.airgap.speech.plugins.module_utils.kube.api import CLUSTER_OPTIONS, getter
from ansible_collections.airgap.speech.plugins.module_utils.kube.pods import load_documents
from ansible_collections.airgap.speech.plugins.module_utils.kube.snapshot import ApiError, ForbiddenError, list_all
from ansible_collections.airgap.speech.plugins.module_utils.runtime.prepull import plan


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **CLUSTER_OPTIONS,
            "releases": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "namespace": {"type": "str", "required": True},
                    "manifest": {"type": "str", "required": True},
                },
            },
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        get = getter("node_images_plan", params["kubeconfig"], params["context"])
        nodes = list(list_all(get, "/api/v1/nodes"))
        releases = [(release["namespace"], load_documents(release["manifest"])) for release in params["releases"]]
        module.exit_json(changed=False, nodes=plan(releases, nodes))
    except ImportError as err:
        module.fail_json(msg=missing_required_lib(str(err.name)), exception=traceback.format_exc())
    except ForbiddenError as err:
        module.fail_json(
            msg=f"node_images_plan: {params['kubeconfig']} may not read {err}; give it the right to list nodes"
        )
    except (ApiError, ValueError) as err:
        module.fail_json(msg=str(err))


if __name__ == "__main__":
    main()
