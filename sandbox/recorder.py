# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A recorder of all command lines on the machine, containers included (they share its kernel).

`start` and `stop` are here; what records is recorder_daemon.py, a process of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from sandbox.run import SandboxError, Steps, as_root, run, wait_for
from sandbox.settings import ROOT, state_root


def directory() -> Path:
    return state_root() / "recorder"


def recorded_file() -> Path:
    return directory() / "commands.jsonl"


def state_file() -> Path:
    return directory() / "state.json"


def status() -> dict[str, Any]:
    """What the recorder says of itself, and whether it runs."""
    if not state_file().exists():
        return {"running": False}
    state = dict(json.loads(state_file().read_text()))
    try:
        command = Path(f"/proc/{state['pid']}/cmdline").read_bytes()
    except OSError:
        command = b""
    state["running"] = b"recorder_daemon" in command
    return state


def start(steps: Steps) -> str:
    """Start recording into a new file; says the method that is used."""
    if status()["running"]:
        raise SandboxError("the recorder runs already; `recorder stop` ends it")
    if directory().exists():
        shutil.rmtree(directory())
    directory().mkdir(parents=True, mode=0o700)
    argv = as_root([sys.executable, str(ROOT / "recorder_daemon.py"), str(directory())])
    with open(os.open(directory() / "errors.txt", os.O_WRONLY | os.O_CREAT, 0o600), "wb") as errors:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors, start_new_session=True)

    def ready() -> bool:
        if process.poll() is not None:
            raise SandboxError(f"the recorder ended: {(directory() / 'errors.txt').read_text().strip()}")
        return bool(status()["running"])

    wait_for("the recorder", ready, 20, f"read {directory() / 'errors.txt'}", pause=0.05)
    method = str(status()["method"])
    steps.say(f"recording all command lines by {method}")
    return method


def stop(steps: Steps) -> tuple[Path, int]:
    """Stop recording; the file, and how many command lines are in it."""
    if not status()["running"]:
        raise SandboxError("the recorder does not run; `recorder start` begins")
    run(as_root(["kill", "-TERM", str(status()["pid"])]))
    wait_for(
        "the recorder's end", lambda: not status()["running"], 60, f"read {directory() / 'errors.txt'}", pause=0.05
    )
    state = status()
    steps.say(f"recorded {state['commands']} command lines by {state['method']}, {state['lost']} lost")
    return recorded_file(), int(state["commands"])


def stop_if_running(steps: Steps) -> None:
    """For `down` of the last sandbox: neither the process nor its file stays."""
    if status()["running"]:
        stop(steps)
    shutil.rmtree(directory(), ignore_errors=True)
