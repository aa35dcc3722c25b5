#!/usr/bin/python
# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: closure
version_added: "0.1.0"
short_description: Prove that a release is closed over what the bundle brought
description:
  - Before the deploy, every image of the rendered release (hooks, tests and init containers too) has to be in the lock
    of the bundle and, by its digest and with all its blobs, in the private registry.
  - After it, every container of the release's pods has to run an image whose digest the lock has. Pods that have ended
    or are being deleted do not count, for they may be of the bundle before.
  - Changes nothing.
requirements:
  - PyYAML
  - kubernetes (Python package), for O(phase=after)
author:
  - Airgap Speech contributors (@airgap-speech)
extends_documentation_fragment:
  - airgap.speech.registry
attributes:
  check_mode:
    support: full
    description: Looks in check mode as it does otherwise.
  diff_mode:
    support: none
    description: Changes nothing, so there is no difference to show.
options:
  phase:
    description: What to prove.
    type: str
    choices: [before, after]
    required: true
  bundle:
    description: The directory of the bundle, or its lock.
    type: path
    required: true
  manifest:
    description: The rendered release, for O(phase=before).
    type: str
  manifest_file:
    description: A file with the rendered release, in place of O(manifest).
    type: path
  platforms:
    description:
      - The platforms of the bundle. An image that only nodes of another platform could run is not needed.
      - Where it is empty, they are those of the images in the lock.
    type: list
    elements: str
    default: []
  image_rules:
    description: Files of rules for images that operators name in their code, the same as for the bundle.
    type: list
    elements: path
    default: []
  image_variables:
    description: The values of the variables that O(image_rules) speak of, the same as for the bundle.
    type: dict
    default: {}
  kubeconfig:
    description: The kubeconfig of the cluster, for O(phase=after).
    type: path
  namespace:
    description: The namespace of the release, for O(phase=after).
    type: str
  release:
    description: The name of the release, for O(phase=after). All pods of the namespace count where it is empty.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Every image of the release is in the registry
  airgap.speech.closure:
    phase: before
    bundle: /srv/bundle
    manifest_file: /tmp/rendered.yaml
    registry: registry.airgap.internal:5000
    username: airgap-pull
    password_file: ~/.airgap/secrets/registry-pull-password
    ca_file: ~/.airgap/secrets/ca/ca.crt

- name: Every running container came from the bundle
  airgap.speech.closure:
    phase: after
    bundle: /srv/bundle
    registry: registry.airgap.internal:5000
    username: airgap-pull
    password_file: ~/.airgap/secrets/registry-pull-password
    ca_file: ~/.airgap/secrets/ca/ca.crt
    kubeconfig: ~/.kube/config
    namespace: speech
    release: speech
"""

RETURN = r"""
images:
  description: What was looked at.
  returned: always
  type: list
  elements: dict
  sample:
    - reference: docker.io/library/python:3.11-slim
      where: "Job preload spec.template.spec.containers[0].image"
      needed: always
      digest: sha256:2c26
      problem: ""
count:
  description: How many images (before) or containers (after) were looked at.
  returned: always
  type: int
  sample: 4
missing:
  description: What is wrong, a line an image or container.
  returned: always
  type: list
  elements: str
  sample: []
undecided:
  description:
    - Places of the rendered release that may name an image, and of which discovery cannot say it, a line each.
    - A rule (O(image_rules)) decides them.
  returned: when O(phase=before)
  type: list
  elements: str
  sample:
    - "quay.io/prometheus/alertmanager has no tag and no digest; the program may add one
      (Deployment operator spec.template.spec.containers[0].args[3])"
pods:
  description: How many pods of the release were looked at.
  returned: when O(phase=after)
  type: int
  sample: 2
"""

import traceback
from dataclasses import asdict

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.airgap.speech.plugins.module_utils.bundle import closure
from ansible_collections.airgap.speech.plugins.module_utils.bundle.lock import LockError, load
from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import LayoutError
from ansible_collections.airgap.speech.plugins.module_utils.oci.options import (
    REGISTRY_OPTIONS,
    REGISTRY_REQUIRED_BY,
    client,
)
from ansible_collections.airgap.speech.plugins.module_utils.oci.reference import ReferenceInvalid
from ansible_collections.airgap.speech.plugins.module_utils.oci.registry import RegistryError

YAML_ERROR = None
try:
    import yaml

    from ansible_collections.airgap.speech.plugins.module_utils.discovery.images import discover, load_documents
    from ansible_collections.airgap.speech.plugins.module_utils.discovery.rules import ImageRules, merged
except ImportError:
    YAML_ERROR = traceback.format_exc()


class ClosureFailed(Exception):
    """What was asked for cannot be looked at."""


def look_before(params, lock, registry):
    """Entries of the rendered release, and what discovery could not decide."""
    text = params["manifest"]
    if params["manifest_file"]:
        with open(params["manifest_file"], encoding="utf-8") as handle:
            text = handle.read()
    try:
        documents = load_documents(text or "")
    except yaml.YAMLError as error:
        raise ClosureFailed(
            "the rendered release is not YAML ({}); render it again".format(" ".join(str(error).split()))
        ) from error
    if not documents:
        raise ClosureFailed("the rendered release is empty; give manifest or manifest_file")
    rules = []
    for path in params["image_rules"]:
        with open(path, encoding="utf-8") as handle:
            rules.append(ImageRules.load(handle.read(), path, params["image_variables"]))
    platforms = params["platforms"] or closure.platforms_of(lock)
    found = discover(documents, params["registry"], platforms, merged(rules))
    entries = closure.before(lock, found.found, registry, params["registry"])
    return entries, [f"{item.text} {item.why} ({item.kind} {item.name} {item.path})" for item in found.tidy().undecided]


def look_after(module, lock, registry):
    """Entries of the running release, and the count of its pods."""
    params = module.params
    try:
        from kubernetes import client, config
        from kubernetes.client.exceptions import ApiException
        from kubernetes.config.config_exception import ConfigException
        from urllib3.exceptions import HTTPError
    except ImportError:
        module.fail_json(msg=missing_required_lib("kubernetes"), exception=traceback.format_exc())
    try:
        api = config.new_client_from_config(config_file=params["kubeconfig"])
        listed = client.CoreV1Api(api).list_namespaced_pod(params["namespace"], _request_timeout=60)
    except ApiException as error:
        raise ClosureFailed(
            "namespace {}: its pods cannot be listed ({})".format(params["namespace"], error.reason)
        ) from error
    except (ConfigException, HTTPError, OSError) as error:
        raise ClosureFailed(
            "cluster of {}: does not answer ({}); check airgap_kubeconfig".format(params["kubeconfig"], error)
        ) from error
    pods = api.sanitize_for_serialization(listed)["items"]
    mine = closure.pods_of(pods, params["release"])
    if not mine:
        raise ClosureFailed(
            "release {}: has no running pods in namespace {}; deploy it first".format(
                params["release"], params["namespace"]
            )
        )
    return closure.after(mine, closure.allowed_digests(lock, registry)), len(mine)


def main():
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "phase": {"type": "str", "choices": ["before", "after"], "required": True},
            "bundle": {"type": "path", "required": True},
            "manifest": {"type": "str"},
            "manifest_file": {"type": "path"},
            **REGISTRY_OPTIONS,
            "platforms": {"type": "list", "elements": "str", "default": []},
            "image_rules": {"type": "list", "elements": "path", "default": []},
            "image_variables": {"type": "dict", "default": {}},
            "kubeconfig": {"type": "path"},
            "namespace": {"type": "str"},
            "release": {"type": "str", "default": ""},
        },
        mutually_exclusive=[("manifest", "manifest_file")],
        required_by=REGISTRY_REQUIRED_BY,
        required_if=[("phase", "before", ("manifest", "manifest_file"), True), ("phase", "after", ("namespace",))],
        supports_check_mode=True,
    )
    if YAML_ERROR is not None:
        module.fail_json(msg=missing_required_lib("PyYAML"), exception=YAML_ERROR)
    params = module.params
    result = {"changed": False, "images": [], "count": 0, "missing": []}
    try:
        lock = load(params["bundle"])
        registry = client(params)
        if params["phase"] == "before":
            entries, result["undecided"] = look_before(params, lock, registry)
        else:
            entries, result["pods"] = look_after(module, lock, registry)
    except (ClosureFailed, LayoutError, LockError, OSError, ReferenceInvalid, RegistryError, ValueError) as error:
        module.fail_json(msg=str(error), exception=traceback.format_exc(), **result)
    result["images"] = [asdict(entry) for entry in entries]
    result["count"] = len(entries)
    result["missing"] = [f"{entry.reference} {entry.problem}" for entry in entries if entry.problem]
    if result["missing"]:
        module.fail_json(
            msg="{} of {} images are missing: {}".format(
                len(result["missing"]), len(entries), "; ".join(result["missing"])
            )
            if params["phase"] == "before"
            else "{} of {} containers did not come from the bundle: {}".format(
                len(result["missing"]), len(entries), "; ".join(result["missing"])
            ),
            **result,
        )
    module.exit_json(**result)


if __name__ == "__main__":
    main()
