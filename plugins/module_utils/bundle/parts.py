# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read a bundle where it lies: one directory, or parts on any number of media, which are never joined.

A part is a plain tar of whole files of the bundle, or of ranges of one that is larger than a part. The part list
says which bytes of which part are which bytes of which file, so nothing has to be unpacked: a blob is read out of the
tars, from media that may be read-only. Every part carries all manifests; the first one all files that are no blobs.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Optional

from ansible_collections.airgap.speech.plugins.module_utils.bundle.lock import (
    LOCK_NAME,
    SIGNATURE_NAME,
    Lock,
    LockError,
    blob_path,
    parse,
)
from ansible_collections.airgap.speech.plugins.module_utils.bundle.verify import (
    BundleError,
    Progress,
    digest_of,
    verify_bundle,
)
from ansible_collections.airgap.speech.plugins.module_utils.oci.digest import PIECE, sha256_bytes, sha256_file
from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import Extent, ExtentReader, Layout, LayoutError

SCHEMA = "airgap.speech/parts/v1"
LIST_NAME = "bundle.parts.json"
LIST_SIGNATURE_NAME = LIST_NAME + ".sig"
SETUP_NAME = "setup.sh"
# What lies beside the parts on every medium.
COMPANIONS = (LOCK_NAME, SIGNATURE_NAME, LIST_NAME, LIST_SIGNATURE_NAME, SETUP_NAME)

_NAME = re.compile(r"^bundle\.part\d{3,}\.tar\Z")
_DIGEST = re.compile(r"^sha256:[0-9a-f]{64}\Z")


class PartsError(Exception):
    """Something is wrong with the parts of a bundle: the thing, the cause and the next step."""


@dataclass(frozen=True)
class Entry:
    """Bytes C(start) to C(start + size) of a file of the bundle, which lie at C(offset) of the part."""

    path: str
    start: int
    size: int
    offset: int


@dataclass(frozen=True)
class Part:
    """One part: its file, its digest, its size in bytes and what is in it."""

    number: int
    name: str
    digest: str
    size: int
    entries: tuple[Entry, ...] = ()


@dataclass(frozen=True)
class PartList:
    """All parts of a bundle, and the lock that they belong to."""

    lock: str
    part_size: int
    parts: tuple[Part, ...]

    def label(self, part: Part) -> str:
        """How a part is called in messages."""
        return f"part {part.number} of {len(self.parts)} ({part.name})"

    def without_digests(self) -> PartList:
        """The same plan before anything was written."""
        return replace(self, parts=tuple(replace(part, digest="") for part in self.parts))


def part_name(number: int) -> str:
    """The file of a part."""
    return f"bundle.part{number:03d}.tar"


def dump_list(parts: PartList) -> bytes:
    """The one form of a part list: one line an entry, so that it is small and can be read."""
    document = asdict(parts)
    entries = [part.pop("entries") for part in document["parts"]]
    lines = ["{", f' "schema": {json.dumps(SCHEMA)},', f' "lock": {json.dumps(parts.lock)},']
    lines.append(f' "part_size": {parts.part_size},')
    lines.append(' "parts": [')
    for index, (part, inside) in enumerate(zip(document["parts"], entries)):
        head = json.dumps(part, sort_keys=True)[:-1]
        lines.append(f'  {head}, "entries": [')
        for place, entry in enumerate(inside):
            lines.append(f"   {json.dumps(entry, sort_keys=True)}" + ("," if place + 1 < len(inside) else ""))
        lines.append("  ]}" + ("," if index + 1 < len(entries) else ""))
    lines += [" ]", "}", ""]
    return "\n".join(lines).encode("ascii")


def parse_list(data: bytes, thing: str = LIST_NAME) -> PartList:
    """A part list from its bytes; refuses what is not wholly understood."""

    def fail(cause: str) -> PartsError:
        return PartsError(f"{thing}: {cause}; copy it again from another medium")

    def count(value: Any, what: str) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise fail(f"{what} is no count of bytes")
        return value

    try:
        tree = json.loads(data.decode("utf-8"))
    except (UnicodeDecodeError, ValueError) as error:
        raise fail(f"is not JSON ({error})") from error
    if not isinstance(tree, dict) or tree.get("schema") != SCHEMA:
        found = tree.get("schema") if isinstance(tree, dict) else None
        raise PartsError(
            f"{thing}: has schema {found!r}, this version reads {SCHEMA}; use the collection of the bundle"
        )
    if not isinstance(tree.get("parts"), list) or not tree["parts"] or not _DIGEST.match(str(tree.get("lock"))):
        raise fail("it has no parts or no digest of a lock")
    parts: list[Part] = []
    for number, raw in enumerate(tree["parts"], start=1):
        what = f"part {number}"
        if not isinstance(raw, dict) or raw.get("number") != number or not isinstance(raw.get("entries"), list):
            raise fail(f"{what} is missing or no mapping")
        name, digest = str(raw.get("name")), str(raw.get("digest"))
        if not _NAME.match(name) or not _DIGEST.match(digest):
            raise fail(f"{what} has no name or no sha256 digest")
        size = count(raw.get("size"), f"the size of {what}")
        entries: list[Entry] = []
        for item in raw["entries"]:
            if not isinstance(item, dict) or not isinstance(item.get("path"), str):
                raise fail(f"an entry of {what} has no path")
            numbers = [count(item.get(key), f"{key} of {item['path']}") for key in ("start", "size", "offset")]
            entry = Entry(item["path"], *numbers)
            if entry.offset + entry.size > size:
                raise fail(f"{entry.path} lies outside of {what}")
            entries.append(entry)
        parts.append(Part(number, name, digest, size, tuple(entries)))
    return PartList(str(tree["lock"]), count(tree.get("part_size"), "part_size"), tuple(parts))


def check_list(parts: PartList, lock: Lock, thing: str = LIST_NAME) -> None:
    """Each file of the lock lies in the parts, all of its bytes once (whole files may be there again); nothing else."""
    pieces: dict[str, set[tuple[int, int]]] = {}
    for part in parts.parts:
        for entry in part.entries:
            pieces.setdefault(entry.path, set()).add((entry.start, entry.size))
    wanted = lock.paths()
    for path in sorted(set(pieces) - set(wanted)):
        raise PartsError(f"{thing}: names {path}, which the lock does not; copy list and lock again")
    for path, (_digest, size) in sorted(wanted.items()):
        reached = 0
        for start, length in sorted(pieces.get(path, ())):
            if start != reached:
                break
            reached += length
        else:
            if reached == size and path in pieces:
                continue
        raise PartsError(f"{thing}: {path} is not whole in the parts; make the parts again")


@dataclass(frozen=True)
class Piece:
    """A range of a file of the bundle, and each place (number of the part, offset in it) where it lies."""

    start: int
    size: int
    places: tuple[tuple[int, int], ...]


class Shelf:
    """The parts that are at hand, and what lies in them."""

    def __init__(self, parts: PartList, present: Mapping[int, str]) -> None:
        self.parts = parts
        self.present = dict(present)
        places: dict[tuple[str, int, int], list[tuple[int, int]]] = {}
        for part in parts.parts:
            for entry in part.entries:
                places.setdefault((entry.path, entry.start, entry.size), []).append((part.number, entry.offset))
        self.pieces: dict[str, list[Piece]] = {}
        for (path, start, size), where in sorted(places.items()):
            self.pieces.setdefault(path, []).append(Piece(start, size, tuple(where)))

    def extents(self, path: str, start: int = 0) -> tuple[Extent, ...]:
        """Where the bytes of a file lie from byte I(start) on, as far as they are at hand without a gap."""
        found: list[Extent] = []
        for piece in self.pieces.get(path, ()):
            skipped = max(0, start - piece.start)
            if skipped and skipped >= piece.size:
                continue
            place = next(((self.present[n], offset) for n, offset in piece.places if n in self.present), None)
            if place is None:
                break
            found.append(Extent(Path(place[0]), place[1] + skipped, piece.size - skipped))
        return tuple(found)

    def wanted(self, path: str, start: int = 0) -> tuple[str, ...]:
        """The files of the parts to bring before a file of the bundle is whole from byte I(start) on, in order."""
        needed = [piece for piece in self.pieces.get(path, ()) if piece.start + piece.size > start]
        absent = [piece for piece in needed if not any(place[0] in self.present for place in piece.places)]
        return tuple(part_name(piece.places[0][0]) for piece in absent)

    def labels(self, path: str) -> str:
        """The parts that hold a file, for messages."""
        numbers = sorted({piece.places[0][0] for piece in self.pieces.get(path, ())})
        return ", ".join(self.parts.label(self.parts.parts[number - 1]) for number in numbers)

    def absent(self) -> tuple[Part, ...]:
        """The parts that are not at hand."""
        return tuple(part for part in self.parts.parts if part.number not in self.present)


class PartsLayout(Layout):
    """The layout of a split bundle: blobs are read out of the parts that are at hand, manifests out of any."""

    is_split = True

    def __init__(self, lock: Lock, shelf: Shelf) -> None:
        super().__init__("oci", *omitted_of(lock))
        self._shelf = shelf
        self._sizes = {blob.digest: blob.size for blob in lock.blobs}

    def size_of(self, digest: str) -> Optional[int]:
        """The size of a blob in bytes, whether or not its part is at hand."""
        return self._sizes.get(digest)

    def blob_path(self, digest: str) -> Path:
        """A blob in parts has no file of its own."""
        raise LayoutError(f"{self.where(digest)}: it lies in parts, not in a file of its own; read its extents")

    def extents(self, digest: str) -> tuple[Extent, ...]:
        """Where the bytes of a blob lie; an error that names the parts to bring where they are not all at hand."""
        if digest not in self._sizes:
            raise LayoutError(f"{self.where(digest)}: it is in no part; copy the part list and the lock again")
        wanted = self.wanted(digest)
        if wanted:
            raise LayoutError(f"{self.where(digest)}: {', '.join(wanted)} is not at hand; bring it and run again")
        return self._shelf.extents(blob_path(digest))

    def extents_from(self, digest: str, start: int) -> tuple[Extent, ...]:
        """Where the bytes of a blob lie from byte I(start) on, as far as they are at hand without a gap."""
        return self._shelf.extents(blob_path(digest), start)

    def wanted(self, digest: str, start: int = 0) -> tuple[str, ...]:
        """The files of the parts to bring before the blob is whole from byte I(start) on, in order."""
        return self._shelf.wanted(blob_path(digest), start)

    def where(self, digest: str) -> str:
        """The blob and its parts, for messages."""
        labels = self._shelf.labels(blob_path(digest))
        return f"blob {digest} ({labels})" if labels else f"blob {digest}"


def omitted_of(lock: Lock) -> tuple[dict[str, int], dict[str, list[str]]]:
    """Digest to size, and digest to repositories, of the blobs that the lock leaves out, since the site holds them."""
    sizes = {item.digest: item.size for item in lock.omitted}
    return sizes, {item.digest: item.repositories for item in lock.omitted}


@dataclass(frozen=True)
class Opened:
    """A bundle where it lies: its lock, its layout and, where it is split, the parts that are at hand."""

    paths: tuple[str, ...]
    lock_path: str
    lock: Lock
    layout: Layout
    shelf: Optional[Shelf] = None
    list_path: str = ""

    def label(self, name: str) -> str:
        """How the part of that file name is called in messages."""
        if self.shelf is not None:
            for part in self.shelf.parts.parts:
                if part.name == name:
                    return self.shelf.parts.label(part)
        return name

    def wanted(self) -> tuple[str, ...]:
        """The files of all parts that are not at hand."""
        return tuple(part.name for part in self.shelf.absent()) if self.shelf is not None else ()

    def extents(self, path: str) -> tuple[Extent, ...]:
        """Where the bytes of any file of the lock lie."""
        known = self.lock.paths().get(path)
        if known is None:
            raise PartsError(f"{path}: is not in the lock; correct the path, or make the bundle with it")
        if self.shelf is None:
            full = os.path.join(self.paths[0], path)
            if not os.path.isfile(full) or os.path.getsize(full) != known[1]:
                raise PartsError(f"{full}: is missing or has another size than in the lock; copy that file again")
            return (Extent(Path(full), 0, known[1]),)
        wanted = self.shelf.wanted(path)
        if wanted:
            raise PartsError(f"{path}: {self.label(wanted[0])} is not at hand; bring it and run again")
        return self.shelf.extents(path)

    def take(self, path: str, target: str, mode: int = 0o644) -> None:
        """Copy a file out of the bundle, held against its digest on the way; the target is replaced at once."""
        extents = self.extents(path)
        digest, _size = self.lock.paths()[path]
        hasher = hashlib.sha256()
        folder = os.path.dirname(os.path.abspath(target))
        os.makedirs(folder, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".partial-", dir=folder)
        try:
            with os.fdopen(handle, "wb") as out, ExtentReader(extents) as stream:
                for chunk in iter(lambda: stream.read(PIECE) or b"", b""):
                    hasher.update(chunk)
                    out.write(chunk)
                os.fchmod(out.fileno(), mode)
            if "sha256:" + hasher.hexdigest() != digest:
                where = self.shelf.labels(path) if self.shelf is not None else self.paths[0]
                raise PartsError(f"{path} in {where}: sha256 differs; copy that again")
            os.replace(name, target)
        finally:
            if os.path.exists(name):
                os.unlink(name)


def open_bundle(paths: Sequence[str]) -> Opened:
    """A bundle from one directory, or from the directories that hold its parts. Reads the lock and the part list only.

    Nothing is verified yet: that the lock is signed is the caller's to see, before anything else of it is believed.
    """
    if not paths:
        raise PartsError("bundle: no directory is given; set airgap_bundle")
    # A drive may have nothing mounted yet: what it will bring is wanted, as the parts that are absent from others are.
    paths = [path for path in paths if os.path.isdir(path)] or paths[:1]
    lists = [os.path.join(path, LIST_NAME) for path in paths if os.path.isfile(os.path.join(path, LIST_NAME))]
    locks = [os.path.join(path, LOCK_NAME) for path in paths if os.path.isfile(os.path.join(path, LOCK_NAME))]
    if not locks:
        raise LockError(
            f"{os.path.join(paths[0], LOCK_NAME)}: there is no lock, so this is no bundle or its copy is not complete; "
            "check airgap_bundle, or copy the bundle again"
        )
    lock_bytes = _same(locks)
    lock = parse(lock_bytes, locks[0])
    if not lists:
        stray = next((path for path in paths if any(_NAME.match(name) for name in os.listdir(path))), None)
        if stray is not None:
            raise PartsError(
                f"{os.path.join(stray, LIST_NAME)}: is missing; copy it and its signature from another medium"
            )
        if len(paths) > 1:
            raise PartsError(
                f"{paths[1]}: a bundle that is not split lies in one directory; name only the one that holds it"
            )
        layout = Layout(os.path.join(paths[0], "oci"), *omitted_of(lock))
        return Opened(tuple(paths), locks[0], lock, layout)
    parts = parse_list(_same(lists), lists[0])
    digest = sha256_bytes(lock_bytes)
    if parts.lock != digest:
        raise PartsError(
            f"{lists[0]}: belongs to the lock {parts.lock}, and {locks[0]} is {digest}; copy both from one bundle"
        )
    check_list(parts, lock, lists[0])
    present: dict[int, str] = {}
    for part in parts.parts:
        for path in paths:
            full = os.path.join(path, part.name)
            if part.number not in present and os.path.isfile(full):
                present[part.number] = full
    shelf = Shelf(parts, present)
    return Opened(tuple(paths), locks[0], lock, PartsLayout(lock, shelf), shelf, lists[0])


def _same(files: Sequence[str]) -> bytes:
    """The content of files that have to be equal."""
    contents: list[bytes] = []
    for path in files:
        try:
            with open(path, "rb") as handle:
                contents.append(handle.read())
        except OSError as error:
            raise PartsError(f"{path}: cannot be read ({error.strerror}); copy it from another medium") from error
        if contents[-1] != contents[0]:
            raise PartsError(
                f"{path}: differs from {files[0]}, so these are parts of two bundles; name the media of one bundle only"
            )
    return contents[0]


def verify_opened(opened: Opened, threads: int = 2, progress: Optional[Progress] = None) -> int:
    """Hold all that is at hand against lock or part list; returns how many bytes were read.

    A part that is not at hand is no error here: RV(Opened.wanted) says which those are. Sizes come first.
    """
    if opened.shelf is None:
        verify_bundle(opened.paths[0], opened.lock, threads, progress)
        return opened.lock.size
    parts, present = opened.shelf.parts, opened.shelf.present
    problems: list[str] = []
    todo: list[tuple[str, str, str, int]] = []
    for part in parts.parts:
        full = present.get(part.number)
        if full is None:
            continue
        size = os.path.getsize(full)
        if size != part.size:
            problems.append(f"{parts.label(part)}: has {size} bytes, expected {part.size}; copy that part again")
        else:
            todo.append((parts.label(part), full, part.digest, part.size))
    known = {part.name for part in parts.parts}
    wanted = opened.lock.paths()
    for path in opened.paths:
        for name in sorted(os.listdir(path)):
            if _NAME.match(name) and name not in known:
                problems.append(f"{os.path.join(path, name)}: is no part of this bundle; remove it")
        setup = os.path.join(path, SETUP_NAME)
        if SETUP_NAME in wanted and os.path.isfile(setup) and sha256_file(setup)[0] != wanted[SETUP_NAME][0]:
            problems.append(f"{setup}: sha256 differs; copy it again from another medium")
    if problems:
        raise BundleError(", ".join(opened.paths), problems)
    problems = _wrong(todo, threads, progress)
    if problems:
        raise BundleError(", ".join(opened.paths), problems)
    return sum(size for _label, _path, _digest, size in todo)


def _wrong(todo: Iterable[tuple[str, str, str, int]], threads: int, progress: Optional[Progress]) -> list[str]:
    """Which of (label, path, digest, size) are not what they should be."""
    problems: list[str] = []
    done = 0
    ordered = sorted(todo, key=lambda item: -item[3])
    total = sum(item[3] for item in ordered)
    with ThreadPoolExecutor(max_workers=max(1, threads)) as pool:
        waiting: dict[Future[str], tuple[str, str, str, int]] = {
            pool.submit(digest_of, item[1]): item for item in ordered
        }
        while waiting:
            finished, _rest = wait(waiting, return_when=FIRST_COMPLETED)
            for future in finished:
                label, _path, digest, size = waiting.pop(future)
                try:
                    if future.result() != digest:
                        problems.append(f"{label}: sha256 differs; copy that part again")
                except OSError as error:
                    problems.append(f"{label}: cannot be read ({error.strerror}); copy that part again")
                done += size
                if progress is not None:
                    progress(done, total)
    return sorted(problems)
