#!/usr/bin/python
# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gpu_preflight
short_description: Say what would stand in the way of GPU drivers, and what the GPU nodes run
version_added: "0.1.0"
author:
  - Airgap Speech contributors (@airgap-speech)
description:
  - Judges each GPU node before anything is changed. Its system and kernel against what there are drivers for, packages
    that are carried for the kernel, secure boot, nouveau, a driver of the host, the container runtime, and the GPU and
    the driver's branch against what platforms need.
  - GPU nodes are the hosts of O(probes), those of O(nodes), and all nodes of the cluster with a label of a GPU.
  - Every failure is told. Changes nothing.
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
  - The user of O(kubeconfig) needs to list nodes.
options:
  vendor:
    description: Whose GPUs they are.
    type: str
    choices: [nvidia, amd]
    default: nvidia
  probes:
    description: What M(airgap.speech.gpu_node_probe) saw, by host of the inventory.
    type: dict
    default: {}
  nodes:
    description: Nodes of the cluster that must have a GPU, and that were not looked at.
    type: list
    elements: str
    default: []
  driver_mode:
    description: How the driver comes onto the nodes, see M(airgap.speech.gpu_operator_chart).
    type: str
    choices: [operator, precompiled, host]
    default: operator
  driver_version:
    description: Version of the driver, or its branch. That of O(chart) when empty.
    type: str
    default: ""
  chart:
    description: The chart of the operator.
    type: path
  containerd_min:
    description: Oldest containerd that will do.
    type: str
    default: "1.7"
  needs:
    description: What platforms need of a GPU, by platform.
    type: dict
    default: {}
  packages:
    description:
      - Files of the package repository that is carried, whose names tell which kernels they are for.
        Left out, the repository is the site's own, and is not looked at.
    type: list
    elements: str
requirements:
  - PyYAML
"""

EXAMPLES = r"""
- name: Judge the GPU nodes
  airgap.speech.gpu_preflight:
    kubeconfig: ~/.kube/config
    probes:
      gpu-1: "{{ hostvars['gpu-1'].probed.probe }}"
    needs:
      deepgram: {compute_capability: "7.0", memory: 15000, driver: 580}
  register: gpus
"""

RETURN = r"""
failures:
  description: What stands in the way, each with the thing, the cause and the next step.
  returned: success
  type: list
  elements: str
passed:
  description: What is well.
  returned: success
  type: list
  elements: str
nodes:
  description: The GPU nodes.
  returned: success
  type: list
  elements: str
systems:
  description: What they run, each system and kernel once, with the nodes and the tag that a driver's image has for it.
  returned: success
  type: list
  elements: dict
  sample: [{"id": "ubuntu", "version": "24.04", "kernel": "6.8.0-45-generic", "nodes": ["gpu-1"], "tag": "ubuntu24.04"}]
message:
  description: The failures as a text for people; empty where there is none.
  returned: success
  type: str
"""

import traceback
from typing import Any, Dict, Mapping

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.airgap.speech.plugins.module_utils.discovery.charts import read_chart
from ansible_collections.airgap.speech.plugins.module_utils.discovery.render import RenderFailed
from ansible_collections.airgap.speech.plugins.module_utils.gpu import preflight
from ansible_collections.airgap.speech.plugins.module_utils.kube.api import CLUSTER_OPTIONS, getter
from ansible_collections.airgap.speech.plugins.module_utils.kube.snapshot import ApiError, ForbiddenError, Get, list_all


class NeedsError(ValueError):
    """What a platform needs is not written as it should be."""


def need_of(platform: str, given: Mapping[str, Any]) -> preflight.Need:
    """One entry of the argument. Raises NeedsError."""
    unknown = sorted(set(given) - {"compute_capability", "memory", "driver"})
    memory, driver = str(given.get("memory") or 0), str(given.get("driver") or 0)
    if unknown or not memory.isdigit() or not preflight.numbers(driver):
        raise NeedsError(
            f"needs of {platform}: {dict(given)} is not understood; give compute_capability (7.0), memory (in MiB) and"
            " driver (the branch)"
        )
    compute = preflight.numbers(str(given.get("compute_capability") or ""))
    return preflight.Need(platform, compute, int(memory), preflight.numbers(driver)[0])


def look(get: Get, params: Mapping[str, Any]) -> Dict[str, Any]:
    """Read the cluster and judge. Raises ApiError, RenderFailed, NeedsError."""
    version = params["driver_version"]
    if not version and params["chart"]:
        version = str((read_chart(params["chart"]).values.get("driver") or {}).get("version") or "")
    asked = preflight.Asked(
        vendor=params["vendor"],
        driver_mode=params["driver_mode"],
        driver_version=version,
        containerd_min=preflight.numbers(params["containerd_min"]),
        needs=tuple(need_of(name, given or {}) for name, given in sorted(params["needs"].items())),
        packages=None if params["packages"] is None else tuple(params["packages"]),
    )
    try:
        nodes = list(list_all(get, "/api/v1/nodes"))
    except ForbiddenError:
        raise ApiError(
            "cluster: it does not let this user list nodes; give the user of the kubeconfig that right in a ClusterRole"
        ) from None
    result = preflight.check(asked, nodes, params["probes"], params["nodes"])
    failures = [str(failure) for failure in result.findings.failures]
    return {
        "failures": failures,
        "passed": result.findings.passed,
        "nodes": result.nodes,
        "systems": [
            {
                "id": system.id,
                "version": system.version,
                "kernel": system.kernel,
                "nodes": list(system.nodes),
                "tag": system.tag,
            }
            for system in result.systems
        ],
        "message": "\n".join(f"{number}. {failure}" for number, failure in enumerate(failures, 1)),
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **CLUSTER_OPTIONS,
            "vendor": {"type": "str", "choices": ["nvidia", "amd"], "default": "nvidia"},
            "probes": {"type": "dict", "default": {}},
            "nodes": {"type": "list", "elements": "str", "default": []},
            "driver_mode": {"type": "str", "choices": ["operator", "precompiled", "host"], "default": "operator"},
            "driver_version": {"type": "str", "default": ""},
            "chart": {"type": "path"},
            "containerd_min": {"type": "str", "default": "1.7"},
            "needs": {"type": "dict", "default": {}},
            "packages": {"type": "list", "elements": "str"},
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        result = look(getter("cluster", params["kubeconfig"], params["context"]), params)
    except ImportError as error:
        module.fail_json(msg=missing_required_lib(error.name or "kubernetes"), exception=traceback.format_exc())
    except (ApiError, RenderFailed, NeedsError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
