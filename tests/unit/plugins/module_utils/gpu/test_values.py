# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import yaml

from ansible_collections.airgap.speech.plugins.module_utils.gpu.values import Site, ValuesError, make

SITE = Site(registry="reg.airgap:5000", pull_secret="airgap-registry")
NVIDIA: dict[str, Any] = {
    "nfd": {"enabled": True},
    "psa": {"enabled": False},
    "validator": {"repository": "nvcr.io/nvidia", "image": "gpu-operator", "imagePullSecrets": []},
    "driver": {
        "enabled": True,
        "repository": "nvcr.io/nvidia",
        "image": "driver",
        "version": "595.91.07",
        "imagePullSecrets": [],
        "manager": {"repository": "nvcr.io/nvidia/cloud-native", "image": "k8s-driver-manager", "version": "v0.12.0"},
    },
    "dcgm": {"repository": "nvcr.io/nvidia/cloud-native", "image": "dcgm"},
    "vgpuManager": {"repository": "", "image": "vgpu-manager", "imagePullSecrets": []},
    "devicePlugin": {"config": {}},
    "mig": {"strategy": "single"},
    "migManager": {"config": {"default": "all-disabled"}},
}
NFD = {
    "node-feature-discovery": {
        "image": {"repository": "registry.k8s.io/nfd/node-feature-discovery"},
        "imagePullSecrets": [],
    }
}
AMD: dict[str, Any] = {
    "controllerManager": {
        "manager": {"image": {"repository": "docker.io/rocm/amd-gpu-operator", "tag": "dev"}, "imagePullSecrets": ""}
    },
    "deviceConfig": {
        "spec": {
            "driver": {"image": "docker.io/myUserName/driverImage", "imageRegistrySecret": {}},
            "commonConfig": {"initContainerImage": "busybox:1.36"},
            "devicePlugin": {
                "devicePluginImage": "rocm/k8s-device-plugin:latest",
                "devicePluginImagePullPolicy": "Always",
            },
        }
    },
    "global": {"imagePullSecrets": []},
}
KMM = {
    "kmm": {
        "controller": {
            "manager": {"env": {"relatedImageSign": "docker.io/rocm/sign:1", "relatedImageSignPullSecret": ""}}
        }
    }
}


def values(site: Site = SITE, laid: dict[str, Any] | None = None) -> dict[str, Any]:
    return make("nvidia", site, NVIDIA, NFD, laid or {}).tree


def at(tree: Any, path: str) -> Any:
    for part in path.split("/"):
        tree = tree[part]
    return tree


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("validator/repository", "reg.airgap:5000/nvcr.io/nvidia"),
        ("validator/imagePullSecrets", ["airgap-registry"]),
        ("driver/repository", "reg.airgap:5000/nvcr.io/nvidia"),
        ("driver/manager", {"repository": "reg.airgap:5000/nvcr.io/nvidia/cloud-native"}),
        # Its values do not show the key, and the ClusterPolicy has it.
        ("dcgm/imagePullSecrets", ["airgap-registry"]),
        # No upstream: the site would have to make it.
        ("vgpuManager", {"imagePullSecrets": ["airgap-registry"]}),
        # Another shape: the whole name in the repository, and secrets as pods have them.
        ("node-feature-discovery/image/repository", "reg.airgap:5000/registry.k8s.io/nfd/node-feature-discovery"),
        ("node-feature-discovery/imagePullSecrets", [{"name": "airgap-registry"}]),
        ("psa/enabled", True),
    ],
)
def test_every_component_of_nvidia_is_at_the_registry(path: str, wanted: Any) -> None:
    assert at(values(), path) == wanted


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("controllerManager/manager/image", {"repository": "reg.airgap:5000/docker.io/rocm/amd-gpu-operator"}),
        ("controllerManager/manager/imagePullSecrets", "airgap-registry"),
        ("deviceConfig/spec/driver/imageRegistrySecret", {"name": "airgap-registry"}),
        ("deviceConfig/spec/driver/enable", False),
        ("deviceConfig/spec/commonConfig/initContainerImage", "reg.airgap:5000/docker.io/library/busybox:1.36"),
        (
            "deviceConfig/spec/devicePlugin",
            {"devicePluginImage": "reg.airgap:5000/docker.io/rocm/k8s-device-plugin:latest"},
        ),
        ("global/imagePullSecrets", [{"name": "airgap-registry"}]),
        ("kmm/controller/manager/env/relatedImageSign", "reg.airgap:5000/docker.io/rocm/sign:1"),
        ("kmm/controller/manager/env/relatedImageSignPullSecret", "airgap-registry"),
        ("node-feature-discovery/enabled", True),
    ],
)
def test_every_component_of_amd_is_at_the_registry(path: str, wanted: Any) -> None:
    assert at(make("amd", replace(SITE, driver_mode="host"), AMD, KMM, {}).tree, path) == wanted


def test_without_registry_and_secret_nothing_moves() -> None:
    made = make("nvidia", Site(), NVIDIA, NFD, {})
    assert made.moved == {}
    assert "validator" not in made.tree and made.tree["node-feature-discovery"] == {}


@pytest.mark.parametrize(
    ("site", "driver"),
    [
        (Site(driver_mode="host"), {"enabled": False, "usePrecompiled": False}),
        (
            Site(driver_version="580", driver_mode="precompiled", systems=("ubuntu22.04",)),
            {
                "enabled": True,
                "usePrecompiled": True,
                "version": "580",
                "nvidiaDriverCRD": {"enabled": False, "deployDefaultCR": True},
            },
        ),
        (
            Site(repo_config="repo", cert_config="cert", systems=("rhel9", "ubuntu24.04")),
            {
                "enabled": True,
                "usePrecompiled": False,
                "nvidiaDriverCRD": {"enabled": True, "deployDefaultCR": True},
                "repoConfig": {"configMapName": "repo"},
                "certConfig": {"name": "cert"},
            },
        ),
    ],
)
def test_driver_modes(site: Site, driver: dict[str, Any]) -> None:
    assert values(site)["driver"] == driver


def test_time_slicing_makes_a_configuration_that_is_the_default() -> None:
    config = values(replace(SITE, time_slicing=4, device_plugin_configs={"alone": {"version": "v1"}}))["devicePlugin"][
        "config"
    ]
    assert (config["create"], config["default"], sorted(config["data"])) == (True, "all-nodes", ["all-nodes", "alone"])
    sliced = yaml.safe_load(config["data"]["all-nodes"])["sharing"]["timeSlicing"]["resources"]
    assert sliced == [{"name": "nvidia.com/gpu", "replicas": 4}]


def test_mig_configurations_are_one_file() -> None:
    site = replace(SITE, mig_strategy="mixed", mig_configs={"halves": [{"devices": "all", "mig-enabled": True}]})
    tree = values(site)
    assert tree["mig"] == {"strategy": "mixed"}
    config = tree["migManager"]["config"]
    assert (config["name"], config["create"], config["default"]) == ("airgap-mig", True, "all-disabled")
    assert yaml.safe_load(config["data"]["config.yaml"])["mig-configs"]["halves"][0]["mig-enabled"] is True


def test_the_sites_own_values_win() -> None:
    tree = values(laid={"driver": {"version": "1"}, "nfd": {"enabled": False}})
    assert tree["driver"]["version"] == "1" and tree["driver"]["repository"]
    assert tree["nfd"] == {"enabled": False}


@pytest.mark.parametrize(
    ("vendor", "site", "says"),
    [
        ("nvidia", Site(driver_mode="precompiled", driver_version="580.1.2"), "give the branch alone, such as 580"),
        ("nvidia", Site(device_plugin_default="x"), "x of the device plugin is not among the configurations, of which"),
        ("nvidia", Site(time_slicing=2, device_plugin_configs={"all-nodes": {}}), "give one of them"),
        ("amd", Site(time_slicing=2, driver_mode="host"), "knows no time-slicing"),
        ("amd", Site(), "gpu_operator_driver_repository"),
    ],
)
def test_what_does_not_go_together_is_refused(vendor: str, site: Site, says: str) -> None:
    with pytest.raises(ValuesError, match=says):
        make(vendor, site, NVIDIA if vendor == "nvidia" else AMD, {}, {})


def test_amd_drivers_are_the_sites_own_image() -> None:
    site = replace(
        SITE, driver_repository="docker.io/site/amdgpu", package_url="https://p/amd", driver_version="30.20.1"
    )
    driver = make("amd", site, AMD, {}, {}).tree["deviceConfig"]["spec"]["driver"]
    assert driver["image"] == "reg.airgap:5000/docker.io/site/amdgpu"
    assert driver["imageBuild"]["packageRepoURL"] == "https://p/amd"
    assert driver["imageBuild"]["baseImageRegistry"] == "reg.airgap:5000/docker.io/library"
