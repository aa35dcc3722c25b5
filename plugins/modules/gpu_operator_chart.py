#!/usr/bin/python
# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gpu_operator_chart
short_description: Make a GPU operator's values, render its chart and name every image that the nodes need
version_added: "0.1.0"
author:
  - Airgap Speech contributors (@airgap-speech)
description:
  - The chart's own values say which components there are. Each gets the private registry as its repository, and the
    pull secret in the shape in which that place wants it; the sub-chart of node feature discovery too.
  - The image of the driver is named as the operator will name it, for each system and kernel of O(systems).
  - Asks no cluster, and changes nothing.
attributes:
  check_mode:
    description: The module renders only, so check mode is the same as a run.
    support: full
  diff_mode:
    description: Nothing is changed, so there is no difference to show.
    support: none
options:
  chart:
    description: The chart, a directory or a package.
    type: path
    required: true
  vendor:
    description: Whose operator it is.
    type: str
    choices: [nvidia, amd]
    default: nvidia
  release:
    description: Name of the release.
    type: str
    default: gpu-operator
  namespace:
    description: Namespace of the release.
    type: str
    default: gpu-operator
  helm:
    description: The helm program.
    type: str
    default: helm
  kube_version:
    description: Version of Kubernetes that is rendered for. Helm's own when empty.
    type: str
    default: ""
  systems:
    description:
      - What the GPU nodes run, each with C(id) and C(version) of os-release, C(kernel) (uname -r) and C(nodes).
      - Of several systems, NVIDIA's driver is deployed by a NVIDIADriver, since a ClusterPolicy knows one system only.
    type: list
    elements: dict
    default: []
  registry:
    description: Host and port of the private registry. Empty leaves images where they are.
    type: str
    default: ""
  pull_secret:
    description: Name of the pull secret. Empty for none.
    type: str
    default: ""
  driver_mode:
    description:
      - V(operator) compiles the driver in its container on the node, with packages of the repository of O(repo_config).
      - V(precompiled) has one image for each kernel. V(host) leaves the driver to the host.
    type: str
    choices: [operator, precompiled, host]
    default: operator
  driver_version:
    description: Version of the driver, or its branch where it is precompiled. The chart's when empty.
    type: str
    default: ""
  driver_repository:
    description: Upstream name, without a tag, of the driver's image that the site made for AMD's operator.
    type: str
    default: ""
  repo_config:
    description: ConfigMap with the package repository of the driver's container.
    type: str
    default: ""
  cert_config:
    description: ConfigMap with the CA of that repository.
    type: str
    default: ""
  package_url:
    description: Address of AMD's packages.
    type: str
    default: ""
  package_key_url:
    description: Address of the key that signed AMD's packages.
    type: str
    default: ""
  toolkit:
    description: Whether the operator installs NVIDIA's container toolkit on the nodes.
    type: bool
    default: true
  nfd:
    description: Whether the chart's own node feature discovery is deployed.
    type: bool
    default: true
  service_monitor:
    description: Whether a ServiceMonitor is made, which needs the Prometheus operator.
    type: bool
    default: false
  time_slicing:
    description: How many pods share each GPU in turns. None do when it is below 2.
    type: int
    default: 0
  device_plugin_configs:
    description:
      - Configurations of NVIDIA's device plugin by name, for nodes with the label C(nvidia.com/device-plugin.config).
    type: dict
    default: {}
  device_plugin_default:
    description: The one of them for all other nodes.
    type: str
    default: ""
  mig_strategy:
    description: How divided GPUs are offered.
    type: str
    choices: [none, single, mixed]
    default: single
  mig_default:
    description: The division of nodes without the label C(nvidia.com/mig.config).
    type: str
    default: all-disabled
  mig_configs:
    description: Divisions by name, beside those that the operator makes from the hardware.
    type: dict
    default: {}
  values:
    description: Values of the site, laid over all others.
    type: dict
    default: {}
  image_rules:
    description: Files of rules for images that operators name in their code.
    type: list
    elements: path
    default: []
requirements:
  - PyYAML
  - helm
"""

EXAMPLES = r"""
- name: Make the values
  airgap.speech.gpu_operator_chart:
    chart: /srv/charts/gpu-operator-v26.7.0.tgz
    registry: registry.airgap.internal:5000
    pull_secret: airgap-registry
    systems:
      - {id: ubuntu, version: "24.04", kernel: 6.8.0-45-generic, nodes: [gpu-1]}
  register: operator
"""

RETURN = r"""
chart_values:
  description: The chart's values.
  returned: success
  type: dict
manifest:
  description: The rendered release.
  returned: success
  type: str
crds:
  description: The CRDs that the chart and its sub-charts bring, which helm does not upgrade.
  returned: success
  type: list
  elements: dict
images:
  description: The images that are needed, by upstream reference, each with one place that names it.
  returned: success
  type: dict
  sample:
    nvcr.io/nvidia/driver:595.91.07-ubuntu24.04: ClusterPolicy cluster-policy spec.driver
image_variables:
  description: What the rules of image names know of the systems; for M(airgap.speech.closure).
  returned: success
  type: dict
  sample: {node_os: [ubuntu24.04], node_kernel_os: [6.8.0-45-generic-ubuntu24.04]}
references:
  description: The images that are needed, as the release names them.
  returned: success
  type: list
  elements: str
outside:
  description: Images that still name a registry outside, with the place. Always empty where O(registry) is.
  returned: success
  type: list
  elements: str
undecided:
  description: Texts that may name an image, and of which nothing can tell.
  returned: success
  type: list
  elements: str
validator_image:
  description: Image of NVIDIA's operator, which brings CUDA's program vectorAdd. Empty for AMD.
  returned: success
  type: str
version:
  description: Version of the chart.
  returned: success
  type: str
"""

import json
import traceback
from dataclasses import fields
from typing import Any, Dict, List, Mapping, Optional

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.airgap.speech.plugins.module_utils.discovery.rules import RulesInvalid
from ansible_collections.airgap.speech.plugins.module_utils.gpu.systems import System
from ansible_collections.airgap.speech.plugins.module_utils.gpu.values import (
    DRIVER_MODES,
    MIG_STRATEGIES,
    Site,
    ValuesError,
    make,
)

try:
    import yaml

    from ansible_collections.airgap.speech.plugins.module_utils.discovery.charts import read_chart
    from ansible_collections.airgap.speech.plugins.module_utils.discovery.images import load_documents
    from ansible_collections.airgap.speech.plugins.module_utils.discovery.render import RenderFailed
    from ansible_collections.airgap.speech.plugins.module_utils.gpu.images import needed_images, variables_of
except ImportError:
    YAML_ERROR = traceback.format_exc()
else:
    YAML_ERROR = ""


def systems_of(items: List[Mapping[str, Any]]) -> List[System]:
    """The systems of the argument. Raises ValuesError."""
    found = []
    for item in items:
        if not item.get("id") or not item.get("version"):
            raise ValuesError(
                f"systems: {dict(item)} has no id or version of a system; give both, as os-release has them"
            )
        nodes = tuple(str(name) for name in item.get("nodes") or [])
        found.append(System(str(item["id"]), str(item["version"]), str(item.get("kernel") or ""), nodes))
    return found


def helm(module: AnsibleModule, arguments: List[str], values: Optional[Mapping[str, Any]] = None) -> str:
    """What helm prints. Values pass through standard input. Raises ValuesError."""
    # A command that reads no input may be gone before it is written.
    data = None if values is None else json.dumps(values)
    rc, out, err = module.run_command([module.params["helm"], *arguments], data=data)
    if rc != 0:
        raise ValuesError(
            f"chart {module.params['chart']}: helm could not render it: {' '.join(err.split())}; "
            "correct the values, or the chart"
        )
    return str(out)


def render(module: AnsibleModule) -> Dict[str, Any]:
    """All that the module returns. Raises ValuesError, RenderFailed, RulesInvalid."""
    params = module.params
    systems = systems_of(params["systems"])
    given = {item.name: params[item.name] for item in fields(Site) if item.name in params and item.name != "systems"}
    site = Site(**given, systems=tuple(sorted({system.tag for system in systems})))
    package = read_chart(params["chart"])
    subcharts = {part.name: part.values for part in package.subcharts}
    values = make(params["vendor"], site, package.values, subcharts, params["values"]).tree
    arguments = ["template", params["release"], params["chart"], f"--namespace={params['namespace']}", "--values=-"]
    if params["kube_version"]:
        arguments.append(f"--kube-version={params['kube_version']}")
    manifest = helm(module, arguments, values)
    crds = [item for item in yaml.safe_load_all(helm(module, ["show", "crds", params["chart"]])) if item]
    rules = {}
    for path in params["image_rules"]:
        with open(path, encoding="utf-8") as handle:
            rules[path] = handle.read()
    # Without a node, the images of the components are known, and no driver's.
    images = needed_images(load_documents(manifest), systems or [System("", "", "")], rules, params["registry"])
    needed = {name: place for name, place in images.needed.items() if systems or "/driver:" not in name}
    policies = [item for item in load_documents(manifest) if item.get("kind") == "ClusterPolicy"]
    validator = (policies[0].get("spec") or {}).get("validator") or {} if policies else {}
    return {
        "chart_values": values,
        "manifest": manifest,
        "crds": crds,
        "images": needed,
        "image_variables": variables_of(systems),
        "references": images.references,
        "outside": images.outside,
        "undecided": images.undecided,
        "validator_image": "{repository}/{image}:{version}".format(**validator) if validator else "",
        "version": str(package.metadata.get("version") or ""),
    }


def main() -> None:
    texts = [
        "kube_version",
        "registry",
        "driver_version",
        "driver_repository",
        "repo_config",
        "cert_config",
    ]
    texts += ["package_url", "device_plugin_default"]
    module = AnsibleModule(
        argument_spec={
            "chart": {"type": "path", "required": True},
            "vendor": {"type": "str", "choices": ["nvidia", "amd"], "default": "nvidia"},
            "release": {"type": "str", "default": "gpu-operator"},
            "namespace": {"type": "str", "default": "gpu-operator"},
            "helm": {"type": "str", "default": "helm"},
            "systems": {"type": "list", "elements": "dict", "default": []},
            "driver_mode": {"type": "str", "choices": list(DRIVER_MODES), "default": "operator"},
            # Names and addresses, and no secrets.
            "pull_secret": {"type": "str", "default": "", "no_log": False},
            "package_key_url": {"type": "str", "default": "", "no_log": False},
            "toolkit": {"type": "bool", "default": True},
            "nfd": {"type": "bool", "default": True},
            "service_monitor": {"type": "bool", "default": False},
            "time_slicing": {"type": "int", "default": 0},
            "device_plugin_configs": {"type": "dict", "default": {}},
            "mig_strategy": {"type": "str", "choices": list(MIG_STRATEGIES), "default": "single"},
            "mig_default": {"type": "str", "default": "all-disabled"},
            "mig_configs": {"type": "dict", "default": {}},
            "values": {"type": "dict", "default": {}},
            "image_rules": {"type": "list", "elements": "path", "default": []},
            **{name: {"type": "str", "default": ""} for name in texts},
        },
        supports_check_mode=True,
    )
    if YAML_ERROR:
        module.fail_json(msg=missing_required_lib("PyYAML"), exception=YAML_ERROR)
    try:
        result = render(module)
    except (ValuesError, RenderFailed, RulesInvalid) as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"{error.filename}: {error.strerror}; name a file that can be read")
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
