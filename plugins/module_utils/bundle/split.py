# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write a bundle as parts: planned from the lock alone, each part written once and hashed while it is written.

The plan and every byte depend on the lock, the part size and nothing else, so a part that is made again equals the one
that was lost.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import IO, Any, Optional

from ansible_collections.airgap.speech.plugins.module_utils.bundle.cache import write_file
from ansible_collections.airgap.speech.plugins.module_utils.bundle.lock import (
    LOCK_NAME,
    SIGNATURE_NAME,
    Lock,
    blob_path,
    dump,
)
from ansible_collections.airgap.speech.plugins.module_utils.bundle.parts import (
    LIST_NAME,
    LIST_SIGNATURE_NAME,
    SETUP_NAME,
    Entry,
    Part,
    PartList,
    PartsError,
    dump_list,
    parse_list,
    part_name,
)
from ansible_collections.airgap.speech.plugins.module_utils.oci.digest import PIECE, sha256_bytes, sha256_file
from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import Layout, references_of
from ansible_collections.airgap.speech.plugins.module_utils.oci.sink import write_all

BLOCK = tarfile.BLOCKSIZE
TAIL = 2 * BLOCK
# What the two signatures may take beside the parts, with several signers.
SIGNATURES = 32 * 1024
# Ranges shorter than this would make more parts than anybody carries.
LEAST_RANGE = 64 * 1024
MOST_PARTS = 999
# A chart that is larger is carried once, as all other blobs.
MOST_CHART = 4 << 20
STATE_NAME = ".bundle.parts.state.json"
# Kinds of files that the first run inside needs from the first part.
LEADING = ("tool", "wheel", "collection", "setup", "layout", "sbom")

_PART = re.compile(r"^bundle\.part\d+\.tar\Z")
_UNITS = {"": 1, "B": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_UNITS.update({"KI": 1 << 10, "MI": 1 << 20, "GI": 1 << 30, "TI": 1 << 40})
_SIZE = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?\s*\Z", re.IGNORECASE)

Say = Callable[[str], None]


class SourceError(PartsError):
    """A file that goes into the parts is not what the lock says of it."""

    def __init__(self, path: str, text: str) -> None:
        super().__init__(f"{path}: {text}; make the bundle again")
        self.path = path


def parse_size(text: str) -> int:
    """Bytes of C(4.7G), C(25 GB), C(650Mi) or a plain count; G is 10^9 as media are sold, Gi is 2^30."""
    match = _SIZE.match(text)
    size = 0
    if match is not None:
        # In whole numbers, so that no rounding of a float decides over a byte.
        whole, _dot, fraction = match.group(1).partition(".")
        unit = _UNITS[(match.group(2) + match.group(3)).upper()] if match.group(2) else 1
        size = (int(whole + fraction) * unit) // 10 ** len(fraction)
    if size <= 0:
        raise PartsError(f"bundle_part_size {text!r}: is no size; write it as 4.7G, 25GB or 650Mi")
    return size


def leftovers(dest: str) -> list[str]:
    """What a split left in a directory: its parts, its list, and what a killed run was at."""
    names = sorted(os.listdir(dest)) if os.path.isdir(dest) else []
    return [name for name in names if _PART.match(name) or name in (LIST_NAME, LIST_SIGNATURE_NAME, STATE_NAME)]


def manifests_of(lock: Lock, layout: Layout) -> set[str]:
    """The digests of all manifests and indexes that the lock carries, those of referrers included."""
    held = {blob.digest for blob in lock.blobs}
    found: set[str] = set()
    todo = sorted(set(lock.digests().values()))
    todo += sorted({referrer.digest for image in lock.images for referrer in image.referrers})
    while todo:
        digest = todo.pop()
        if digest in found or digest not in held:
            continue
        found.add(digest)
        children, _blobs = references_of(layout.read_json(digest), f"manifest {digest}")
        todo += [child.digest for child in children]
    return found


def everywhere_of(lock: Lock, layout: Layout) -> set[str]:
    """The digests of the small blobs that every part carries: all manifests and indexes, and the charts."""
    found = manifests_of(lock, layout)
    for chart in lock.charts:
        _children, blobs = references_of(layout.read_json(chart.digest), f"chart {chart.reference}")
        found |= {blob.digest for blob in blobs if blob.size <= MOST_CHART}
    return found & {blob.digest for blob in lock.blobs}


# -- the plan ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Range:
    """Bytes of a file that go into one part, under the name of the tar's member."""

    path: str
    member: str
    start: int
    size: int

    @property
    def cost(self) -> int:
        """What it takes in the tar, in bytes."""
        return len(_header(self.member, self.size)) + _padded(self.size)


@dataclass
class _Filling:
    """A part that is being planned, and the room that is left in it."""

    room: int
    ranges: list[_Range]

    def put(self, piece: _Range) -> None:
        """One more."""
        self.ranges.append(piece)
        self.room -= piece.cost


def plan_parts(lock: Lock, part_size: int, everywhere: Iterable[str], setup_size: int = 0) -> PartList:
    """Which bytes go into which part; digests are still empty. I(everywhere) are the blobs that each part carries.

    Whole files where they fit (largest first, into the first part with room), ranges in parts that follow each other
    where one is larger than a part. Each part and what lies beside it on the medium fit into I(part_size) bytes.
    """
    held = set(everywhere)
    try:
        return _plan(lock, part_size, held, setup_size)
    except _TooSmall as error:
        least = error.least
    while True:
        # What is enough shows only in a plan, since a smaller part makes a longer list.
        try:
            _plan(lock, least, held, setup_size)
        except _TooSmall as error:
            least = max(error.least, least + least // 50)
        else:
            break
    raise PartsError(
        f"bundle_part_size: {part_size} bytes are too few, since the first part holds the files of the controller and "
        f"each medium lock, part list and all manifests, and {MOST_PARTS} parts are the most; choose {least} or more"
    )


class _TooSmall(Exception):
    def __init__(self, least: int) -> None:
        super().__init__(least)
        self.least = least


def _plan(lock: Lock, part_size: int, everywhere: set[str], setup_size: int) -> PartList:
    lock_bytes = dump(lock)
    digest = sha256_bytes(lock_bytes)
    beside = len(lock_bytes) + SIGNATURES + setup_size
    reserve = 4096
    while True:
        parts = _fill(lock, part_size, beside + reserve, everywhere)
        if len(parts) > MOST_PARTS:
            raise _TooSmall(part_size * len(parts) // MOST_PARTS)
        plan = PartList(digest, part_size, parts)
        # The list is part of what every medium carries, and how long it is shows only when it is made.
        needed = len(dump_list(_with_longest_digests(plan)))
        if needed <= reserve:
            return plan
        reserve = needed + needed // 16


def _with_longest_digests(plan: PartList) -> PartList:
    return replace(plan, parts=tuple(replace(part, digest="sha256:" + "0" * 64) for part in plan.parts))


def _fill(lock: Lock, part_size: int, beside: int, everywhere: set[str]) -> tuple[Part, ...]:
    repeated = [_whole(blob_path(b.digest), b.size) for b in lock.blobs if b.digest in everywhere]
    leading = [_whole(item.path, item.size) for item in lock.files if item.kind in LEADING]
    others = [_whole(blob_path(b.digest), b.size) for b in lock.blobs if b.digest not in everywhere]
    others += [_whole(item.path, item.size) for item in lock.files if item.kind not in LEADING]
    empty = part_size - beside - TAIL - sum(piece.cost for piece in repeated)
    first = empty - sum(piece.cost for piece in leading)
    longest = max((piece.cost - _padded(piece.size) for piece in others), default=0) + 3 * BLOCK
    least = part_size - min(first, empty - longest - LEAST_RANGE)
    if first < 0 or (others and empty < longest + LEAST_RANGE):
        raise _TooSmall(least)
    repeated.sort(key=lambda piece: piece.path)
    leading.sort(key=lambda piece: piece.path)
    parts = [_Filling(first, leading + repeated)]

    def more() -> _Filling:
        parts.append(_Filling(empty, list(repeated)))
        return parts[-1]

    tails: dict[str, tuple[_Range, int]] = {}
    whole: list[_Range] = []
    for piece in sorted(others, key=lambda each: (-each.size, each.path)):
        if piece.cost <= empty:
            whole.append(piece)
            continue
        tails[piece.path] = _ranges(piece, empty - longest, more, parts)
    ready = [(piece, 0) for piece in whole] + list(tails.values())
    for piece, after in sorted(ready, key=lambda each: (-each[0].size, each[0].path)):
        fitting = (part for part in parts[after:] if part.room >= piece.cost)
        (next(fitting, None) or more()).put(piece)
    return tuple(_laid_out(number, filling.ranges) for number, filling in enumerate(parts, start=1))


def _ranges(piece: _Range, room: int, more: Callable[[], _Filling], parts: Sequence[_Filling]) -> tuple[_Range, int]:
    """Fill whole parts with ranges of a large file; its last range, and how many parts have to come before it."""
    step = room // BLOCK * BLOCK
    count = -(-piece.size // step)

    def cut(index: int) -> _Range:
        start = index * step
        return _Range(piece.path, _range_name(piece.path, index, count), start, min(step, piece.size - start))

    for index in range(count - 1):
        more().put(cut(index))
    return cut(count - 1), len(parts)


def _laid_out(number: int, ranges: Sequence[_Range]) -> Part:
    entries: list[Entry] = []
    position = 0
    for piece in ranges:
        header = piece.cost - _padded(piece.size)
        entries.append(Entry(piece.path, piece.start, piece.size, position + header))
        position += piece.cost
    return Part(number, part_name(number), "", position + TAIL, tuple(entries))


def _whole(path: str, size: int) -> _Range:
    return _Range(path, path, 0, size)


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def _range_name(path: str, index: int, count: int) -> str:
    """The member of a range. Unpacked, `cat` joins them in the order of their names."""
    return f"{path}.{index + 1:03d}of{count:03d}"


def _header(member: str, size: int, mode: int = 0o644) -> bytes:
    """A tar header that says nothing of time and owner."""
    info = tarfile.TarInfo(member)
    info.size = size
    info.mode = mode
    return info.tobuf(tarfile.PAX_FORMAT)


def _headers(plan: PartList) -> dict[tuple[int, int], bytes]:
    """The header of each entry, by number of the part and offset in it."""
    starts: dict[str, set[int]] = {}
    for part in plan.parts:
        for entry in part.entries:
            starts.setdefault(entry.path, set()).add(entry.start)
    found: dict[tuple[int, int], bytes] = {}
    for part in plan.parts:
        for entry in part.entries:
            order = sorted(starts[entry.path])
            ranged = len(order) > 1
            member = _range_name(entry.path, order.index(entry.start), len(order)) if ranged else entry.path
            executable = entry.path == SETUP_NAME or entry.path.startswith("files/tools/")
            found[part.number, entry.offset] = _header(member, entry.size, 0o755 if executable else 0o644)
    return found


# -- writing -------------------------------------------------------------------------------------------------------


@dataclass
class Written:
    """What a run did, or in check mode would do."""

    parts: PartList
    changed: bool = False
    written: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    bytes_written: int = 0
    list_bytes: bytes = b""


class Splitter:
    """Brings the parts in a directory in line with a lock. The signatures are the caller's.

    The digests in I(seen) are those of sources that this run wrote and hashed itself. They are hashed once more for the
    part, and not a third time for themselves.
    """

    def __init__(
        self,
        dest: str,
        lock: Lock,
        plan: PartList,
        sources: Mapping[str, str],
        *,
        threads: int = 2,
        say: Optional[Say] = None,
        only: Sequence[int] = (),
        seen: Collection[str] = (),
    ) -> None:
        self.dest = dest
        self.lock = lock
        self.plan = plan
        self.sources = sources
        self.threads = max(1, threads)
        self.tell = say or (lambda _line: None)
        self.only = tuple(only)
        self.seen = frozenset(seen)
        self.paths = lock.paths()
        self._headers = _headers(plan)
        self._guard = threading.Lock()
        self._done = self._total = 0
        self._finished: dict[int, str] = {}
        self._started = 0.0
        self._last = 0.0

    def run(self, dry: bool = False) -> Written:
        """Write what is not there or not right; with I(dry), only say what that would be."""
        wrong = sorted(set(self.only) - {part.number for part in self.plan.parts})
        if wrong:
            raise PartsError(f"part {wrong[0]}: the bundle has {len(self.plan.parts)} parts; name one of them")
        known, listed = self._known()
        if self.only and not listed:
            raise PartsError(
                f"{os.path.join(self.dest, LIST_NAME)}: is missing or of another bundle, so a single part cannot be "
                "made again; make all parts, or put the list of the other parts there"
            )
        chosen = [part for part in self.plan.parts if not self.only or part.number in self.only]
        with ThreadPoolExecutor(max_workers=self.threads) as pool:
            right = list(pool.map(lambda part: self._is_right(part, known.get(part.number, "")), chosen))
        todo = [part for part, good in zip(chosen, right) if not good]
        made = Written(self.plan, written=[part.name for part in todo], bytes_written=sum(p.size for p in todo))
        made.removed = self._stale()
        made.changed = bool(todo or made.removed or not listed)
        if todo:
            self._check_room(todo)
        if dry:
            return made
        os.makedirs(self.dest, exist_ok=True)
        for name in made.removed:
            os.unlink(os.path.join(self.dest, name))
        digests = {part.number: known[part.number] for part in self.plan.parts if part not in todo and known}
        self._total = made.bytes_written
        self._started = self._last = time.monotonic()
        with ThreadPoolExecutor(max_workers=self.threads) as pool:
            for fresh in pool.map(lambda run: self._write_run(run, known, digests), _runs(todo, self.plan)):
                digests.update(fresh)
        made.parts = replace(
            self.plan, parts=tuple(replace(part, digest=digests[part.number]) for part in self.plan.parts)
        )
        made.list_bytes = dump_list(made.parts)
        self._beside(LIST_NAME, made.list_bytes, LIST_SIGNATURE_NAME)
        self._beside(LOCK_NAME, dump(self.lock), SIGNATURE_NAME)
        setup = self.sources.get(SETUP_NAME)
        if setup:
            with open(setup, "rb") as handle:
                self._beside(SETUP_NAME, handle.read(), "", 0o755)
        state = os.path.join(self.dest, STATE_NAME)
        if os.path.exists(state):
            os.unlink(state)
        return made

    def listed(self) -> bool:
        """Whether the destination has a part list of this very plan."""
        return self._known()[1]

    # -- what is there ---------------------------------------------------------------------------------------------

    def _known(self) -> tuple[dict[int, str], bool]:
        """Digests of parts of this very plan, and whether a whole list of them is there."""
        try:
            with open(os.path.join(self.dest, LIST_NAME), "rb") as handle:
                there = parse_list(handle.read())
            if there.without_digests() == self.plan:
                return {part.number: part.digest for part in there.parts}, True
        except (OSError, PartsError):
            pass
        try:
            with open(os.path.join(self.dest, STATE_NAME), encoding="utf-8") as handle:
                state: Any = json.load(handle)
            if state["plan"] == self._plan_digest():
                return {int(number): str(digest) for number, digest in state["parts"].items()}, False
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            pass
        return {}, False

    def _plan_digest(self) -> str:
        return hashlib.sha256(dump_list(self.plan)).hexdigest()

    def _is_right(self, part: Part, digest: str) -> bool:
        full = os.path.join(self.dest, part.name)
        if not digest or not os.path.isfile(full) or os.path.islink(full) or os.path.getsize(full) != part.size:
            return False
        return sha256_file(full)[0] == digest

    def _stale(self) -> list[str]:
        """Parts of an earlier bundle, and what a killed run left half written."""
        if not os.path.isdir(self.dest):
            return []
        wanted = {part.name for part in self.plan.parts}
        names = sorted(os.listdir(self.dest))
        old = [name for name in names if _PART.match(name) and name not in wanted]
        return old + [name for name in names if name.startswith(".partial-")]

    def _check_room(self, todo: Sequence[Part]) -> None:
        above = os.path.abspath(self.dest)
        while not os.path.isdir(above):
            above = os.path.dirname(above)
        # What is replaced gives its room back only after its successor was written.
        needed = sum(part.size for part in todo)
        free = shutil.disk_usage(above).free
        if free < needed:
            raise PartsError(
                f"{self.dest}: {free} bytes are free, the parts need {needed} more; free some, "
                "or name another destination"
            )

    # -- making ----------------------------------------------------------------------------------------------------

    def _write_run(self, run: Sequence[Part], known: Mapping[int, str], right: Mapping[int, str]) -> dict[int, str]:
        """Parts that share a file that is cut, in order, so that its digest is held against the lock on the way."""
        hashers: dict[str, tuple[Any, int]] = {}
        digests: dict[int, str] = {}
        for part in run:
            digest = self._write(part, hashers)
            if known.get(part.number, digest) != digest:
                raise PartsError(
                    f"{self.plan.label(part)}: was made again and has {digest}, where {known[part.number]} was made "
                    f"before; empty {self.dest} and make all parts again"
                )
            digests[part.number] = digest
            self._remember({**right, part.number: digest})
        return digests

    def _write(self, part: Part, hashers: dict[str, tuple[Any, int]]) -> str:
        """One part under its name; the digest of it. The digest of each member is held against the lock."""
        whole = hashlib.sha256()
        handle, name = tempfile.mkstemp(prefix=".partial-" + part.name, dir=self.dest)
        try:
            with os.fdopen(handle, "wb", buffering=0) as out, ThreadPoolExecutor(max_workers=1) as beside:

                def write(data: memoryview) -> None:
                    ahead = beside.submit(whole.update, data)
                    write_all(out.fileno(), data)
                    ahead.result()

                for entry in part.entries:
                    write(memoryview(self._headers[part.number, entry.offset]))
                    if out.tell() != entry.offset:
                        raise PartsError(f"{self.plan.label(part)}: its plan is not that of this version; run again")
                    self._copy(entry, write, hashers)
                    write(memoryview(b"\0" * (-entry.size % BLOCK)))
                write(memoryview(b"\0" * TAIL))
                os.fchmod(out.fileno(), 0o644)
                if out.tell() != part.size:
                    raise PartsError(f"{self.plan.label(part)}: a source changed meanwhile; run again")
            os.replace(name, os.path.join(self.dest, part.name))
        finally:
            if os.path.exists(name):
                os.unlink(name)
        return "sha256:" + whole.hexdigest()

    def _copy(self, entry: Entry, write: Callable[[memoryview], None], hashers: dict[str, tuple[Any, int]]) -> None:
        source = self.sources.get(entry.path)
        digest, size = self.paths[entry.path]
        if source is None or not os.path.isfile(source) or os.path.getsize(source) != size:
            raise SourceError(entry.path, f"{source or 'it'} is missing or has another size")
        hasher: Any = None
        with open(source, "rb", buffering=0) as stream:
            if digest in self.seen:
                stream.seek(entry.start)
            else:
                hasher, position = hashers.pop(entry.path, (None, 0))
                hasher = hasher or hashlib.sha256()
                # Where parts before this one are right already, their bytes count for the whole digest all the same.
                stream.seek(position)
                for data in _chunks(stream, entry.start - position, entry.path):
                    hasher.update(data)
            for data in _chunks(stream, entry.size, entry.path):
                if hasher is not None:
                    hasher.update(data)
                write(data)
                self._progress(len(data))
        if hasher is None:
            return
        end = entry.start + entry.size
        if end < size:
            hashers[entry.path] = (hasher, end)
        elif "sha256:" + hasher.hexdigest() != digest:
            raise SourceError(entry.path, f"{source} has another sha256 than the lock says")

    def _progress(self, count: int) -> None:
        with self._guard:
            self._done += count
            now = time.monotonic()
            if now - self._last < 2:
                return
            self._last = now
            rate = self._done / max(now - self._started, 0.001)
            left = (self._total - self._done) / max(rate, 1)
            self.tell(
                f"parts: {self._done >> 20} of {self._total >> 20} MB written, {rate / (1 << 20):.0f} MB/s, "
                f"{left:.0f} s left"
            )

    def _remember(self, digests: Mapping[int, str]) -> None:
        """A run that is killed goes on after the parts that were finished."""
        with self._guard:
            self._finished.update(digests)
            state = {"plan": self._plan_digest(), "parts": {str(n): digest for n, digest in self._finished.items()}}
            write_file(os.path.join(self.dest, STATE_NAME), json.dumps(state, sort_keys=True).encode())

    def _beside(self, name: str, data: bytes, signature: str, mode: int = 0o644) -> None:
        """A file that travels beside the parts. A signature of other content goes."""
        full = os.path.join(self.dest, name)
        if os.path.isfile(full):
            with open(full, "rb") as handle:
                if handle.read() == data:
                    os.chmod(full, mode)
                    return
        if signature and os.path.exists(os.path.join(self.dest, signature)):
            os.unlink(os.path.join(self.dest, signature))
        write_file(full, data)
        os.chmod(full, mode)


def _chunks(stream: IO[bytes], size: int, path: str) -> Iterator[memoryview]:
    """The next bytes of a file; each chunk is good until the next one is asked for."""
    buffer = memoryview(bytearray(min(PIECE, max(size, 1))))
    left = size
    while left > 0:
        count = stream.readinto(buffer[: min(len(buffer), left)])  # type: ignore[attr-defined]
        if not count:
            raise SourceError(path, f"its file ends {left} bytes too early")
        left -= count
        yield buffer[:count]


def _runs(todo: Sequence[Part], plan: PartList) -> list[list[Part]]:
    """Parts that share a file that is cut into ranges, together and in order; the others alone."""
    cut = {entry.path for part in plan.parts for entry in part.entries if entry.start}
    runs: list[tuple[set[str], list[Part]]] = []
    for part in todo:
        paths = {entry.path for entry in part.entries} & cut
        together = [run for run in runs if run[0] & paths]
        parts = [before for run in together for before in run[1]] + [part]
        runs = [run for run in runs if run not in together]
        runs.append((paths.union(*(run[0] for run in together)), sorted(parts, key=lambda each: each.number)))
    return [run[1] for run in runs]
