# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was on a host before we came: files are kept before they are replaced the first time, and given back."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from typing import Any, Dict, List, Optional

_RECORD = "record.json"


class OriginalsError(Exception):
    """The record cannot be used; the message says what to do."""


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def read(path: str) -> Optional[bytes]:
    """What a file holds; None where it is not there."""
    try:
        with open(path, "rb") as handle:
            return handle.read()
    except FileNotFoundError:
        return None


def write(path: str, data: bytes, mode: int = 0o600, owner: int = -1, group: int = -1) -> None:
    """A file whole or not at all, on the disk when this returns. Directories above it are made."""
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    temporary = f"{path}.airgap-{os.getpid()}"
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            os.fchown(stream.fileno(), owner, group)
            os.fchmod(stream.fileno(), mode)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
        folder = os.open(os.path.dirname(path), os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise


class Originals:
    """The kept files of one host, in a directory that only root reads.

    A path is recorded once, with what it held before our first change, and with the digest of what we wrote last: a
    file that somebody changed since then is not given back over their work.
    """

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self._file = os.path.join(directory, _RECORD)
        raw = read(self._file)
        try:
            self._record: Dict[str, Dict[str, Any]] = json.loads(raw) if raw else {}
        except ValueError as err:
            raise OriginalsError(
                f"{self._file}: {err}; compare the copies beside it with the files by hand, then remove it"
            ) from err

    @property
    def paths(self) -> List[str]:
        return sorted(self._record)

    def keep(self, path: str) -> bool:
        """Keep what a path holds now, or that it holds nothing. False where that was done before."""
        if path in self._record:
            return False
        if not os.path.isdir(self.directory):
            os.makedirs(self.directory, mode=0o700)
        data = read(path)
        entry: Dict[str, Any] = {"copy": None}
        if data is not None:
            status = os.stat(path)
            copy = os.path.join(self.directory, f"{sha256(path.encode())[:12]}-{os.path.basename(path)}")
            write(copy, data)
            entry = {
                "copy": copy,
                "mode": stat.S_IMODE(status.st_mode),
                "owner": status.st_uid,
                "group": status.st_gid,
            }
        self._record[path] = entry
        self._save()
        return True

    def wrote(self, path: str, data: bytes) -> None:
        """Note what we are about to write to a kept path, and keep what it holds now for :meth:`undo`."""
        before = read(path)
        if before is not None:
            write(self._previous(path), before)
        self._record[path]["ours"] = sha256(data)
        self._save()

    def undo(self, path: str) -> None:
        """Take our last write back, with the rights that the file has; what it held before us stays kept."""
        before, status = read(self._previous(path)), os.stat(path)
        if before is None or before == self.original(path):
            self.give_back(path)
            return
        write(path, before, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)
        self._record[path]["ours"] = sha256(before)
        self._save()

    def _previous(self, path: str) -> str:
        return os.path.join(self.directory, f"{sha256(path.encode())[:12]}-before-the-last")

    def original(self, path: str) -> Optional[bytes]:
        """What the path held before us; None where it held nothing."""
        copy = self._record[path]["copy"]
        if copy is None:
            return None
        data = read(copy)
        if data is None:
            raise OriginalsError(f"{copy}, what {path} held before, is gone; bring {path} back by hand")
        return data

    def copy_of(self, path: str) -> str:
        """Where the kept copy lies; empty where the path held nothing."""
        return str(self._record[path]["copy"] or "")

    def is_ours(self, path: str) -> bool:
        """Whether the path still holds what we wrote last."""
        data = read(path)
        return data is not None and sha256(data) == self._record[path].get("ours")

    def give_back(self, path: str) -> None:
        """Put back what was there, with its owner and mode, and forget the path."""
        data, entry = self.original(path), self._record[path]
        if data is not None:
            write(path, data, entry["mode"], entry["owner"], entry["group"])
        elif os.path.lexists(path):
            os.unlink(path)
        self.forget(path)

    def forget(self, path: str) -> None:
        entry = self._record.pop(path)
        self._save()
        for copy in (entry["copy"], self._previous(path)):
            if copy and os.path.exists(copy):
                os.unlink(copy)
        if not self._record:
            os.unlink(self._file)
            os.rmdir(self.directory)

    def _save(self) -> None:
        write(self._file, (json.dumps(self._record, indent=1, sort_keys=True) + "\n").encode())
