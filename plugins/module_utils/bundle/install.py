# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a controller out of a verified bundle: an environment, collections, tools and the commands that use them.

Everything of one version lies in a directory of its own, named after its content, which counts only when its marker is
there; the names that users know are links and small scripts that point to it.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import shlex
import shutil
import sys
import tarfile
import tempfile
from typing import Callable

from ansible_collections.airgap.speech.plugins.module_utils.bundle.archive import unpack_tar_gz
from ansible_collections.airgap.speech.plugins.module_utils.bundle.lock import File, Lock

FORMAT = "controller/v1"
MARKER = "complete.json"
COMMANDS = (
    "ansible",
    "ansible-config",
    "ansible-console",
    "ansible-doc",
    "ansible-galaxy",
    "ansible-inventory",
    "ansible-playbook",
    "ansible-vault",
)

ANSIBLE_CFG = """\
# Written by setup.sh of the bundle. An ansible.cfg in the working directory, or ANSIBLE_CONFIG, takes its place.
[defaults]
interpreter_python = auto_silent
retry_files_enabled = false
nocows = true
# A task that has nothing to do with this site is not worth a line. ANSIBLE_DISPLAY_SKIPPED_HOSTS=true shows them.
display_skipped_hosts = false
# All versions here came with the bundle: what a later one will do otherwise is for its makers.
deprecation_warnings = false
forks = 20
host_key_checking = true

[connection]
pipelining = true

[ssh_connection]
pipelining = true
ssh_args = -o ControlMaster=auto -o ControlPersist=120s
"""

WRAPPER = """\
#!/bin/sh
# Written by setup.sh of the bundle: {name} of the controller in {root}.
PATH={root}/bin:$PATH
export PATH
ANSIBLE_COLLECTIONS_PATH={root}/collections${{ANSIBLE_COLLECTIONS_PATH:+:$ANSIBLE_COLLECTIONS_PATH}}
export ANSIBLE_COLLECTIONS_PATH
if [ -z "${{ANSIBLE_CONFIG:-}}" ] && [ ! -f ansible.cfg ]; then
    ANSIBLE_CONFIG={root}/ansible.cfg
    export ANSIBLE_CONFIG
fi
exec {venv}/bin/{name} "$@"
"""

Run = Callable[[list[str]], "tuple[int, str, str]"]
Say = Callable[[str], None]


class InstallError(Exception):
    """The controller cannot be made: the thing, the cause and the next step."""


class Installer:
    """Puts one bundle's controller below a prefix."""

    def __init__(self, bundle: str, lock: Lock, prefix: str, run: Run, say: Say, signers: str = "") -> None:
        self.bundle = os.path.abspath(bundle)
        self.lock = lock
        self.prefix = os.path.abspath(prefix)
        self.run = run
        self.say = say
        self.signers = signers
        self.python = os.path.realpath(sys.executable)
        self.version = "{}.{}".format(*sys.version_info[:2])
        self.home = os.path.join(self.prefix, "controllers", self.key())

    def key(self) -> str:
        """Names what is installed: the content, the Python and where it goes."""
        parts = [FORMAT, self.python, self.version, self.prefix]
        parts += sorted(f"{item.path} {item.digest}" for item in self.wanted())
        return hashlib.sha256("\n".join(parts).encode("utf-8")).hexdigest()[:16]

    def wanted(self) -> list[File]:
        """The files of the bundle that it installs from."""
        return [item for item in self.lock.files if item.kind in ("tool", "wheel", "collection")]

    def install(self) -> bool:
        """Returns whether anything had to be done."""
        changed = False
        if self.complete():
            self.say(f"controller: {self.home} is complete")
        else:
            changed = True
            self._make()
        return self._point() or changed

    # -- one version -------------------------------------------------------------------------------------------

    def complete(self) -> bool:
        """Whether this version is installed: the marker is there, and every file that it lists."""
        try:
            with open(os.path.join(self.home, MARKER), encoding="utf-8") as handle:
                listed = json.load(handle)
        except (OSError, ValueError):
            return False
        if not isinstance(listed, dict):
            return False
        for name, size in listed.items():
            try:
                if os.lstat(os.path.join(self.home, name)).st_size != size:
                    return False
            except OSError:
                return False
        return True

    def _make(self) -> None:
        if os.path.isdir(self.home):
            self.say("controller: removing an incomplete one")
            shutil.rmtree(self.home)
        free = shutil.disk_usage(self._above()).free
        need = 6 * sum(item.size for item in self.wanted() if item.kind != "tool")
        need += sum(item.size for item in self.wanted() if item.kind == "tool")
        if free < need:
            raise InstallError(
                f"{self.prefix}: {free >> 20} MB are free, the controller needs about {need >> 20} MB; free "
                f"some, or choose another --prefix"
            )
        os.makedirs(self.home)
        self._environment()
        self._collections()
        self._tools()
        listed = {}
        for folder, folders, names in os.walk(self.home):
            folders[:] = [name for name in folders if name != "__pycache__"]
            for name in names:
                full = os.path.join(folder, name)
                listed[os.path.relpath(full, self.home)] = os.lstat(full).st_size
        _write(os.path.join(self.home, MARKER), json.dumps(listed, sort_keys=True))

    def _above(self) -> str:
        path = self.prefix
        while not os.path.isdir(path):
            path = os.path.dirname(path)
        return path

    def _environment(self) -> None:
        """A virtual environment made by hand: distributions leave out the module, or pip, that others would need."""
        venv = os.path.join(self.home, "venv")
        site = os.path.join(venv, "lib", "python" + self.version, "site-packages")
        os.makedirs(site)
        os.makedirs(os.path.join(venv, "bin"))
        for name in ("python", "python3", "python" + self.version):
            os.symlink(self.python, os.path.join(venv, "bin", name))
        _write(
            os.path.join(venv, "pyvenv.cfg"),
            "home = {}\ninclude-system-site-packages = false\nversion = {}\n".format(
                os.path.dirname(self.python), "{}.{}.{}".format(*sys.version_info[:3])
            ),
        )
        wheels = os.path.join(self.bundle, "files", "wheels")
        pip = sorted(glob.glob(os.path.join(wheels, "pip-*.whl")))
        if not pip:
            raise InstallError("files/wheels: holds no pip wheel; make the bundle again")
        self.say("controller: installing {} wheels".format(len(glob.glob(os.path.join(wheels, "*.whl")))))
        argv = [os.path.join(venv, "bin", "python"), "-I", os.path.join(pip[-1], "pip"), "install"]
        argv += ["--quiet", "--no-input", "--isolated", "--no-index", "--no-deps", "--require-hashes", "--no-compile"]
        argv += ["--no-cache-dir", "--disable-pip-version-check", "--find-links", wheels]
        argv += ["--requirement", os.path.join(wheels, "requirements.txt")]
        rc, out, err = self.run(argv)
        if rc != 0:
            lines = [line for line in (err or out).splitlines() if line.strip()]
            wanted = [item.reason for item in self.lock.files if item.path == "files/wheels/requirements.txt"]
            raise InstallError(
                "controller: pip could not install the wheels ({}); this machine has Python {}, the bundle "
                "was made for: {}".format(" / ".join(lines[-3:]), self.version, "".join(wanted) or "unknown")
            )

    def _collections(self) -> None:
        root = os.path.join(self.home, "collections", "ansible_collections")
        for item in self.wanted():
            if item.kind != "collection":
                continue
            source = os.path.join(self.bundle, item.path)
            namespace, name = _collection_name(source)
            self.say(f"controller: collection {namespace}.{name}")
            unpack_tar_gz(source, os.path.join(root, namespace, name))

    def _tools(self) -> None:
        folder = os.path.join(self.home, "tools")
        os.makedirs(folder)
        for item in self.wanted():
            if item.kind == "tool":
                target = os.path.join(folder, os.path.basename(item.path))
                shutil.copyfile(os.path.join(self.bundle, item.path), target)
                os.chmod(target, 0o755)  # noqa: S103 - a command that every user of the machine may run

    # -- the names that users know -----------------------------------------------------------------------------

    def _point(self) -> bool:
        """Links and scripts below the prefix; what older versions left goes."""
        changed = False
        commands = os.path.join(self.prefix, "bin")
        os.makedirs(commands, exist_ok=True)
        venv = os.path.join(self.home, "venv")
        for name in ("venv", "collections"):
            changed |= _link(os.path.join(self.home, name), os.path.join(self.prefix, name))
        for name in os.listdir(os.path.join(self.home, "tools")):
            changed |= _link(os.path.join(self.home, "tools", name), os.path.join(commands, name))
        for name in COMMANDS:
            if os.path.exists(os.path.join(venv, "bin", name)):
                text = WRAPPER.format(name=name, root=shlex.quote(self.prefix), venv=shlex.quote(venv))
                changed |= _put(os.path.join(commands, name), text, 0o755)
        changed |= _put(os.path.join(self.prefix, "ansible.cfg"), ANSIBLE_CFG, 0o644)
        if self.signers:
            # Whom the operator trusts, so that preflight can verify the bundle again without asking.
            changed |= _put(os.path.join(self.prefix, "allowed_signers"), self.signers, 0o644)
        above = os.path.dirname(self.home)
        for name in os.listdir(above):
            if name != os.path.basename(self.home):
                self.say(f"controller: removing the earlier one, {name}")
                shutil.rmtree(os.path.join(above, name))
                changed = True
        return changed


def _collection_name(path: str) -> tuple[str, str]:
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                handle = archive.extractfile(member) if member.name == "MANIFEST.json" else None
                if handle is not None:
                    info = json.loads(handle.read())["collection_info"]
                    names = (str(info["namespace"]), str(info["name"]))
                    if all(name.isidentifier() for name in names):
                        return names
    except (OSError, tarfile.TarError, KeyError, ValueError) as error:
        raise InstallError(f"{path}: is no collection ({error}); make the bundle again") from error
    raise InstallError(f"{path}: is no collection (no MANIFEST.json); make the bundle again")


def _link(target: str, path: str) -> bool:
    if os.path.islink(path) and os.readlink(path) == target:
        return False
    if os.path.isdir(path) and not os.path.islink(path):
        raise InstallError(
            f"{path}: is a directory that setup.sh did not make; move it away, or choose another --prefix"
        )
    fresh = path + ".new"
    if os.path.lexists(fresh):
        os.unlink(fresh)
    os.symlink(target, fresh)
    os.replace(fresh, path)
    return True


def _put(path: str, text: str, mode: int) -> bool:
    try:
        with open(path, encoding="utf-8") as handle:
            if handle.read() == text and os.stat(path).st_mode & 0o777 == mode:
                return False
    except (OSError, UnicodeDecodeError):
        pass
    _write(path, text, mode)
    return True


def _write(path: str, text: str, mode: int = 0o644) -> None:
    handle, name = tempfile.mkstemp(prefix=".partial-", dir=os.path.dirname(path))
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            out.write(text)
            os.fchmod(out.fileno(), mode)
        os.replace(name, path)
    finally:
        if os.path.exists(name):
            os.unlink(name)
