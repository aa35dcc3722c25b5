# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Schemas of custom resources: they run no image, but the API server fills their defaults into objects."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.airgap.speech.plugins.module_utils.discovery.documents import group_of, name_of, needed_by
from ansible_collections.airgap.speech.plugins.module_utils.discovery.findings import (
    EXCLUDED,
    NEEDED,
    Candidate,
    Discovery,
    Found,
)
from ansible_collections.airgap.speech.plugins.module_utils.discovery.text import judge, says_image, scan, upstream

HOW = "default of a schema"
TEXTS = ("description", "example", "title")


@dataclass(frozen=True)
class Node:
    """A schema below another: the path in the definition, and the path of the field in an object."""

    schema: Mapping[str, Any]
    where: str
    field: tuple[str, ...]


def discover_schema(
    definition: Mapping[str, Any],
    documents: Sequence[Mapping[str, Any]],
    registry: str,
    groups: Collection[str],
) -> Discovery:
    """The defaults of a CustomResourceDefinition: needed by those of `documents` that leave such a field out."""
    result = Discovery()
    spec = definition.get("spec")
    spec = spec if isinstance(spec, dict) else {}
    names = spec.get("names")
    kind = str((names if isinstance(names, dict) else {}).get("kind") or "")
    crd = name_of(definition)
    objects = [one for one in documents if one.get("kind") == kind and group_of(one) == spec.get("group")]
    for node in _nodes(Node(spec, "spec", ())):
        for key in TEXTS:
            text = node.schema.get(key)
            for verdict in scan(text, groups) if isinstance(text, str) else ():
                if verdict.status == NEEDED:
                    where = f"{node.where}.{key}"
                    why = "stands in the text of a schema"
                    result.excluded.append(
                        Candidate(verdict.text, "CustomResourceDefinition", crd, where, "schema", why)
                    )
        default = node.schema.get("default")
        if not isinstance(default, str) or not node.field:
            continue
        name = node.field[-1]
        found = judge(default, says_image(name), groups)
        if found is None:
            continue
        where, needed = f"{node.where}.default", f"if an object leaves {name} out"
        if found.status != NEEDED:
            why = found.why if found.status == EXCLUDED else f"{found.why}; and is needed only {needed}"
            result.excluded.append(Candidate(found.text, "CustomResourceDefinition", crd, where, HOW, why))
            continue
        reference = upstream(found.text, registry)
        users = [
            Found(reference, kind, name_of(one), path, HOW, needed_by(one))
            for one in objects
            for path in _left_out(one, node.field, "")
        ]
        result.found += users or [Found(reference, "CustomResourceDefinition", crd, where, HOW, needed)]
    return result


def _nodes(node: Node) -> Iterator[Node]:
    """Every schema in a definition."""
    yield node
    for key, value in node.schema.items():
        at = f"{node.where}.{key}"
        if key == "properties" and isinstance(value, dict):
            for name, inner in value.items():
                if isinstance(inner, dict):
                    yield from _nodes(Node(inner, f"{at}.{name}", node.field + (str(name),)))
        elif key == "items" and isinstance(value, dict):
            yield from _nodes(Node(value, at, node.field + ("[*]",)))
        elif key == "versions" and isinstance(value, list):
            for index, version in enumerate(value):
                if isinstance(version, dict):
                    yield from _nodes(Node(version, f"{at}[{index}]", ()))
        elif key in ("schema", "openAPIV3Schema", "validation") and isinstance(value, dict):
            yield from _nodes(Node(value, at, node.field))


def _left_out(node: Any, field: Sequence[str], path: str) -> Iterator[str]:
    """Where an object has what holds a field, and not the field."""
    first, rest = field[0], field[1:]
    if first == "[*]":
        for index, item in enumerate(node if isinstance(node, list) else []):
            if rest:
                yield from _left_out(item, rest, f"{path}[{index}]")
    elif isinstance(node, dict):
        at = f"{path}.{first}" if path else first
        if rest and first in node:
            yield from _left_out(node[first], rest, at)
        elif not rest and node.get(first) is None:
            yield at
