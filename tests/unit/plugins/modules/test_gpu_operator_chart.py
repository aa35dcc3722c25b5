# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""With real helm, on the stand-in for NVIDIA's chart that the scenario deploys."""

from __future__ import annotations

import glob
import shutil
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.airgap.speech.plugins.modules.gpu_operator_chart import main
from tests.unit.plugins.modules.run_module import run_module

CHECKOUT = Path(__file__).resolve().parents[4]
CHART = CHECKOUT / "tests/scenarios/gpu_operator/chart"
RULES = [str(path) for path in sorted((CHECKOUT / "roles/speech_platform/files/image_rules").glob("*.yml"))]
REGISTRY = "registry.airgap.internal:5000"
UBUNTU = {"id": "ubuntu", "version": "24.04", "kernel": "6.8.0-45-generic", "nodes": ["u"]}
JAMMY = {"id": "ubuntu", "version": "22.04", "kernel": "5.15.0-125-generic", "nodes": ["j"]}
ROCKY = {"id": "rocky", "version": "9.4", "kernel": "5.14.0", "nodes": ["r"]}


def helm() -> str:
    built = sorted(glob.glob(str(Path.home() / ".cache/airgap-speech/go/helm/*/bin/helm")))
    found = shutil.which("helm") or next(iter(built), "")
    assert found, "no helm: run `.venv/bin/python -m sandbox build helm`"
    return found


def made(**values: Any) -> dict[str, Any]:
    asked = {"chart": str(CHART), "helm": helm(), "registry": REGISTRY, "image_rules": RULES, "systems": [UBUNTU]}
    return run_module(main, {**asked, **values})


def test_all_images_are_at_the_registry() -> None:
    result = made(pull_secret="airgap-registry")
    assert result["outside"] == [] and result["undecided"] == [] and result["changed"] is False
    assert "nvcr.io/nvidia/driver:595.91.07-ubuntu24.04" in result["images"]
    assert "registry.k8s.io/nfd/node-feature-discovery:v0.19.0" in result["images"]
    assert f"{REGISTRY}/nvcr.io/nvidia/driver:595.91.07-ubuntu24.04" in result["references"]
    assert result["image_variables"] == {
        "node_os": ["ubuntu24.04"],
        "node_kernel_os": ["6.8.0-45-generic-ubuntu24.04"],
    }
    assert result["validator_image"] == f"{REGISTRY}/nvcr.io/nvidia/gpu-operator:v26.7.0"
    assert sorted(crd["spec"]["names"]["kind"] for crd in result["crds"]) == [
        "ClusterPolicy",
        "NVIDIADriver",
        "NodeFeature",
        "NodeFeatureGroup",
        "NodeFeatureRule",
    ]
    assert result["version"] == "v26.7.0"


def test_an_image_that_a_site_puts_back_outside_is_named() -> None:
    result = made(values={"toolkit": {"repository": "nvcr.io/nvidia/k8s"}})
    assert result["outside"] == [
        "nvcr.io/nvidia/k8s/container-toolkit:v1.20.0 (ClusterPolicy cluster-policy spec.toolkit)"
    ]


@pytest.mark.parametrize(
    ("values", "drivers"),
    [
        ({"systems": [UBUNTU, ROCKY]}, ["595.91.07-rocky9", "595.91.07-ubuntu24.04"]),
        ({"driver_mode": "precompiled", "driver_version": "580"}, ["580-6.8.0-45-generic-ubuntu24.04"]),
        # Each kernel with its own system, and with no other.
        (
            {"driver_mode": "precompiled", "driver_version": "580", "systems": [UBUNTU, JAMMY]},
            ["580-5.15.0-125-generic-ubuntu22.04", "580-6.8.0-45-generic-ubuntu24.04"],
        ),
        ({"driver_mode": "host"}, []),
        ({"systems": []}, []),
    ],
)
def test_drivers_of_the_nodes(values: dict[str, Any], drivers: list[str]) -> None:
    result = made(**values)
    assert "images" in result, result
    images = result["images"]
    assert sorted(name.partition("driver:")[2] for name in images if "/driver:" in name) == drivers


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"systems": [{"kernel": "1"}]}, "has no id or version of a system"),
        ({"driver_mode": "precompiled", "driver_version": "580.1"}, "give the branch alone"),
        ({"chart": "/none"}, "cannot be read"),
        ({"image_rules": ["/none"]}, "/none: No such file or directory"),
        ({"values": {"operator": "no mapping"}}, "helm could not render it"),
    ],
)
def test_what_cannot_be_made(values: dict[str, Any], says: str) -> None:
    assert says in made(**values)["msg"]
