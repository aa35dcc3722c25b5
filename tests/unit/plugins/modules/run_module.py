# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a module's main() as Ansible does, and return what it says."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Mapping
from typing import Any

from ansible.module_utils.testing import patch_module_args


def run_module(
    main: Callable[[], None], values: Mapping[str, Any], *, check: bool = False, diff: bool = False
) -> dict[str, Any]:
    """The result of one run."""
    said = io.StringIO()
    arguments = {**values, "_ansible_check_mode": check, "_ansible_diff": diff}
    with patch_module_args(arguments), contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        main()
    result: dict[str, Any] = json.loads(said.getvalue())
    return result
