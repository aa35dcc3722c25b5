# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role takes itself back."""

from __future__ import annotations

import time

from tests.integration.inside import Inside
from tests.scenarios.way import Scenario


def test_absent_removes_the_operator(inside: Inside, scenario: Scenario) -> None:
    predicted = scenario.playbook("gpu_operator", "--check", "-e", "gpu_operator_state=absent")
    assert predicted.changed > 0
    assert inside.kubectl("get", "clusterpolicy", "cluster-policy").rc == 0
    assert scenario.playbook("gpu_operator", "-e", "gpu_operator_state=absent").changed > 0
    assert inside.kubectl("get", "clusterpolicy", "cluster-policy").rc != 0
    while inside.kubectl_json("-n", "gpu-operator", "get", "daemonsets")["items"]:
        time.sleep(1)
    # The packages' server of the test before is gone from the registry's host.
    unit = "/etc/systemd/system/airgap-packages.service"
    assert inside.on("registry", "test", "-e", unit).rc != 0
    assert inside.on("registry", "test", "-e", "/var/lib/airgap-packages").rc != 0
    assert scenario.playbook("gpu_operator", "-e", "gpu_operator_state=absent").changed == 0


def test_crds_go_only_when_asked(inside: Inside, scenario: Scenario) -> None:
    assert inside.kubectl("get", "crd", "clusterpolicies.nvidia.com").rc == 0
    gone = ("-e", "gpu_operator_state=absent", "-e", "gpu_operator_remove_crds=true")
    assert scenario.playbook("gpu_operator", *gone).changed > 0
    assert inside.kubectl("get", "crd", "clusterpolicies.nvidia.com").rc != 0
