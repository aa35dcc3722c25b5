# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""open_speech: speech to text and text to speech, as OpenAI's clients speak them, with models from a volume only."""

__version__ = "0.1.0"
