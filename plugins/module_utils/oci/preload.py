# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Place models on a volume: streamed from the registry, verified while written, switched in one step.

A model is an OCI image of plain tar layers, one regular file a layer. It lies in
C(<directory>/.versions/<name>/<hex of its digest>/), and C(<directory>/<name>) is a relative symbolic link to
it, which is replaced in one step when all files are on disk. Beside each version lies a record, C(<hex>.json).

The same engine runs on a node (module C(model_preload)) and in a Job (C(main), see role C(model_preload)).
"""

from __future__ import annotations

import argparse
import base64
import errno
import fcntl
import hashlib
import json
import os
import shutil
import stat
import sys
import tarfile
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Optional

from ansible_collections.airgap.speech.plugins.module_utils.oci.digest import CHUNK, DigestError, parse_digest
from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import (
    MEDIA_LAYER_TAR,
    Descriptor,
    LayoutError,
    references_of,
)
from ansible_collections.airgap.speech.plugins.module_utils.oci.reference import ReferenceInvalid, split_registry
from ansible_collections.airgap.speech.plugins.module_utils.oci.registry import (
    Registry,
    RegistryError,
    connect,
    credentials_of,
    human_bytes,
)

VERSIONS = ".versions"
_RECORD_SCHEMA = 1
_BLOCK = 512
_MAX_HEAD = 1 << 20
_SPARE = 16 << 20
_FLUSH = 64 << 20


class PreloadError(Exception):
    """A model cannot be placed; the text names it, the cause and the next step."""


class _BadBytes(Exception):
    """What came is not what was announced."""


@dataclass(frozen=True)
class ModelFile:
    """A file of a model, as the bundle's lock has it."""

    path: str
    digest: str
    size: int


@dataclass(frozen=True)
class Model:
    """A model that is wanted."""

    name: str
    version: str
    digest: str
    files: tuple[ModelFile, ...] = ()

    @property
    def hex(self) -> str:
        """The digits of its digest: the name of its directory."""
        return parse_digest(self.digest)[1]

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> Model:
        """Take a model from plain data and refuse what could leave the directory."""
        name, version, digest = (str(raw.get(key) or "") for key in ("name", "version", "digest"))
        _safe_path(name, f"model {name!r}")
        if name.startswith("."):
            raise PreloadError(f"model {name!r}: a name may not start with a dot; give it another name")
        if not version:
            raise PreloadError(f"model {name}: it has no version; name one")
        try:
            parse_digest(digest)
        except DigestError as error:
            raise PreloadError(f"model {name}: {error}") from error
        files = tuple(
            ModelFile(str(entry["path"]), str(entry["digest"]), int(entry["size"])) for entry in raw.get("files") or ()
        )
        return cls(name, version, digest, files)


@dataclass(frozen=True)
class Owner:
    """Whom the files belong to and how they may be read; nothing given means as they are made."""

    uid: int = -1
    gid: int = -1
    mode: int = 0o644

    @property
    def directory_mode(self) -> int:
        """The mode for directories: whoever reads a file may enter its directory."""
        return self.mode | ((self.mode & 0o444) >> 2)


@dataclass
class ModelResult:
    """What happened to one model."""

    name: str
    version: str
    digest: str
    status: str = "present"
    files: int = 0
    bytes: int = 0


@dataclass
class PreloadResult:
    """What happened to all of them."""

    models: list[ModelResult] = field(default_factory=list)
    files_written: int = 0
    bytes_written: int = 0
    pruned: list[str] = field(default_factory=list)
    owned: int = 0
    seconds: float = 0.0
    before: dict[str, str] = field(default_factory=dict)
    after: dict[str, str] = field(default_factory=dict)

    @property
    def changed(self) -> bool:
        """Whether anything is different from before."""
        return bool(self.pruned or self.owned or any(model.status != "present" for model in self.models))

    def summary(self, check: bool = False) -> str:
        """The run in one line."""
        there = sum(1 for model in self.models if model.status == "present")
        if there == len(self.models):
            return f"All {there} models already there"
        amount = f"{len(self.models) - there} models, {self.files_written} files, {human_bytes(self.bytes_written)}"
        head = f"Would place {amount}" if check else f"Placed {amount} in {self.seconds:.1f} s"
        return f"{head}, {there} already there"

    def as_dict(self) -> dict[str, Any]:
        """Plain data for a module's result or a Job's message."""
        return {
            "changed": self.changed,
            "models": [asdict(model) for model in self.models],
            "files_written": self.files_written,
            "bytes_written": self.bytes_written,
            "pruned": self.pruned,
            "seconds": round(self.seconds, 3),
        }


def _safe_path(path: str, what: str) -> str:
    parts = path.split("/")
    if not path or "\0" in path or path.startswith("/") or any(part in ("", ".", "..") for part in parts):
        raise PreloadError(f"{what}: the path {path!r} could leave its directory; make the model again")
    return path


# Records


def _read_record(path: str) -> Optional[dict[str, Any]]:
    try:
        with open(path, encoding="utf-8") as stream:
            record = json.load(stream)
    except (OSError, ValueError):
        return None
    if (
        not isinstance(record, dict)
        or record.get("schema") != _RECORD_SCHEMA
        or not isinstance(record.get("files"), list)
    ):
        return None
    return record


def _changed_at(path: str) -> int:
    try:
        return os.lstat(path).st_mtime_ns
    except OSError:
        return 0


def _sync_directory(path: str) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EBADF):
            raise
    finally:
        os.close(handle)


def _write_record(path: str, record: Mapping[str, Any]) -> None:
    temporary = path + ".new"
    with open(temporary, "w", encoding="utf-8") as stream:
        json.dump(record, stream, sort_keys=True, indent=1)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(temporary, path)
    _sync_directory(os.path.dirname(path))


def _file_is_right(path: str, entry: Mapping[str, Any], full: bool) -> bool:
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
    with open(path, "rb", buffering=0) as stream:
        while True:
            data = stream.read(CHUNK)
            if not data:
                break
            hasher.update(data)
    _update_zeros(hasher, int(entry["tail"]))
    return "sha256:" + hasher.hexdigest() == str(entry["layer"])


def _update_zeros(hasher: Any, count: int) -> None:
    zeros = bytes(min(count, CHUNK))
    while count > 0:
        hasher.update(zeros[: min(count, CHUNK)])
        count -= CHUNK


# The tar layer


def _pax(data: bytes) -> dict[str, str]:
    """The records of an extended header: C(<length> <key>=<value>) with a line end each."""
    found: dict[str, str] = {}
    while data:
        length, _blank, _rest = data.partition(b" ")
        if not length.isdigit() or int(length) <= len(length) or int(length) > len(data):
            raise _BadBytes("an extended tar header is malformed")
        line, data = data[len(length) + 1 : int(length) - 1], data[int(length) :]
        key, _equals, value = line.partition(b"=")
        found[key.decode("utf-8", "replace")] = value.decode("utf-8", "surrogateescape")
    return found


class _Head:
    """The start of a layer: everything up to the first byte of its one regular file."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self.raw = b""
        self._read = read
        overrides: dict[str, str] = {}
        long_name: Optional[str] = None
        while True:
            block = self._take(_BLOCK)
            if not any(block):
                raise _BadBytes("there is no regular file in the layer")
            try:
                info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
            except tarfile.TarError as error:
                raise _BadBytes(f"it is not a plain tar layer ({error})") from error
            if info.type in (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME):
                data = self._take(-(-info.size // _BLOCK) * _BLOCK)[: info.size]
                if info.type == tarfile.GNUTYPE_LONGNAME:
                    long_name = data.rstrip(b"\0").decode("utf-8", "surrogateescape")
                else:
                    overrides.update(_pax(data))
                continue
            if info.type == tarfile.DIRTYPE:
                overrides, long_name = {}, None
                continue
            if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
                raise _BadBytes("there is something else than one regular file in the layer")
            name = overrides.get("path") or long_name or info.name
            self.path = name[2:] if name.startswith("./") else name
            self.size = int(overrides.get("size", info.size))
            return

    def _take(self, count: int) -> bytes:
        if len(self.raw) + count > _MAX_HEAD:
            raise _BadBytes("its tar header is larger than 1 MiB")
        data = b""
        while len(data) < count:
            piece = self._read(count - len(data))
            if not piece:
                raise _BadBytes("the layer ends within its tar header")
            data += piece
        self.raw += data
        return data


class _Stream:
    """The bytes of a layer from an offset on, in whatever pieces are asked for."""

    def __init__(self, chunks: Generator[bytes, None, None]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")

    def close(self) -> None:
        """End the request, so that the connection can be used for another."""
        self._chunks.close()

    def read(self, count: int) -> bytes:
        """Up to I(count) bytes; empty at the end."""
        return bytes(self.view(count))

    def view(self, count: int) -> memoryview:
        """The same without a copy."""
        if not self._rest:
            self._rest = memoryview(next(self._chunks, b""))
        piece, self._rest = self._rest[:count], self._rest[count:]
        return piece


# The engine


class Preloader:
    """Places models below one directory."""

    def __init__(
        self,
        registry: Optional[Registry],
        directory: str,
        *,
        prefix: str = "models",
        owner: Optional[Owner] = None,
        keep: int = 1,
        full: bool = False,
        say: Callable[[str], None] = lambda _line: None,
    ) -> None:
        self.registry = registry
        self.directory = directory
        self.prefix = prefix
        self.owner = owner or Owner()
        self.keep = keep
        self.full = full
        self._say = say

    # Where things lie

    def _home(self, name: str) -> str:
        return os.path.join(self.directory, VERSIONS, name)

    def _version(self, model: Model) -> str:
        return os.path.join(self._home(model.name), model.hex)

    def _record(self, model: Model) -> str:
        return self._version(model) + ".json"

    def _partial(self, model: Model) -> str:
        return self._version(model) + ".partial"

    def _link(self, name: str) -> str:
        return os.path.join(self.directory, name)

    def _target(self, model: Model) -> str:
        return os.path.relpath(self._version(model), os.path.dirname(self._link(model.name)))

    def _current(self, name: str) -> Optional[str]:
        try:
            return os.readlink(self._link(name))
        except OSError:
            return None

    def _is_whole(self, model: Model) -> bool:
        record = _read_record(self._record(model))
        if record is None or record.get("digest") != model.digest:
            return False
        root = self._version(model)
        return all(_file_is_right(os.path.join(root, entry["path"]), entry, self.full) for entry in record["files"])

    # What is to be done

    def run(self, models: Sequence[Model], check: bool = False) -> PreloadResult:
        """Bring the directory to the wanted models; with I(check) only say what would be done."""
        started = time.monotonic()
        names = [model.name for model in models]
        for name in sorted({name for name in names if names.count(name) > 1}):
            raise PreloadError(f"model {name}: it is named twice; name one version of it")
        result = PreloadResult()
        if check:
            self._plan(models, result)
        else:
            if not os.path.isdir(self.directory):
                os.makedirs(self.directory)
                self._make_readable(self.directory)
            with self._only_one():
                wanted = self._plan(models, result)
                self._need_space(wanted)
                for model, outcome in zip(models, result.models):
                    self._place(model, outcome)
        result.seconds = time.monotonic() - started
        return result

    def _plan(self, models: Sequence[Model], result: PreloadResult) -> int:
        """Fill in the outcome of each model; return the bytes that are still to be written."""
        total = 0
        for model in models:
            link = self._link(model.name)
            if os.path.lexists(link) and not os.path.islink(link):
                raise PreloadError(
                    f"model {model.name}: {link} is there and is not a link of ours; "
                    "move it away, or choose another directory"
                )
            current = self._current(model.name)
            if current is not None:
                result.before[model.name] = "sha256:" + os.path.basename(current)
            result.after[model.name] = model.digest
            outcome = ModelResult(model.name, model.version, model.digest)
            result.models.append(outcome)
            if not self._is_whole(model):
                sizes = self._sizes(model)
                outcome.status, outcome.files, outcome.bytes = "written", len(sizes), sum(sizes)
                result.files_written += outcome.files
                result.bytes_written += outcome.bytes
                total += max(0, outcome.bytes - self._already(model))
            elif current != self._target(model):
                outcome.status = "switched"
            elif self._own(model, change=False):
                result.owned += 1
            result.pruned.extend(os.path.relpath(path, self.directory) for path in self._old(model))
        return total

    def _sizes(self, model: Model) -> list[int]:
        """The sizes of the files that a placing writes; what a killed run finished counts no more."""
        done = {entry["layer"]: entry for entry in self._finished(model)}
        if model.files:
            paths = {entry["path"] for entry in done.values()}
            return [entry.size for entry in model.files if entry.path not in paths]
        sizes: list[int] = []
        for layer in self._layers(model):
            if layer.digest in done:
                continue
            with self._reach(model).open_blob(self._repo(model), layer.digest) as blob:
                try:
                    sizes.append(_Head(blob.read).size)
                except _BadBytes as error:
                    raise PreloadError(f"model {model.name}:{model.version}, layer {layer.digest}: {error}") from error
        return sizes

    def _already(self, model: Model) -> int:
        """Bytes of unfinished files that a killed run left and that need no new space."""
        root = self._partial(model)
        done = {entry["path"] for entry in self._finished(model)}
        total = 0
        for parent, _directories, names in os.walk(root):
            for name in names:
                path = os.path.join(parent, name)
                if os.path.relpath(path, root) not in done:
                    total += os.lstat(path).st_blocks * 512
        return total

    def _finished(self, model: Model) -> list[dict[str, Any]]:
        """The files that need not be written: finished by a killed run, or whole in a version that was damaged."""
        found: dict[str, dict[str, Any]] = {}
        for root in (self._version(model), self._partial(model)):
            record = _read_record(root + ".json")
            if record is None or record.get("digest") != model.digest:
                continue
            for entry in record["files"]:
                if _file_is_right(os.path.join(root, entry["path"]), entry, self.full):
                    found[entry["path"]] = entry
        return list(found.values())

    def _need_space(self, wanted: int) -> None:
        if not wanted:
            return
        status = os.statvfs(self.directory)
        free = status.f_bavail * status.f_frsize
        if free < wanted + _SPARE:
            raise PreloadError(
                f"directory {self.directory}: the models need {human_bytes(wanted + _SPARE)} and {human_bytes(free)} "
                "are free; make room, or choose a larger volume"
            )

    @contextmanager
    def _only_one(self) -> Iterator[None]:
        root = os.path.join(self.directory, VERSIONS)
        os.makedirs(root, exist_ok=True)
        os.chmod(root, self.owner.directory_mode)
        with open(os.path.join(root, ".lock"), "w", encoding="ascii") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise PreloadError(
                    f"directory {self.directory}: another run places models here; wait until it has ended"
                ) from error
            except OSError:
                pass  # A network volume without locks: its access mode keeps others out.
            yield

    # How it is done

    def _reach(self, model: Model) -> Registry:
        if self.registry is None:
            raise PreloadError(
                f"model {model.name}:{model.version}: no registry answers, and the list of its files is not given; "
                "give the files of the bundle's lock, or start the registry"
            )
        return self.registry

    def _repo(self, model: Model) -> str:
        return f"{self.prefix}/{model.name}" if self.prefix else model.name

    def _layers(self, model: Model) -> list[Descriptor]:
        registry = self._reach(model)
        where = registry.name(self._repo(model), model.digest)
        data, _media_type, _digest = registry.get_manifest(self._repo(model), model.digest)
        try:
            document = json.loads(data)
            _children, blobs = references_of(document, where)
            layers = blobs[1:] if document.get("config") is not None else blobs
        except (ValueError, LayoutError, AttributeError) as error:
            raise PreloadError(f"model {model.name}:{model.version}: its manifest cannot be read ({error})") from error
        if not layers:
            raise PreloadError(f"model {model.name}:{model.version}: it has no files; make the bundle again")
        for layer in layers:
            if layer.media_type != MEDIA_LAYER_TAR:
                raise PreloadError(
                    f"model {model.name}:{model.version}: a layer is {layer.media_type}, which is no plain tar; "
                    "make the model with layers of " + MEDIA_LAYER_TAR
                )
        return layers

    def _place(self, model: Model, outcome: ModelResult) -> None:
        if outcome.status == "written":
            self._say(
                f"model {model.name}:{model.version}: {outcome.files} files, {human_bytes(outcome.bytes)} to write"
            )
            self._write(model)
        else:
            self._own(model, change=True)
        old = self._old(model)
        if self._current(model.name) != self._target(model):
            self._switch(model)
        shutil.rmtree(self._partial(model), ignore_errors=True)
        if os.path.exists(self._partial(model) + ".json"):
            os.unlink(self._partial(model) + ".json")
        for path in old:
            self._remove(path)

    def _write(self, model: Model) -> None:
        root, journal = self._partial(model), self._partial(model) + ".json"
        os.makedirs(root, exist_ok=True)
        self._make_readable(os.path.dirname(root))
        record: dict[str, Any] = {
            "schema": _RECORD_SCHEMA,
            "name": model.name,
            "version": model.version,
            "digest": model.digest,
            "files": self._finished(model),
        }
        done = {entry["layer"] for entry in record["files"]}
        paths = {entry["path"] for entry in record["files"]}
        for layer in self._layers(model):
            if layer.digest in done:
                continue
            entry = self._write_layer(model, layer, root, paths)
            paths.add(entry["path"])
            record["files"].append(entry)
            _write_record(journal, record)
        expected = {entry.path: entry for entry in model.files}
        if expected and set(expected) != paths:
            odd = ", ".join(sorted(set(expected) ^ paths))
            raise PreloadError(
                f"model {model.name}:{model.version}: its files are not the lock's ({odd}); make the bundle again"
            )
        for parent, _directories, names in os.walk(root, topdown=False):
            for name in names:
                path = os.path.join(parent, name)
                if os.path.relpath(path, root) not in paths:
                    os.unlink(path)
            self._make_readable(parent)
            _sync_directory(parent)
        final = self._version(model)
        # The record counts only with its files, so it may be there first: a kill in between costs nothing.
        if os.path.lexists(final):
            self._replace_damaged(model, root, record)
        else:
            _write_record(self._record(model), record)
            os.rename(root, final)
            _sync_directory(os.path.dirname(final))

    def _replace_damaged(self, model: Model, root: str, record: Mapping[str, Any]) -> None:
        """A damaged version: each file that was written anew replaces the old one in one step."""
        final = self._version(model)
        for entry in record["files"]:
            source, target = os.path.join(root, entry["path"]), os.path.join(final, entry["path"])
            if not os.path.lexists(source):
                continue
            os.makedirs(os.path.dirname(target), exist_ok=True)
            if os.path.isdir(target) and not os.path.islink(target):
                shutil.rmtree(target)
            os.replace(source, target)
        for parent, _directories, _names in os.walk(final, topdown=False):
            self._make_readable(parent)
            _sync_directory(parent)
        _write_record(self._record(model), record)

    def _write_layer(self, model: Model, layer: Descriptor, root: str, taken: set[str]) -> dict[str, Any]:
        what = f"model {model.name}:{model.version}, layer {layer.digest}"
        for attempt in (1, 2):
            try:
                return self._stream_layer(model, layer, root, taken, resume=attempt == 1)
            except _BadBytes as error:
                if attempt == 2:
                    raise PreloadError(f"{what}: {error}; push the model to the registry again") from error
        raise PreloadError(f"{what}: not written")

    def _stream_layer(
        self, model: Model, layer: Descriptor, root: str, taken: set[str], *, resume: bool
    ) -> dict[str, Any]:
        """One file from the registry to the disk, once; its digests are had on the way."""
        registry, repo = self._reach(model), self._repo(model)
        stream = _Stream(registry.iter_blob(repo, layer.digest, layer.size))
        try:
            head = _Head(stream.read)
            path = _safe_path(head.path, f"model {model.name}:{model.version}")
            if path in taken:
                raise PreloadError(f"model {model.name}:{model.version}: {path} is in two layers; make the model again")
            expected = next((entry for entry in model.files if entry.path == path), None)
            if expected is not None and expected.size != head.size:
                raise _BadBytes(f"{path} has {head.size} bytes where the lock has {expected.size}")
            tail = layer.size - len(head.raw) - head.size
            if tail < 0:
                raise _BadBytes("the file is larger than its layer")
            target = os.path.join(root, path)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            hashers = [hashlib.sha256(head.raw)]
            if expected is not None:
                hashers.append(hashlib.sha256())
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(target, flags, 0o600), "r+b", buffering=0) as file:
                have = min(os.fstat(file.fileno()).st_size, head.size) if resume else 0
                file.truncate(have)
                if have:
                    self._say(f"{path}: going on at {human_bytes(have)} of {human_bytes(head.size)}")
                    stream.close()
                    self._hash_again(file, have, hashers)
                    stream = _Stream(registry.iter_blob(repo, layer.digest, layer.size, len(head.raw) + have))
                self._pour(stream, file, head.size - have, hashers)
                left = tail
                while left:
                    view = stream.view(min(CHUNK, left))
                    if not view:
                        raise _BadBytes("the layer ended early")
                    if any(view):
                        raise _BadBytes("there is more than one file in the layer")
                    hashers[0].update(view)
                    left -= len(view)
                if "sha256:" + hashers[0].hexdigest() != layer.digest:
                    raise _BadBytes(f"{path}: sha256 of the layer differs")
                if expected is not None and "sha256:" + hashers[1].hexdigest() != expected.digest:
                    raise _BadBytes(f"{path}: sha256 of the file differs from the lock's")
                self._set_owner(file.fileno(), self.owner.mode)
                os.fsync(file.fileno())
        finally:
            stream.close()
        return {
            "path": path,
            "size": head.size,
            "layer": layer.digest,
            "head": base64.b64encode(head.raw).decode(),
            "tail": tail,
        }

    def _hash_again(self, file: Any, have: int, hashers: Sequence[Any]) -> None:
        """Take in what a killed run left of a file; whether it is right shows at the end."""
        while have:
            data = file.read(min(CHUNK, have))
            if not data:
                raise _BadBytes("a file became shorter while it was read")
            for hasher in hashers:
                hasher.update(data)
            have -= len(data)

    def _pour(self, stream: _Stream, file: Any, left: int, hashers: Sequence[Any]) -> None:
        unsynced = 0
        while left:
            view = stream.view(min(CHUNK, left))
            if not view:
                raise _BadBytes("the layer ended early")
            for hasher in hashers:
                hasher.update(view)
            left -= len(view)
            unsynced += len(view)
            while view:
                view = view[file.write(view) :]
            if unsynced >= _FLUSH:
                # Write back while the network is read, so that the last fsync has little left to do.
                os.fdatasync(file.fileno())
                unsynced = 0

    def _set_owner(self, handle: int, mode: int) -> None:
        if self.owner.uid >= 0 or self.owner.gid >= 0:
            os.fchown(handle, self.owner.uid, self.owner.gid)
        os.fchmod(handle, mode)

    def _make_readable(self, path: str) -> None:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            self._set_owner(handle, self.owner.directory_mode)
        finally:
            os.close(handle)

    def _own(self, model: Model, *, change: bool) -> bool:
        """Whether owner or mode of a placed model differ from what is wanted; set them where asked."""
        root = self._version(model)
        different = False
        for parent, directories, names in os.walk(root):
            entries = [(os.path.join(parent, name), self.owner.mode) for name in names]
            if parent == root:
                entries.append((root, self.owner.directory_mode))
            entries.extend((os.path.join(parent, name), self.owner.directory_mode) for name in directories)
            for path, mode in entries:
                status = os.lstat(path)
                wrong_owner = self.owner.uid not in (-1, status.st_uid) or self.owner.gid not in (-1, status.st_gid)
                # A Kubernetes volume may add the group's bits (fsGroup); those are not ours to take away.
                if not wrong_owner and stat.S_IMODE(status.st_mode) & 0o777 | 0o070 == mode & 0o777 | 0o070:
                    continue
                different = True
                if change:
                    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
                    try:
                        self._set_owner(handle, mode)
                    finally:
                        os.close(handle)
        return different

    def _switch(self, model: Model) -> None:
        link = self._link(model.name)
        parent = os.path.dirname(link)
        os.makedirs(parent, exist_ok=True)
        temporary = os.path.join(parent, f".{os.path.basename(link)}.new")
        if os.path.lexists(temporary):
            os.unlink(temporary)
        os.symlink(self._target(model), temporary)
        os.replace(temporary, link)
        _sync_directory(parent)

    def _old(self, model: Model) -> list[str]:
        """Versions of this model beyond those that are kept, and what killed runs left of other versions."""
        home = self._home(model.name)
        try:
            names = os.listdir(home)
        except OSError:
            return []
        current = os.path.basename(self._current(model.name) or "")
        versions = []
        stale = []
        for name in names:
            path = os.path.join(home, name)
            if name == model.hex or name.startswith(model.hex + "."):
                continue
            if name.endswith(".partial"):
                stale.append(path)
            elif len(name) == 64 and os.path.isdir(path):
                # The version that is in use now is the newest of the old ones.
                versions.append((name == current, _changed_at(path + ".json"), path))
        versions.sort(reverse=True)
        return [path for _current, _time, path in versions[self.keep :]] + sorted(stale)

    def _remove(self, path: str) -> None:
        shutil.rmtree(path)
        for extra in (path + ".json", path + ".json.new", path + ".partial.json"):
            if os.path.exists(extra):
                os.unlink(extra)


# The command


def _read_text(path: str, what: str) -> str:
    try:
        with open(path, encoding="utf-8") as stream:
            return stream.read().rstrip("\n")
    except OSError as error:
        raise PreloadError(f"{what} {path}: cannot be read ({error.strerror}); mount it here") from error


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Place models as a JSON file says; the last line, and the result file (a pod's termination log), is JSON."""
    parser = argparse.ArgumentParser(prog="preload", description="Place models from a registry on a volume.")
    parser.add_argument("--config", required=True, help="JSON: registry, models, owner, group, mode, keep, verify")
    parser.add_argument("--directory", required=True, help="where the models are to lie")
    parser.add_argument("--docker-config", help="file with the registry's login, as docker login writes it")
    parser.add_argument("--username", help="user of the registry, with --password-file")
    parser.add_argument("--password-file", help="file with the password of that user")
    parser.add_argument("--ca-file", help="PEM file with the CA of the registry")
    parser.add_argument("--result-file", help="where the result is written as JSON")
    arguments = parser.parse_args(argv)

    def say(line: str) -> None:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    try:
        config = json.loads(_read_text(arguments.config, "configuration"))
        username, password = arguments.username, None
        endpoint = split_registry(config["registry"])[0]
        if arguments.password_file:
            password = _read_text(arguments.password_file, "password file")
        elif arguments.docker_config:
            username, password = credentials_of(arguments.docker_config, endpoint)
            if username is None:
                raise PreloadError(
                    f"login {arguments.docker_config}: none for {endpoint} is in it; "
                    "make the pull secret for this registry"
                )
        registry = connect(
            config["registry"],
            username=username,
            password=password,
            ca_file=arguments.ca_file,
            plain_http=bool(config.get("plain_http")),
        )
        preloader = Preloader(
            registry,
            arguments.directory,
            owner=Owner(int(config.get("owner", -1)), int(config.get("group", -1)), int(config.get("mode", "0644"), 8)),
            keep=int(config.get("keep", 1)),
            full=config.get("verify") == "full",
            say=say,
        )
        placed = preloader.run([Model.read(raw) for raw in config["models"]])
        say(placed.summary())
        result = {key: value for key, value in placed.as_dict().items() if key not in ("models", "pruned")}
    except (PreloadError, RegistryError, ReferenceInvalid) as error:
        say(f"error: {error}")
        result = {"error": str(error)[:3000]}
    except OSError as error:
        say(f"error: {arguments.directory}: {error}; look at the volume, then run again: it goes on here")
        result = {"error": str(error)}
    text = json.dumps(result, sort_keys=True)
    say(text)
    if arguments.result_file:
        with open(arguments.result_file, "w", encoding="utf-8") as stream:
            stream.write(text)
    return 1 if "error" in result else 0
