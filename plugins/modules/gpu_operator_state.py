#!/usr/bin/python
# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gpu_operator_state
short_description: Say whether the GPUs of a cluster can be used, whatever their operator says
version_added: "0.1.0"
author:
  - Airgap Speech contributors (@airgap-speech)
description:
  - NVIDIA's operator calls its ClusterPolicy ready also where node feature discovery has labelled no node, and where no
    node has a GPU. So the reason of its condition has to be C(Reconciled), the GPUs that can be asked for have to be as
    many as the labels of GPU feature discovery say, and the operator's own validation has to be done on each node.
  - Of AMD's operator, the numbers of its DeviceConfig and of each node.
  - Asks once; repeat it until RV(ready). Changes nothing.
attributes:
  check_mode:
    description: The module reads only, so check mode is the same as a run.
    support: full
  diff_mode:
    description: Nothing is changed, so there is no difference to show.
    support: none
extends_documentation_fragment:
  - airgap.speech.cluster
notes:
  - The user of O(kubeconfig) needs to list nodes, the operator's resources and its pods.
options:
  vendor:
    description: Whose operator it is.
    type: str
    choices: [nvidia, amd]
    default: nvidia
  namespace:
    description: Namespace of the operator.
    type: str
    default: gpu-operator
  expected_nodes:
    description: Nodes that must have a GPU.
    type: list
    elements: str
    default: []
  driver_version:
    description: Version of NVIDIA's driver, or its branch, that must run on the nodes. Any when empty.
    type: str
    default: ""
  images:
    description:
      - References of the release that was deployed. A pod that runs another tag of one of them is of the release
        before, and the operator has not replaced it yet.
    type: list
    elements: str
    default: []
  replicas:
    description:
      - How many pods share each GPU that is not divided, as the labels of GPU feature discovery have to say. Of a node
        with the label C(nvidia.com/device-plugin.config) any number will do. V(0) for any number on all nodes.
    type: int
    default: 0
"""

EXAMPLES = r"""
- name: Wait until the GPUs can be used
  airgap.speech.gpu_operator_state:
    kubeconfig: ~/.kube/config
    expected_nodes: "{{ groups['gpu_nodes'] }}"
  register: gpus
  until: gpus.ready
  retries: 90
  delay: 10
"""

RETURN = r"""
ready:
  description: Whether nothing stands against it.
  returned: success
  type: bool
failures:
  description: What is wrong, each with the thing, the cause and the next step.
  returned: success
  type: list
  elements: str
  sample: ["node g1: nvidia.com/gpu: its labels say 2 and 1 can be asked for; look at the log of ..."]
passed:
  description: What is well.
  returned: success
  type: list
  elements: str
nodes:
  description: The nodes with GPUs, with product and the resources that can be asked for.
  returned: success
  type: list
  elements: dict
  sample: [{"name": "g1", "product": "Tesla-T4", "gpus": {"nvidia.com/gpu": 2}}]
message:
  description: The failures as a text for people; empty where there is none.
  returned: success
  type: str
"""

import traceback
from typing import Any, Dict, List, Mapping, Optional

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.airgap.speech.plugins.module_utils.gpu.state import judge
from ansible_collections.airgap.speech.plugins.module_utils.kube.api import CLUSTER_OPTIONS, getter
from ansible_collections.airgap.speech.plugins.module_utils.kube.snapshot import ApiError, ForbiddenError, Get, list_all

KINDS = {
    "nvidia": ("nvidia.com", "v1", "clusterpolicies"),
    "amd": ("amd.com", "v1alpha1", "deviceconfigs"),
}


def resources(get: Get, vendor: str) -> Optional[List[Mapping[str, Any]]]:
    """The operator's resources; None where the cluster does not know their kind."""
    group, version, plural = KINDS[vendor]
    groups = get("/apis", {}).get("groups") or []
    known = [item for item in groups if item.get("name") == group]
    if not any(item.get("version") == version for entry in known for item in entry.get("versions") or []):
        return None
    names = [item.get("name") for item in get(f"/apis/{group}/{version}", {}).get("resources") or []]
    return list(list_all(get, f"/apis/{group}/{version}/{plural}")) if plural in names else None


def look(get: Get, params: Mapping[str, Any]) -> Dict[str, Any]:
    """Read the cluster and judge. Raises ApiError."""
    vendor, namespace = params["vendor"], params["namespace"]
    try:
        state = judge(
            vendor,
            resources(get, vendor),
            list(list_all(get, "/api/v1/nodes")),
            list(list_all(get, f"/api/v1/namespaces/{namespace}/pods")),
            params["expected_nodes"],
            params["driver_version"],
            params["images"],
            params["replicas"],
        )
    except ForbiddenError as error:
        raise ApiError(
            f"cluster: it does not let this user read {error}; give the user of the kubeconfig the verb list on it,"
            " in a ClusterRole or Role, and run again"
        ) from None
    return {
        "ready": state.ready,
        "failures": [str(failure) for failure in state.failures],
        "passed": state.passed,
        "nodes": state.nodes,
        "message": "\n".join(f"{number}. {failure}" for number, failure in enumerate(state.failures, 1)),
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **CLUSTER_OPTIONS,
            "vendor": {"type": "str", "choices": ["nvidia", "amd"], "default": "nvidia"},
            "namespace": {"type": "str", "default": "gpu-operator"},
            "expected_nodes": {"type": "list", "elements": "str", "default": []},
            "driver_version": {"type": "str", "default": ""},
            "images": {"type": "list", "elements": "str", "default": []},
            "replicas": {"type": "int", "default": 0},
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        result = look(getter("cluster", params["kubeconfig"], params["context"]), params)
    except ImportError as error:
        module.fail_json(msg=missing_required_lib(error.name or "kubernetes"), exception=traceback.format_exc())
    except ApiError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
