# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible_collections.airgap.speech.plugins.modules import gpu_node_probe
from ansible_collections.airgap.speech.plugins.modules.gpu_preflight import main
from tests.unit.plugins.modules.run_module import run_module
from tests.unit.plugins.modules.small_api import api

CHART = Path(__file__).resolve().parents[4] / "tests/scenarios/gpu_operator/chart"
INFO = {
    "osImage": "Ubuntu 24.04.1 LTS",
    "kernelVersion": "6.8.0-45-generic",
    "containerRuntimeVersion": "containerd://2.1.4",
}
NODES = {"items": [{"metadata": {"name": "g1", "labels": {}}, "status": {"nodeInfo": INFO}}]}


def asked(folder: Path, nodes: Any = None, **values: Any) -> dict[str, Any]:
    with api({"/api/v1/nodes": NODES if nodes is None else nodes}, folder) as kubeconfig:
        return run_module(main, {"kubeconfig": kubeconfig, "nodes": ["g1"], "chart": str(CHART), **values})


def test_systems_of_named_nodes(tmp_path: Path) -> None:
    result = asked(tmp_path)
    assert result["failures"] == [] and result["message"] == ""
    assert result["systems"] == [
        {"id": "ubuntu", "version": "24.04", "kernel": "6.8.0-45-generic", "nodes": ["g1"], "tag": "ubuntu24.04"}
    ]


def test_the_charts_driver_is_held_against_what_platforms_need(tmp_path: Path) -> None:
    result = asked(tmp_path, needs={"other": {"driver": 610}})
    assert result["failures"] == [
        "driver: branch 595 (595.91.07), and other wants 610 or newer; set gpu_operator_driver_version to a newer one"
    ]


def test_what_is_not_understood_is_refused(tmp_path: Path) -> None:
    assert "needs of x:" in asked(tmp_path, needs={"x": {"memory": "16 GB"}})["msg"]
    assert "does not let this user list nodes" in asked(tmp_path, 403)["msg"]
    assert "cannot be read" in asked(tmp_path, chart=str(tmp_path / "none"))["msg"]


def test_the_probe_of_this_machine() -> None:
    result = run_module(gpu_node_probe.main, {})
    assert result["changed"] is False and result["probe"]["kernel"]
