# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the bytes of a blob lie, and the streams over them."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import (
    Extent,
    ExtentReader,
    Layout,
    LayoutError,
)
from tests.unit.plugins.module_utils.oci.samples import add_image, noise

ABSENT = "sha256:" + "0" * 64


@pytest.fixture(name="layout")
def a_layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path / "oci")
    layout.create()
    return layout


@pytest.fixture(name="scattered")
def scattered_bytes(tmp_path: Path) -> tuple[bytes, tuple[Extent, ...]]:
    """1000 bytes over three files, with other bytes around them, and one extent of nothing."""
    data = noise("scattered", 1000)
    cuts = [(0, 300), (300, 300), (300, 301), (301, 1000)]
    extents = []
    for index, (start, end) in enumerate(cuts):
        path = tmp_path / f"file{index}"
        path.write_bytes(b"x" * index * 7 + data[start:end] + b"y" * 9)
        extents.append(Extent(path, index * 7, end - start))
    return data, tuple(extents)


def test_a_blob_of_a_plain_layout_is_one_extent(layout: Layout) -> None:
    digest, size = layout.add_bytes(b"abcdef")
    path = layout.blob_path(digest)
    assert layout.extents(digest) == (Extent(path, 0, size),)
    assert layout.extents_from(digest, 4) == (Extent(path, 4, 2),)
    assert layout.extents_from(digest, 6) == ()
    assert layout.wanted(digest) == ()
    with layout.open(digest) as stream:
        assert stream.read() == b"abcdef"


def test_a_blob_that_is_missing_is_named(layout: Layout) -> None:
    assert layout.size_of(ABSENT) is None
    for read in (layout.extents, layout.open, layout.read_bytes):
        with pytest.raises(LayoutError, match=f"blob {ABSENT} .*: it is missing; copy the bundle again"):
            read(ABSENT)


@pytest.mark.parametrize("chunk", [1, 7, 300, 299, 1 << 20])
def test_a_stream_reads_across_files(scattered: tuple[bytes, tuple[Extent, ...]], chunk: int) -> None:
    data, extents = scattered
    with ExtentReader(extents) as stream:
        assert stream.size == 1000
        read = b""
        while True:
            more = stream.read(chunk)
            if not more:
                break
            assert len(more) <= chunk
            read += more
        assert read == data
        assert stream.tell() == 1000


def test_a_stream_can_be_sought(scattered: tuple[bytes, tuple[Extent, ...]]) -> None:
    data, extents = scattered
    with ExtentReader(extents) as stream:
        for position in (999, 0, 300, 301, 299, 1000, 5):
            assert stream.seek(position) == position
            assert stream.readall() == data[position:]
        assert stream.seek(-10, io.SEEK_END) == 990
        assert stream.seek(-90, io.SEEK_CUR) == 900
        assert stream.readall() == data[900:]
    with io.BufferedReader(ExtentReader(extents)) as buffered:
        buffered.seek(250)
        assert buffered.read(100) == data[250:350]


def test_a_file_that_was_cut_short_is_named(scattered: tuple[bytes, tuple[Extent, ...]]) -> None:
    _data, extents = scattered
    last = extents[-1].path
    last.write_bytes(last.read_bytes()[:200])
    with ExtentReader(extents) as stream, pytest.raises(LayoutError, match=f"{last}: it ends before byte 720"):
        stream.readall()


def test_an_omitted_blob_may_be_absent(layout: Layout) -> None:
    image = add_image(layout, [noise("kept", 500), noise("omitted", 900)])
    whole = [(each.digest, each.size) for each in layout.walk(image)]
    digest, size = next((digest, size) for digest, size in whole if size == 900)
    layout.blob_path(digest).unlink()
    with pytest.raises(LayoutError, match=digest):
        list(layout.walk(image))
    delta = Layout(layout.path, {digest: size})
    assert [(each.digest, each.size) for each in delta.walk(image)] == whole
    assert not delta.has(digest)
    with pytest.raises(LayoutError, match="901 bytes where 900 are announced"):
        list(Layout(layout.path, {digest: 901}).walk(image))
