# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules for what no manifest says: images that an operator names in its code, and what decides whether it uses one.

docs/discovery.md describes the file.
"""

from __future__ import annotations

import fnmatch
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.airgap.speech.plugins.module_utils.discovery.documents import group_of, loader, name_of
from ansible_collections.airgap.speech.plugins.module_utils.discovery.findings import (
    ALWAYS,
    Candidate,
    Discovery,
    Found,
)
from ansible_collections.airgap.speech.plugins.module_utils.discovery.text import upstream
from ansible_collections.airgap.speech.plugins.module_utils.oci.reference import ReferenceInvalid

try:
    import yaml
except ImportError:  # the modules say so
    yaml = None  # type: ignore[assignment]

SCHEMA = "airgap.speech/image-rules/v1"
RULE_KEYS = frozenset(("name", "reason", "document", "when", "at", "images", "needed", "only_if", "no_image"))
CONDITION_KEYS = frozenset(("path", "is", "is_not", "set", "kind", "group"))
PLACEHOLDER = re.compile(r"\{([^{}]+)\}")
_STEP = re.compile(r"([^.\[\]]+)|\[([0-9]+|\*)\]")


class RulesInvalid(ValueError):
    """A file of rules that cannot be used: the file, the rule, the cause and what to write."""


@dataclass(frozen=True)
class Condition:
    """What a field holds: `equals` a value, `differs` from it, or is `present` or not.

    It is a field of the rule's document, or of any document of a `kind`. Of the conditions in `either` one is enough.
    """

    path: str
    equals: Any = None
    differs: Any = None
    present: bool | None = None
    group: str | None = None
    kind: str = ""
    either: tuple[Condition, ...] = ()

    def holds(self, document: Mapping[str, Any], documents: Sequence[Mapping[str, Any]]) -> bool:
        """Whether it does."""
        if self.either:
            return any(condition.holds(document, documents) for condition in self.either)
        if self.kind:
            candidates = [
                other
                for other in documents
                if other.get("kind") == self.kind and (self.group is None or group_of(other) == self.group)
            ]
            return any(self._holds(other) for other in candidates)
        return self._holds(document)

    def _holds(self, document: Mapping[str, Any]) -> bool:
        values = values_at(document, self.path)
        if self.present is not None:
            return any(value not in (None, "", [], {}) for value in values) is self.present
        if self.differs is not None:
            return not any(_same(value, self.differs) for value in values)
        return any(_same(value, self.equals) for value in values)

    def __str__(self) -> str:
        if self.either:
            return " or ".join(str(condition) for condition in self.either)
        where = f"{self.path} of a {self.kind}" if self.kind else self.path
        if self.present is not None:
            return f"{where} is {'set' if self.present else 'not set'}"
        word, value = ("is not", self.differs) if self.differs is not None else ("is", self.equals)
        return f"{where} {word} {str(value).lower() if isinstance(value, bool) else value}"


@dataclass(frozen=True)
class Rule:
    """One rule; see docs/discovery.md for what each field means."""

    name: str
    reason: str
    group: str | None
    kind: str
    document: str
    when: tuple[Condition, ...]
    at: tuple[str, ...]
    images: tuple[str, ...]
    needed: str
    only_if: tuple[Condition, ...]
    no_image: bool

    def about(self, document: Mapping[str, Any]) -> bool:
        """Whether a document is one that the rule is about."""
        name = name_of(document)
        return (
            document.get("kind") == self.kind
            and (self.group is None or group_of(document) == self.group)
            and fnmatch.fnmatchcase(name, self.document or "*")
        )

    def covers(self, path: str, text: str) -> bool:
        """Whether a place is one that the rule is about: by its path, or by the text behind `value:`."""
        return any(
            fnmatch.fnmatchcase(text, pattern[len("value:") :].strip())
            if pattern.startswith("value:")
            else path == pattern or fnmatch.fnmatchcase(path, re.sub(r"\[([0-9]+)\]", r"[[]\1[]]", pattern))
            for pattern in self.at
        )


@dataclass
class ImageRules:
    """Rules and the variables of the site (`node_os: [ubuntu22.04]`) that they speak of."""

    rules: list[Rule] = field(default_factory=list)
    variables: dict[str, list[str]] = field(default_factory=dict)
    descriptions: dict[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, text: str, where: str, variables: Mapping[str, Sequence[str]] | None = None) -> ImageRules:
        """Read a file of rules; `where` names it in errors, `variables` are the site's values."""
        try:
            tree = yaml.load(text, Loader=loader())  # nosec B506: a safe loader
        except yaml.YAMLError as error:
            raise RulesInvalid(f"{where}: is not YAML ({' '.join(str(error).split())}); correct it") from error
        if not isinstance(tree, dict) or tree.get("schema") != SCHEMA or not isinstance(tree.get("rules"), list):
            raise RulesInvalid(f"{where}: is no file of image rules; begin it with `schema: {SCHEMA}` and `rules:`")
        unknown = set(tree) - {"schema", "rules", "variables"}
        if unknown:
            raise RulesInvalid(f"{where}: {', '.join(sorted(unknown))} is unknown; write schema, variables and rules")
        described = tree.get("variables") or {}
        if not isinstance(described, dict) or not all(isinstance(text, str) for text in described.values()):
            raise RulesInvalid(f"{where}: variables must be names with a description each; correct it")
        loaded = cls(
            [_rule(item, f"{where}: rule {number}", described) for number, item in enumerate(tree["rules"], start=1)],
            {},
            {str(name): str(text) for name, text in described.items()},
        )
        loaded.set_variables(variables or {})
        return loaded

    def set_variables(self, variables: Mapping[str, Sequence[str] | str]) -> None:
        """Give values to the variables that the rules speak of; others are of no interest here."""
        for name, values in variables.items():
            self.variables[str(name)] = [values] if isinstance(values, str) else [str(value) for value in values]

    def extend(self, other: ImageRules) -> None:
        """Take over the rules of another file."""
        self.rules += other.rules
        self.variables.update(other.variables)
        self.descriptions.update(other.descriptions)

    def apply(self, discovery: Discovery, documents: Sequence[Mapping[str, Any]], registry: str = "") -> Discovery:
        """What the discovery becomes under the rules, in the order of the rules."""
        for rule in self.rules:
            for document in documents:
                if rule.about(document) and all(condition.holds(document, documents) for condition in rule.when):
                    discovery = self._apply(rule, document, documents, discovery, registry)
        return discovery

    def _apply(
        self,
        rule: Rule,
        document: Mapping[str, Any],
        documents: Sequence[Mapping[str, Any]],
        discovery: Discovery,
        registry: str,
    ) -> Discovery:
        kind = str(document.get("kind") or "")
        name = name_of(document)
        how = f"rule {rule.name}"
        result = Discovery([], list(discovery.excluded), [])
        covered: list[Found] = []
        for item in discovery.found:
            if (item.kind, item.name) != (kind, name) or not rule.covers(item.path, item.reference):
                result.found.append(item)
                continue
            missing = [str(condition) for condition in rule.only_if if not condition.holds(document, documents)]
            if rule.no_image:
                result.excluded.append(
                    Candidate(item.reference, kind, name, item.path, item.found, f"{rule.reason} ({how})")
                )
            elif missing and item.required:
                result.found.append(replace(item, needed="if " + ", ".join(missing)))
            elif rule.images:
                covered.append(item)
            elif rule.needed and item.needed == ALWAYS:
                result.found.append(replace(item, needed=rule.needed))
            else:
                result.found.append(item)
        for candidate in discovery.undecided:
            if (
                rule.no_image
                and (candidate.kind, candidate.name) == (kind, name)
                and rule.covers(candidate.path, candidate.text)
            ):
                result.excluded.append(replace(candidate, why=f"{rule.reason} ({how})"))
            elif (
                rule.images
                and (candidate.kind, candidate.name) == (kind, name)
                and rule.covers(candidate.path, candidate.text)
            ):
                covered.append(
                    Found(candidate.text, kind, name, candidate.path, candidate.found, rule.needed or ALWAYS)
                )
            else:
                result.undecided.append(candidate)
        if rule.images:
            self._add(rule, document, covered, result, registry)
        return result

    def _add(
        self,
        rule: Rule,
        document: Mapping[str, Any],
        covered: list[Found],
        result: Discovery,
        registry: str,
    ) -> None:
        """The images of a rule: in place of each place that it covers, or, where it has no `at`, of its own."""
        kind = str(document.get("kind") or "")
        name = name_of(document)
        how = f"rule {rule.name}: {rule.reason}"
        own = [] if rule.at else [Found("", kind, name, "", "", rule.needed or ALWAYS)]
        for item in covered + own:
            if "@" in item.reference and any(text.startswith("{found}-") for text in rule.images):
                # A digest names one image already; the operator takes it as it is.
                result.found.append(item)
                continue
            for template in rule.images:
                texts, why = self._filled(template, document, item)
                if why and not item.required:
                    # What is off does not need the rest of its name.
                    result.found.append(item)
                elif why:
                    shown = template.replace("{found}", item.reference)
                    result.undecided.append(Candidate(shown, kind, name, item.path, how, why))
                for text in texts:
                    try:
                        reference = upstream(text, registry)
                    except ReferenceInvalid as error:
                        result.undecided.append(Candidate(text, kind, name, item.path, how, str(error)))
                        continue
                    needed = rule.needed if rule.needed and item.needed == ALWAYS else item.needed
                    result.found.append(Found(reference, kind, name, item.path, how, needed))

    def _filled(self, template: str, document: Mapping[str, Any], item: Found) -> tuple[list[str], str]:
        """The references that a template stands for, or why there is none."""
        choices: list[list[str]] = []
        names = PLACEHOLDER.findall(template)
        for name in names:
            if name == "found":
                choices.append([item.reference])
            elif name in self.descriptions:
                if not self.variables.get(name):
                    return [], f"give the variable {name}: {self.descriptions[name]}"
                choices.append(self.variables[name])
            else:
                values = [str(value) for value in values_at(document, name) if isinstance(value, (str, int, float))]
                values = [value for value in values if value]
                if not values:
                    return [], f"the document has no {name}"
                choices.append(values)
        texts = []
        for combination in itertools.product(*choices):
            values_left = list(combination)
            texts.append(PLACEHOLDER.sub(lambda _match, left=values_left: left.pop(0), template))  # type: ignore[misc]
        return texts, ""


def values_at(node: Any, path: str) -> list[Any]:
    """What stands at a path such as `spec.driver.image` or `spec.list[*].image`; nothing where the path ends early."""
    nodes = [node]
    for key, index in _STEP.findall(path):
        following: list[Any] = []
        for item in nodes:
            if key and isinstance(item, dict) and key in item:
                following.append(item[key])
            elif index == "*" and isinstance(item, list):
                following += item
            elif index not in ("", "*") and isinstance(item, list) and int(index) < len(item):
                following.append(item[int(index)])
        nodes = following
    return nodes


def _same(value: Any, wanted: Any) -> bool:
    if isinstance(value, bool) or isinstance(wanted, bool):
        return value is wanted or str(value).lower() == str(wanted).lower()
    return value is not None and str(value) == str(wanted)


def _rule(item: Any, where: str, variables: Mapping[str, str]) -> Rule:
    if not isinstance(item, dict):
        raise RulesInvalid(f"{where}: is no mapping; write name, reason, document and what the rule does")
    where = f"{where} ({item.get('name')})" if item.get("name") else where
    unknown = set(item) - RULE_KEYS
    if unknown:
        raise RulesInvalid(f"{where}: {', '.join(sorted(unknown))} is unknown; write {', '.join(sorted(RULE_KEYS))}")
    for key in ("name", "reason"):
        if not isinstance(item.get(key), str) or not item[key].strip():
            raise RulesInvalid(f"{where}: has no {key}; say it in a sentence")
    about = item.get("document")
    if not isinstance(about, dict) or not about.get("kind") or set(about) - {"group", "kind", "name"}:
        raise RulesInvalid(f"{where}: document must have a kind, and may have group and name; correct it")
    texts = {key: _texts(item.get(key), f"{where}: {key}") for key in ("at", "images")}
    does = [key for key in ("images", "only_if", "needed", "no_image") if item.get(key)]
    if not does:
        raise RulesInvalid(f"{where}: does nothing; give images, only_if, needed or no_image")
    if not texts["at"] and not texts["images"]:
        raise RulesInvalid(f"{where}: says no place; give at, a list of paths or of `value: <pattern>`")
    if item.get("no_image") and (texts["images"] or item.get("only_if")):
        raise RulesInvalid(f"{where}: no_image stands alone; write a second rule")
    for template in texts["images"]:
        for name in PLACEHOLDER.findall(template):
            if name != "found" and "." not in name and name not in variables:
                raise RulesInvalid(
                    f"{where}: {{{name}}} is neither found, a path, nor one of variables; describe it there"
                )
        if "{found}" in template and not texts["at"]:
            raise RulesInvalid(f"{where}: {{found}} needs at; say which place it is about")
    return Rule(
        name=item["name"].strip(),
        reason=" ".join(item["reason"].split()).rstrip("."),
        group=None if about.get("group") is None else str(about["group"]),
        kind=str(about["kind"]),
        document=str(about.get("name") or ""),
        when=_conditions(item.get("when"), f"{where}: when"),
        at=texts["at"],
        images=texts["images"],
        needed=str(item.get("needed") or "").strip(),
        only_if=_conditions(item.get("only_if"), f"{where}: only_if"),
        no_image=bool(item.get("no_image")),
    )


def _texts(value: Any, where: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not value or not all(isinstance(text, str) and text for text in value):
        raise RulesInvalid(f"{where} must be a list of texts; correct it")
    return tuple(value)


def _conditions(value: Any, where: str) -> tuple[Condition, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not value:
        raise RulesInvalid(f"{where} must be a list of conditions; correct it")
    made: list[Condition] = []
    for item in value:
        if isinstance(item, dict) and set(item) == {"any"}:
            made.append(Condition("", either=_conditions(item["any"], f"{where}: any")))
            continue
        if not isinstance(item, dict) or not item.get("path") or set(item) - CONDITION_KEYS:
            raise RulesInvalid(
                f"{where}: a condition has a path, one of is, is_not and set, may have kind and group; correct it"
            )
        if len({"is", "is_not", "set"} & set(item)) != 1 or not isinstance(item.get("set", True), bool):
            raise RulesInvalid(
                f"{where}: {item['path']} wants one of `is: <value>`, `is_not: <value>`, `set: true|false`; correct it"
            )
        made.append(
            Condition(
                str(item["path"]),
                item.get("is"),
                item.get("is_not"),
                item.get("set"),
                None if item.get("group") is None else str(item["group"]),
                str(item.get("kind") or ""),
            )
        )
    return tuple(made)


def merged(files: Iterable[ImageRules]) -> ImageRules:
    """The rules of several files together."""
    together = ImageRules()
    for rules in files:
        together.extend(rules)
    return together
