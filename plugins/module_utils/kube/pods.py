# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pods as the scheduler sees them: those of rendered manifests, and those that a cluster runs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Dict, FrozenSet, Iterable, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.airgap.speech.plugins.module_utils.kube import quantity as quantities
from ansible_collections.airgap.speech.plugins.module_utils.kube.quantity import Quantity
from ansible_collections.airgap.speech.plugins.module_utils.kube.terms import (
    NOTHING,
    NodeTerm,
    PodTerm,
    Requirement,
    Selector,
    SpecError,
    Spread,
    Toleration,
    label_selector,
    mapping,
    node_term,
    node_terms,
    pod_term,
    sequence,
    spread,
    string_map,
    tolerations,
)

ResourceList = Dict[str, Quantity]
HostPort = Tuple[str, str, int]
EVERY_ADDRESS = "0.0.0.0"  # noqa: S104 - compared with, never listened on

# For scoring only, the scheduler counts a container that asks for nothing with these.
_SCORED_CPU = Quantity(100 * quantities.MILLI_IN_NANO)
_SCORED_MEMORY = Quantity(200 * 2**20 * quantities.NANO)

_SYSTEM_PRIORITIES = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}
_DEFAULT_SCHEDULER = "default-scheduler"
# Added to every pod by admission; they say nothing about where a pod may be placed first.
_ADMISSION_TOLERATIONS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
_DAEMON_TOLERATIONS = (
    Toleration("node.kubernetes.io/not-ready", "Exists", "", "NoExecute"),
    Toleration("node.kubernetes.io/unreachable", "Exists", "", "NoExecute"),
    Toleration("node.kubernetes.io/disk-pressure", "Exists", "", "NoSchedule"),
    Toleration("node.kubernetes.io/memory-pressure", "Exists", "", "NoSchedule"),
    Toleration("node.kubernetes.io/pid-pressure", "Exists", "", "NoSchedule"),
    Toleration("node.kubernetes.io/unschedulable", "Exists", "", "NoSchedule"),
)
_NETWORK_TOLERATION = Toleration("node.kubernetes.io/network-unavailable", "Exists", "", "NoSchedule")

# Hooks of Helm that run while a release is installed or upgraded, and whether its other pods run then too.
_HOOKS = {
    "pre-install": "before",
    "pre-upgrade": "before",
    "post-install": "after",
    "post-upgrade": "after",
    "test": "after",
    "test-success": "after",
}


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

    @property
    def label_map(self) -> Dict[str, str]:
        return dict(self.labels)

    @property
    def request_map(self) -> Dict[str, int]:
        return dict(self.requests)


@dataclass(frozen=True)
class Existing:
    """A pod that a cluster runs on a node already."""

    name: str
    node: str
    pod: Pod
    owner_kind: str = ""
    owner_name: str = ""
    terminating: bool = False


@dataclass(frozen=True)
class Workload:
    """An object of a manifest that makes pods."""

    kind: str
    namespace: str
    name: str
    count: int
    pod: Pod
    hook: str = ""
    autoscaled: bool = False
    claim_templates: Tuple[str, ...] = ()

    @property
    def title(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"

    @property
    def daemon(self) -> bool:
        return self.kind == "DaemonSet"

    def pod_at(self, index: int) -> Pod:
        """The pod of that number; those of a StatefulSet have claims of their own."""
        if not self.claim_templates:
            return self.pod
        own = tuple(f"{template}-{self.name}-{index}" for template in self.claim_templates)
        return replace(self.pod, claims=self.pod.claims + own)


@dataclass
class Admission:
    """What the API server adds to a pod when it takes it in, as far as it is known."""

    priority_classes: Dict[str, int] = field(default_factory=dict)
    default_priority: int = 0
    runtime_classes: Dict[str, Mapping[str, Any]] = field(default_factory=dict)
    limit_ranges: Dict[str, List[Mapping[str, Any]]] = field(default_factory=dict)


@dataclass
class Manifest:
    """The pods of rendered manifests, and what stands beside them that bears on their places."""

    workloads: List[Workload] = field(default_factory=list)
    claims: Dict[str, Mapping[str, Any]] = field(default_factory=dict)
    not_modelled: List[str] = field(default_factory=list)

    @property
    def claim_names(self) -> List[str]:
        """Every claim that a pod mounts, as ``namespace/name``."""
        names = []
        for workload in self.workloads:
            for index in range(max(1, workload.count if workload.claim_templates else 1)):
                names += [f"{workload.namespace}/{claim}" for claim in workload.pod_at(index).claims]
        return sorted(set(names))


def load_documents(text: str) -> List[Mapping[str, Any]]:
    """Read the objects of a YAML text; lists of objects are opened."""
    import yaml

    class Loader(yaml.SafeLoader):
        """Dates stay texts, as they do for the API server."""

    Loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    try:
        loaded = list(yaml.load_all(text, Loader=Loader))
    except yaml.YAMLError as error:
        raise SpecError(f"manifest: this is not YAML: {error}; render it again") from None
    documents: List[Mapping[str, Any]] = []
    for index, item in enumerate(loaded):
        if item is None:
            continue
        if not isinstance(item, Mapping):
            raise SpecError(f"manifest: document {index + 1}: a map is wanted, not {item!r}")
        if str(item.get("kind", "")).endswith("List") and isinstance(item.get("items"), list):
            kind = str(item["kind"])[: -len("List")]
            documents += [{"kind": kind, **entry} if kind else entry for entry in item["items"]]
        else:
            documents.append(item)
    return documents


def admission_from(documents: Iterable[Mapping[str, Any]]) -> Admission:
    """Collect priority classes, runtime classes and limit ranges from objects of any source."""
    admission = Admission()
    for document in documents:
        kind = document.get("kind")
        metadata = document.get("metadata") or {}
        name = str(metadata.get("name", ""))
        if kind == "PriorityClass":
            admission.priority_classes[name] = int(document.get("value") or 0)
            if document.get("globalDefault"):
                admission.default_priority = int(document.get("value") or 0)
        elif kind == "RuntimeClass":
            admission.runtime_classes[name] = document
        elif kind == "LimitRange":
            namespace = str(metadata.get("namespace") or "")
            admission.limit_ranges.setdefault(namespace, []).append(document)
    return admission


def read_manifest(
    documents: Sequence[Mapping[str, Any]], namespace: str, admission: Optional[Admission] = None
) -> Manifest:
    """Find the pods that the objects of a manifest make, in the order of the objects."""
    admission = admission or Admission()
    manifest = Manifest()
    scalers = _scalers(documents, namespace)
    services = _service_selectors(documents, namespace)
    for document in documents:
        kind = str(document.get("kind", ""))
        metadata = mapping(document.get("metadata"), kind or "manifest", "metadata")
        name = str(metadata.get("name") or metadata.get("generateName") or "")
        where = str(metadata.get("namespace") or namespace)
        thing = f"{kind} {where}/{name}"
        if kind == "PersistentVolumeClaim":
            manifest.claims[f"{where}/{name}"] = document
            continue
        if kind in ("ResourceClaim", "ResourceClaimTemplate"):
            manifest.not_modelled.append(f"{thing}: devices asked by claim (DRA)")
            continue
        found = _template(kind, document, thing)
        if found is None:
            continue
        template, template_field, count = found
        hook, wanted = _hook(metadata)
        if not wanted:
            continue
        template_metadata = metadata if kind == "Pod" else mapping(template.get("metadata"), thing, template_field)
        labels = dict(string_map(template_metadata.get("labels"), thing, f"{template_field}.metadata.labels"))
        autoscaled = False
        if (kind, where, name) in scalers:
            low, high = scalers[(kind, where, name)]
            count, autoscaled = min(max(count, low), high), True
        own = _own_selector(kind, document, labels, thing, services.get(where, []))
        pod, notes = read_pod(
            mapping(template.get("spec"), thing, f"{template_field}.spec"),
            where,
            labels,
            thing,
            f"{template_field}.spec" if template_field else "spec",
            admission,
            default_spread=own,
        )
        if kind == "DaemonSet":
            extra = _DAEMON_TOLERATIONS + ((_NETWORK_TOLERATION,) if _host_network(template) else ())
            pod = replace(pod, tolerations=pod.tolerations + extra)
        claim_templates: Tuple[str, ...] = ()
        if kind == "StatefulSet":
            spec = mapping(document.get("spec"), thing, "spec")
            entries = sequence(spec.get("volumeClaimTemplates"), thing, "spec.volumeClaimTemplates")
            claim_templates = tuple(str((entry.get("metadata") or {}).get("name", "")) for entry in entries)
            pod = replace(pod, claims=tuple(claim for claim in pod.claims if claim not in claim_templates))
            for entry in entries:
                for index in range(count):
                    claim = f"{(entry.get('metadata') or {}).get('name', '')}-{name}-{index}"
                    manifest.claims.setdefault(f"{where}/{claim}", entry)
        manifest.not_modelled += [f"{thing}: {note}" for note in notes]
        manifest.workloads.append(Workload(kind, where, name, count, pod, hook, autoscaled, claim_templates))
    return manifest


def _template(kind: str, document: Mapping[str, Any], thing: str) -> Optional[Tuple[Mapping[str, Any], str, int]]:
    """The pod template of an object, the field it stands in, and how many pods it asks for."""
    spec = mapping(document.get("spec"), thing, "spec")
    if kind == "Pod":
        return document, "", 1
    if kind in ("Deployment", "StatefulSet", "ReplicaSet", "ReplicationController"):
        template = mapping(spec.get("template"), thing, "spec.template")
        return template, "spec.template", _count(spec.get("replicas"), 1, thing, "spec.replicas")
    if kind == "DaemonSet":
        return mapping(spec.get("template"), thing, "spec.template"), "spec.template", 0
    if kind == "Job":
        return mapping(spec.get("template"), thing, "spec.template"), "spec.template", _job_count(spec, thing, "spec")
    if kind == "CronJob":
        job = mapping(spec.get("jobTemplate"), thing, "spec.jobTemplate")
        job_spec = mapping(job.get("spec"), thing, "spec.jobTemplate.spec")
        where = "spec.jobTemplate.spec.template"
        count = 0 if spec.get("suspend") else _job_count(job_spec, thing, "spec.jobTemplate.spec")
        return mapping(job_spec.get("template"), thing, where), where, count
    return None


def _count(value: Any, default: int, thing: str, where: str) -> int:
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise SpecError(f"{thing}: {where}: {value!r} is not a whole number of zero or more")
    return value


def _job_count(spec: Mapping[str, Any], thing: str, where: str) -> int:
    if spec.get("suspend"):
        return 0
    parallelism = _count(spec.get("parallelism"), 1, thing, f"{where}.parallelism")
    completions = spec.get("completions")
    if completions is None:
        return parallelism
    return min(parallelism, _count(completions, 1, thing, f"{where}.completions"))


def _hook(metadata: Mapping[str, Any]) -> Tuple[str, bool]:
    """When an object of Helm's runs: ``before`` or ``after`` the others, beside them (empty), or not now."""
    annotations = metadata.get("annotations") or {}
    names = [name.strip() for name in str(annotations.get("helm.sh/hook") or "").split(",") if name.strip()]
    if not names:
        return "", True
    moments = [_HOOKS[name] for name in names if name in _HOOKS]
    if not moments:
        return "", False
    return ("after" if "after" in moments else "before"), True


def _scalers(documents: Iterable[Mapping[str, Any]], namespace: str) -> Dict[Tuple[str, str, str], Tuple[int, int]]:
    """Autoscalers of the manifest: the workload they scale, and the fewest and most replicas."""
    result = {}
    for document in documents:
        if document.get("kind") != "HorizontalPodAutoscaler":
            continue
        metadata = document.get("metadata") or {}
        spec = document.get("spec") or {}
        target = spec.get("scaleTargetRef") or {}
        where = str(metadata.get("namespace") or namespace)
        low = int(spec.get("minReplicas") or 1)
        result[(str(target.get("kind")), where, str(target.get("name")))] = (low, int(spec.get("maxReplicas") or low))
    return result


def _service_selectors(documents: Iterable[Mapping[str, Any]], namespace: str) -> Dict[str, List[Mapping[str, str]]]:
    result: Dict[str, List[Mapping[str, str]]] = {}
    for document in documents:
        if document.get("kind") == "Service":
            metadata = document.get("metadata") or {}
            selector = (document.get("spec") or {}).get("selector")
            if selector:
                result.setdefault(str(metadata.get("namespace") or namespace), []).append(selector)
    return result


def _own_selector(
    kind: str, document: Mapping[str, Any], labels: Mapping[str, str], thing: str, services: List[Mapping[str, str]]
) -> Selector:
    """The selector that the scheduler spreads by of its own: the pods of the same services and the same set."""
    own: Tuple[Requirement, ...] = ()
    for selector in services:
        if all(labels.get(key) == text for key, text in selector.items()):
            own += tuple(Requirement(key, "In", (text,)) for key, text in sorted(selector.items()))
    if kind in ("Deployment", "ReplicaSet", "StatefulSet"):
        spec = mapping(document.get("spec"), thing, "spec")
        own += label_selector(spec.get("selector"), thing, "spec.selector").requirements
    return Selector(own) if own else NOTHING


def _host_network(template: Mapping[str, Any]) -> bool:
    return bool((template.get("spec") or {}).get("hostNetwork"))


def read_pod(
    spec: Mapping[str, Any],
    namespace: str,
    labels: Mapping[str, str],
    thing: str,
    where: str = "spec",
    admission: Optional[Admission] = None,
    *,
    default_spread: Selector = NOTHING,
) -> Tuple[Pod, List[str]]:
    """Read a pod's spec as it is after defaulting and admission; also say what in it is not modelled."""
    admission = admission or Admission()
    notes: List[str] = []
    overhead = spec.get("overhead")
    node_selector = dict(string_map(spec.get("nodeSelector"), thing, f"{where}.nodeSelector"))
    accepted = tolerations(spec.get("tolerations"), thing, f"{where}.tolerations")
    runtime_name = spec.get("runtimeClassName")
    if runtime_name:
        runtime = admission.runtime_classes.get(str(runtime_name))
        if runtime is None:
            notes.append(f"RuntimeClass {runtime_name}: not found, so its overhead and nodes are not known")
        else:
            overhead = overhead or (runtime.get("overhead") or {}).get("podFixed")
            scheduling = runtime.get("scheduling") or {}
            node_selector.update(scheduling.get("nodeSelector") or {})
            accepted += tolerations(scheduling.get("tolerations"), thing, f"RuntimeClass {runtime_name} tolerations")
    defaults, default_requests = _limit_defaults(admission.limit_ranges.get(namespace, ()), thing)
    containers = _containers(spec, "containers", thing, where, defaults, default_requests)
    if not containers:
        raise SpecError(f"{thing}: {where}.containers: Required value")
    inits = _containers(spec, "initContainers", thing, where, defaults, default_requests)
    level = _pod_level(spec, thing, where)
    total = _total(containers, inits, level, quantities.resource_list(overhead, thing, f"{where}.overhead"))
    scored = _total(
        [(_scored(requests), sidecar) for requests, sidecar in containers],
        [(_scored(requests), sidecar) for requests, sidecar in inits],
        level,
        quantities.resource_list(overhead, thing, f"{where}.overhead"),
    )
    affinity = mapping(spec.get("affinity"), thing, f"{where}.affinity")
    node_affinity = mapping(affinity.get("nodeAffinity"), thing, f"{where}.affinity.nodeAffinity")
    required = node_affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    required_terms: Optional[Tuple[NodeTerm, ...]] = None
    required_field = f"{where}.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution"
    if required is not None:
        entry = mapping(required, thing, required_field)
        required_terms = node_terms(entry.get("nodeSelectorTerms"), thing, f"{required_field}.nodeSelectorTerms")
        if not required_terms:
            raise SpecError(f"{thing}: {required_field}.nodeSelectorTerms: Required value")
    preferred_field = f"{where}.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution"
    preferred = tuple(
        (
            int(item.get("weight") or 0),
            node_term(item.get("preference"), thing, f"{preferred_field}[{index}].preference"),
        )
        for index, item in enumerate(
            sequence(node_affinity.get("preferredDuringSchedulingIgnoredDuringExecution"), thing, preferred_field)
        )
    )
    near, near_preferred = _pod_terms(affinity, "podAffinity", labels, namespace, thing, where)
    away, away_preferred = _pod_terms(affinity, "podAntiAffinity", labels, namespace, thing, where)
    spreads_field = f"{where}.topologySpreadConstraints"
    spreads = tuple(
        spread(item, labels, thing, f"{spreads_field}[{index}]")
        for index, item in enumerate(sequence(spec.get("topologySpreadConstraints"), thing, spreads_field))
    )
    notes += _unknowns(spec)
    pod = Pod(
        namespace=namespace,
        labels=tuple(sorted(labels.items())),
        requests=tuple(sorted((name, quantities.whole_units(name, amount)) for name, amount in total.items())),
        scored=(scored["cpu"].milli_value, scored["memory"].value),
        node_name=str(spec.get("nodeName") or ""),
        node_selector=tuple(sorted(node_selector.items())),
        node_terms=required_terms,
        preferred_nodes=preferred,
        tolerations=tuple(
            item
            for item in accepted
            if not (item.key in _ADMISSION_TOLERATIONS and item.operator == "Exists" and item.effect == "NoExecute")
        ),
        host_ports=_host_ports(spec, thing, where),
        affinity=near,
        anti_affinity=away,
        preferred_affinity=near_preferred,
        preferred_anti_affinity=away_preferred,
        spreads=spreads,
        default_spread=default_spread,
        claims=_claims(spec),
        images=tuple(
            str(container.get("image") or "")
            for group in ("initContainers", "containers")
            for container in spec.get(group) or []
        ),
        priority=_priority(spec, admission, thing, where),
    )
    return pod, notes


def _priority(spec: Mapping[str, Any], admission: Admission, thing: str, where: str) -> int:
    if isinstance(spec.get("priority"), int):
        return int(spec["priority"])
    name = spec.get("priorityClassName")
    if not name:
        return admission.default_priority
    if name in _SYSTEM_PRIORITIES:
        return _SYSTEM_PRIORITIES[name]
    if name not in admission.priority_classes:
        raise SpecError(
            f"{thing}: {where}.priorityClassName: no PriorityClass with name {name} was found;"
            " create it, or take the name out of the values"
        )
    return admission.priority_classes[name]


def _limit_defaults(
    limit_ranges: Iterable[Mapping[str, Any]], thing: str
) -> Tuple[Dict[str, Quantity], Dict[str, Quantity]]:
    """What a namespace's limit ranges give to a container that says nothing: limits, and requests."""
    limits: Dict[str, Quantity] = {}
    requests: Dict[str, Quantity] = {}
    for limit_range in limit_ranges:
        for item in (limit_range.get("spec") or {}).get("limits") or []:
            if item.get("type") != "Container":
                continue
            where = f"LimitRange {(limit_range.get('metadata') or {}).get('name', '')}"
            default = quantities.resource_list(item.get("default"), thing, f"{where} default")
            asked = quantities.resource_list(item.get("defaultRequest"), thing, f"{where} defaultRequest")
            upper = quantities.resource_list(item.get("max"), thing, f"{where} max")
            for name, amount in upper.items():
                default.setdefault(name, amount)
            for name, amount in default.items():
                limits.setdefault(name, amount)
                asked.setdefault(name, amount)
            for name, amount in asked.items():
                requests.setdefault(name, amount)
    return limits, requests


def _containers(
    spec: Mapping[str, Any],
    group: str,
    thing: str,
    where: str,
    defaults: Mapping[str, Quantity],
    default_requests: Mapping[str, Quantity],
) -> List[Tuple[ResourceList, bool]]:
    """The requests of each container after defaulting, and whether it is a sidecar."""
    result = []
    for index, item in enumerate(sequence(spec.get(group), thing, f"{where}.{group}")):
        container = mapping(item, thing, f"{where}.{group}[{index}]")
        name = container.get("name")
        at = f"{where}.{group}[{name if name else index}].resources"
        resources = mapping(container.get("resources"), thing, at)
        limits = quantities.resource_list(resources.get("limits"), thing, f"{at}.limits")
        requests = quantities.resource_list(resources.get("requests"), thing, f"{at}.requests")
        for resource, amount in limits.items():
            requests.setdefault(resource, amount)
        for resource, amount in default_requests.items():
            requests.setdefault(resource, amount)
        for resource, amount in defaults.items():
            limits.setdefault(resource, amount)
        _check(requests, limits, thing, at)
        result.append((requests, container.get("restartPolicy") == "Always"))
    return result


def _check(requests: ResourceList, limits: ResourceList, thing: str, at: str) -> None:
    """Refuse what the API server refuses."""
    for name, amount in requests.items():
        limit = limits.get(name)
        if quantities.is_extended(name):
            if amount.nanos % quantities.NANO:
                raise SpecError(f"{thing}: {at}.requests.{name}: must be an integer; ask for whole devices")
            if limit is None:
                raise SpecError(f"{thing}: {at}.limits.{name}: Limit must be set for non overcommitable resources")
            if limit != amount:
                raise SpecError(f"{thing}: {at}.requests.{name}: must be equal to {name} limit")
        elif limit is not None and amount > limit:
            raise SpecError(f"{thing}: {at}.requests.{name}: must be less than or equal to {name} limit")


def _pod_level(spec: Mapping[str, Any], thing: str, where: str) -> ResourceList:
    resources = mapping(spec.get("resources"), thing, f"{where}.resources")
    requests = quantities.resource_list(resources.get("requests"), thing, f"{where}.resources.requests")
    limits = quantities.resource_list(resources.get("limits"), thing, f"{where}.resources.limits")
    for name, amount in limits.items():
        requests.setdefault(name, amount)
    return {
        name: amount for name, amount in requests.items() if name in ("cpu", "memory") or name.startswith("hugepages-")
    }


def _scored(requests: ResourceList) -> ResourceList:
    return {"cpu": _SCORED_CPU, "memory": _SCORED_MEMORY, **requests}


def _total(
    containers: Sequence[Tuple[ResourceList, bool]],
    inits: Sequence[Tuple[ResourceList, bool]],
    level: ResourceList,
    overhead: ResourceList,
) -> ResourceList:
    """The requests of a pod: containers and sidecars together, or the largest moment of its start if that is more."""
    running: ResourceList = {}
    for requests, _sidecar in containers:
        _add(running, requests)
    sidecars: ResourceList = {}
    largest: ResourceList = {}
    for requests, sidecar in inits:
        moment = dict(requests)
        if sidecar:
            _add(running, requests)
            _add(sidecars, requests)
            moment = dict(sidecars)
        else:
            _add(moment, sidecars)
        _raise_to(largest, moment)
    _raise_to(running, largest)
    running.update(level)
    _add(running, overhead)
    return running


def _add(total: ResourceList, more: Mapping[str, Quantity]) -> None:
    for name, amount in more.items():
        total[name] = total.get(name, quantities.ZERO) + amount


def _raise_to(total: ResourceList, other: Mapping[str, Quantity]) -> None:
    for name, amount in other.items():
        total[name] = max(total.get(name, quantities.ZERO), amount)


def _host_ports(spec: Mapping[str, Any], thing: str, where: str) -> FrozenSet[HostPort]:
    ports = set()
    shared = bool(spec.get("hostNetwork"))
    for group in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(group) or []):
            if group == "initContainers" and container.get("restartPolicy") != "Always":
                continue
            at = f"{where}.{group}[{index}].ports"
            for port in sequence(container.get("ports"), thing, at):
                number = port.get("hostPort") or (port.get("containerPort") if shared else 0)
                if number:
                    ports.add(
                        (str(port.get("protocol") or "TCP"), str(port.get("hostIP") or EVERY_ADDRESS), int(number))
                    )
    return frozenset(ports)


def _pod_terms(
    affinity: Mapping[str, Any], kind: str, labels: Mapping[str, str], namespace: str, thing: str, where: str
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
            int(item.get("weight") or 0),
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
        if volume.get("ephemeral"):
            notes.append(f"volume {volume.get('name')}: an ephemeral claim")
        for kind in ("gcePersistentDisk", "awsElasticBlockStore", "azureDisk", "cinder", "rbd", "iscsi"):
            if volume.get(kind):
                notes.append(f"volume {volume.get('name')}: {kind}")
    return notes


def read_existing(document: Mapping[str, Any]) -> Optional[Existing]:
    """Read a pod of a cluster. One that has no node, or has ended, takes no room and is None."""
    metadata = document.get("metadata") or {}
    spec = document.get("spec") or {}
    status = document.get("status") or {}
    node = spec.get("nodeName")
    if not node or status.get("phase") in ("Succeeded", "Failed"):
        return None
    namespace, name = str(metadata.get("namespace") or "default"), str(metadata.get("name") or "")
    labels = metadata.get("labels") or {}
    pod, _notes = read_pod({**spec, "nodeName": ""}, namespace, labels, f"Pod {namespace}/{name}")
    owner: Mapping[str, Any] = next(
        (item for item in metadata.get("ownerReferences") or [] if item.get("controller")), {}
    )
    kind, owner_name = str(owner.get("kind") or ""), str(owner.get("name") or "")
    if kind == "ReplicaSet" and labels.get("pod-template-hash"):
        suffix = f"-{labels['pod-template-hash']}"
        if owner_name.endswith(suffix):
            kind, owner_name = "Deployment", owner_name[: -len(suffix)]
    return Existing(name, str(node), pod, kind, owner_name, bool(metadata.get("deletionTimestamp")))
