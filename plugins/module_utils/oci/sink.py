# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Large files onto a disk past the page cache, where the file system can.

Page cache for gigabytes that nobody reads again costs more CPU than sha256 does, and takes the memory of what runs on
the host. What cannot go straight to the disk (small pieces, ends that are no whole block) goes through the page cache.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
from typing import Union

# What the kernel wants offset, length and memory to be multiples of, on disks of today.
BLOCK = 4096
# Bytes from which on it pays to wait for the disk.
_LEAST = 1 << 20
_DIRECT = getattr(os, "O_DIRECT", 0)


def aligned(size: int) -> memoryview:
    """A buffer of that many bytes that the disk can be given as it is."""
    return memoryview(mmap.mmap(-1, max(1, size)))[:size]


def write_all(handle: int, data: Union[bytes, memoryview]) -> None:
    """Write all of it: a disk that is nearly full takes less than it was given, and says so only the next time."""
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


class Sink:
    """Appends to an open file whose end is at I(offset), in bytes.

    C(direct) is whether the last write went past the page cache.
    """

    def __init__(self, handle: int, offset: int) -> None:
        self.direct = False
        self._handle = handle
        self._offset = offset
        self._can = bool(_DIRECT)

    def write(self, data: Union[bytes, memoryview]) -> None:
        """Write all of it."""
        view = memoryview(data)
        while view:
            whole = len(view) - len(view) % BLOCK
            self._switch(self._can and whole >= _LEAST and self._offset % BLOCK == 0)
            try:
                count = os.write(self._handle, view[:whole] if self.direct else view)
            except OSError as error:
                if error.errno != errno.EINVAL or not self.direct:
                    raise
                self._can = False
                continue
            self._offset += count
            view = view[count:]

    def _switch(self, direct: bool) -> None:
        if direct == self.direct:
            return
        flags = fcntl.fcntl(self._handle, fcntl.F_GETFL)
        try:
            fcntl.fcntl(self._handle, fcntl.F_SETFL, flags | _DIRECT if direct else flags & ~_DIRECT)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            self._can = False
            return
        self.direct = direct
