# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that hold secrets: written whole or not at all, readable by their owner only."""

from __future__ import annotations

import base64
import os
import secrets
import stat
import string
import tempfile
from typing import Optional

#: Letters and digits: safe in URLs, shells, YAML and HTTP headers without any quoting.
DEFAULT_ALPHABET = string.ascii_letters + string.digits
#: A password or key that is stored without a line feed, and that other programs may read with one.
LINE_ENDS = "\r\n"


class SecretFileError(Exception):
    """A secret's file cannot be read, made or trusted. The text names the file, the cause and the next step."""


def new_secret(kind: str, length: int, alphabet: str = DEFAULT_ALPHABET) -> str:
    """A fresh secret from the operating system's random source: text of an alphabet, or `length` bytes encoded."""
    if kind == "text":
        if len(set(alphabet)) < 2:
            raise SecretFileError("the alphabet has fewer than two characters; name more, or leave it out")
        return "".join(secrets.choice(alphabet) for place in range(length))
    if kind == "hex":
        return secrets.token_hex(length)
    if kind == "base64":
        return base64.b64encode(secrets.token_bytes(length)).decode("ascii")
    raise SecretFileError(f"unknown kind of secret {kind!r}; use text, hex or base64")


def file_mode(path: str) -> Optional[int]:
    """The permission bits of a regular file, or None if there is none."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    except OSError as err:
        raise SecretFileError(f"{path} cannot be looked at: {err.strerror}; check the rights of its directory") from err
    if not stat.S_ISREG(status.st_mode):
        raise SecretFileError(f"{path} is not a regular file; move it away or name another path")
    return stat.S_IMODE(status.st_mode)


def read_bytes(path: str) -> bytes:
    """The whole content of a file."""
    try:
        with open(path, "rb") as handle:
            return handle.read()
    except FileNotFoundError as err:
        raise SecretFileError(f"{path} does not exist; make it first, or name the file that holds it") from err
    except OSError as err:
        raise SecretFileError(f"{path} cannot be read: {err.strerror}; run as the user who owns it") from err


def read_secret(path: str) -> str:
    """A secret's text without the line feed that an editor may have put behind it."""
    try:
        text = read_bytes(path).decode("utf-8").rstrip(LINE_ENDS)
    except UnicodeDecodeError as err:
        raise SecretFileError(f"{path} is not UTF-8 text; write the secret as plain text") from err
    if not text:
        raise SecretFileError(f"{path} is empty; write the secret into it, or remove it so that one is made")
    return text


def missing_directories(path: str) -> list[str]:
    """The directories above a file that do not exist, outermost first."""
    missing = []
    parent = os.path.dirname(os.path.abspath(path))
    while parent and not os.path.isdir(parent):
        missing.append(parent)
        above = os.path.dirname(parent)
        if above == parent:
            break
        parent = above
    return missing[::-1]


def make_directories(path: str, mode: int = 0o700) -> None:
    """Make what is missing above a file, and refuse a directory in which anybody may replace files."""
    try:
        for directory in missing_directories(path):
            os.mkdir(directory, mode)
            os.chmod(directory, mode)
        parent = os.path.dirname(os.path.abspath(path))
        bits = os.stat(parent).st_mode
    except OSError as err:
        raise SecretFileError(
            f"the directory of {path} cannot be made: {err.strerror}; make it by hand or name another"
        ) from err
    if bits & stat.S_IWOTH and not bits & stat.S_ISVTX:
        raise SecretFileError(f"{parent} is writable by everybody, so a secret in it is not safe; chmod 0700 {parent}")


def write_file(path: str, data: bytes, mode: int = 0o600) -> None:
    """Write a file whole: a new name beside it, on disk, then renamed over the old one."""
    make_directories(path)
    parent = os.path.dirname(os.path.abspath(path))
    temporary = ""
    try:
        handle, temporary = tempfile.mkstemp(prefix=".airgap-", dir=parent)
        with os.fdopen(handle, "wb") as stream:
            os.fchmod(stream.fileno(), mode)
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
        temporary = ""
        directory = os.open(parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as err:
        raise SecretFileError(f"{path} cannot be written: {err.strerror}; check the disk and the rights") from err
    finally:
        if temporary and os.path.exists(temporary):
            os.unlink(temporary)
