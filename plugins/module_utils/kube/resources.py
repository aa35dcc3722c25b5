# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the containers of a pod ask for and may use, together, as the API server checks and the scheduler sums it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Sequence, Tuple

from ansible_collections.airgap.speech.plugins.module_utils.kube import quantity as quantities
from ansible_collections.airgap.speech.plugins.module_utils.kube.quantity import Quantity
from ansible_collections.airgap.speech.plugins.module_utils.kube.terms import SpecError, mapping, sequence

ResourceList = Dict[str, Quantity]

# For scoring only, the scheduler counts a container that asks for nothing with these.
_SCORED = {
    "cpu": Quantity(100 * quantities.MILLI_IN_NANO),
    "memory": Quantity(200 * 2**20 * quantities.NANO),
}
_STANDARD = frozenset(("cpu", "memory", "ephemeral-storage"))
_QUALIFIED = re.compile(r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?\Z")
_GROUPS = ("containers", "initContainers")


@dataclass
class Container:
    """One container: what it asks for, and what it may use. An init container that stays is a sidecar."""

    name: str
    at: str
    requests: ResourceList
    limits: ResourceList
    init: bool = False
    sidecar: bool = False


@dataclass
class PodResources:
    """The containers of a pod in their order, and what the pod asks for itself."""

    containers: List[Container] = field(default_factory=list)
    requests: ResourceList = field(default_factory=dict)
    limits: ResourceList = field(default_factory=dict)
    overhead: ResourceList = field(default_factory=dict)

    @property
    def pod_level(self) -> bool:
        return bool(self.requests or self.limits)

    def total_requests(self, overhead: bool = True) -> ResourceList:
        """What the scheduler counts: all containers, or the largest moment of the start if that is more."""
        total = self._aggregate([(item, item.requests) for item in self.containers])
        total.update(self.requests)
        if overhead:
            _add(total, self.overhead)
        return total

    def total_limits(self, overhead: bool = True) -> ResourceList:
        """What all containers may use; a resource that only some limit counts with those."""
        total = self._aggregate([(item, item.limits) for item in self.containers])
        total.update(self.limits)
        if overhead:
            for name, amount in self.overhead.items():
                if total.get(name, quantities.ZERO).nanos:
                    total[name] = total[name] + amount
        return total

    def scored(self) -> Tuple[int, int]:
        """Thousandths of cpu and bytes of memory that the scheduler's scores count with."""
        # Where the pod asks for itself, only a resource that nothing asks for is filled in.
        known = self.total_requests(overhead=False) if self.requests else {}
        filled = {name: amount for name, amount in _SCORED.items() if name not in known}
        lists = [(item, {**filled, **item.requests}) for item in self.containers]
        total = self._aggregate(lists)
        total.update(self.requests)
        _add(total, self.overhead)
        return total["cpu"].milli_value, total["memory"].value

    @staticmethod
    def _aggregate(lists: Sequence[Tuple[Container, ResourceList]]) -> ResourceList:
        running: ResourceList = {}
        for container, amounts in lists:
            if not container.init:
                _add(running, amounts)
        sidecars: ResourceList = {}
        largest: ResourceList = {}
        for container, amounts in lists:
            if not container.init:
                continue
            moment = dict(amounts)
            if container.sidecar:
                _add(running, amounts)
                _add(sidecars, amounts)
                moment = dict(sidecars)
            else:
                _add(moment, sidecars)
            _raise_to(largest, moment)
        _raise_to(running, largest)
        return running


def _add(total: ResourceList, more: Mapping[str, Quantity]) -> None:
    for name, amount in more.items():
        total[name] = total[name] + amount if name in total else amount


def _raise_to(total: ResourceList, other: Mapping[str, Quantity]) -> None:
    for name, amount in other.items():
        if name not in total or total[name] < amount:
            total[name] = amount


def read_resources(spec: Mapping[str, Any], thing: str, where: str, pod_level: bool = True) -> PodResources:
    """Read what a pod asks for, with limits in place of requests that are not given, and refuse what is wrong."""
    result = PodResources()
    for group in _GROUPS:
        for index, item in enumerate(sequence(spec.get(group), thing, f"{where}.{group}")):
            container = mapping(item, thing, f"{where}.{group}[{index}]")
            name = str(container.get("name") or "")
            at = f"{where}.{group}[{name or index}].resources"
            requests, limits = _lists(container.get("resources"), thing, at)
            check(requests, limits, thing, at)
            for resource, amount in limits.items():
                requests.setdefault(resource, amount)
            sidecar = group == "initContainers" and container.get("restartPolicy") == "Always"
            result.containers.append(Container(name, at, requests, limits, group == "initContainers", sidecar))
    if not any(not container.init for container in result.containers):
        raise SpecError(f"{thing}: {where}.containers: Required value")
    result.overhead = quantities.resource_list(spec.get("overhead"), thing, f"{where}.overhead")
    if pod_level and spec.get("resources") is not None:
        _read_pod_level(result, spec, thing, f"{where}.resources")
    return result


def _lists(value: Any, thing: str, at: str) -> Tuple[ResourceList, ResourceList]:
    resources = mapping(value, thing, at)
    return (
        quantities.resource_list(resources.get("requests"), thing, f"{at}.requests"),
        quantities.resource_list(resources.get("limits"), thing, f"{at}.limits"),
    )


def _read_pod_level(result: PodResources, spec: Mapping[str, Any], thing: str, at: str) -> None:
    requests, limits = _lists(spec.get("resources"), thing, at)
    for kind, amounts in (("requests", requests), ("limits", limits)):
        for name in amounts:
            if name not in ("cpu", "memory") and not quantities.is_huge_page(name):
                raise SpecError(f"{thing}: {at}.{kind}.{name}: a pod may only have cpu, memory and hugepages- here")
    together = PodResources(result.containers)
    asked, allowed = together.total_requests(), together.total_limits()
    if requests or limits:
        for name, amount in allowed.items():
            if quantities.is_huge_page(name) and name not in requests:
                limits.setdefault(name, amount)
    if limits:
        for name, amount in asked.items():
            if name in ("cpu", "memory"):
                requests.setdefault(name, amount)
        for name, amount in limits.items():
            requests.setdefault(name, amount)
    check(requests, limits, thing, at)
    result.requests, result.limits = requests, limits
    check_pod_level(result, thing, at)


def check_pod_level(resources: PodResources, thing: str, at: str) -> None:
    """Refuse a pod that asks for less itself than its containers do."""
    together = PodResources(resources.containers)
    asked, allowed = together.total_requests(), together.total_limits()
    for name, amount in resources.requests.items():
        if asked.get(name, quantities.ZERO) > amount:
            raise SpecError(
                f"{thing}: {at}.requests.{name}: must be greater than or equal to aggregate container requests of"
                f" {asked[name]}"
            )
    for name, amount in resources.limits.items():
        if quantities.is_huge_page(name) and allowed.get(name, quantities.ZERO) > amount:
            raise SpecError(
                f"{thing}: {at}.limits.{name}: must be greater than or equal to aggregate container limits of"
                f" {allowed[name]}"
            )
        for container in resources.containers:
            if not container.init and container.limits.get(name, quantities.ZERO) > amount:
                raise SpecError(
                    f"{thing}: {container.at}.limits.{name}: must be less than or equal to pod limits of {amount}"
                )


def check(requests: ResourceList, limits: ResourceList, thing: str, at: str) -> None:
    """Refuse what the API server refuses of the resources of a container or pod."""
    for kind, amounts in (("limits", limits), ("requests", requests)):
        for name, amount in amounts.items():
            field_name = f"{thing}: {at}.{kind}.{name}"
            if not _QUALIFIED.match(name):
                raise SpecError(f"{field_name}: this is no name of a resource")
            if "/" not in name and name not in _STANDARD and not quantities.is_huge_page(name):
                raise SpecError(f"{field_name}: must be a standard resource type or fully qualified")
            if quantities.is_extended(name) and amount.nanos % quantities.NANO:
                raise SpecError(f"{field_name}: must be an integer; ask for whole devices")
            if quantities.is_huge_page(name):
                _check_huge_page(name, amount, field_name)
    for name, amount in requests.items():
        limit = limits.get(name)
        whole = quantities.is_extended(name) or quantities.is_huge_page(name)
        if limit is None and whole:
            raise SpecError(f"{thing}: {at}.limits.{name}: Limit must be set for non overcommitable resources")
        if limit is not None and whole and limit != amount:
            raise SpecError(f"{thing}: {at}.requests.{name}: must be equal to {name} limit of {limit}")
        if limit is not None and amount > limit:
            raise SpecError(f"{thing}: {at}.requests.{name}: must be less than or equal to {name} limit of {limit}")
    names = {*requests, *limits}
    if any(quantities.is_huge_page(name) for name in names) and not names & {"cpu", "memory"}:
        raise SpecError(f"{thing}: {at}: HugePages require cpu or memory")


def _check_huge_page(name: str, amount: Quantity, field_name: str) -> None:
    try:
        size = quantities.parse(name[len("hugepages-") :])
    except quantities.QuantityError as error:
        raise SpecError(f"{field_name}: {error}") from None
    if size.nanos <= 0 or amount.nanos % size.nanos:
        raise SpecError(f"{field_name}: {amount} is not positive integer multiple of {size}")
