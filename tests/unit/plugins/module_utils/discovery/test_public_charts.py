# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Public charts, which are not kept here: AIRGAP_DISCOVERY_CHARTS names a directory with them (docs/discovery.md).

The lists in tests/discovery/public were made by reading the charts. A line a chart goes to build/discovery.md.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from ansible_collections.airgap.speech.plugins.module_utils.discovery.charts import discover_chart
from ansible_collections.airgap.speech.plugins.module_utils.discovery.render import Chart, Renderer, write_values
from ansible_collections.airgap.speech.plugins.module_utils.discovery.rules import ImageRules, merged

from .test_cases import CASES, SHIPPED, run, tool

TABLE = CASES.parents[1] / "build" / "discovery.md"


@pytest.fixture(scope="module")
def charts() -> Path:
    if "AIRGAP_DISCOVERY_CHARTS" not in os.environ:
        pytest.skip("no public charts: set AIRGAP_DISCOVERY_CHARTS (docs/discovery.md says how)")
    TABLE.parent.mkdir(exist_ok=True)
    TABLE.write_text("| chart | true images | found | recall | false | undecided |\n|---|---|---|---|---|---|\n")
    return Path(os.environ["AIRGAP_DISCOVERY_CHARTS"])


@pytest.mark.parametrize(
    "path", [pytest.param(path, id=path.stem) for path in sorted((CASES / "public").glob("*.yml"))]
)
def test_public_chart(path: Path, charts: Path, tmp_path: Path) -> None:
    expected = yaml.safe_load(path.read_text())
    chart = charts / expected["chart"]
    if not chart.is_dir():
        pytest.skip(f"{chart} is not there")
    rules = merged(
        ImageRules.load(file.read_text(), file.name, expected.get("variables")) for file in sorted(SHIPPED.iterdir())
    )
    values = write_values(str(tmp_path), "values", expected.get("values") or {})
    found = discover_chart(Renderer(run, tool("helm")), Chart(str(chart)), {"": [values]}, rules=rules)
    wanted, said = set(expected["needed"]), set(found.references)
    with TABLE.open("a", encoding="utf-8") as table:
        right = len(wanted & said)
        false, undecided = len(said - wanted), len({item.text for item in found.undecided})
        version = expected["version"]
        table.write(
            f"| {path.stem} {version} | {len(wanted)} | {right} | {right / len(wanted):.0%} | {false} | {undecided} |\n"
        )
    assert said == wanted | set(expected.get("superfluous") or [])
    off = {item.reference for item in found.found if not item.required} - said
    assert off == set(expected.get("not_needed") or [])
    assert {item.text for item in found.undecided} == set(expected.get("undecided") or [])
