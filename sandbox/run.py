# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands, steps with their seconds, and the one error type of the sandbox."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager


class SandboxError(Exception):
    """Something is wrong: the thing, the cause and the next step."""


def as_root(argv: Sequence[str]) -> list[str]:
    """The command as root: as it is, or through sudo that asks for no password."""
    return list(argv) if os.geteuid() == 0 else ["sudo", "-n", *argv]


def run(
    argv: Sequence[str],
    *,
    stdin: bytes | None = None,
    check: bool = True,
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Run a command with its output kept; on failure say which one and its last lines."""
    done = subprocess.run(
        list(argv),
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        env={**os.environ, **(env or {})},
        cwd=cwd,
        check=False,
    )
    if check and done.returncode != 0:
        tail = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()[-15:]
        shown = " ".join(argv[:6]) + (" ..." if len(argv) > 6 else "")
        raise SandboxError(f"`{shown}` ended with status {done.returncode}:\n  " + "\n  ".join(tail))
    return done


def text(argv: Sequence[str], **options: object) -> str:
    """The trimmed standard output of a command."""
    return run(argv, **options).stdout.decode(errors="replace").strip()  # type: ignore[arg-type]


class Steps:
    """Prints each step with its seconds, and counts what was changed."""

    def __init__(self, quiet: bool = False) -> None:
        self.start = time.monotonic()
        self.changed = 0
        self.quiet = quiet
        self._lock = threading.Lock()

    def say(self, message: str) -> None:
        if not self.quiet:
            with self._lock:
                print(f"[{time.monotonic() - self.start:6.1f} s] {message}", file=sys.stderr, flush=True)

    def change(self, message: str) -> None:
        with self._lock:
            self.changed += 1
        self.say(message)

    @contextmanager
    def step(self, message: str) -> Iterator[None]:
        """A change that takes time: said when it begins and when it ends."""
        began = time.monotonic()
        self.say(f"{message} ...")
        yield
        self.change(f"{message}: {time.monotonic() - began:.1f} s")


def wait_for(what: str, ready: Callable[[], bool], seconds: float, hint: str, pause: float = 0.3) -> None:
    """Wait until ready() is true, or say what did not come and where to look."""
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            raise SandboxError(f"{what} was not ready after {seconds:.0f} s; {hint}")
        time.sleep(pause)
