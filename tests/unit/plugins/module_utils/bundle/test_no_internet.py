# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nothing that people read inside sends them to the internet: the documentation travels in the bundle."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[5]
ADDRESS = re.compile(r"https?://([A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+)")
# Names that stand for the reader's own hosts, and the key under which `docker login` keeps its login.
OURS = re.compile(r"(^|\.)(example|internal|invalid)(\.[a-z]+)?$|\.example\.|^index\.docker\.io$")
DOCUMENTATION = {"DOCUMENTATION", "EXAMPLES", "RETURN"}
SOURCES = sorted(path for folder in ("plugins", "roles/bundle/files") for path in (CHECKOUT / folder).rglob("*.py"))
TEXTS = sorted(
    path
    for path in (CHECKOUT / "roles").rglob("*")
    if path.suffix in (".yml", ".sh", ".j2") and "image" not in path.parts
)


def texts_of(source: str) -> list[str]:
    """The texts of a program, its documentation aside."""
    tree = ast.parse(source)
    apart = {
        id(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and any(getattr(target, "id", "") in DOCUMENTATION for target in node.targets)
    }
    constants = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in apart)
    return [node.value for node in constants if isinstance(node.value, str)]


@pytest.mark.parametrize("path", SOURCES, ids=[str(path.relative_to(CHECKOUT)) for path in SOURCES])
def test_programs(path: Path) -> None:
    hosts = [host for text in texts_of(path.read_text()) for host in ADDRESS.findall(text)]
    assert [host for host in hosts if not OURS.search(host)] == []


def test_roles() -> None:
    found = {}
    for path in TEXTS:
        lines = [line for line in path.read_text().splitlines() if not re.match(r"\s*#|.*\(see LICENSE or ", line)]
        hosts = [host for line in lines for host in ADDRESS.findall(line) if not OURS.search(host)]
        if hosts:
            found[str(path.relative_to(CHECKOUT))] = hosts
    assert found == {}


def test_it_finds_one() -> None:
    assert texts_of('DOCUMENTATION = "https://docs.ansible.com"\nfail("see https://docs.ansible.com/x")') == [
        "see https://docs.ansible.com/x"
    ]
    assert not OURS.search("docs.ansible.com")
