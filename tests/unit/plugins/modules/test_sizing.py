# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from ansible_collections.airgap.speech.plugins.modules.sizing import main
from tests.unit.plugins.modules.run_module import run_module

FILE = """
schema: airgap.speech/sizing/v1
inputs: {concurrent_calls: calls}
rules:
  - name: pods
    input: concurrent_calls
    outside: note
    per_replica: {value: 3, source: measured}
    up_to: {value: 30, source: measured}
    replicas: [stt.replicas]
volumes:
  - {name: journal, what: records, size: 1Gi, source: the chart}
"""


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "sizing.yml"
    file.write_text(FILE, encoding="utf-8")
    return file


def test_calls_become_values(path):
    result = run_module(main, {"path": str(path), "concurrent_calls": 40})
    assert result["changed"] is False
    assert result["chart_values"] == {"stt": {"replicas": 14}}
    assert result["sources"] == [
        {
            "path": "stt.replicas",
            "value": 14,
            "rule": "pods",
            "source": "concurrent_calls 40: 3 a replica (measured)",
        }
    ]
    assert "concurrent_calls 40 is above 30" in result["notes"][0]
    assert result["volumes"][0]["bytes"] == 2**30


def test_no_size_is_no_value(path):
    assert run_module(main, {"path": str(path)}, check=True)["chart_values"] == {}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"channels": 4}, "sizing.yml: inputs: this platform is not sized by channels"),
        ({"concurrent_calls": -1}, "concurrent_calls: -1.0 is no size"),
    ],
)
def test_what_has_no_answer_fails(path, arguments, words):
    result = run_module(main, {"path": str(path), **arguments})
    assert result["failed"] is True
    assert words in result["msg"]


def test_a_profile_without_the_file(tmp_path):
    result = run_module(main, {"path": str(tmp_path / "none.yml"), "concurrent_calls": 1})
    assert result["failed"] is True
    assert "none.yml: it cannot be read" in result["msg"]
