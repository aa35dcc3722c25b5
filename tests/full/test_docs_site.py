# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The docs site, built offline and opened in a real browser from the disc (make test-full)."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
SITE = CHECKOUT / "build" / "docs" / "html"


def run(*argv: str | Path) -> str:
    done = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def seen() -> dict[str, Any]:
    run("dev/system-packages", "chromium")
    venv = run("dev/tool-venv", "docs", "dev/docs/requirements.txt").strip()
    # A network of its own, which has no way anywhere: neither Sphinx nor antsibull-docs may want one.
    run("unshare", "--net", "make", "docs")
    said = run(f"{venv}/bin/python", "tests/full/browser.py", SITE, CHECKOUT / "build" / "docs" / "site.png")
    found: dict[str, Any] = json.loads(said)
    return found


def test_every_page_of_the_navigation_opens(seen: dict[str, Any]) -> None:
    assert "airgap.speech" in seen["title"]
    assert len(seen["opened"]) > 20
    assert all(seen["opened"].values()), [page for page, heading in seen["opened"].items() if not heading]
    for name in ("quick_start", "troubleshooting", "platforms/open_speech", "roles/registry", "collections/index"):
        assert any(f"/{name}.html" in page for page in seen["opened"]), name


def test_search_finds(seen: dict[str, Any]) -> None:
    assert "Quick start" in seen["found"], seen["found"]


def test_nothing_is_asked_of_a_network(seen: dict[str, Any]) -> None:
    assert seen["requests"]
    assert all(url.startswith((SITE.as_uri(), "data:")) for url in seen["requests"]), seen["requests"]
    assert seen["errors"] == []


def test_every_module_filter_and_role_has_its_page() -> None:
    for kind, directory in (("module", "modules"), ("filter", "filter")):
        for plugin in (CHECKOUT / "plugins" / directory).glob("*.py"):
            assert (SITE / "collections" / f"{plugin.stem}_{kind}.html").is_file(), plugin.stem
    for role in (CHECKOUT / "roles").iterdir():
        assert (SITE / "collections" / f"{role.name}_role.html").is_file(), role.name


def test_the_pictures_are_there() -> None:
    for name in ("site.png", "search.png", "page.png"):
        assert (SITE.parent / name).stat().st_size > 10_000, name
