# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way that an operator goes, on the sandbox: bundle, carry, setup, site.

`make demo` walks it once; molecule's scenarios walk it in their steps (python -m dev.journey STEP).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .sentence import random_sentence

CHECKOUT = Path(__file__).resolve().parents[1]
VENV_BIN = Path(sys.executable).parent
INVENTORY = "inventories/sandbox"
BUNDLE_INSIDE = "/media/bundle"
HOME_INSIDE = "/home/ops"
# How many changes a step made, as it says itself: the play recap, or the last line of the sandbox and of setup.sh.
CHANGES = re.compile(r"^\S+\s+: ok=\d+\s+changed=(\d+)|: (\d+) changes$|^controller: (changed)", re.M)

# Prints the lines of a file as they are added, until its input ends.
FOLLOW = ': > "$1"; tail -n 0 -F "$1" 2>/dev/null & cat >/dev/null; kill $!'

READ_MANY = """
import json, pathlib, sys
files = (path for path in pathlib.Path(sys.argv[1]).rglob("*") if path.is_file())
print(json.dumps({str(path): path.read_text() for path in files}))
"""


class JourneyError(Exception):
    """A step failed; its output was shown already."""


@dataclass(frozen=True)
class Step:
    """One step that was walked: its name, seconds, the number of changed tasks, and what it printed."""

    name: str
    seconds: float
    changed: int
    output: str

    def summary(self) -> dict[str, object]:
        record = asdict(self)
        del record["output"]
        return record


@dataclass(frozen=True)
class Journey:
    """The way on the sandbox `name`; what it makes lies below `work`."""

    name: str = "airgap"
    subnet: str = "10.89.0.0/16"
    work: Path = CHECKOUT / "build" / "demo"

    @property
    def bundle_directory(self) -> Path:
        return self.work / "bundle"

    def sandbox_argv(self, command: str, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "sandbox", command, "--name", self.name, *arguments]

    def sandbox(self, *arguments: str) -> Step:
        return self._walk("sandbox", self.sandbox_argv("up", "--subnet", self.subnet, *arguments))

    def bundle(self, *arguments: str) -> Step:
        """Outside: the signed bundle of the sandbox's inventory."""
        self.work.mkdir(parents=True, exist_ok=True)
        outside = self.work / "outside.yml"
        outside.write_text(self._capture(self.sandbox_argv("vars")))
        outside.chmod(0o600)
        progress = str(self.work / "progress")
        argv = ["ansible-playbook", "playbooks/bundle.yml", "-i", INVENTORY, "-e", f"@{outside}"]
        paths = {
            "bundle_progress_file": progress,
            "airgap_bundle": str(self.bundle_directory),
            "bundle_signing_key": str(self.work / "signing" / "key"),
            "bundle_signers_file": str(self.work / "signing" / "allowed_signers"),
        }
        follow = ["sh", "-c", FOLLOW, "follow", progress]
        return self._walk("bundle", [*argv, "-e", json.dumps(paths), *arguments], follow)

    def carry(self) -> Step:
        """The disc goes through the door: the bundle by copy; inventory and signers come from the operator."""
        started = time.monotonic()
        self._capture(self.inside_argv("find", BUNDLE_INSIDE, "-mindepth", "1", "-delete"))
        for source, target in (
            (self.bundle_directory, BUNDLE_INSIDE),
            (CHECKOUT / INVENTORY, f"{HOME_INSIDE}/inventory"),
            (self.work / "signing" / "allowed_signers", f"{HOME_INSIDE}/allowed_signers"),
        ):
            self.copy(source, target)
        return Step("carry", time.monotonic() - started, 0, "")

    def inside_argv(self, *argv: str) -> list[str]:
        return self.sandbox_argv("exec", "bastion", "--", *argv)

    def setup(self, *arguments: str) -> Step:
        """Inside: the bare bastion becomes a controller."""
        signers = ("--signers", f"{HOME_INSIDE}/allowed_signers")
        argv = self.inside_argv(f"{BUNDLE_INSIDE}/setup.sh", *(arguments or signers))
        return self._walk("setup", argv)

    def playbook(self, playbook: str, *arguments: str, name: str = "") -> Step:
        """Inside: one of our playbooks, by its FQCN."""
        argv = [f"{HOME_INSIDE}/.airgap/bin/ansible-playbook", playbook, "-i", f"{HOME_INSIDE}/inventory", *arguments]
        return self._walk(name or playbook.rsplit(".", 1)[-1], self.inside_argv(*argv))

    def predict(self, *arguments: str) -> Step:
        """What site.yml would do."""
        return self.playbook("airgap.speech.site", "--check", "--diff", *arguments, name="predict")

    def site(self, *arguments: str) -> Step:
        return self.playbook("airgap.speech.site", *arguments)

    def read(self, path: str) -> str:
        """The text of a file on the bastion."""
        return self._capture(self.inside_argv("cat", path))

    def read_many(self, directory: str) -> dict[str, str]:
        """The text of every file below a directory of the bastion, by its path."""
        found: dict[str, str] = json.loads(self._capture(self.inside_argv("python3", "-c", READ_MANY, directory)))
        return found

    def copy(self, source: Path, target: str, user: str = "ops") -> None:
        """A file or folder of this machine to the bastion, where it is the user's."""
        self._capture(self.sandbox_argv("copy", "--user", user, str(source), f"bastion:{target}"))

    def zero_egress(self) -> None:
        self._capture(self.sandbox_argv("egress", "--zero"))

    def egress(self) -> dict[str, Any]:
        report: dict[str, Any] = json.loads(self._capture(self.sandbox_argv("egress")))
        return report

    def _capture(self, argv: list[str]) -> str:
        done = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.stderr.write(done.stdout + done.stderr)
            raise JourneyError(f"{' '.join(argv[2:])}: exit status {done.returncode}")
        return done.stdout

    def _walk(self, name: str, argv: list[str], follow: Sequence[str] = ()) -> Step:
        """Runs argv, shows its output as it comes and keeps it; `follow` shows the progress of long steps meanwhile."""
        started = time.monotonic()
        kept = []
        watcher = subprocess.Popen(follow, cwd=CHECKOUT, stdin=subprocess.PIPE) if follow else None
        with subprocess.Popen(
            argv,
            cwd=CHECKOUT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "PATH": f"{VENV_BIN}:{os.environ['PATH']}"},
        ) as process:
            for line in process.stdout or ():
                sys.stdout.write(line)
                sys.stdout.flush()
                kept.append(line)
        if watcher:
            watcher.communicate()
        output = "".join(kept)
        logs = self.work / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        (logs / f"{time.strftime('%H%M%S', time.gmtime())}-{name}.log").write_text(output)
        seconds = time.monotonic() - started
        changed = sum(1 if setup else int(recap or said) for recap, said, setup in CHANGES.findall(output))
        if process.returncode:
            raise JourneyError(f"{name}: exit status {process.returncode}")
        return Step(name, seconds, changed, output)


def parsed(argv: Sequence[str]) -> argparse.Namespace:
    """What the command line says; what follows `--` is the step's, whatever stands before it."""
    before = list(argv)
    arguments: list[str] = []
    if "--" in before:
        at = before.index("--")
        before, arguments = before[:at], before[at + 1 :]
    parser = argparse.ArgumentParser(
        description=__doc__, usage="%(prog)s [OPTION...] STEP [-- more arguments for the step]"
    )
    parser.add_argument("step", choices=["sandbox", "bundle", "carry", "setup", "predict", "site"])
    parser.add_argument("--name", default="airgap")
    parser.add_argument("--work", type=Path, default=Journey.work)
    parser.add_argument("--random-sentence", action="store_true", help="what the smoke test says")
    return parser.parse_args(before, argparse.Namespace(arguments=arguments))


def main() -> int:
    options = parsed(sys.argv[1:])
    if options.random_sentence:
        options.arguments += ["-e", json.dumps({"smoke_test_text": random_sentence()})]
    journey = Journey(name=options.name, work=options.work.resolve())
    try:
        step: Step = getattr(journey, options.step)(*options.arguments)
    except JourneyError as error:
        print(f"journey: {error}", file=sys.stderr)
        return 1
    print(json.dumps(step.summary()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
