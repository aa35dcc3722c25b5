# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each gate fails on a fault: one is seeded in a scratch copy of the tree, and the gate has to name it."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what git would carry, with the checkout's tools."""
    root = tmp_path_factory.mktemp("scratch") / "tree"
    subprocess.run([CHECKOUT / "dev" / "copy", root], check=True)
    (root / ".venv").symlink_to(CHECKOUT / ".venv")
    for command in (["init", "-q"], ["add", "-A"]):
        subprocess.run(["git", *command], cwd=root, check=True, capture_output=True)
    return root


def put(name: str, text: str) -> Callable[[Path], None]:
    return lambda root: (root / name).write_text(text)


def add(name: str, text: str) -> Callable[[Path], None]:
    return lambda root: (root / name).write_text((root / name).read_text() + text)


def swap(name: str, old: str, new: str) -> Callable[[Path], None]:
    def swapped(root: Path) -> None:
        text = (root / name).read_text()
        assert old in text, f"{name} does not hold {old!r} any more"
        (root / name).write_text(text.replace(old, new, 1))

    return swapped


# gate (a target of make, and its arguments): the fault, and what the gate has to say of it.
FAULTS: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "an import that nothing uses": ("lint-python", add("dev/links.py", "\nimport json\n"), r"F401|E402"),
    "a wrong type": (
        "lint-types",
        add("plugins/module_utils/kube/quantity.py", '\nWRONG: int = "text"\n'),
        r"quantity\.py:\d+: error: Incompatible types",
    ),
    "YAML with a key twice": ("lint-yaml", put("inventories/twice.yml", "---\na: 1\na: 2\n"), r"duplication of key"),
    "a shell script with a fault": ("lint-shell", put("dev/faulty", "#!/bin/sh\ncd $1\n"), r"SC2164|SC2086"),
    "a fragment of an unknown section": (
        "lint-changelog",
        put("changelogs/fragments/wrong.yml", "---\nnovelties:\n  - one\n"),
        r"novelties",
    ),
    "a default that is not the specification's": (
        "lint-roles",
        swap("roles/report/defaults/main.yml", "report_", "report_unknown_"),
        r"report_unknown_",
    ),
    "a README that is not made from the specification": (
        "lint-roles",
        swap("roles/registry/README.md", "| `registry_state` |", "| `registry_status` |"),
        r"make role-docs",
    ),
    "a spelling mistake": ("lint-spelling", add("docs/architecture.md", "\nTo recieve it.\n"), r"recieve ==> receive"),
    "a link to nowhere": (
        "lint-links",
        add("docs/security.md", "\n[gone](gone.md)\n"),
        r"gone\.md: there is no such file",
    ),
    "a heading that is not there": (
        "lint-links",
        add("docs/security.md", "\n[gone](operations.md#gone)\n"),
        r"has no heading #gone",
    ),
    "an option of the documentation that is none": (
        "lint-docs",
        swap("plugins/modules/htpasswd.py", 'DOCUMENTATION = r"""', 'DOCUMENTATION = r"""\nunheard_of: yes'),
        r"unheard_of",
    ),
    "a role without its README": (
        "lint-importer",
        lambda root: (root / "roles" / "report" / "README.md").unlink(),
        r"No role readme found",
    ),
    "a task without a name": (
        "lint-ansible",
        add("roles/report/tasks/main.yml", "\n- ansible.builtin.debug:\n    msg: unnamed\n"),
        r"name\[missing\]",
    ),
    "an assertion in a module": (
        "test-sanity",
        add("plugins/module_utils/kube/quantity.py", "\nassert True\n"),
        r"no-assert|assert",
    ),
    "a unit that does something else": (
        "test-plugins ARGS=tests/unit/plugins/module_utils/test_word_error_rate.py",
        add(
            "plugins/module_utils/word_error_rate.py",
            "\ndef word_error_rate(*_given: object) -> float:\n    return 0.5\n",
        ),
        r"FAILED tests/unit/plugins/module_utils/test_word_error_rate\.py",
    ),
    "a message that the code does not say": (
        "test-gates",
        swap("docs/troubleshooting.md", "copy that file again", "burn that file again"),
        r"no source file says",
    ),
    "an inventory that names an unknown value": (
        "test-gates",
        swap("inventories/ha_site/group_vars/all/releases.yml", "replicas: 3", "replica: 3"),
        r"stt\.replica",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_gate_fails(fault: str, scratch: Path) -> None:
    gate, seed, wanted = FAULTS[fault]
    before = {path: path.read_bytes() for path in scratch.rglob("*") if path.is_file() and ours(path, scratch)}
    seed(scratch)
    subprocess.run(["git", "add", "-A"], cwd=scratch, check=True)
    try:
        done = subprocess.run(
            ["make", *gate.split()],
            cwd=scratch,
            env={key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    finally:
        for path in [path for path in scratch.rglob("*") if path.is_file() and ours(path, scratch)]:
            if path not in before:
                path.unlink()
        for path, text in before.items():
            if not path.exists() or path.read_bytes() != text:
                path.write_bytes(text)
    assert done.returncode != 0, f"make {gate} passed with {fault}\n{done.stdout}"
    assert re.search(wanted, done.stdout), f"make {gate} failed, but not for {fault}\n{done.stdout}"


def ours(path: Path, root: Path) -> bool:
    return path.relative_to(root).parts[0] not in (".git", ".venv", "build")
