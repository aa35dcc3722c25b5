# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The vendors' real charts, which are not kept here: a directory or package of each comes from the environment.

docs/gpu_operator.md says how to get them, and what the last run said.
"""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.airgap.speech.plugins.module_utils.discovery.charts import read_chart
from ansible_collections.airgap.speech.plugins.module_utils.discovery.images import load_documents
from ansible_collections.airgap.speech.plugins.module_utils.gpu.images import needed_images
from ansible_collections.airgap.speech.plugins.module_utils.gpu.systems import System
from ansible_collections.airgap.speech.plugins.module_utils.gpu.values import Site, make

CHECKOUT = Path(__file__).resolve().parents[5]
CHARTS = {"nvidia": "AIRGAP_GPU_OPERATOR_CHART", "amd": "AIRGAP_AMD_GPU_OPERATOR_CHART"}
REGISTRY = "registry.airgap.internal:5000"
UBUNTU = System("ubuntu", "24.04", "6.8.0-45-generic", ("u",))
RHEL = System("rhel", "9.4", "5.14.0-427.el9.x86_64", ("r",))
SITES = {
    "operator": (Site(repo_config="airgap-packages", cert_config="airgap-packages-ca"), [UBUNTU]),
    "mixed": (Site(repo_config="airgap-packages", systems=("rhel9", "ubuntu24.04")), [UBUNTU, RHEL]),
    "precompiled": (Site(driver_mode="precompiled", driver_version="580"), [UBUNTU]),
    "host": (Site(driver_mode="host", toolkit=False), [UBUNTU]),
    "shared": (Site(time_slicing=4, mig_strategy="mixed", mig_configs={"a": [{"devices": "all"}]}), [UBUNTU]),
}


def chart(vendor: str) -> str:
    path = os.environ.get(CHARTS[vendor])
    if not path:
        pytest.skip(f"no chart of {vendor}: set {CHARTS[vendor]} to its directory or package (docs/gpu_operator.md)")
    return path


def helm() -> str:
    found = shutil.which("helm") or next(
        iter(sorted(glob.glob(str(Path.home() / ".cache/airgap-speech/go/helm/*/bin/helm")))), ""
    )
    assert found, "no helm on the path, nor in the sandbox's cache: run `.venv/bin/python -m sandbox build helm`"
    return found


def rendered(path: str, vendor: str, site: Site, folder: Path) -> list[dict[str, Any]]:
    package = read_chart(path)
    tree = make(vendor, site, package.values, {part.name: part.values for part in package.subcharts}, {}).tree
    (folder / "values.yml").write_text(yaml.safe_dump(tree))
    argv = [
        helm(),
        "template",
        "gpu-operator",
        path,
        "--namespace=gpu-operator",
        f"--values={folder}/values.yml",
        "--include-crds",
    ]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    documents: list[dict[str, Any]] = load_documents(done.stdout)
    return documents


def rules() -> dict[str, str]:
    return {
        path.name: path.read_text() for path in (CHECKOUT / "roles/speech_platform/files/image_rules").glob("*.yml")
    }


def inside(site: Site) -> Site:
    return Site(**{**vars(site), "registry": REGISTRY, "pull_secret": "airgap-registry"})


def unknown_fields(tree: Any, schema: dict[str, Any], path: str) -> Iterator[str]:
    """Paths of a document that its CRD does not have."""
    if schema.get("x-kubernetes-preserve-unknown-fields") or schema.get("x-kubernetes-int-or-string"):
        return
    if isinstance(tree, dict):
        properties, more = schema.get("properties", {}), schema.get("additionalProperties")
        for key, value in tree.items():
            if key in properties:
                yield from unknown_fields(value, properties[key], f"{path}.{key}")
            elif not more:
                yield f"{path}.{key}"
    elif isinstance(tree, list):
        for item in tree:
            yield from unknown_fields(item, schema.get("items", {}), path + "[]")


def schemas(documents: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {
        item["spec"]["names"]["kind"]: item["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        for item in documents
        if item["kind"] == "CustomResourceDefinition"
    }


@pytest.mark.parametrize("name", SITES)
def test_nvidia(name: str, tmp_path: Path) -> None:
    site, systems = SITES[name]
    documents = rendered(chart("nvidia"), "nvidia", inside(site), tmp_path)
    images = needed_images(
        [item for item in documents if item["kind"] != "CustomResourceDefinition"], systems, rules(), REGISTRY
    )
    assert images.outside == [] and images.undecided == []
    drivers = sorted(item.partition("driver:")[2] for item in images.needed if "/driver:" in item)
    version = read_chart(chart("nvidia")).values["driver"]["version"]
    assert drivers == {
        "mixed": [f"{version}-rhel9", f"{version}-ubuntu24.04"],
        "precompiled": ["580-6.8.0-45-generic-ubuntu24.04"],
        "host": [],
    }.get(name, [f"{version}-ubuntu24.04"])
    known = schemas(documents)
    for item in documents:
        if item["kind"] in ("ClusterPolicy", "NVIDIADriver"):
            assert list(unknown_fields(item["spec"], known[item["kind"]]["properties"]["spec"], "spec")) == []
    policy = next(item for item in documents if item["kind"] == "ClusterPolicy")
    for part, tree in policy["spec"].items():
        if isinstance(tree, dict) and {"repository", "image"} <= set(tree):
            assert tree.get("imagePullSecrets") == ["airgap-registry"], part
    for item in documents:
        if item["kind"] in ("Deployment", "DaemonSet", "Job"):
            assert item["spec"]["template"]["spec"].get("imagePullSecrets") == [{"name": "airgap-registry"}], item[
                "metadata"
            ]["name"]


def test_amd(tmp_path: Path) -> None:
    documents = rendered(chart("amd"), "amd", inside(Site(driver_mode="host")), tmp_path)
    images = needed_images(
        [item for item in documents if item["kind"] != "CustomResourceDefinition"], [UBUNTU], rules(), REGISTRY
    )
    assert images.outside == []
    assert len(images.needed) > 5
    config = next(item for item in documents if item["kind"] == "DeviceConfig")
    assert list(unknown_fields(config["spec"], schemas(documents)["DeviceConfig"]["properties"]["spec"], "spec")) == []
