# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judges what was seen of hosts, cluster and releases before anything changes. Every failure is told, not the first."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

_UNITS = (("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10))


@dataclass(frozen=True)
class Failure:
    """Something that would break the run: what, why, and what to do about it."""

    thing: str
    cause: str
    next_step: str

    def __str__(self) -> str:
        return f"{self.thing}: {self.cause}; {self.next_step}"


@dataclass(frozen=True)
class Need:
    """Room that will be wanted on a host."""

    host: str
    path: str
    amount: int
    what: str


@dataclass
class Findings:
    """What was checked: what is well, in words, and what is not."""

    passed: List[str] = field(default_factory=list)
    failures: List[Failure] = field(default_factory=list)

    def fail(self, thing: str, cause: str, next_step: str) -> None:
        self.failures.append(Failure(thing, cause, next_step))

    def message(self) -> str:
        """All of it as a text."""
        if not self.failures:
            return "\n".join(["preflight: everything checked is well", *(f"- {line}" for line in self.passed)])
        count = len(self.failures)
        head = f"preflight: {count} thing(s) must be put right before anything is changed:"
        return "\n".join([head, *(f"{number}. {failure}" for number, failure in enumerate(self.failures, 1))])


def size_text(amount: float) -> str:
    """Bytes with a binary unit."""
    for unit, power in _UNITS:
        if amount >= 2**power:
            return f"{amount / 2**power:.1f} {unit}"
    return f"{int(amount)} B"


def check_hosts(findings: Findings, hosts: Mapping[str, Any], skew_max: float) -> Dict[str, Mapping[str, Any]]:
    """Hosts answered, and their clocks agree with the controller's. The probes of those that answered come back."""
    probes: Dict[str, Mapping[str, Any]] = {}
    for name, probe in hosts.items():
        if not isinstance(probe, Mapping) or not isinstance(probe.get("epoch"), (int, float)):
            seen = probe if isinstance(probe, Mapping) else {}
            if seen.get("unreachable"):
                cause = f"cannot be reached: {_one_line(seen.get('msg'))}"
                step = f"see that `ssh {name}` works from here as the user of the inventory, and run again"
            elif seen:
                cause = f"cannot be looked at: {_one_line(seen.get('msg'))}"
                step = "see that python3 is installed there, and run again"
            else:
                cause = "was not looked at"
                step = "run the play of preflight that looks at the hosts before this one, without a limit"
            findings.fail(f"host {name}", cause, step)
            continue
        probes[name] = probe
        clock = probe.get("clock") or {}
        skew = float(clock.get("skew") or 0.0)
        if abs(skew) > skew_max:
            where = "ahead of" if skew > 0 else "behind"
            findings.fail(
                f"host {name}",
                f"its clock is {abs(skew):.1f} s {where} the bastion's (allowed: {skew_max:g} s)",
                "set its clock, or start its time service (chrony, systemd-timesyncd), and run again",
            )
    if hosts and len(probes) == len(hosts):
        findings.passed.append(f"{len(probes)} hosts answer: {', '.join(sorted(probes))}")
        worst = max(abs(float((probe.get("clock") or {}).get("skew") or 0.0)) for probe in probes.values())
        if worst <= skew_max:
            findings.passed.append(f"clocks agree with the bastion's within {skew_max:g} s (worst: {worst:.1f} s)")
    return probes


def _one_line(text: Any) -> str:
    return " ".join(str(text or "no reason given").split())


def version_of(text: str) -> Optional[Tuple[int, int]]:
    """Major and minor of a version such as ``v1.36.3`` or ``1.30``."""
    parts = text.lstrip("v").split(".")
    if len(parts) < 2:
        return None
    minor = "".join(letter for letter in parts[1] if letter.isdigit())
    return (int(parts[0]), int(minor)) if parts[0].isdigit() and minor else None


def check_cluster(findings: Findings, version: str, minimum: str) -> None:
    """The cluster is new enough."""
    have, want = version_of(version), version_of(minimum)
    if have is None or want is None:
        findings.fail(
            "cluster",
            f"its version {version!r} cannot be compared with {minimum!r}",
            "set preflight_kubernetes_min to a version such as 1.30",
        )
    elif have < want:
        findings.fail(
            "cluster",
            f"it runs Kubernetes {version}, and {minimum} is the oldest that will do",
            "upgrade the cluster, and run again",
        )
    else:
        findings.passed.append(f"the cluster answers and runs Kubernetes {version} (at least {minimum})")


def node_images(probe: Mapping[str, Any], host: str, nodes: Sequence[Mapping[str, Any]]) -> List[str]:
    """The images that the cluster's node of a host holds already, by all their names."""
    names = {
        host,
        host.split(".", maxsplit=1)[0],
        str(probe.get("hostname", "")),
        str(probe.get("hostname", "")).split(".", maxsplit=1)[0],
    }
    for node in nodes:
        status = node.get("status") or {}
        addresses = {str(item.get("address")) for item in status.get("addresses") or []}
        if str((node.get("metadata") or {}).get("name")) in names or names & addresses:
            return [str(name) for image in status.get("images") or [] for name in image.get("names") or []]
    return []


def image_need(lock: Mapping[str, Any], present: Sequence[str]) -> int:
    """Bytes of the images of a lock that a node does not hold."""
    digests = {name.rsplit("@", 1)[1] for name in present if "@" in name}
    return sum(int(image.get("size") or 0) for image in lock.get("images") or [] if image.get("digest") not in digests)


def model_need(lock: Mapping[str, Any], used: int) -> int:
    """Bytes of the models of a lock, less what their directory holds already."""
    return max(0, sum(int(model.get("size") or 0) for model in lock.get("models") or []) - used)


def lock_bytes(lock: Mapping[str, Any]) -> int:
    """Bytes of all blobs of a lock."""
    return sum(int(blob.get("size") or 0) for blob in lock.get("blobs") or [])


def check_space(findings: Findings, needs: Sequence[Need], probes: Mapping[str, Mapping[str, Any]]) -> None:
    """File systems have room for what is to come. Paths on the same one share its room."""
    shared: Dict[Tuple[str, Any], List[Need]] = {}
    for need in needs:
        seen = ((probes.get(need.host) or {}).get("paths") or {}).get(need.path)
        if seen is None:
            if need.host in probes:
                findings.fail(
                    f"host {need.host}",
                    f"the file system of {need.path} was not looked at",
                    "give preflight_paths of its play that path too",
                )
            continue
        shared.setdefault((need.host, seen.get("device")), []).append(need)
    short = False
    for (host, _device), wanted in shared.items():
        seen = probes[host]["paths"][wanted[0].path]
        total = sum(need.amount for need in wanted)
        free = int(seen.get("free_bytes") or 0)
        if total > free:
            short = True
            parts = ", ".join(f"{size_text(need.amount)} in {need.path} for {need.what}" for need in wanted)
            findings.fail(
                f"host {host}",
                f"its file system at {seen.get('nearest')} has {size_text(free)} free,"
                f" and {size_text(total)} are needed ({parts})",
                f"free {size_text(total - free)} there or make it larger, and run again",
            )
    if needs and not short:
        findings.passed.append(f"disk is enough for the bundle on {len({host for host, _device in shared})} hosts")


def check_capacity(findings: Findings, verdicts: Sequence[Mapping[str, Any]], allow_order_dependent: bool) -> None:
    """The pods of each release find nodes."""
    for entry in verdicts:
        thing = f"release {entry.get('name')} in namespace {entry.get('namespace')}"
        result = entry.get("result") or {}
        verdict = result.get("verdict")
        notes = "".join(f"; not modelled: {note}" for note in result.get("not_modelled") or [])
        if verdict == "fits" or (verdict == "order_dependent" and allow_order_dependent):
            findings.passed.append(
                f"{thing}: {verdict}, {result.get('pods')} pods on {result.get('nodes')} nodes{notes}"
            )
            continue
        reasons = [
            f"{item.get('workload')}: {item.get('pods')} pod(s) pending: {item.get('message')}"
            + "".join(f" ({detail})" for detail in item.get("details") or [])
            for item in result.get("shortfalls") or []
        ]
        if verdict == "order_dependent":
            findings.fail(
                thing,
                "whether its pods find nodes depends on the order in which equal nodes are chosen: "
                + " ".join(reasons),
                "free room or ask for less; or accept it with preflight_allow_order_dependent",
            )
        else:
            findings.fail(
                thing,
                "its pods do not fit on the nodes: " + " ".join(reasons),
                "free room, add nodes, or ask for less in the values of the release",
            )
