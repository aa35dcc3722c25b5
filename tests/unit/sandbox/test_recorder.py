# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest

from sandbox.recorder_daemon import collect

HEAD = "audit(1795262400.123:77): "


@pytest.mark.parametrize(
    ("records", "argv"),
    [
        ([HEAD + 'argc=2 a0="ls" a1="-l"'], ["ls", "-l"]),
        ([HEAD + 'argc=2 a0="sh" a1=6563686F2022612062220A'], ["sh", 'echo "a b"\n']),
        ([HEAD + 'argc=2 a0="x" a1=""'], ["x", ""]),
        ([HEAD + 'argc=3 a0="a"', HEAD + 'a1="b" a2="argc=9"'], ["a", "b", "argc=9"]),
        ([HEAD + 'argc=2 a0="t" a1_len=12 a1[0]=414141', HEAD + "a1[1]=424242"], ["t", "AAABBB"]),
        ([HEAD + "argc=1 a0=C3A4"], ["ä"]),
    ],
)
def test_records_become_a_command_line(records: list[str], argv: list[str]) -> None:
    events: dict[bytes, dict[int, Any]] = {}
    results = [collect(events, record.encode()) for record in records]
    assert results[:-1] == [None] * (len(records) - 1)
    assert results[-1] == argv
    assert events == {}


def test_events_do_not_mix() -> None:
    events: dict[bytes, dict[int, Any]] = {}
    assert collect(events, b'audit(1.0:1): argc=2 a0="one"') is None
    assert collect(events, b'audit(1.0:2): argc=1 a0="two"') == ["two"]
    assert collect(events, b'audit(1.0:1): a1="more"') == ["one", "more"]
    assert collect(events, b"something else") is None
