#!/usr/bin/python
# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_probe
short_description: Look at what a cluster says of its version, its nodes' disks and its claims, in one call
version_added: "0.1.0"
author:
  - Airgap Speech contributors (@airgap-speech)
description:
  - Used by the role P(airgap.speech.preflight#role), which lets M(airgap.speech.preflight_verdict) judge the answer.
  - Reads the lists page by page and returns of each object only what bears on disk, so that large clusters do not
    travel through Ansible. Changes nothing.
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
  - The user of O(kubeconfig) needs to list nodes, and claims of O(namespaces).
options:
  namespaces:
    description: Namespaces whose persistent volume claims are looked at.
    type: list
    elements: str
    default: []
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
"""

RETURN = r"""
version:
  description: Version of the API server.
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
  description: The claims, as PersistentVolumeClaim objects with nothing but name, namespace and size.
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
    """What of a claim bears on disk."""
    metadata = document.get("metadata") or {}
    asked = ((document.get("spec") or {}).get("resources") or {}).get("requests") or {}
    given = (document.get("status") or {}).get("capacity") or {}
    return {
        "metadata": {"namespace": metadata.get("namespace"), "name": metadata.get("name")},
        "spec": {"resources": {"requests": asked}},
        "status": {"capacity": given},
    }


def look(get: Get, namespaces: List[str], digests: AbstractSet[str]) -> Dict[str, Any]:
    """Read the cluster. Raises ApiError with every right that is missing."""
    missing: List[str] = []
    nodes: List[Dict[str, Any]] = []
    claims: List[Dict[str, Any]] = []
    version = str(get("/version", {}).get("gitVersion") or "")
    try:
        nodes = [node(document, digests) for document in list_all(get, "/api/v1/nodes")]
    except ForbiddenError:
        missing.append("nodes")
    for namespace in namespaces:
        try:
            found = list_all(get, f"/api/v1/namespaces/{namespace}/persistentvolumeclaims")
            claims += [claim(document) for document in found]
        except ForbiddenError:
            missing.append(f"persistentvolumeclaims in namespace {namespace}")
    if missing:
        raise ApiError(
            "cluster: it does not let this user list "
            + "; ".join(missing)
            + ". Give the user of the kubeconfig the verb list on these, in a ClusterRole or Role, and run again"
        )
    return {"version": version, "nodes": nodes, "claims": claims}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **CLUSTER_OPTIONS,
            "namespaces": {"type": "list", "elements": "str", "default": []},
            "lock_file": {"type": "path"},
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        lock = locks.load(params["lock_file"]) if params["lock_file"] else None
        digests = {image.digest for image in lock.images} if lock else set()
        result = look(getter("cluster", params["kubeconfig"], params["context"]), params["namespaces"], digests)
    except ImportError as error:
        module.fail_json(msg=missing_required_lib(error.name or "kubernetes"), exception=traceback.format_exc())
    except (ApiError, locks.LockError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
