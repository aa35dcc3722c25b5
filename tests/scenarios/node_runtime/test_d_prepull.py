# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images are on the nodes before their pods come, pinned; how long a scale-out takes without that and with it."""

from __future__ import annotations

import json
import time

from tests.integration.inside import Inside
from tests.scenarios.way import Scenario, forget_image

CTR = ["ctr", "-n", "k8s.io"]
# 512 MiB that no compression makes smaller.
IMAGE = "registry.example.test:5443/airgap/large:1.0"
SITE = ["quay.io/airgap/busybox:1.0", "nvcr.io/airgap/busybox:1.0", "registry.example.test:5443/airgap/busybox:1.0"]


def labels(inside: Inside, image: str) -> str:
    listed = inside.on("worker-1", *CTR, "images", "ls", f"name=={image}").text
    return next((line.split()[-1] for line in listed.splitlines() if line.startswith(image + " ")), "")


def scale_to_ready(inside: Inside) -> tuple[float, list[str]]:
    """Seconds from the scale to the pod's Ready, by the API server's clock of events; and what its pull said."""
    inside.kubectl("-n", "pull-test", "delete", "events", "--all")
    started = time.monotonic()
    assert inside.kubectl("-n", "pull-test", "scale", "deployment/large", "--replicas=1").rc == 0
    waited = inside.kubectl("-n", "pull-test", "rollout", "status", "deployment/large", "--timeout=300s")
    seconds = time.monotonic() - started
    assert waited.rc == 0, waited.text
    events = inside.kubectl_json("-n", "pull-test", "get", "events", "--field-selector=reason=Pulled")["items"]
    assert inside.kubectl("-n", "pull-test", "scale", "deployment/large", "--replicas=0").rc == 0
    assert inside.kubectl("-n", "pull-test", "wait", "pod", "-l", "app=large", "--for=delete", "--timeout=60s").rc == 0
    return seconds, [str(event["message"]) for event in events]


def test_scale_out_without_and_with(inside: Inside, scenario: Scenario) -> None:
    inside.kubectl("create", "namespace", "pull-test")
    pods = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "large", "namespace": "pull-test"},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": "large"}},
            "template": {
                "metadata": {"labels": {"app": "large"}},
                "spec": {
                    "automountServiceAccountToken": False,
                    "terminationGracePeriodSeconds": 0,
                    "containers": [{"name": "main", "image": IMAGE, "command": ["sleep", "3600"]}],
                },
            },
        },
    }
    assert inside.kubectl("apply", "-f", "-", stdin=json.dumps(pods)).rc == 0
    forget_image(inside, "worker-1", IMAGE)
    without, said = scale_to_ready(inside)
    assert any("Successfully pulled" in text for text in said), said

    forget_image(inside, "worker-1", IMAGE)
    predicted = scenario.playbook("node_runtime_prepull", "--check", "--diff")
    assert f"pulled {IMAGE}" in predicted.output and labels(inside, IMAGE) == ""
    done = scenario.playbook("node_runtime_prepull")
    assert done.changed >= 1
    for image in (IMAGE, *SITE):
        assert "io.cri-containerd.pinned=pinned" in labels(inside, image), image
    # No node takes this one's pod, and no pod of the release goes to the control plane.
    assert labels(inside, "docker.io/library/debian:12-slim") == ""
    control = inside.on("control-plane", *CTR, "images", "ls", "-q").text
    assert IMAGE not in control
    again = scenario.playbook("node_runtime_prepull", "--diff")
    assert again.changed == 0, again.output

    assert inside.on("registry", "systemctl", "stop", "airgap-registry.service").rc == 0
    try:
        with_it, said = scale_to_ready(inside)
    finally:
        assert inside.on("registry", "systemctl", "start", "airgap-registry.service").rc == 0
    assert any("already present on machine" in text for text in said), said
    figures = {"image": IMAGE, "without_s": round(without, 1), "with_s": round(with_it, 1)}
    (scenario.journey.work / "prepull.json").write_text(json.dumps(figures) + "\n")
    print(f"scale to Ready: {without:.1f} s without the image, {with_it:.1f} s with it (and no registry)")
