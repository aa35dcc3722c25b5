# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import re

import pytest

from sandbox import build
from sandbox.cluster import ADDONS, manifest
from sandbox.settings import parse_settings, versions

TOOLS = versions()["go"]


@pytest.mark.parametrize("tool", [tool for tool, spec in TOOLS.items() if "module" in spec])
def test_versions_are_those_of_the_go_mod(tool: str) -> None:
    go_mod = (build.GO_DIR / tool / "go.mod").read_text()
    spec = TOOLS[tool]
    assert re.search(
        rf"^\s*(require )?{re.escape(spec['module'])} {re.escape(spec['module_version'])}\b", go_mod, re.MULTILINE
    )


def test_every_module_of_the_checkout_is_built() -> None:
    assert {path.parent.name for path in build.GO_DIR.glob("*/go.mod")} == set(TOOLS)


@pytest.mark.parametrize(
    ("go_mod", "version"),
    [("module x\n\ngo 1.26.6\n", (1, 26, 6)), ("go 1.26\n", (1, 26, 0)), ("go 1.26.0\n", (1, 26, 0))],
)
def test_needed_go(go_mod: str, version: tuple[int, ...]) -> None:
    assert build.needed_go(go_mod) == version


def test_found_go() -> None:
    assert build.found_go("go version go1.26.8 linux/amd64") == (1, 26, 8)
    assert build.found_go("no such thing") < (1, 0, 0)


@pytest.mark.parametrize(
    ("tool", "package", "name"),
    [
        ("etcd", "go.etcd.io/etcd/server/v3", "server"),
        ("pause", ".", "pause"),
        ("helm", "helm.sh/helm/v4/cmd/helm", "helm"),
    ],
)
def test_program_name(tool: str, package: str, name: str) -> None:
    assert build.program_name(tool, package) == name


def test_key_follows_the_content(monkeypatch: pytest.MonkeyPatch) -> None:
    before = build.tool_key("pause")
    assert before == build.tool_key("pause")
    changed = versions()
    changed["go"]["pause"]["tags"] = ["other"]
    monkeypatch.setattr(build, "versions", lambda: changed)
    assert build.tool_key("pause") != before


@pytest.mark.parametrize("addon", ADDONS)
def test_manifests_have_no_open_values(addon: tuple[str, str, str]) -> None:
    tool, _namespace, file = addon
    text = manifest(file, parse_settings("airgap", None, None, {}))
    assert "@@" not in text
    assert f"/{tool}:{TOOLS[tool]['module_version']}" in text
