# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory of a site is held against its digest before a bundle is made with it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from tests.unit.roles.playing import run_plays

CONTENT = b'{"schema": "airgap.speech/inventory/v1"}\n'
DIGEST = hashlib.sha256(CONTENT).hexdigest()
OTHER = "0" * 64


def preflight(folder: Path, cases: list[dict[str, Any]]) -> list[str]:
    """What the role's preflight says of each case, nothing where it passes."""
    said = folder / "said"
    values = {"bundle_dest": "/x", "bundle_releases": [{"name": "r"}]}
    plays = [
        {
            "hosts": "localhost",
            "gather_facts": False,
            "vars": {**values, **case},
            "tasks": [
                {
                    "block": [
                        {"ansible.builtin.include_role": {"name": "airgap.speech.bundle", "tasks_from": "preflight"}},
                        {"ansible.builtin.set_fact": {"said": "passed"}},
                    ],
                    "rescue": [{"ansible.builtin.set_fact": {"said": "{{ ansible_failed_result.msg }}"}}],
                },
                {"ansible.builtin.copy": {"content": "{{ said }}", "dest": f"{said}-{number}", "mode": "0600"}},
            ],
        }
        for number, case in enumerate(cases)
    ]
    done = run_plays(folder, plays, {})
    assert done.returncode == 0, done.stdout + done.stderr
    return [Path(f"{said}-{number}").read_text() for number in range(len(cases))]


@pytest.fixture
def inventories(tmp_path: Path) -> dict[str, str]:
    """Inventories by what lies beside them."""
    found = {}
    for name, beside in (("right", f"{DIGEST}  site.json\n"), ("wrong", f"{OTHER}  site.json\n"), ("none", "")):
        (tmp_path / name).mkdir()
        inventory = tmp_path / name / "site.json"
        inventory.write_bytes(CONTENT)
        if beside:
            Path(f"{inventory}.sha256").write_text(beside)
        found[name] = str(inventory)
    return found


def test_an_inventory_and_its_digest(tmp_path: Path, inventories: dict[str, str]) -> None:
    right, wrong, none = (inventories[name] for name in ("right", "wrong", "none"))
    again = "; carry it out of the site again with the .sha256 beside it, or give bundle_inventory_sha256"
    expected = [
        ({"bundle_inventory": ""}, "passed"),
        ({"bundle_inventory": right}, "passed"),
        ({"bundle_inventory": none, "bundle_inventory_sha256": DIGEST}, "passed"),
        ({"bundle_inventory": wrong, "bundle_inventory_sha256": DIGEST}, "passed"),
        (
            {"bundle_inventory": wrong},
            f"bundle_inventory {wrong}: sha256 differs (expected {OTHER}, actual {DIGEST}){again}",
        ),
        ({"bundle_inventory": none}, f"bundle_inventory {none}: nothing says which sha256 it should have{again}"),
        ({"bundle_inventory": "/nowhere.json"}, f"bundle_inventory /nowhere.json: is not there{again}"),
    ]
    assert preflight(tmp_path, [case for case, _said in expected]) == [said for _case, said in expected]
