# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Digests: sha256 only, and every other algorithm refused by name."""

from __future__ import annotations

import hashlib
import os
import re
from typing import Union

CHUNK = 1 << 20
# Bytes that are written to a disk in one call. The kernel keeps them in large pieces, which costs half of what four
# calls do, and next to nothing when they are mapped and hashed afterwards.
PIECE = 4 << 20
_HEX = re.compile(r"[0-9a-f]{64}\Z")


class DigestError(ValueError):
    """A digest that is malformed, or of an algorithm that is not taken."""


def parse_digest(text: str) -> tuple[str, str]:
    """Split C(sha256:<hex>) into its algorithm and its hex digits."""
    algorithm, separator, value = text.partition(":")
    if not separator:
        raise DigestError(f"digest {text!r}: there is no algorithm in it; write it as sha256:<64 hex digits>")
    if algorithm != "sha256":
        raise DigestError(
            f"digest {text!r}: the algorithm {algorithm!r} is not taken; make the item again with a sha256 digest"
        )
    if not _HEX.match(value):
        raise DigestError(f"digest {text!r}: sha256 wants 64 lower-case hex digits; copy the digest again")
    return algorithm, value


def sha256_bytes(data: bytes) -> str:
    """The digest of bytes in memory."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def sha256_file(path: Union[str, os.PathLike[str]]) -> tuple[str, int]:
    """The digest and the size of a file, read once with flat memory."""
    hasher = hashlib.sha256()
    size = 0
    buffer = bytearray(CHUNK)
    view = memoryview(buffer)
    with open(path, "rb", buffering=0) as stream:
        while True:
            count = stream.readinto(buffer)
            if not count:
                break
            hasher.update(view[:count])
            size += count
    return "sha256:" + hasher.hexdigest(), size
