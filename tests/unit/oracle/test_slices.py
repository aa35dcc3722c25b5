# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run of the oracle in slices, and what a whole run's cases have to be."""

from __future__ import annotations

from pathlib import Path

import pytest

from dev import capacity_oracle
from tests.oracle import ask
from tests.oracle.generator import make, names_of
from tests.oracle.progress import Progress, digest


def test_a_run_goes_on_where_it_ended(tmp_path: Path) -> None:
    path = tmp_path / "oracle" / "run.jsonl"
    progress = Progress(path)
    assert progress.missing("1.36", 3) == [0, 1, 2]
    for number in (2, 0):
        progress.add("1.36", {"number": number, "kind": None, "seconds": 1.5})
    progress.add("1.31", {"number": 0, "kind": ask.FALSE_FIT})
    # Killed while a line was written: that case is made again.
    path.write_bytes(path.read_bytes() + b'{"part":"1.36","number":1,"ki')
    again = Progress(path)
    assert again.missing("1.36", 3) == [1]
    again.add("1.36", {"number": 1, "kind": None, "seconds": 2.0})
    whole = Progress(path)
    assert [record["number"] for record in whole.of("1.36", 3)] == [0, 1, 2]
    assert [record["kind"] for record in whole.of("1.31", 3)] == [ask.FALSE_FIT]
    assert whole.total("1.36", "seconds") == 5.0


def test_other_code_is_another_run(tmp_path: Path) -> None:
    assert digest([tmp_path / "one" / "bin"]) == digest([tmp_path / "one" / "bin"])
    assert digest([tmp_path / "one" / "bin"]) != digest([tmp_path / "two" / "bin"])


def found(**changes: dict[str, float]) -> dict[str, object]:
    features = {name: {"cases": 400, "fit": 0.5} for name in names_of(ask.NEWEST)}
    zeros = dict.fromkeys(capacity_oracle.NAMES, 0)
    return {"cases": 10_000, "edge": 0.9, "features": {**features, **changes}, **zeros}


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (found(), []),
        (found(gpu={"cases": 299, "fit": 0.5}), ["1.36: gpu: 299 cases, at least 300 are wanted"]),
        (found(gpu={"cases": 400, "fit": 0.29}), ["1.36: gpu: 29% of its cases fit, 30% to 70% are wanted"]),
        (found(gpu={"cases": 400, "fit": 0.71}), ["1.36: gpu: 71% of its cases fit, 30% to 70% are wanted"]),
        ({**found(), "edge": 0.5}, ["1.36: 50% of the cases are within a pod of the edge, more than half are wanted"]),
        ({**found(), "false_fits": 1}, ["1.36: false_fits: 1 of 10000, at most 0.0%"]),
        ({**found(), "false_refusals": 11}, ["1.36: false_refusals: 11 of 10000, at most 0.1%"]),
        ({**found(), "false_refusals": 10, "needless_doubt": 200}, []),
        # A short run says nothing about shares.
        ({**found(gpu={"cases": 3, "fit": 1.0}), "cases": 300}, []),
    ],
)
def test_what_a_whole_run_has_to_be(run: dict[str, object], words: list[str]) -> None:
    assert capacity_oracle.judge_run({"minors": {"1.36": run}}) == words


def test_every_feature_has_its_turn() -> None:
    for minor in (ask.NEWEST, ask.OLDEST):
        names = names_of(minor)
        made = [make(3, number, minor, lambda case: len(case["manifest"]) % 2 == 0) for number in range(len(names))]
        assert [name for name, case in zip(names, made) if name not in case.features] == []
