# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The machine: what it must have, what is installed on it, and the Docker engine."""

from __future__ import annotations

import os
import platform
import shutil
import signal
import subprocess
import time
from pathlib import Path

from sandbox import checks
from sandbox.nodes import machine_memory
from sandbox.run import SandboxError, Steps, as_root, run, wait_for
from sandbox.settings import cache_dir, state_root

# Program -> package that has it.
PACKAGES = {
    "docker": "docker.io",
    "mmdebstrap": "mmdebstrap",
    "nft": "nftables",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "ssh-keygen": "openssh-client",
    "dpkg-deb": "dpkg",
}
SYSTEM_PATHS = "/usr/sbin:/sbin:/usr/local/sbin"


def which(program: str) -> str | None:
    return shutil.which(program, path=os.environ.get("PATH", "") + ":" + SYSTEM_PATHS)


def missing_packages() -> list[str]:
    missing = [package for program, package in PACKAGES.items() if which(program) is None]
    if which("docker") and not engine_answers() and which("dockerd") is None:
        missing.append("docker.io")  # a client alone
    return sorted(set(missing))


def engine_answers() -> bool:
    return which("docker") is not None and run(["docker", "info"], check=False).returncode == 0


def can_sudo() -> bool:
    return which("sudo") is not None and run(["sudo", "-n", "true"], check=False).returncode == 0


def check_machine() -> None:
    """All that can be known before anything is changed."""
    is_root = os.geteuid() == 0
    sudo = not is_root and can_sudo()
    release = Path("/etc/os-release")
    checks.check_system(release.read_text() if release.exists() else "", platform.machine())
    checks.check_memory(machine_memory())
    place = cache_dir()
    place.mkdir(parents=True, exist_ok=True)
    checks.check_disk(shutil.disk_usage(place).free, str(place))
    answers = engine_answers()
    checks.check_docker(installed=which("docker") is not None, answers=answers, is_root=is_root, can_sudo=sudo)
    checks.check_root(is_root=is_root, can_sudo=sudo)


def check_inotify(others: list[str]) -> None:
    """Root's containers share one limit."""
    limit = Path("/proc/sys/fs/inotify/max_user_instances")
    checks.check_inotify(int(limit.read_text()), others)


def ensure_packages(steps: Steps) -> None:
    missing = missing_packages()
    if not missing:
        return
    with steps.step(f"apt-get install {' '.join(missing)}"):
        environment = ["env", "DEBIAN_FRONTEND=noninteractive"]
        options = ["-q", "-y", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300"]
        if run(as_root([*environment, "apt-get", "install", *options, *missing]), check=False).returncode != 0:
            run(as_root(["apt-get", "update", "-q"]))
            run(as_root([*environment, "apt-get", "install", *options, *missing]))


def pid_file() -> Path:
    return state_root() / "dockerd.pid"


def ensure_engine(steps: Steps) -> None:
    """The engine answers; where no service manager can start it, it is started by hand."""
    if engine_answers():
        return
    if Path("/run/systemd/system").is_dir():
        with steps.step("starting Docker through the service manager"):
            run(as_root(["systemctl", "start", "docker"]))
            wait_for("Docker", engine_answers, 60, "look at `journalctl -u docker`")
        return
    log = state_root() / "dockerd.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with steps.step(f"starting dockerd by hand, since no service manager runs here (its output is in {log})"):
        environment = {**os.environ, "PATH": os.environ.get("PATH", "") + ":" + SYSTEM_PATHS}
        with open(log, "ab") as out:
            engine = subprocess.Popen(
                as_root(["dockerd"]),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                env=environment,
            )
        pid_file().write_text(f"{engine.pid}\n")

        def ready() -> bool:
            if engine.poll() is not None:
                raise SandboxError(f"dockerd ended with status {engine.returncode}; read {log}")
            return engine_answers()

        wait_for("dockerd", ready, 60, f"read {log}")


def stop_engine(steps: Steps) -> None:
    """Stop the engine where we started it by hand and nothing else uses it."""
    if not pid_file().exists():
        return
    pid = int(pid_file().read_text())
    try:
        is_engine = "dockerd" in Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        is_engine = False
    if is_engine:
        if run(["docker", "ps", "-q"], check=False).stdout.strip():
            steps.say("dockerd, which we started, goes on: other containers run on it")
            return
        with steps.step("stopping dockerd, which we started"):
            if os.geteuid() == 0:
                os.kill(pid, signal.SIGTERM)
            else:
                run(as_root(["kill", str(pid)]))
            end = time.monotonic() + 30
            while Path(f"/proc/{pid}").exists() and time.monotonic() < end:
                time.sleep(0.2)
    pid_file().unlink(missing_ok=True)
