# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sandbox after molecule's default scenario converged twice. The files run in the order of their names."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(CHECKOUT), str(CHECKOUT / "build" / "collections")]

from dev.journey import Journey
from tests.integration.inside import Inside


@pytest.fixture(scope="session")
def journey() -> Journey:
    name, subnet = os.environ.get("NAME") or Journey.name, os.environ.get("SUBNET") or Journey.subnet
    return Journey(name=name, subnet=subnet, work=CHECKOUT / "build" / "way")


@pytest.fixture(scope="session")
def inside(journey: Journey) -> Inside:
    return Inside(journey)


@pytest.fixture
def scratch(inside: Inside, request: pytest.FixtureRequest) -> Callable[[str], str]:
    """A directory of the bastion that goes away with the test."""
    made: list[str] = []

    def make(name: str) -> str:
        path = f"/tmp/{name}"
        made.append(path)
        inside.on("bastion", "rm", "-rf", path)
        assert inside.on("bastion", "mkdir", "-p", path).rc == 0
        return path

    request.addfinalizer(lambda: [inside.on("bastion", "rm", "-rf", path) for path in made])
    return make
