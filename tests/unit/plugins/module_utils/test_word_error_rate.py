# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from ansible_collections.airgap.speech.plugins.module_utils.word_error_rate import distance, word_error_rate, words

WORDS = [
    ("Hello, World!", ["hello", "world"]),
    ("don't  stop", ["don't", "stop"]),
    ("don\N{RIGHT SINGLE QUOTATION MARK}t", ["don't"]),
    ("'quoted' words", ["quoted", "words"]),
    ("3.5 of 1,000, and 7.", ["3.5", "of", "1,000", "and", "7"]),
    ("one,two", ["one", "two"]),
    ("snake_case well-known", ["snake", "case", "well", "known"]),
    ("GRÜSSE grüße", ["grüsse", "grüsse"]),
    ("\N{FULLWIDTH LATIN CAPITAL LETTER A}bc", ["abc"]),
    ("... !?", []),
    ("", []),
]


@pytest.mark.parametrize(("text", "expected"), WORDS)
def test_words(text: str, expected: list[str]) -> None:
    assert words(text) == expected


RATES = [
    ("the cat sat", "the cat sat", 0.0),
    ("The cat sat.", "the CAT, sat", 0.0),
    ("the cat sat", "", 1.0),
    ("the cat sat", "the cat", 1 / 3),
    ("the cat sat", "the cat sat down", 1 / 3),
    ("the cat sat", "the hat sat", 1 / 3),
    ("the cat sat", "cat sat the", 2 / 3),
    ("a", "b c d", 3.0),
    ("meet at 10", "meet at ten", 1 / 3),
]


@pytest.mark.parametrize(("expected", "heard", "rate"), RATES)
def test_word_error_rate(expected: str, heard: str, rate: float) -> None:
    assert word_error_rate(expected, heard) == pytest.approx(rate)


def test_nothing_expected_is_an_error() -> None:
    with pytest.raises(ValueError, match="no word"):
        word_error_rate("...", "something")


def test_distance_is_symmetric() -> None:
    assert distance(["a", "b", "c"], ["b", "c", "d", "e"]) == distance(["b", "c", "d", "e"], ["a", "b", "c"]) == 3
