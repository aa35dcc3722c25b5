# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from dev.matrix import CHECKOUT, Matrix, Row, changed_nothing, keep, passed_and_failed, rows_of, table

WANTED = yaml.safe_load((CHECKOUT / "tests" / "matrix" / "versions.yml").read_text())


@pytest.mark.parametrize(
    ("said", "cell", "well"),
    [
        ({"3.9": True, "3.10": True}, "3.9, 3.10", True),
        ({"3.9": True, "3.10": False}, "3.9; failed: 3.10", False),
        ({"3.9": False}, "; failed: 3.9", False),
    ],
)
def test_what_failed_is_in_the_table(said: dict[str, bool], cell: str, well: bool) -> None:
    row = Row("2.21.5", "3.13", targets=passed_and_failed(said))
    assert row.targets == cell
    assert row.well is well
    assert f"| {cell} |" in table([row])


def test_each_python_has_one_core_for_what_knows_no_ansible() -> None:
    matrix = Matrix(WANTED, {}, {}, [])
    released = [entry for entry in WANTED["cores"] if not entry.get("prerelease")]
    for python in {version for entry in released for version in entry["controller"]}:
        assert python in next(e["controller"] for e in released if e["core"] == matrix.newest_core_of(python))
    assert matrix.newest_core_of("3.10") == "2.17"


def test_only_the_last_playbook_of_a_log_counts(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("PLAY RECAP\nlocalhost : ok=2 changed=2\n\nPLAY RECAP\nlocalhost : ok=2 changed=0\n")
    assert changed_nothing(log)
    log.write_text(log.read_text() + "\nPLAY RECAP\nlocalhost : ok=2 changed=1\n")
    assert not changed_nothing(log)


def test_slices_side_by_side_add_up(tmp_path: Path) -> None:
    kept = tmp_path / "rows.json"
    keep(kept, Row("2.21.4", "3.14", units="failed"), ["units"])
    keep(kept, Row("2.21.5", "3.14", sanity="passed"), ["sanity"])
    whole = keep(kept, Row("2.21.5", "3.14", units="passed"), ["units"])
    assert (whole.core, whole.units, whole.sanity, whole.helm) == ("2.21.5", "passed", "passed", "")
    assert rows_of(kept) == {"2.21 3.14": whole}
