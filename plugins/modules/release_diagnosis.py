#!/usr/bin/python
# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: release_diagnosis
short_description: Says why the pods of a Helm release are not ready
version_added: "0.1.0"
author:
  - Airgap Speech contributors (@airgap-speech)
description:
  - Looks at the pods of one release and, for each that is not ready, reports the reason that the cluster gives
    (not placed, waiting, ended, refused probes), the last warnings, and the last lines of its log.
  - It only reads. A release without any pod is explained by the warnings about its other objects.
  - The log lines are shown as the containers wrote them.
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
    support: full
    details:
      - It never changes anything.
  diff_mode:
    description: Returns details on what has changed, or would change, when in diff mode.
    support: none
options:
  kubeconfig:
    description:
      - Path of the kubeconfig on the host where the module runs.
    type: path
    required: true
  namespace:
    description:
      - Namespace of the release.
    type: str
    required: true
  release:
    description:
      - Name of the release.
    type: str
    required: true
  label_selector:
    description:
      - Selects the release's pods.
      - Where it is not given, C(app.kubernetes.io/instance) is the release's name. Where no pod carries that label,
        every pod of the namespace is looked at.
    type: str
  tail_lines:
    description:
      - How many of the last lines of each log are read.
    type: int
    default: 20
requirements:
  - kubernetes >= 24.2.0 (Python package)
"""

EXAMPLES = r"""
- name: Say why the release is not ready
  airgap.speech.release_diagnosis:
    kubeconfig: /home/ops/.kube/config
    namespace: speech
    release: speech
  register: diagnosis

- name: Show it
  ansible.builtin.debug:
    msg: "{{ diagnosis.text }}"
"""

RETURN = r"""
ready:
  description: Whether every pod of the release is ready.
  returned: success
  type: bool
  sample: false
pods:
  description: The pods that are not ready.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the pod.
      type: str
      sample: speech-stt-5c7d9c4b9-x2x7q
    node:
      description: Node of the pod; empty when it was placed on none.
      type: str
      sample: worker-1
    reasons:
      description: Why it is not ready.
      type: list
      elements: str
      sample: ["container stt: CrashLoopBackOff; before that it ended with exit code 78"]
    events:
      description: The last warnings about the pod.
      type: list
      elements: str
      sample: ["BackOff: Back-off restarting failed container"]
    logs:
      description: The last log lines of each container that is not ready.
      type: dict
      sample: {"stt": ["models: /models/silero-vad is missing"]}
warnings_about:
  description: The last warnings about objects of the release that are not pods.
  returned: success
  type: dict
  sample: {"speech-stt-5c7d9c4b9": ["FailedCreate: exceeded quota"]}
text:
  description: All of it as a text for people.
  returned: success
  type: str
  sample: "release speech in namespace speech: 1 pod(s) not ready"
"""

import traceback
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.airgap.speech.plugins.module_utils import diagnosis

try:
    from kubernetes import client, config
    from kubernetes.client.exceptions import ApiException

    KUBERNETES_ERROR = None
except ImportError:
    KUBERNETES_ERROR = traceback.format_exc()


def read_logs(core: Any, namespace: str, pod: dict[str, Any], tail_lines: int) -> dict[str, list[str]]:
    """The last lines of what the unready containers of a pod wrote."""
    logs: dict[str, list[str]] = {}
    for name, previous in diagnosis.containers_with_logs(pod):
        try:
            text = core.read_namespaced_pod_log(
                pod["metadata"]["name"], namespace, container=name, previous=previous, tail_lines=tail_lines
            )
        except ApiException as error:
            text = f"(the log could not be read: {error.reason})"
        logs[name] = str(text or "").splitlines() or ["(the log is empty)"]
    return logs


def look(core: Any, params: dict[str, Any]) -> dict[str, Any]:
    """Everything that this module reports."""
    namespace, release = params["namespace"], params["release"]
    plain = core.api_client.sanitize_for_serialization
    selector = params["label_selector"] or f"app.kubernetes.io/instance={release}"
    pods = plain(core.list_namespaced_pod(namespace, label_selector=selector))["items"]
    if not pods and not params["label_selector"]:
        pods = plain(core.list_namespaced_pod(namespace))["items"]
    events = plain(core.list_namespaced_event(namespace))["items"]
    unready = [pod for pod in pods if not diagnosis.is_ready(pod)]
    about = diagnosis.warnings_about(events, {pod["metadata"]["name"] for pod in unready})
    known = {pod["metadata"]["name"] for pod in pods}
    others = {
        name
        for name in (str((event.get("involvedObject") or {}).get("name") or "") for event in events)
        if name.startswith(release) and name not in known
    }
    found = [
        {
            "name": pod["metadata"]["name"],
            "node": (pod.get("spec") or {}).get("nodeName") or "",
            "reasons": diagnosis.reasons(pod),
            "events": about.get(pod["metadata"]["name"], []),
            "logs": read_logs(core, namespace, pod, params["tail_lines"]),
        }
        for pod in unready
    ]
    # Warnings about pods that are gone say nothing about those that are here.
    warned = {
        name: said
        for name, said in diagnosis.warnings_about(
            [event for event in events if (event.get("involvedObject") or {}).get("kind") != "Pod"], others
        ).items()
        if said
    }
    return {
        "ready": bool(pods) and not found,
        "pods": found,
        "warnings_about": warned,
        "text": diagnosis.summary(release, namespace, found, warned)
        if pods or warned
        else f"release {release} in namespace {namespace}: there is no pod, and no warning says why",
    }


def main() -> None:
    """Read the arguments, ask the cluster, answer."""
    module = AnsibleModule(
        argument_spec={
            "kubeconfig": {"type": "path", "required": True},
            "namespace": {"type": "str", "required": True},
            "release": {"type": "str", "required": True},
            "label_selector": {"type": "str"},
            "tail_lines": {"type": "int", "default": 20},
        },
        supports_check_mode=True,
    )
    if KUBERNETES_ERROR:
        module.fail_json(msg=missing_required_lib("kubernetes"), exception=KUBERNETES_ERROR)
    kubeconfig = module.params["kubeconfig"]
    try:
        core = client.CoreV1Api(config.new_client_from_config(kubeconfig))
        result = look(core, module.params)
    except (OSError, config.ConfigException) as error:
        module.fail_json(msg=f"kubeconfig {kubeconfig}: {error}; set airgap_kubeconfig to a file that can be read")
    except ApiException as error:
        module.fail_json(
            msg=f"namespace {module.params['namespace']}: the cluster answered {error.status} {error.reason}; "
            "the user of the kubeconfig must be able to list pods and events there"
        )
    except Exception as error:
        # urllib3's own errors, when the cluster cannot be reached.
        module.fail_json(msg=f"the cluster of {kubeconfig} does not answer: {error}; check the API server's address")
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
