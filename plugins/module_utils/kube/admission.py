# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the API server adds to a pod when it takes it in, and for what it refuses one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, Iterable, List, Mapping, Optional, Tuple

from ansible_collections.airgap.speech.plugins.module_utils.kube import quantity as quantities
from ansible_collections.airgap.speech.plugins.module_utils.kube import versions
from ansible_collections.airgap.speech.plugins.module_utils.kube.quantity import Quantity
from ansible_collections.airgap.speech.plugins.module_utils.kube.resources import (
    PodResources,
    ResourceList,
    check,
    check_pod_level,
)
from ansible_collections.airgap.speech.plugins.module_utils.kube.terms import SpecError

Document = Mapping[str, Any]

_SYSTEM_PRIORITIES = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}
_MAX_MILLI = (2**63 - 1) // 1000


@dataclass
class Admission:
    """What a cluster has that bears on pods as they are taken in. What is not known of it is not applied."""

    priority_classes: Dict[str, int] = field(default_factory=dict)
    # The preemption policy of each class that has one.
    preemption: Dict[str, str] = field(default_factory=dict)
    default_priority_class: str = ""
    runtime_classes: Dict[str, Document] = field(default_factory=dict)
    limit_ranges: Dict[str, List[Document]] = field(default_factory=dict)
    version: versions.Version = field(default_factory=versions.Version)

    def priority(self, spec: Mapping[str, Any], thing: str, where: str) -> Tuple[int, str]:
        """The priority of a pod, and the name of its class."""
        name = str(spec.get("priorityClassName") or self.default_priority_class)
        if name in _SYSTEM_PRIORITIES:
            value = _SYSTEM_PRIORITIES[name]
        elif not name:
            value = 0
        elif name in self.priority_classes:
            value = self.priority_classes[name]
        else:
            raise SpecError(
                f"{thing}: {where}.priorityClassName: no PriorityClass with name {name} was found;"
                " create it, or take the name out of the values"
            )
        given, policy = spec.get("priority"), spec.get("preemptionPolicy")
        computed = self.preemption.get(name, "PreemptLowerPriority")
        for field_name, own, said, what in (
            ("priority", given, value, f"integer value of priority ({given})"),
            ("preemptionPolicy", policy, computed, f"string value of PreemptionPolicy ({policy})"),
        ):
            if own is not None and own != said:
                raise SpecError(
                    f"{thing}: {where}.{field_name}: the {what} must not be provided in pod spec; priority admission"
                    f" controller computed {said} from the given PriorityClass name"
                )
        return value, name

    def limit(self, resources: PodResources, namespace: str, thing: str) -> str:
        """Give containers what the limit ranges of the namespace give them; say why the pod is refused, if it is."""
        items = [_read_limits(document) for document in self.limit_ranges.get(namespace, ())]
        for limits in items:
            _apply_defaults(resources, limits)
        errors = [error for limits in items for limit in limits for error in _violations(resources, limit)]
        if errors:
            return errors[0] if len(errors) == 1 else f"[{', '.join(errors)}]"
        if not items:
            return ""
        try:
            for container in resources.containers:
                check(container.requests, container.limits, thing, container.at)
            check_pod_level(resources, thing, "spec.resources")
        except SpecError as error:
            return f"after the defaults of its LimitRange: {str(error)[len(thing) + 2 :]}"
        return ""

    def contending(self, resources: PodResources, namespace: str) -> List[str]:
        """Which defaults the containers get depends on the order in which the API server reads its limit ranges.

        What of it bears on these containers, in words; to be asked before :meth:`limit`.
        """
        documents = self.limit_ranges.get(namespace, ())
        if len(documents) < 2:
            return []
        found: Dict[Tuple[str, str], Dict[int, List[str]]] = {}
        for document in documents:
            name = str((document.get("metadata") or {}).get("name") or "")
            most, asked = _defaults(_read_limits(document))
            for kind, amounts in (("limit", most), ("request", asked)):
                for resource, amount in amounts.items():
                    found.setdefault((kind, resource), {}).setdefault(amount.nanos, []).append(name)
        notes = []
        for (kind, resource), given in found.items():
            lists = [item.limits if kind == "limit" else item.requests for item in resources.containers]
            if len(given) > 1 and any(resource not in amounts for amounts in lists):
                names = " and ".join(sorted(name for group in given.values() for name in group))
                notes.append(f"LimitRanges {names}: each has a default {kind} of {resource}, and either may win")
        return notes


def admission_from(documents: Iterable[Document], version: Optional[versions.Version] = None) -> Admission:
    """Collect priority classes, runtime classes and limit ranges from objects of any source."""
    admission = Admission(version=version or versions.Version())
    for document in documents:
        kind = document.get("kind")
        metadata = document.get("metadata") or {}
        name = str(metadata.get("name", ""))
        if kind == "PriorityClass":
            value = int(document.get("value") or 0)
            admission.priority_classes[name] = value
            if document.get("preemptionPolicy"):
                admission.preemption[name] = str(document["preemptionPolicy"])
            # Of several defaults the API server takes the one with the lowest value.
            default = admission.default_priority_class
            if document.get("globalDefault") and (not default or value < admission.priority_classes[default]):
                admission.default_priority_class = name
        elif kind == "RuntimeClass":
            admission.runtime_classes[name] = document
        elif kind == "LimitRange":
            namespace = str(metadata.get("namespace") or "")
            admission.limit_ranges.setdefault(namespace, []).append(document)
    return admission


# Limit ranges


@dataclass
class _Limit:
    """One entry of a limit range, with its defaults filled in as the API server does."""

    kind: str
    default: ResourceList
    default_request: ResourceList
    least: ResourceList
    most: ResourceList
    ratio: ResourceList


def _read_limits(document: Document) -> List[_Limit]:
    thing = f"LimitRange {(document.get('metadata') or {}).get('name', '')}"
    result = []
    for index, item in enumerate((document.get("spec") or {}).get("limits") or []):

        def amounts(name: str, item: Mapping[str, Any] = item, at: str = f"spec.limits[{index}]") -> ResourceList:
            return quantities.resource_list(item.get(name), thing, f"{at}.{name}")

        limit = _Limit(
            kind=str(item.get("type") or ""),
            default=amounts("default"),
            default_request=amounts("defaultRequest"),
            least=amounts("min"),
            most=amounts("max"),
            ratio=amounts("maxLimitRequestRatio"),
        )
        if limit.kind == "Container":
            for name, amount in limit.most.items():
                limit.default.setdefault(name, amount)
            for source in (limit.default, limit.least):
                for name, amount in source.items():
                    limit.default_request.setdefault(name, amount)
        result.append(limit)
    return result


def _defaults(limits: List[_Limit]) -> Tuple[ResourceList, ResourceList]:
    """The limits and the requests that a limit range gives to containers."""
    most: ResourceList = {}
    asked: ResourceList = {}
    for limit in limits:
        if limit.kind == "Container":
            most.update(limit.default)
            asked.update(limit.default_request)
    return most, asked


def _apply_defaults(resources: PodResources, limits: List[_Limit]) -> None:
    most, asked = _defaults(limits)
    for container in resources.containers:
        container.limits.update({name: amount for name, amount in most.items() if name not in container.limits})
        container.requests.update({name: amount for name, amount in asked.items() if name not in container.requests})


def _violations(resources: PodResources, limit: _Limit) -> List[str]:
    if limit.kind == "Container":
        regular = [item for item in resources.containers if not item.init]
        inits = [item for item in resources.containers if item.init]
        return [error for item in regular + inits for error in _of_lists(limit, item.requests, item.limits) if error]
    if limit.kind == "Pod":
        requests, limits = resources.total_requests(overhead=False), resources.total_limits(overhead=False)
        return [error for error in _of_lists(limit, requests, limits) if error]
    return []


def _of_lists(limit: _Limit, requests: ResourceList, limits: ResourceList) -> List[str]:
    return [
        *(_below(limit.kind, name, amount, requests, limits) for name, amount in limit.least.items()),
        *(_above(limit.kind, name, amount, requests, limits) for name, amount in limit.most.items()),
        *(_ratio(limit.kind, name, amount, requests, limits) for name, amount in limit.ratio.items()),
    ]


def _below(kind: str, name: str, least: Quantity, requests: ResourceList, limits: ResourceList) -> str:
    start = f"minimum {name} usage per {kind} is {least}"
    if name not in requests:
        return f"{start}.  No request is specified"
    if requests[name] < least:
        return f"{start}, but request is {requests[name]}"
    if name in limits and limits[name] < least:
        return f"{start}, but limit is {limits[name]}"
    return ""


def _above(kind: str, name: str, most: Quantity, requests: ResourceList, limits: ResourceList) -> str:
    start = f"maximum {name} usage per {kind} is {most}"
    if name not in limits:
        return f"{start}.  No limit is specified"
    if limits[name] > most:
        return f"{start}, but limit is {limits[name]}"
    if name in requests and requests[name] > most:
        return f"{start}, but request is {requests[name]}"
    return ""


def _ratio(kind: str, name: str, most: Quantity, requests: ResourceList, limits: ResourceList) -> str:
    start = f"{name} max limit to request ratio per {kind} is {most}"
    asked, allowed = requests.get(name, quantities.ZERO), limits.get(name, quantities.ZERO)
    if not asked.nanos:
        return f"{start}, but no request is specified or request is 0"
    if not allowed.nanos:
        return f"{start}, but no limit is specified or limit is 0"
    # The API server divides thousandths while these do not overflow, and whole units beyond.
    fine = asked.value <= _MAX_MILLI and allowed.value <= _MAX_MILLI
    ratio = float(allowed.milli_value) / float(asked.milli_value) if fine else float(allowed.value) / float(asked.value)
    if ratio * 1000 > float(most.milli_value):
        return f"{start}, but provided ratio is {ratio:f}"
    return ""


# Runtime classes


@dataclass
class Runtime:
    """What a runtime class gives a pod. ``refused`` is why the API server refuses the pod; ``note`` what is unknown."""

    overhead: Optional[Mapping[str, Any]] = None
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: List[Any] = field(default_factory=list)
    refused: str = ""
    note: str = ""


def runtime_of(admission: Admission, spec: Mapping[str, Any], node_selector: Mapping[str, str]) -> Runtime:
    """What the runtime class of a pod adds to it."""
    name, own = spec.get("runtimeClassName"), spec.get("overhead")
    if not name:
        if own:
            return Runtime(
                own, refused="pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"
            )
        return Runtime()
    found = admission.runtime_classes.get(str(name))
    if found is None:
        if admission.runtime_classes:
            return Runtime(own, refused=f'pod rejected: RuntimeClass "{name}" not found')
        return Runtime(own, note=f"RuntimeClass {name}: not found, so its overhead and nodes are not known")
    overhead = (found.get("overhead") or {}).get("podFixed")
    scheduling = found.get("scheduling") or {}
    result = Runtime(overhead or own, scheduling.get("nodeSelector") or {}, list(scheduling.get("tolerations") or []))
    if own and not overhead:
        result.refused = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"
    elif own and _amounts(own, name) != _amounts(overhead, name):
        result.refused = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"
    for key, text in result.node_selector.items():
        if node_selector.get(key, text) != text:
            result.refused = (
                f"conflict: runtimeClass.scheduling.nodeSelector[{key}] = {text};"
                f" pod.spec.nodeSelector[{key}] = {node_selector[key]}"
            )
    return result


def _amounts(values: Any, name: Any) -> ResourceList:
    return quantities.resource_list(values, f"RuntimeClass {name}", "overhead.podFixed")
