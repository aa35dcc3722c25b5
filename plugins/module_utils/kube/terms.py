# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Selectors, taints and terms as the scheduler compares them. All of them are hashable, so that they can be keys."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, FrozenSet, List, Mapping, Optional, Tuple

Labels = Mapping[str, str]

_INTEGER = re.compile(r"[+-]?[0-9]+\Z")


class SpecError(ValueError):
    """A field of an object that the API server would refuse. The message names the object and the field."""


@dataclass(frozen=True)
class Taint:
    """A taint of a node."""

    key: str
    value: str
    effect: str

    def __str__(self) -> str:
        return f"{{{self.key}: {self.value}}}"


@dataclass(frozen=True)
class Toleration:
    """A toleration of a pod."""

    key: str
    operator: str
    value: str
    effect: str

    def tolerates(self, taint: Taint) -> bool:
        if self.effect and self.effect != taint.effect:
            return False
        if self.key and self.key != taint.key:
            return False
        if self.operator == "Exists":
            return True
        return self.value == taint.value


@dataclass(frozen=True)
class Requirement:
    """One expression of a selector. An operator of ``Gt`` and ``Lt`` compares whole numbers."""

    key: str
    operator: str
    values: Tuple[str, ...] = ()

    def matches(self, labels: Labels) -> bool:
        present = self.key in labels
        if self.operator == "Exists":
            return present
        if self.operator == "DoesNotExist":
            return not present
        if self.operator == "In":
            return present and labels[self.key] in self.values
        if self.operator == "NotIn":
            return not present or labels[self.key] not in self.values
        if not present or not _INTEGER.match(labels[self.key]):
            return False
        number, bound = int(labels[self.key]), int(self.values[0])
        return number > bound if self.operator == "Gt" else number < bound


@dataclass(frozen=True)
class Selector:
    """A label selector. ``nothing`` is the absent selector, which selects no object; an empty one selects all."""

    requirements: Tuple[Requirement, ...] = ()
    nothing: bool = False

    def matches(self, labels: Labels) -> bool:
        return not self.nothing and all(requirement.matches(labels) for requirement in self.requirements)

    @property
    def empty(self) -> bool:
        return not self.nothing and not self.requirements

    def also(self, labels: Labels) -> Selector:
        """This selector, narrowed to objects that carry these labels too."""
        if self.nothing:
            return self
        extra = tuple(Requirement(key, "In", (value,)) for key, value in sorted(labels.items()))
        return Selector(extra + self.requirements)


NOTHING = Selector(nothing=True)


@dataclass(frozen=True)
class NodeTerm:
    """One term of a node affinity: its expressions and fields must all match."""

    expressions: Tuple[Requirement, ...]
    fields: Tuple[Requirement, ...]

    def matches(self, labels: Labels, name: str) -> bool:
        if not self.expressions and not self.fields:
            return False
        return all(requirement.matches(labels) for requirement in self.expressions) and all(
            requirement.matches({"metadata.name": name}) for requirement in self.fields
        )

    def node_names(self) -> Optional[FrozenSet[str]]:
        """The nodes that the fields of this term allow by name; None where they allow all."""
        names: Optional[FrozenSet[str]] = None
        for requirement in self.fields:
            if requirement.operator == "In":
                names = frozenset(requirement.values) if names is None else names & frozenset(requirement.values)
        return names


@dataclass(frozen=True)
class PodTerm:
    """One term of an affinity to other pods, or against them."""

    selector: Selector
    topology_key: str
    namespaces: FrozenSet[str]
    namespace_selector: Selector
    weight: int = 0

    def matches(self, namespace: str, labels: Labels, namespace_labels: Labels) -> bool:
        if namespace not in self.namespaces and not self.namespace_selector.matches(namespace_labels):
            return False
        return self.selector.matches(labels)


@dataclass(frozen=True)
class Spread:
    """A topology spread constraint."""

    max_skew: int
    topology_key: str
    hard: bool
    selector: Selector
    min_domains: int
    honor_affinity: bool
    honor_taints: bool


def mapping(value: Any, thing: str, field: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise SpecError(f"{thing}: {field}: a map is wanted, not {value!r}")
    return value


def sequence(value: Any, thing: str, field: str) -> List[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise SpecError(f"{thing}: {field}: a list is wanted, not {value!r}")
    return value


def string_map(value: Any, thing: str, field: str) -> Mapping[str, str]:
    result = {}
    for key, text in mapping(value, thing, field).items():
        if not isinstance(key, str) or not (isinstance(text, str) or text is None):
            raise SpecError(f"{thing}: {field}.{key}: a text is wanted, not {text!r}; put it in quotes")
        result[key] = text or ""
    return result


# A name with an optional domain before a slash, and a value: as the API server takes them for labels.
_LABEL_NAME = re.compile(r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?\Z")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?\Z")


def label_name(value: str, thing: str, field: str) -> str:
    """Refuse what is no name of a label."""
    if not _LABEL_NAME.match(value):
        raise SpecError(
            f"{thing}: {field}: Invalid value: {value!r}: a name part must consist of alphanumeric characters, '-', '_'"
            " or '.', and must start and end with an alphanumeric character"
        )
    return value


def label_value(value: str, thing: str, field: str) -> str:
    """Refuse what is no value of a label."""
    if not _LABEL_VALUE.match(value):
        raise SpecError(
            f"{thing}: {field}: Invalid value: {value!r}: a valid label must be an empty string or consist of"
            " alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"
        )
    return value


def requirements(
    value: Any, thing: str, field: str, operators: Tuple[str, ...], of_labels: bool = True
) -> Tuple[Requirement, ...]:
    result = []
    for index, item in enumerate(sequence(value, thing, field)):
        where = f"{field}[{index}]"
        entry = mapping(item, thing, where)
        operator = str(entry.get("operator", ""))
        values = tuple(str(text) for text in sequence(entry.get("values"), thing, f"{where}.values"))
        if operator not in operators:
            raise SpecError(f"{thing}: {where}.operator: {operator!r} is none of {', '.join(operators)}")
        if operator in ("In", "NotIn") and not values:
            raise SpecError(f"{thing}: {where}.values: must be specified when operator is 'In' or 'NotIn'")
        if operator in ("Exists", "DoesNotExist") and values:
            raise SpecError(f"{thing}: {where}.values: may not be specified when operator is {operator!r}")
        if operator in ("Gt", "Lt") and (len(values) != 1 or not _INTEGER.match(values[0])):
            raise SpecError(f"{thing}: {where}.values: one whole number is wanted when operator is {operator!r}")
        key = str(entry.get("key", ""))
        if of_labels:
            label_name(key, thing, f"{where}.key")
            for number, text in enumerate(values if operator in ("In", "NotIn") else ()):
                label_value(text, thing, f"{where}.values[{number}]")
        result.append(Requirement(key, operator, values))
    return tuple(result)


def label_map(value: Any, thing: str, field: str) -> Mapping[str, str]:
    """A map of labels, with names and values that labels can have."""
    labels = string_map(value, thing, field)
    for key, text in labels.items():
        label_name(key, thing, field)
        label_value(text, thing, f"{field}.{key}")
    return labels


LABEL_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")
NODE_OPERATORS = (*LABEL_OPERATORS, "Gt", "Lt")


def label_selector(value: Any, thing: str, field: str) -> Selector:
    """Read a label selector; an absent one selects nothing."""
    if value is None:
        return NOTHING
    entry = mapping(value, thing, field)
    labels = label_map(entry.get("matchLabels"), thing, f"{field}.matchLabels")
    exact = tuple(Requirement(key, "In", (text,)) for key, text in sorted(labels.items()))
    return Selector(
        exact + requirements(entry.get("matchExpressions"), thing, f"{field}.matchExpressions", LABEL_OPERATORS)
    )


def node_term(value: Any, thing: str, field: str) -> NodeTerm:
    entry = mapping(value, thing, field)
    fields = requirements(entry.get("matchFields"), thing, f"{field}.matchFields", ("In", "NotIn"), False)
    for requirement in fields:
        if requirement.key != "metadata.name" or len(requirement.values) != 1:
            raise SpecError(f"{thing}: {field}.matchFields: one value of the key metadata.name is wanted")
    return NodeTerm(
        requirements(entry.get("matchExpressions"), thing, f"{field}.matchExpressions", NODE_OPERATORS), fields
    )


def node_terms(value: Any, thing: str, field: str) -> Tuple[NodeTerm, ...]:
    return tuple(
        node_term(item, thing, f"{field}[{index}]") for index, item in enumerate(sequence(value, thing, field))
    )


def taints(value: Any, thing: str, field: str) -> Tuple[Taint, ...]:
    result = []
    for index, item in enumerate(sequence(value, thing, field)):
        entry = mapping(item, thing, f"{field}[{index}]")
        effect = str(entry.get("effect") or "")
        if effect not in ("NoSchedule", "PreferNoSchedule", "NoExecute"):
            raise SpecError(
                f"{thing}: {field}[{index}].effect: {effect!r} is none of NoSchedule, PreferNoSchedule, NoExecute"
            )
        result.append(Taint(str(entry.get("key") or ""), str(entry.get("value") or ""), effect))
    return tuple(result)


def tolerations(value: Any, thing: str, field: str) -> Tuple[Toleration, ...]:
    result = []
    for index, item in enumerate(sequence(value, thing, field)):
        where = f"{field}[{index}]"
        entry = mapping(item, thing, where)
        operator = str(entry.get("operator") or "Equal")
        key, text = str(entry.get("key") or ""), str(entry.get("value") or "")
        if operator not in ("Equal", "Exists"):
            raise SpecError(f"{thing}: {where}.operator: {operator!r} is none of Equal, Exists")
        effect = str(entry.get("effect") or "")
        if effect not in ("", "NoSchedule", "PreferNoSchedule", "NoExecute"):
            raise SpecError(f"{thing}: {where}.effect: {effect!r} is none of NoSchedule, PreferNoSchedule, NoExecute")
        if entry.get("tolerationSeconds") is not None and effect != "NoExecute":
            raise SpecError(f"{thing}: {where}.effect: must be 'NoExecute' when `tolerationSeconds` is set")
        if key:
            label_name(key, thing, f"{where}.key")
        if not key and operator != "Exists":
            raise SpecError(f"{thing}: {where}.operator: operator must be Exists when key is empty")
        if text and operator == "Exists":
            raise SpecError(f"{thing}: {where}.value: value must be empty when operator is Exists")
        result.append(Toleration(key, operator, text, effect))
    return tuple(result)


def pod_term(value: Any, labels: Labels, namespace: str, thing: str, field: str, weight: int = 0) -> PodTerm:
    """Read a term of pod affinity. ``labels`` and ``namespace`` are those of the pod that carries it."""
    entry = mapping(value, thing, field)
    key = str(entry.get("topologyKey") or "")
    if not key:
        raise SpecError(f"{thing}: {field}.topologyKey: Required value: can not be empty")
    label_name(key, thing, f"{field}.topologyKey")
    selector = label_selector(entry.get("labelSelector"), thing, f"{field}.labelSelector")
    wanted = _label_keys(entry, thing, field)
    unwanted = [str(name) for name in sequence(entry.get("mismatchLabelKeys"), thing, f"{field}.mismatchLabelKeys")]
    both = sorted(set(wanted) & set(unwanted))
    if both:
        raise SpecError(
            f"{thing}: {field}.matchLabelKeys: {both[0]}: exists in both matchLabelKeys and mismatchLabelKeys"
        )
    selector = selector.also({name: labels[name] for name in wanted if name in labels})
    if unwanted and not selector.nothing:
        extra = tuple(Requirement(name, "NotIn", (labels[name],)) for name in unwanted if name in labels)
        selector = Selector(selector.requirements + extra)
    namespaces = frozenset(str(name) for name in sequence(entry.get("namespaces"), thing, f"{field}.namespaces"))
    namespace_selector = label_selector(entry.get("namespaceSelector"), thing, f"{field}.namespaceSelector")
    if not namespaces and namespace_selector.nothing:
        namespaces = frozenset((namespace,))
    return PodTerm(selector, key, namespaces, namespace_selector, weight)


def _label_keys(entry: Mapping[str, Any], thing: str, field: str) -> List[str]:
    """The keys of ``matchLabelKeys``, none of which the selector may have too."""
    keys = [str(name) for name in sequence(entry.get("matchLabelKeys"), thing, f"{field}.matchLabelKeys")]
    selector = entry.get("labelSelector")
    if keys and selector is None:
        raise SpecError(f"{thing}: {field}.matchLabelKeys: must not be specified when labelSelector is not set")
    return keys


def spread(value: Any, labels: Labels, thing: str, field: str) -> Spread:
    entry = mapping(value, thing, field)
    skew = entry.get("maxSkew")
    if not isinstance(skew, int) or isinstance(skew, bool) or skew < 1:
        raise SpecError(f"{thing}: {field}.maxSkew: {skew!r} is not a whole number above zero")
    action = entry.get("whenUnsatisfiable")
    if action not in ("DoNotSchedule", "ScheduleAnyway"):
        raise SpecError(f"{thing}: {field}.whenUnsatisfiable: {action!r} is none of DoNotSchedule, ScheduleAnyway")
    key = str(entry.get("topologyKey") or "")
    if not key:
        raise SpecError(f"{thing}: {field}.topologyKey: Required value: can not be empty")
    label_name(key, thing, f"{field}.topologyKey")
    selector = label_selector(entry.get("labelSelector"), thing, f"{field}.labelSelector")
    selector = selector.also({name: labels[name] for name in _label_keys(entry, thing, field) if name in labels})
    least = entry.get("minDomains")
    if least is not None and (isinstance(least, bool) or not isinstance(least, int) or least < 1):
        raise SpecError(f"{thing}: {field}.minDomains: {least!r}: must be greater than 0")
    if least is not None and action != "DoNotSchedule":
        raise SpecError(
            f"{thing}: {field}.minDomains: can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}"
        )
    for policy in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
        if entry.get(policy) not in (None, "Honor", "Ignore"):
            raise SpecError(f"{thing}: {field}.{policy}: {entry[policy]!r} is none of Honor, Ignore")
    return Spread(
        max_skew=skew,
        topology_key=key,
        hard=action == "DoNotSchedule",
        selector=selector,
        min_domains=least or 1,
        honor_affinity=entry.get("nodeAffinityPolicy") != "Ignore",
        honor_taints=entry.get("nodeTaintsPolicy") == "Honor",
    )
