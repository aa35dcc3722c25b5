# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Uploads that were begun and not ended: kept in a file, so that a killed run goes on inside a blob."""

from __future__ import annotations

import json
import os
import threading
from typing import Any, Optional

VERSION = 1
# Below this many bytes, sending a blob again costs less than asking how far it came.
WORTH_KEEPING = 8 << 20


class Sessions:
    """Where each unfinished upload goes on: the address that the registry gave for it.

    Without a path they live as long as the process. The addresses are signed by the registry and useless without
    its login; the file is for its owner only all the same.
    """

    def __init__(self, path: Optional[str] = None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._uploads: dict[str, str] = {}
        if path:
            self._uploads = _read(path)

    def get(self, name: str) -> Optional[str]:
        """The address of the upload of I(name), which is C(registry/repository@digest)."""
        with self._lock:
            return self._uploads.get(name)

    def keep(self, name: str, location: str) -> None:
        """An upload has begun, or has moved to another address."""
        with self._lock:
            if self._uploads.get(name) != location:
                self._uploads[name] = location
                self._write()

    def drop(self, name: str) -> None:
        """It has ended, or cannot go on."""
        with self._lock:
            if self._uploads.pop(name, None) is not None:
                self._write()

    def drop_all(self, registry: str) -> None:
        """All blobs are in I(registry): what a killed run left of it in this file is of no use."""
        with self._lock:
            stale = [name for name in self._uploads if name.startswith(registry + "/")]
            for name in stale:
                del self._uploads[name]
            if stale:
                self._write()

    def _write(self) -> None:
        if not self._path:
            return
        directory = os.path.dirname(os.path.abspath(self._path))
        os.makedirs(directory, mode=0o700, exist_ok=True)
        name = f"{self._path}.{os.getpid()}"
        try:
            handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                json.dump({"version": VERSION, "uploads": self._uploads}, stream, indent=1, sort_keys=True)
            os.replace(name, self._path)
        except BaseException:
            if os.path.exists(name):
                os.unlink(name)
            raise


def _read(path: str) -> dict[str, str]:
    """What an earlier run left; nothing where it cannot be used, as then the blobs are sent from their start."""
    try:
        with open(path, encoding="utf-8") as stream:
            document: Any = json.load(stream)
    except (FileNotFoundError, ValueError):
        return {}
    if not isinstance(document, dict) or document.get("version") != VERSION:
        return {}
    uploads = document.get("uploads")
    if not isinstance(uploads, dict):
        return {}
    return {str(name): str(location) for name, location in uploads.items()}
