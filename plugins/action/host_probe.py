# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the module host_probe between two looks at the controller's clock.

A module sees only the host's clock. How far it is from the controller's can be told only by who knows when the call
left and when the answer came: between the two, the clocks agree or they do not.
"""

from __future__ import annotations

import time
from typing import Any, Dict, Optional

from ansible.plugins.action import ActionBase


def certain_skew(before: float, epoch: float, after: float) -> float:
    """Seconds by which a clock is off for certain: none while it reads between the moments of asking and answering."""
    if epoch < before:
        return round(epoch - before, 3)
    if epoch > after:
        return round(epoch - after, 3)
    return 0.0


class ActionModule(ActionBase):
    """The action of host_probe."""

    _requires_connection = True

    def run(self, tmp: Optional[str] = None, task_vars: Optional[Dict[str, Any]] = None) -> Dict[str, Any]:
        result = super().run(tmp, task_vars)
        before = time.time()
        result.update(self._execute_module(module_args=self._task.args, task_vars=task_vars))
        after = time.time()
        if isinstance(result.get("epoch"), float):
            result["clock"] = {
                "skew": certain_skew(before, result["epoch"], after),
                "round_trip": round(after - before, 3),
            }
        return result
