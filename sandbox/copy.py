# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carry files into an inside host, as a medium would."""

from __future__ import annotations

import subprocess
import tarfile
from pathlib import Path

from sandbox.run import SandboxError
from sandbox.settings import Settings

USERS = {"ops": 1000, "root": 0}


def parse_target(target: str, hosts: list[str]) -> tuple[str, str]:
    host, separator, path = target.partition(":")
    if not separator or host not in hosts or not path.startswith("/"):
        raise SandboxError(f"{target}: give HOST:/PATH with a host of {', '.join(hosts)}")
    return host, path


def copy_in(settings: Settings, source: str, target: str, user: str) -> None:
    """A file becomes DST; of a directory, what it holds goes into DST."""
    host, path = parse_target(target, settings.hosts)
    origin = Path(source)
    if not origin.exists():
        raise SandboxError(f"{source} does not exist; give a file or directory of this machine")
    if user not in USERS:
        raise SandboxError(f"user {user} is not known inside; give one of {', '.join(USERS)}")
    owner = USERS[user]

    def owned(info: tarfile.TarInfo) -> tarfile.TarInfo:
        info.uid = info.gid = owner
        info.uname = info.gname = ""
        return info

    # tar of the container, as its user: what exists keeps its rights, and a full disk is an error here.
    container = settings.container(host)
    directory, name = (path, ".") if origin.is_dir() else (str(Path(path).parent), Path(path).name)
    script = 'mkdir -p "$0" && exec tar -x -p -f - -C "$0"'
    argv = ["docker", "exec", "-i", "--user", user, container, "sh", "-c", script, directory]
    with subprocess.Popen(argv, stdin=subprocess.PIPE) as process:
        if process.stdin is None:
            raise SandboxError("no way into the container")
        try:
            with tarfile.open(fileobj=process.stdin, mode="w|", dereference=False, bufsize=1 << 20) as tar:
                tar.add(origin, arcname=name, filter=owned)
            process.stdin.close()
        except BrokenPipeError:
            pass
        if process.wait() != 0:
            raise SandboxError(
                f"copying {source} to {target} failed (see above); is there room, and may {user} write there?"
            )
