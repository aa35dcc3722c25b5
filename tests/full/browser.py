# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Opens the built docs site in Chromium, from the disc and without a network, and prints what it saw as JSON.

Runs with the Python of the docs' own environment: browser.py SITE SCREENSHOT
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

site, screenshot = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
requests: list[str] = []
errors: list[str] = []
with sync_playwright() as playwright:
    browser = playwright.chromium.launch(
        executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-dev-shm-usage"]
    )
    context = browser.new_context(viewport={"width": 1280, "height": 900}, offline=True)
    page = context.new_page()
    page.on("request", lambda request: requests.append(request.url))
    page.on("requestfailed", lambda request: errors.append(f"{request.url}: {request.failure}"))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)

    page.goto((site / "index.html").as_uri())
    title = page.title()
    links = page.eval_on_selector_all(".sidebar-tree a", "found => found.map(link => link.href)")
    page.screenshot(path=str(screenshot))

    page.fill("input.sidebar-search", "allowed_signers")
    page.press("input.sidebar-search", "Enter")
    page.wait_for_selector("ul.search li a")
    found = page.eval_on_selector_all("ul.search li a", "found => found.map(link => link.textContent)")
    page.screenshot(path=str(screenshot.with_name("search.png")))

    opened = {}
    for link in links:
        page.goto(link)
        opened[link] = page.inner_text("h1") if page.locator("h1").count() else ""
    page.goto((site / "quick_start.html").as_uri())
    page.screenshot(path=str(screenshot.with_name("page.png")))
    browser.close()
print(json.dumps({"title": title, "opened": opened, "found": found, "requests": requests, "errors": errors}))
