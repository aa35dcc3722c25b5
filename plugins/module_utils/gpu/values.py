# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Chart values of a GPU operator: every image at the private registry, pull secrets in each place, drivers, sharing.

The chart's own values say which components there are, so that a newer chart's are found too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.airgap.speech.plugins.module_utils.oci.reference import Reference, ReferenceInvalid

try:
    import yaml
except ImportError:  # the modules say so
    yaml = None  # type: ignore[assignment]

NVIDIA = "nvidia"
AMD = "amd"
VENDORS = (NVIDIA, AMD)

# How a driver comes onto a node: made there by the operator's container, made before for one kernel, or the host's own.
OPERATOR = "operator"
PRECOMPILED = "precompiled"
HOST = "host"
DRIVER_MODES = (OPERATOR, PRECOMPILED, HOST)

MIG_STRATEGIES = ("none", "single", "mixed")

SHARING_CONFIG = "airgap-device-plugin"
SHARING_DEFAULT = "all-nodes"
MIG_CONFIG = "airgap-mig"


class ValuesError(Exception):
    """The values cannot be made: the thing, the cause and the next step."""


@dataclass(frozen=True)
class Site:
    """What a site decides. Empty texts mean: as the chart has it."""

    registry: str = ""
    pull_secret: str = ""
    driver_mode: str = OPERATOR
    driver_version: str = ""
    # The systems of the GPU nodes as a driver's tag has them, such as ubuntu24.04.
    systems: tuple[str, ...] = ()
    repo_config: str = ""
    cert_config: str = ""
    toolkit: bool = True
    nfd: bool = True
    service_monitor: bool = False
    # Configurations of the device plugin by name, and the one of nodes without a label nvidia.com/device-plugin.config.
    device_plugin_configs: Mapping[str, Any] = field(default_factory=dict)
    device_plugin_default: str = ""
    # How many pods share a GPU in turns, on all nodes; below 2: none do.
    time_slicing: int = 0
    mig_strategy: str = "single"
    mig_default: str = "all-disabled"
    mig_configs: Mapping[str, Any] = field(default_factory=dict)
    # AMD: where the driver's image is, without a tag, and where its packages and their key are.
    driver_repository: str = ""
    package_url: str = ""
    package_key_url: str = ""


@dataclass
class Values:
    """The values, and what each image that moved was called: upstream repository to where it is inside."""

    tree: dict[str, Any] = field(default_factory=dict)
    moved: dict[str, str] = field(default_factory=dict)


def inside(repository: str, registry: str) -> str:
    """Where a repository (`host/path`, without a tag) is in the private registry. Raises ReferenceInvalid."""
    return Reference.parse(repository).inside(registry).name


def laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Values over values, as helm merges them."""
    result = dict(below)
    for key, value in above.items():
        under = result.get(key)
        result[key] = laid_over(under, value) if isinstance(under, Mapping) and isinstance(value, Mapping) else value
    return result


class _Mover:
    """Walks the values of one chart and gathers what has to be laid over them."""

    def __init__(self, site: Site, objects: bool, moved: dict[str, str]) -> None:
        self.site = site
        # Pull secrets as {name: ...}, as pods have them, or as bare names, as NVIDIA's operator has them.
        self.objects = objects
        self.moved = moved

    def walk(self, tree: Mapping[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        repository = tree.get("repository")
        if isinstance(repository, str) and repository and self.site.registry:
            found.update(self._repository(repository, tree.get("image")))
        for key, value in tree.items():
            laid = self._entry(key, value, "repository" in tree)
            if laid is not None:
                found[key] = laid
        return found

    def _repository(self, repository: str, image: Any) -> dict[str, Any]:
        name = f"{repository}/{image}" if isinstance(image, str) and image else repository
        try:
            moved = inside(name, self.site.registry)
        except ReferenceInvalid:
            return {}
        self.moved[name] = moved
        return {"repository": moved[: -len(image) - 1] if name != repository else moved}

    def _entry(self, key: str, value: Any, has_repository: bool) -> Any:
        secret = self.site.pull_secret
        if key == "imagePullSecrets" and isinstance(value, (list, str)):
            if not secret:
                return None
            if isinstance(value, str):
                return secret
            return [{"name": secret}] if self.objects else [secret]
        if key == "imageRegistrySecret" and isinstance(value, Mapping):
            return {"name": secret} if secret else None
        if key.endswith("PullSecret") and isinstance(value, str):
            return secret or None
        if isinstance(value, Mapping):
            return self.walk(value) or None
        named = key == "image" or key.endswith("Image") or key.startswith("relatedImage")
        if not named or has_repository or not isinstance(value, str) or not value or not self.site.registry:
            return None
        try:
            reference = Reference.parse(value)
        except ReferenceInvalid:
            return None
        moved = str(reference.inside(self.site.registry))
        self.moved[str(reference)] = moved
        return moved


def make(
    vendor: str,
    site: Site,
    own: Mapping[str, Any],
    subcharts: Mapping[str, Mapping[str, Any]],
    laid: Mapping[str, Any],
) -> Values:
    """The values of a chart. `own` are its own, `subcharts` those of its sub-charts by name, `laid` the site's.

    Raises ValuesError.
    """
    check(vendor, site)
    values = Values()
    values.tree = _Mover(site, vendor == AMD, values.moved).walk(own)
    for name, tree in subcharts.items():
        found = _Mover(site, True, values.moved).walk(tree)
        below = values.tree.get(name)
        values.tree[name] = laid_over(found, below if isinstance(below, Mapping) else {})
    if vendor == NVIDIA and site.pull_secret:
        values.tree = laid_over(values.tree, _more_secrets(own, site.pull_secret))
    values.tree = laid_over(values.tree, nvidia(site, own) if vendor == NVIDIA else amd(site))
    values.tree = laid_over(values.tree, laid)
    return values


def _more_secrets(own: Mapping[str, Any], secret: str) -> dict[str, Any]:
    """Pull secrets of components whose values do not show the key, which the ClusterPolicy has for each component.

    What stands deeper, such as the driver's manager, has none of its own: it takes the component's.
    """
    return {
        name: {"imagePullSecrets": [secret]}
        for name, tree in own.items()
        if isinstance(tree, Mapping) and isinstance(tree.get("repository"), str) and isinstance(tree.get("image"), str)
    }


def check(vendor: str, site: Site) -> None:
    """Raise ValuesError where the choices of a site do not go together."""
    if vendor == AMD and (site.time_slicing > 1 or site.device_plugin_configs or site.mig_configs):
        raise ValuesError("gpu_operator: AMD's operator knows no time-slicing and no MIG; leave these variables out")
    if site.time_slicing > 1 and SHARING_DEFAULT in site.device_plugin_configs:
        raise ValuesError(
            f"gpu_operator: time slicing is given as a number and as the configuration {SHARING_DEFAULT}; "
            "give one of them"
        )
    if site.device_plugin_default and site.device_plugin_default not in site.device_plugin_configs:
        raise ValuesError(
            f"gpu_operator: the default configuration {site.device_plugin_default} of the device plugin is not among "
            f"{', '.join(site.device_plugin_configs) or 'the configurations, of which there are none'}; "
            "add it, or name one of those"
        )
    if site.driver_mode == PRECOMPILED and vendor == NVIDIA and "." in site.driver_version:
        raise ValuesError(
            f"gpu_operator: driver version {site.driver_version} with precompiled drivers; give the branch alone, "
            f"such as {site.driver_version.partition('.')[0]}: the kernel makes the rest of the tag"
        )


def nvidia(site: Site, own: Mapping[str, Any]) -> dict[str, Any]:
    """What a site decides, in NVIDIA's values."""
    driver: dict[str, Any] = {"enabled": site.driver_mode != HOST, "usePrecompiled": site.driver_mode == PRECOMPILED}
    if site.driver_mode != HOST:
        if site.driver_version:
            driver["version"] = site.driver_version
        # A ClusterPolicy's own driver takes the system of the first node for all: where there are several systems, a
        # NVIDIADriver makes a DaemonSet for each.
        several = len(set(site.systems)) > 1
        driver["nvidiaDriverCRD"] = {"enabled": several, "deployDefaultCR": True}
        if site.driver_mode == OPERATOR:
            driver["repoConfig"] = {"configMapName": site.repo_config}
            driver["certConfig"] = {"name": site.cert_config}
    tree: dict[str, Any] = {
        "driver": driver,
        "toolkit": {"enabled": site.toolkit},
        "nfd": {"enabled": site.nfd},
        "psa": {"enabled": True},
        # The role applies the CRDs itself, before the release, and shows what changes.
        "operator": {"upgradeCRD": False},
        "dcgmExporter": {"serviceMonitor": {"enabled": site.service_monitor}},
        "mig": {"strategy": site.mig_strategy},
        "migManager": {"config": {"default": site.mig_default}},
    }
    sharing = dict(site.device_plugin_configs)
    default = site.device_plugin_default
    if site.time_slicing > 1:
        sharing[SHARING_DEFAULT] = time_slicing(site.time_slicing)
        default = default or SHARING_DEFAULT
    if sharing:
        data = {name: _yaml(config) for name, config in sorted(sharing.items())}
        tree["devicePlugin"] = {"config": {"create": True, "name": SHARING_CONFIG, "default": default, "data": data}}
    if site.mig_configs:
        config = {"version": "v1", "mig-configs": dict(site.mig_configs)}
        tree["migManager"]["config"].update(
            {"create": True, "name": MIG_CONFIG, "data": {"config.yaml": _yaml(config)}}
        )
    # Parts that a chart of another version does not know would be refused by its schema, or say nothing.
    return {key: value for key, value in tree.items() if key in own}


def time_slicing(replicas: int) -> dict[str, Any]:
    """A configuration of the device plugin: so many pods share each GPU in turns; their memory is not kept apart."""
    return {
        "version": "v1",
        "sharing": {"timeSlicing": {"resources": [{"name": "nvidia.com/gpu", "replicas": replicas}]}},
    }


def _yaml(tree: Any) -> str:
    return str(yaml.safe_dump(tree, sort_keys=True))


def amd(site: Site) -> dict[str, Any]:
    """What a site decides, in AMD's values."""
    driver: dict[str, Any] = {"enable": site.driver_mode != HOST}
    if site.driver_mode != HOST:
        if not site.driver_repository or not site.registry:
            raise ValuesError(
                "gpu_operator: AMD's driver image is the site's own, and gpu_operator_driver_repository or the "
                "registry is empty; give its upstream name without a tag, or driver mode host for the kernel's own"
            )
        driver["image"] = inside(site.driver_repository, site.registry)
        if site.driver_version:
            driver["version"] = site.driver_version
        build: dict[str, Any] = {"baseImageRegistry": f"{site.registry}/docker.io/library"}
        if site.driver_mode == OPERATOR:
            build.update({"packageRepoURL": site.package_url, "gpgKeyURL": site.package_key_url})
        driver["imageBuild"] = build
    return {
        "node-feature-discovery": {"enabled": site.nfd},
        "upgradeCRD": False,
        "deviceConfig": {"spec": {"driver": driver}},
    }
