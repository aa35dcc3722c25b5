# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The two networks of a sandbox, and the way of each inside container to the counter."""

from __future__ import annotations

import json
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from sandbox.checks import check_range
from sandbox.containers import LABEL, docker, process_id
from sandbox.run import SandboxError, Steps, as_root, run, text
from sandbox.settings import Settings


def networks() -> list[dict[str, Any]]:
    names = docker("network", "ls", "-q").split()
    return list(json.loads(docker("network", "inspect", *names))) if names else []


def network(name: str) -> dict[str, Any] | None:
    return next((found for found in networks() if found["Name"] == name), None)


def subnets(found: dict[str, Any]) -> list[IPv4Network]:
    given = [item["Subnet"] for item in (found.get("IPAM") or {}).get("Config") or [] if "." in item.get("Subnet", "")]
    return [IPv4Network(item) for item in given]


def used_ranges(settings: Settings) -> list[tuple[str, IPv4Network]]:
    """Ranges of other networks of the engine, and of the machine's routes."""
    used: list[tuple[str, IPv4Network]] = []
    own_bridges = {settings.bridge}
    for found in networks():
        if found["Name"] == settings.inside:
            continue
        owner = (found.get("Labels") or {}).get(LABEL)
        label = f"the network {found['Name']}" + (
            f" of the sandbox {owner} (`down --name {owner}` removes it)" if owner else ""
        )
        used += [(label, item) for item in subnets(found)]
    for line in text(["ip", "-4", "route", "show", "table", "main"]).splitlines():
        words = line.split()
        if words[0] in {"default", "unreachable", "blackhole", "prohibit"} or (
            "dev" in words and words[words.index("dev") + 1] in own_bridges
        ):
            continue
        used.append((f"the route `{line.strip()}`", IPv4Network(words[0], strict=False)))
    return used


def remove_leftover_bridge(settings: Settings) -> None:
    """Where the engine's data was removed under a sandbox, its bridge still ties old namespaces to our addresses."""
    if Path("/sys/class/net", settings.bridge).exists():
        run(as_root(["ip", "link", "delete", settings.bridge]))


def ensure_networks(settings: Settings, steps: Steps) -> None:
    found = network(settings.inside)
    if found and subnets(found) != [settings.subnet]:
        raise SandboxError(
            f"the sandbox {settings.name} uses {subnets(found)[0]}, not {settings.subnet}; "
            f"run `down --name {settings.name}` first, or leave --subnet out"
        )
    if not found:
        check_range(settings.subnet, used_ranges(settings))
        with steps.step(f"network {settings.inside} {settings.subnet}, internal"):
            remove_leftover_bridge(settings)
            docker(
                "network",
                "create",
                "--internal",
                "--driver",
                "bridge",
                f"--subnet={settings.subnet}",
                f"--ip-range={settings.host_range}",
                f"--gateway={settings.address('gateway')}",
                "--opt",
                f"com.docker.network.bridge.name={settings.bridge}",
                "--label",
                f"{LABEL}={settings.name}",
                settings.inside,
            )
    if not network(settings.outside):
        with steps.step(f"network {settings.outside}"):
            # The engine picks a free range, which is then given to it: only a given range allows fixed addresses.
            docker("network", "create", settings.outside)
            picked = subnets(network(settings.outside) or {})[0]
            docker("network", "rm", settings.outside)
            docker("network", "create", f"--subnet={picked}", "--label", f"{LABEL}={settings.name}", settings.outside)


def outside_subnet(settings: Settings) -> IPv4Network:
    found = network(settings.outside)
    if not found:
        raise SandboxError(f"the sandbox {settings.name} is not up; run `up --name {settings.name}`")
    return subnets(found)[0]


def add_default_route(settings: Settings, container: str) -> None:
    """What leaves an inside container goes to the bridge, where it is counted and dropped."""
    pid = str(process_id(container))
    route = ["ip", "route", "replace", "default", "via", str(settings.address("gateway"))]
    run(as_root(["nsenter", f"--net=/proc/{pid}/ns/net", *route]))


def remove_networks(settings: Settings, steps: Steps) -> None:
    for name in (settings.inside, settings.outside):
        if network(name):
            with steps.step(f"removing network {name}"):
                docker("network", "rm", name)


def check_free(settings: Settings) -> None:
    """The address range is free, before anything is made; nothing to check where the network is there."""
    if not network(settings.inside):
        check_range(settings.subnet, used_ranges(settings))
