# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A directory of .deb files as a flat repository that apt reads: Packages, Packages.gz and Release."""

from __future__ import annotations

import hashlib
import io
import lzma
import os
import tarfile
import zlib
from collections.abc import Iterable
from typing import Callable, Optional

from ansible_collections.airgap.speech.plugins.module_utils.bundle.archive import compressed
from ansible_collections.airgap.speech.plugins.module_utils.oci.digest import sha256_file

Run = Callable[[list[str]], "tuple[int, str, str]"]


class DebError(Exception):
    """A file that is no Debian package, or one that cannot be read here."""


def deb_index(root: str, names: Iterable[str], run: Run) -> dict[str, bytes]:
    """The index files for these packages below a directory, by name. The same packages give the same bytes."""
    stanzas: list[str] = []
    for name in sorted(names):
        path = os.path.join(root, name)
        control = control_of(path, run).strip("\n")
        digest, size = sha256_file(path)
        sha256 = digest.partition(":")[2]
        stanzas.append(f"{control}\nFilename: ./{name}\nSize: {size}\nSHA256: {sha256}\n")
    packages = "\n".join(stanzas).encode("utf-8")
    index = {"Packages": packages, "Packages.gz": b"".join(compressed([packages], level=9))}
    lines = ["Origin: airgap.speech", "Label: airgap.speech", "Date: Thu, 01 Jan 1970 00:00:00 UTC", "SHA256:"]
    lines += [f" {hashlib.sha256(data).hexdigest()} {len(data)} {name}" for name, data in sorted(index.items())]
    index["Release"] = ("\n".join(lines) + "\n").encode("utf-8")
    return index


def control_of(path: str, run: Run) -> str:
    """The control file of a package. One that is packed with zstd wants dpkg-deb on this machine."""
    members = _members(path)
    for name, (offset, size) in members.items():
        if not name.startswith("control.tar"):
            continue
        with open(path, "rb") as handle:
            handle.seek(offset)
            data = handle.read(size)
        try:
            plain = _unpacked(name, data)
            if plain is None:
                return _by_dpkg(path, run)
            with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
                for member in archive:
                    if os.path.normpath(member.name) == "control" and member.isfile():
                        found = archive.extractfile(member)
                        if found is not None:
                            return found.read().decode("utf-8")
        except (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, UnicodeDecodeError) as error:
            raise DebError(f"{path}: its {name} cannot be read ({error}); fetch the package again") from error
    raise DebError(f"{path}: holds no control file, so it is no Debian package; fetch it again, or take it out")


def _unpacked(name: str, data: bytes) -> Optional[bytes]:
    if name.endswith(".gz"):
        return zlib.decompress(data, 31)
    if name.endswith(".xz"):
        return lzma.decompress(data)
    return data if name.endswith(".tar") else None


def _by_dpkg(path: str, run: Run) -> str:
    try:
        rc, out, err = run(["dpkg-deb", "--field", path])
    except OSError as error:
        rc, out, err = 127, "", error.strerror or str(error)
    if rc != 0 or not out.strip():
        raise DebError(
            f"{path}: is packed with zstd, and dpkg-deb could not read it "
            f"({' '.join(err.split()) or f'exit status {rc}'}); "
            "install dpkg 1.21.18 or newer on this machine"
        )
    return out


def _members(path: str) -> dict[str, tuple[int, int]]:
    """Name to offset and size of the members of an ar archive."""
    found: dict[str, tuple[int, int]] = {}
    with open(path, "rb") as handle:
        if handle.read(8) != b"!<arch>\n":
            raise DebError(f"{path}: is no Debian package (no ar archive); fetch it again, or take it out")
        while True:
            header = handle.read(60)
            if len(header) < 60:
                return found
            try:
                size = int(header[48:58])
            except ValueError as error:
                raise DebError(f"{path}: its archive is damaged; fetch the package again") from error
            found[header[:16].decode("ascii", "replace").strip().rstrip("/")] = (handle.tell(), size)
            handle.seek(size + size % 2, os.SEEK_CUR)
