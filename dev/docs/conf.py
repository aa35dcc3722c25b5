# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sphinx's settings of the docs site. It works from a disc: its own search, and nothing comes from elsewhere."""

from __future__ import annotations

project = "airgap.speech"
copyright = "2026, Airgap Speech contributors"
extensions = ["myst_parser", "sphinx_antsibull_ext"]
myst_heading_anchors = 4
html_theme = "furo"
html_title = "airgap.speech"
html_show_sphinx = False
html_copy_source = False
# The summaries are fetched, which a browser refuses for pages of a disc.
html_show_search_summary = False
highlight_language = "YAML+Jinja"
smartquotes = False
