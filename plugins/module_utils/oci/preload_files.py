# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files and directories of placed models: made so that a power cut at any moment leaves a whole model or none."""

from __future__ import annotations

import base64
import errno
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from typing import Any, Optional

from ansible_collections.airgap.speech.plugins.module_utils.oci.digest import CHUNK
from ansible_collections.airgap.speech.plugins.module_utils.oci.preload_model import Owner
from ansible_collections.airgap.speech.plugins.module_utils.oci.sink import write_all

RECORD_SCHEMA = 1
_SELINUX = "/sys/fs/selinux/enforce"
_CONTEXT = "security.selinux"


def sync_directory(path: str) -> None:
    """Have the names in a directory on disk."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EBADF):
            raise  # Some network volumes do not know it for directories, and keep names at once.
    finally:
        os.close(handle)


def read_record(path: str) -> Optional[dict[str, Any]]:
    """The record of a version; nothing where there is none that can be used."""
    try:
        with open(path, encoding="utf-8") as stream:
            record = json.load(stream)
    except (OSError, ValueError):
        return None
    if (
        not isinstance(record, dict)
        or record.get("schema") != RECORD_SCHEMA
        or not isinstance(record.get("files"), list)
    ):
        return None
    return record


def write_record(path: str, record: Mapping[str, Any]) -> None:
    """Replace a record in one step; it is on disk afterwards."""
    temporary = path + ".new"
    data = json.dumps(record, sort_keys=True, indent=1).encode()
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        write_all(handle, data)
        os.fsync(handle)
    finally:
        os.close(handle)
    os.replace(temporary, path)
    sync_directory(os.path.dirname(path))


def file_is_right(path: str, entry: Mapping[str, Any], full: bool) -> bool:
    """Whether a file is the one of its record: by its size, or by every byte."""
    try:
        status = os.lstat(path)
    except OSError:
        return False
    if not stat.S_ISREG(status.st_mode) or status.st_size != entry.get("size"):
        return False
    if not full:
        return True
    # The layer is the tar header, the bytes of the file, and zeros: its digest can be had again in one pass.
    hasher = hashlib.sha256(base64.b64decode(entry["head"]))
    buffer = bytearray(CHUNK)
    view = memoryview(buffer)
    with open(path, "rb", buffering=0) as stream:
        while True:
            count = stream.readinto(buffer)
            if not count:
                break
            hasher.update(view[:count])
    tail = int(entry["tail"])
    zeros = bytes(min(tail, CHUNK))
    while tail > 0:
        hasher.update(zeros[: min(tail, CHUNK)])
        tail -= CHUNK
    return "sha256:" + hasher.hexdigest() == str(entry["layer"])


def changed_at(path: str) -> int:
    """When a file was last written, in nanoseconds; 0 where it is not there."""
    try:
        return os.lstat(path).st_mtime_ns
    except OSError:
        return 0


def remove_version(path: str) -> None:
    """Remove the directory of a version and what lies beside it."""
    # The record first: without it, what a kill leaves of the directory is never taken for a model.
    for extra in (path + ".json", path + ".json.new", path + ".partial.json"):
        if os.path.lexists(extra):
            os.unlink(extra)
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)


# Owner, mode and SELinux type


def selinux_is_on() -> bool:
    """Whether this kernel has SELinux running."""
    return os.path.exists(_SELINUX)


def _context_of(handle: int) -> str:
    try:
        return os.getxattr(handle, _CONTEXT).rstrip(b"\0").decode()
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.ENOTSUP):
            return ""
        raise


def _wanted_context(current: str, selinux_type: str) -> str:
    user, role, _type, *level = (current or "system_u:object_r::s0").split(":", 3)
    return ":".join([user, role, selinux_type, *level])


def set_owner(handle: int, owner: Owner, mode: int) -> None:
    """Owner, mode and SELinux type of an open file or directory."""
    if owner.uid >= 0 or owner.gid >= 0:
        os.fchown(handle, owner.uid, owner.gid)
    os.fchmod(handle, mode)
    if owner.selinux_type and selinux_is_on():
        current = _context_of(handle)
        wanted = _wanted_context(current, owner.selinux_type)
        if current != wanted:
            os.setxattr(handle, _CONTEXT, wanted.encode() + b"\0")


def _is_owned(path: str, owner: Owner, mode: int) -> bool:
    status = os.lstat(path)
    if owner.uid not in (-1, status.st_uid) or owner.gid not in (-1, status.st_gid):
        return False
    # A Kubernetes volume may add the group's bits (fsGroup); those are not ours to take away.
    if stat.S_IMODE(status.st_mode) & 0o777 | 0o070 != mode & 0o777 | 0o070:
        return False
    if owner.selinux_type and selinux_is_on():
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            current = _context_of(handle)
        finally:
            os.close(handle)
        return current == _wanted_context(current, owner.selinux_type)
    return True


def make_readable(path: str, owner: Owner) -> None:
    """Owner and mode of a directory."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        set_owner(handle, owner, owner.directory_mode)
    finally:
        os.close(handle)


def not_owned(root: str, owner: Owner) -> Iterator[tuple[str, int]]:
    """The files and directories of a version whose owner, mode or type differ, with the mode that each should have."""
    for parent, directories, names in os.walk(root):
        entries = [(os.path.join(parent, name), owner.mode) for name in names]
        if parent == root:
            entries.append((root, owner.directory_mode))
        entries.extend((os.path.join(parent, name), owner.directory_mode) for name in directories)
        for path, mode in entries:
            if not _is_owned(path, owner, mode):
                yield path, mode


def own(root: str, owner: Owner) -> None:
    """Set owner, mode and type of a version's files where they differ."""
    for path, mode in list(not_owned(root, owner)):
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            set_owner(handle, owner, mode)
        finally:
            os.close(handle)
