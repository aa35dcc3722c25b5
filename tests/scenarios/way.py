# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A scenario: a fresh sandbox, a small bundle carried into it, and our playbooks run on its bastion.

molecule's playbooks walk it in steps (python -m tests.scenarios.way SCENARIO STEP); their tests use Scenario. It is
a folder here: `bundle.yml` has the variables of the bundle, `inside/` goes to /home/ops/scenario on the bastion, where
`inside/site.yml` has the variables of the site. The sandbox is the one that NAME and SUBNET in the environment name.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from dev.journey import CHECKOUT, HOME_INSIDE, Journey, JourneyError, Step
from tests.integration.inside import Inside

NAME = os.environ.get("NAME") or "airgap"
SUBNET = os.environ.get("SUBNET") or "10.89.0.0/16"
INSIDE = f"{HOME_INSIDE}/scenario"


@dataclass(frozen=True)
class Scenario:
    """The scenario `name` on the sandbox of the environment; what it makes lies in build/NAME."""

    name: str

    @property
    def folder(self) -> Path:
        return CHECKOUT / "tests" / "scenarios" / self.name

    @property
    def journey(self) -> Journey:
        return Journey(name=NAME, subnet=SUBNET, work=CHECKOUT / "build" / self.name)

    def prepare(self, playbooks: list[str]) -> None:
        """From nothing to a controller inside that ran these playbooks."""
        journey = self.journey
        if journey.work.exists():
            shutil.rmtree(journey.work)
        journey.sandbox("--fresh")
        journey.zero_egress()
        journey.bundle("-e", json.dumps({"checkout": str(CHECKOUT)}), "-e", f"@{self.folder / 'bundle.yml'}")
        journey.carry()
        journey.copy(self.folder / "inside", INSIDE)
        journey.setup()
        for playbook in playbooks:
            self.playbook(playbook)

    def playbook(self, name: str, *arguments: str) -> Step:
        """One of our playbooks (mirror, node_runtime ...) on the bastion, with the variables of the scenario's site."""
        return self.journey.playbook(f"airgap.speech.{name}", "-e", f"@{INSIDE}/site.yml", *arguments)

    def verify(self) -> int:
        """The scenario's tests; what they print is kept in build/NAME/verify.txt, since molecule wraps it."""
        argv = [str(Path(sys.executable).parent / "pytest"), "-rA", str(self.folder)]
        kept = self.journey.work / "verify.txt"
        with kept.open("w") as output:
            done = subprocess.run(argv, cwd=CHECKOUT, stdout=output, stderr=subprocess.STDOUT, check=False)
        sys.stdout.write(kept.read_text())
        return done.returncode


def forget_image(inside: Inside, host: str, image: str) -> None:
    """Remove an image, given by its name or its digest, from a host's containerd: all its names, and its content."""
    ctr = ["ctr", "-n", "k8s.io", "images"]
    rows = [line.split() for line in inside.on(host, *ctr, "ls").text.splitlines()]
    digests = {row[2] for row in rows if image in row}
    names = [row[0] for row in rows if row[2] in digests]
    if names:
        assert inside.on(host, *ctr, "rm", "--sync", *names).rc == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenario")
    parser.add_argument("step", choices=["prepare", "playbook", "verify"])
    parser.add_argument("arguments", nargs="*", help="playbooks for prepare; a playbook and its arguments after --")
    options = parser.parse_args()
    scenario = Scenario(options.scenario)
    try:
        if options.step == "verify":
            return scenario.verify()
        if options.step == "prepare":
            scenario.prepare(options.arguments)
        else:
            print(json.dumps(scenario.playbook(*options.arguments).summary()))
    except JourneyError as error:
        print(f"{options.scenario}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
