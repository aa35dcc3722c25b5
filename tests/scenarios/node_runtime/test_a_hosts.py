# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pods that name hosts of the internet get their images from the private registry, and from nowhere else."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from tests.integration.inside import Inside

IMAGES = {
    "quay": "quay.io/airgap/busybox:1.0",
    "nvcr": "nvcr.io/airgap/busybox:1.0",
    "port": "registry.example.test:5443/airgap/busybox:1.0",
}
PULLS = "airgap-registry.service"


@pytest.fixture(scope="module", autouse=True)
def namespace(inside: Inside) -> Iterator[None]:
    inside.kubectl("create", "namespace", "hosts")
    yield
    inside.kubectl("delete", "namespace", "hosts", "--wait=true")


def run_pod(inside: Inside, name: str, image: str) -> None:
    container = {"name": "main", "image": image, "imagePullPolicy": "Always", "command": ["sleep", "3600"]}
    spec = {"containers": [container], "automountServiceAccountToken": False, "terminationGracePeriodSeconds": 0}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "hosts"}, "spec": spec}
    while (made := inside.kubectl("apply", "-f", "-", stdin=json.dumps(pod))).rc != 0:
        assert "serviceaccount" in made.text, made.text  # it comes a moment after its namespace
        time.sleep(0.5)


def messages(inside: Inside, pod: str, reason: str) -> list[str]:
    """What the events of a pod with this reason say, once there are any."""
    selector = f"--field-selector=involvedObject.name={pod},reason={reason}"
    while not (events := inside.kubectl_json("-n", "hosts", "get", "events", selector)["items"]):
        time.sleep(0.5)
    return [str(event["message"]) for event in events]


@pytest.mark.parametrize("name", sorted(IMAGES))
def test_a_pod_gets_its_image_from_the_private_registry(inside: Inside, name: str) -> None:
    run_pod(inside, name, IMAGES[name])
    waited = inside.kubectl("-n", "hosts", "wait", f"pod/{name}", "--for=condition=Ready", "--timeout=120s")
    assert waited.rc == 0, waited.text + inside.kubectl("-n", "hosts", "describe", "pod", name).text
    assert any(f'Successfully pulled image "{IMAGES[name]}"' in said for said in messages(inside, name, "Pulled"))


def test_with_the_registry_stopped_the_error_names_it(inside: Inside) -> None:
    assert inside.on("registry", "systemctl", "stop", PULLS).rc == 0
    try:
        for name, image in IMAGES.items():
            run_pod(inside, f"{name}-stopped", image)
        for name, image in IMAGES.items():
            said = next(text for text in messages(inside, f"{name}-stopped", "Failed") if "pull image" in text)
            assert image in said and "https://registry.airgap.internal:5000/v2/" in said, said
            assert "connection refused" in said, said
    finally:
        assert inside.on("registry", "systemctl", "start", PULLS).rc == 0


def test_nothing_was_tried_outside(inside: Inside) -> None:
    """Since the scenario's preparation: mirror, converge, the pulls above, and those that failed."""
    report = inside.journey.egress()
    assert report["packets_total"] == 0 and report["names_total"] == 0, report
