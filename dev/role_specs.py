# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gate: every role has the same silhouette, and its defaults and argument specification name the same variables.

A default that templates another variable has none in its specification.
"""

from __future__ import annotations

import sys
from pathlib import Path

import yaml

WANTED = ("README.md", "defaults/main.yml", "meta/main.yml", "meta/argument_specs.yml", "tasks/main.yml")


def faults(role: Path) -> list[str]:
    """What is wrong with one role, a line each."""
    found = [f"{role.name}: {wanted} is missing" for wanted in WANTED if not (role / wanted).is_file()]
    if found:
        return found
    defaults = yaml.safe_load((role / "defaults/main.yml").read_text()) or {}
    specs = yaml.safe_load((role / "meta/argument_specs.yml").read_text())["argument_specs"]
    options = {name: option for spec in specs.values() for name, option in (spec.get("options") or {}).items()}
    for name in sorted(set(defaults) | set(options)):
        if not name.startswith(f"{role.name}_"):
            found.append(f"{role.name}: {name} does not start with {role.name}_")
    for name in sorted(set(defaults) - set(options)):
        found.append(f"{role.name}: {name} has a default and is not in meta/argument_specs.yml")
    for name, option in sorted(options.items()):
        if name not in defaults:
            if "default" in option:
                found.append(f"{role.name}: {name} has a default in meta/argument_specs.yml alone")
            continue
        if option.get("required"):
            found.append(f"{role.name}: {name} is required and has a default")
        if "default" in option and option["default"] != defaults[name]:
            found.append(
                f"{role.name}: {name} is {defaults[name]!r} in defaults/main.yml, {option['default']!r} in its spec"
            )
    return found


def main() -> int:
    roles = sorted(path for path in Path("roles").iterdir() if path.is_dir())
    found = [fault for role in roles for fault in faults(role)]
    print("\n".join(found) if found else f"{len(roles)} roles: silhouettes, defaults and specifications agree")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
