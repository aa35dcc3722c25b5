#!/usr/bin/python
# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight_verdict
short_description: Judge what preflight saw of hosts, cluster and releases
version_added: "0.1.0"
author:
  - Airgap Speech contributors (@airgap-speech)
description:
  - Used by the role P(airgap.speech.preflight#role), which collects what this module judges.
  - Tells every failure at once, each with the thing, the cause and the next step. Never fails because of them.
attributes:
  check_mode:
    description: The module reads only, so check mode is the same as a run.
    support: full
  diff_mode:
    description: Nothing is changed, so there is no difference to show.
    support: none
options:
  hosts:
    description: What M(airgap.speech.host_probe) answered for each host, by the host's name.
    type: dict
    default: {}
  clock_skew_max:
    description: Seconds that a clock may be off.
    type: float
    default: 30
  kubernetes_version:
    description: Version of the cluster. Empty where the cluster was not asked, or did not answer.
    type: str
    default: ""
  kubernetes_min:
    description: Oldest version that will do.
    type: str
    default: "1.31"
  cluster_nodes:
    description: Node objects of the cluster, for the images that they hold already.
    type: list
    elements: dict
    default: []
  lock_file:
    description: Path of the lock of the bundle. Without it, disk is not judged.
    type: path
  registry_hosts:
    description: Hosts of the registry.
    type: list
    elements: str
    default: []
  registry_dir:
    description: Directory of the registry's data.
    type: path
  registry_bytes:
    description: Bytes that the registry does not hold yet. All of the lock when left out.
    type: int
  nodes:
    description: Hosts that are nodes of the cluster.
    type: list
    elements: str
    default: []
  images_dir:
    description: Directory where nodes keep images.
    type: path
  images_factor:
    description: How many times its size in the registry an image takes on a node, packed and unpacked.
    type: float
    default: 5.4
  models_dir:
    description: Directory of models on the nodes. Without it, models there are not judged.
    type: path
  models_keep:
    description: Number of earlier versions of a model that stay beside the one in use.
    type: int
    default: 1
  releases:
    description:
      - The releases, each with C(name), C(namespace), C(values) (of them, C(models.volume) is read), C(volumes)
        as M(airgap.speech.sizing) returns them, and C(manifest) where the claims that its chart brings count.
    type: list
    elements: dict
    default: []
  claims:
    description: PersistentVolumeClaim objects of the cluster.
    type: list
    elements: dict
    default: []
  claim_size:
    description: Size of a claim for models that is not there yet.
    type: str
    default: 10Gi
  capacity:
    description: The result of M(airgap.speech.capacity) for all releases together. Empty where it was not asked.
    type: dict
    default: {}
  required:
    description: The questions that must be answered with V(fits). Answers to others are told.
    type: list
    elements: str
    default: [now]
  allow_order_dependent:
    description: Whether the releases may depend on the order in which equal nodes are chosen.
    type: bool
    default: false
  passed:
    description: What was found well before.
    type: list
    elements: str
    default: []
  failures:
    description: What failed before, each with C(thing), C(cause) and C(next_step).
    type: list
    elements: dict
    default: []
"""

EXAMPLES = r"""
- name: Judge the clocks
  airgap.speech.preflight_verdict:
    hosts:
      worker-1: "{{ hostvars['worker-1'].probe }}"
  register: judged
"""

RETURN = r"""
failures:
  description: What must be put right.
  returned: success
  type: list
  elements: dict
  contains:
    thing:
      description: What it is about.
      type: str
      sample: host worker-1
    cause:
      description: What is wrong.
      type: str
      sample: its clock is 125.0 s behind the bastion's (allowed 30 s)
    next_step:
      description: What to do.
      type: str
      sample: set its clock, or start its time service (chrony, systemd-timesyncd), and run again
passed:
  description: What was found well, in words.
  returned: success
  type: list
  elements: str
  sample: ["4 hosts answer: bastion, registry, worker-1, worker-2"]
message:
  description: All of it, to read.
  returned: success
  type: str
  sample: "preflight: everything checked is well"
"""

from typing import Any, Dict, List, Mapping

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.airgap.speech.plugins.module_utils import preflight
from ansible_collections.airgap.speech.plugins.module_utils.bundle import lock as locks
from ansible_collections.airgap.speech.plugins.module_utils.bundle.lock import Lock
from ansible_collections.airgap.speech.plugins.module_utils.kube.pods import load_documents
from ansible_collections.airgap.speech.plugins.module_utils.kube.quantity import QuantityError
from ansible_collections.airgap.speech.plugins.module_utils.kube.terms import SpecError
from ansible_collections.airgap.speech.plugins.module_utils.preflight import Failure, Findings, Need
from ansible_collections.airgap.speech.plugins.module_utils.sizing import disk


def chart_claims(entry: Mapping[str, Any]) -> List[Dict[str, Any]]:
    """The claims that the chart of a release brings, those of its StatefulSets among them."""
    claims: List[Dict[str, Any]] = []
    for document in load_documents(str(entry.get("manifest") or "")):
        metadata, spec = document.get("metadata") or {}, document.get("spec") or {}
        place = {"namespace": str(metadata.get("namespace") or entry.get("namespace") or "default")}
        if document.get("kind") == "PersistentVolumeClaim":
            claims.append({"metadata": {**place, "name": metadata.get("name")}, "spec": spec})
        elif document.get("kind") == "StatefulSet":
            for template in spec.get("volumeClaimTemplates") or []:
                stem = f"{(template.get('metadata') or {}).get('name')}-{metadata.get('name')}"
                claims += [
                    {"metadata": {**place, "name": f"{stem}-{index}"}, "spec": template.get("spec") or {}}
                    for index in range(int(spec.get("replicas", 1)))
                ]
    return claims


def check_disk(findings: Findings, params: Mapping[str, Any], lock: Lock, probes: Mapping[str, Any]) -> None:
    """The places that the bundle goes to have room for it."""
    factor, keep = params["images_factor"], params["models_keep"]
    releases = [disk.release_disk(entry) for entry in params["releases"]]
    places = disk.places(lock, releases, factor=factor, keep=keep)
    needs: List[Need] = []
    if params["registry_dir"]:
        missing = params["registry_bytes"]
        amount = disk.registry_bytes(lock) if missing is None else missing
        for host in params["registry_hosts"]:
            needs.append(Need(host, params["registry_dir"], amount, "the registry", disk.REGISTRY_RULE))
    seen = set()
    for host in params["nodes"]:
        probe = probes.get(host) or {}
        names = preflight.host_names(probe, host)
        node = preflight.cluster_node(names, params["cluster_nodes"])
        seen.add(str((node.get("metadata") or {}).get("name") or ""))
        for room in preflight.node_rooms(lock, releases, node, factor, keep):
            in_directory = room.what == disk.MODELS_ON_NODE
            path = params["models_dir"] if in_directory else params["images_dir"]
            amount = room.size
            if in_directory:
                amount -= int(((probe.get("paths") or {}).get(path) or {}).get("used_bytes") or 0)
            if path and amount > 0:
                needs.append(Need(host, path, amount, room.what, room.rule))
    preflight.check_space(findings, needs, probes)
    (each,) = (place for place in places if place.kind == "node")
    preflight.check_unseen_nodes(findings, params["cluster_nodes"], seen, each.size)
    claims = [claim for entry in params["releases"] for claim in chart_claims(entry)] + params["claims"]
    preflight.check_volumes(findings, places, claims, params["claim_size"])


def judge(params: Mapping[str, Any]) -> Findings:
    """Judge all that was seen."""
    findings = Findings()
    probes = preflight.check_hosts(findings, params["hosts"], params["clock_skew_max"])
    findings.passed += params["passed"]
    for item in params["failures"]:
        findings.failures.append(Failure(str(item["thing"]), str(item["cause"]), str(item["next_step"])))
    if params["kubernetes_version"]:
        preflight.check_cluster(findings, params["kubernetes_version"], params["kubernetes_min"])
    if params["lock_file"]:
        try:
            check_disk(findings, params, locks.load(params["lock_file"]), probes)
        except locks.LockError as error:
            findings.fail("bundle", str(error), "copy the bundle again")
        except (QuantityError, SpecError) as error:
            findings.fail("volumes", str(error), "correct it in the values, and run again")
    preflight.check_capacity(findings, params["capacity"], params["required"], params["allow_order_dependent"])
    return findings


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "hosts": {"type": "dict", "default": {}},
            "clock_skew_max": {"type": "float", "default": 30},
            "kubernetes_version": {"type": "str", "default": ""},
            "kubernetes_min": {"type": "str", "default": "1.31"},
            "cluster_nodes": {"type": "list", "elements": "dict", "default": []},
            "lock_file": {"type": "path"},
            "registry_hosts": {"type": "list", "elements": "str", "default": []},
            "registry_dir": {"type": "path"},
            "registry_bytes": {"type": "int"},
            "nodes": {"type": "list", "elements": "str", "default": []},
            "images_dir": {"type": "path"},
            "images_factor": {"type": "float", "default": disk.IMAGES_FACTOR},
            "models_dir": {"type": "path"},
            "models_keep": {"type": "int", "default": 1},
            "releases": {"type": "list", "elements": "dict", "default": []},
            "claims": {"type": "list", "elements": "dict", "default": []},
            "claim_size": {"type": "str", "default": "10Gi"},
            "capacity": {"type": "dict", "default": {}},
            "required": {"type": "list", "elements": "str", "default": ["now"]},
            "allow_order_dependent": {"type": "bool", "default": False},
            "passed": {"type": "list", "elements": "str", "default": [], "no_log": False},
            "failures": {"type": "list", "elements": "dict", "default": []},
        },
        supports_check_mode=True,
    )
    findings = judge(module.params)
    failures: List[Dict[str, str]] = [
        {"thing": failure.thing, "cause": failure.cause, "next_step": failure.next_step}
        for failure in findings.failures
    ]
    module.exit_json(changed=False, failures=failures, passed=findings.passed, message=findings.message())


if __name__ == "__main__":
    main()
