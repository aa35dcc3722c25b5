# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tools that the bench of the mirror compares with, each built once for a content key, in the cache."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from sandbox.build import GO_DIR, go_program
from sandbox.run import Steps, run
from sandbox.settings import cache_dir, digest

PEERS_DIR = Path(__file__).resolve().parents[1] / "tests" / "bench" / "peers"
PEERS = {
    "crane": "github.com/google/go-containerregistry/cmd/crane",
    "oras": "oras.land/oras/cmd/oras",
    "regctl": "github.com/regclient/regclient/cmd/regctl",
}
FLAGS = ("-trimpath", "-mod=readonly", "-buildvcs=false", "-ldflags", "-s -w")


def _target(name: str, module: Path, sources: list[Path]) -> Path:
    files = [module / "go.mod", module / "go.sum", *sources]
    return cache_dir() / "go-bench" / name / digest(list(FLAGS), {path.name: path.read_text() for path in files})


def _build(name: str, package: str, module: Path, target: Path) -> Path:
    """Build one program where the cache does not have it; the place of the program."""
    program = target / name
    if program.is_file():
        return program
    steps = Steps()
    go = go_program(steps)
    with steps.step(f"building {name}"):
        target.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix="build-", dir=target.parent))
        try:
            environment = {"CGO_ENABLED": "0", "GOFLAGS": "", "GOTOOLCHAIN": "local"}
            run([go, "build", *FLAGS, "-o", str(work / name), package], cwd=module, env=environment)
            work.chmod(0o755)
            work.rename(target)
        except BaseException:
            shutil.rmtree(work, ignore_errors=True)
            if not program.is_file():  # else another run was first
                raise
    return program


def peer_path(name: str) -> Path:
    """Where a peer's program is, once built."""
    return _target(name, PEERS_DIR, []) / name


def build_peer(name: str) -> Path:
    """crane, oras or regctl, at the version of tests/bench/peers/go.mod."""
    return _build(name, PEERS[name], PEERS_DIR, peer_path(name).parent)


def build_registry() -> Path:
    """The sandbox's registry, compiled as a release would be: its own build goes without inlining."""
    return _build("registry", "./registry", GO_DIR, _target("registry", GO_DIR, [GO_DIR / "registry" / "main.go"]))


def skopeo() -> Path:
    """skopeo, from the machine's packages."""
    found = shutil.which("skopeo")
    if found is None:
        subprocess.run([str(PEERS_DIR.parents[2] / "dev" / "system-packages"), "skopeo"], check=True)
        found = shutil.which("skopeo")
    if found is None:
        raise FileNotFoundError("skopeo: dev/system-packages did not install it; install the package skopeo")
    return Path(found)
