# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gate: every role has the same silhouette, and specification, defaults and README say the same of its variables.

meta/argument_specs.yml is the source. The table of the README is written from it (`make role-docs`); the values of
defaults/main.yml, which Ansible reads from nowhere else, are held against it. A default that templates another
variable may be left out of the specification, and has to be where it is no text: antsibull-docs wants a value.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import yaml

WANTED = ("README.md", "defaults/main.yml", "meta/main.yml", "meta/argument_specs.yml", "tasks/main.yml")
BEGIN = "<!-- variables: made from meta/argument_specs.yml by `make role-docs` -->"
END = "<!-- end of variables -->"
MACRO = re.compile(r"\b[BCEILMOPUV](?:OPTION|ENV)?\(([^)]*)\)")


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def entry_points(role: Path) -> dict[str, dict[str, Any]]:
    """The options of each entry point of a role."""
    specs: dict[str, Any] = load(role / "meta/argument_specs.yml")["argument_specs"]
    return {name: spec.get("options") or {} for name, spec in specs.items()}


def templated(value: object) -> bool:
    return "{{" in json.dumps(value)


def faults(role: Path, minimal_ansible: str) -> list[str]:
    """What is wrong with one role, a line each."""
    found = [f"{role.name}: {wanted} is missing" for wanted in WANTED if not (role / wanted).is_file()]
    if found:
        return found
    defaults = load(role / "defaults/main.yml") or {}
    entries = entry_points(role)
    options: dict[str, Any] = {}
    for entry, given in entries.items():
        for name, option in given.items():
            if options.setdefault(name, option) != option:
                found.append(
                    f"{role.name}: {name} of the entry point {entry} differs from that of another; make them one"
                )
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
        value = defaults[name]
        if option.get("required"):
            found.append(f"{role.name}: {name} is required and has a default")
        if "default" not in option:
            if not templated(value):
                found.append(f"{role.name}: {name} is {value!r} in defaults/main.yml and has no default in its spec")
        elif templated(value) and option.get("type", "str") not in ("str", "path", "raw"):
            found.append(f"{role.name}: {name} has a templated default in its spec, and is no text; leave it out there")
        elif option["default"] != value or type(option["default"]) is not type(value):
            found.append(f"{role.name}: {name} is {value!r} in defaults/main.yml, {option['default']!r} in its spec")
    readers = [
        path for part in ("tasks", "templates", "vars", "handlers", "profiles") for path in role.glob(f"{part}/**/*")
    ]
    text = "\n".join(path.read_text() for path in readers if path.suffix in (".yml", ".j2"))
    text += "\n".join(re.findall(r"\{\{.*?\}\}", json.dumps(list(defaults.values()))))
    for name in sorted(options):
        if not re.search(rf"\b{name}\b", text):
            found.append(f"{role.name}: nothing reads {name}; remove it")
    said = str(load(role / "meta/main.yml")["galaxy_info"].get("min_ansible_version"))
    if said != minimal_ansible:
        found.append(f"{role.name}: min_ansible_version is {said}; meta/runtime.yml requires {minimal_ansible}")
    readme = role / "README.md"
    if readme.read_text().splitlines()[0] != f"# {role.name}":
        found.append(f"{role.name}: README.md does not begin with `# {role.name}`")
    if readme.read_text() != with_table(role):
        found.append(f"{role.name}: README.md does not have the variables of meta/argument_specs.yml: make role-docs")
    return found


def cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def default_of(name: str, option: dict[str, Any], defaults: dict[str, Any]) -> str:
    """A cell's Markdown: the value as YAML would take it, or the expression that makes it."""
    if option.get("required"):
        return "required"
    if name not in defaults:
        return ""
    value = defaults[name]
    if isinstance(value, str):
        expression = re.fullmatch(r"\{\{\s*((?:(?!\}\}).)*?)\s*\}\}", value, re.S)
        text = expression[1] if expression else value or '""'
    else:
        text = json.dumps(value)
    return f"`{cell(text)}`"


def table(role: Path) -> str:
    """The Markdown table of a role's variables, in the order of the specification."""
    defaults = load(role / "defaults/main.yml") or {}
    entries = entry_points(role)
    names = {name: option for given in entries.values() for name, option in given.items()}
    several = len(entries) > 1
    head = ["variable", "type", "default", "what it is"] + (["entry points"] if several else [])
    lines = [f"| {' | '.join(head)} |", f"| {' | '.join('---' for _ in head)} |"]
    for name, option in names.items():
        kind = option.get("type", "str") + (f" of {option['elements']}" if "elements" in option else "")
        said = option.get("description", "")
        text = " ".join(said) if isinstance(said, list) else str(said)
        if option.get("choices"):
            text += " One of " + ", ".join(f"`{choice}`" for choice in option["choices"]) + "."
        row = [f"`{name}`", kind, default_of(name, option, defaults), cell(MACRO.sub(r"`\1`", text))]
        if several:
            where = [entry for entry, given in entries.items() if name in given]
            row.append("all" if len(where) == len(entries) else ", ".join(f"`{entry}`" for entry in where))
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines)


def with_table(role: Path) -> str:
    """The README with its table as the specification has it; a new section where there is none."""
    text = (role / "README.md").read_text()
    if BEGIN not in text:
        text = f"{text.rstrip()}\n\n## Variables\n\n{BEGIN}\n{END}\n"
    before, rest = text.split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    return f"{before}{BEGIN}\n\n{table(role)}\n\n{END}{after}"


def main() -> int:
    root = Path(sys.argv[2] if sys.argv[1:2] == ["--root"] else ".")
    roles = sorted(path for path in (root / "roles").iterdir() if path.is_dir())
    if "--write" in sys.argv:
        for role in roles:
            (role / "README.md").write_text(with_table(role))
        return 0
    required = str(load(root / "meta/runtime.yml")["requires_ansible"])
    minimal = ".".join(required.removeprefix(">=").split(".")[:2])
    found = [fault for role in roles for fault in faults(role, minimal)]
    print("\n".join(found) if found else f"{len(roles)} roles: silhouettes, specifications, defaults and READMEs agree")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
