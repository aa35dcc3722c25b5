# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``sizing.yml`` of a profile: from concurrent calls to the values of a chart, with the source of every number.

The format is told in docs/sizing.md. What is read here is refused where it is not wholly understood, and nothing is
ever taken from beyond a table without a word about it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.airgap.speech.plugins.module_utils.kube import quantity as quantities

SCHEMA = "airgap.speech/sizing/v1"
# What a release can be sized by. A profile says which of them it knows.
INPUTS = ("concurrent_calls", "channels", "requests_per_second")
ERROR, NOTE = "error", "note"

Path = Tuple[str, ...]


class SizingError(ValueError):
    """A sizing file that is wrong, or a size that it has no answer for. Says the file, the field and the next step."""


@dataclass(frozen=True)
class Number:
    """A number with the place that it was taken from."""

    value: Fraction
    source: str

    def __str__(self) -> str:
        return number_text(self.value)


@dataclass(frozen=True)
class Setting:
    """A value of a chart, by its path, and where it comes from."""

    path: Path
    value: Any
    source: str
    rule: str

    @property
    def name(self) -> str:
        return ".".join(self.path)


@dataclass(frozen=True)
class Row:
    """A row of a table: the values that serve up to a size."""

    up_to: Fraction
    settings: Tuple[Setting, ...]


@dataclass(frozen=True)
class Rule:
    """How one input becomes values: by the rows of a table, or by what one replica takes."""

    name: str
    input: str
    outside: str
    rows: Tuple[Row, ...] = ()
    replicas: Tuple[Path, ...] = ()
    settings: Tuple[Setting, ...] = ()
    share: Optional[Number] = None
    per_replica: Optional[Number] = None
    up_to: Optional[Number] = None


@dataclass(frozen=True)
class Volume:
    """Room that a release of the platform wants beside its images and models, such as a journal of usage records."""

    name: str
    what: str
    size: int
    source: str
    claim: str = ""


@dataclass(frozen=True)
class Sizing:
    """A sizing file."""

    file: str
    inputs: Mapping[str, str]
    rules: Tuple[Rule, ...]
    always: Tuple[Setting, ...] = ()
    volumes: Tuple[Volume, ...] = ()


@dataclass
class Sized:
    """Values of a chart for a size, where each comes from, and what has to be said about them."""

    values: Dict[str, Any] = field(default_factory=dict)
    settings: List[Setting] = field(default_factory=list)
    notes: List[str] = field(default_factory=list)


def number_text(value: Fraction) -> str:
    """A number for people: 12, or 2.5."""
    return str(value.numerator) if value.denominator == 1 else f"{float(value):g}"


def load(text: str, file: str) -> Sizing:
    """Read a sizing file. ``file`` names it in errors; raises SizingError, and ImportError without PyYAML."""
    import yaml

    try:
        tree = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SizingError(f"{file}: this is not YAML: {error}; correct it") from None
    return _Reader(file).sizing(tree)


class _Reader:
    """Reads the tree of a sizing file; every error names the file and the field."""

    def __init__(self, file: str) -> None:
        self.file = file

    def error(self, where: str, cause: str, step: str = "correct it as docs/sizing.md tells") -> SizingError:
        return SizingError(f"{self.file}: {where}: {cause}; {step}")

    def mapping(self, value: Any, where: str, known: Sequence[str] = (), needed: Sequence[str] = ()) -> Dict[str, Any]:
        if not isinstance(value, dict):
            raise self.error(where, f"a map is wanted, not {value!r}")
        if known:
            unknown = [str(key) for key in value if key not in known]
            if unknown:
                raise self.error(f"{where}.{unknown[0]}", f"unknown field; known are {', '.join(known)}")
        for key in needed:
            if value.get(key) in (None, "", [], {}):
                raise self.error(f"{where}.{key}", "missing")
        return value

    def sequence(self, value: Any, where: str) -> List[Any]:
        if value is None:
            return []
        if not isinstance(value, list):
            raise self.error(where, f"a list is wanted, not {value!r}")
        return value

    def text(self, value: Any, where: str) -> str:
        if not isinstance(value, str) or not value.strip():
            raise self.error(where, f"a text is wanted, not {value!r}")
        return " ".join(value.split())

    def amount(self, value: Any, where: str) -> Fraction:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
            raise self.error(where, f"a number above zero is wanted, not {value!r}")
        return Fraction(str(value))

    def number(self, value: Any, where: str) -> Number:
        tree = self.mapping(value, where, ("value", "source"), ("value", "source"))
        return Number(
            self.amount(tree["value"], f"{where}.value"),
            self.text(tree["source"], f"{where}.source"),
        )

    def sizing(self, tree: Any) -> Sizing:
        known = ("schema", "inputs", "always", "rules", "volumes")
        top = self.mapping(tree, "the file", known, ("schema", "inputs", "rules"))
        if top["schema"] != SCHEMA:
            raise self.error("schema", f"{top['schema']!r} is not {SCHEMA}, which this version reads")
        inputs = {}
        for name, words in self.mapping(top["inputs"], "inputs").items():
            if name not in INPUTS:
                raise self.error(f"inputs.{name}", f"unknown input; known are {', '.join(INPUTS)}")
            inputs[name] = self.text(words, f"inputs.{name}")
        always = [
            setting
            for index, item in enumerate(self.sequence(top.get("always"), "always"))
            for setting in self.block(item, f"always[{index}]", "always")
        ]
        rules = [
            self.rule(item, f"rules[{index}]", inputs)
            for index, item in enumerate(self.sequence(top["rules"], "rules"))
        ]
        names = [rule.name for rule in rules]
        for index, name in enumerate(names):
            if name in names[:index]:
                raise self.error(f"rules[{index}].name", f"{name!r} is the name of another rule")
        self.overlaps(always, rules)
        volumes = [
            self.volume(item, f"volumes[{index}]")
            for index, item in enumerate(self.sequence(top.get("volumes"), "volumes"))
        ]
        return Sizing(self.file, inputs, tuple(rules), tuple(always), tuple(volumes))

    def block(self, item: Any, where: str, rule: str, known: Sequence[str] = (), source: str = "") -> List[Setting]:
        """The settings of a map with ``values`` and ``source``."""
        tree = self.mapping(item, where, ("values", "source", *known), ("values",))
        if tree.get("source") is not None or not source:
            source = self.text(tree.get("source"), f"{where}.source")
        values = self.mapping(tree["values"], f"{where}.values")
        return [Setting(path, value, source, rule) for path, value in leaves(values)]

    def rule(self, item: Any, where: str, inputs: Mapping[str, str]) -> Rule:
        known = ("name", "input", "outside", "source", "rows", "replicas", "share", "per_replica", "up_to", "values")
        tree = self.mapping(item, where, known, ("name", "input", "outside"))
        name = self.text(tree["name"], f"{where}.name")
        if tree["input"] not in inputs:
            raise self.error(f"{where}.input", f"{tree['input']!r} is none of inputs ({', '.join(inputs)})")
        if tree["outside"] not in (ERROR, NOTE):
            raise self.error(f"{where}.outside", f"{tree['outside']!r} is neither {ERROR} nor {NOTE}")
        divided = [key for key in ("replicas", "share", "per_replica", "up_to", "values") if tree.get(key) is not None]
        if (tree.get("rows") is not None) == bool(divided):
            raise self.error(where, "a rule has either rows, or replicas with per_replica and up_to")
        if divided:
            return self.division(tree, where, name)
        source = self.text(tree["source"], f"{where}.source") if tree.get("source") is not None else ""
        rows: List[Row] = []
        for index, row in enumerate(self.sequence(tree["rows"], f"{where}.rows")):
            place = f"{where}.rows[{index}]"
            self.mapping(row, place, needed=("up_to", "values"))
            up_to = self.amount(row["up_to"], f"{place}.up_to")
            if rows and up_to <= rows[-1].up_to:
                raise self.error(f"{place}.up_to", f"{number_text(up_to)} is not above the row before it")
            settings = self.block(row, place, name, ("up_to",), source)
            if rows and {setting.path for setting in settings} != {setting.path for setting in rows[-1].settings}:
                raise self.error(f"{place}.values", "sets other values than the row before it")
            rows.append(Row(up_to, tuple(settings)))
        if not rows:
            raise self.error(f"{where}.rows", "a table without a row")
        return Rule(name, tree["input"], tree["outside"], rows=tuple(rows))

    def division(self, tree: Dict[str, Any], where: str, name: str) -> Rule:
        for key in ("replicas", "per_replica", "up_to"):
            if tree.get(key) in (None, []):
                raise self.error(f"{where}.{key}", "missing")
        replicas = [
            tuple(self.text(item, f"{where}.replicas[{index}]").split("."))
            for index, item in enumerate(self.sequence(tree["replicas"], f"{where}.replicas"))
        ]
        settings: List[Setting] = []
        if tree.get("values") is not None:
            settings = self.block({"values": tree["values"], "source": tree.get("source")}, where, name)
        share = self.number(tree["share"], f"{where}.share") if tree.get("share") is not None else None
        return Rule(
            name,
            tree["input"],
            tree["outside"],
            replicas=tuple(replicas),
            settings=tuple(settings),
            share=share,
            per_replica=self.number(tree["per_replica"], f"{where}.per_replica"),
            up_to=self.number(tree["up_to"], f"{where}.up_to"),
        )

    def volume(self, item: Any, where: str) -> Volume:
        known = ("name", "what", "size", "source", "claim")
        tree = self.mapping(item, where, known, ("name", "what", "size", "source"))
        try:
            size = quantities.from_json(tree["size"]).value
        except quantities.QuantityError as error:
            raise self.error(f"{where}.size", str(error)) from None
        if size <= 0:
            raise self.error(f"{where}.size", f"{tree['size']!r} is no room")
        return Volume(
            self.text(tree["name"], f"{where}.name"),
            self.text(tree["what"], f"{where}.what"),
            size,
            self.text(tree["source"], f"{where}.source"),
            self.text(tree["claim"], f"{where}.claim") if tree.get("claim") is not None else "",
        )

    def overlaps(self, always: Sequence[Setting], rules: Sequence[Rule]) -> None:
        """No value is set twice, and none both has values below it and is one: it could not be told which is meant.

        Rules of different inputs may set the same number of replicas: the larger serves both.
        """
        seen: Dict[Path, Tuple[str, str]] = {}
        owners: List[Tuple[str, str, str, List[Path]]] = [("always", "always", "", [item.path for item in always])]
        for index, rule in enumerate(rules):
            settings = rule.rows[0].settings if rule.rows else rule.settings
            paths = [*rule.replicas, *(item.path for item in settings)]
            owners.append((f"rules[{index}]", f"rule {rule.name!r}", rule.input, paths))
        for where, owner, asked, paths in owners:
            for path in paths:
                for other, (who, input_of) in seen.items():
                    if other == path and who != owner and asked and input_of and asked != input_of:
                        continue
                    if other[: len(path)] == path[: len(other)]:
                        raise self.error(where, f"{'.'.join(path)} is set by {who} too")
                seen[path] = (owner, asked)


def leaves(tree: Mapping[str, Any], above: Path = ()) -> Iterator[Tuple[Path, Any]]:
    """Every value of a tree with its path; an empty map is a value, lists are values as a whole."""
    for key, value in tree.items():
        path = (*above, str(key))
        if isinstance(value, dict) and value:
            yield from leaves(value, path)
        else:
            yield path, value


def merge(values: Dict[str, Any], path: Path, value: Any) -> None:
    """Set a value in a tree."""
    for key in path[:-1]:
        values = values.setdefault(key, {})
    values[path[-1]] = value


def size(sizing: Sizing, asked: Mapping[str, Any]) -> Sized:
    """The values for a size.

    ``asked`` maps an input (one of INPUTS) to a number above zero; what is None was not asked. Without any, nothing is
    sized. Raises SizingError for an input that the profile does not know, and for a size outside a rule that says so.
    """
    result = Sized()
    given: Dict[str, Fraction] = {}
    for name, value in asked.items():
        if value is None:
            continue
        if name not in sizing.inputs:
            known = ", ".join(sizing.inputs)
            raise SizingError(f"{sizing.file}: inputs: this platform is not sized by {name}; give {known} instead")
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
            raise SizingError(f"{name}: {value!r} is no size; give a number above zero")
        given[name] = Fraction(str(value))
    if not given:
        return result
    found: Dict[Path, Setting] = {setting.path: setting for setting in sizing.always}
    for rule in sizing.rules:
        if rule.input not in given:
            continue
        for setting in _apply(sizing, rule, given[rule.input], result.notes):
            other = found.get(setting.path)
            if other is not None and not _more(setting.value, other.value, sizing, setting):
                continue
            found[setting.path] = setting
    result.settings = [found[path] for path in sorted(found)]
    for setting in result.settings:
        merge(result.values, setting.path, setting.value)
    return result


def _more(value: Any, other: Any, sizing: Sizing, setting: Setting) -> bool:
    """Whether a rule wants more of a value than a rule of another input; only numbers can be weighed."""
    if isinstance(value, (int, float)) and isinstance(other, (int, float)):
        return value > other
    if value != other:
        raise SizingError(
            f"{sizing.file}: rule {setting.rule!r}: {setting.name} is {value!r} here and {other!r} in another rule,"
            " and neither is a number; let one rule set it"
        )
    return False


def _apply(sizing: Sizing, rule: Rule, amount: Fraction, notes: List[str]) -> List[Setting]:
    """The settings of one rule. Between two rows the upper one serves: never less than was asked."""
    asked = f"{rule.input} {number_text(amount)}"
    if rule.rows:
        last = rule.rows[-1].up_to
        row = next((row for row in rule.rows if amount <= row.up_to), rule.rows[-1])
        if amount > last:
            _outside(sizing, rule, notes, asked, last, "its last row is used, which is less than was asked")
        elif amount != row.up_to:
            notes.append(f"{rule.name}: {asked} lies between rows: that of {number_text(row.up_to)} is used")
        return list(row.settings)
    if rule.per_replica is None or rule.up_to is None:
        raise SizingError(f"{sizing.file}: rule {rule.name!r}: has neither rows nor per_replica; read it with load()")
    if amount > rule.up_to.value:
        _outside(sizing, rule, notes, asked, rule.up_to.value, "the replicas are drawn on beyond the source")
    share = rule.share.value if rule.share else Fraction(1)
    exact = amount * share / rule.per_replica.value
    count = max(1, -(-exact.numerator // exact.denominator))
    parts = [f"{rule.per_replica} a replica ({rule.per_replica.source})"]
    if rule.share:
        parts.insert(0, f"share {rule.share} ({rule.share.source})")
    source = f"{asked}: {'; '.join(parts)}"
    return [*rule.settings, *(Setting(path, count, source, rule.name) for path in rule.replicas)]


def _outside(sizing: Sizing, rule: Rule, notes: List[str], asked: str, limit: Fraction, done: str) -> None:
    cause = f"{asked} is above {number_text(limit)}, the most that the rule {rule.name!r} covers"
    if rule.outside == ERROR:
        raise SizingError(
            f"{sizing.file}: {cause}; ask the vendor, measure, and add a row, or split the calls over more releases"
        )
    notes.append(f"{rule.name}: {cause}: {done}")
