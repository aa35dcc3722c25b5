# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Resource quotas: how many more pods they let in, counted and worded as admission does."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Set, Tuple

from ansible_collections.airgap.speech.plugins.module_utils.kube import quantity as quantities
from ansible_collections.airgap.speech.plugins.module_utils.kube.quantity import Quantity
from ansible_collections.airgap.speech.plugins.module_utils.kube.resources import PodResources, ResourceList
from ansible_collections.airgap.speech.plugins.module_utils.kube.terms import Requirement

Document = Mapping[str, Any]

_COMPUTE = ("cpu", "memory", "ephemeral-storage")
# Where a quota has one of these, each container must say it.
_MUST_SAY = frozenset(("cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"))
COUNT = "count/pods"


@dataclass(frozen=True)
class Charge:
    """What one pod counts for in quotas, and what decides which of them it counts in."""

    used: Tuple[Tuple[str, Quantity], ...] = ()
    unsaid: Tuple[Tuple[str, Tuple[str, ...]], ...] = ()
    best_effort: bool = False
    terminating: bool = False
    priority_class: str = ""
    crosses_namespaces: bool = False


def charge_of(resources: PodResources, spec: Mapping[str, Any], priority_class: str) -> Charge:
    """What a pod counts for, after defaulting."""
    requests, limits = resources.total_requests(), resources.total_limits()
    one = Quantity(quantities.NANO)
    used = {COUNT: one, **_usage(requests, limits)}
    unsaid: Dict[str, List[str]] = {}
    if not resources.pod_level:
        for container in resources.containers:
            for name in sorted(_MUST_SAY - set(_usage(container.requests, container.limits))):
                unsaid.setdefault(name, []).append(container.name)
    # What a pod's quality of service goes by: cpu and memory, of the pod itself where it asks for any.
    own = [resources.requests, resources.limits]
    lists = (
        own if resources.pod_level else [part for item in resources.containers for part in (item.requests, item.limits)]
    )
    asked = any(amounts.get(name, quantities.ZERO).nanos for amounts in lists for name in ("cpu", "memory"))
    deadline = spec.get("activeDeadlineSeconds")
    return Charge(
        used=tuple(sorted(used.items())),
        unsaid=tuple((name, tuple(sorted(set(who)))) for name, who in sorted(unsaid.items())),
        best_effort=not asked,
        terminating=isinstance(deadline, int) and deadline >= 0,
        priority_class=priority_class,
        crosses_namespaces=_crosses(spec.get("affinity") or {}),
    )


def _usage(requests: ResourceList, limits: ResourceList) -> ResourceList:
    used = {"pods": Quantity(quantities.NANO)}
    for name in _COMPUTE:
        if name in requests:
            used[name] = used[f"requests.{name}"] = requests[name]
        if name in limits:
            used[f"limits.{name}"] = limits[name]
    for name, amount in requests.items():
        if quantities.is_huge_page(name):
            used[name] = used[f"requests.{name}"] = amount
        elif quantities.is_extended(name):
            used[f"requests.{name}"] = amount
    return used


def _crosses(affinity: Mapping[str, Any]) -> bool:
    for kind in ("podAffinity", "podAntiAffinity"):
        entry = affinity.get(kind) or {}
        terms = list(entry.get("requiredDuringSchedulingIgnoredDuringExecution") or [])
        weighted = entry.get("preferredDuringSchedulingIgnoredDuringExecution") or []
        terms += [item.get("podAffinityTerm") or {} for item in weighted]
        if any(term.get("namespaces") or term.get("namespaceSelector") is not None for term in terms):
            return True
    return False


@dataclass
class Quota:
    """One quota: what it allows, what is used of it, and which pods it counts."""

    namespace: str
    name: str
    hard: ResourceList
    used: ResourceList = field(default_factory=dict)
    scopes: Sequence[Tuple[str, str, Tuple[str, ...]]] = ()
    counted: bool = False

    def matches(self, charge: Charge) -> bool:
        return bool(self.restricted) and all(_in_scope(scope, charge) for scope in self.scopes)

    @property
    def restricted(self) -> Set[str]:
        """The names of what it limits that pods can use."""
        return {
            name
            for name in self.hard
            if name in (COUNT, "pods", *_COMPUTE)
            or (
                name.partition(".")[0] in ("requests", "limits")
                and (
                    name.partition(".")[2] in _COMPUTE
                    or (
                        name.startswith("requests.")
                        and (quantities.is_extended(name[9:]) or quantities.is_huge_page(name[9:]))
                    )
                )
            )
            or quantities.is_huge_page(name)
        }

    def refusal(self, charge: Charge) -> str:
        """Why the API server refuses one more such pod; empty where it does not."""
        restricted = self.restricted
        unsaid = [(name, who) for name, who in charge.unsaid if name in restricted]
        if unsaid:
            said = "; ".join(f"{name} for: {','.join(who)}" for name, who in unsaid)
            return f"failed quota: {self.name}: must specify {said}"
        asked = {name: amount for name, amount in charge.used if name in self.hard and amount.nanos}
        over = sorted(
            name for name, amount in asked.items() if self.used.get(name, quantities.ZERO) + amount > self.hard[name]
        )
        if not over:
            return ""

        def listed(amounts: Mapping[str, Quantity]) -> str:
            return ",".join(f"{name}={amounts.get(name, quantities.ZERO)}" for name in over)

        return (
            f"exceeded quota: {self.name}, requested: {listed(asked)}, used: {listed(self.used)},"
            f" limited: {listed(self.hard)}"
        )

    def add(self, charge: Charge) -> None:
        for name, amount in charge.used:
            if name in self.hard:
                self.used[name] = self.used.get(name, quantities.ZERO) + amount

    def remove(self, charge: Charge) -> None:
        """Take a pod out of what is used, as when a release's old pods go."""
        for name, amount in charge.used:
            if name in self.hard:
                left = self.used.get(name, quantities.ZERO).nanos - amount.nanos
                self.used[name] = Quantity(max(0, left), amount.binary)


def _in_scope(scope: Tuple[str, str, Tuple[str, ...]], charge: Charge) -> bool:
    name, operator, values = scope
    if name == "Terminating":
        return charge.terminating
    if name == "NotTerminating":
        return not charge.terminating
    if name == "BestEffort":
        return charge.best_effort
    if name == "NotBestEffort":
        return not charge.best_effort
    if name == "CrossNamespacePodAffinity":
        return charge.crosses_namespaces
    if name == "PriorityClass":
        labels = {"PriorityClass": charge.priority_class} if charge.priority_class else {}
        return Requirement("PriorityClass", operator, values).matches(labels)
    return False


def read_quota(document: Document) -> Quota:
    """Read a ResourceQuota: what it allows is its status, or its spec before the cluster has counted."""
    metadata, spec = document.get("metadata") or {}, document.get("spec") or {}
    status = document.get("status") or {}
    thing = f"ResourceQuota {metadata.get('namespace', '')}/{metadata.get('name', '')}"
    scopes: List[Tuple[str, str, Tuple[str, ...]]] = [(str(name), "Exists", ()) for name in spec.get("scopes") or []]
    for item in (spec.get("scopeSelector") or {}).get("matchExpressions") or []:
        values = tuple(str(value) for value in item.get("values") or [])
        scopes.append((str(item.get("scopeName")), str(item.get("operator")), values))
    counted = status.get("used") is not None
    return Quota(
        namespace=str(metadata.get("namespace") or "default"),
        name=str(metadata.get("name") or ""),
        hard=quantities.resource_list(status.get("hard") or spec.get("hard"), thing, "spec.hard"),
        used=quantities.resource_list(status.get("used"), thing, "status.used"),
        scopes=scopes,
        counted=counted,
    )


class Quotas:
    """The quotas of a cluster, as pods are created one after the other."""

    def __init__(self, quotas: Iterable[Quota]) -> None:
        self.quotas = list(quotas)

    def count(self, namespace: str, charge: Charge) -> None:
        """Count a pod that runs in the quotas that the cluster has not counted yet."""
        for quota in self.quotas:
            if not quota.counted and quota.namespace == namespace and quota.matches(charge):
                quota.add(charge)

    def release(self, namespace: str, charge: Charge) -> None:
        """Take a pod out of what the cluster has counted: it goes before the new ones come."""
        for quota in self.quotas:
            if quota.counted and quota.namespace == namespace and quota.matches(charge):
                quota.remove(charge)

    def room(self, namespace: str, charge: Optional[Charge], most: int) -> int:
        """How many more such pods are let in, up to ``most``."""
        mine = Quotas(copy.deepcopy([quota for quota in self.quotas if quota.namespace == namespace]))
        if not mine.quotas:
            return most
        return next((number for number in range(most) if mine.admit(namespace, charge)), most)

    def admit(self, namespace: str, charge: Optional[Charge]) -> str:
        """Count one more pod, or say why it is refused."""
        if charge is None:
            return ""
        found = [quota for quota in self.quotas if quota.namespace == namespace and quota.matches(charge)]
        for quota in found:
            refusal = quota.refusal(charge)
            if refusal:
                return refusal
        for quota in found:
            quota.add(charge)
        return ""
