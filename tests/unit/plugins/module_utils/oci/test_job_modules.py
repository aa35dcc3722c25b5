# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The preload Job gets its modules from a ConfigMap: exactly those that the preload imports."""

from __future__ import annotations

import re

from tests.unit.conftest import CHECKOUT

OCI = CHECKOUT / "plugins" / "module_utils" / "oci"
ROLE = CHECKOUT / "roles" / "model_preload"


def imported(name: str, seen: set[str]) -> set[str]:
    """A module of oci/ and all of oci/ that it imports."""
    if name not in seen:
        seen.add(name)
        for other in re.findall(
            r"^\s*from \S+\.module_utils\.oci\.(\w+) import", (OCI / f"{name}.py").read_text(), re.M
        ):
            imported(other, seen)
    return seen


def test_job_carries_what_the_preload_imports() -> None:
    wanted = sorted(imported("preload", set()))
    carried = re.findall(r"^ +(\w+)\.py: .*__model_preload_code", (ROLE / "tasks/job.yml").read_text(), re.M)
    mounted = re.search(r"for name in \[(.+?)\]", (ROLE / "templates/job.yml.j2").read_text())
    assert mounted is not None
    assert sorted(carried) == wanted
    assert sorted(re.findall(r"'(\w+)'", mounted.group(1))) == wanted
