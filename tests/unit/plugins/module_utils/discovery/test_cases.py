# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every case of tests/discovery: what discovery says is exactly what its expected.yml says, which was written by hand.

`excluded` and `undecided` are whole lists, too: a candidate that is dropped, or one too many, fails the case.
"""

from __future__ import annotations

import copy
import os
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.airgap.speech.plugins.module_utils.discovery.charts import discover_chart
from ansible_collections.airgap.speech.plugins.module_utils.discovery.documents import load_documents
from ansible_collections.airgap.speech.plugins.module_utils.discovery.findings import Discovery
from ansible_collections.airgap.speech.plugins.module_utils.discovery.images import discover
from ansible_collections.airgap.speech.plugins.module_utils.discovery.render import Chart, Renderer
from ansible_collections.airgap.speech.plugins.module_utils.discovery.rules import ImageRules, merged

CASES = Path(__file__).resolve().parents[4] / "discovery"
SHIPPED = CASES.parents[1] / "roles/speech_platform/files/image_rules"
GIVEN = {
    "registry",
    "platforms",
    "rules",
    "shipped_rules",
    "variables",
    "kube_version",
    "api_versions",
    "values",
    "value_sets",
}


def cases(kind: str) -> list[Any]:
    return [pytest.param(path, id=path.name) for path in sorted((CASES / kind).iterdir())]


def tool(name: str) -> str:
    """A binary that is named, on the path, or built for the sandbox."""
    cache = Path(os.environ.get("AIRGAP_SPEECH_CACHE") or Path.home() / ".cache" / "airgap-speech")
    built = sorted(str(path) for path in cache.glob(f"go/*/*/bin/{name}"))
    found = os.environ.get(f"AIRGAP_SPEECH_{name.upper()}") or shutil.which(name) or (built[-1] if built else "")
    if not found:
        pytest.skip(f"no {name}: set AIRGAP_SPEECH_{name.upper()}, or build the sandbox's tools")
    return found


def run(argv: list[str]) -> tuple[int, str, str]:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def expectation(case: Path) -> dict[str, Any]:
    expected: dict[str, Any] = yaml.safe_load((case / "expected.yml").read_text())
    assert set(expected) <= {"given", "needed", "not_needed", "undecided", "excluded"}
    assert set(expected.get("given") or {}) <= GIVEN
    return expected


def rules_of(case: Path, given: dict[str, Any]) -> ImageRules | None:
    if given.get("shipped_rules"):
        return merged(
            ImageRules.load(path.read_text(), path.name, given.get("variables")) for path in SHIPPED.iterdir()
        )
    if "rules" not in given:
        return None
    return ImageRules.load((case / given["rules"]).read_text(), given["rules"], given.get("variables"))


def compare(discovery: Discovery, expected: dict[str, Any]) -> None:
    """The whole of it, in the form of expected.yml."""
    said: dict[str, Any] = {"needed": {}, "not_needed": {}}
    for item in discovery.found:
        said["needed" if item.required else "not_needed"].setdefault(item.reference, set()).add(item.needed)
    said["undecided"] = {item.text for item in discovery.undecided}
    said["excluded"] = {item.text for item in discovery.excluded}
    wanted: dict[str, Any] = {}
    for key in ("needed", "not_needed"):
        wanted[key] = {
            reference: {needed} if isinstance(needed, str) else set(needed)
            for reference, needed in (expected.get(key) or {}).items()
        }
    for key in ("undecided", "excluded"):
        wanted[key] = set(expected.get(key) or [])
    assert said == wanted
    assert all(item.why for item in discovery.excluded + discovery.undecided)
    assert all(item.kind and item.name and item.found for item in discovery.found)


@pytest.mark.parametrize("case", cases("manifests"))
def test_manifests(case: Path) -> None:
    expected = expectation(case)
    given = expected.get("given") or {}
    documents = load_documents((case / "input.yml").read_text())
    found = discover(documents, given.get("registry", ""), given.get("platforms", ()), rules_of(case, given))
    compare(found, expected)


@pytest.mark.parametrize("case", cases("charts"))
def test_charts(case: Path) -> None:
    expected = expectation(case)
    given = expected.get("given") or {}
    sets = given.get("value_sets") or {"": given.get("values") or []}
    found = discover_chart(
        Renderer(run, tool("helm")),
        Chart(
            str(case / "chart"),
            kube_version=given.get("kube_version", ""),
            api_versions=given.get("api_versions", []),
        ),
        {name: [str(case / file) for file in files] for name, files in sets.items()},
        given.get("registry", ""),
        given.get("platforms", ()),
        rules_of(case, given),
    )
    compare(found, expected)


@pytest.mark.parametrize("case", cases("kustomize"))
def test_kustomizations_and_directories(case: Path) -> None:
    text = Renderer(run, kubectl=tool("kubectl")).manifests(str(case / "input"))
    compare(discover(load_documents(text)), expectation(case))


def nodes_of(node: Any) -> list[tuple[Any, Any]]:
    """Every place in a document, as its container and key."""
    items = list(node.items()) if isinstance(node, dict) else list(enumerate(node)) if isinstance(node, list) else []
    return [place for key, value in items for place in [(node, key), *nodes_of(value)]]


@pytest.mark.parametrize("seed", range(5))
def test_a_malformed_document_is_read_as_far_as_it_goes(seed: int) -> None:
    """What a cluster would refuse must not end a discovery: any field may hold anything."""
    draw = random.Random(seed)  # noqa: S311 - no secret
    documents = [
        one
        for case in sorted((CASES / "manifests").iterdir())
        for one in load_documents((case / "input.yml").read_text())
    ]
    junk: list[Any] = [None, True, 5, 1.5, "", "a/b:1", [], [None], {}, [[]], "{", "[1", "a: b\n c", {"enabled": False}]
    for _ in range(100):
        document = copy.deepcopy(draw.choice(documents))
        container, key = draw.choice(nodes_of(document))
        container[key] = draw.choice(junk)
        discover([document], platforms=["linux/amd64"])


def test_there_are_as_many_cases_as_are_asked_for() -> None:
    assert len([path for kind in ("manifests", "charts", "kustomize") for path in (CASES / kind).iterdir()]) >= 40
