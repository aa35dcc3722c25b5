#!/usr/bin/python
# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_probe
short_description: Look at a cluster's version, its nodes' disks, its claims and its Jobs in one call
version_added: "0.1.0"
author:
  - Airgap Speech contributors (@airgap-speech)
description:
  - Used by the role P(airgap.speech.preflight#role), which lets M(airgap.speech.preflight_verdict) judge the answer,
    and by P(airgap.speech.model_preload#role), which asks whether its Job has done its work.
  - Reads the lists page by page and returns little of each object, so that large clusters do not travel through
    Ansible. Changes nothing.
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
  - The user of O(kubeconfig) needs to list what O(look_at) names.
options:
  look_at:
    description: What to look at.
    type: list
    elements: str
    choices: [version, nodes, claims, jobs]
    default: [version, nodes, claims]
  namespaces:
    description: Namespaces whose persistent volume claims and Jobs are looked at.
    type: list
    elements: str
    default: []
  job_selector:
    description: Label selector of the Jobs. All of the namespaces when left out.
    type: str
  lock_file:
    description: Path of the lock of a bundle. Of the images on the nodes, those of the lock are returned.
    type: path
"""

EXAMPLES = r"""
- name: Look at the cluster
  airgap.speech.cluster_probe:
    kubeconfig: ~/.kube/config
    namespaces: [speech]
    lock_file: /media/bundle/bundle.lock.json
  register: cluster

- name: Look at the claims and at the Jobs that place models
  airgap.speech.cluster_probe:
    kubeconfig: ~/.kube/config
    look_at: [claims, jobs]
    namespaces: [speech]
    job_selector: app.kubernetes.io/name=model-preload
"""

RETURN = r"""
version:
  description: Version of the API server; empty where it was not asked.
  returned: success
  type: str
  sample: v1.36.3
nodes:
  description:
    - The nodes, as Node objects with nothing but name, addresses, size of the disk, the condition DiskPressure where it
      is true, and the images that are in the lock.
  returned: success
  type: list
  elements: dict
claims:
  description:
    - The claims, as PersistentVolumeClaim objects with nothing but name, namespace, uid, access modes and size.
  returned: success
  type: list
  elements: dict
jobs:
  description: The Jobs, as Job objects with nothing but name, namespace, number of successes and conditions.
  returned: success
  type: list
  elements: dict
"""

import traceback
from typing import AbstractSet, Any, Dict, List, Mapping

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.airgap.speech.plugins.module_utils.bundle import lock as locks
from ansible_collections.airgap.speech.plugins.module_utils.kube.api import CLUSTER_OPTIONS, getter
from ansible_collections.airgap.speech.plugins.module_utils.kube.snapshot import ApiError, ForbiddenError, Get, list_all


def node(document: Mapping[str, Any], digests: AbstractSet[str]) -> Dict[str, Any]:
    """What of a node bears on disk."""
    status = document.get("status") or {}
    names = [str(name) for image in status.get("images") or [] for name in image.get("names") or []]
    held = [name for name in names if name.rpartition("@")[2] in digests]
    pressed = [
        {key: item.get(key) for key in ("type", "status", "message")}
        for item in status.get("conditions") or []
        if item.get("type") == "DiskPressure" and item.get("status") == "True"
    ]
    size = (status.get("capacity") or {}).get("ephemeral-storage")
    return {
        "metadata": {"name": (document.get("metadata") or {}).get("name")},
        "status": {
            "addresses": status.get("addresses") or [],
            "capacity": {"ephemeral-storage": size} if size is not None else {},
            "conditions": pressed,
            "images": [{"names": held}] if held else [],
        },
    }


def claim(document: Mapping[str, Any]) -> Dict[str, Any]:
    """Which claim it is, who may write to it, and its size."""
    metadata, spec = document.get("metadata") or {}, document.get("spec") or {}
    asked = (spec.get("resources") or {}).get("requests") or {}
    given = (document.get("status") or {}).get("capacity") or {}
    return {
        "metadata": {key: metadata.get(key) for key in ("namespace", "name", "uid")},
        "spec": {"accessModes": spec.get("accessModes") or [], "resources": {"requests": asked}},
        "status": {"capacity": given},
    }


def job(document: Mapping[str, Any]) -> Dict[str, Any]:
    """Which Job it is, and how it went."""
    metadata, status = document.get("metadata") or {}, document.get("status") or {}
    conditions = [{key: item.get(key) for key in ("type", "status")} for item in status.get("conditions") or []]
    return {
        "metadata": {key: metadata.get(key) for key in ("namespace", "name")},
        "status": {"succeeded": status.get("succeeded") or 0, "conditions": conditions},
    }


def look(get: Get, params: Mapping[str, Any], digests: AbstractSet[str]) -> Dict[str, Any]:
    """Read the cluster. Raises ApiError with every right that is missing."""
    missing: List[str] = []
    wanted = params["look_at"]
    found: Dict[str, Any] = {"version": "", "nodes": [], "claims": [], "jobs": []}
    if "version" in wanted:
        found["version"] = str(get("/version", {}).get("gitVersion") or "")
    if "nodes" in wanted:
        try:
            found["nodes"] = [node(document, digests) for document in list_all(get, "/api/v1/nodes")]
        except ForbiddenError:
            missing.append("nodes")
    selector = {"labelSelector": params["job_selector"]} if params["job_selector"] else {}
    for namespace in params["namespaces"]:
        for key, group, plural, read, query in (
            ("claims", "/api/v1", "persistentvolumeclaims", claim, {}),
            ("jobs", "/apis/batch/v1", "jobs", job, selector),
        ):
            if key not in wanted:
                continue
            try:
                listed = list_all(get, f"{group}/namespaces/{namespace}/{plural}", query)
                found[key] += [read(document) for document in listed]
            except ForbiddenError:
                missing.append(f"{plural} in namespace {namespace}")
    if missing:
        raise ApiError(
            "cluster: it does not let this user list "
            + "; ".join(missing)
            + ". Give the user of the kubeconfig the verb list on these, in a ClusterRole or Role, and run again"
        )
    return found


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **CLUSTER_OPTIONS,
            "look_at": {
                "type": "list",
                "elements": "str",
                "choices": ["version", "nodes", "claims", "jobs"],
                "default": ["version", "nodes", "claims"],
            },
            "namespaces": {"type": "list", "elements": "str", "default": []},
            "job_selector": {"type": "str"},
            "lock_file": {"type": "path"},
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        lock = locks.load(params["lock_file"]) if params["lock_file"] else None
        digests = {image.digest for image in lock.images} if lock else set()
        result = look(getter("cluster", params["kubeconfig"], params["context"]), params, digests)
    except ImportError as error:
        module.fail_json(msg=missing_required_lib(error.name or "kubernetes"), exception=traceback.format_exc())
    except (ApiError, locks.LockError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
