# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a transcript is from what was said."""

from __future__ import annotations

import re
import unicodedata

# A word: letters and digits, with apostrophes, points and commas only between them ("don't", "3.5", "1,000").
_WORD = re.compile(r"[^\W_]+(?:(?:'|(?<=\d)[.,](?=\d))[^\W_]+)*", re.UNICODE)


def words(text: str) -> list[str]:
    """The words of a text, without case and punctuation; numbers stay as they are written."""
    plain = unicodedata.normalize("NFKC", text).casefold().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    return _WORD.findall(plain)


def distance(expected: list[str], heard: list[str]) -> int:
    """Fewest substitutions, insertions and deletions that turn one list of words into the other."""
    row = list(range(len(heard) + 1))
    for count, word in enumerate(expected, start=1):
        above, row = row, [count]
        for column, other in enumerate(heard, start=1):
            row.append(min(above[column] + 1, row[column - 1] + 1, above[column - 1] + (word != other)))
    return row[-1]


def word_error_rate(expected: str, heard: str) -> float:
    """Errors for each expected word: 0.0 when all words are right, above 1.0 when more was heard than said."""
    wanted = words(expected)
    if not wanted:
        raise ValueError("the expected text holds no word to compare with")
    return distance(wanted, words(heard)) / len(wanted)
