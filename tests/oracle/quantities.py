# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random quantities (good, nearly good and bad), read by Go's parser and by ours."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from typing import Any

from ansible_collections.airgap.speech.plugins.module_utils.kube import quantity
from tests.oracle.ask import Oracle

_SUFFIXES = ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]
_STRANGE = [
    "K",
    "mi",
    "KB",
    "GB",
    "Mib",
    "gi",
    "B",
    "i",
    "e",
    "Kii",
    "kk",
    "mm",
    "\u00b5",
    "\u0661",
    "_",
    " ",
    "\t",
    "\u00e9",
    "%",
    "0x1f",
]
_MARKS = ["", "", "", "", "+", "-", "++", "+-", "\u2212"]
_BATCH = 2000
_VAST = re.compile(r"[eE][+-]?[0-9]{4}")


def _digits(rng: random.Random) -> str:
    length = rng.choice([0, 1, 1, 2, 2, 3, 4, 6, 9, 10, 12, 17, 18, 19, 20, 25, 40])
    if rng.random() < 0.1:
        return rng.choice(
            ["0", "00", "000001", "9223372036854775807", "9223372036854775808", "18446744073709551616", "1" + "0" * 18]
        )
    return "".join(rng.choice("0123456789") for _ in range(length))


def text(rng: random.Random) -> str:
    """One text: most of them are quantities, or one letter away from one."""
    number = rng.choice(_MARKS[:6] if rng.random() < 0.97 else _MARKS) + _digits(rng)
    if rng.random() < 0.4:
        number += "." + _digits(rng)
    kind = rng.random()
    if kind < 0.6:
        number += rng.choice(_SUFFIXES)
    elif kind < 0.8:
        number += (
            rng.choice("eE")
            + rng.choice(["", "", "+", "-"])
            + rng.choice(["0", "1", "3", "6", "9", "12", "18", "19", "30", str(rng.randint(0, 400)), ""])
        )
    elif kind < 0.9:
        number += rng.choice(_STRANGE)
    if rng.random() < 0.08 and number:
        place = rng.randrange(len(number))
        number = (
            number[:place] + rng.choice(["", ".", "e", "K", "i", " ", "-", "9"]) + number[place + rng.randint(0, 1) :]
        )
    return number


def disagreements(seed: int, count: int, oracle: Oracle) -> Iterator[tuple[str, str]]:
    """The texts that the two read differently, each with what differs."""
    rng = random.Random(f"quantities/{seed}")  # noqa: S311 - cases, not secrets
    for start in range(0, count, _BATCH):
        texts = [text(rng) for _ in range(min(_BATCH, count - start))]
        # Go works out ten to the power of what stands there, for minutes if need be.
        for item in (item for item in texts if not _VAST.search(item)):
            found = difference(item, oracle.ask(item))
            if found:
                yield item, found


def difference(item: str, answer: dict[str, Any]) -> str:
    """How ours differs from Go's answer; empty where it does not."""
    try:
        ours = quantity.parse(item)
    except quantity.QuantityError as error:
        return "" if answer.get("error") else f"ours refuses it ({error}), Go reads {answer['canonical']}"
    if answer.get("error"):
        return f"ours reads {ours.nanos} nano units, Go refuses it: {answer['error']}"
    if abs(ours.nanos) > quantity.MAX_INT64 * quantity.MILLI_IN_NANO:
        return ""  # no node has so much, and Go, which counts thousandths in 64 bits, is wrong there
    canonical = quantity.parse(answer["canonical"])
    if canonical != ours:
        return f"ours reads {ours.nanos} nano units, Go {canonical.nanos} ({answer['canonical']})"
    if ours.nanos < 0:
        return ""  # no resource is below zero, and Go rounds some of these the other way
    if (ours.value, ours.milli_value) != (answer["value"], answer["milli"]):
        return f"ours {ours.value} and {ours.milli_value}m, Go {answer['value']} and {answer['milli']}m"
    return ""
