# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the machine must have before anything is changed. The checks are pure: they are given what was found."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network

from sandbox.run import SandboxError

MIN_MEMORY_GIB = 6
MIN_DISK_GIB = 15
GIB = 1024**3
# What a sandbox takes: with 128 of them, two ran and the nodes of a third could not start containerd.
INOTIFY_INSTANCES = 50


def check_system(os_release: str, architecture: str) -> None:
    """Debian or Ubuntu, on x86-64."""
    values = dict(line.split("=", 1) for line in os_release.splitlines() if "=" in line)
    identifier = values.get("ID", "").strip('"')
    like = values.get("ID_LIKE", "").strip('"').split()
    if identifier not in {"debian", "ubuntu"} and not {"debian", "ubuntu"} & set(like):
        raise SandboxError(
            f"this system is {values.get('PRETTY_NAME', identifier or 'unknown')}: the sandbox installs with apt, "
            "on Debian or Ubuntu only; run it on such a machine or in a virtual machine of one"
        )
    if architecture not in {"x86_64", "amd64"}:
        raise SandboxError(f"this machine is {architecture}: the sandbox was tried on x86_64 only; run it on such")


def check_memory(total_bytes: int) -> None:
    if total_bytes < MIN_MEMORY_GIB * GIB:
        raise SandboxError(
            f"memory: this machine has {total_bytes / GIB:.1f} GiB and the sandbox needs {MIN_MEMORY_GIB} GiB; "
            "give the machine more memory"
        )


def check_disk(free_bytes: int, path: str) -> None:
    if free_bytes < MIN_DISK_GIB * GIB:
        raise SandboxError(
            f"disk: {free_bytes / GIB:.1f} GiB are free at {path} and the sandbox needs {MIN_DISK_GIB} GiB; "
            "free some space, or point AIRGAP_SPEECH_CACHE at a larger disk"
        )


def check_inotify(instances: int, others: list[str]) -> None:
    """`instances` is fs.inotify.max_user_instances; `others` are the sandboxes that run beside the one wanted."""
    need = INOTIFY_INSTANCES * (len(others) + 1)
    if instances < need and others:
        raise SandboxError(
            f"fs.inotify.max_user_instances is {instances}, and {len(others) + 1} sandboxes need {need}; remove one of "
            f"{', '.join(others)} with `down --name`, or run `sysctl -w fs.inotify.max_user_instances=512`"
        )


def check_docker(*, installed: bool, answers: bool, is_root: bool, can_sudo: bool, engine_error: str = "") -> None:
    """Docker is there and may be used, or there is the right to install and start it."""
    if answers or is_root or can_sudo:
        return
    if not installed:
        raise SandboxError(
            "Docker is not installed, and this user may not install it (not root, and sudo asks for a password); "
            "install the package docker.io, or run this as root"
        )
    raise SandboxError(
        f"Docker does not answer this user ({engine_error or 'no reason given'}); "
        "start it, add the user to the group docker and log in again, or run this as root"
    )


def check_root(*, is_root: bool, can_sudo: bool) -> None:
    if not (is_root or can_sudo):
        raise SandboxError(
            "the egress counter (nftables) and the containers' routes need root, and sudo asks for a password; "
            "run this as root, or let this user run sudo without a password"
        )


def check_range(subnet: IPv4Network, used: Iterable[tuple[str, IPv4Network]]) -> None:
    """No other network or route of the machine may use the address range."""
    for owner, network in used:
        if network.prefixlen > 0 and subnet.overlaps(network):
            raise SandboxError(
                f"address range {subnet} is in use: {network} belongs to {owner}; "
                f"choose another with --subnet, e.g. {free_range(subnet, used)}"
            )


def free_range(subnet: IPv4Network, used: Iterable[tuple[str, IPv4Network]]) -> str:
    """A range of the same size that nothing uses, for the message."""
    taken = [network for _owner, network in used if network.prefixlen > 0]
    for candidate in IPv4Network("10.0.0.0/8").subnets(new_prefix=max(subnet.prefixlen, 8)):
        if candidate.network_address.packed[1] >= 60 and not any(candidate.overlaps(network) for network in taken):
            return str(candidate)
    return "one in 172.16.0.0/12 or 192.168.0.0/16"
