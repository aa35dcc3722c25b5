# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wheels from a package index: pinned, held against their hashes, kept in the cache."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from typing import Callable

from ansible_collections.airgap.speech.plugins.module_utils.bundle.archive import CHUNK, safe_name, tar_gz
from ansible_collections.airgap.speech.plugins.module_utils.bundle.cache import Cache, key_of, write_file
from ansible_collections.airgap.speech.plugins.module_utils.oci.digest import sha256_file

Run = Callable[[list[str]], "tuple[int, str, str]"]


class PackageError(Exception):
    """A package that cannot be had, or is not what was pinned."""


def platform_tags(glibc: str = "2.28") -> list[str]:
    """The wheel tags that an x86_64 machine with this glibc takes, newest first."""
    minor = int(glibc.split(".")[1])
    tags = [f"manylinux_2_{number}_x86_64" for number in range(minor, 4, -1)]
    return tags + ["manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64", "linux_x86_64"]


class Packages:
    """Downloads with pip; never builds anything."""

    def __init__(self, run: Run, python: str, cache: Cache, dry: bool = False) -> None:
        self.run = run
        self.python = python
        self.cache = cache
        self.dry = dry

    def wheels(self, requirements: str, python_version: str, glibc: str = "2.28") -> list[str] | None:
        """The wheels of a hash-locked requirements text; None where they would have to be downloaded first."""
        if "--hash=" not in requirements:
            raise PackageError(
                "requirements: have no hashes, so what is downloaded cannot be checked; lock them with "
                "`uv pip compile --generate-hashes` or `pip-compile --generate-hashes`"
            )
        key = key_of(["wheels/v1", requirements, python_version, glibc])[:32]
        folder = os.path.join(self.cache.path, "pypi", key)
        names = self._complete(key, folder)
        if names is not None:
            return [os.path.join(folder, name) for name in names]
        if self.dry:
            return None
        os.makedirs(folder, exist_ok=True)
        handle, listing = tempfile.mkstemp(suffix=".txt", dir=self.cache.folder("pypi"))
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as out:
                out.write(requirements)
            argv = [self.python, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"]
            argv += ["--no-deps", "--only-binary", ":all:", "--require-hashes", "--requirement", listing]
            argv += ["--dest", folder, "--implementation", "cp", "--python-version", python_version]
            for tag in platform_tags(glibc):
                argv += ["--platform", tag]
            rc, out_text, err = self.run(argv)
        finally:
            os.unlink(listing)
        if rc != 0:
            lines = [line for line in (err or out_text).splitlines() if line.strip()]
            raise PackageError(
                "pip download: {}; check that the package index answers and that the lock file is for Python {}".format(
                    " / ".join(lines[-4:]) or f"exit status {rc}", python_version
                )
            )
        files = sorted(name for name in os.listdir(folder) if name.endswith(".whl"))
        self.cache.put("pypi", key, {name: list(sha256_file(os.path.join(folder, name))) for name in files})
        return [os.path.join(folder, name) for name in files]

    def _complete(self, key: str, folder: str) -> list[str] | None:
        """The names of an earlier download, where every file is still what it was."""
        record = self.cache.get("pypi", key)
        if not isinstance(record, dict):
            return None
        for name, (digest, size) in record.items():
            path = os.path.join(folder, name)
            if not os.path.isfile(path) or os.path.getsize(path) != size or sha256_file(path)[0] != digest:
                if not self.dry:
                    shutil.rmtree(folder, ignore_errors=True)
                return None
        return sorted(record)

    def wheel(self, package: str, version: str, sha256: str, python_version: str = "3.12") -> str | None:
        """One pinned wheel."""
        wheels = self.wheels(f"{package}=={version} --hash=sha256:{sha256}\n", python_version, "2.36")
        if wheels is None:
            return None
        if len(wheels) != 1:
            raise PackageError(f"{package}=={version}: pip brought {len(wheels)} wheels, expected 1")
        return wheels[0]


def member_reader(wheel: str, member: str) -> Callable[[int], Iterator[bytes]]:
    """read(offset) for one file of a wheel; nothing is verified here: who writes it does that."""

    def read(offset: int) -> Iterator[bytes]:
        try:
            with zipfile.ZipFile(wheel) as archive, archive.open(member) as source:
                source.seek(offset)
                yield from iter(lambda: source.read(CHUNK), b"")
        except KeyError as error:
            raise PackageError(f"{os.path.basename(wheel)}: has no member {member}; correct the profile") from error
        except zipfile.BadZipFile as error:
            raise PackageError(f"{wheel}: is no wheel ({error}); remove it and try again") from error

    return read


def collection_from_wheel(wheel: str, name: str, folder: str) -> str:
    """A collection inside PyPI's `ansible` wheel as a collection tarball; returns its path."""
    prefix = "ansible_collections/{}/".format(name.replace(".", "/"))
    with zipfile.ZipFile(wheel) as archive:
        members = [info for info in archive.infolist() if info.filename.startswith(prefix) and not info.is_dir()]
        manifest = prefix + "MANIFEST.json"
        if not any(info.filename == manifest for info in members):
            raise PackageError(f"{os.path.basename(wheel)}: holds no collection {name}; correct bundle_collections")
        version = json.loads(archive.read(manifest))["collection_info"]["version"]
        target = os.path.join(folder, "{}-{}.tar.gz".format(name.replace(".", "-"), version))
        if not os.path.exists(target):
            entries = [
                (
                    safe_name(info.filename[len(prefix) :], wheel),
                    archive.read(info),
                    bool((info.external_attr >> 16) & 0o100),
                )
                for info in members
            ]
            write_file(target, tar_gz(entries, ("MANIFEST.json", "FILES.json")))
    return target


def requirement_pins(text: str) -> dict[str, tuple[str, str]]:
    """Package to version and sha256 of a requirements text with one hash each."""
    joined = re.sub(r"\\\s*\n", " ", text)
    pins: dict[str, tuple[str, str]] = {}
    for line in joined.splitlines():
        match = re.match(r"^([A-Za-z0-9._-]+)==(\S+)\s+--hash=sha256:([0-9a-f]{64})\s*\Z", line.split(" #")[0])
        if match:
            pins[match.group(1).lower()] = (match.group(2), match.group(3))
    return pins
