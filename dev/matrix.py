# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`make test-matrix`: unit tests, sanity and a small playbook on each ansible-core and Python that there are here.

Reads tests/matrix/versions.yml, prints a table, and writes it to build/matrix/table.md. Environments and outputs stay
in the cache and in build/matrix. Sanity runs once a core; the playbook runs twice for each Python that a target may
have, and the second run must change nothing. It can be run in slices (--core, --only): what a row said is kept in
build/matrix/rows.json, and a slice takes the place of its own part alone.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

CHECKOUT = Path(__file__).resolve().parents[1]
CACHE = Path(os.environ.get("AIRGAP_SPEECH_CACHE") or Path.home() / ".cache" / "airgap-speech")
OUT = CHECKOUT / "build" / "matrix"
DEPENDENCIES = ("kubernetes/core", "ansible/posix")


class MissingError(Exception):
    """Something that this machine, or its package index, does not have."""


def run(argv: list[str], log: Path, environment: dict[str, str] | None = None) -> bool:
    """Runs argv in the checkout; what it printed goes to the end of the log."""
    with log.open("a") as out:
        out.write(f"$ {' '.join(argv)}\n")
        out.flush()
        done = subprocess.run(
            argv, cwd=CHECKOUT, env={**os.environ, **(environment or {})}, stdout=out, stderr=out, check=False
        )
    return done.returncode == 0


def pythons() -> dict[str, str]:
    """The interpreters of this machine, by version: those on PATH and those of pyenv."""
    places = [*os.environ["PATH"].split(":"), *map(str, (Path.home() / ".pyenv" / "versions").glob("*/bin"))]
    found: dict[str, str] = {}
    for minor in range(6, 20):
        for place in places:
            path = Path(place) / f"python3.{minor}"
            works = path.exists() and not subprocess.run([path, "-c", ""], capture_output=True, check=False).returncode
            if works:
                found.setdefault(f"3.{minor}", str(path))
    return found


def number(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def environment_of(entry: dict[str, Any], python: str, version: str) -> Path:
    """A virtual environment with that core, our run-time requirements and pytest."""
    core = entry["core"]
    requirements = OUT / f"requirements-{core}.txt"
    pin = f"ansible-core~={core}.0{'rc1' if entry.get('prerelease') else ''}"
    wanted = [pin, "pytest", (CHECKOUT / "requirements.txt").read_text()]
    requirements.write_text("\n".join(wanted))
    argv = [str(CHECKOUT / "dev" / "tool-venv"), f"core-{core}-{version}", str(requirements), python]
    made = subprocess.run(argv, capture_output=True, text=True, check=False)
    if made.returncode:
        lines = [line for line in made.stderr.splitlines() if "ERROR" in line] or made.stderr.splitlines()
        raise MissingError(f"cannot be installed here: {lines[-1] if lines else 'no reason given'}")
    return Path(made.stdout.strip())


def collections_of(ansible: str) -> tuple[Path, str]:
    """The collections of a release of PyPI's ansible, with ours beside them; and the version of kubernetes.core."""
    root = OUT / f"collections-{ansible}"
    place = root / "ansible_collections"
    if not (place / "kubernetes" / "core" / "MANIFEST.json").is_file():
        wheels = CACHE / "wheels"
        wheels.mkdir(parents=True, exist_ok=True)
        argv = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        argv += ["--python-version=3.13", f"--dest={wheels}", f"ansible=={ansible}"]
        if not run(argv, OUT / "collections.log"):
            raise MissingError(f"ansible {ansible} cannot be downloaded; see build/matrix/collections.log")
        shutil.rmtree(root, ignore_errors=True)
        with zipfile.ZipFile(next(wheels.glob(f"ansible-{ansible}-*.whl"))) as wheel:
            wanted = tuple(f"ansible_collections/{name}/" for name in DEPENDENCIES)
            wheel.extractall(root, [name for name in wheel.namelist() if name.startswith(wanted)])
        (place / "airgap").mkdir()
        (place / "airgap" / "speech").symlink_to(CHECKOUT)
    manifest = json.loads((place / "kubernetes" / "core" / "MANIFEST.json").read_text())
    return root, str(manifest["collection_info"]["version"])


@dataclass
class Row:
    """One line of the table; what was not tried is empty."""

    core: str
    python: str
    kubernetes_core: str = ""
    units: str = ""
    sanity: str = ""
    playbook: str = ""
    note: str = ""
    seconds: float = 0.0

    @property
    def well(self) -> bool:
        return not any("failed" in said for said in (self.units, self.sanity, self.playbook))

    def cells(self) -> list[str]:
        said = [self.core, self.python, self.kubernetes_core, self.units, self.sanity, self.playbook, self.note]
        return [*said, f"{self.seconds:.0f} s"]


PARTS = ("units", "playbook", "sanity")
HEAD = ["ansible-core", "Python", "kubernetes.core", "units", "sanity", "playbook, by target Python", "note", "took"]


@dataclass
class Matrix:
    wanted: dict[str, Any]
    here: dict[str, str]
    helm: str
    parts: list[str]
    before: dict[str, Row]

    def rows(self, cores: list[str], quick: bool) -> Iterator[Row]:
        for entry in self.wanted["cores"]:
            core = entry["core"]
            if cores and core not in cores:
                continue
            there = [version for version in entry["controller"] if version in self.here]
            for version in entry["controller"]:
                if version not in self.here:
                    yield Row(core, version, note="this Python is not on this machine")
            for version in [there[-1]] if quick and there else there:
                yield self.row(entry, version, sanity=version == there[-1])

    def row(self, entry: dict[str, Any], version: str, sanity: bool) -> Row:
        """Newest Python of a core: the newest kubernetes.core and sanity too; the others: the oldest declared one."""
        core, started = entry["core"], time.monotonic()
        row = Row(core, version)
        if set(self.parts) < set(PARTS):
            row = self.before.get(f"{core} {version}", row)
        row.note = ""
        try:
            venv = environment_of(entry, self.here[version], version)
            release = self.wanted["collections"]["newest" if sanity else "oldest"]["ansible"]
            collections, row.kubernetes_core = collections_of(release)
        except MissingError as error:
            row.note = str(error)
            return row
        installed = subprocess.run(
            [venv / "bin" / "ansible", "--version"], capture_output=True, text=True, check=True
        ).stdout
        match = re.search(r"core (\S+?)\]", installed)
        row.core = match[1] if match else core
        tools = {
            "PATH": f"{venv / 'bin'}:{os.environ['PATH']}",
            "ANSIBLE_COLLECTIONS_PATH": str(collections),
            "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"),
            "ANSIBLE_NOCOLOR": "1",
        }
        logs = {part: OUT / f"{core}-{version}-{part}.log" for part in PARTS}
        for part in self.parts:
            logs[part].unlink(missing_ok=True)
        if "units" in self.parts:
            # The plugins alone: the rest of tests/unit wants the newest core, and what it tests does not depend on it.
            argv = [str(venv / "bin" / "python"), "-m", "pytest", "-q", "tests/unit/plugins"]
            row.units = "passed" if run(argv, logs["units"], tools) else "failed"
        if "playbook" in self.parts:
            row.playbook = self.playbook(entry, venv, tools, logs["playbook"])
        if sanity and "sanity" in self.parts:
            row.sanity = "passed" if run(["dev/sanity"], logs["sanity"], {"SANITY_VENV": str(venv)}) else "failed"
        if any("DEPRECATION WARNING" in log.read_text() for log in logs.values() if log.exists()):
            row.note = "deprecation warnings; see the log"
        row.seconds += time.monotonic() - started
        return row

    def playbook(self, entry: dict[str, Any], venv: Path, tools: dict[str, str], log: Path) -> str:
        """Which target Pythons the small playbook ran on."""
        oldest = max(number(entry["target_min"]), number(self.wanted["target_min"]))
        newest = number(entry["controller"][-1])
        passed, failed = [], []
        for version, path in self.here.items():
            if not oldest <= number(version) <= newest:
                continue
            scratch = OUT / "scratch"
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir()
            variables = {"scratch": str(scratch), "helm": self.helm, "target_python": path}
            argv = [str(venv / "bin" / "ansible-playbook"), "tests/matrix/playbook.yml", "-i", "localhost,"]
            argv += ["-e", json.dumps(variables)]
            first = run(argv, log, tools)
            second = first and run(argv, log, tools)
            still = second and "changed=0" in log.read_text().rsplit("PLAY RECAP", 1)[-1]
            (passed if still else failed).append(version)
        return ", ".join(passed) + (f"; failed: {', '.join(failed)}" if failed else "")


def table(rows: list[Row]) -> str:
    lines = [HEAD, ["---"] * len(HEAD), *(row.cells() for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--core", action="append", default=[], help="only this one, such as 2.16; may be repeated")
    parser.add_argument("--quick", action="store_true", help="only the newest Python of each core")
    parser.add_argument("--only", action="append", default=[], choices=PARTS, help="only this part; may be repeated")
    options = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    built = subprocess.run(
        [sys.executable, "-m", "sandbox", "build", "helm"], cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    helm = f"{built.stdout.split()[-1]}/helm"
    wanted = yaml.safe_load((CHECKOUT / "tests" / "matrix" / "versions.yml").read_text())
    kept = OUT / "rows.json"
    before = {key: Row(**said) for key, said in (json.loads(kept.read_text()) if kept.exists() else {}).items()}
    rows = []
    for row in Matrix(wanted, pythons(), helm, options.only or list(PARTS), before).rows(options.core, options.quick):
        print(f"| {' | '.join(row.cells())} |", flush=True)
        rows.append(row)
        # The core by its first two numbers: 2.21.3 and 2.21.4 are one row.
        before[f"{'.'.join(row.core.split('.')[:2])} {row.python}"] = row
        kept.write_text(json.dumps({key: asdict(value) for key, value in sorted(before.items())}, indent=2) + "\n")
    every = [before[key] for key in sorted(before, key=lambda key: [number(part) for part in key.split()])]
    (OUT / "table.md").write_text(table(every))
    print(f"\n{table(every)}\nlogs: build/matrix/*.log")
    bad = [row for row in rows if not row.well]
    return 1 if bad or not any(row.units for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
