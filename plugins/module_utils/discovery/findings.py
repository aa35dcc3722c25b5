# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a discovery hands out: images with a reason each, what was excluded and why, and what could not be decided."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

ALWAYS = "always"
TEST = "test"

NEEDED = "needed"
NOT_NEEDED = "not needed"
EXCLUDED = "excluded"
UNDECIDED = "undecided"


@dataclass(frozen=True)
class Found:
    """One place that names an image.

    `needed` is `always`, `hook <names>`, `test`, `on nodes with <label>`, `in value sets <names>` (also joined by a
    comma), or `if <condition>` where the condition does not hold.
    """

    reference: str
    kind: str
    name: str
    path: str
    found: str
    needed: str

    @property
    def required(self) -> bool:
        """False where what would use the image is switched off, or is for hardware that the site has not."""
        return not self.needed.startswith("if ")


@dataclass(frozen=True)
class Candidate:
    """One place that could name an image, and why it is not counted as one."""

    text: str
    kind: str
    name: str
    path: str
    found: str
    why: str


@dataclass
class Discovery:
    """All of it: `found` with what is needed and what is not, `excluded` and `undecided` candidates."""

    found: list[Found] = field(default_factory=list)
    excluded: list[Candidate] = field(default_factory=list)
    undecided: list[Candidate] = field(default_factory=list)

    @property
    def references(self) -> list[str]:
        """The references that are needed, sorted, each once."""
        return sorted({item.reference for item in self.found if item.required})

    def extend(self, other: Discovery) -> None:
        """Take over what another discovery has."""
        self.found += other.found
        self.excluded += other.excluded
        self.undecided += other.undecided

    def tidy(self) -> Discovery:
        """The same without doubles; a candidate that is no image in one place may be one in another."""
        return Discovery(
            list(dict.fromkeys(self.found)), list(dict.fromkeys(self.excluded)), list(dict.fromkeys(self.undecided))
        )

    def rows(self) -> list[dict[str, str]]:
        """The explanation: status, reference, kind, name, path, found and why, a row a place."""
        rows = [
            {
                "status": NEEDED if item.required else NOT_NEEDED,
                "reference": item.reference,
                "kind": item.kind,
                "name": item.name,
                "path": item.path,
                "found": item.found,
                "why": item.needed,
            }
            for item in sorted(self.found, key=lambda item: (not item.required, item.reference))
        ]
        for status, candidates in ((UNDECIDED, self.undecided), (EXCLUDED, self.excluded)):
            rows += [
                {
                    "status": status,
                    "reference": item.text,
                    "kind": item.kind,
                    "name": item.name,
                    "path": item.path,
                    "found": item.found,
                    "why": item.why,
                }
                for item in sorted(candidates, key=lambda item: (item.text, item.why))
            ]
        return rows


def union(sets: Mapping[str, Discovery]) -> Discovery:
    """What several value sets need together; what not every set names says which do."""
    if len(sets) == 1:
        return next(iter(sets.values()))
    everywhere = set(sets)
    merged = Discovery()
    named: dict[Found, list[str]] = {}
    for name, discovery in sets.items():
        for item in dict.fromkeys(discovery.found):
            named.setdefault(item, []).append(name)
    for item, names in named.items():
        merged.found.append(item if set(names) == everywhere else replace(item, needed=_in_sets(item.needed, names)))
    for attribute in ("excluded", "undecided"):
        places: dict[Candidate, list[str]] = {}
        for name, discovery in sets.items():
            for candidate in dict.fromkeys(getattr(discovery, attribute)):
                places.setdefault(candidate, []).append(name)
        getattr(merged, attribute).extend(
            candidate
            if set(names) == everywhere
            else replace(candidate, why="{} ({})".format(candidate.why, _in_sets("", names)))
            for candidate, names in places.items()
        )
    return merged


def _in_sets(needed: str, names: Iterable[str]) -> str:
    text = "in value sets " + ", ".join(names)
    return text if needed in ("", ALWAYS) else f"{needed}, {text}"
