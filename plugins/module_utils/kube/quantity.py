# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kubernetes quantities as the API server reads them: exact, never through a float."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from typing import Any, Dict, Mapping, Tuple

MAX_INT64 = 2**63 - 1
NANO = 10**9
MILLI_IN_NANO = 10**6

_DECIMAL_SUFFIXES = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY_SUFFIXES = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_DECIMAL_TEXT = {power: suffix for suffix, power in _DECIMAL_SUFFIXES.items()}
_BINARY_TEXT = {0: "", **{power: suffix for suffix, power in _BINARY_SUFFIXES.items()}}
_SUFFIX_LETTERS = frozenset("eEinumkKMGTP")
_DIGITS = frozenset("0123456789")
# Beyond this a power of ten can only be a mistake; the value saturates at the largest that the API can hold.
_EXPONENT_BOUND = 60


class QuantityError(ValueError):
    """A text that is not a quantity. The message says which text, and where it stood when that is known."""


@dataclass(frozen=True, order=True)
class Quantity:
    """A quantity as a whole number of nano units. ``binary`` is how it was written, and no part of its value."""

    nanos: int = 0
    binary: bool = field(default=False, compare=False)

    def __add__(self, other: Quantity) -> Quantity:
        return Quantity(self.nanos + other.nanos, self.binary or (not self.nanos and other.binary))

    def __str__(self) -> str:
        """The canonical text, as ``String()`` in Go gives it for quantities that were not written with an exponent."""
        sign, nanos = ("-" if self.nanos < 0 else ""), abs(self.nanos)
        if not nanos:
            return "0"
        if self.binary and nanos >= 1024 * NANO and not nanos % NANO:
            number, power = nanos // NANO, 0
            while number % 1024 == 0 and power < 60:
                number, power = number // 1024, power + 10
            return f"{sign}{number}{_BINARY_TEXT[power]}"
        power = -9
        while nanos % 1000 == 0 and power < 18:
            nanos, power = nanos // 1000, power + 3
        return f"{sign}{nanos}{_DECIMAL_TEXT[power]}"

    @property
    def value(self) -> int:
        """Whole units, rounded up (away from zero), as ``Value()`` in Go."""
        return _round_away(self.nanos, NANO)

    @property
    def milli_value(self) -> int:
        """Thousandths, rounded up (away from zero), as ``MilliValue()`` in Go."""
        return _round_away(self.nanos, MILLI_IN_NANO)

    def rounded_to_milli(self) -> Quantity:
        """What the API server stores for a resource list: nothing finer than a thousandth."""
        return Quantity(_round_away(self.nanos, MILLI_IN_NANO) * MILLI_IN_NANO, self.binary)


ZERO = Quantity(0)


def _round_away(number: int, unit: int) -> int:
    whole = -(-abs(number) // unit)
    return whole if number >= 0 else -whole


def _take(text: str, position: int, letters: frozenset[str]) -> int:
    while position < len(text) and text[position] in letters:
        position += 1
    return position


@lru_cache(maxsize=4096)
def parse(text: str) -> Quantity:
    """Read a quantity from its text form, with the grammar of apimachinery's ``ParseQuantity``."""
    if not text:
        raise QuantityError("an empty text is not a quantity")
    position = 1 if text[0] in "+-" else 0
    negative = text[0] == "-"
    number_end = _take(text, position, _DIGITS)
    whole, fraction = text[position:number_end], ""
    position = number_end
    if position < len(text) and text[position] == ".":
        fraction_end = _take(text, position + 1, _DIGITS)
        fraction = text[position + 1 : fraction_end]
        position = fraction_end
    suffix_start = position
    position = _take(text, position, _SUFFIX_LETTERS)
    if position < len(text) and text[position] in "+-":
        position += 1
    position = _take(text, position, _DIGITS)
    if position != len(text):
        raise QuantityError(
            f"{text!r} is not a quantity: write digits and one of m, k, M, G, T, P, E, Ki, Mi, Gi, Ti, Pi, Ei"
        )
    suffix = text[suffix_start:]
    digits = Fraction(int((whole or "0") + fraction), 10 ** len(fraction))
    binary = suffix in _BINARY_SUFFIXES
    exponent = _BINARY_SUFFIXES[suffix] if binary else _exponent(text, suffix)
    if not whole + fraction and (exponent >= 50 if binary else exponent < -9):
        # Go takes a text without digits for zero, but for these sizes, which it reads in another way.
        raise QuantityError(f"{text!r} is not a quantity: there are no digits before {suffix!r}")
    amount = digits * (2**exponent if binary else Fraction(10) ** exponent)
    # Anything finer than a nano unit rounds up: whoever asks for something gets something.
    nanos = -(-amount.numerator * NANO // amount.denominator)
    if binary:
        nanos = min(nanos, MAX_INT64 * NANO)
    return Quantity(-nanos if negative else nanos, binary)


def _exponent(text: str, suffix: str) -> int:
    if suffix in _DECIMAL_SUFFIXES:
        return _DECIMAL_SUFFIXES[suffix]
    if len(suffix) > 1 and suffix[0] in "eE":
        try:
            exponent = int(suffix[1:])
        except ValueError:
            pass
        else:
            return max(-_EXPONENT_BOUND, min(_EXPONENT_BOUND, exponent))
    raise QuantityError(
        f"{text!r} is not a quantity: the suffix {suffix!r} is none of m, k, M, G, T, P, E, Ki, Mi, Gi, Ti, Pi, Ei"
    )


def from_json(value: Any) -> Quantity:
    """Read a quantity as it stands in JSON or YAML: a text, or a number."""
    if value is None:
        return ZERO
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise QuantityError(f"{value!r} is not a quantity: a number or a text is wanted")
    return parse(str(value).strip() if isinstance(value, str) else repr(value))


def resource_list(values: Any, thing: str, field: str) -> Dict[str, Quantity]:
    """Read a resource list. Errors name the object (``thing``) and the field."""
    if values is None:
        return {}
    if not isinstance(values, Mapping):
        raise QuantityError(f"{thing}: {field}: {values!r} is not a map of resource names to quantities")
    result: Dict[str, Quantity] = {}
    for name, value in values.items():
        try:
            quantity = from_json(value).rounded_to_milli()
        except QuantityError as error:
            raise QuantityError(f"{thing}: {field}.{name}: {error}") from None
        if quantity.nanos < 0:
            raise QuantityError(f"{thing}: {field}.{name}: {value!r} is below zero: must be greater than or equal to 0")
        result[str(name)] = quantity
    return result


def whole_units(name: str, quantity: Quantity) -> int:
    """The whole number that the scheduler counts with: thousandths for cpu, units for the rest."""
    return quantity.milli_value if name == "cpu" else quantity.value


def is_extended(name: str) -> bool:
    """Whether a resource is an extended one, such as ``nvidia.com/gpu``: whole and never over-committed."""
    return "/" in name and "kubernetes.io/" not in name and not name.startswith("requests.")


def is_huge_page(name: str) -> bool:
    """Whether a resource is pages of a size, such as ``hugepages-2Mi``."""
    return name.startswith("hugepages-")


def text_of(name: str, amount: int) -> str:
    """A short text for people of an amount in the scheduler's units."""
    if name == "cpu":
        return f"{amount}m" if amount % 1000 else str(amount // 1000)
    if name in ("memory", "ephemeral-storage") or name.startswith("hugepages-"):
        return bytes_text(amount)
    return str(amount)


def bytes_text(amount: int) -> str:
    """Bytes with a binary unit, at most one digit after the point."""
    units: Tuple[Tuple[str, int], ...] = (("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10))
    for unit, power in units:
        if abs(amount) >= 2**power:
            number = amount / 2**power
            return f"{number:.0f} {unit}" if number == int(number) else f"{number:.1f} {unit}"
    return f"{amount} B"
