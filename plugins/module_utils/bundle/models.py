# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The models of a bundle."""

from __future__ import annotations

import io
import os
import re
import tarfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Optional, Union

from ansible_collections.airgap.speech.plugins.module_utils.bundle import artifacts, pypi
from ansible_collections.airgap.speech.plugins.module_utils.bundle.archive import (
    CHUNK,
    entry_end,
    entry_header,
    read_chunks,
)
from ansible_collections.airgap.speech.plugins.module_utils.bundle.cache import key_of
from ansible_collections.airgap.speech.plugins.module_utils.bundle.fetch import Item, Read
from ansible_collections.airgap.speech.plugins.module_utils.bundle.lock import Model, ModelFile, Reason
from ansible_collections.airgap.speech.plugins.module_utils.bundle.origins import (
    Origin,
    Plan,
    RegistryOrigin,
    plan_image,
)
from ansible_collections.airgap.speech.plugins.module_utils.bundle.spec import MakerError, Making, ModelSpec
from ansible_collections.airgap.speech.plugins.module_utils.oci.digest import PIECE, sha256_bytes
from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import Descriptor
from ansible_collections.airgap.speech.plugins.module_utils.oci.reference import Reference

# Raised when what is made of the same inputs changes, so that an older cache is not taken for it.
MODEL_FORMAT = "model/v1"

_SHA256 = re.compile(r"^[0-9a-f]{64}\Z")


@dataclass
class _Wanted:
    """A model on its way: its files, and those whose layers the cache does not hold yet."""

    spec: ModelSpec
    files: list[ModelFile]
    key: str
    card: bytes = b""
    known: Optional[Descriptor] = None


class Models:
    """Gathers the models of one run."""

    def __init__(self, making: Making) -> None:
        self.making = making
        self.spec = making.spec
        self.made = making.made

    def gather(self, reasons: dict[str, list[Reason]]) -> dict[str, tuple[Descriptor, Model]]:
        """All models, each once, with every reason for it. Their files come together, the largest first."""
        started = time.monotonic()
        wanted: dict[str, _Wanted] = {}
        used: dict[str, list[Reason]] = {}
        mounted: dict[str, list[Reason]] = {}
        for reference, why in reasons.items():
            if reference.startswith("models/"):
                # A chart that takes references by digest alone is rendered with one that is not known yet.
                mounted.setdefault(reference.partition("@")[0], []).extend(why)
        for spec in self.spec.models:
            reference = f"models/{spec.name}:{spec.version}"
            if reference not in wanted:
                wanted[reference] = self._wanted(spec, reference)
                used[reference] = list(mounted.get(reference, []))
            reason = Reason(spec.source, found="profile")
            if reason not in used[reference]:
                used[reference].insert(0, reason)
        for reference in sorted(mounted):
            if reference not in wanted:
                raise MakerError(
                    f"{reference}: a release mounts it, but no profile has a model of that name and version; "
                    f"add it to the models file of the profile"
                )
        missing = {reference: model for reference, model in wanted.items() if model.known is None}
        if self.making.dry:
            for reference in missing:
                self.making.pending(f"fetch model {reference}")
        else:
            self._bring(missing)
        models: dict[str, tuple[Descriptor, Model]] = {}
        for reference, one in wanted.items():
            descriptor = one.known
            if descriptor is None:
                continue
            size, _platforms = self.making.measure(descriptor, None)
            spec = one.spec
            model = Model(reference, spec.name, spec.version, descriptor.digest, size, one.files, used[reference])
            models[reference] = (descriptor, model)
        if wanted:
            self.making.step("models", started, f"{len(wanted)}, {len(missing)} of them made")
        return models

    def _wanted(self, spec: ModelSpec, reference: str) -> _Wanted:
        paths = [str(item.get("path", "")) for item in spec.files]
        bad = [path for path in paths if not path or path.startswith("/") or ".." in path.split("/")]
        if bad or not paths or len(set(paths)) != len(paths):
            raise MakerError(
                f"{reference}: its files are missing, listed twice or not below the model; correct the profile"
            )
        for item in spec.files:
            if not _SHA256.match(str(item.get("sha256"))) or not isinstance(item.get("size"), int):
                raise MakerError(
                    f"{reference}: {item['path']} has no sha256 of 64 hex digits or no size in bytes; without them "
                    "nothing tells whether it is the right file: add them to the profile"
                )
        entries = [
            artifacts.ModelSource(str(i["path"]), "sha256:" + str(i["sha256"]), int(i["size"]), "") for i in spec.files
        ]
        card = artifacts.model_card(spec.name, spec.version, spec.kind, spec.engine, entries)
        files = [ModelFile(item.path, item.digest, item.size) for item in entries]
        if artifacts.MODEL_CARD in paths:
            card = b""
        else:
            digest = sha256_bytes(card)
            files.append(ModelFile(artifacts.MODEL_CARD, digest, len(card)))
        key = key_of([MODEL_FORMAT, spec.name, spec.version, spec.kind, spec.engine, spec.files])
        return _Wanted(spec, files, key, card, self.making.cache.artifact("models", key))

    def _bring(self, missing: dict[str, _Wanted]) -> None:
        layers: dict[tuple[str, str], tuple[str, int]] = {}
        items: dict[tuple[str, str], Item] = {}
        for reference, model in missing.items():
            sources = {str(item["path"]): item.get("source") or {} for item in model.spec.files}
            for file in model.files:
                name = (file.path, file.digest)
                kept = self._kept(name)
                if kept is not None:
                    layers[name] = kept
                elif name not in items:
                    read = (
                        self._source(sources[file.path], file, reference)
                        if file.path in sources
                        else _bytes_read(model.card)
                    )
                    items[name] = Item(
                        f"{reference}: {file.path}",
                        file.digest,
                        file.size,
                        read,
                        entry_header(file.path, file.size),
                        entry_end(file.size),
                        self._remember(name),
                    )
        layers.update(zip(items, self.making.bring("models", list(items.values()))))
        for model in missing.values():
            spec = model.spec
            labels = {
                "org.opencontainers.image.title": spec.name,
                "org.opencontainers.image.version": spec.version,
                "airgap.speech.model.kind": spec.kind,
                "airgap.speech.model.engine": spec.engine,
            }
            ordered = [layers[(file.path, file.digest)] for file in sorted(model.files, key=lambda file: file.path)]
            model.known = artifacts.model_manifest(self.making.layout, ordered, labels, self.spec.platforms[0])
            self.making.cache.put_artifact("models", model.key, model.known)

    def _kept(self, name: tuple[str, str]) -> Optional[tuple[str, int]]:
        """The layer of a file that an earlier run finished."""
        value = self.making.cache.get("model-files", key_of([MODEL_FORMAT, *name]))
        if isinstance(value, list) and len(value) == 2 and self.making.layout.has(str(value[0]), int(value[1])):
            return str(value[0]), int(value[1])
        return None

    def _remember(self, name: tuple[str, str]) -> Callable[[str, int], None]:
        key = key_of([MODEL_FORMAT, *name])
        return lambda digest, size: self.making.cache.put("model-files", key, [digest, size])

    # -- where a file comes from -------------------------------------------------------------------------------

    def _source(self, source: dict[str, Any], file: ModelFile, reference: str) -> Read:
        kinds = [kind for kind in ("pypi", "file", "url", "oci") if source.get(kind)]
        if len(kinds) != 1:
            raise MakerError(
                f"{reference}: {file.path} has {' and '.join(kinds) or 'no source'}; give one of pypi, file, url and "
                "oci in the profile"
            )
        if kinds[0] == "pypi":
            packages = self.making.packages
            wheel = packages.wheel(str(source["pypi"]), str(source["version"]), str(source["wheel_sha256"]))
            return pypi.member_reader(wheel or "", str(source["member"]))
        if kinds[0] == "file":
            return _file_read(str(source["file"]), f"{reference}: {file.path}", file.size)
        if kinds[0] == "url":
            url = str(source["url"])
            return lambda offset: self.making.web.read(url, offset)
        return self._of_registry(source, file, reference)

    def _of_registry(self, source: dict[str, Any], file: ModelFile, reference: str) -> Read:
        """A file that is a blob of an OCI artifact (as `oras push` makes it), or a member of a layer of an image."""
        where = Reference.parse(str(source["oci"]))
        origin = RegistryOrigin(self.making.upstream.of(where), where.repository, where.target)
        there = origin.head()
        if there is None:
            raise MakerError(f"{reference}: the registry does not have {where}; correct the source of {file.path}")
        plan = plan_image(origin, there.digest, self.spec.platforms)
        if file.digest in plan.blobs:
            return lambda offset: origin.read(file.digest, file.size, offset)
        member = str(source.get("member") or file.path)
        return lambda offset: layer_member(origin, plan, member, offset)


def _bytes_read(data: bytes) -> Read:
    return lambda offset: (data[offset:],)


def _file_read(path: str, thing: str, size: int) -> Read:
    def read(offset: int) -> Iterator[bytes]:
        found = os.path.getsize(path)
        if found != size:
            raise MakerError(f"{thing}: {path} has {found} bytes, expected {size}; correct the profile")
        with open(path, "rb", buffering=0) as handle:
            handle.seek(offset)
            yield from iter(lambda: handle.read(PIECE), b"")

    return read


def layer_member(origin: Origin, plan: Plan, member: str, offset: int) -> Iterator[bytes]:
    """The bytes of a file of an image from `offset` on, out of the last layer that has it."""
    for digest, size in reversed(list(plan.blobs.items())):
        stream = _Stream(origin.read(digest, size, 0))
        try:
            with tarfile.open(fileobj=io.BufferedReader(stream, CHUNK), mode="r|*") as archive:
                for info in archive:
                    if info.isfile() and os.path.normpath(info.name) == os.path.normpath(member):
                        handle = archive.extractfile(info)
                        if handle is not None:
                            for chunk in read_chunks(handle, info.size):
                                if offset < len(chunk):
                                    yield chunk[offset:]
                                offset = max(0, offset - len(chunk))
                            return
        except tarfile.ReadError:
            continue  # the configuration, or a layer that is no tar
    raise MakerError(f"{origin.name}: no layer has the file {member}; correct the source in the profile")


class _Stream(io.RawIOBase):
    """Chunks as a file that can only be read on."""

    def __init__(self, chunks: Iterable[Union[bytes, memoryview]]) -> None:
        super().__init__()
        self._chunks = iter(chunks)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """The next bytes; 0 at the end."""
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = memoryview(chunk)
        view = memoryview(buffer).cast("B")
        count = min(len(view), len(self._rest))
        view[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count
