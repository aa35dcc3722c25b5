# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`make test-matrix`: unit tests, sanity and two small playbooks on each ansible-core and Python that there are here.

Reads tests/matrix/versions.yml, prints a table, and writes it to build/matrix/table.md. Environments and outputs stay
in the cache and in build/matrix.

Sanity runs once a core, and the tests of module_utils, which knows no Ansible, once a Python: with the newest core that
it can have. For each Python that a target may have, every module is imported, and targets.yml runs twice: the second
run must change nothing. controller.yml runs with each Helm, and changes something with the first one alone.

It can be run in slices (--core, --python, --only): what a row said is kept in build/matrix/rows.json, and a slice takes
the place of its own part alone.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from sandbox.build import tool_dir
from sandbox.settings import versions

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
            # One of a virtual environment (.venv) would have more libraries than a target has.
            real = [path, "-c", "import sys; sys.exit(sys.prefix != sys.base_prefix)"]
            if path.exists() and not subprocess.run(real, capture_output=True, check=False).returncode:
                found.setdefault(f"3.{minor}", str(path))
    return found


def built(version: str, source: dict[str, str]) -> dict[str, str]:
    """The interpreter that is built from source where this machine has none; nothing where that fails."""
    argv = ["dev/python", source["url"], source["sha256"]]
    made = subprocess.run(argv, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True, check=False)
    return {} if made.returncode else {version: made.stdout.strip()}


def number(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def environment_of(entry: dict[str, Any], python: str, version: str) -> Path:
    """A virtual environment with that core, our run-time requirements, and what the unit tests need."""
    core = entry["core"]
    requirements = OUT / f"requirements-{core}.txt"
    pin = f"ansible-core~={core}.0{'rc1' if entry.get('prerelease') else ''}"
    wanted = [pin, "pytest", "cyclonedx-python-lib[json-validation]", (CHECKOUT / "requirements.txt").read_text()]
    if number(version) < (3, 11):
        wanted.append("tomli")  # what Python has as tomllib since then
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
    targets: str = ""
    helm: str = ""
    note: str = ""

    @property
    def well(self) -> bool:
        return not any("failed" in said for said in (self.units, self.sanity, self.targets, self.helm))

    def cells(self) -> list[str]:
        said = [self.units, self.sanity, self.targets, self.helm, self.note]
        return [self.core, self.python, self.kubernetes_core, *said]


PARTS = ("units", "targets", "helm", "sanity")
HEAD = ["ansible-core", "Python", "kubernetes.core", "units", "sanity", "target Pythons", "Helm", "note"]


@dataclass
class Matrix:
    wanted: dict[str, Any]
    here: dict[str, str]
    helms: dict[str, str]
    parts: list[str]

    def rows(self, cores: list[str], versions: list[str], quick: bool) -> Iterator[Row]:
        for entry in self.wanted["cores"]:
            core = entry["core"]
            if cores and core not in cores:
                continue
            there = [version for version in entry["controller"] if version in self.here]
            for version in entry["controller"]:
                if versions and version not in versions:
                    continue
                if version not in there:
                    yield Row(core, version, note="this Python is not on this machine")
                elif not quick or version == there[-1]:
                    yield self.row(entry, version, sanity=version == there[-1])

    def row(self, entry: dict[str, Any], version: str, sanity: bool) -> Row:
        """Newest Python of a core: the newest kubernetes.core and sanity too; the others: the oldest declared one."""
        core = entry["core"]
        row = Row(core, version)
        try:
            venv = environment_of(entry, self.here[version], version)
            release = self.wanted["collections"]["newest" if sanity else "oldest"]["ansible"]
            collections, row.kubernetes_core = collections_of(release)
        except MissingError as error:
            return Row(core, version, note=str(error))
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
            argv = [str(venv / "bin" / "python"), "-m", "pytest", "-q", "-rfEs", "tests/unit/plugins"]
            whole = self.newest_core_of(version) == core
            argv += [] if whole else ["--ignore=tests/unit/plugins/module_utils"]
            row.units = "passed" if run(argv, logs["units"], tools) else "failed"
            row.units += " (with module_utils)" if whole else ""
        if "targets" in self.parts:
            row.targets = self.targets(entry, venv, tools, logs["targets"])
        if "helm" in self.parts:
            row.helm = self.with_helms(venv, tools, logs["helm"])
        if sanity and "sanity" in self.parts:
            row.sanity = "passed" if run(["dev/sanity"], logs["sanity"], {"SANITY_VENV": str(venv)}) else "failed"
        if any("DEPRECATION WARNING" in log.read_text() for log in logs.values() if log.exists()):
            row.note = "deprecation warnings; see the log"
        return row

    def newest_core_of(self, python: str) -> str:
        """The newest released ansible-core that runs on that Python."""
        cores = [entry for entry in self.wanted["cores"] if python in entry["controller"]]
        return str([entry["core"] for entry in cores if not entry.get("prerelease")][-1])

    def targets(self, entry: dict[str, Any], venv: Path, tools: dict[str, str], log: Path) -> str:
        """On which target Pythons every module can be imported, and the playbook of targets runs."""
        oldest = max(number(entry["target_min"]), number(self.wanted["target_min"]))
        newest = number(entry["controller"][-1])
        said = {}
        for version, path in self.here.items():
            if not oldest <= number(version) <= newest:
                continue
            scratch = emptied(OUT / "scratch")
            # Of what the controller has, a target sees ansible alone.
            (scratch / "ansible").symlink_to(next(venv.glob("lib/python*/site-packages/ansible")))
            place = {"PYTHONPATH": f"{scratch}:{tools['ANSIBLE_COLLECTIONS_PATH']}", "PYTHONDONTWRITEBYTECODE": "1"}
            modules = sorted(path.stem for path in (CHECKOUT / "plugins" / "modules").glob("*.py"))
            names = [f"ansible_collections.airgap.speech.plugins.modules.{name}" for name in modules]
            code = f"import importlib; [importlib.import_module(name) for name in {names}]"
            variables = json.dumps({"scratch": str(scratch), "target_python": path})
            argv = [str(venv / "bin" / "ansible-playbook"), "tests/matrix/targets.yml", "-i", "localhost,"]
            argv += ["-e", variables]
            first = run([path, "-W", "error::DeprecationWarning:ansible_collections", "-c", code], log, place)
            first = first and run(argv, log, tools)
            said[version] = first and run(argv, log, tools) and changed_nothing(log)
        return passed_and_failed(said)

    def with_helms(self, venv: Path, tools: dict[str, str], log: Path) -> str:
        """With which Helms the playbook of the controller runs."""
        said = {}
        scratch = emptied(OUT / "scratch")
        for version, path in self.helms.items():
            argv = [str(venv / "bin" / "ansible-playbook"), "tests/matrix/controller.yml", "-i", "localhost,"]
            well = run([*argv, "-e", json.dumps({"helm": path, "scratch": str(scratch)})], log, tools)
            said[version] = well and (not said or changed_nothing(log))
        return passed_and_failed(said)


def emptied(place: Path) -> Path:
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    return place


def changed_nothing(log: Path) -> bool:
    """Whether the last playbook in the log changed nothing."""
    return "changed=0" in log.read_text().rsplit("PLAY RECAP", 1)[-1]


def passed_and_failed(said: dict[str, bool]) -> str:
    """Such as `3.9, 3.10; failed: 3.11`."""
    passed, failed = (", ".join(name for name, well in said.items() if well is wanted) for wanted in (True, False))
    return passed + (f"; failed: {failed}" if failed else "")


def helms() -> dict[str, str]:
    """The oldest and the newest Helm 3, and Helm 4, by version."""
    found = {}
    for tool in ("helm3-oldest", "helm3", "helm"):
        subprocess.run([sys.executable, "-m", "sandbox", "build", tool], cwd=CHECKOUT, stdout=sys.stderr, check=True)
        found[versions()["go"][tool]["module_version"].removeprefix("v")] = str(tool_dir(tool) / "helm")
    return found


def rows_of(kept: Path) -> dict[str, Row]:
    """What was said of each core and Python, by a name such as `2.21 3.14`."""
    return {key: Row(**said) for key, said in (json.loads(kept.read_text()) if kept.exists() else {}).items()}


def keep(kept: Path, row: Row, parts: list[str]) -> Row:
    """Keep what a slice says of its parts, beside what others said; the whole row."""
    # Read again at each row: another slice may have written meanwhile. 2.21.3 and 2.21.4 are one row.
    rows = rows_of(kept)
    key = f"{'.'.join(row.core.split('.')[:2])} {row.python}"
    there = rows.get(key, row)
    rows[key] = replace(row, **{part: getattr(there, part) for part in PARTS if part not in parts})
    kept.write_text(json.dumps({key: asdict(value) for key, value in sorted(rows.items())}, indent=2) + "\n")
    return rows[key]


def table(rows: list[Row]) -> str:
    lines = [HEAD, ["---"] * len(HEAD), *(row.cells() for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--core", action="append", default=[], help="only this one, such as 2.16; may be repeated")
    parser.add_argument("--python", action="append", default=[], help="only this one, such as 3.10; may be repeated")
    parser.add_argument("--quick", action="store_true", help="only the newest Python of each core")
    parser.add_argument("--only", action="append", default=[], choices=PARTS, help="only this part; may be repeated")
    options = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    wanted = yaml.safe_load((CHECKOUT / "tests" / "matrix" / "versions.yml").read_text())
    kept = OUT / "rows.json"
    rows = []
    parts = options.only or list(PARTS)
    here = pythons()
    for version, source in wanted["sources"].items():
        here |= {} if version in here else built(version, source)
    matrix = Matrix(wanted, here, helms() if "helm" in parts else {}, parts)
    for said in matrix.rows(options.core, options.python, options.quick):
        row = keep(kept, said, parts)
        print(f"| {' | '.join(row.cells())} |", flush=True)
        rows.append(row)
    before = rows_of(kept)
    every = [before[key] for key in sorted(before, key=lambda key: [number(part) for part in key.split()])]
    (OUT / "table.md").write_text(table(every))
    print(f"\n{table(every)}\nlogs: build/matrix/*.log")
    tried = any(getattr(row, part) for row in rows for part in parts)
    return 0 if tried and all(row.well for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
