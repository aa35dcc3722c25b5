# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a bundle: resolve every item into the cache, write the lock of it, bring the destination in line, sign.

In check mode nothing is built or fetched: what is in the cache already gives the exact lock, and what is not is named.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from ansible_collections.airgap.speech.plugins.module_utils.bundle.cache import Cache, write_file
from ansible_collections.airgap.speech.plugins.module_utils.bundle.charts import Charts
from ansible_collections.airgap.speech.plugins.module_utils.bundle.fetch import Store
from ansible_collections.airgap.speech.plugins.module_utils.bundle.files import Files
from ansible_collections.airgap.speech.plugins.module_utils.bundle.images import Images
from ansible_collections.airgap.speech.plugins.module_utils.bundle.lock import (
    LOCK_NAME,
    Blob,
    Chart,
    File,
    Image,
    Lock,
    LockError,
    Model,
    Omitted,
    Release,
    dump,
    load,
)
from ansible_collections.airgap.speech.plugins.module_utils.bundle.models import Models
from ansible_collections.airgap.speech.plugins.module_utils.bundle.pypi import Packages
from ansible_collections.airgap.speech.plugins.module_utils.bundle.reasons import reasons_of
from ansible_collections.airgap.speech.plugins.module_utils.bundle.sbom import SBOM_NAME, Facts, bill_of_materials
from ansible_collections.airgap.speech.plugins.module_utils.bundle.spec import (
    Engine,
    Made,
    MakerError,
    Making,
    Run,
    Say,
    Source,
    Spec,
    Upstream,
    source_of,
)
from ansible_collections.airgap.speech.plugins.module_utils.bundle.web import Web
from ansible_collections.airgap.speech.plugins.module_utils.bundle.writer import Spoilt, Writer
from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import Descriptor, Layout
from ansible_collections.airgap.speech.plugins.module_utils.oci.reference import Reference

try:
    import yaml
except ImportError:  # the modules say so
    yaml = None  # type: ignore[assignment]


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
        web: Web | None = None,
    ) -> None:
        packages = Packages(run, spec.python, cache, dry)
        store = Store(cache.layout, os.path.join(cache.path, "partial"), spec.threads)
        web = web or Web()
        self.making = Making(spec, cache, run, engine, upstream_registries, say, dry, packages, web, store)
        self.spec = spec
        self.made = self.making.made
        self.writer = Writer(self.making)

    def make(self) -> Made:
        """Resolve, compare, and unless in check mode write. Signing is the caller's."""
        started = time.monotonic()
        making = self.making
        with making.cache.held(), tempfile.TemporaryDirectory(dir=making.cache.folder("scratch")) as scratch:
            making.scratch = scratch
            making.cache.folder("partial")
            try:
                self._make()
            except Spoilt as error:
                # Each blob is read before it counts as carried; one that is not what its name says is brought anew,
                # once.
                making.tell(f"cache: {len(error.digests)} blobs are spoilt and are fetched again: {error}")
                for digest in error.digests:
                    making.layout.blob_path(digest).unlink()
                try:
                    self._make()
                except Spoilt as again:
                    raise MakerError(
                        f"{making.layout.path}: {again} are spoilt again as soon as they are written; check that disk"
                    ) from again
        if not self.made.pending:
            making.step(
                "bundle",
                started,
                f"{len(self.made.written)} files written, {self.made.bytes_written} bytes, "
                f"{len(self.made.removed)} removed",
            )
        return self.made

    def _make(self) -> None:
        making = self.making
        self.made.excluded.clear()
        self.made.explained.clear()
        reasons = reasons_of(making)
        images = Images(making).gather(reasons)
        charts = Charts(making).gather()
        models = Models(making).gather(reasons)
        files = Files(making).gather()
        if self.made.pending:
            self.made.changed = True
            return
        index = [(d, r) for r, (d, _item) in {**images, **charts, **models}.items()]
        for reference, (_descriptor, image) in images.items():
            name = Reference.parse(reference).name
            for each in image.referrers:
                descriptor = making.layout.describe(each.digest)
                index.append((descriptor, f"{name}:{each.tag}" if each.tag else f"{name}@{each.digest}"))
        files += self._index(index)
        self._lock(images, charts, models, files)
        self.writer.bring_in_line({source.path: source for source in files})

    def _index(self, entries: list[tuple[Descriptor, str]]) -> list[Source]:
        staging = Layout(os.path.join(self.making.scratch, "index"))
        staging.create()
        staging.set_index(entries)
        return [
            source_of("oci/" + name, str(staging.path / name), "layout", "OCI image layout")
            for name in ("index.json", "oci-layout")
        ]

    def _lock(
        self,
        images: Mapping[str, tuple[Descriptor, Image]],
        charts: Mapping[str, tuple[Descriptor, Chart]],
        models: Mapping[str, tuple[Descriptor, Model]],
        files: list[Source],
    ) -> None:
        blobs: dict[str, int] = {}
        omitted: dict[str, Omitted] = {}
        for descriptor in self._roots(images, charts, models):
            for part in self.making.layout.walk(descriptor.digest, self.spec.platforms):
                if part.digest in self.spec.held and not part.is_manifest:
                    omitted[part.digest] = Omitted(part.digest, part.size, sorted(self.spec.held[part.digest]))
                else:
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
            omitted=list(omitted.values()),
        )
        if self.spec.sbom:
            source = self._bill_of_materials(lock)
            files.append(source)
            listed = File(source.path, source.digest, source.size, source.kind, source.reason)
            lock = replace(lock, files=[*lock.files, listed])
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
        self.made.removed = self.writer.stale(old)

    def _bill_of_materials(self, lock: Lock) -> Source:
        """What the lock names, as a file of the bundle."""
        licences = {f"models/{model.name}:{model.version}": model.licence for model in self.spec.models}
        facts = Facts(licences, self.spec.licences, self.spec.source_date_epoch)
        local = os.path.join(self.making.scratch, os.path.basename(SBOM_NAME))
        write_file(local, bill_of_materials(lock, facts))
        return source_of(SBOM_NAME, local, "sbom", "bill of materials (CycloneDX)")

    def _roots(
        self,
        images: Mapping[str, tuple[Descriptor, Image]],
        charts: Mapping[str, tuple[Descriptor, Chart]],
        models: Mapping[str, tuple[Descriptor, Model]],
    ) -> Iterator[Descriptor]:
        for group in (images, charts, models):
            for descriptor, _item in group.values():
                yield descriptor
        for _descriptor, image in images.values():
            for referrer in image.referrers:
                yield self.making.layout.describe(referrer.digest)

    def _version(self) -> str:
        root = os.path.realpath(self.spec.collection)
        for name in ("galaxy.yml", "MANIFEST.json"):
            path = os.path.join(root, name)
            if os.path.isfile(path):
                with open(path, encoding="utf-8") as handle:
                    tree = yaml.safe_load(handle)
                return str(tree.get("version") or tree.get("collection_info", {}).get("version"))
        raise MakerError(f"{root}: is no collection (no galaxy.yml, no MANIFEST.json)")


def utc(epoch: int) -> str:
    """Seconds since 1970 as the lock writes a time."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch))
