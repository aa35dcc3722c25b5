# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import fcntl
import mmap
import os
from pathlib import Path

import pytest

from ansible_collections.airgap.speech.plugins.module_utils.oci.sink import BLOCK, Sink, aligned
from tests.unit.plugins.module_utils.oci.samples import noise

MIB = 1 << 20


def goes_past_the_cache(path: Path) -> bool:
    """Whether the file system below a path takes a block past the page cache, asked in another way than Sink does."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_DIRECT)
    except OSError:
        return False
    try:
        return os.write(handle, mmap.mmap(-1, BLOCK)) == BLOCK
    except OSError:
        return False
    finally:
        os.close(handle)


@pytest.mark.parametrize(
    ("before", "sizes"),
    [
        (0, [4 * MIB, 4 * MIB, 17]),
        (0, [MIB + 1, 3 * MIB - 1, 2 * MIB]),  # an end that is no whole block, and back to whole ones
        (5, [BLOCK - 5, 2 * MIB, 100]),
        (512, [2 * MIB, 2 * MIB]),
        (BLOCK, [1, 0, 2 * MIB, MIB]),
    ],
)
def test_every_byte_is_written_once_and_in_order(tmp_path: Path, before: int, sizes: list[int]) -> None:
    data = noise("data", before + sum(sizes))
    path = tmp_path / "file"
    path.write_bytes(data[:before])
    offset = before
    with path.open("ab", buffering=0) as out:
        sink = Sink(out.fileno(), before)
        for size in sizes:
            buffer = aligned(size)
            buffer[:] = data[offset : offset + size]
            sink.write(buffer)
            offset += size
        assert fcntl.fcntl(out, fcntl.F_GETFL) & os.O_APPEND
    assert path.read_bytes() == data


def test_large_pieces_go_past_the_cache_where_they_can(tmp_path: Path) -> None:
    wanted = goes_past_the_cache(tmp_path / "other")
    with (tmp_path / "file").open("ab", buffering=0) as out:
        sink = Sink(out.fileno(), 0)
        sink.write(aligned(2 * MIB))
        assert sink.direct is wanted
        sink.write(b"end")
        assert not sink.direct
    assert (tmp_path / "file").stat().st_size == 2 * MIB + 3


def test_memory_that_the_disk_cannot_take_goes_through_the_cache(tmp_path: Path) -> None:
    data = noise("data", 2 * MIB + 1)
    with (tmp_path / "file").open("ab", buffering=0) as out:
        sink = Sink(out.fileno(), 0)
        buffer = aligned(len(data))
        buffer[:] = data
        sink.write(buffer[1:])
    assert (tmp_path / "file").read_bytes() == data[1:]


def test_other_errors_are_told(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    handle = os.open(path, os.O_RDONLY)
    try:
        with pytest.raises(OSError, match="Bad file descriptor"):
            Sink(handle, 0).write(aligned(2 * MIB))
    finally:
        os.close(handle)
