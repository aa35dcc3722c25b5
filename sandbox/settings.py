# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a sandbox is called, which addresses it has, and where it keeps things."""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv4Network, NetmaskValueError
from pathlib import Path
from typing import Any

import yaml

from sandbox.run import SandboxError

ROOT = Path(__file__).resolve().parent
DOMAIN = "airgap.internal"
CLUSTER_DOMAIN = "cluster.local"
MAX_WORKERS = 6
DEFAULT_SUBNET = IPv4Network("10.89.0.0/16")


def versions() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "versions.yml").read_text()))


def cache_dir() -> Path:
    return Path(os.environ.get("AIRGAP_SPEECH_CACHE") or Path.home() / ".cache" / "airgap-speech")


def state_root() -> Path:
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "airgap-speech" / "sandbox"


def digest(*parts: Any) -> str:
    """A short name for content: the same parts give the same name."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Settings:
    """One sandbox. All names, networks, tables and directories carry its name."""

    name: str = "airgap"
    subnet: IPv4Network = DEFAULT_SUBNET
    workers: int = 1

    # -- names
    @property
    def inside(self) -> str:
        return f"{self.name}-inside"

    @property
    def outside(self) -> str:
        return f"{self.name}-outside"

    @property
    def table(self) -> str:
        return "airgap_" + self.name.replace("-", "_")

    @property
    def bridge(self) -> str:
        """The bridge's interface name: at most 15 characters, so cut from a digest."""
        return "ags-" + digest("bridge", self.name)[:8]

    @property
    def state(self) -> Path:
        return state_root() / self.name

    def container(self, host: str) -> str:
        return f"{self.name}-{host}"

    # -- hosts
    @property
    def nodes(self) -> list[str]:
        return ["control-plane", *(f"worker-{n}" for n in range(1, self.workers + 1))]

    @property
    def ssh_hosts(self) -> list[str]:
        return ["registry", *self.nodes]

    @property
    def hosts(self) -> list[str]:
        return ["resolver", "registry", "bastion", *self.nodes]

    def fqdn(self, host: str) -> str:
        return f"{host}.{DOMAIN}"

    # -- addresses: hosts in the first /24, Services in the second quarter, pods in the second half
    def address(self, host: str) -> IPv4Address:
        offsets = {"gateway": 1, "resolver": 2, "registry": 3, "bastion": 4, "control-plane": 10}
        if host in offsets:
            return self.subnet[offsets[host]]
        return self.subnet[10 + int(host.removeprefix("worker-"))]

    @property
    def host_range(self) -> IPv4Network:
        return next(self.subnet.subnets(new_prefix=24))

    @property
    def services(self) -> IPv4Network:
        return list(self.subnet.subnets(prefixlen_diff=2))[1]

    @property
    def pods(self) -> IPv4Network:
        return list(self.subnet.subnets(prefixlen_diff=1))[1]

    def pod_range(self, node: str) -> IPv4Network:
        return list(self.pods.subnets(new_prefix=24))[self.nodes.index(node)]

    @property
    def simulated_pods(self) -> IPv4Network:
        """Addresses that simulated pods are said to have; nothing answers there."""
        return list(self.pods.subnets(new_prefix=24))[-1]

    @property
    def api_service(self) -> IPv4Address:
        return self.services[1]

    @property
    def dns_service(self) -> IPv4Address:
        return self.services[10]

    @property
    def api(self) -> str:
        return f"https://{self.fqdn('control-plane')}:6443"


def parse_settings(name: str, subnet: str | None, workers: int | None, config: dict[str, Any]) -> Settings:
    """Settings from the command line over those of the configuration file, checked."""
    unknown = sorted(set(config) - {"subnet", "workers", "pools"})
    if unknown:
        raise SandboxError(f"configuration file: unknown key {unknown[0]!r}; known are subnet, workers and pools")
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,20}", name):
        raise SandboxError(
            f"sandbox name {name!r} will not do: a lower-case letter, then up to 20 letters, digits or hyphens; "
            "choose another --name"
        )
    given = subnet or str(config.get("subnet", DEFAULT_SUBNET))
    try:
        network = IPv4Network(given)
    except (AddressValueError, NetmaskValueError, ValueError) as error:
        raise SandboxError(f"--subnet {given}: {error}; give an IPv4 network such as 10.89.0.0/16") from error
    if not network.is_private:
        raise SandboxError(f"--subnet {given} is not a private range; give one such as 10.89.0.0/16")
    if not 12 <= network.prefixlen <= 20:
        raise SandboxError(
            f"--subnet {given}: hosts, Services and pods need a /12 to a /20; give one such as 10.89.0.0/16"
        )
    count = workers if workers is not None else config.get("workers", 1)
    if not isinstance(count, int) or not 1 <= count <= MAX_WORKERS:
        raise SandboxError(f"workers: {count!r} will not do; give a number from 1 to {MAX_WORKERS}")
    return Settings(name=name, subnet=network, workers=count)


def load_config(path: str | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        data = yaml.safe_load(Path(path).read_text())
    except (OSError, yaml.YAMLError) as error:
        raise SandboxError(f"configuration file {path}: {error}") from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise SandboxError(f"configuration file {path} is not a mapping; see sandbox/README.md")
    return data
