# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of a bundle that are no OCI content: tools, wheels, collections and the installer."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import tempfile
import time
from typing import Any

from ansible_collections.airgap.speech.plugins.module_utils.bundle import pypi
from ansible_collections.airgap.speech.plugins.module_utils.bundle.archive import repack, tar_gz, zipapp
from ansible_collections.airgap.speech.plugins.module_utils.bundle.cache import key_of, write_file
from ansible_collections.airgap.speech.plugins.module_utils.bundle.debs import deb_index
from ansible_collections.airgap.speech.plugins.module_utils.bundle.fetch import Item, Read
from ansible_collections.airgap.speech.plugins.module_utils.bundle.images import tree_digests
from ansible_collections.airgap.speech.plugins.module_utils.bundle.spec import (
    FileSpec,
    MakerError,
    Making,
    Source,
    last_line,
    source_of,
)
from ansible_collections.airgap.speech.plugins.module_utils.oci.digest import sha256_file

try:
    import yaml
except ImportError:  # the modules say so
    yaml = None  # type: ignore[assignment]

INSTALLER_PARTS = (
    "bundle/archive.py",
    "bundle/install.py",
    "bundle/lock.py",
    "bundle/parts.py",
    "bundle/signature.py",
    "bundle/verify.py",
    "oci/digest.py",
    "oci/layout.py",
)


class Files:
    """Gathers the files of one run."""

    def __init__(self, making: Making) -> None:
        self.making = making
        self.spec = making.spec
        self.made = making.made

    def gather(self) -> list[Source]:
        started = time.monotonic()
        sources: list[Source] = []
        for name, path in sorted(self.spec.tools.items()):
            if not os.path.isfile(path):
                raise MakerError(f"tool {name}: there is no file {path}; correct bundle_tool_paths")
            sources.append(source_of("files/tools/" + name, path, "tool", "tool of the site: " + name, True))
        sources += self._extra()
        sources += self._os_packages()
        sources += self._docs()
        sources += self._wheels()
        sources += self._collections()
        if self.spec.installer:
            sources.append(self._installer())
        if self.spec.setup:
            sources.append(source_of("setup.sh", self.spec.setup, "setup", "makes the controller inside", True))
        self.making.step("files", started, f"{len(sources)}")
        return sources

    def _extra(self) -> list[Source]:
        """Files that travel as they are."""
        sources: list[Source] = []
        wanted: dict[str, Item] = {}
        for spec in self.spec.files:
            path = safe_path("files/extra/" + spec.path, spec.path)
            if spec.sha256 and not re.match(r"^[0-9a-f]{64}\Z", spec.sha256):
                raise MakerError(
                    f"file {spec.path}: sha256 {spec.sha256!r} has not 64 hex digits; correct bundle_files"
                )
            if not re.match(r"^https?://", spec.source):
                sources.append(self._local(path, spec))
                continue
            if not spec.sha256:
                raise MakerError(
                    f"file {spec.path}: comes from {spec.source} without a sha256, so nothing tells whether it is "
                    "the right one; add it to bundle_files"
                )
            digest = "sha256:" + spec.sha256
            size = self.making.layout.size_of(digest)
            if size is None and self.making.dry:
                self.making.pending(f"fetch file {spec.path} from {spec.source}")
                continue
            if size is None:
                size = spec.size if spec.size >= 0 else self.making.web.size(spec.source)
                wanted[digest] = Item(f"file {spec.path}", digest, size, self._reader(spec.source))
            local = str(self.making.layout.blob_path(digest))
            sources.append(Source(path, local, digest, size, "file", spec.reason, spec.executable))
        self.making.bring("files", list(wanted.values()))
        return sources

    def _reader(self, url: str) -> Read:
        return lambda offset: self.making.web.read(url, offset)

    def _local(self, path: str, spec: FileSpec) -> Source:
        if not os.path.isfile(spec.source):
            raise MakerError(f"file {spec.path}: there is no file {spec.source}; correct bundle_files")
        source = source_of(path, spec.source, "file", spec.reason, spec.executable)
        if spec.sha256 and source.digest != "sha256:" + spec.sha256:
            raise MakerError(
                f"file {spec.path}: {spec.source} has {source.digest}, expected sha256:{spec.sha256}; correct one of "
                "them"
            )
        return source

    def _os_packages(self) -> list[Source]:
        """Directories of OS packages; of .deb files an index is made, so that apt takes the directory as it is."""
        sources: list[Source] = []
        for spec in self.spec.os_packages:
            root = safe_path("files/os/" + spec.name, spec.name)
            names = sorted(_below(spec.path))
            if not names:
                raise MakerError(f"OS packages {spec.name}: {spec.path} holds no files; correct bundle_os_packages")
            packages = [name for name in names if name.endswith((".deb", ".rpm"))]
            if not packages:
                raise MakerError(
                    f"OS packages {spec.name}: {spec.path} holds neither .deb nor .rpm files; correct "
                    "bundle_os_packages"
                )
            if packages[0].endswith(".rpm") and "repodata/repomd.xml" not in names:
                raise MakerError(
                    f"OS packages {spec.name}: {spec.path} has .rpm files and no repodata/repomd.xml; run "
                    "createrepo_c there"
                )
            made = {}
            if any(name.endswith(".deb") for name in packages):
                made = deb_index(spec.path, [name for name in packages if name.endswith(".deb")], self.making.run)
            for name in names:
                if name not in made:
                    local = os.path.join(spec.path, name)
                    sources.append(source_of(f"{root}/{name}", local, "os_package", spec.reason))
            for name, data in made.items():
                local = os.path.join(self.making.scratch, f"os-{spec.name}-{name}")
                write_file(local, data)
                sources.append(source_of(f"{root}/{name}", local, "os_package", spec.reason))
        return sources

    def _docs(self) -> list[Source]:
        """The documentation, so that nobody inside needs another place to read it."""
        if not self.spec.docs:
            return []
        if not os.path.isdir(self.spec.docs):
            raise MakerError(f"documentation: there is no directory {self.spec.docs}; correct bundle_docs, or empty it")
        reason = "documentation of airgap.speech"
        return [
            source_of("files/docs/" + name, os.path.join(self.spec.docs, name), "docs", reason)
            for name in sorted(_below(self.spec.docs))
        ]

    def _wheels(self) -> list[Source]:
        if not self.spec.controller_requirements:
            return []
        with open(self.spec.controller_requirements, encoding="utf-8") as handle:
            text = handle.read()
        wheels = self.making.packages.wheels(text, self.spec.controller_python)
        if wheels is None:
            self.making.pending("download the wheels of the controller")
            return []
        reason = f"controller, Python {self.spec.controller_python}"
        sources = [source_of("files/wheels/" + os.path.basename(w), w, "wheel", reason) for w in wheels]
        path = self.spec.controller_requirements
        return sources + [source_of("files/wheels/requirements.txt", path, "wheel", reason)]

    def _collections(self) -> list[Source]:
        sources: list[Source] = []
        if self.spec.collections:
            with open(self.spec.collections_requirements, encoding="utf-8") as handle:
                pins = pypi.requirement_pins(handle.read())
            if "ansible" not in pins:
                raise MakerError(f"{self.spec.collections_requirements}: pins no `ansible` with one sha256; add it")
            version, sha256 = pins["ansible"]
            folder = self.making.cache.folder("collections", sha256[:16])
            for name in self.spec.collections:
                stem = name.replace(".", "-") + "-"
                there = [
                    os.path.join(folder, f) for f in os.listdir(folder) if f.startswith(stem) and f.endswith(".gz")
                ]
                if not there:
                    wheel = self.making.packages.wheel("ansible", version, sha256)
                    if wheel is None:
                        self.making.pending(f"download ansible {version} for the collection {name}")
                        continue
                    there = [pypi.collection_from_wheel(wheel, name, folder)]
                path = "files/collections/" + os.path.basename(there[0])
                sources.append(source_of(path, there[0], "collection", "needed by airgap.speech"))
        if self.spec.collection:
            sources.append(self._own_collection())
        return sources

    def _own_collection(self) -> Source:
        """This collection, from a checkout or from where it is installed."""
        root = os.path.realpath(self.spec.collection)
        if os.path.isfile(os.path.join(root, "galaxy.yml")):
            key = key_of(["collection/v1", collection_digests(root)])
            folder = self.making.cache.folder("collections", "own-" + key[:16])
            kept = os.listdir(folder)
            if len(kept) == 1:
                path = os.path.join(folder, kept[0])
                return source_of("files/collections/" + kept[0], path, "collection", "this collection")
            target = tempfile.mkdtemp(dir=self.making.scratch)
            rc, out, err = self.making.run(
                [self.spec.ansible_galaxy, "collection", "build", root, "--output-path", target]
            )
            if rc != 0 or not os.listdir(target):
                raise MakerError(f"collection {root}: ansible-galaxy says {last_line(err or out)}")
            package = os.path.join(target, os.listdir(target)[0])
            with open(package, "rb") as handle:
                data = repack(handle.read(), package, ("MANIFEST.json", "FILES.json"))
            name = os.path.basename(package)
            for stale in kept:
                os.unlink(os.path.join(folder, stale))
            write_file(os.path.join(folder, name), data)
        else:
            data, name = installed_collection(root)
        local = os.path.join(self.making.scratch, name)
        write_file(local, data)
        return source_of("files/collections/" + name, local, "collection", "this collection")

    def _installer(self) -> Source:
        """The zip application that setup.sh runs: our own module_utils and a small start."""
        root = os.path.join(os.path.realpath(self.spec.collection), "plugins", "module_utils")
        entries: list[tuple[str, bytes]] = []
        with open(self.spec.installer, "rb") as handle:
            entries.append(("__main__.py", handle.read()))
        for part in INSTALLER_PARTS:
            with open(os.path.join(root, part), "rb") as handle:
                entries.append(("ansible_collections/airgap/speech/plugins/module_utils/" + part, handle.read()))
        local = os.path.join(self.making.scratch, "installer.pyz")
        write_file(local, zipapp(entries))
        return source_of("files/installer.pyz", local, "setup", "installs the controller inside")


def safe_path(path: str, given: str) -> str:
    """A path of the bundle that stays below its directory."""
    if not given or "\\" in path or "\0" in path or any(part in ("", ".", "..") for part in path.split("/")):
        raise MakerError(
            f"{given!r}: does not stay below its directory in the bundle; write a relative path without .."
        )
    return path


def _below(root: str) -> list[str]:
    """Every plain file below a directory, as a relative path; what hides (a leading dot) does not count."""
    found: list[str] = []
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            full = os.path.join(folder, name)
            if not name.startswith(".") and os.path.isfile(full):
                found.append(os.path.relpath(full, root).replace(os.sep, "/"))
    return found


def collection_digests(root: str) -> list[Any]:
    """What a build of a checkout depends on: everything at its top that its galaxy.yml does not leave out."""
    with open(os.path.join(root, "galaxy.yml"), encoding="utf-8") as handle:
        ignored = [str(pattern) for pattern in (yaml.safe_load(handle) or {}).get("build_ignore") or []]
    found: list[Any] = []
    for name in sorted(os.listdir(root)):
        full = os.path.join(root, name)
        if name == ".git" or (name != "galaxy.yml" and any(fnmatch.fnmatch(name, pattern) for pattern in ignored)):
            continue
        found.append([name, tree_digests(full) if os.path.isdir(full) else sha256_file(full)[0]])
    return found


def installed_collection(root: str) -> tuple[bytes, str]:
    """A collection that was installed, as the tarball it came from: what its FILES.json lists."""
    entries: list[tuple[str, bytes, bool]] = []
    try:
        with open(os.path.join(root, "MANIFEST.json"), encoding="utf-8") as handle:
            info = json.load(handle)["collection_info"]
        with open(os.path.join(root, "FILES.json"), encoding="utf-8") as handle:
            listed = [item["name"] for item in json.load(handle)["files"] if item["ftype"] == "file"]
        for name in listed + ["MANIFEST.json", "FILES.json"]:
            full = os.path.join(root, name)
            with open(full, "rb") as binary:
                entries.append((name, binary.read(), bool(os.stat(full).st_mode & 0o100)))
    except (OSError, KeyError, ValueError) as error:
        raise MakerError(f"{root}: is no whole collection ({error}); install it again") from error
    name = "{}-{}-{}.tar.gz".format(info["namespace"], info["name"], info["version"])
    return tar_gz(entries, ("MANIFEST.json", "FILES.json")), name
