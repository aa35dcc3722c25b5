# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`make docs`: the docs site in build/docs/html, from docs/, the roles' READMEs and the plugins' documentation.

Runs with the Python of the docs' own environment. Nothing is asked of a network, and the site asks nothing of one.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
HERE = CHECKOUT / "dev" / "docs"
OUT = CHECKOUT / "build" / "docs"
SOURCE = OUT / "source"
REPOSITORY = "https://github.com/airgap-speech/airgap.speech/blob/main/"
BIN = Path(sys.executable).parent
# The order of the navigation. A page of docs/ that is not named here comes last in the first part.
PARTS: list[tuple[str, list[str]]] = [
    ("Guide", ["quick_start", "inventory", "site_needs", "versions", "operations", "troubleshooting", "security"]),
    (
        "How it works",
        ["discovery", "bundle", "parts", "mirror", "nodes", "models", "gpu_operator", "capacity", "sizing", "measured"],
    ),
    ("Developers", ["architecture", "contributing"]),
    ("Platforms", ["platforms/*"]),
    ("Roles", ["roles/*"]),
    ("Reference", ["collections/index"]),
    ("Decisions", ["decisions/*"]),
]


def own_links(text: str, page: Path, target: Path) -> str:
    """The text of a page for its place in the site: links that lead out of the site become links to the repository."""

    def replaced(match: re.Match[str]) -> str:
        place, hash_, anchor = match[1].partition("#")
        if re.match(r"[a-z]+:", place) or not place:
            return match[0]
        leads_to = (page.parent / place).resolve()
        if leads_to.is_relative_to(CHECKOUT / "docs") and leads_to.suffix == ".md":
            staged = SOURCE / leads_to.relative_to(CHECKOUT / "docs")
            return f"]({os.path.relpath(staged, target.parent)}{hash_}{anchor})"
        return f"]({REPOSITORY}{leads_to.relative_to(CHECKOUT)})"

    return re.sub(r"\]\(([^)\s]+)\)", replaced, text)


def stage() -> None:
    """The pages, where Sphinx reads them."""
    for page in (CHECKOUT / "docs").rglob("*.md"):
        target = SOURCE / page.relative_to(CHECKOUT / "docs")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(own_links(page.read_text(), page, target))
    (SOURCE / "roles").mkdir()
    for readme in (CHECKOUT / "roles").glob("*/README.md"):
        target = SOURCE / "roles" / f"{readme.parent.name}.md"
        target.write_text(own_links(readme.read_text(), readme, target))
    shutil.copy(HERE / "conf.py", SOURCE)
    shutil.copy(HERE / "ansible_terms.rst", SOURCE)
    named = {name for _title, names in PARTS for name in names}
    others = sorted(page.stem for page in SOURCE.glob("*.md") if page.stem not in named)
    index = [own_links((HERE / "index.md").read_text(), HERE / "index.md", SOURCE / "index.md")]
    for title, names in PARTS:
        pages = []
        for name in [*names, *(others if title == "Guide" else [])]:
            found = sorted(SOURCE.glob(f"{name}.md")) if "*" in name else [SOURCE / f"{name}.md"]
            pages += [str(page.relative_to(SOURCE).with_suffix("")) for page in found if page.exists()]
            if name.startswith("collections/"):
                pages.append(name)
        index.append("\n".join(["```{toctree}", f":caption: {title}", ":maxdepth: 1", ":hidden:", "", *pages, "```\n"]))
    (SOURCE / "index.md").write_text("\n".join(index))


def run(*argv: str | Path, **environment: str) -> None:
    done = subprocess.run(argv, cwd=CHECKOUT, env={**os.environ, **environment}, check=False)
    if done.returncode:
        sys.exit(f"docs: {Path(argv[0]).name} failed with exit status {done.returncode}; see the lines above")


def reference() -> None:
    """Pages of every module, filter and role, by antsibull-docs, from the tarball as it would be installed."""
    made = subprocess.run([CHECKOUT / "dev" / "tarball"], check=True, capture_output=True, text=True)
    place = OUT / "collections" / "ansible_collections"
    (place / "airgap" / "speech").mkdir(parents=True)
    subprocess.run(["tar", "-xzf", made.stdout.strip(), "-C", place / "airgap" / "speech"], check=True)
    for name in ("kubernetes", "ansible"):
        (place / name).symlink_to(CHECKOUT / "build" / "collections" / "ansible_collections" / name)
    target = SOURCE / "collections"
    target.mkdir()
    (place.parent / "ansible.cfg").touch()  # not that of the checkout
    run(
        BIN / "antsibull-docs",
        "collection",
        "--use-current",
        "--squash-hierarchy",
        "--fail-on-error",
        f"--dest-dir={target}",
        "airgap.speech",
        ANSIBLE_COLLECTIONS_PATH=str(place.parent),
        ANSIBLE_CONFIG=str(place.parent / "ansible.cfg"),
        PATH=f"{BIN}:{os.environ['PATH']}",
    )


def main() -> int:
    shutil.rmtree(OUT, ignore_errors=True)
    SOURCE.mkdir(parents=True)
    stage()
    reference()
    run(BIN / "sphinx-build", "-W", "--keep-going", "-q", "-b", "html", SOURCE, OUT / "html")
    pages = len(list((OUT / "html").rglob("*.html")))
    print(f"docs: {pages} pages; open build/docs/html/index.html")
    return 0


if __name__ == "__main__":
    sys.exit(main())
