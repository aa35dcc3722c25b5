# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run has found so far, kept in a file, so that a run can be made in slices and go on where it ended."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[2]
# What decides which cases there are, and what is said of them.
_CODE = ("plugins/module_utils/kube/*.py", "tests/oracle/*.py")

Record = dict[str, Any]


def digest(programs: Iterable[Path]) -> str:
    """Stands for the verdict's code, the generator's and the oracles'. Records of different ones are not added up."""
    found = hashlib.sha256()
    for file in sorted(file for pattern in _CODE for file in CHECKOUT.glob(pattern)):
        found.update(str(file.relative_to(CHECKOUT)).encode() + b"\0" + file.read_bytes())
    for program in programs:
        # The directory of a tool is named by what it was built from.
        found.update(str(program.parent).encode())
    return found.hexdigest()[:12]


class Progress:
    """The records of a run, by what they are of (a minor, `evictions`, `quantities`) and their number."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._found: dict[tuple[str, int], Record] = {}
        if path.exists():
            whole = path.read_bytes()
            # A run that was killed may have left a line half written.
            path.write_bytes(whole[: whole.rfind(b"\n") + 1])
            for line in path.read_text(encoding="utf-8").splitlines():
                record = json.loads(line)
                self._found[record["part"], record["number"]] = record

    def missing(self, part: str, count: int) -> list[int]:
        """The numbers below `count` that have no record yet."""
        return [number for number in range(count) if (part, number) not in self._found]

    def add(self, part: str, record: Record) -> None:
        record = {"part": part, **record}
        self._found[part, record["number"]] = record
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, separators=(",", ":")) + "\n")

    def of(self, part: str, count: int) -> list[Record]:
        """The records of a part, in order, as far as there are any."""
        return [self._found[part, number] for number in range(count) if (part, number) in self._found]

    def total(self, part: str, name: str) -> float:
        """The sum of a figure over all records of a part, whatever their numbers."""
        return sum(record[name] for (known, _number), record in self._found.items() if known == part)
