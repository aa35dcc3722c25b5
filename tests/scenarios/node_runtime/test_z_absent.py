# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Taken back, every file of the nodes is what it was before the role, byte by byte."""

from __future__ import annotations

from tests.integration.inside import Inside
from tests.scenarios.node_runtime.before import state
from tests.scenarios.way import Scenario


def test_absent_gives_everything_back(inside: Inside, scenario: Scenario) -> None:
    before = {
        node: (scenario.journey.work / f"before-{node}.txt").read_text().splitlines()
        for node in ("control-plane", "worker-1")
    }
    predicted = scenario.playbook("node_runtime", "-e", "node_runtime_state=absent", "--check")
    assert predicted.changed > 0
    assert scenario.playbook("node_runtime", "-e", "node_runtime_state=absent").changed > 0
    for node, lines in before.items():
        assert state(scenario, node) == lines, node
        assert inside.on(node, "test", "-e", "/var/lib/airgap-speech/node_runtime/containerd").rc != 0
    assert scenario.playbook("node_runtime", "-e", "node_runtime_state=absent").changed == 0
