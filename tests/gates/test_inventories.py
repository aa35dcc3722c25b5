# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The example inventories are whole: they parse, site.yml takes them, and they name only what there is."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

CHECKOUT = Path(__file__).resolve().parents[2]
INVENTORIES = sorted(path.parent for path in (CHECKOUT / "inventories").glob("*/hosts.yml"))
PROFILES = CHECKOUT / "roles" / "speech_platform" / "profiles"
HOSTS = {"sandbox": 4, "single_node": 1, "ha_site": 8, "multi_site": 9}
PREFLIGHT = {"sandbox": 4, "single_node": 1, "ha_site": 8, "multi_site": 5}


def run(environment: dict[str, str], *argv: str) -> str:
    done = subprocess.run(argv, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stderr, done.stderr
    return done.stdout


@pytest.fixture(params=INVENTORIES, ids=lambda path: path.name)
def inventory(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


@pytest.fixture
def listed(inventory: Path, environment: dict[str, str]) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(run(environment, "ansible-inventory", "-i", str(inventory), "--list"))
    return said


def test_there_are_four() -> None:
    assert {path.name for path in INVENTORIES} >= set(HOSTS)


def test_groups_and_hosts(inventory: Path, listed: dict[str, Any]) -> None:
    assert len(listed["_meta"]["hostvars"]) == HOSTS[inventory.name]
    assert listed["bastion"]["hosts"]
    assert {"control_plane", "workers", "gpu_nodes"} <= set(listed["speech_nodes"]["children"])


def test_the_site_takes_it(inventory: Path, environment: dict[str, str]) -> None:
    """Every play finds its hosts, with --limit for a site of several."""
    limit = ["--limit", "site_north"] if inventory.name == "multi_site" else []
    said = run(environment, "ansible-playbook", "site.yml", "-i", str(inventory), "--list-hosts", *limit)
    first = re.search(r"play #1 .*?hosts \((\d+)\)", said, re.S)
    assert first and int(first[1]) == PREFLIGHT[inventory.name], said
    plays = re.findall(r"play #\d+ \(bastion\).*?hosts \((\d+)\)", said, re.S)
    assert plays and set(plays) == {"1"}, said


def test_variables_are_read_by_something(inventory: Path, listed: dict[str, Any]) -> None:
    """A name that nothing reads is a typing error."""
    sources = [*(CHECKOUT / "roles").rglob("*.yml"), *(CHECKOUT / "playbooks").glob("*.yml"), *inventory.rglob("*.yml")]
    text = "\n".join(path.read_text() for path in sources)
    names = {
        name for values in listed["_meta"]["hostvars"].values() for name in values if not name.startswith("ansible_")
    }
    assert "airgap_releases" in names
    for name in names:
        read = re.findall(rf"\b{name}\b(?!:)", text)
        assert read, f"{name} of {inventory.name} is read by nothing"


def test_releases_name_profiles_and_values_that_there_are(inventory: Path, listed: dict[str, Any]) -> None:
    def unknown(values: dict[str, Any], chart: dict[str, Any], where: str = "") -> list[str]:
        found = []
        for key, value in values.items():
            if key not in chart:
                found.append(f"{where}{key}")
            elif isinstance(value, dict) and isinstance(chart[key], dict) and chart[key]:
                found += unknown(value, chart[key], f"{where}{key}.")
        return found

    for values in listed["_meta"]["hostvars"].values():
        for release in values["airgap_releases"]:
            profile = PROFILES / release["platform"]
            assert (profile / "profile.yml").is_file(), release
            given = release.get("values") or {}
            if isinstance(given, str):  # {{ site_values }} of the site's group
                given = values.get("site_values", {})
            if (profile / "chart" / "values.yaml").is_file():
                chart = yaml.safe_load((profile / "chart" / "values.yaml").read_text())
                assert unknown(given, chart) == []


def test_every_role_takes_the_releases(listed: dict[str, Any]) -> None:
    """A role whose specification says what a release may hold allows all that the inventories give to some role."""
    keys = {
        "api_keys_secret",
        *(
            key
            for each in listed["_meta"]["hostvars"].values()
            for release in each["airgap_releases"]
            for key in release
        ),
    }
    allowed = {}
    for path in (CHECKOUT / "roles").glob("*/meta/argument_specs.yml"):
        for entry, spec in yaml.safe_load(path.read_text())["argument_specs"].items():
            for name, option in spec["options"].items():
                if re.fullmatch(rf"{path.parts[-3]}_releases?", name) and "options" in option:
                    allowed[f"{path.parts[-3]} {entry} {name}"] = set(option["options"])
    assert len(allowed) > 4
    assert {where: keys - each for where, each in allowed.items() if keys - each} == {}
