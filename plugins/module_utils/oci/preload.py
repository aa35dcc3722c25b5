# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Place models on a volume: streamed from the registry, verified while written, switched in one step.

A model is an OCI image of plain tar layers, one regular file a layer. It lies in
C(<directory>/.versions/<name>/<hex of its digest>/), and C(<directory>/<name>) is a relative symbolic link to
it, which is replaced in one step when all files are on disk. Beside each version lies a record, C(<hex>.json).
Where several versions of a model are wanted, each has a link C(<name>@<version>) as well, and the first that is named
has C(<name>).

The same engine runs on a node (module C(model_preload)) and in a Job (C(preload_command), see role C(model_preload)).
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Optional

from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import (
    MEDIA_LAYER_TAR,
    Descriptor,
    LayoutError,
    references_of,
)
from ansible_collections.airgap.speech.plugins.module_utils.oci.preload_files import (
    RECORD_SCHEMA,
    changed_at,
    file_is_right,
    make_readable,
    not_owned,
    own,
    read_record,
    remove_version,
    set_owner,
    sync_directory,
    write_record,
)
from ansible_collections.airgap.speech.plugins.module_utils.oci.preload_layer import (
    BadBytes,
    Head,
    LayerStream,
    hash_again,
    pour,
    read_zeros,
)
from ansible_collections.airgap.speech.plugins.module_utils.oci.preload_model import (
    Model,
    ModelFile,
    ModelResult,
    Owner,
    PreloadError,
    PreloadResult,
    safe_path,
)
from ansible_collections.airgap.speech.plugins.module_utils.oci.progress import Progress
from ansible_collections.airgap.speech.plugins.module_utils.oci.registry import Registry, human_bytes

__all__ = ["Model", "ModelFile", "Owner", "PreloadError", "PreloadResult", "Preloader"]

VERSIONS = ".versions"
_SPARE = 16 << 20


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
        say: Optional[Callable[[str], None]] = None,
    ) -> None:
        self.registry = registry
        self.directory = directory
        self.prefix = prefix
        self.owner = owner or Owner()
        self.keep = keep
        self.full = full
        self._say = say or (lambda _line: None)
        self._progress = Progress("models", 0, say, every=5.0)
        self._links: dict[str, Model] = {}

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

    def _target(self, link: str, model: Model) -> str:
        return os.path.relpath(self._version(model), os.path.dirname(self._link(link)))

    def _current(self, link: str) -> Optional[str]:
        try:
            return os.readlink(self._link(link))
        except OSError:
            return None

    def _links_of(self, model: Model) -> list[str]:
        return [link for link, wanted in self._links.items() if wanted == model]

    def _wrong_links(self, model: Model) -> list[str]:
        return [link for link in self._links_of(model) if self._current(link) != self._target(link, model)]

    def _stray_links(self, name: str) -> list[str]:
        """Links to versions of a model that are no longer wanted under their own name."""
        parent, base = os.path.split(self._link(name))
        found = os.listdir(parent) if os.path.isdir(parent) else []
        links = [os.path.join(os.path.dirname(name), one) for one in found if one.startswith(base + "@")]
        return sorted(link for link in links if link not in self._links and os.path.islink(self._link(link)))

    def _is_whole(self, model: Model) -> bool:
        record = read_record(self._record(model))
        if record is None or record.get("digest") != model.digest:
            return False
        root = self._version(model)
        return all(file_is_right(os.path.join(root, entry["path"]), entry, self.full) for entry in record["files"])

    # What is to be done

    def run(self, models: Sequence[Model], check: bool = False) -> PreloadResult:
        """Bring the directory to the wanted models; with I(check) only say what would be done."""
        started = time.monotonic()
        self._links = _links(models)
        result = PreloadResult()
        if check:
            self._plan(models, result)
        else:
            if not os.path.isdir(self.directory):
                os.makedirs(self.directory)
                make_readable(self.directory, self.owner)
                sync_directory(os.path.dirname(os.path.abspath(self.directory)))
            with self._only_one():
                wanted = self._plan(models, result)
                self._need_space(wanted)
                self._progress.grow(result.bytes_written)
                old = {model.name: self._old(model.name) for model in models}
                for model, outcome in zip(models, result.models):
                    self._place(model, outcome)
                for name, paths in old.items():
                    self._tidy(name, paths)
                # A run that finds all in place may follow one that was killed before its last step was on disk.
                sync_directory(self.directory)
        result.seconds = time.monotonic() - started
        return result

    def _plan(self, models: Sequence[Model], result: PreloadResult) -> int:
        """Fill in the outcome of each model; return the bytes that are still to be written."""
        total = 0
        for link, model in self._links.items():
            path = self._link(link)
            if os.path.lexists(path) and not os.path.islink(path):
                raise PreloadError(
                    f"model {link}: {path} is there and is not a link of ours; "
                    "move it away, or choose another directory"
                )
            current = self._current(link)
            if current is not None:
                result.before[link] = "sha256:" + os.path.basename(current)
            result.after[link] = model.digest
        planned: set[str] = set()
        for model in models:
            outcome = ModelResult(model.name, model.version, model.digest)
            result.models.append(outcome)
            version = self._version(model)
            if version not in planned and not self._is_whole(model):
                sizes = self._sizes(model)
                outcome.status, outcome.files, outcome.bytes = "written", len(sizes), sum(sizes)
                result.files_written += outcome.files
                result.bytes_written += outcome.bytes
                total += max(0, outcome.bytes - self._already(model))
            elif self._wrong_links(model):
                outcome.status = "switched"
            elif any(True for _entry in not_owned(version, self.owner)):
                result.owned += 1
            planned.add(version)
        for name in dict.fromkeys(model.name for model in models):
            for path in self._old(name):
                result.pruned.append(os.path.relpath(path, self.directory))
            for link in self._stray_links(name):
                result.pruned.append(link)
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
            stream = LayerStream(self._reach(model), self._repo(model), layer.digest, layer.size)
            try:
                sizes.append(Head(stream.take).size)
            except BadBytes as error:
                raise PreloadError(f"{model.title}, layer {layer.digest}: {error}; make the model again") from error
            finally:
                stream.close()
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
            record = read_record(root + ".json")
            if record is None or record.get("digest") != model.digest:
                continue
            for entry in record["files"]:
                if file_is_right(os.path.join(root, entry["path"]), entry, self.full):
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
                f"{model.title}: no registry answers, and the list of its files is not given; "
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
            raise PreloadError(f"{model.title}: its manifest cannot be read ({error}); make the model again") from error
        if not layers:
            raise PreloadError(f"{model.title}: it has no files; make the bundle again")
        for layer in layers:
            if layer.media_type != MEDIA_LAYER_TAR:
                raise PreloadError(
                    f"{model.title}: a layer is {layer.media_type}, which is no plain tar; "
                    "make the model with layers of " + MEDIA_LAYER_TAR
                )
        return layers

    def _place(self, model: Model, outcome: ModelResult) -> None:
        if outcome.status == "written":
            self._say(f"{model.title}: {outcome.files} files, {human_bytes(outcome.bytes)} to write")
            self._write(model)
        else:
            own(self._version(model), self.owner)
        # A version's own link first, so that the name never stands for more than is there.
        for link in sorted(self._wrong_links(model), reverse=True):
            self._switch(link, model)
        shutil.rmtree(self._partial(model), ignore_errors=True)
        if os.path.exists(self._partial(model) + ".json"):
            os.unlink(self._partial(model) + ".json")

    def _write(self, model: Model) -> None:
        root, journal = self._partial(model), self._partial(model) + ".json"
        os.makedirs(root, exist_ok=True)
        make_readable(os.path.dirname(root), self.owner)
        record: dict[str, Any] = {
            "schema": RECORD_SCHEMA,
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
            write_record(journal, record)
        expected = {entry.path: entry for entry in model.files}
        if expected and set(expected) != paths:
            odd = ", ".join(sorted(set(expected) ^ paths))
            raise PreloadError(f"{model.title}: its files are not the lock's ({odd}); make the bundle again")
        for parent, _directories, names in os.walk(root, topdown=False):
            for name in names:
                path = os.path.join(parent, name)
                if os.path.relpath(path, root) not in paths:
                    os.unlink(path)
            make_readable(parent, self.owner)
            sync_directory(parent)
        final = self._version(model)
        # The record counts only with its files, so it may be there first: a kill in between costs nothing.
        if os.path.lexists(final):
            self._replace_damaged(model, root, record)
        else:
            write_record(self._record(model), record)
            os.rename(root, final)
            sync_directory(os.path.dirname(final))

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
            make_readable(parent, self.owner)
            sync_directory(parent)
        write_record(self._record(model), record)

    def _write_layer(self, model: Model, layer: Descriptor, root: str, taken: set[str]) -> dict[str, Any]:
        what = f"{model.title}, layer {layer.digest}"
        for attempt in (1, 2):
            before = self._progress.done
            try:
                return self._stream_layer(model, layer, root, taken, resume=attempt == 1)
            except BadBytes as error:
                self._progress.add(before - self._progress.done)
                if attempt == 2:
                    raise PreloadError(f"{what}: {error}; push the model to the registry again") from error
        raise PreloadError(f"{what}: not written; run again")

    def _stream_layer(
        self, model: Model, layer: Descriptor, root: str, taken: set[str], *, resume: bool
    ) -> dict[str, Any]:
        """One file from the registry to the disk, once; the digest of its layer is had on the way.

        That digest stands in the manifest whose own digest the lock has, so the file is the bundle's: its sha256 in
        the lock is not computed a second time.
        """
        stream = LayerStream(self._reach(model), self._repo(model), layer.digest, layer.size)
        handle = -1
        try:
            head = Head(stream.take)
            path = safe_path(head.path, model.title)
            if path in taken:
                raise PreloadError(f"{model.title}: {path} is in two layers; make the model again")
            expected = next((entry for entry in model.files if entry.path == path), None)
            if expected is not None and expected.size != head.size:
                raise BadBytes(f"{path} has {head.size} bytes where the lock has {expected.size}")
            tail = layer.size - len(head.raw) - head.size
            if tail < 0:
                raise BadBytes("the file is larger than its layer")
            target = os.path.join(root, path)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            hasher = hashlib.sha256(head.raw)
            handle = os.open(target, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            have = min(os.fstat(handle).st_size, head.size) if resume else 0
            os.ftruncate(handle, have)
            if have:
                self._say(f"{path}: going on at {human_bytes(have)} of {human_bytes(head.size)}")
                hash_again(handle, have, hasher)
                self._progress.add(have)
                stream.seek(len(head.raw) + have)
            pour(stream, handle, head.size - have, hasher, self._progress.add)
            read_zeros(stream, tail, hasher)
            if "sha256:" + hasher.hexdigest() != layer.digest:
                raise BadBytes(f"{path}: sha256 of the layer differs")
            set_owner(handle, self.owner, self.owner.mode)
            os.fsync(handle)
        finally:
            stream.close()
            if handle >= 0:
                os.close(handle)
        return {
            "path": path,
            "size": head.size,
            "layer": layer.digest,
            "head": base64.b64encode(head.raw).decode(),
            "tail": tail,
        }

    def _switch(self, link: str, model: Model) -> None:
        """Let a link stand for a version, in one step, when the whole way to that version is on disk."""
        path = self._home(model.name)
        while path != self.directory:
            sync_directory(path)
            path = os.path.dirname(path)
        final = self._link(link)
        parent = os.path.dirname(final)
        os.makedirs(parent, exist_ok=True)
        temporary = os.path.join(parent, f".{os.path.basename(final)}.new")
        if os.path.lexists(temporary):
            os.unlink(temporary)
        os.symlink(self._target(link, model), temporary)
        # The names that the link's target goes through have to be on disk before the link is.
        sync_directory(self.directory)
        os.replace(temporary, final)
        path = parent
        while path != self.directory:
            sync_directory(path)
            path = os.path.dirname(path)
        sync_directory(self.directory)

    def _tidy(self, name: str, old: Sequence[str]) -> None:
        """Remove what is no longer wanted of a model: links to single versions, then versions."""
        stray = self._stray_links(name)
        for link in stray:
            os.unlink(self._link(link))
        if stray and old:
            sync_directory(os.path.dirname(self._link(name)))
        for path in old:
            remove_version(path)

    def _old(self, name: str) -> list[str]:
        """Versions of a model beyond those that are kept, and what killed runs left of other versions."""
        home = self._home(name)
        try:
            names = os.listdir(home)
        except OSError:
            return []
        wanted = {model.hex for model in self._links.values() if model.name == name}
        current = os.path.basename(self._current(name) or "")
        versions = []
        stale = []
        for entry in names:
            path = os.path.join(home, entry)
            if entry.partition(".")[0] in wanted:
                continue
            if entry.endswith(".partial"):
                stale.append(path)
            elif len(entry) == 64 and os.path.isdir(path):
                # The version that is in use now is the newest of the old ones.
                versions.append((entry == current, changed_at(path + ".json"), path))
        versions.sort(reverse=True)
        return [path for _current, _time, path in versions[self.keep :]] + sorted(stale)


def _links(models: Sequence[Model]) -> dict[str, Model]:
    """What each link is to stand for: the name for the first version named; where there are more, each has its own."""
    links: dict[str, Model] = {}
    names = [model.name for model in models]
    for model in models:
        links.setdefault(model.name, model)
        if names.count(model.name) > 1:
            link = f"{model.name}@{model.version}"
            if link in links:
                raise PreloadError(f"{model.title}: it is named twice; name each version once")
            links[link] = model
    return links
