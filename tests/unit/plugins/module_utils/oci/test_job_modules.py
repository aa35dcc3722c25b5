# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The preload Job gets its modules from a ConfigMap: exactly those that the preload imports."""

from __future__ import annotations

import re

import yaml

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
    carried = yaml.safe_load((ROLE / "vars/main.yml").read_text())["__model_preload_modules"]
    assert carried == sorted(imported("preload_command", set()))


def test_the_program_fits_into_a_config_map() -> None:
    size = sum((OCI / f"{name}.py").stat().st_size for name in imported("preload_command", set()))
    assert size < 700_000, "etcd takes 1 MiB an object, and the text is escaped"
