# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes a case on which the two disagree as small as it gets, while they disagree in the same way."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from tests.oracle.ask import Oracle, OracleError, check
from tests.oracle.draft import Document

Path = tuple[Any, ...]
# Without these an object is no object, and what would be found is another disagreement.
_KEPT = {
    "apiVersion",
    "kind",
    "metadata",
    "name",
    "namespace",
    "spec",
    "containers",
    "image",
    "template",
    "selector",
    "status",
    "allocatable",
}


def _paths(value: Any, path: Path) -> Iterator[Path]:
    """Every place from which something can be taken away, the largest first."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key not in _KEPT:
                yield path + (key,)
            yield from _paths(item, path + (key,))
    elif isinstance(value, list):
        for index in reversed(range(len(value))):
            yield path + (index,)
        for index, item in enumerate(value):
            yield from _paths(item, path + (index,))


def _without(case: Document, path: Path) -> Document:
    smaller = copy.deepcopy(case)
    place: Any = smaller
    for step in path[:-1]:
        place = place[step]
    del place[path[-1]]
    return smaller


def _fewer(case: Document) -> Iterator[Document]:
    for index, document in enumerate(case["manifest"]):
        for key in ("replicas", "parallelism"):
            count = document.get("spec", {}).get(key)
            for less in {1, (count or 0) // 2, (count or 0) - 1} if isinstance(count, int) and count > 1 else ():
                smaller = copy.deepcopy(case)
                smaller["manifest"][index]["spec"][key] = less
                yield smaller


def shrink(case: Document, kind: str, oracle: Oracle, most: int = 400) -> Document:
    """The smallest case found with the same kind of disagreement, in at most so many questions."""
    asked = 0

    def same(candidate: Document) -> bool:
        nonlocal asked
        asked += 1
        try:
            return check(candidate, oracle).kind == kind
        except OracleError:
            raise
        except Exception:
            return False

    again = True
    while again and asked < most:
        again = False
        for candidate in _fewer(case):
            if same(candidate):
                case, again = candidate, True
                break
        for part in ("manifest", "cluster"):
            place = list(_paths(case[part], (part,)))
            for path in place:
                if asked >= most:
                    break
                try:
                    candidate = _without(case, path)
                except (KeyError, IndexError, TypeError):
                    continue  # what was there went with something larger
                if same(candidate):
                    case, again = candidate, True
    return case
