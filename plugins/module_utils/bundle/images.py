# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The images of a bundle, and where their content comes from."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible_collections.airgap.speech.plugins.module_utils.bundle import artifacts
from ansible_collections.airgap.speech.plugins.module_utils.bundle.cache import key_of
from ansible_collections.airgap.speech.plugins.module_utils.bundle.fetch import Item
from ansible_collections.airgap.speech.plugins.module_utils.bundle.lock import Image, Reason, Referrer
from ansible_collections.airgap.speech.plugins.module_utils.bundle.origins import (
    LayoutOrigin,
    Origin,
    Plan,
    RegistryOrigin,
    items_of,
    plan_image,
)
from ansible_collections.airgap.speech.plugins.module_utils.bundle.spec import (
    BuildSpec,
    Engine,
    ImageSource,
    MakerError,
    Making,
    link_or_copy,
)
from ansible_collections.airgap.speech.plugins.module_utils.discovery.images import upstream
from ansible_collections.airgap.speech.plugins.module_utils.oci.digest import sha256_file
from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import Descriptor, LayoutError, platform_matches
from ansible_collections.airgap.speech.plugins.module_utils.oci.reference import Reference
from ansible_collections.airgap.speech.plugins.module_utils.oci.registry import RegistryError

# Raised when what is made of the same inputs changes, so that an older cache is not taken for it.
BUILD_FORMAT = "build/v1"
ENGINE_FORMAT = "engine/v1"


class Images:
    """Finds, builds and fetches the images of one run."""

    def __init__(self, making: Making) -> None:
        self.making = making
        self.spec = making.spec
        self.made = making.made
        self.referrers: dict[str, list[Referrer]] = {}

    def gather(self, reasons: dict[str, list[Reason]]) -> dict[str, tuple[Descriptor, Image]]:
        """All images: first those that travel with their digests, fetched together, then those that are made here."""
        builds = {upstream(build.reference, self.spec.registry): build for build in self.spec.builds}
        sources = {upstream(source.reference, self.spec.registry): source for source in self.spec.image_sources}
        both = sorted(set(builds) & set(sources))
        if both:
            raise MakerError(f"{both[0]}: is built here and has a source as well; take one of them out")
        unused = sorted(set(sources) - set(reasons))
        if unused:
            raise MakerError(
                f"{unused[0]}: has a source in bundle_image_sources, but no release and no profile names it; correct "
                "the reference, or add it to bundle_extra_images"
            )
        wanted = [reference for reference in sorted(reasons) if not reference.startswith(("models/", "charts/"))]
        made_here = {ref for ref in wanted if ref in builds or (ref in sources and sources[ref].kind != "oci_layout")}
        descriptors = self._fetch([ref for ref in wanted if ref not in made_here], sources)
        for reference in wanted:
            if reference in builds:
                descriptors[reference] = self._build(reference, builds[reference])
            elif reference in made_here:
                descriptors[reference] = self._local(reference, sources[reference])
        images: dict[str, tuple[Descriptor, Image]] = {}
        for reference in wanted:
            descriptor = descriptors.get(reference)
            if descriptor is not None:
                size, platforms = self.making.measure(descriptor, self.spec.platforms)
                self._check_platforms(reference, platforms)
                referrers = self.referrers.get(reference, [])
                image = Image(reference, descriptor.digest, size, platforms, reasons[reference], referrers)
                images[reference] = (descriptor, image)
        return images

    # -- with their digests ------------------------------------------------------------------------------------

    def _fetch(self, references: list[str], sources: dict[str, ImageSource]) -> dict[str, Descriptor | None]:
        """From registries and OCI layouts, planned over all of them: a blob that several images share comes once."""
        started = time.monotonic()
        layout, platforms = self.making.layout, self.spec.platforms
        descriptors: dict[str, Descriptor | None] = {}
        missing: list[tuple[str, Origin, str]] = []
        with ThreadPoolExecutor(max(4, self.spec.threads)) as pool:
            heads = list(pool.map(lambda text: self._head(text, sources.get(text)), references))
            for text, (origin, there) in zip(references, heads):
                descriptors[text] = self._held(there.digest)
                if descriptors[text] is None:
                    missing.append((text, origin, there.digest))
            if self.making.dry:
                for text, _origin, digest in missing:
                    self.making.pending(f"fetch {text}@{digest}")
                missing = []
            origins = {digest: origin for _text, origin, digest in reversed(missing)}
            plans = list(pool.map(lambda each: plan_image(each[1], each[0], platforms), origins.items()))
        items: dict[str, Item] = {}
        for origin, plan in zip(origins.values(), plans):
            for item in items_of(origin, plan, layout):
                items.setdefault(item.digest, item)
        self.making.bring("images", list(items.values()))
        for plan in plans:
            plan.keep(layout)
        for text, _origin, digest in missing:
            descriptors[text] = layout.describe(digest)
        if self.spec.referrers:
            self._referrers({text: (origin, there.digest) for text, (origin, there) in zip(references, heads)})
        fetched = sum(item.size for item in items.values())
        self.making.step(
            "images",
            started,
            f"{len(references)} references, {len(missing)} fetched, {len(items)} blobs, {fetched} bytes",
        )
        return descriptors

    def _head(self, text: str, source: ImageSource | None) -> tuple[Origin, Descriptor]:
        reference = Reference.parse(text)
        origin: Origin
        if source is not None:
            origin = LayoutOrigin(source.path, source.name)
            absent = f"{text}: {origin.name} does not have {source.name or 'any image'}; correct bundle_image_sources"
        else:
            registry = self.making.upstream.of(reference)
            origin = RegistryOrigin(registry, reference.repository, reference.target)
            absent = (
                f"{text}: its registry does not have it; correct the reference, map {reference.host} to a registry "
                "that has it in bundle_registry_hosts, or say where it is in bundle_image_sources"
            )
        there = origin.head()
        if there is None:
            raise MakerError(absent)
        if reference.digest and there.digest != reference.digest:
            raise MakerError(f"{text}: {origin.name} answered with {there.digest}; correct the reference")
        return origin, there

    def _held(self, digest: str) -> Descriptor | None:
        """The manifest, where the cache has all of it."""
        try:
            for _part in self.making.layout.walk(digest, self.spec.platforms):
                pass
            return self.making.layout.describe(digest)
        except LayoutError:
            return None

    # -- what refers to them -----------------------------------------------------------------------------------

    def _referrers(self, origins: dict[str, tuple[Origin, str]]) -> None:
        """Signatures and the like of images out of registries. `origins`: reference to origin and digest."""
        making, layout = self.making, self.making.layout
        found: dict[str, list[tuple[str, Descriptor, RegistryOrigin]]] = {}
        with ThreadPoolExecutor(max(4, self.spec.threads)) as pool:
            names = [name for name, (origin, _digest) in origins.items() if isinstance(origin, RegistryOrigin)]
            for name, listed in zip(names, pool.map(lambda name: self._attached(name, *origins[name]), names)):
                found[name] = listed
        items: dict[str, Item] = {}
        plans: list[Plan] = []
        for name, listed in found.items():
            for _tag, descriptor, origin in listed:
                if self._held(descriptor.digest) is not None:
                    continue
                if making.dry:
                    making.pending(f"fetch what refers to {name}: {descriptor.digest}")
                    continue
                plans.append(plan_image(origin, descriptor.digest, ()))
                for item in items_of(origin, plans[-1], layout):
                    items.setdefault(item.digest, item)
        making.bring("signatures", list(items.values()))
        for plan in plans:
            plan.keep(layout)
        for name, listed in found.items():
            self.referrers[name] = [
                Referrer(descriptor.digest, layout.describe(descriptor.digest).size, tag)
                for tag, descriptor, _origin in listed
                if layout.has(descriptor.digest)
            ]

    def _attached(self, name: str, origin: Origin, digest: str) -> list[tuple[str, Descriptor, RegistryOrigin]]:
        """Tag (empty where it is found by its subject) and descriptor of each."""
        if not isinstance(origin, RegistryOrigin):
            return []
        registry, repository = origin.registry, origin.repository
        try:
            every = [("", descriptor) for descriptor in registry.referrers(repository, digest)]
            every += registry.attached(repository, digest)
        except RegistryError as error:
            if error.kind not in ("unauthorized", "forbidden", "missing", "answer"):
                raise
            # Not every registry lets everybody ask for this; the image itself is there.
            self.making.tell(f"image {name}: what refers to it is not known ({error.cause})")
            return []
        unique = {descriptor.digest: (tag, descriptor, origin) for tag, descriptor in reversed(every)}
        return sorted(unique.values(), key=lambda each: (each[0], each[1].digest))

    # -- made here ---------------------------------------------------------------------------------------------

    def _local(self, reference: str, source: ImageSource) -> Descriptor | None:
        """An image of the Docker engine, or of an archive of `docker save`."""
        started = time.monotonic()
        name = source.name or reference
        image_id: str | None = ""
        if source.kind == "docker_engine":
            image_id = self.making.engine().image_id(name)
            if not image_id:
                raise MakerError(
                    f"{reference}: the Docker engine has no image {name}; build or pull it there, or correct "
                    "bundle_image_sources"
                )
            key = key_of([ENGINE_FORMAT, image_id])
        elif source.kind == "docker_archive":
            try:
                found = os.stat(source.path)
            except OSError as error:
                raise MakerError(
                    f"{reference}: {source.path} cannot be read ({error.strerror}); correct bundle_image_sources"
                ) from error
            key = key_of([ENGINE_FORMAT, os.path.realpath(source.path), found.st_size, found.st_mtime_ns, source.name])
        else:
            raise MakerError(
                f"{reference}: {source.kind!r} is no kind of source; write docker_engine, oci_layout or docker_archive"
            )
        known = self.making.cache.artifact("engine", key)
        if known is not None:
            return known
        if self.making.dry:
            self.making.pending(f"export {reference}")
            return None
        if image_id:
            descriptor = self._exported(self.making.engine(), image_id)
        else:
            descriptor = self._unpacked(source.path, source.name)
        self.making.cache.put_artifact("engine", key, descriptor)
        self.making.step(f"image {reference}", started, descriptor.digest)
        return descriptor

    def _check_platforms(self, reference: str, platforms: list[str]) -> None:
        """An image of one platform has to be of a wanted one, also where the cache holds it for another bundle."""
        if platforms and not any(platform_matches(platform, self.spec.platforms) for platform in platforms):
            raise MakerError(
                f"{reference}: it is an image for {', '.join(platforms)}, where {', '.join(self.spec.platforms)} is "
                f"wanted; add {platforms[0]} to bundle_platforms, or name another image"
            )

    def _exported(self, engine: Engine, image_id: str) -> Descriptor:
        archive = artifacts.save_stream(engine.save(image_id), self.making.scratch)
        try:
            return self._unpacked(archive)
        finally:
            os.unlink(archive)

    def _unpacked(self, archive: str, name: str = "") -> Descriptor:
        return artifacts.docker_archive(
            self.making.layout, archive, self._known_layer, self._remember_layer, self.spec.threads, name
        )

    def _build(self, reference: str, build: BuildSpec) -> Descriptor | None:
        """An image from its Containerfile; built again only when what goes in has changed."""
        containerfile = os.path.join(build.context, build.containerfile)
        if not os.path.isfile(containerfile):
            raise MakerError(f"{reference}: there is no {containerfile}; correct the profile")
        requirements = ""
        if build.requirements:
            with open(os.path.join(build.context, build.requirements), encoding="utf-8") as handle:
                requirements = handle.read()
        engine = self.making.engine()
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
        known = self.making.cache.artifact("builds", key)
        if known is not None:
            return known
        if self.making.dry:
            self.making.pending(f"build {reference}")
            return None
        started = time.monotonic()
        context = os.path.join(self.making.scratch, "context")
        shutil.copytree(build.context, context, symlinks=True, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
        if requirements:
            wheels = os.path.join(context, "wheels")
            os.makedirs(wheels, exist_ok=True)
            for wheel in self.making.packages.wheels(requirements, build.python, build.glibc) or []:
                link_or_copy(wheel, os.path.join(wheels, os.path.basename(wheel)))
            self.making.step(f"wheels of {reference}", started, f"{len(os.listdir(wheels))}")
        started = time.monotonic()
        self.making.tell(f"image {reference}: building")
        image_id = engine.build(context, build.containerfile, reference, build.args, self.making.tell)
        shutil.rmtree(context)
        self.making.step(f"build of {reference}", started, image_id)
        started = time.monotonic()
        descriptor = self._exported(engine, image_id)
        self.making.step(f"layers of {reference}", started, descriptor.digest)
        self.making.cache.put_artifact("builds", key, descriptor)
        return descriptor

    def _known_layer(self, diff_id: str) -> tuple[str, int] | None:
        value = self.making.cache.get("layers", diff_id)
        if isinstance(value, list) and len(value) == 2 and self.making.layout.has(value[0], value[1]):
            return str(value[0]), int(value[1])
        return None

    def _remember_layer(self, diff_id: str, digest: str, size: int) -> None:
        self.making.cache.put("layers", diff_id, [digest, size])
        self.making.store.fresh.add(digest)


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
