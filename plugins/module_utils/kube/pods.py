# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pods that the objects of rendered manifests make."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any, Dict, FrozenSet, Iterable, List, Mapping, Optional, Sequence, Set, Tuple

from ansible_collections.airgap.speech.plugins.module_utils.kube.admission import Admission
from ansible_collections.airgap.speech.plugins.module_utils.kube.fields import check_fields
from ansible_collections.airgap.speech.plugins.module_utils.kube.podspec import Pod, read_pod
from ansible_collections.airgap.speech.plugins.module_utils.kube.quota import Charge
from ansible_collections.airgap.speech.plugins.module_utils.kube.terms import (
    NOTHING,
    Requirement,
    Selector,
    SpecError,
    Toleration,
    label_map,
    label_selector,
    mapping,
    sequence,
    string_map,
)

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
class Workload:
    """An object of a manifest that makes pods.

    ``refused`` is why the API server takes none of its pods in. ``maximum`` is the most that its autoscaler makes of
    it. ``indexed`` are its pods where each differs; ``present`` the claims of its own that are there already.
    """

    kind: str
    namespace: str
    name: str
    count: int
    pod: Pod
    hook: str = ""
    autoscaled: bool = False
    claim_templates: Tuple[str, ...] = ()
    maximum: int = 0
    refused: str = ""
    charge: Optional[Charge] = None
    # Most pods more, and most less, while it is updated: numbers or percentages, as they stand.
    surge: str = "0"
    unavailable: str = "0"
    indexed: Tuple[Pod, ...] = ()
    ephemeral: Tuple[str, ...] = ()
    present: FrozenSet[str] = frozenset()

    @property
    def title(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"

    @property
    def daemon(self) -> bool:
        return self.kind == "DaemonSet"

    @property
    def alike(self) -> bool:
        """Whether all its pods are equal."""
        return not self.indexed and not (self.claim_templates and self.present)

    def pod_at(self, index: int) -> Pod:
        """The pod of that number. Claims of its own that are not there yet are alike, so they share a name."""
        pod = self.indexed[index] if index < len(self.indexed) else self.pod
        own = []
        for template in self.claim_templates:
            name = f"{template}-{self.name}-{index}"
            own.append(name if name in self.present else fresh_claim(template, self.name))
        own += [fresh_claim(volume, self.name) for volume in self.ephemeral]
        return replace(pod, claims=pod.claims + tuple(own)) if own else pod


def fresh_claim(template: str, name: str) -> str:
    """The name that stands for the claims that each pod of a workload gets for itself."""
    return f"{template}-{name}/*"


@dataclass
class Manifest:
    """The pods of rendered manifests, and what stands beside them that bears on their places."""

    workloads: List[Workload] = field(default_factory=list)
    claims: Dict[str, Mapping[str, Any]] = field(default_factory=dict)
    not_modelled: List[str] = field(default_factory=list)

    @property
    def claim_names(self) -> List[str]:
        """Every claim that a pod mounts, as ``namespace/name``."""
        names: Set[str] = set()
        for workload in self.workloads:
            for index in range(max(1, workload.count) if workload.claim_templates else 1):
                names.update(f"{workload.namespace}/{claim}" for claim in workload.pod_at(index).claims)
        return sorted(names)

    def found_claims(self, known: FrozenSet[str]) -> None:
        """Say which claims, as ``namespace/name``, are there already."""
        for number, workload in enumerate(self.workloads):
            if workload.claim_templates:
                own = (
                    f"{template}-{workload.name}-{index}"
                    for template in workload.claim_templates
                    for index in range(max(workload.count, workload.maximum))
                )
                present = frozenset(name for name in own if f"{workload.namespace}/{name}" in known)
                self.workloads[number] = replace(workload, present=present)


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


# Labels that differ from pod to pod of one workload; they are put on where something asks for them.
_INDEX_LABELS = ("statefulset.kubernetes.io/pod-name", "apps.kubernetes.io/pod-index")
# Stands for the hash of a template: the same for all pods of a manifest's workload.
_REVISION = "this-revision"


def _controller_labels(kind: str, name: str) -> Dict[str, str]:
    """The labels that a controller puts on the pods that it makes."""
    if kind == "Deployment":
        return {"pod-template-hash": _REVISION}
    if kind in ("StatefulSet", "DaemonSet"):
        return {"controller-revision-hash": _REVISION}
    if kind in ("Job", "CronJob"):
        uid = f"uid-of-{name}"
        return {
            "batch.kubernetes.io/job-name": name,
            "job-name": name,
            "batch.kubernetes.io/controller-uid": uid,
            "controller-uid": uid,
        }
    return {}


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
        check_fields(kind, document, thing)
        maximum, autoscaled = count, False
        if (kind, where, name) in scalers:
            low, high = scalers[(kind, where, name)]
            count, maximum, autoscaled = min(max(count, low), high), high, True
        reader = _WorkloadReader(kind, where, name, document, template, template_field, admission)
        workload = reader.read(services.get(where, []), count)
        manifest.not_modelled += [f"{thing}: {note}" for note in reader.notes]
        manifest.claims.update(reader.claims)
        surge, unavailable = _update_of(kind, document, thing)
        workload = replace(workload, hook=hook, autoscaled=autoscaled, maximum=maximum)
        manifest.workloads.append(replace(workload, surge=surge, unavailable=unavailable))
    return manifest


class _WorkloadReader:
    """Reads one object that makes pods."""

    def __init__(
        self,
        kind: str,
        namespace: str,
        name: str,
        document: Mapping[str, Any],
        template: Mapping[str, Any],
        field_name: str,
        admission: Admission,
    ) -> None:
        self._kind, self._namespace, self._name = kind, namespace, name
        self._document, self._template, self._field = document, template, field_name
        self._admission = admission
        self._thing = f"{kind} {namespace}/{name}"
        self.claims: Dict[str, Mapping[str, Any]] = {}
        self.notes: List[str] = []

    def read(self, services: List[Mapping[str, str]], count: int) -> Workload:
        """The workload with its pods."""
        kind, thing = self._kind, self._thing
        metadata = self._template.get("metadata")
        if kind != "Pod":
            metadata = mapping(metadata, thing, f"{self._field}.metadata")
        labels = dict(label_map((metadata or {}).get("labels"), thing, self._at("metadata.labels")))
        self._check_selector(labels)
        labels.update(_controller_labels(kind, self._name))
        own = _own_selector(kind, self._document, labels, thing, services)
        spec = mapping(self._template.get("spec"), thing, self._at("spec"))
        read = read_pod(spec, self._namespace, labels, thing, self._at("spec"), self._admission, default_spread=own)
        self.notes = read.notes
        pods = [self._finish(read.pod, spec)]
        if kind == "StatefulSet" and any(label in str(spec) for label in _INDEX_LABELS):
            pods = []
            for index in range(count):
                named = {**labels, _INDEX_LABELS[0]: f"{self._name}-{index}", _INDEX_LABELS[1]: str(index)}
                one = read_pod(
                    spec, self._namespace, named, thing, self._at("spec"), self._admission, default_spread=own
                )
                pods.append(self._finish(one.pod, spec))
            pods = pods or [self._finish(read.pod, spec)]
        templates = self._claim_templates()
        ephemeral = self._ephemeral(spec)
        return Workload(
            kind=kind,
            namespace=self._namespace,
            name=self._name,
            count=count,
            pod=pods[0],
            claim_templates=templates,
            ephemeral=ephemeral,
            refused=read.refused,
            charge=read.charge,
            indexed=tuple(pods) if len(pods) > 1 else (),
        )

    def _at(self, field_name: str) -> str:
        return f"{self._field}.{field_name}" if self._field else field_name

    def _check_selector(self, labels: Mapping[str, str]) -> None:
        """The API server refuses a workload whose selector does not match the labels of its template."""
        if self._kind not in ("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet"):
            return
        spec = mapping(self._document.get("spec"), self._thing, "spec")
        if spec.get("selector") is None:
            return
        if not label_selector(spec["selector"], self._thing, "spec.selector").matches(labels):
            raise SpecError(
                f"{self._thing}: {self._field}.metadata.labels: Invalid value: {dict(labels)}:"
                " `selector` does not match template `labels`"
            )

    def _finish(self, pod: Pod, spec: Mapping[str, Any]) -> Pod:
        if self._kind == "DaemonSet":
            extra = _DAEMON_TOLERATIONS + ((_NETWORK_TOLERATION,) if spec.get("hostNetwork") else ())
            pod = replace(pod, tolerations=pod.tolerations + extra)
        templates = self._claim_template_names()
        if templates:
            # The name of a claim template stands for the claim of the pod's own.
            pod = replace(pod, claims=tuple(claim for claim in pod.claims if claim not in templates))
        return pod

    def _entries(self) -> List[Any]:
        if self._kind != "StatefulSet":
            return []
        spec = mapping(self._document.get("spec"), self._thing, "spec")
        return sequence(spec.get("volumeClaimTemplates"), self._thing, "spec.volumeClaimTemplates")

    def _claim_template_names(self) -> Tuple[str, ...]:
        return tuple(str((entry.get("metadata") or {}).get("name", "")) for entry in self._entries())

    def _claim_templates(self) -> Tuple[str, ...]:
        names = self._claim_template_names()
        for name, entry in zip(names, self._entries()):
            self.claims[f"{self._namespace}/{fresh_claim(name, self._name)}"] = entry
        return names

    def _ephemeral(self, spec: Mapping[str, Any]) -> Tuple[str, ...]:
        names = []
        for index, volume in enumerate(sequence(spec.get("volumes"), self._thing, self._at("spec.volumes"))):
            if volume.get("ephemeral"):
                name = str(volume.get("name") or index)
                at = self._at(f"spec.volumes[{index}].ephemeral")
                template = mapping(volume["ephemeral"], self._thing, at).get("volumeClaimTemplate")
                self.claims[f"{self._namespace}/{fresh_claim(name, self._name)}"] = mapping(template, self._thing, at)
                names.append(name)
        return tuple(names)


def _update_of(kind: str, document: Mapping[str, Any], thing: str) -> Tuple[str, str]:
    """How many pods more and less than asked there may be during an update."""
    spec = mapping(document.get("spec"), thing, "spec")
    at = "spec.strategy" if kind == "Deployment" else "spec.updateStrategy"
    if kind not in ("Deployment", "DaemonSet", "StatefulSet"):
        return "0", "0"
    strategy = mapping(spec.get(at[5:]), thing, at)
    if (strategy.get("type") or "RollingUpdate") != "RollingUpdate":
        return "0", "100%"
    rolling = mapping(strategy.get("rollingUpdate"), thing, f"{at}.rollingUpdate")
    defaults = {"Deployment": ("25%", "25%"), "DaemonSet": ("0", "1"), "StatefulSet": ("0", "1")}[kind]
    found = []
    for name, default in (("maxSurge", defaults[0]), ("maxUnavailable", defaults[1])):
        value = default if kind == "StatefulSet" or rolling.get(name) is None else str(rolling[name])
        if not re.match(r"[0-9]+%?\Z", value):
            raise SpecError(f"{thing}: {at}.rollingUpdate.{name}: {value!r} is neither a whole number nor a percentage")
        found.append(value)
    return found[0], found[1]


def share_of(text: str, count: int, *, up: bool) -> int:
    """A number, or a percentage of ``count`` rounded up or down."""
    if not text.endswith("%"):
        return int(text)
    part = int(text[:-1]) * count
    return -(-part // 100) if up else part // 100


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
        if kind == "Deployment":
            own += (Requirement("pod-template-hash", "In", (_REVISION,)),)
    elif kind == "ReplicationController":
        spec = mapping(document.get("spec"), thing, "spec")
        chosen = string_map(spec.get("selector"), thing, "spec.selector") or labels
        own += tuple(Requirement(key, "In", (text,)) for key, text in sorted(chosen.items()))
    return Selector(own) if own else NOTHING
