# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ways that users install and call the collection, from the tarball and from the checkout."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
import yaml

CHECKOUT = Path(__file__).resolve().parents[2]
ROLES = sorted(path.name for path in (CHECKOUT / "roles").iterdir() if path.is_dir())
PLAYBOOKS = sorted(path.stem for path in (CHECKOUT / "playbooks").glob("*.yml"))
INVENTORY = CHECKOUT / "inventories" / "single_node"


class Elsewhere:
    """A directory away from the checkout, whose collections are those that were installed into it."""

    def __init__(self, root: Path, environment: dict[str, str]) -> None:
        self.root = root
        self.work = root / "work"
        self.collections = root / "collections"
        self.environment = {key: value for key, value in environment.items() if not key.startswith("ANSIBLE_")}
        self.environment.update(HOME=str(root), ANSIBLE_COLLECTIONS_PATH=str(self.collections), ANSIBLE_NOCOLOR="1")

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Without a terminal, so that whoever asks gets no answer."""
        return subprocess.run(
            argv,
            cwd=self.work,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture(scope="module")
def elsewhere(tarball: Path, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Elsewhere:
    """The tarball, installed offline beside the dependencies, which lie there already."""
    root = tmp_path_factory.mktemp("elsewhere")
    place = Elsewhere(root, environment)
    place.work.mkdir()
    there = CHECKOUT / "build" / "collections" / "ansible_collections"
    for name in ("kubernetes/core", "ansible/posix"):
        shutil.copytree(there / name, place.collections / "ansible_collections" / name)
    done = place.run("ansible-galaxy", "collection", "install", "--offline", str(tarball), "-p", str(place.collections))
    assert done.returncode == 0, done.stdout + done.stderr
    shutil.copytree(INVENTORY, place.work / "inventory")
    return place


def test_it_is_what_was_installed(elsewhere: Elsewhere) -> None:
    installed = elsewhere.collections / "ansible_collections" / "airgap" / "speech"
    assert (installed / "MANIFEST.json").is_file()
    assert not (installed / "sandbox").exists() and not (installed / "dev").exists()
    listed = elsewhere.run("ansible-galaxy", "collection", "verify", "--offline", "airgap.speech")
    assert listed.returncode == 0, listed.stdout + listed.stderr


def test_a_missing_dependency_is_named(tarball: Path, elsewhere: Elsewhere, tmp_path: Path) -> None:
    done = elsewhere.run("ansible-galaxy", "collection", "install", "--offline", str(tarball), "-p", str(tmp_path))
    assert done.returncode == 0, done.stderr  # what lies on the collections path counts
    elsewhere_else = {**elsewhere.environment, "ANSIBLE_COLLECTIONS_PATH": str(tmp_path / "empty")}
    argv = ["ansible-galaxy", "collection", "install", "--offline", str(tarball), "-p", str(tmp_path / "empty")]
    done = subprocess.run(argv, env=elsewhere_else, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0 and "kubernetes.core" in done.stderr


@pytest.mark.parametrize("look", ["--syntax-check", "--list-tasks", "--list-hosts"])
def test_every_playbook_by_its_name(elsewhere: Elsewhere, look: str) -> None:
    names = [f"airgap.speech.{name}" for name in PLAYBOOKS]
    done = elsewhere.run("ansible-playbook", *names, "-i", "inventory", look)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [Path(name).stem for name in re.findall(r"^playbook: (\S+)", done.stdout, re.M)] == PLAYBOOKS
    assert "DEPRECATION" not in done.stderr, done.stderr


def test_every_role_by_its_name(elsewhere: Elsewhere) -> None:
    plays = [{"hosts": "bastion", "gather_facts": False, "roles": [f"airgap.speech.{role}"]} for role in ROLES]
    (elsewhere.work / "roles.yml").write_text(yaml.safe_dump(plays))
    done = elsewhere.run("ansible-playbook", "roles.yml", "-i", "inventory", "--list-tasks")
    assert done.returncode == 0, done.stdout + done.stderr
    for role in ROLES:
        assert f"airgap.speech.{role} : " in done.stdout, role


def test_the_documentation_of_every_role_and_module(elsewhere: Elsewhere) -> None:
    """ansible-doc reads it out of what was installed."""
    modules = sorted(path.stem for path in (CHECKOUT / "plugins" / "modules").glob("*.py"))
    for kind, names in (("role", ROLES), ("module", modules)):
        done = elsewhere.run("ansible-doc", "-t", kind, "--list", "airgap.speech")
        assert done.returncode == 0, done.stderr
        for name in names:
            assert f"airgap.speech.{name}" in done.stdout, name


def test_nothing_asks(tarball: Path) -> None:
    """No playbook of the tarball has a prompt or waits for a key."""
    with tarfile.open(tarball) as archive:
        names = [name for name in archive.getnames() if re.match(r"(playbooks|roles/[^/]+/tasks)/.*\.yml$", name)]
        assert names
        for name in names:
            handle = archive.extractfile(name)
            text = handle.read().decode() if handle else ""
            assert not re.search(r"vars_prompt|ansible\.builtin\.pause", text), name


def test_site_from_the_checkout(environment: dict[str, str]) -> None:
    argv = ["ansible-playbook", "site.yml", "-i", str(INVENTORY), "--syntax-check"]
    done = subprocess.run(argv, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_file_is_writable_by_others(tarball: Path) -> None:
    with tarfile.open(tarball) as archive:
        loose = [member.name for member in archive.getmembers() if member.mode & 0o022]
    assert not loose
    assert os.path.getsize(tarball) < 20 * 1024 * 1024
