# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives whose bytes depend on their content alone: no times, no owners, a fixed order."""

from __future__ import annotations

import gzip
import io
import os
import struct
import tarfile
import zipfile
import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import IO

CHUNK = 1024 * 1024
GZIP_LEVEL = 4
# Magic, deflate, no flags, no time, nothing said about the level, Unix.
GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03"
BLOCK = 4 * 1024 * 1024
WINDOW = 32 * 1024


class ArchiveError(Exception):
    """An archive that cannot be read, or that reaches outside its directory."""


def compressed(chunks: Iterable[bytes], level: int = GZIP_LEVEL, threads: int = 1) -> Iterator[bytes]:
    """Gzip a stream, with no name and no time in its header.

    Blocks of a fixed size are packed side by side, each with the end of the one before as its dictionary, and joined to
    one stream: the bytes are the same for every count of threads.
    """
    yield GZIP_HEADER
    check, size = 0, 0
    with ThreadPoolExecutor(max_workers=max(1, threads)) as pool:
        waiting: deque[Future[bytes]] = deque()
        before = b""
        for block in _blocks(chunks):
            check, size = zlib.crc32(block, check), size + len(block)
            waiting.append(pool.submit(_pack, block, before, level))
            before = block[-WINDOW:]
            if len(waiting) > max(1, threads):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    yield b"\x03\x00" + struct.pack("<II", check, size & 0xFFFFFFFF)


def _pack(block: bytes, before: bytes, level: int) -> bytes:
    """One block as raw deflate data that ends on a byte and does not end the stream."""
    packer = zlib.compressobj(level, zlib.DEFLATED, -15, 8, zlib.Z_DEFAULT_STRATEGY, before)
    return packer.compress(block) + packer.flush(zlib.Z_SYNC_FLUSH)


def _blocks(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in blocks of BLOCK, the last one shorter."""
    held: list[bytes] = []
    count = 0
    for chunk in chunks:
        view = chunk
        while count + len(view) >= BLOCK:
            cut = BLOCK - count
            held.append(view[:cut])
            yield b"".join(held)
            view, held, count = view[cut:], [], 0
        if view:
            held.append(view)
            count += len(view)
    if held:
        yield b"".join(held)


def read_chunks(handle: IO[bytes], size: int = -1) -> Iterator[bytes]:
    """The next `size` bytes of a file (all where negative), in chunks."""
    left = size
    while left != 0:
        chunk = handle.read(CHUNK if left < 0 else min(CHUNK, left))
        if not chunk:
            if left > 0:
                raise ArchiveError("{}: ends {} bytes too early".format(getattr(handle, "name", "archive"), left))
            return
        if left > 0:
            left -= len(chunk)
        yield chunk


def entry_header(name: str, size: int, mode: int = 0o644) -> bytes:
    """The tar header of a plain file."""
    info = tarfile.TarInfo(name)
    info.size = size
    info.mode = mode
    return info.tobuf(tarfile.PAX_FORMAT)


def entry_end(size: int) -> bytes:
    """What follows the content of the last file of a tar, `size` bytes long."""
    return b"\0" * (-size % tarfile.BLOCKSIZE + 2 * tarfile.BLOCKSIZE)


def one_file_tar(name: str, path: str, size: int) -> Iterator[bytes]:
    """A tar with one file in it, as a stream."""
    yield entry_header(name, size)
    with open(path, "rb") as handle:
        yield from read_chunks(handle, size)
    yield entry_end(size)


def tar_gz(entries: Iterable[tuple[str, bytes, bool]], first: Iterable[str] = ()) -> bytes:
    """A gzipped tar of (name, content, executable); the names in `first` lead, the others follow in order."""
    lead = list(first)
    rank = {name: index for index, name in enumerate(lead)}
    out = io.BytesIO()
    for name, content, executable in sorted(entries, key=lambda entry: (rank.get(entry[0], len(lead)), entry[0])):
        out.write(entry_header(name, len(content), 0o755 if executable else 0o644))
        out.write(content)
        out.write(b"\0" * (-len(content) % tarfile.BLOCKSIZE))
    out.write(b"\0" * (2 * tarfile.BLOCKSIZE))
    return b"".join(compressed([out.getvalue()], level=9))


def read_tar_gz(data: bytes, thing: str) -> list[tuple[str, bytes, bool]]:
    """The plain files of a gzipped tar."""
    entries: list[tuple[str, bytes, bool]] = []
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
            for member in archive:
                if member.isdir():
                    continue
                handle = archive.extractfile(member) if member.isfile() else None
                if handle is None:
                    raise ArchiveError(f"{thing}: {member.name} is neither a file nor a directory")
                safe_name(member.name, thing)
                entries.append((member.name, handle.read(), bool(member.mode & 0o100)))
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise ArchiveError(f"{thing}: is no gzipped tar ({error})") from error
    return entries


def repack(data: bytes, thing: str, first: Iterable[str] = ()) -> bytes:
    """The same files in the reproducible form."""
    return tar_gz(read_tar_gz(data, thing), first)


def safe_name(name: str, thing: str) -> str:
    """A member name that stays below the directory it is unpacked into."""
    parts = name.split("/")
    if name.startswith("/") or "\\" in name or any(part in ("", ".", "..") for part in parts):
        raise ArchiveError(f"{thing}: the member {name!r} does not stay below its directory")
    return name


def unpack_tar_gz(path: str, target: str) -> None:
    """Unpack plain files into a directory, streaming."""
    try:
        with gzip.open(path, "rb") as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                if member.isdir():
                    continue
                handle = archive.extractfile(member) if member.isfile() else None
                if handle is None:
                    raise ArchiveError(f"{path}: {member.name} is neither a file nor a directory")
                full = os.path.join(target, safe_name(member.name, path))
                os.makedirs(os.path.dirname(full), exist_ok=True)
                with open(full, "wb") as out:
                    out.writelines(read_chunks(handle))
                os.chmod(full, 0o755 if member.mode & 0o100 else 0o644)
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise ArchiveError(f"{path}: cannot be unpacked ({error})") from error


def zipapp(entries: Iterable[tuple[str, bytes]], interpreter: str = "/usr/bin/env python3") -> bytes:
    """A Python zip application; each directory has its own entry, so that packages without __init__ are found."""
    files = dict(entries)
    folders: set[str] = set()
    for name in files:
        parts = name.split("/")[:-1]
        folders.update("/".join(parts[: index + 1]) + "/" for index in range(len(parts)))
    out = io.BytesIO()
    out.write(b"#!%s\n" % interpreter.encode())
    with zipfile.ZipFile(out, "a") as archive:
        for name in sorted(set(files) | folders):
            info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            info.create_system = 3
            info.external_attr = ((0o40755 << 16) | 0x10) if name.endswith("/") else (0o100644 << 16)
            info.compress_type = zipfile.ZIP_STORED if name.endswith("/") else zipfile.ZIP_DEFLATED
            archive.writestr(info, files.get(name, b""))
    return out.getvalue()
