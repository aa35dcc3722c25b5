# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Root file systems made of Debian packages, in the cache, and the engine's images of them."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from sandbox.run import Steps, as_root, run
from sandbox.settings import ROOT, cache_dir, digest, versions

MIRROR = "http://deb.debian.org"
TAGS = {"debian": "airgap-sandbox/debian:12"}
# What a container does not need of a package: documentation, translations.
WITHOUT = ["/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*", "/usr/share/lintian/*"]


def recipe(kind: str) -> dict[str, object]:
    data = versions()
    script = ROOT / "files" / f"rootfs-{kind}.sh"
    return {
        "recipe": data["recipe"],
        "suite": data["debian"]["suite"],
        "packages": data["rootfs"][kind]["packages"],
        "script": script.read_text() if script.exists() else "",
        "without": WITHOUT,
    }


def rootfs_tar(kind: str, steps: Steps) -> Path:
    """The tar of a root file system; made where the cache does not have it."""
    made = recipe(kind)
    target = cache_dir() / "rootfs" / f"{kind}-{digest(made)}.tar"
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with steps.step(f"root file system `{kind}` from Debian packages"):
        handle, partial = tempfile.mkstemp(prefix=f"{kind}-", suffix=".tar", dir=target.parent)
        os.close(handle)
        suite = str(made["suite"])
        argv = ["mmdebstrap", "--quiet", "--variant=minbase", "--format=tar"]
        argv += [f"--dpkgopt=path-exclude={pattern}" for pattern in WITHOUT]
        argv += ["--dpkgopt=path-include=/usr/share/doc/*/copyright", '--aptopt=Acquire::Languages "none"']
        packages = versions()["rootfs"][kind]["packages"]
        if packages:
            argv.append("--include=" + ",".join(packages))
        if made["script"]:
            argv.append(f'--customize-hook={ROOT}/files/rootfs-{kind}.sh "$1"')
        argv += [suite, partial]
        argv += [f"deb {MIRROR}/debian {suite} main", f"deb {MIRROR}/debian {suite}-updates main"]
        argv += [f"deb {MIRROR}/debian-security {suite}-security main"]
        try:
            run(as_root(argv), env={"LC_ALL": "C.UTF-8"})
            os.replace(partial, target)
        finally:
            Path(partial).unlink(missing_ok=True)
    return target


def image_tag(kind: str) -> str:
    return f"airgap-sandbox/{kind}:{digest(recipe(kind))}"


def engine_image(kind: str, steps: Steps) -> str:
    """The engine's image of a root file system; imported where the engine does not have it."""
    from sandbox.containers import docker, has_image

    tag = image_tag(kind)
    if not has_image(tag):
        tar = rootfs_tar(kind, steps)
        with steps.step(f"image {tag}"):
            changes = ["ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 'CMD ["/bin/sh"]']
            docker("import", *(f"--change={change}" for change in changes), str(tar), tag)
    if kind in TAGS:
        docker("tag", tag, TAGS[kind])
    return tag
