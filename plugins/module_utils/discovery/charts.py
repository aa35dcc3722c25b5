# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Discovery of a chart: rendered for each value set, and held against what its own files name but did not render."""

from __future__ import annotations

import io
import os
import posixpath
import re
import tarfile
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.airgap.speech.plugins.module_utils.discovery.documents import documents_in, loader
from ansible_collections.airgap.speech.plugins.module_utils.discovery.findings import (
    ALWAYS,
    NEEDED,
    Candidate,
    Discovery,
    union,
)
from ansible_collections.airgap.speech.plugins.module_utils.discovery.images import discover
from ansible_collections.airgap.speech.plugins.module_utils.discovery.render import (
    RELEASE_STATE,
    Chart,
    Renderer,
    RenderFailed,
    parsed,
)
from ansible_collections.airgap.speech.plugins.module_utils.discovery.rules import ImageRules, values_at
from ansible_collections.airgap.speech.plugins.module_utils.discovery.text import NO_TAG, judge, upstream
from ansible_collections.airgap.speech.plugins.module_utils.discovery.walk import ONLY_IF, Walker
from ansible_collections.airgap.speech.plugins.module_utils.oci.reference import Reference, ReferenceInvalid

try:
    import yaml
except ImportError:  # the modules say so
    yaml = None  # type: ignore[assignment]

LOOKUP = re.compile(r"\blookup\s+[\"(]")
LITERAL = re.compile(r"^[ \t-]*image:[ \t]*[\"']?([^\s\"'{}#]+)[\"']?[ \t]*(?:#.*)?$", re.MULTILINE)
QUOTED = re.compile(r"\"([^\"{}\s]+/[^\"{}\s]+[:@][^\"{}\s]+)\"")
AUTHOR_LISTS = ("artifacthub.io/images", "helm.sh/images", "images")
MAX_MEMBER = 16 * 1024 * 1024


@dataclass
class Package:
    """The files of a chart that say which images it could use, with those of its sub-charts."""

    name: str
    metadata: dict[str, Any] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    templates: dict[str, str] = field(default_factory=dict)
    subcharts: list[Package] = field(default_factory=list)

    def texts(self) -> Iterator[str]:
        """Every template, of the sub-charts too."""
        yield from self.templates.values()
        for subchart in self.subcharts:
            yield from subchart.texts()


def discover_chart(
    renderer: Renderer,
    chart: Chart,
    value_sets: Mapping[str, Sequence[str]] | None = None,
    registry: str = "",
    platforms: Collection[str] = (),
    rules: ImageRules | None = None,
) -> Discovery:
    """What a chart needs under its value sets (name to values files; none: the chart's own values) together.

    Where a template asks whether this is an upgrade, both are rendered. Raises RenderFailed.
    """
    sets: dict[str, Discovery] = {}
    with tempfile.TemporaryDirectory(prefix="airgap-discovery-") as folder:
        path = renderer.local(chart, folder)
        package = read_chart(path)
        twice = any(RELEASE_STATE.search(text) for text in package.texts())
        for name, files in (value_sets or {"": ()}).items():
            what = f"chart {chart.chart}" + (f" with value set {name}" if name else "")
            found = discover(parsed(renderer.chart(chart, path, files), what), registry, platforms, rules)
            if twice:
                documents = parsed(renderer.chart(chart, path, files, upgrade=True), what)
                found = _with_upgrade(found, discover(documents, registry, platforms, rules))
            values = _merged(package.values, *(_values(name, what) for name in files))
            found.extend(not_rendered(package, values, found, registry))
            sets[name] = found.tidy()
    return union(sets)


def _values(name: str, what: str) -> dict[str, Any]:
    try:
        with open(name, encoding="utf-8") as handle:
            return _mapping(handle.read(), f"{what}: values {name}")
    except OSError as error:
        raise RenderFailed(f"{what}: values {name}: {error.strerror}; name a YAML file") from error


def _mapping(text: str, what: str) -> dict[str, Any]:
    try:
        tree = yaml.load(text, Loader=loader())  # nosec B506: a safe loader
    except yaml.YAMLError as error:
        raise RenderFailed(f"{what}: is not YAML ({' '.join(str(error).split())}); correct it") from error
    return tree if isinstance(tree, dict) else {}


def _with_upgrade(install: Discovery, upgrade: Discovery) -> Discovery:
    """What an install needs, and what only an upgrade does."""
    known = {(item.reference, item.kind, item.name, item.path) for item in install.found}
    for item in upgrade.found:
        if (item.reference, item.kind, item.name, item.path) not in known:
            needed = "on upgrade" if item.needed == ALWAYS else f"{item.needed}, on upgrade"
            install.found.append(replace(item, needed=needed))
    install.excluded += upgrade.excluded
    install.undecided += upgrade.undecided
    return install.tidy()


# -- the chart's own files ------------------------------------------------------------------------------------------


def read_chart(path: str) -> Package:
    """The files of a chart, a directory or a package. Raises RenderFailed."""
    files: dict[str, bytes] = {}
    if os.path.isdir(path):
        for folder, _folders, names in os.walk(path):
            for name in names:
                full = os.path.join(folder, name)
                relative = posixpath.join("chart", os.path.relpath(full, path).replace(os.sep, "/"))
                if _wanted(relative) and os.path.getsize(full) <= MAX_MEMBER:
                    with open(full, "rb") as handle:
                        files[relative] = handle.read()
    else:
        try:
            with open(path, "rb") as handle:
                files = _members(handle.read())
        except (OSError, tarfile.TarError, EOFError) as error:
            raise RenderFailed(f"chart {path}: cannot be read ({error}); package it again") from error
    top = min((name.split("/")[0] for name in files), default="chart")
    return _package(top, files)


def _wanted(name: str) -> bool:
    base = posixpath.basename(name)
    return base in ("Chart.yaml", "values.yaml", "requirements.yaml") or "/templates/" in name or name.endswith(".tgz")


def _members(data: bytes) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
        for member in archive:
            if member.isfile() and _wanted(member.name) and member.size <= MAX_MEMBER:
                handle = archive.extractfile(member)
                files[posixpath.normpath(member.name)] = handle.read() if handle else b""
    return files


def _package(root: str, files: Mapping[str, bytes]) -> Package:
    metadata = _tree(files.get(f"{root}/Chart.yaml"))
    if not metadata.get("dependencies"):
        metadata["dependencies"] = _tree(files.get(f"{root}/requirements.yaml")).get("dependencies") or []
    package = Package(str(metadata.get("name") or root), metadata, _tree(files.get(f"{root}/values.yaml")))
    inside = f"{root}/charts/"
    for name in sorted(files):
        if name.startswith(f"{root}/templates/"):
            package.templates[name[len(root) + 1 :]] = files[name].decode("utf-8", "replace")
        elif name.startswith(inside) and name.endswith(".tgz") and "/" not in name[len(inside) :]:
            members = _members(files[name])
            package.subcharts.append(_package(min((member.split("/")[0] for member in members), default=""), members))
        elif name.startswith(inside) and name.endswith("/Chart.yaml") and name[len(inside) :].count("/") == 1:
            package.subcharts.append(_package(posixpath.dirname(name), files))
    return package


def _tree(data: bytes | None) -> dict[str, Any]:
    try:
        tree = yaml.load((data or b"").decode("utf-8", "replace"), Loader=loader())  # nosec B506: a safe loader
    except yaml.YAMLError:
        return {}
    return tree if isinstance(tree, dict) else {}


def _merged(*trees: Mapping[str, Any]) -> dict[str, Any]:
    """Values as helm lays them over each other: mappings merge, null removes, all else replaces."""
    result: dict[str, Any] = {}
    for tree in trees:
        for key, value in tree.items():
            if value is None:
                result.pop(key, None)
            elif isinstance(value, Mapping):
                below = result.get(key)
                result[key] = _merged(below if isinstance(below, Mapping) else {}, value)
            else:
                result[key] = value
    return result


def not_rendered(package: Package, values: Mapping[str, Any], rendered: Discovery, registry: str = "") -> Discovery:
    """Candidates of the chart's values, templates and annotations that no rendered document names, and why."""
    known = {_repository(item.reference) for item in rendered.found}
    known |= {_repository(item.text) for item in rendered.excluded + rendered.undecided}
    result = Discovery()
    _compare(package, values, "", "", known, result, registry)
    return result


def _repository(reference: str) -> str:
    """The repository without its host, which values may move to another."""
    try:
        return Reference.parse(reference).repository
    except ReferenceInvalid:
        return reference


def _compare(
    package: Package,
    values: Mapping[str, Any],
    path: str,
    off: str,
    known: Collection[str],
    result: Discovery,
    registry: str,
) -> None:
    """One chart and, with the values that each of them gets, its sub-charts."""
    names = [str(entry.get("alias") or entry.get("name")) for entry in _dependencies(package)]
    names += [subchart.name for subchart in package.subcharts]
    own = {key: value for key, value in values.items() if key not in names}
    walked = Walker({"values": own}, registry).walk()
    for item in walked.found:
        if _repository(item.reference) not in known:
            condition = off or (item.needed[3:].replace("values.", path, 1) + " is off" if not item.required else "")
            why = "not rendered: " + (condition or "no template uses it with these values")
            at = item.path.replace("values.", path, 1)
            result.excluded.append(Candidate(item.reference, "values", package.name, at, item.found, why))
    # Whatever else stands in values, such as URLs, is judged where it is rendered.
    for candidate in walked.undecided + walked.excluded:
        untagged = candidate.why.startswith(NO_TAG) and "/" in candidate.text
        if untagged and _repository(candidate.text) not in known:
            _plain, _and, condition = candidate.why.partition(ONLY_IF)
            at = candidate.path.replace("values.", path, 1)
            switched = condition.replace("values.", path, 1) + " is off" if condition else ""
            why = "not rendered: " + (off or switched or "no template uses it with these values")
            result.excluded.append(Candidate(candidate.text, "values", package.name, at, candidate.found, why))
    _templates(package, off, known, result, registry)
    for subchart in package.subcharts:
        entries = [entry for entry in _dependencies(package) if entry.get("name") == subchart.name]
        for entry in entries or [{"name": subchart.name}]:
            name = str(entry.get("alias") or entry.get("name"))
            given = values.get(name)
            shared = values.get("global")
            inner = _merged(
                subchart.values,
                given if isinstance(given, Mapping) else {},
                {"global": shared} if isinstance(shared, Mapping) else {},
            )
            _compare(subchart, inner, f"{path}{name}.", off or _off(entry, name, values), known, result, registry)


def _dependencies(package: Package) -> list[dict[str, Any]]:
    found = package.metadata.get("dependencies")
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


def _off(entry: Mapping[str, Any], name: str, values: Mapping[str, Any]) -> str:
    """Why helm leaves a sub-chart out: its condition, else its tags; nothing where it does not."""
    for condition in str(entry.get("condition") or "").split(","):
        found = [value for value in values_at(values, condition.strip()) if isinstance(value, bool)]
        if found:
            return "" if found[0] else f"sub-chart {name} is off ({condition.strip()} is false)"
    tags = values.get("tags")
    wanted = [tag for tag in entry.get("tags") or [] if isinstance(tags, Mapping) and tag in tags]
    if wanted and isinstance(tags, Mapping) and not any(tags[tag] is True for tag in wanted):
        return f"sub-chart {name} is off (tag {', '.join(wanted)})"
    return ""


def _templates(package: Package, off: str, known: Collection[str], result: Discovery, registry: str) -> None:
    """References that are written out in templates, and those that the chart's author lists."""
    for name, text in package.templates.items():
        if name.endswith("NOTES.txt"):
            continue
        written = [(match, True) for match in LITERAL.findall(text)] + [
            (match, False) for match in QUOTED.findall(text)
        ]
        for literal, named in dict.fromkeys(written):
            verdict = judge(literal, named)
            if verdict is None or verdict.status != NEEDED:
                continue
            _unused(verdict.text, package, name, "template", off, bool(LOOKUP.search(text)), known, result, registry)
    annotations = package.metadata.get("annotations")
    for key in AUTHOR_LISTS:
        listed = annotations.get(key) if isinstance(annotations, Mapping) else None
        for document in documents_in(listed + "\n") if isinstance(listed, str) else []:
            for item in document.get("items") or []:
                if isinstance(item, dict) and isinstance(item.get("image"), str):
                    _unused(
                        item["image"], package, f"Chart.yaml {key}", "chart annotation", off, False, known, result, ""
                    )


def _unused(
    text: str,
    package: Package,
    where: str,
    how: str,
    off: str,
    asks: bool,
    known: Collection[str],
    result: Discovery,
    registry: str,
) -> None:
    try:
        reference = upstream(text, registry)
    except ReferenceInvalid:
        return
    if _repository(reference) in known:
        return
    if asks and not off:
        why = "its template asks the cluster (lookup), which no rendering outside can answer"
        result.undecided.append(Candidate(reference, "template", package.name, where, how, why))
    else:
        why = "not rendered: " + (off or "no template uses it with these values")
        result.excluded.append(Candidate(reference, "template", package.name, where, how, why))
