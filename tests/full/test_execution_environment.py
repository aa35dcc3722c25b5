# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The execution environment's definition is complete: with what it names, a clean Debian runs playbooks.

Nothing but Debian's python3 and what ansible-builder reads from the collections is installed there (make test-full).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

CHECKOUT = Path(__file__).resolve().parents[2]
BIN = CHECKOUT / ".venv" / "bin"
COLLECTIONS = "usr/share/ansible/collections"
SUITE = "bookworm"


def run(*argv: str | Path, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(argv, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{argv}\n{done.stdout}{done.stderr}"
    return done.stdout


class Clean:
    """The clean root, and commands in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        names = ("PIP_", "SSL_CERT", "REQUESTS_CA")
        self.environment = {key: value for key, value in os.environ.items() if key.startswith(names)}
        self.environment.update(PATH="/opt/ee/bin:/usr/bin:/usr/sbin:/bin:/sbin", HOME="/root", LC_ALL="C.UTF-8")

    def run(self, *argv: str) -> str:
        return run("chroot", self.root, *argv, environment=self.environment)

    def trust(self) -> None:
        """Names and certificates of this machine, where it has its own: packages come from its index."""
        shutil.copy("/etc/resolv.conf", self.root / "etc" / "resolv.conf")
        for path in {value for value in self.environment.values() if value.startswith("/") and Path(value).is_file()}:
            (self.root / path.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, self.root / path.lstrip("/"))


@pytest.fixture(scope="module")
def requirements(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What ansible-builder finds in ours and in the collections that it depends on."""
    place = tmp_path_factory.mktemp("collections")
    there = CHECKOUT / "build" / "collections" / "ansible_collections"
    for name in ("kubernetes/core", "ansible/posix"):
        shutil.copytree(there / name, place / "ansible_collections" / name)
    tarball = run(CHECKOUT / "dev" / "tarball").strip()
    root = place / "ansible_collections" / "airgap" / "speech"
    root.mkdir(parents=True)
    run("tar", "-xzf", tarball, "-C", root)
    found = yaml.safe_load(run(BIN / "ansible-builder", "introspect", place))
    return {"python": found["python"], "system": found["system"], "place": [str(place)]}


@pytest.fixture(scope="module")
def clean(requirements: dict[str, list[str]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clean]:
    root = tmp_path_factory.mktemp("root") / "clean"
    run("dev/system-packages", "mmdebstrap")
    run("mmdebstrap", "--quiet", "--variant=minbase", "--include=python3,python3-venv", SUITE, root)
    place = Clean(root)
    place.trust()
    packages = [line.split()[0] for line in requirements["system"] if "platform:dpkg" in line or "[" not in line]
    assert packages, "the definition names no Debian package"
    place.run("apt-get", "-qq", "update")
    place.run("apt-get", "-qq", "install", "--yes", "--no-install-recommends", *sorted(set(packages)))
    place.run("python3", "-m", "venv", "/opt/ee")
    (root / "opt" / "python.txt").write_text("\n".join(requirements["python"]) + "\n")
    place.run("pip", "install", "--quiet", "ansible-core", "--requirement", "/opt/python.txt")
    shutil.copytree(Path(requirements["place"][0]) / "ansible_collections", root / COLLECTIONS / "ansible_collections")
    shutil.copytree(CHECKOUT / "inventories" / "single_node", root / "root" / "inventory")
    shutil.copytree(CHECKOUT / "tests" / "full" / "environment", root / "root" / "environment")
    yield place
    shutil.rmtree(root)


def test_requirements_are_named(requirements: dict[str, list[str]]) -> None:
    for name in ("kubernetes", "jmespath", "docker", "cryptography", "bcrypt"):
        assert any(line.lower().startswith(name.lower()) for line in requirements["python"]), name
    assert any(line.startswith("openssh-client") for line in requirements["system"])


def test_every_playbook_is_understood(clean: Clean) -> None:
    names = [f"airgap.speech.{path.stem}" for path in sorted((CHECKOUT / "playbooks").glob("*.yml"))]
    clean.run("ansible-playbook", *names, "-i", "/root/inventory", "--syntax-check")


def test_a_playbook_runs(clean: Clean) -> None:
    """Modules that need every one of the requirements do their work; a second run changes nothing."""
    argv = ["ansible-playbook", "/root/environment/playbook.yml", "-i", "localhost,"]
    first = clean.run(*argv)
    assert "failed=0" in first, first
    again = clean.run(*argv)
    assert "changed=0" in again and "failed=0" in again, again


def test_what_is_missing_is_named(clean: Clean) -> None:
    """Without a package, the module says which, and where it looked."""
    clean.run("pip", "uninstall", "--quiet", "--yes", "bcrypt")
    argv = ["chroot", clean.root, "ansible", "localhost", "-m", "airgap.speech.htpasswd", "-a"]
    users = json.dumps({"path": "/tmp/users", "users": [{"username": "a", "password_file": "/root/secrets/push"}]})
    done = subprocess.run([*argv, users], env=clean.environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "Failed to import the required Python library (bcrypt)" in done.stdout + done.stderr, done.stdout
