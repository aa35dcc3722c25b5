# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the worker a node as a site may have it (plant.sh), and keeps what the nodes hold before the role comes.

python -m tests.scenarios.node_runtime.before
"""

from __future__ import annotations

import subprocess

from dev.journey import CHECKOUT
from tests.scenarios.way import Scenario

NODES = ("control-plane", "worker-1")
PLACES = "/etc/containerd /usr/local/share/ca-certificates /etc/ssl/certs"
LOOK = f"""
find {PLACES} -type f -printf '%p %m %u:%g ' -exec sha256sum {{}} \\; | sort
find {PLACES} -type l -printf '%p %l\\n' | sort
"""


def on(scenario: Scenario, node: str, *argv: str, stdin: bytes = b"") -> str:
    done = subprocess.run(
        scenario.journey.sandbox_argv("exec", node, "--", *argv),
        cwd=CHECKOUT,
        input=stdin,
        stdout=subprocess.PIPE,
        check=True,
    )
    return done.stdout.decode()


def state(scenario: Scenario, node: str) -> list[str]:
    """Files and links that the role has to do with: names, rights and content."""
    return on(scenario, node, "sh", "-c", LOOK).splitlines()


def main() -> None:
    scenario = Scenario("node_runtime")
    on(scenario, "worker-1", "sh", "-s", stdin=(scenario.folder / "plant.sh").read_bytes())
    for node in NODES:
        (scenario.journey.work / f"before-{node}.txt").write_text("\n".join(state(scenario, node)) + "\n")


if __name__ == "__main__":
    main()
