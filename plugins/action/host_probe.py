# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the module host_probe between two looks at the controller's clock.

A module sees only the host's clock. How far it is from the controller's can be told only by who knows when the call
left and when the answer came: between the two, the clocks agree or they do not.
"""

from __future__ import annotations

import time
from typing import Any, Dict, Mapping

from ansible_collections.airgap.speech.plugins.modules import host_probe
from ansible_collections.airgap.speech.plugins.plugin_utils.in_process import InProcessAction


def certain_skew(before: float, epoch: float, after: float) -> float:
    """Seconds by which a clock is off for certain: none while it reads between the moments of asking and answering."""
    if epoch < before:
        return round(epoch - before, 3)
    if epoch > after:
        return round(epoch - after, 3)
    return 0.0


class ActionModule(InProcessAction):
    """The action of host_probe."""

    module = host_probe

    def call(self, arguments: Mapping[str, Any], task_vars: Dict[str, Any]) -> Dict[str, Any]:
        before = time.time()
        result = super().call(arguments, task_vars)
        after = time.time()
        if isinstance(result.get("epoch"), float):
            result["clock"] = {
                "skew": certain_skew(before, result["epoch"], after),
                "round_trip": round(after - before, 3),
            }
        return result
