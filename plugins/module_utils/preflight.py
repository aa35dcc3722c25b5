# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judges what was seen of hosts, cluster and releases before anything changes. Every failure is told, not the first."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import AbstractSet, Any, Dict, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.airgap.speech.plugins.module_utils.bundle.lock import Lock
from ansible_collections.airgap.speech.plugins.module_utils.kube import quantity as quantities
from ansible_collections.airgap.speech.plugins.module_utils.sizing import disk
from ansible_collections.airgap.speech.plugins.module_utils.sizing.disk import Place, ReleaseDisk, Room

# What the questions of the module capacity are about, for people.
QUESTIONS = {
    "now": "with the replicas asked",
    "autoscaled": "at the autoscalers' maximum",
    "rolling_update": "during a rolling update",
    "lost_nodes": "with nodes lost",
    "lost_zone": "with a zone lost",
    "evict": "by evicting lower priorities",
}

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
    """Room that will be wanted on a host. ``rule`` says how the number was found."""

    host: str
    path: str
    amount: int
    what: str
    rule: str = ""


@dataclass
class Findings:
    """What was checked: what is well, in words, and what is not."""

    passed: List[str] = field(default_factory=list)
    failures: List[Failure] = field(default_factory=list)
    texts: List[str] = field(default_factory=list)

    def fail(self, thing: str, cause: str, next_step: str) -> None:
        self.failures.append(Failure(thing, cause, next_step))

    def message(self) -> str:
        """All of it as a text, tables last."""
        if not self.failures:
            lines = ["preflight: everything checked is well", *(f"- {line}" for line in self.passed)]
        else:
            count = len(self.failures)
            lines = [f"preflight: {count} thing(s) must be put right before anything is changed:"]
            lines += [f"{number}. {failure}" for number, failure in enumerate(self.failures, 1)]
        return "\n".join([*lines, *(line for text in self.texts if text for line in ("", text))])


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


def host_names(probe: Mapping[str, Any], host: str) -> AbstractSet[str]:
    """All names that the cluster may know a host by."""
    own = str(probe.get("hostname") or "")
    return {name for name in (host, own, host.split(".", maxsplit=1)[0], own.split(".", maxsplit=1)[0]) if name}


def cluster_node(names: AbstractSet[str], nodes: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The Node object of a host; empty where the cluster has none."""
    for node in nodes:
        addresses = {str(item.get("address")) for item in (node.get("status") or {}).get("addresses") or []}
        if str((node.get("metadata") or {}).get("name")) in names or names & addresses:
            return node
    return {}


def node_images(node: Mapping[str, Any]) -> List[str]:
    """The images that a node holds already, by all their names."""
    images = (node.get("status") or {}).get("images") or []
    return [str(name) for image in images for name in image.get("names") or []]


def node_rooms(
    lock: Lock, releases: Sequence[ReleaseDisk], node: Mapping[str, Any], factor: float, keep: int
) -> List[Room]:
    """What a node needs for the bundle, less the images that it holds already."""
    every = disk.places(lock, releases, factor=factor, keep=keep)
    (place,) = (place for place in every if place.kind == "node")
    images = disk.image_room(lock, factor, disk.held_digests(node_images(node)))
    return [images, *place.rooms[1:]]


def check_volumes(
    findings: Findings, places: Sequence[Place], claims: Sequence[Mapping[str, Any]], made_size: str
) -> None:
    """Claims are as large as what they have to hold.

    ``claims`` are those of the cluster and those that the charts bring; a claim for models that is in neither is made
    with ``made_size`` by the role model_preload.
    """
    known = {}
    for claim in claims:
        metadata = claim.get("metadata") or {}
        known[f"{metadata.get('namespace') or ''}/{metadata.get('name') or ''}"] = claim
    enough = 0
    for place in places:
        if place.kind != "volume":
            continue
        found = known.get(place.name)
        what = ", ".join(f"{size_text(room.size)} for {room.what}: {room.rule}" for room in place.rooms)
        if found is None and place.rooms[0].what != "models":
            findings.passed.append(f"volume {place.name}: not there yet; {what} will be needed")
            continue
        have = _claim_bytes(found) if found is not None else quantities.from_json(made_size).value
        if have >= place.size:
            enough += 1
            continue
        step = f"enlarge the claim to {size_text(place.size)} or more, or delete it while nothing uses it"
        if found is None:
            step = f"set model_preload_pvc_size to {size_text(place.size)} or more"
        findings.fail(
            f"volume {place.name}",
            f"{'it has' if found is not None else 'it will be made with'} {size_text(have)},"
            f" and {size_text(place.size)} are needed ({what})",
            f"{step}, and run again",
        )
    if enough:
        findings.passed.append(f"{enough} volume(s) are large enough for what they have to hold")


def _claim_bytes(claim: Mapping[str, Any]) -> int:
    """What a claim was given; what it asks for where it is not bound yet."""
    given = ((claim.get("status") or {}).get("capacity") or {}).get("storage")
    asked = (((claim.get("spec") or {}).get("resources") or {}).get("requests") or {}).get("storage")
    return quantities.from_json(given if given is not None else asked).value


def check_unseen_nodes(
    findings: Findings, nodes: Sequence[Mapping[str, Any]], seen: AbstractSet[str], amount: int
) -> None:
    """Nodes that are not looked at as hosts: what the cluster itself says of their disks.

    A node tells the size of its file system, not what is free of it: only one that is too small for certain fails.
    """
    unseen = 0
    for node in nodes:
        name = str((node.get("metadata") or {}).get("name") or "")
        status = node.get("status") or {}
        pressed = [
            str(item.get("message") or "no reason given")
            for item in status.get("conditions") or []
            if item.get("type") == "DiskPressure" and item.get("status") == "True"
        ]
        if pressed:
            findings.fail(
                f"node {name}",
                f"it reports DiskPressure: {_one_line(pressed[0])}",
                "free disk on it until the condition goes, and run again",
            )
        if name in seen:
            continue
        unseen += 1
        size = quantities.from_json((status.get("capacity") or {}).get("ephemeral-storage")).value
        if 0 < size < amount:
            findings.fail(
                f"node {name}",
                f"its whole file system has {size_text(size)}, and {size_text(amount)} are needed for the bundle",
                f"make it {size_text(amount - size)} larger, or keep the releases off this node",
            )
    if unseen:
        findings.passed.append(
            f"{unseen} node(s) are not hosts of the inventory: of their disks only the size and DiskPressure were seen"
        )


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
            parts = ", ".join(
                f"{size_text(need.amount)} in {need.path} for {need.what}" + (f": {need.rule}" if need.rule else "")
                for need in wanted
            )
            findings.fail(
                f"host {host}",
                f"its file system at {seen.get('nearest')} has {size_text(free)} free,"
                f" and {size_text(total)} are needed ({parts})",
                f"free {size_text(total - free)} there or make it larger, and run again",
            )
    if needs and not short:
        findings.passed.append(f"disk is enough for the bundle on {len({host for host, _device in shared})} hosts")


def _reasons(answer: Mapping[str, Any]) -> List[str]:
    """Why pods stay pending, in the scheduler's words; workloads with the same words together."""
    pending: Dict[str, List[str]] = {}
    for item in answer.get("shortfalls") or []:
        pending.setdefault(str(item.get("message")), []).append(f"{item.get('pods')} of {item.get('workload')}")
    return [f"pending {', '.join(names)}: {message}" for message, names in pending.items()]


def _shortened(found: Mapping[str, Any]) -> str:
    """The text of the module capacity: the first answer whole, of the others the first line."""
    text = str(found.get("message") or "")
    for answer in list((found.get("answers") or {}).values())[1:]:
        whole = str(answer.get("message") or "")
        if whole:
            text = text.replace(whole, whole.split("\n", maxsplit=1)[0])
    return text


def check_capacity(
    findings: Findings, found: Mapping[str, Any], required: Sequence[str], allow_order_dependent: bool
) -> None:
    """The pods of the releases find nodes.

    ``found`` is the result of the module capacity; its answers to ``required`` stand in the way, the others are told.
    """
    if not found:
        return
    findings.texts.append(_shortened(found))
    told: List[str] = []
    for question, answer in (found.get("answers") or {}).items():
        verdict = answer.get("verdict")
        thing = f"capacity, {QUESTIONS.get(question, question)}"
        fresh = [str(note) for note in answer.get("not_modelled") or [] if note not in told]
        told += fresh
        notes = "".join(f"; not modelled: {note}" for note in fresh)
        lost = f" without {', '.join(answer['lost'])}" if answer.get("lost") else ""
        victims = [f"{item.get('pod')} on {item.get('node')}" for item in answer.get("victims") or []]
        evicted = f" by evicting {', '.join(victims)}" if victims else ""
        size = f"{answer.get('pods')} pods on {answer.get('nodes')} nodes{lost}{evicted}"
        if verdict == "fits" or (verdict == "order_dependent" and allow_order_dependent):
            findings.passed.append(f"{thing}: {verdict}, {size}{notes}")
            continue
        reasons = _reasons(answer)
        if verdict == "order_dependent":
            cause = f"whether the pods find nodes{lost} depends on the order in which equal nodes are chosen:"
            step = "free room or ask for less; or accept it with preflight_allow_order_dependent"
        else:
            cause = f"the pods do not fit on the nodes{lost}:"
            remedies = [str(item.get("text")) for item in found.get("remedies") or []]
            step = f"what would help: {'; or '.join(remedies)}" if remedies and question == "now" else ""
            step = step or "free room, add nodes, or ask for less in the values of the releases"
        if question in required:
            findings.fail(thing, f"{cause} {' '.join(reasons)}".rstrip(), step)
        else:
            findings.passed.append(
                f"{thing}: {verdict}, which stands in nobody's way: {' '.join(reasons)}".rstrip(" :")
            )
