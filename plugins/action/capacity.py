# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the module capacity, on the controller itself in Ansible's own process."""

from __future__ import annotations

from ansible_collections.airgap.speech.plugins.modules import capacity
from ansible_collections.airgap.speech.plugins.plugin_utils.in_process import InProcessAction, load_once

load_once("kubernetes")


class ActionModule(InProcessAction):
    """The action of capacity."""

    module = capacity
