# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role made of a site's own config (plant.sh), and that a second run and a check change nothing."""

from __future__ import annotations

import re

from tests.integration.inside import Inside
from tests.scenarios.way import Scenario


def test_only_what_lacked_was_added(inside: Inside) -> None:
    """The site's comment, values and login stay; pulls read the hosts directory and are synced."""
    text = inside.on("worker-1", "cat", "/etc/containerd/config.toml").text
    assert "# The site's own comment, which stays." in text and "secret-of-the-site" in text
    added = [line.strip() for line in text.splitlines() if "certs.d" in line or "sync_fs" in line]
    assert sorted(added) == ['config_path = "/etc/containerd/certs.d"', "image_pull_with_sync_fs = true"]
    mode = inside.on("worker-1", "stat", "-c", "%a", "/etc/containerd/config.toml").text.strip()
    assert mode == "640"


def test_the_login_is_for_root_alone(inside: Inside) -> None:
    for node in ("control-plane", "worker-1"):
        found = inside.on(node, "find", "/etc/containerd/certs.d", "-name", "hosts.toml", "-printf", "%m %u:%g\n").text
        assert set(found.split("\n")) - {""} == {"600 root:root"}, found
    kept = inside.on("worker-1", "stat", "-c", "%a", "/var/lib/airgap-speech/node_runtime/containerd").text.strip()
    assert kept == "700"


def test_a_check_changes_nothing_and_shows_no_secret(scenario: Scenario) -> None:
    step = scenario.playbook("node_runtime", "--check", "--diff")
    assert step.changed == 0, step.output
    assert "secret-of-the-site" not in step.output and "Authorization" not in step.output


def test_a_change_shows_its_lines_alone(inside: Inside, scenario: Scenario) -> None:
    """The site takes the line out again: check mode and diff say what would come back, and that a restart follows."""
    take = ["sed", "-i", "/image_pull_with_sync_fs/d", "/etc/containerd/config.toml"]
    assert inside.on("worker-1", *take).rc == 0
    step = scenario.playbook("node_runtime", "--check", "--diff", "--limit", "worker-1.airgap.internal")
    assert "+  image_pull_with_sync_fs = true" in step.output and "secret-of-the-site" not in step.output
    assert inside.on("worker-1", "grep", "-c", "sync_fs", "/etc/containerd/config.toml").text.strip() == "0"
    step = scenario.playbook("node_runtime", "--limit", "worker-1.airgap.internal", "-e", "node_runtime_drain=true")
    assert step.changed > 0
    assert inside.on("worker-1", "grep", "-c", "sync_fs", "/etc/containerd/config.toml").text.strip() == "1"
    node = inside.kubectl_json("get", "node", "worker-1")
    assert not node["spec"].get("unschedulable"), "the node stayed cordoned"


def test_a_node_that_does_not_come_back_stops_the_rollout(inside: Inside, scenario: Scenario) -> None:
    """containerd of the first node cannot start: its config is given back, and the second node is not touched."""
    unit = "/etc/systemd/system/containerd.service.d/broken.conf"
    for node in ("control-plane", "worker-1"):
        inside.on(node, "sed", "-i", "/image_pull_with_sync_fs/d", "/etc/containerd/config.toml")
    before = {node: inside.on(node, "sha256sum", "/etc/containerd/config.toml").text for node in ("worker-1",)}
    # It starts only while the config is as the site had it.
    check = "[Service]\nExecStartPre=/bin/sh -c '! grep -q sync_fs /etc/containerd/config.toml'\n"
    inside.on("control-plane", "mkdir", "-p", unit.rpartition("/")[0])
    inside.on("control-plane", "tee", unit, stdin=check)
    inside.on("control-plane", "systemctl", "daemon-reload")
    try:
        done = inside.playbook("node_runtime", "-e", "@/home/ops/scenario/site.yml", node_runtime_wait_seconds=20)
        said = re.sub(r"\s+", " ", done.text)
        assert done.rc != 0
        assert (
            "control-plane.airgap.internal did not come back within 20 s after containerd.service was restarted" in said
        )
        assert "Its former config is back, and the service runs" in said and "No further node was touched" in said
        assert inside.on("worker-1", "sha256sum", "/etc/containerd/config.toml").text == before["worker-1"]
        assert inside.on("control-plane", "systemctl", "is-active", "containerd").text.strip() == "active"
    finally:
        inside.on("control-plane", "rm", "-rf", unit.rpartition("/")[0])
        inside.on("control-plane", "systemctl", "daemon-reload")
    assert scenario.playbook("node_runtime").changed > 0
    assert scenario.playbook("node_runtime").changed == 0
