# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Taken back, nothing of the models is left on claims and nodes; the registry keeps them."""

from __future__ import annotations

from tests.integration.inside import Inside
from tests.scenarios.models import ways
from tests.scenarios.way import Scenario

REMOVE = ("-e", "uninstall_models=true")


def test_what_the_role_made_goes_and_the_registry_keeps_its_models(inside: Inside, scenario: Scenario) -> None:
    volume = ways.claim_path(inside, "models-claim", "claim-models")
    predicted = scenario.playbook("uninstall", *REMOVE, "--check", "--diff")
    assert predicted.changed > 0
    assert inside.on(ways.WORKER, "test", "-e", f"{ways.DIRECTORY}/nova/nova.dg").rc == 0
    assert inside.on(ways.WORKER, "test", "-e", f"{volume}/nova/nova.dg").rc == 0

    assert scenario.playbook("uninstall", *REMOVE).changed > 0
    waited = inside.kubectl("-n", "models-claim", "wait", "pvc/claim-models", "--for=delete", "--timeout=120s")
    assert waited.rc == 0, waited.text
    for node in (ways.WORKER, "control-plane"):
        assert inside.on(node, "find", ways.DIRECTORY, "-mindepth", "1").text == "", node
    for namespace, name in (("models-claim", "claim"), ("models-mounted", "mounted")):
        made = inside.kubectl_json(
            "-n", namespace, "get", "jobs,configmaps", "-l", f"app.kubernetes.io/instance={name}"
        )["items"]
        assert made == [], made
    assert inside.registry("HEAD", "models/nova/manifests/1")[0] == 200
    assert scenario.playbook("uninstall", *REMOVE).changed == 0


def test_nothing_was_tried_outside(inside: Inside) -> None:
    report = inside.journey.egress()
    assert report["packets_total"] == 0 and report["names_total"] == 0, report
