# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A second sandbox beside the first, and nothing left of it after `down` (make test-full)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
NAME = "airgap-second"


def run(*argv: str) -> str:
    done = subprocess.run(argv, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout
    return done.stdout


def sandbox(command: str, *arguments: str) -> str:
    return run(sys.executable, "-m", "sandbox", command, "--name", NAME, *arguments)


def traces() -> dict[str, str]:
    """Where a sandbox of this name could still show."""
    return {
        "containers": run("docker", "ps", "--all", "--format", "{{.Names}}"),
        "networks": run("docker", "network", "ls", "--format", "{{.Name}}"),
        "volumes": run("docker", "volume", "ls", "--quiet"),
        "nft tables": run("nft", "list", "tables"),
        "mounts": Path("/proc/self/mounts").read_text(),
        "processes": run("ps", "-eo", "args"),
        "state": "\n".join(str(path) for path in (Path.home() / ".local/state/airgap-speech/sandbox").glob("*")),
    }


def test_side_by_side_and_gone() -> None:
    try:
        sandbox("up", "--subnet", "10.90.0.0/16")
        assert "api: ready" in sandbox("status")
        assert any(NAME in seen for seen in traces().values())
    finally:
        sandbox("down")
    left = {where: seen for where, seen in traces().items() if NAME in seen and where != "processes"}
    assert not left, left
    own = [line for line in traces()["processes"].splitlines() if NAME in line and "pytest" not in line]
    assert not own, own
