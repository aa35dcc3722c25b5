#!/usr/bin/python
# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: capacity
short_description: Say whether the pods of a manifest would be placed by the Kubernetes scheduler
version_added: "0.1.0"
author:
  - Airgap Speech contributors (@airgap-speech)
description:
  - Places the pods of rendered manifests on the nodes of a cluster as the default scheduler would,
    without creating anything, and answers with a verdict, the placements and the headroom,
    or with the shortfalls in the scheduler's own words.
  - Reads the cluster from its API, with get and list rights only, or from a file,
    so that a cluster can be planned before it exists.
  - Never fails because pods do not fit. It fails where a manifest is wrong, such as a quantity that is none,
    and names the object and the field.
  - Pods of the same release that run already and have not changed keep their places; its other pods are not counted.
attributes:
  check_mode:
    description: The module reads only, so check mode is the same as a run.
    support: full
  diff_mode:
    description: Nothing is changed, so there is no difference to show.
    support: none
options:
  manifest:
    description:
      - Rendered manifests, as C(helm template) prints them.
      - Exactly one of O(manifest), O(manifest_file), O(chart) and O(releases) is required.
    type: str
  manifest_file:
    description: Path of a file with rendered manifests.
    type: path
  chart:
    description:
      - Path of a Helm chart, a directory or a package, that is rendered with O(values).
      - It is rendered for the Kubernetes version of the cluster, where that is read from its API.
    type: path
  values:
    description:
      - Values of O(chart), laid over its own.
      - Ansible shows a module's options. Where they hold secrets, give the task C(no_log).
    type: dict
    default: {}
  helm:
    description: The helm program that renders charts.
    type: str
    default: helm
  namespace:
    description: Namespace of the objects that name none.
    type: str
    default: default
  release:
    description: Name of the Helm release. Its running pods are told by their label C(app.kubernetes.io/instance).
    type: str
    default: ""
  releases:
    description:
      - Several releases that have to fit together, in the order in which they are deployed.
      - In place of O(manifest), O(namespace) and O(release).
    type: list
    elements: dict
    suboptions:
      name:
        description: Name of the Helm release.
        type: str
        default: ""
      namespace:
        description: Namespace of the objects that name none.
        type: str
        default: default
      manifest:
        description:
          - Rendered manifests.
          - Exactly one of this, O(releases[].manifest_file) and O(releases[].chart) is required.
        type: str
      manifest_file:
        description: Path of a file with rendered manifests.
        type: path
      chart:
        description: As O(chart).
        type: path
      values:
        description: As O(values).
        type: dict
        default: {}
  questions:
    description:
      - What to ask, each with a verdict of its own in RV(answers). The first one is answered at the top level too.
      - V(now) is whether the pods find nodes with the replicas asked.
      - V(autoscaled) is the same with as many replicas as the autoscalers of the manifests may make.
      - V(rolling_update) is the same with the pods that a rolling update of all Deployments has on top (maxSurge).
      - V(lost_nodes) is the same once the O(tolerate_nodes) nodes are gone whose loss is the worst; pods of others
        that ran there take room elsewhere.
      - V(lost_zone) is the same once the zone is gone whose loss is the worst.
      - V(evict) is whether the pods find nodes once the scheduler has evicted pods of lower priority, and which.
    type: list
    elements: str
    choices: [now, autoscaled, rolling_update, lost_nodes, lost_zone, evict]
    default: [now]
  tolerate_nodes:
    description: How many nodes are gone in the question V(lost_nodes).
    type: int
    default: 1
  kubeconfig:
    description:
      - Path of a kubeconfig of the cluster.
      - Exactly one of O(kubeconfig) and O(cluster_file) is required.
    type: path
  context:
    description: Context of the kubeconfig. The current one when left out.
    type: str
  cluster_file:
    description:
      - Path of a YAML file that describes the nodes. Either C(pools), a list of pools with C(name), C(count),
        C(allocatable), C(labels) and C(taints), or Node objects (and Pods, and others) as
        C(kubectl get -o yaml) writes them.
    type: path
requirements:
  - PyYAML
  - kubernetes (Python package), where O(kubeconfig) is used
  - helm, where a chart is given
notes:
  - What the module does not model, such as devices by claim (DRA), scheduling gates and other schedulers,
    is named in RV(not_modelled).
"""

EXAMPLES = r"""
- name: Ask whether a release would be placed
  airgap.speech.capacity:
    manifest: "{{ rendered.command }}"
    release: speech
    namespace: speech
    kubeconfig: ~/.kube/config
  register: capacity

- name: Ask what an update and the loss of a node would do, with another release beside it
  airgap.speech.capacity:
    releases:
      - name: speech
        namespace: speech
        manifest: "{{ speech.command }}"
      - name: monitoring
        namespace: monitoring
        manifest_file: monitoring.yaml
    questions: [now, rolling_update, lost_nodes]
    kubeconfig: ~/.kube/config

- name: Ask about a chart with its values
  airgap.speech.capacity:
    chart: open-speech-1.2.3.tgz
    values: {stt: {replicas: 4}}
    release: speech
    namespace: speech
    kubeconfig: ~/.kube/config

- name: Plan for a cluster that does not exist yet
  airgap.speech.capacity:
    manifest_file: speech.yaml
    namespace: speech
    cluster_file: planned-nodes.yml
"""

RETURN = r"""
verdict:
  description:
    - V(fits) when the pods find nodes in every order of ties, V(does_not_fit) when in none,
      V(order_dependent) when in some.
  returned: success
  type: str
  sample: does_not_fit
fits:
  description: Whether the verdict is V(fits).
  returned: success
  type: bool
  sample: false
message:
  description: The verdict, the shortfalls and a table of the workloads, to read.
  returned: success
  type: str
  sample: "capacity: release speech in namespace speech: does_not_fit: pods would stay pending (3 pods, 3 nodes)"
shortfalls:
  description: Workloads with pods that stay pending.
  returned: success
  type: list
  elements: dict
  contains:
    workload:
      description: Kind, namespace and name.
      type: str
      sample: Deployment speech/open-speech
    pods:
      description: How many of its pods stay pending.
      type: int
      sample: 1
    message:
      description: Why, in the scheduler's words.
      type: str
      sample: "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 Insufficient cpu."
    details:
      description: What the scheduler does not say, such as the taints and the most that a node has free.
      type: list
      elements: str
      sample: ["a pod asks for 4 of cpu; the node with the most has 1500m free"]
    cause:
      description:
        - Why, in one word. V(sum) when the nodes together have too little, V(fragmentation) when they have enough, but
          none of them in one piece, V(constraints) when rules let no node in, V(quota) when a resource quota is too
          small, V(admission) when the API server refuses the pods for something else.
      type: str
      sample: fragmentation
cause:
  description: The cause of the first shortfall; empty where there is none.
  returned: success
  type: str
  sample: sum
remedies:
  description: Changes that would make all pods fit. Each has been tried in the simulation.
  returned: success
  type: list
  elements: dict
  contains:
    kind:
      description: One of V(nodes), V(label), V(toleration), V(uncordon), V(quota) and V(replicas).
      type: str
      sample: nodes
    text:
      description: What to do, to read.
      type: str
      sample: 2 more node(s) like gpu
    nodes:
      description: How many nodes are added or labelled.
      type: int
      sample: 2
    like:
      description: The pool, or the node, that the added nodes are like.
      type: str
      sample: gpu
answers:
  description:
    - The answer to each of O(questions), by its name, with the keys of the top level from RV(verdict) on.
    - RV(answers.lost) and RV(answers.victims) stand in each of them.
  returned: success
  type: dict
  contains:
    lost:
      description: The nodes, or the zone, that are gone in V(lost_nodes) and V(lost_zone).
      type: list
      elements: str
      sample: [worker-1]
    victims:
      description: The pods that are evicted in V(evict), each with C(pod), C(node), C(priority) and C(for), a workload.
      type: list
      elements: dict
      sample: [{"pod": "batch/low-1", "node": "worker-1", "priority": 0, "for": "Deployment speech/open-speech"}]
lost:
  description: As RV(answers.lost), of the first question.
  returned: success
  type: list
  elements: str
  sample: []
victims:
  description: As RV(answers.victims), of the first question.
  returned: success
  type: list
  elements: dict
  sample: []
placements:
  description: The workloads of the pods on each node, in the order of ties that is shown.
  returned: success
  type: dict
  sample: {"worker-1": ["Deployment speech/open-speech"]}
headroom:
  description: How many more pods of each workload would find a node, each workload alone, at most 100.
  returned: success
  type: dict
  sample: {"Deployment speech/open-speech": 2}
not_modelled:
  description: What bears on the places of the pods and was left out of the verdict.
  returned: success
  type: list
  elements: str
  sample: ["Deployment speech/open-speech: resourceClaims: devices asked by claim (DRA)"]
nodes:
  description: Number of nodes.
  returned: success
  type: int
  sample: 3
pods:
  description: Number of pods of the manifest, hooks left out.
  returned: success
  type: int
  sample: 3
kept:
  description: Number of pods of the release that run already, have not changed and keep their places.
  returned: success
  type: int
  sample: 0
orders_tried:
  description: Number of orders of ties that were followed to their end.
  returned: success
  type: int
  sample: 4
exhaustive:
  description: Whether all orders of ties were tried; otherwise some were.
  returned: success
  type: bool
  sample: true
kubernetes_minor:
  description: Minor version of the cluster, where it is known.
  returned: success
  type: int
  sample: 36
"""

import tempfile
import traceback
from typing import Any, Dict, List, Mapping, Optional

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.airgap.speech.plugins.module_utils.discovery.render import (
    Chart,
    Renderer,
    RenderFailed,
    write_values,
)
from ansible_collections.airgap.speech.plugins.module_utils.kube.api import getter
from ansible_collections.airgap.speech.plugins.module_utils.kube.capacity import ask, complete
from ansible_collections.airgap.speech.plugins.module_utils.kube.pods import load_documents
from ansible_collections.airgap.speech.plugins.module_utils.kube.problem import Release
from ansible_collections.airgap.speech.plugins.module_utils.kube.quantity import QuantityError
from ansible_collections.airgap.speech.plugins.module_utils.kube.snapshot import (
    ApiError,
    Reader,
    from_documents,
)
from ansible_collections.airgap.speech.plugins.module_utils.kube.terms import SpecError


def read_text(path: str, what: str) -> str:
    """The text of a file."""
    try:
        with open(path, encoding="utf-8") as stream:
            return stream.read()
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{what} {path}: it cannot be read: {error}; give the path of a text file") from None


def rendered(module: AnsibleModule, release: Mapping[str, Any], minor: Optional[int]) -> str:
    """The manifests of a release's chart, for a minor version of Kubernetes where it is known."""
    chart = Chart(
        release["chart"],
        release=release["name"] or "release",
        namespace=release["namespace"],
        kube_version=f"1.{minor}.0" if minor else "",
    )
    renderer = Renderer(module.run_command, helm=module.params["helm"])
    with tempfile.TemporaryDirectory(dir=module.tmpdir) as folder:
        values = [write_values(folder, "values", release["values"])] if release["values"] else []
        return renderer.chart(chart, renderer.local(chart, folder), values)


def releases_of(module: AnsibleModule, minor: Optional[int]) -> List[Release]:
    """The releases that the options name."""
    params = module.params
    given = params["releases"]
    if given is None:
        names = ("namespace", "manifest", "manifest_file", "chart", "values")
        given = [{"name": params["release"], **{key: params[key] for key in names}}]
    result = []
    for item in given:
        if item["chart"] is not None:
            text = rendered(module, item, minor)
        elif item["manifest_file"] is not None:
            text = read_text(item["manifest_file"], "manifest")
        else:
            text = item["manifest"]
        result.append(Release(tuple(load_documents(text)), item["namespace"], item["name"]))
    return result


def run(module: AnsibleModule) -> Dict[str, Any]:
    """Find the verdict."""
    params = module.params
    if params["cluster_file"]:
        snapshot = from_documents(load_documents(read_text(params["cluster_file"], "cluster file")))
        releases = releases_of(module, snapshot.minor)
    else:
        reader = Reader(getter("capacity", params["kubeconfig"], params["context"]))
        snapshot = reader.base()
        releases = releases_of(module, snapshot.minor)
        snapshot = complete(reader, snapshot, releases, params["questions"])
    return ask(releases, snapshot, params["questions"], tolerate_nodes=params["tolerate_nodes"])


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "manifest": {"type": "str"},
            "manifest_file": {"type": "path"},
            "chart": {"type": "path"},
            "values": {"type": "dict", "default": {}},
            "helm": {"type": "str", "default": "helm"},
            "namespace": {"type": "str", "default": "default"},
            "release": {"type": "str", "default": ""},
            "releases": {
                "type": "list",
                "elements": "dict",
                "options": {
                    "name": {"type": "str", "default": ""},
                    "namespace": {"type": "str", "default": "default"},
                    "manifest": {"type": "str"},
                    "manifest_file": {"type": "path"},
                    "chart": {"type": "path"},
                    "values": {"type": "dict", "default": {}},
                },
                "mutually_exclusive": [("manifest", "manifest_file", "chart")],
                "required_one_of": [("manifest", "manifest_file", "chart")],
            },
            "questions": {
                "type": "list",
                "elements": "str",
                "choices": ["now", "autoscaled", "rolling_update", "lost_nodes", "lost_zone", "evict"],
                "default": ["now"],
            },
            "tolerate_nodes": {"type": "int", "default": 1},
            "kubeconfig": {"type": "path"},
            "context": {"type": "str"},
            "cluster_file": {"type": "path"},
        },
        mutually_exclusive=[("manifest", "manifest_file", "chart", "releases"), ("kubeconfig", "cluster_file")],
        required_one_of=[("manifest", "manifest_file", "chart", "releases"), ("kubeconfig", "cluster_file")],
        supports_check_mode=True,
    )
    try:
        result = run(module)
    except ImportError as error:
        module.fail_json(msg=missing_required_lib(error.name or "PyYAML"), exception=traceback.format_exc())
    except (SpecError, QuantityError, ApiError, RenderFailed) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
