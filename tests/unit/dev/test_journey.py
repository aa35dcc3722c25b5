# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from dev.journey import parsed


@pytest.mark.parametrize(
    ("line", "work", "arguments"),
    [
        ("site", "demo", []),
        ("site --work build/way", "way", []),
        ("site --work build/way -- -e a=b", "way", ["-e", "a=b"]),
        ("--work build/way site -- --tags report -- x", "way", ["--tags", "report", "--", "x"]),
    ],
)
def test_a_step_gets_what_follows_the_dashes(line: str, work: str, arguments: list[str]) -> None:
    options = parsed(line.split())
    assert (options.step, options.work.name, options.arguments) == ("site", work, arguments)


def test_what_is_not_behind_the_dashes_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed(["site", "-e", "a=b"])
    assert "unrecognized arguments: -e a=b" in capsys.readouterr().err
