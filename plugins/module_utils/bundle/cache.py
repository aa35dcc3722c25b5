# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the connected side keeps between two bundles, by content."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import Descriptor, Layout, LayoutError

# Manifests and configurations are not larger, as a rule: so much is read in no time.
SMALL = 64 * 1024


class Cache:
    """A directory with one layout and small records: key of the inputs -> what was made of them."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.layout = Layout(os.path.join(path, "oci"))

    @contextmanager
    def held(self) -> Iterator[None]:
        """One run at a time; a second waits."""
        os.makedirs(self.path, mode=0o700, exist_ok=True)
        with open(os.path.join(self.path, ".held"), "w", encoding="ascii") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            self.layout.create()
            self._mend()
            yield

    def _mend(self) -> None:
        """Take out small blobs that are not what their names say; large ones are read when they are carried."""
        with os.scandir(self.layout.blobs) as entries:
            for entry in entries:
                if entry.is_file(follow_symlinks=False) and entry.stat().st_size <= SMALL:
                    with open(entry.path, "rb") as handle:
                        actual = hashlib.sha256(handle.read()).hexdigest()
                    if actual != entry.name:
                        os.unlink(entry.path)

    def folder(self, *parts: str) -> str:
        """A directory below the cache, made where it is missing."""
        path = os.path.join(self.path, *parts)
        os.makedirs(path, exist_ok=True)
        return path

    def get(self, kind: str, key: str) -> Any | None:
        """What was recorded under a key."""
        try:
            with open(self._record(kind, key), encoding="utf-8") as handle:
                return json.load(handle)
        except (OSError, ValueError):
            return None

    def put(self, kind: str, key: str, value: Any) -> None:
        """Record, atomically."""
        write_file(self._record(kind, key), json.dumps(value, sort_keys=True).encode("utf-8"))

    def artifact(self, kind: str, key: str) -> Descriptor | None:
        """The manifest recorded under a key, where the layout still holds all of it."""
        value = self.get(kind, key)
        if not isinstance(value, dict):
            return None
        try:
            descriptor = Descriptor(str(value["media_type"]), str(value["digest"]), int(value["size"]))
            for _part in self.layout.walk(descriptor.digest):
                pass
        except (KeyError, ValueError, LayoutError):
            return None
        return descriptor

    def put_artifact(self, kind: str, key: str, descriptor: Descriptor) -> None:
        """Record a manifest."""
        value = {"media_type": descriptor.media_type, "digest": descriptor.digest, "size": descriptor.size}
        self.put(kind, key, value)

    def _record(self, kind: str, key: str) -> str:
        return os.path.join(self.path, "records", kind, key.replace(":", "-") + ".json")


def key_of(value: Any) -> str:
    """A key for inputs that JSON can hold."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode("utf-8")).hexdigest()


def write_file(path: str, data: bytes, mode: int = 0o644) -> None:
    """Write a file in one step: the old or the new content, never a part."""
    folder = os.path.dirname(path) or "."
    os.makedirs(folder, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".partial-", dir=folder)
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(data)
            os.fchmod(out.fileno(), mode)
        os.replace(name, path)
    except BaseException:
        if os.path.exists(name):
            os.unlink(name)
        raise
