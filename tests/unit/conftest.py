# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import sys
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[2]

# What ansible-test leaves of Ansible around modules is for the tests, not for the programs that they call.
os.environ.pop("PYTHONPATH", None)

# `ansible_collections.airgap.speech` is this checkout (dev/venv makes the link).
for path in (CHECKOUT, CHECKOUT / "build" / "collections"):
    if str(path) not in sys.path:
        sys.path.insert(0, str(path))


def _testing_of_older_cores() -> types.ModuleType:
    """ansible.module_utils.testing, which ansible-core before 2.19 does not have (make test-matrix)."""
    from ansible.module_utils import basic

    @contextlib.contextmanager
    def patch_module_args(args: Mapping[str, Any]) -> Iterator[None]:
        kept = basic._ANSIBLE_ARGS
        basic._ANSIBLE_ARGS = json.dumps({"ANSIBLE_MODULE_ARGS": args}).encode()
        try:
            yield
        finally:
            basic._ANSIBLE_ARGS = kept

    module = types.ModuleType("ansible.module_utils.testing")
    module.patch_module_args = patch_module_args  # type: ignore[attr-defined]
    return module


if importlib.util.find_spec("ansible.module_utils.testing") is None:
    sys.modules["ansible.module_utils.testing"] = _testing_of_older_cores()
