# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes into a bundle, what is known of a run that makes one, and what it did."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ansible_collections.airgap.speech.plugins.module_utils.bundle.cache import Cache
from ansible_collections.airgap.speech.plugins.module_utils.bundle.fetch import Item, Store
from ansible_collections.airgap.speech.plugins.module_utils.bundle.lock import Lock
from ansible_collections.airgap.speech.plugins.module_utils.bundle.parts import PartList
from ansible_collections.airgap.speech.plugins.module_utils.bundle.pypi import Packages
from ansible_collections.airgap.speech.plugins.module_utils.bundle.sbom import Licence
from ansible_collections.airgap.speech.plugins.module_utils.bundle.web import Web
from ansible_collections.airgap.speech.plugins.module_utils.oci.digest import sha256_file
from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import Descriptor, Layout
from ansible_collections.airgap.speech.plugins.module_utils.oci.reference import Reference
from ansible_collections.airgap.speech.plugins.module_utils.oci.registry import Registry
from ansible_collections.airgap.speech.plugins.module_utils.oci.transfer import Progress

Run = Callable[[list[str]], "tuple[int, str, str]"]
Say = Callable[[str], None]


def expanded(path: str) -> str:
    """A path inside a free-form argument, which no argument specification expands."""
    return os.path.expanduser(path)


class MakerError(Exception):
    """The bundle cannot be made: the thing, the cause and the next step."""


class Engine(Protocol):
    """What is wanted of a container engine."""

    def image_id(self, reference: str) -> str | None:
        """The id of a local image."""

    def build(self, context: str, containerfile: str, reference: str, args: dict[str, str], say: Say) -> str:
        """Build an image and return its id."""

    def save(self, image_id: str) -> Iterable[bytes]:
        """An archive with the image."""


class Upstream(Protocol):
    """What is wanted of the registries outside."""

    def of(self, reference: Reference) -> Registry:
        """A client for what holds this image."""


@dataclass(frozen=True)
class ReleaseSpec:
    """A release to make the bundle for, with its rendered manifest, and what other sets of values render, by name."""

    platform: str
    name: str
    namespace: str
    chart: str
    manifest: str
    manifests: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ChartSpec:
    """A chart: a directory or a package (`path`), or of a repository: http(s)://... with an index.yaml, or oci://...

    `digest` pins a chart of a repository: the sha256 of the package, or of the manifest where it is OCI.
    """

    name: str
    version: str
    source: str
    path: str = ""
    repository: str = ""
    digest: str = ""


@dataclass(frozen=True)
class BuildSpec:
    """An image that is built here."""

    reference: str
    context: str
    containerfile: str = "Containerfile"
    requirements: str = ""
    python: str = "3.11"
    glibc: str = "2.36"
    args: dict[str, str] = field(default_factory=dict)
    source: str = ""


@dataclass(frozen=True)
class ExtraImage:
    """An image that no manifest of the releases names."""

    reference: str
    source: str
    needed: str = "always"


@dataclass(frozen=True)
class ImageSource:
    """Where an image is that no registry has: `kind` is docker_engine, oci_layout or docker_archive.

    `name` is what it is called there, where that is not its reference; `path` is the layout or the archive.
    """

    reference: str
    kind: str
    path: str = ""
    name: str = ""


@dataclass(frozen=True)
class FileSpec:
    """A file that travels as it is, to files/extra/<path>: of this machine, or of an http(s) server with its sha256."""

    path: str
    source: str
    reason: str
    sha256: str = ""
    size: int = -1
    executable: bool = False


@dataclass(frozen=True)
class PackagesSpec:
    """A directory of OS packages, to files/os/<name>. Of .deb files it becomes a repository; of .rpm it is one."""

    name: str
    path: str
    reason: str


@dataclass(frozen=True)
class ModelSpec:
    """A model, as the models file of a profile gives it."""

    name: str
    version: str
    kind: str
    engine: str
    files: list[dict[str, Any]]
    source: str
    licence: str = ""


@dataclass(frozen=True)
class Spec:
    """Everything that goes into a bundle."""

    dest: str
    collection: str
    registry: str = ""
    releases: list[ReleaseSpec] = field(default_factory=list)
    charts: list[ChartSpec] = field(default_factory=list)
    builds: list[BuildSpec] = field(default_factory=list)
    images: list[ExtraImage] = field(default_factory=list)
    models: list[ModelSpec] = field(default_factory=list)
    image_sources: list[ImageSource] = field(default_factory=list)
    files: list[FileSpec] = field(default_factory=list)
    os_packages: list[PackagesSpec] = field(default_factory=list)
    docs: str = ""
    # Files of rules for images that operators name in their code, and the values that the rules speak of.
    image_rules: list[str] = field(default_factory=list)
    image_variables: dict[str, Any] = field(default_factory=dict)
    refuse_undecided: bool = False
    # Signatures and the like that refer to an image.
    referrers: bool = True
    # What the site has: digest to the repositories of its registry that hold it.
    held: dict[str, list[str]] = field(default_factory=dict)
    # Whether a bill of materials is made, and the licences of platforms that it names.
    sbom: bool = False
    licences: list[Licence] = field(default_factory=list)
    # Bytes that fit on one medium, where the bundle is written as parts; and the parts to write, where not all.
    part_size: int = 0
    only_parts: list[int] = field(default_factory=list)
    tools: dict[str, str] = field(default_factory=dict)
    collections: list[str] = field(default_factory=list)
    collections_requirements: str = ""
    controller_requirements: str = ""
    controller_python: str = "3.11"
    installer: str = ""
    setup: str = ""
    helm: str = "helm"
    python: str = "python3"
    ansible_galaxy: str = "ansible-galaxy"
    platforms: list[str] = field(default_factory=lambda: ["linux/amd64"])
    threads: int = 2
    source_date_epoch: int | None = None


@dataclass
class Source:
    """A file of the bundle and where its content is now."""

    path: str
    local: str
    digest: str
    size: int
    kind: str
    reason: str
    executable: bool = False


@dataclass
class Made:
    """What a run did, or would do."""

    changed: bool = False
    lock: Lock | None = None
    pending: list[str] = field(default_factory=list)
    written: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    bytes_written: int = 0
    excluded: list[dict[str, str]] = field(default_factory=list)
    # One row a place that names an image or might: what was decided, and why.
    explained: list[dict[str, str]] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)
    lock_bytes: bytes = b""
    before: bytes = b""
    parts: PartList | None = None


@dataclass
class Making:
    """One run: what it was given, and what it has done so far."""

    spec: Spec
    cache: Cache
    run: Run
    engine: Callable[[], Engine]
    upstream: Upstream
    tell: Say
    dry: bool
    packages: Packages
    web: Web
    store: Store
    made: Made = field(default_factory=Made)
    scratch: str = ""

    @property
    def layout(self) -> Layout:
        """The layout of the cache, where everything is gathered."""
        return self.cache.layout

    def step(self, name: str, started: float, text: str) -> None:
        """A step is done: `started` is the monotonic time of its begin."""
        line = f"{name}: {text}, {time.monotonic() - started:.1f} s"
        self.made.steps.append(line)
        self.tell(line)

    def pending(self, text: str) -> None:
        """In check mode: what would have to be done first."""
        self.made.pending.append(text)

    def bring(self, label: str, items: Sequence[Item]) -> list[tuple[str, int]]:
        """Fetch into the cache, with progress; digest and size of each blob."""
        if not items:
            return []
        self._check_room(items)
        progress = Progress(label, 0, self.tell)
        self.store.progress = progress
        try:
            return self.store.bring(items)
        finally:
            self.store.progress = None
            progress.finish()

    def _check_room(self, items: Sequence[Item]) -> None:
        """Where the destination takes copies (another file system, or parts), it has to have room for what is fetched.

        The cache asks for itself; this is known hours before the first file is copied.
        """
        place = os.path.abspath(self.spec.dest)
        while not os.path.isdir(place):
            place = os.path.dirname(place)
        one_disk = os.stat(place).st_dev == os.stat(self.cache.path).st_dev
        if one_disk and not self.spec.part_size:
            return
        need = sum(item.size for item in items) + (sum(map(self.store.left, items)) if one_disk else 0)
        free = shutil.disk_usage(place).free
        if free < need:
            raise MakerError(
                f"{self.spec.dest}: {free} bytes are free, what is to be fetched needs {need}; free {need - free} "
                "bytes, or name another bundle_dest"
            )

    def measure(self, descriptor: Descriptor, platforms: Sequence[str] | None) -> tuple[int, list[str]]:
        """Bytes of all that the descriptor reaches, and the platforms of it."""
        size, found = 0, []
        for part in self.layout.walk(descriptor.digest, platforms):
            size += part.size
            if part.is_manifest and not part.is_index:
                config = self.layout.read_json(part.digest).get("config") or {}
                if "image.config" in str(config.get("mediaType")) or "container.image" in str(config.get("mediaType")):
                    document = self.layout.read_json(str(config["digest"]))
                    names = [document.get("os"), document.get("architecture"), document.get("variant")]
                    found.append("/".join(str(name) for name in names if name))
        return size, sorted(set(found))


def source_of(path: str, local: str, kind: str, reason: str, executable: bool = False) -> Source:
    """A file of this machine as a file of the bundle."""
    digest, size = sha256_file(local)
    return Source(path, local, digest, size, kind, reason, executable)


def last_line(text: str) -> str:
    """What a program said last."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "nothing"


def link_or_copy(source: str, target: str) -> None:
    """A hard link where possible: the file is only read."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
