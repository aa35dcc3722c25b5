# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pods as the scheduler sees them: those of pod templates after admission, and those that a cluster runs."""

from __future__ import annotations

import marshal
import sys
from dataclasses import dataclass, replace
from typing import Any, Dict, FrozenSet, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.airgap.speech.plugins.module_utils.kube import quantity as quantities
from ansible_collections.airgap.speech.plugins.module_utils.kube.admission import Admission, runtime_of
from ansible_collections.airgap.speech.plugins.module_utils.kube.quota import COUNT, Charge, charge_of
from ansible_collections.airgap.speech.plugins.module_utils.kube.resources import read_resources
from ansible_collections.airgap.speech.plugins.module_utils.kube.terms import (
    NOTHING,
    NodeTerm,
    PodTerm,
    Selector,
    SpecError,
    Spread,
    Toleration,
    label_map,
    mapping,
    node_term,
    node_terms,
    pod_term,
    sequence,
    spread,
    tolerations,
)

HostPort = Tuple[str, str, int]
EVERY_ADDRESS = "0.0.0.0"  # noqa: S104 - compared with, never listened on

_DEFAULT_SCHEDULER = "default-scheduler"
# Taints that admission lets every pod stand for five minutes, where it says nothing of its own about them.
_ADMISSION_TOLERATIONS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
_NO_EXECUTE = "NoExecute"


@dataclass(frozen=True)
class Pod:
    """What decides where a pod may be placed. Equal pods are interchangeable."""

    namespace: str
    labels: Tuple[Tuple[str, str], ...] = ()
    requests: Tuple[Tuple[str, int], ...] = ()
    scored: Tuple[int, int] = (0, 0)
    node_name: str = ""
    node_selector: Tuple[Tuple[str, str], ...] = ()
    node_terms: Optional[Tuple[NodeTerm, ...]] = None
    preferred_nodes: Tuple[Tuple[int, NodeTerm], ...] = ()
    tolerations: Tuple[Toleration, ...] = ()
    host_ports: FrozenSet[HostPort] = frozenset()
    affinity: Tuple[PodTerm, ...] = ()
    anti_affinity: Tuple[PodTerm, ...] = ()
    preferred_affinity: Tuple[PodTerm, ...] = ()
    preferred_anti_affinity: Tuple[PodTerm, ...] = ()
    spreads: Tuple[Spread, ...] = ()
    default_spread: Selector = NOTHING
    claims: Tuple[str, ...] = ()
    images: Tuple[str, ...] = ()
    image_volumes: Tuple[str, ...] = ()
    priority: int = 0
    preempts: bool = True

    @property
    def label_map(self) -> Dict[str, str]:
        return dict(self.labels)

    def label(self, key: str) -> Optional[str]:
        """The value of one label; None where the pod does not have it."""
        return next((text for name, text in self.labels if name == key), None)

    @property
    def request_map(self) -> Dict[str, int]:
        return dict(self.requests)


class Existing(NamedTuple):
    """A pod that a cluster runs on a node already."""

    name: str
    node: str
    pod: Pod
    owner_kind: str = ""
    owner_name: str = ""
    terminating: bool = False
    charge: Optional[Charge] = None
    # It waits for a node, and this one is being cleared for it.
    nominated: bool = False


@dataclass
class PodRead:
    """A pod after admission: what it counts for in quotas, why it is refused, and what of it is not modelled."""

    pod: Pod
    charge: Charge
    refused: str
    notes: List[str]


def read_pod(
    spec: Mapping[str, Any],
    namespace: str,
    labels: Mapping[str, str],
    thing: str,
    where: str = "spec",
    admission: Optional[Admission] = None,
    *,
    default_spread: Selector = NOTHING,
    running: bool = False,
) -> PodRead:
    """Read a pod's spec as it is after defaulting and admission; a ``running`` one has been through it."""
    admission = admission or Admission()
    node_selector = dict(label_map(spec.get("nodeSelector"), thing, f"{where}.nodeSelector"))
    accepted = tolerations(spec.get("tolerations"), thing, f"{where}.tolerations")
    if running:
        # It has been through admission, which wrote down what it found.
        priority, priority_class = int(spec.get("priority") or 0), str(spec.get("priorityClassName") or "")
    else:
        priority, priority_class = admission.priority(spec, thing, where)
        _check_claims(spec, thing, where)
    runtime = runtime_of(admission, spec, node_selector)
    node_selector.update(runtime.node_selector)
    accepted += tolerations(runtime.tolerations, thing, f"RuntimeClass {spec.get('runtimeClassName')} tolerations")
    resources = read_resources({**spec, "overhead": runtime.overhead}, thing, where, admission.version.pod_resources)
    notes = ([runtime.note] if runtime.note else []) + _unknowns(spec) + admission.contending(resources, namespace)
    refused = runtime.refused or admission.limit(resources, namespace, thing)
    affinity = mapping(spec.get("affinity"), thing, f"{where}.affinity")
    required_terms, preferred = _node_affinity(affinity, thing, f"{where}.affinity.nodeAffinity")
    near, near_preferred = _pod_terms(affinity, "podAffinity", labels, namespace, thing, where)
    away, away_preferred = _pod_terms(affinity, "podAntiAffinity", labels, namespace, thing, where)
    pod = Pod(
        namespace=namespace,
        labels=tuple(sorted(labels.items())),
        requests=tuple(
            sorted((name, quantities.whole_units(name, amount)) for name, amount in resources.total_requests().items())
        ),
        scored=resources.scored(),
        node_name=str(spec.get("nodeName") or ""),
        node_selector=tuple(sorted(node_selector.items())),
        node_terms=required_terms,
        preferred_nodes=preferred,
        tolerations=_with_automatic(accepted),
        host_ports=_host_ports(spec, thing, where),
        affinity=near,
        anti_affinity=away,
        preferred_affinity=near_preferred,
        preferred_anti_affinity=away_preferred,
        spreads=_spreads(spec, labels, thing, f"{where}.topologySpreadConstraints"),
        default_spread=default_spread,
        claims=_claims(spec),
        images=tuple(
            str(container.get("image") or "")
            for group in ("initContainers", "containers")
            for container in spec.get(group) or []
        ),
        image_volumes=tuple(
            str(volume["image"].get("reference") or "") for volume in spec.get("volumes") or [] if volume.get("image")
        ),
        priority=priority,
        preempts=str(spec.get("preemptionPolicy") or admission.preemption.get(priority_class)) != "Never",
    )
    return PodRead(pod, charge_of(resources, spec, priority_class), refused, notes)


def _with_automatic(accepted: Sequence[Toleration]) -> Tuple[Toleration, ...]:
    """Tolerations with those that admission adds (DefaultTolerationSeconds), each once and in one order."""
    found = set(accepted)
    for key in _ADMISSION_TOLERATIONS:
        if not any(item.key in (key, "") and item.effect in (_NO_EXECUTE, "") for item in accepted):
            found.add(Toleration(key, "Exists", "", _NO_EXECUTE))
    return tuple(sorted(found, key=lambda item: (item.key, item.operator, item.value, item.effect)))


def _node_affinity(
    affinity: Mapping[str, Any], thing: str, at: str
) -> Tuple[Optional[Tuple[NodeTerm, ...]], Tuple[Tuple[int, NodeTerm], ...]]:
    """The required terms (None where there are none), and the preferred ones with their weights."""
    entry = mapping(affinity.get("nodeAffinity"), thing, at)
    required = entry.get("requiredDuringSchedulingIgnoredDuringExecution")
    terms: Optional[Tuple[NodeTerm, ...]] = None
    if required is not None:
        field = f"{at}.requiredDuringSchedulingIgnoredDuringExecution"
        listed = mapping(required, thing, field).get("nodeSelectorTerms")
        terms = node_terms(listed, thing, f"{field}.nodeSelectorTerms")
        if not terms:
            raise SpecError(
                f"{thing}: {field}.nodeSelectorTerms: Required value: must have at least one node selector term"
            )
    field = f"{at}.preferredDuringSchedulingIgnoredDuringExecution"
    preferred = []
    for index, item in enumerate(sequence(entry.get("preferredDuringSchedulingIgnoredDuringExecution"), thing, field)):
        weight = mapping(item, thing, f"{field}[{index}]").get("weight")
        preferred.append(
            (
                _weight(weight, thing, f"{field}[{index}]"),
                node_term(item.get("preference"), thing, f"{field}[{index}].preference"),
            )
        )
    return terms, tuple(preferred)


def _weight(value: Any, thing: str, at: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 100:
        raise SpecError(f"{thing}: {at}.weight: {value!r}: must be in the range 1-100")
    return value


def _spreads(spec: Mapping[str, Any], labels: Mapping[str, str], thing: str, at: str) -> Tuple[Spread, ...]:
    result: List[Spread] = []
    for index, item in enumerate(sequence(spec.get("topologySpreadConstraints"), thing, at)):
        constraint = spread(item, labels, thing, f"{at}[{index}]")
        if any((other.topology_key, other.hard) == (constraint.topology_key, constraint.hard) for other in result):
            raise SpecError(
                f"{thing}: {at}[{index}].{{topologyKey, whenUnsatisfiable}}: Duplicate value: {constraint.topology_key}"
            )
        result.append(constraint)
    return tuple(result)


def _host_ports(spec: Mapping[str, Any], thing: str, where: str) -> FrozenSet[HostPort]:
    ports = set()
    said = set()
    shared = bool(spec.get("hostNetwork"))
    for group in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(group) or []):
            at = f"{where}.{group}[{index}].ports"
            sidecar = container.get("restartPolicy") == "Always"
            for number, port in enumerate(sequence(container.get("ports"), thing, at)):
                one = _host_port(port, shared, thing, f"{at}[{number}]")
                if not one[2] or (group == "initContainers" and not sidecar):
                    continue
                ports.add(one)
                if group == "containers":
                    # As written: an address left out and 0.0.0.0 are two things to the API server.
                    words = f"{one[0]}/{port.get('hostIP') or ''}/{one[2]}"
                    if words in said:
                        raise SpecError(f"{thing}: {at}[{number}].hostPort: Duplicate value: {words!r}")
                    said.add(words)
    return frozenset(ports)


def _host_port(port: Mapping[str, Any], shared: bool, thing: str, at: str) -> HostPort:
    """Protocol, address and number that a port of a container takes on its node; number 0 where it takes none."""
    inside, outside = port.get("containerPort"), port.get("hostPort")
    for name, number in (("containerPort", inside), ("hostPort", outside)):
        if number and (isinstance(number, bool) or not isinstance(number, int) or not 0 < number < 65536):
            raise SpecError(f"{thing}: {at}.{name}: Invalid value: {number!r}: must be between 1 and 65535, inclusive")
    if shared and outside and outside != inside:
        raise SpecError(
            f"{thing}: {at}.hostPort: Invalid value: {outside}: must match `containerPort` when `hostNetwork` is true"
        )
    address = str(port.get("hostIP") or EVERY_ADDRESS)
    return str(port.get("protocol") or "TCP"), address, int(outside or (inside if shared else 0) or 0)


def _pod_terms(
    affinity: Mapping[str, Any],
    kind: str,
    labels: Mapping[str, str],
    namespace: str,
    thing: str,
    where: str,
) -> Tuple[Tuple[PodTerm, ...], Tuple[PodTerm, ...]]:
    entry = mapping(affinity.get(kind), thing, f"{where}.affinity.{kind}")
    hard = f"{where}.affinity.{kind}.requiredDuringSchedulingIgnoredDuringExecution"
    soft = f"{where}.affinity.{kind}.preferredDuringSchedulingIgnoredDuringExecution"
    required = tuple(
        pod_term(item, labels, namespace, thing, f"{hard}[{index}]")
        for index, item in enumerate(sequence(entry.get("requiredDuringSchedulingIgnoredDuringExecution"), thing, hard))
    )
    preferred = tuple(
        pod_term(
            item.get("podAffinityTerm"),
            labels,
            namespace,
            thing,
            f"{soft}[{index}].podAffinityTerm",
            _weight(item.get("weight"), thing, f"{soft}[{index}]"),
        )
        for index, item in enumerate(
            sequence(entry.get("preferredDuringSchedulingIgnoredDuringExecution"), thing, soft)
        )
    )
    return required, preferred


def _claims(spec: Mapping[str, Any]) -> Tuple[str, ...]:
    names = []
    for volume in spec.get("volumes") or []:
        claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        if claim:
            names.append(str(claim))
    return tuple(names)


def _check_claims(spec: Mapping[str, Any], thing: str, where: str) -> None:
    for index, volume in enumerate(spec.get("volumes") or []):
        claim = volume.get("persistentVolumeClaim")
        if claim is not None and not claim.get("claimName"):
            raise SpecError(f"{thing}: {where}.volumes[{index}].persistentVolumeClaim.claimName: Required value")


def _unknowns(spec: Mapping[str, Any]) -> List[str]:
    """What a pod's spec asks for that is not modelled, in words."""
    notes = []
    scheduler = spec.get("schedulerName")
    if scheduler and scheduler != _DEFAULT_SCHEDULER:
        notes.append(f"schedulerName {scheduler}: placed by another scheduler")
    if spec.get("resourceClaims"):
        notes.append("resourceClaims: devices asked by claim (DRA)")
    if spec.get("schedulingGates"):
        notes.append("schedulingGates: not placed before its gates are lifted")
    if spec.get("workloadRef") or spec.get("schedulingGroup"):
        notes.append("a group that is scheduled together")
    for volume in spec.get("volumes") or []:
        for kind in ("gcePersistentDisk", "awsElasticBlockStore", "azureDisk", "cinder", "rbd", "iscsi"):
            if volume.get(kind):
                notes.append(f"volume {volume.get('name')}: {kind}")
    return notes


class ExistingReader:
    """Reads the pods of a cluster; what equal pods share is read, and kept, once."""

    def __init__(self) -> None:
        self._known: Dict[bytes, Tuple[Pod, Charge]] = {}
        # Pods with fields that are not known here, such as those of a feature that a cluster has switched on.
        self.notes: List[str] = []

    def read(self, document: Mapping[str, Any]) -> Optional[Existing]:
        """One pod. One that has no node, or has ended, takes no room and is None."""
        metadata = document.get("metadata") or {}
        spec = document.get("spec") or {}
        status = document.get("status") or {}
        node = spec.get("nodeName") or status.get("nominatedNodeName")
        if not node or status.get("phase") in ("Succeeded", "Failed"):
            return None
        namespace, name = str(metadata.get("namespace") or "default"), str(metadata.get("name") or "")
        labels = metadata.get("labels") or {}
        pod, charge = self._read(spec, status, namespace, labels, f"Pod {namespace}/{name}")
        claims = _claims(spec) + tuple(
            f"{name}-{volume.get('name')}" for volume in spec.get("volumes") or [] if volume.get("ephemeral")
        )
        if claims:
            pod = replace(pod, claims=claims)
        owner: Mapping[str, Any] = next(
            (item for item in metadata.get("ownerReferences") or [] if item.get("controller")), {}
        )
        kind, owner_name = str(owner.get("kind") or ""), str(owner.get("name") or "")
        if kind == "ReplicaSet" and labels.get("pod-template-hash"):
            suffix = f"-{labels['pod-template-hash']}"
            if owner_name.endswith(suffix):
                kind, owner_name = "Deployment", owner_name[: -len(suffix)]
        terminating = bool(metadata.get("deletionTimestamp"))
        return Existing(
            name,
            sys.intern(str(node)),
            pod,
            sys.intern(kind),
            sys.intern(owner_name),
            terminating,
            charge,
            nominated=not spec.get("nodeName"),
        )

    def charge(self, document: Mapping[str, Any]) -> Charge:
        """What a pod counts for in quotas, wherever it is. Of one that has ended, only that it is there."""
        metadata = document.get("metadata") or {}
        spec, status = document.get("spec") or {}, document.get("status") or {}
        namespace = str(metadata.get("namespace") or "default")
        thing = f"Pod {namespace}/{metadata.get('name') or ''}"
        _pod, charge = self._read(spec, status, namespace, metadata.get("labels") or {}, thing)
        if status.get("phase") in ("Succeeded", "Failed"):
            return replace(charge, used=tuple(item for item in charge.used if item[0] == COUNT))
        return charge

    def _read(
        self,
        spec: Mapping[str, Any],
        status: Mapping[str, Any],
        namespace: str,
        labels: Mapping[str, str],
        thing: str,
    ) -> Tuple[Pod, Charge]:
        essence = _essence(spec, status)
        key = marshal.dumps((namespace, sorted(labels.items()), essence), 2)
        known = self._known.get(key)
        if known is None:
            read = self._read_pod(essence, namespace, labels, thing)
            known = self._known[key] = (read.pod, read.charge)
        return known

    def _read_pod(self, essence: Dict[str, Any], namespace: str, labels: Mapping[str, str], thing: str) -> PodRead:
        try:
            return read_pod(essence, namespace, labels, thing, running=True)
        except SpecError as error:
            self.notes.append(f"{error}; of this pod only its room is counted")
            room = {name: item for name, item in essence.items() if name in _ROOM}
            return read_pod(room, namespace, labels, thing, running=True)


_ROOM = ("containers", "initContainers", "overhead", "priority", "resources", "hostNetwork")
# What of a pod's spec bears on where it and others may be placed.
_SCHEDULED = (
    "activeDeadlineSeconds",
    "affinity",
    "hostNetwork",
    "nodeSelector",
    "overhead",
    "priority",
    "priorityClassName",
    "resources",
    "tolerations",
    "topologySpreadConstraints",
)


def _essence(spec: Mapping[str, Any], status: Mapping[str, Any]) -> Dict[str, Any]:
    """A spec without what differs between equal pods, such as the names of volumes with tokens."""
    result: Dict[str, Any] = {name: spec[name] for name in _SCHEDULED if spec.get(name)}
    given = {
        item.get("name"): item
        for group in ("initContainerStatuses", "containerStatuses")
        for item in status.get(group) or []
        if item.get("allocatedResources") or (item.get("resources") or {}).get("requests")
    }
    for group in ("initContainers", "containers"):
        result[group] = [
            {
                "name": item.get("name"),
                "image": item.get("image"),
                "resources": _in_force(item.get("resources") or {}, given.get(item.get("name"))),
                "ports": [port for port in item.get("ports") or [] if spec.get("hostNetwork") or port.get("hostPort")],
                "restartPolicy": item.get("restartPolicy"),
            }
            for item in spec.get(group) or []
        ]
    return result


def _in_force(resources: Mapping[str, Any], status: Optional[Mapping[str, Any]]) -> Mapping[str, Any]:
    """What a container has while it is resized in place: the largest of what is asked, given and in use."""
    if status is None:
        return resources
    asked = dict(resources.get("requests") or {})
    for other in (status.get("allocatedResources"), (status.get("resources") or {}).get("requests")):
        for name, amount in (other or {}).items():
            if name not in asked or quantities.from_json(amount) > quantities.from_json(asked[name]):
                asked[name] = amount
    # The limits say nothing more about room once requests are known.
    return {"requests": asked, "limits": {name: asked[name] for name in resources.get("limits") or {} if name in asked}}
