# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of the scenarios share. A scenario's files run in the order of their names, after it converged."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(CHECKOUT), str(CHECKOUT / "build" / "collections")]

from tests.integration.inside import Inside
from tests.scenarios.way import Scenario


@pytest.fixture(scope="module")
def scenario(request: pytest.FixtureRequest) -> Scenario:
    return Scenario(request.path.parent.name)


@pytest.fixture(scope="module")
def inside(scenario: Scenario) -> Inside:
    return Inside(scenario.journey)
