# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pages of the docs, and the code blocks in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

CHECKOUT = Path(__file__).resolve().parents[2]
PAGES = [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").rglob("*.md"))]
MARK = re.compile(r"# (?:run|walked by (?P<where>\S+)|not run: (?P<why>.+))")


@dataclass(frozen=True)
class Block:
    """A fenced block: where it is, its language and its text."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(CHECKOUT)}:{self.line}"

    @property
    def commands(self) -> list[str]:
        """The command lines; a backslash at the end goes on in the next. In a session they begin with a dollar."""
        lines = self.text.replace("\\\n", " ").splitlines()
        if self.language.startswith("console"):
            return [line[2:] for line in lines if line.startswith("$ ")]
        return [line for line in lines if line.strip() and not line.startswith("#")]


def blocks(*languages: str) -> list[Block]:
    found = []
    for page in PAGES:
        for token in MarkdownIt("commonmark").enable("table").parse(page.read_text()):
            if token.type == "fence" and (token.info.split() or [""])[0] in languages:
                found.append(Block(page, (token.map or [0])[0] + 1, token.info.strip(), token.content))
    return found


def mark(block: Block) -> re.Match[str] | None:
    """How the commands of a block are tested: its first line says it."""
    return MARK.fullmatch(block.text.splitlines()[0].strip())
