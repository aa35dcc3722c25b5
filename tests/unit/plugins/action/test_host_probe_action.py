# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from ansible_collections.airgap.speech.plugins.action.host_probe import certain_skew


@pytest.mark.parametrize(
    ("before", "epoch", "after", "skew"),
    [
        (100.0, 100.5, 101.0, 0.0),
        (100.0, 100.0, 100.0, 0.0),
        (100.0, 60.0, 101.0, -40.0),
        (100.0, 141.0, 101.0, 40.0),
        # A slow answer hides only as much as it took.
        (100.0, 160.0, 120.0, 40.0),
    ],
)
def test_only_a_certain_skew_counts(before, epoch, after, skew):
    assert certain_skew(before, epoch, after) == skew
