# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers of the engine, each made from a specification whose digest is its label."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sandbox.run import SandboxError, Steps, run, text
from sandbox.settings import digest

LABEL = "airgap.speech.sandbox"
SPEC_LABEL = "airgap.speech.spec"


@dataclass(frozen=True)
class File:
    """A file, link or directory that is put into a container before it starts."""

    path: str
    data: bytes = b""
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    link: str = ""
    directory: bool = False


@dataclass
class Container:
    """What a container is made of."""

    sandbox: str
    name: str
    image: str
    network: str
    address: str
    hostname: str
    options: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    files: list[File] = field(default_factory=list)

    def digest(self, image_id: str) -> str:
        files = [(f.path, f.data.hex(), f.mode, f.uid, f.gid, f.link, f.directory) for f in self.files]
        return digest(image_id, self.network, self.address, self.hostname, self.options, self.command, files)


def docker(*argv: str, stdin: bytes | None = None, check: bool = True) -> str:
    return run(["docker", *argv], stdin=stdin, check=check).stdout.decode(errors="replace").strip()


def has_image(tag: str) -> bool:
    return run(["docker", "image", "inspect", tag], check=False).returncode == 0


def inspect(name: str) -> dict[str, Any] | None:
    done = run(["docker", "container", "inspect", name], check=False)
    return dict(json.loads(done.stdout)[0]) if done.returncode == 0 else None


def process_id(name: str) -> int:
    """The process 1 of a running container, as the machine sees it."""
    found = inspect(name)
    pid = int(found["State"]["Pid"]) if found else 0
    if pid == 0:
        raise SandboxError(f"container {name} does not run; look at `docker logs {name}`, then run `up` again")
    return pid


def tar_of(files: Iterable[File]) -> bytes:
    """A tar of files, links and directories."""
    out = io.BytesIO()
    seen: set[str] = set()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for item in files:
            info = tarfile.TarInfo(item.path.lstrip("/"))
            info.size, info.mode, info.uid, info.gid = len(item.data), item.mode, item.uid, item.gid
            if info.name in seen:
                raise SandboxError(f"{item.path} is given twice for one container")
            seen.add(info.name)
            if item.directory:
                info.type = tarfile.DIRTYPE
            elif item.link:
                info.type, info.linkname = tarfile.SYMTYPE, item.link
            tar.addfile(info, io.BytesIO(item.data))
    return out.getvalue()


def put_files(name: str, files: list[File]) -> None:
    """Put files into a container that is created or runs; directories above them must be there or are made."""
    docker("cp", "-", f"{name}:/", stdin=tar_of(files))


def wanted_digest(spec: Container) -> str:
    return spec.digest(text(["docker", "image", "inspect", "-f", "{{.Id}}", spec.image]))


def is_current(spec: Container) -> bool:
    """Whether the container is there, running or not, as specified."""
    found = inspect(spec.name)
    return bool(found and (found["Config"]["Labels"] or {}).get(SPEC_LABEL) == wanted_digest(spec))


def ensure(spec: Container, steps: Steps) -> bool:
    """Make, replace or start a container so that it is as specified. True where it was started now."""
    wanted = wanted_digest(spec)
    found = inspect(spec.name)
    if found and (found["Config"]["Labels"] or {}).get(SPEC_LABEL) == wanted:
        if found["State"]["Running"]:
            return False
        with steps.step(f"starting {spec.name}, which had stopped"):
            docker("start", spec.name)
        return True
    if found:
        with steps.step(f"removing {spec.name}, which is not as it should be"):
            remove(spec.name)
    argv = ["create", "--name", spec.name, "--hostname", spec.hostname, "--network", spec.network, "--ip", spec.address]
    argv += ["--label", f"{LABEL}={spec.sandbox}", "--label", f"{SPEC_LABEL}={wanted}", *spec.options, spec.image]
    with steps.step(f"container {spec.name} ({spec.address})"):
        docker(*argv, *spec.command)
        if spec.files:
            put_files(spec.name, spec.files)
        docker("start", spec.name)
    return True


def remove(name: str) -> None:
    docker("rm", "-f", "-v", name)


def of_sandbox(sandbox: str) -> list[str]:
    names = docker("ps", "-a", "--filter", f"label={LABEL}={sandbox}", "--format", "{{.Names}}")
    return sorted(names.split())


def sandboxes(*, running: bool = False) -> Mapping[str, list[str]]:
    """All containers of ours, or those that run, by sandbox."""
    found: dict[str, list[str]] = {}
    which = [] if running else ["-a"]
    form = f'{{{{.Label "{LABEL}"}}}} {{{{.Names}}}}'
    for line in docker("ps", *which, "--filter", f"label={LABEL}", "--format", form).splitlines():
        sandbox, name = line.split()
        found.setdefault(sandbox, []).append(name)
    return found
