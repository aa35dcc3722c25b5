# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hold every file of a bundle against its lock."""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Callable

from ansible_collections.airgap.speech.plugins.module_utils.bundle.lock import LOCK_NAME, SIGNATURE_NAME, Lock

# Small enough to stay in the cache of a core between the read and the hash.
CHUNK = 256 * 1024
# So much of a file is mapped at a time, by each thread; of a file of less than LEAST, nothing.
WINDOW = 16 * 1024 * 1024
LEAST = 1024 * 1024
# MADV_HUGEPAGE, and MADV_POPULATE_READ of Linux 5.14, for which the module mmap has no name (or not everywhere).
HUGE_PAGE, POPULATE_READ = 14, 22
SHOWN = 10

# progress(bytes done, bytes in all)
Progress = Callable[[int, int], None]


class BundleError(Exception):
    """The bundle is not what its lock says; names each file that is wrong."""

    def __init__(self, bundle: str, problems: list[str]) -> None:
        self.bundle = bundle
        self.problems = problems
        shown = problems[:SHOWN]
        if len(problems) > SHOWN:
            shown.append(f"and {len(problems) - SHOWN} more")
        super().__init__("bundle {} is not what its lock says: {}".format(bundle, "; ".join(shown)))


def verify_bundle(path: str, lock: Lock, threads: int = 2, progress: Progress | None = None) -> None:
    """Every file is there, has the size and the digest of the lock, and nothing else is there.

    Sizes come first, so that a copy that was cut short is refused in no time.
    """
    wanted = lock.paths()
    problems = []
    present = set(_files(path))
    for name in sorted(present - set(wanted) - {LOCK_NAME, SIGNATURE_NAME}):
        problems.append(f"{name}: is not in the lock; remove it, or copy the bundle into an empty directory")
    todo: list[tuple[str, str, int]] = []
    for name, (digest, size) in sorted(wanted.items(), key=lambda item: (-item[1][1], item[0])):
        full = os.path.join(path, name)
        if os.path.islink(full):
            problems.append(f"{name}: is a symbolic link, expected a plain file; copy that file again")
        elif name not in present:
            problems.append(f"{name}: is missing; copy that file again")
        elif os.path.getsize(full) != size:
            problems.append(f"{name}: has {os.path.getsize(full)} bytes, expected {size}; copy that file again")
        else:
            todo.append((name, digest, size))
    if problems:
        raise BundleError(path, problems)
    total = sum(size for _name, _digest, size in todo)
    done = 0
    with ThreadPoolExecutor(max_workers=max(1, threads)) as pool:
        waiting: dict[Future[str], tuple[str, str, int]] = {
            pool.submit(_problem, os.path.join(path, name), name, digest): (name, digest, size)
            for name, digest, size in todo
        }
        while waiting:
            finished, _rest = wait(waiting, return_when=FIRST_COMPLETED)
            for future in finished:
                name, digest, size = waiting.pop(future)
                problem = future.result()
                if problem:
                    problems.append(problem)
                done += size
                if progress is not None:
                    progress(done, total)
    if problems:
        raise BundleError(path, sorted(problems))


def _files(path: str) -> Iterator[str]:
    """Paths below the bundle of everything that is not a directory."""
    for folder, folders, names in os.walk(path):
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        for name in names + links:
            yield os.path.relpath(os.path.join(folder, name), path).replace(os.sep, "/")


def _problem(full: str, name: str, digest: str) -> str:
    try:
        actual = digest_of(full)
    except OSError as error:
        return f"{name}: cannot be read ({error.strerror}); copy that file again"
    if actual != digest:
        return f"{name}: sha256 differs (expected {digest}, actual {actual}); copy that file again"
    return ""


def digest_of(path: str) -> str:
    """The digest of a file, read once with flat memory."""
    hasher = hashlib.sha256()
    with open(path, "rb", buffering=0) as handle:
        handle.seek(_mapped(handle.fileno(), hasher))
        buffer = bytearray(CHUNK)
        view = memoryview(buffer)
        while True:
            count = handle.readinto(buffer)
            if not count:
                break
            hasher.update(view[:count])
    return "sha256:" + hasher.hexdigest()


def _mapped(handle: int, hasher: hashlib._Hash) -> int:
    """Hash the kernel's own pages of a file, since copying them takes an eighth of the time; how many bytes it was.

    The kernel brings a window in first, and says where it cannot: touching a page that a bad medium does not give would
    end the process. What is left, all of it where kernel or file system has no such thing, is for read().
    """
    size = os.fstat(handle).st_size
    done = 0
    while size >= LEAST and done < size:
        count = min(WINDOW, size - done)
        try:
            with mmap.mmap(handle, count, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ, offset=done) as window:
                with contextlib.suppress(OSError):  # a kernel without it keeps small pages, which cost more
                    window.madvise(HUGE_PAGE)
                window.madvise(POPULATE_READ)
                hasher.update(window)
        except OSError:
            break
        done += count
    return done
