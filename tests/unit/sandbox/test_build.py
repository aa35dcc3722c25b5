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
GO_MODS = {path.parent: path.read_text() for path in build.GO_DIR.rglob("go.mod")}


@pytest.mark.parametrize("tool", [tool for tool, spec in TOOLS.items() if "module" in spec])
def test_versions_are_those_of_the_go_mod(tool: str) -> None:
    spec = TOOLS[tool]
    required = dict(re.findall(r"^\t(\S+) (v\S+)", build.module_file(tool).read_text(), re.MULTILINE))
    assert required[spec["module"]] == spec["module_version"]


def test_every_program_of_the_checkout_is_built() -> None:
    ours = {f"./{path.parent.name}" for path in build.GO_DIR.glob("*/main.go")}
    assert ours == {package for spec in TOOLS.values() for package in spec["packages"].values() if package[0] == "."}
    for package in ours:  # tool_key reads the sources of go/<tool>/
        assert package.removeprefix("./") in TOOLS


def test_kubernetes_modules_have_the_version_of_kubernetes() -> None:
    for go_mod in GO_MODS.values():
        replaced = re.findall(r"^\tk8s\.io/\S+ => k8s\.io/\S+ (v0\.\d+\.\d+)$", go_mod, re.MULTILINE)
        assert set(replaced) == {TOOLS["kubernetes"]["module_version"].replace("v1.", "v0.", 1)}


def test_modules_share_versions() -> None:
    """What two go.mod have at different versions is compiled twice."""
    one, *others = (
        (
            dict(re.findall(r"^\t(\S+) (v\S+)", go_mod, re.MULTILINE)),
            dict(re.findall(r"^\t(\S+) => \1 (v\S+)", go_mod, re.MULTILINE)),
        )
        for _path, go_mod in sorted(GO_MODS.items())
    )
    for required, replaced in others:
        both = one[0].keys() & required.keys()
        assert not {name for name in both if one[0][name] not in (required[name], replaced.get(name))}


def test_a_sandbox_needs_no_tool_of_the_tests() -> None:
    assert set(TOOLS) - set(build.sandbox_tools()) == {"helm3", "helm3-oldest", "nfd", "oracle", "oracle-oldest"}


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
    ("package", "name"),
    [("go.etcd.io/etcd/server/v3", "server"), ("./pause", "pause"), ("helm.sh/helm/v4/cmd/helm", "helm")],
)
def test_program_name(package: str, name: str) -> None:
    assert build.program_name(package) == name


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
