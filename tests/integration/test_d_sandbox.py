# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sandbox itself: it is what it says, a second `up` changes nothing, and what cannot be is refused."""

from __future__ import annotations

import subprocess
from pathlib import Path

import yaml

from dev.journey import CHECKOUT, Journey
from tests.integration.inside import Inside


def sandbox(journey: Journey, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    argv = journey.sandbox_argv(command, *arguments)
    return subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, check=False)


def test_up_again_changes_nothing(journey: Journey) -> None:
    done = sandbox(journey, "up")
    assert done.returncode == 0, done.stderr
    assert "nothing changed" in done.stderr, done.stderr


def test_an_address_range_in_use(journey: Journey) -> None:
    other = Journey(name="airgap-other")
    done = sandbox(other, "up", "--subnet", "10.89.128.0/17")
    assert done.returncode != 0
    assert "10.89" in done.stderr and "airgap" in done.stderr, done.stderr


def test_the_bastion_is_bare(inside: Inside) -> None:
    for module in ("pip", "ensurepip"):
        assert inside.on("bastion", "/usr/bin/python3", "-c", f"import {module}").rc != 0, module


def test_nodes_report_what_they_use(inside: Inside) -> None:
    done = inside.kubectl("top", "nodes")
    assert done.rc == 0 and "worker-1" in done.text, done.text


def test_simulated_pools(journey: Journey, inside: Inside, tmp_path: Path) -> None:
    """A pool of simulated GPU nodes comes, and goes again."""
    pools = tmp_path / "pools.yml"
    pool = {
        "name": "l4",
        "count": 3,
        "cpu": "16",
        "memory": "64Gi",
        "gpus": 1,
        "labels": {"nvidia.com/gpu.product": "L4"},
    }
    try:
        pools.write_text(yaml.safe_dump([pool]))
        made = sandbox(journey, "pools", str(pools))
        assert made.returncode == 0, made.stderr
        nodes = inside.kubectl_json("get", "nodes", "-l", "nvidia.com/gpu.product=L4")["items"]
        assert [node["status"]["allocatable"]["nvidia.com/gpu"] for node in nodes] == ["1"] * 3
    finally:
        pools.write_text("[]\n")
        gone = sandbox(journey, "pools", str(pools))
    assert gone.returncode == 0, gone.stderr
    left = inside.kubectl_json("get", "nodes", "-l", "nvidia.com/gpu.product=L4")["items"]
    assert left == []
