# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lock of a bundle: what is in it, by digest, and why. Read strictly, written in one stable form."""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass, field
from typing import Any, Callable, TypeVar

SCHEMA = "airgap.speech/lock/v1"
LOCK_NAME = "bundle.lock.json"
SIGNATURE_NAME = LOCK_NAME + ".sig"
REASON_KEYS = ("source", "kind", "name", "path", "found", "needed")
FILE_KINDS = ("tool", "wheel", "collection", "setup", "layout", "sbom", "file", "os_package", "docs")

_DIGEST = re.compile(r"^sha256:[0-9a-f]{64}\Z")
_TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\Z")

_T = TypeVar("_T")


class LockError(ValueError):
    """The lock is absent, unreadable or not what this version understands."""


@dataclass(frozen=True)
class Reason:
    """Why something is in the bundle."""

    source: str
    kind: str = ""
    name: str = ""
    path: str = ""
    found: str = ""
    needed: str = "always"


@dataclass(frozen=True)
class Release:
    """A release that the bundle was made for."""

    platform: str
    name: str
    namespace: str
    chart: str


@dataclass(frozen=True)
class Blob:
    """A blob of the layout."""

    digest: str
    size: int


@dataclass(frozen=True)
class Omitted:
    """A blob that is not carried, since the site has it: in these repositories of its registry."""

    digest: str
    size: int
    repositories: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Referrer:
    """A manifest that refers to an image, such as a signature: by its `subject`, or by the tag that cosign gives it."""

    digest: str
    size: int
    tag: str = ""


@dataclass(frozen=True)
class Image:
    """An image, by its upstream reference."""

    reference: str
    digest: str
    size: int
    platforms: list[str] = field(default_factory=list)
    reasons: list[Reason] = field(default_factory=list)
    referrers: list[Referrer] = field(default_factory=list)


@dataclass(frozen=True)
class Chart:
    """A chart, stored as an OCI artifact."""

    reference: str
    name: str
    version: str
    digest: str
    size: int
    reasons: list[Reason] = field(default_factory=list)


@dataclass(frozen=True)
class ModelFile:
    """A file of a model."""

    path: str
    digest: str
    size: int


@dataclass(frozen=True)
class Model:
    """A model, stored as an image of plain tar layers."""

    reference: str
    name: str
    version: str
    digest: str
    size: int
    files: list[ModelFile] = field(default_factory=list)
    reasons: list[Reason] = field(default_factory=list)


@dataclass(frozen=True)
class File:
    """A file of the bundle that is neither a blob nor the lock."""

    path: str
    digest: str
    size: int
    kind: str
    reason: str


@dataclass(frozen=True)
class Lock:
    """All of it."""

    created: str
    collection_version: str
    releases: list[Release] = field(default_factory=list)
    images: list[Image] = field(default_factory=list)
    charts: list[Chart] = field(default_factory=list)
    models: list[Model] = field(default_factory=list)
    blobs: list[Blob] = field(default_factory=list)
    files: list[File] = field(default_factory=list)
    omitted: list[Omitted] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Bytes of the bundle, the lock and its signature aside."""
        return sum(blob.size for blob in self.blobs) + sum(item.size for item in self.files)

    def paths(self) -> dict[str, tuple[str, int]]:
        """Every file of the bundle: path below the bundle to digest and size."""
        every = {blob_path(blob.digest): (blob.digest, blob.size) for blob in self.blobs}
        every.update({item.path: (item.digest, item.size) for item in self.files})
        return every

    def image(self, reference: str) -> Image | None:
        """The image of that upstream reference."""
        return next((image for image in self.images if image.reference == reference), None)

    def digests(self) -> dict[str, str]:
        """The digest of everything that has a reference: images, charts and models."""
        every: dict[str, str] = {item.reference: item.digest for item in self.images}
        every.update({item.reference: item.digest for item in self.charts})
        every.update({item.reference: item.digest for item in self.models})
        return every


def blob_path(digest: str) -> str:
    """The path of a blob below the bundle."""
    return "oci/blobs/" + digest.replace(":", "/")


def dump(lock: Lock) -> bytes:
    """The one form of a lock: sorted keys, two spaces, a newline at the end, lists in a fixed order."""
    data: dict[str, Any] = asdict(lock)
    data["schema"] = SCHEMA
    for kind in ("images", "charts", "models"):
        data[kind].sort(key=lambda item: (item["reference"], item["digest"]))
        for item in data[kind]:
            item["reasons"].sort(key=lambda reason: [reason[key] for key in REASON_KEYS])
            if "files" in item:
                item["files"].sort(key=lambda entry: entry["path"])
            if "platforms" in item:
                item["platforms"].sort()
            if "referrers" in item:
                item["referrers"].sort(key=lambda entry: (entry["tag"], entry["digest"]))
                if not item["referrers"]:
                    del item["referrers"]
    data["releases"].sort(key=lambda item: (item["namespace"], item["name"], item["platform"], item["chart"]))
    data["blobs"].sort(key=lambda item: item["digest"])
    data["files"].sort(key=lambda item: item["path"])
    data["omitted"].sort(key=lambda item: item["digest"])
    for item in data["omitted"]:
        item["repositories"].sort()
    if not data["omitted"]:  # only a bundle for a site that has some of it has this key
        del data["omitted"]
    return (json.dumps(data, indent=2, sort_keys=True, ensure_ascii=True) + "\n").encode("ascii")


def load(path: str) -> Lock:
    """Read the lock of a bundle: `path` is the bundle's directory or the lock itself."""
    if os.path.isdir(path):
        path = os.path.join(path, LOCK_NAME)
    try:
        with open(path, "rb") as handle:
            data = handle.read()
    except FileNotFoundError as error:
        raise LockError(
            f"{path}: there is no lock, so this is no bundle or its copy is not complete; copy the bundle again"
        ) from error
    except OSError as error:
        raise LockError(f"{path}: cannot be read ({error.strerror}); make it readable for this user") from error
    return parse(data, path)


def parse(data: bytes, thing: str = LOCK_NAME) -> Lock:
    """A lock from its bytes; refuses what is not wholly understood."""
    try:
        tree = json.loads(data.decode("utf-8"))
    except (UnicodeDecodeError, ValueError) as error:
        raise LockError(f"{thing}: is not JSON ({error}); copy the bundle again") from error
    reader = _Reader(thing)
    tree = reader.mapping(tree, "the lock")
    if tree.get("schema") != SCHEMA:
        raise LockError(
            "{}: has schema {!r}, this version reads {}; use the collection that comes with the bundle".format(
                thing, tree.get("schema"), SCHEMA
            )
        )
    created = reader.text(tree, "created", "the lock")
    if not _TIME.match(created):
        raise LockError(f"{thing}: created {created!r} is no UTC time; make the bundle again")
    lock = Lock(
        created=created,
        collection_version=reader.text(tree, "collection_version", "the lock"),
        releases=reader.each(tree, "releases", reader.release),
        images=reader.each(tree, "images", reader.image),
        charts=reader.each(tree, "charts", reader.chart),
        models=reader.each(tree, "models", reader.model),
        blobs=reader.each(tree, "blobs", reader.blob),
        files=reader.each(tree, "files", reader.file),
        omitted=reader.each(tree, "omitted", reader.omitted) if "omitted" in tree else [],
    )
    reader.consistent(lock)
    return lock


class _Reader:
    def __init__(self, thing: str) -> None:
        self.thing = thing

    def fail(self, where: str, cause: str) -> LockError:
        return LockError(f"{self.thing}: {where}: {cause}; make the bundle again")

    def mapping(self, value: Any, where: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self.fail(where, "is no mapping")
        return value

    def text(self, node: dict[str, Any], key: str, where: str) -> str:
        value = node.get(key)
        if not isinstance(value, str):
            raise self.fail(where, f"{key} is missing or no text")
        return value

    def size(self, node: dict[str, Any], where: str) -> int:
        value = node.get("size")
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise self.fail(where, "size is missing or no count of bytes")
        return value

    def digest(self, node: dict[str, Any], where: str) -> str:
        value = self.text(node, "digest", where)
        if not _DIGEST.match(value):
            raise self.fail(where, f"digest {value!r} is no sha256 digest")
        return value

    def each(self, node: dict[str, Any], key: str, build: Callable[[dict[str, Any], str], _T]) -> list[_T]:
        value = node.get(key)
        if not isinstance(value, list):
            raise self.fail("the lock", f"{key} is missing or no list")
        return [build(self.mapping(item, f"{key}[{i}]"), f"{key}[{i}]") for i, item in enumerate(value)]

    def release(self, node: dict[str, Any], where: str) -> Release:
        return Release(*(self.text(node, key, where) for key in ("platform", "name", "namespace", "chart")))

    def reason(self, node: dict[str, Any], where: str) -> Reason:
        return Reason(*(self.text(node, k, where) for k in REASON_KEYS))

    def image(self, node: dict[str, Any], where: str) -> Image:
        platforms = node.get("platforms")
        if not isinstance(platforms, list) or not all(isinstance(item, str) for item in platforms):
            raise self.fail(where, "platforms is no list of texts")
        return Image(
            reference=self.text(node, "reference", where),
            digest=self.digest(node, where),
            size=self.size(node, where),
            platforms=list(platforms),
            reasons=self.each(node, "reasons", self.reason),
            referrers=self.each(node, "referrers", self.referrer) if "referrers" in node else [],
        )

    def referrer(self, node: dict[str, Any], where: str) -> Referrer:
        return Referrer(self.digest(node, where), self.size(node, where), self.text(node, "tag", where))

    def chart(self, node: dict[str, Any], where: str) -> Chart:
        return Chart(
            reference=self.text(node, "reference", where),
            name=self.text(node, "name", where),
            version=self.text(node, "version", where),
            digest=self.digest(node, where),
            size=self.size(node, where),
            reasons=self.each(node, "reasons", self.reason),
        )

    def model_file(self, node: dict[str, Any], where: str) -> ModelFile:
        return ModelFile(self.path(node, where), self.digest(node, where), self.size(node, where))

    def model(self, node: dict[str, Any], where: str) -> Model:
        return Model(
            reference=self.text(node, "reference", where),
            name=self.text(node, "name", where),
            version=self.text(node, "version", where),
            digest=self.digest(node, where),
            size=self.size(node, where),
            files=self.each(node, "files", self.model_file),
            reasons=self.each(node, "reasons", self.reason),
        )

    def blob(self, node: dict[str, Any], where: str) -> Blob:
        return Blob(self.digest(node, where), self.size(node, where))

    def omitted(self, node: dict[str, Any], where: str) -> Omitted:
        repositories = node.get("repositories")
        if not isinstance(repositories, list) or not all(isinstance(item, str) for item in repositories):
            raise self.fail(where, "repositories is no list of texts")
        return Omitted(self.digest(node, where), self.size(node, where), list(repositories))

    def path(self, node: dict[str, Any], where: str) -> str:
        path = self.text(node, "path", where)
        parts = path.split("/")
        if not path or path.startswith("/") or "\\" in path or "\0" in path or any(p in ("", ".", "..") for p in parts):
            raise self.fail(where, f"path {path!r} does not stay below its directory")
        return path

    def file(self, node: dict[str, Any], where: str) -> File:
        kind = self.text(node, "kind", where)
        if kind not in FILE_KINDS:
            raise self.fail(where, "kind {!r} is none of {}".format(kind, ", ".join(FILE_KINDS)))
        path = self.path(node, where)
        if path in (LOCK_NAME, SIGNATURE_NAME):
            raise self.fail(where, "the lock cannot list itself or its signature")
        return File(path, self.digest(node, where), self.size(node, where), kind, self.text(node, "reason", where))

    def consistent(self, lock: Lock) -> None:
        held = {blob.digest for blob in lock.blobs}
        if len(held) != len(lock.blobs):
            raise self.fail("blobs", "a digest is listed twice")
        left_out = {item.digest for item in lock.omitted}
        if len(left_out) != len(lock.omitted):
            raise self.fail("omitted", "a digest is listed twice")
        if left_out & held:
            raise self.fail("omitted", f"{min(left_out & held)} is among the blobs")
        if len({item.path for item in lock.files}) != len(lock.files):
            raise self.fail("files", "a path is listed twice")
        if len({item.reference for item in lock.images}) != len(lock.images):
            raise self.fail("images", "a reference is listed twice")
        for reference, digest in sorted(lock.digests().items()):
            if digest not in held:
                raise self.fail(reference, f"its manifest {digest} is not among the blobs")
        for image in lock.images:
            for referrer in image.referrers:
                if referrer.digest not in held:
                    raise self.fail(
                        image.reference, f"the manifest {referrer.digest} that refers to it is not among the blobs"
                    )
