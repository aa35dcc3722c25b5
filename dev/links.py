# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gate: every link of a Markdown file into this repository leads to a file and, where it names one, to a heading.

Links to the repository's own address are taken as links to its files. Other addresses are not asked.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from urllib.parse import unquote

from markdown_it import MarkdownIt
from markdown_it.token import Token

OWN = re.compile(r"https://github\.com/airgap-speech/airgap\.speech/(?:tree|blob)/main/")


def anchors(tokens: list[Token]) -> set[str]:
    """The anchors of a file's headings, named as GitHub and MyST name them."""
    found: set[str] = set()
    seen: Counter[str] = Counter()
    for position, token in enumerate(tokens):
        if token.type == "heading_open":
            inline = tokens[position + 1].children or []
            text = "".join(child.content for child in inline if child.type in ("text", "code_inline"))
            slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
            found.add(slug if not seen[slug] else f"{slug}-{seen[slug]}")
            seen[slug] += 1
    return found


def targets(tokens: list[Token]) -> list[tuple[int, str]]:
    """Line and address of every link and picture."""
    found = []
    for token in tokens:
        for child in token.children or []:
            address = child.attrGet("href") or child.attrGet("src")
            if address:
                found.append(((token.map or [0])[0] + 1, str(address)))
    return found


def faults(root: Path, files: list[Path]) -> list[str]:
    """A line for each link that leads nowhere."""
    markdown = MarkdownIt("commonmark").enable("table")
    parsed = {path.resolve(): markdown.parse(path.read_text()) for path in files}
    found = []
    for path, tokens in parsed.items():
        for line, address in targets(tokens):
            own = OWN.match(address)
            if not own and re.match(r"[a-z][a-z0-9+.-]*:", address):
                continue
            place, _, anchor = unquote(address[own.end() :] if own else address).partition("#")
            target = ((root if own else path.parent) / place).resolve() if place or own else path
            where = f"{path.relative_to(root)}:{line}: {address}"
            if not target.exists() or not target.is_relative_to(root):
                found.append(f"{where}: there is no such file; name one of the repository")
            elif anchor and target.suffix == ".md" and anchor not in anchors(parsed.get(target, [])):
                found.append(f"{where}: {target.relative_to(root)} has no heading #{anchor}")
    return found


def main() -> int:
    root = Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    listed = subprocess.run(
        ["git", "-C", str(root), "ls-files", "-co", "--exclude-standard", "*.md"],
        check=True,
        capture_output=True,
        text=True,
    )
    files = [root / name for name in listed.stdout.splitlines() if (root / name).is_file()]
    found = faults(root, files)
    print("\n".join(found) if found else f"{len(files)} Markdown files: every link into the repository leads somewhere")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
