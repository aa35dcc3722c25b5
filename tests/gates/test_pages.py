# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the pages say is so: their commands run, their YAML is YAML, their messages are those of the code."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.gates.pages import CHECKOUT, PAGES, Block, blocks, mark

SHELL = blocks("sh", "bash", "shell", "console")
RUN = [block for block in SHELL if (found := mark(block)) and not any(found.groups())]
WALKED = [(block, found["where"]) for block in SHELL if (found := mark(block)) and found["where"]]
MESSAGES = [block for block in blocks("text") if block.page.name == "troubleshooting.md"]
PLACEHOLDER = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{[^{}]*\}|%[sdr]", re.S)


def test_the_pages_are_found() -> None:
    assert {"README.md", "quick_start.md", "operations.md", "troubleshooting.md"} <= {page.name for page in PAGES}
    assert SHELL and RUN and WALKED and MESSAGES


@pytest.mark.parametrize("block", SHELL, ids=str)
def test_a_block_of_commands_says_how_it_is_tested(block: Block) -> None:
    assert mark(block), f"{block}: begin it with '# run', '# walked by FILE' or '# not run: WHY'"


@pytest.mark.parametrize("block", RUN, ids=str)
def test_commands_that_are_run(block: Block, environment: dict[str, str]) -> None:
    for command in block.commands:
        done = subprocess.run(
            shlex.split(command, comments=True),
            cwd=CHECKOUT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{block}: {command}\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize(("block", "where"), WALKED, ids=str)
def test_commands_that_another_test_walks(block: Block, where: str) -> None:
    """The test is there, and what it runs (itself, or by dev/journey.py) is what the page says."""
    walked = (CHECKOUT / where).read_text() + (CHECKOUT / "dev" / "journey.py").read_text()
    assert where.startswith(("tests/", "molecule/"))
    for command in block.commands:
        playbook = re.search(r"\bairgap\.speech\.(\w+)", command)
        words = shlex.split(command, comments=True)
        wanted = playbook[1] if playbook else Path(words[1 if words[0] == "make" else 0]).name
        assert re.search(rf"\b{re.escape(wanted)}\b", walked), f"{block}: {where} does not walk {wanted}"


@pytest.mark.parametrize("block", blocks("yaml", "yml", "json"), ids=str)
def test_yaml_is_yaml(block: Block) -> None:
    assert yaml.safe_load(block.text) is not None


def said_by_python(path: Path) -> list[str]:
    """The texts of a source file, with … for what is filled in."""

    def text(node: ast.AST) -> str:
        if isinstance(node, ast.JoinedStr):
            return "".join(text(value) for value in node.values)
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return PLACEHOLDER.sub("…", node.value)
        return "…"

    kinds = (ast.JoinedStr, ast.Constant)
    return [text(node) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, kinds)]


def said_by_yaml(path: Path) -> list[str]:
    found = []

    def walk(node: object) -> None:
        if isinstance(node, str):
            found.append(" ".join(PLACEHOLDER.sub("…", node).split()))
        elif isinstance(node, dict):
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(yaml.safe_load(path.read_text()))
    return found


@pytest.fixture(scope="module")
def said() -> dict[Path, list[str]]:
    """What each source file of the collection can say."""
    found = {path: said_by_python(path) for path in (CHECKOUT / "plugins").rglob("*.py")}
    found.update({path: said_by_yaml(path) for path in (CHECKOUT / "roles").glob("*/tasks/*.yml")})
    script = CHECKOUT / "roles" / "bundle" / "files" / "setup.sh"
    found[script] = script.read_text().splitlines()
    return found


def fragments(message: str) -> list[str]:
    """The parts of a message that the code must hold: it is put together from thing, cause and next step."""
    return [part.strip() for part in re.split(r"…|: |; ", message.strip()) if len(part.strip()) > 7]


@pytest.mark.parametrize("block", MESSAGES, ids=lambda block: block.text[:50].strip())
def test_messages_are_those_of_the_code(block: Block, said: dict[Path, list[str]]) -> None:
    """Every fixed part of the message stands in one and the same source file."""
    for message in block.text.strip().splitlines():
        wanted = [part for part in fragments(message) if part != "setup.sh"]
        assert wanted, f"{block}: {message} says too little to be looked for"
        holders = [path for path, texts in said.items() if all(any(part in text for text in texts) for part in wanted)]
        missing = [part for part in wanted if not any(part in text for texts in said.values() for text in texts)]
        assert holders, f"{block}: no source file says {message!r} any more; gone: {missing}"
