# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sentences drawn at random, so that no transcript can be a canned one."""

from __future__ import annotations

import random

WHO = ("doctor", "nurse", "teacher", "driver", "farmer", "manager", "student", "woman")
DID = ("opened", "found", "painted", "cleaned", "bought", "repaired", "carried", "washed")
COLOUR = ("red", "green", "yellow", "black", "white", "brown")
WHAT = ("box", "window", "table", "bottle", "boat", "chair", "car", "letter")
WHERE = ("in the garden", "near the river", "behind the house", "at the station", "under the bridge", "on the island")
WHEN = ("this morning", "last night", "on Monday", "after lunch", "before the storm", "in the winter")


def random_sentence(source: random.Random | None = None) -> str:
    """A plain English sentence of 18 to 24 words, one of some hundred million: at a word error rate of 0.2 three words
    may be misheard.
    """
    draw = (source or random.SystemRandom()).choice
    first = f"The {draw(WHO)} {draw(DID)} the {draw(COLOUR)} {draw(WHAT)} {draw(WHERE)} {draw(WHEN)}"
    return f"{first}, and the {draw(WHO)} {draw(DID)} a {draw(COLOUR)} {draw(WHAT)} {draw(WHERE)}."
