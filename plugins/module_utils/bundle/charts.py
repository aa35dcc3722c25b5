# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The charts of a bundle."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import time
import urllib.parse
from dataclasses import replace
from typing import Any

from ansible_collections.airgap.speech.plugins.module_utils.bundle import artifacts
from ansible_collections.airgap.speech.plugins.module_utils.bundle.archive import read_tar_gz, repack
from ansible_collections.airgap.speech.plugins.module_utils.bundle.lock import Chart, Reason
from ansible_collections.airgap.speech.plugins.module_utils.bundle.origins import RegistryOrigin, items_of, plan_image
from ansible_collections.airgap.speech.plugins.module_utils.bundle.spec import ChartSpec, MakerError, Making, last_line
from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import Descriptor, LayoutError
from ansible_collections.airgap.speech.plugins.module_utils.oci.reference import Reference

try:
    import yaml
except ImportError:  # the modules say so
    yaml = None  # type: ignore[assignment]


class Charts:
    """Gathers the charts of one run."""

    def __init__(self, making: Making) -> None:
        self.making = making
        self.spec = making.spec
        self.made = making.made

    def gather(self) -> dict[str, tuple[Descriptor, Chart]]:
        """All charts, each once, with every reason for it."""
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
            found = self._chart(spec)
            if found is None:
                continue
            size, _platforms = self.making.measure(found, None)
            charts[reference] = (found, Chart(reference, spec.name, spec.version, found.digest, size, used))
            self.making.step(f"chart {reference}", started, f"{found.digest}, {size} bytes")
        for release in self.spec.releases:
            if release.chart and release.chart not in charts and not self.made.pending:
                raise MakerError(f"release {release.name}: its chart {release.chart} is not among the charts")
        return charts

    def _chart(self, spec: ChartSpec) -> Descriptor | None:
        if bool(spec.path) == bool(spec.repository):
            raise MakerError(f"chart {spec.name}: has {spec.path!r} and {spec.repository!r}; give path or repository")
        if spec.repository.startswith("oci://"):
            return self._artifact(spec)
        if spec.repository:
            package = self._download(spec)
            if package is None:
                return None
        elif os.path.isdir(spec.path):
            package = self._packed(spec)
        else:
            try:
                with open(spec.path, "rb") as handle:
                    package = handle.read()
            except OSError as error:
                raise MakerError(f"chart {spec.name} ({spec.path}): {error.strerror}; correct the profile") from error
        return artifacts.chart_artifact(self.making.layout, package, self._metadata(spec, package))

    def _packed(self, spec: ChartSpec) -> bytes:
        """A directory as a package whose bytes depend on its files alone."""
        target = tempfile.mkdtemp(dir=self.making.scratch)
        rc, out, err = self.making.run([self.spec.helm, "package", spec.path, "--destination", target])
        if rc != 0:
            raise MakerError(
                f"chart {spec.name} ({spec.path}): helm package says {last_line(err or out)}; correct the chart"
            )
        package = os.path.join(target, os.listdir(target)[0])
        with open(package, "rb") as handle:
            return repack(handle.read(), package, (f"{spec.name}/Chart.yaml", f"{spec.name}/values.yaml"))

    def _metadata(self, spec: ChartSpec, package: bytes) -> dict[str, Any]:
        """Its Chart.yaml, which has to be of the name and version that were asked for."""
        where = spec.path or spec.repository
        chart_yaml = None
        for name, content, _executable in read_tar_gz(package, f"chart {spec.name} ({where})"):
            if name == f"{spec.name}/Chart.yaml":
                chart_yaml = yaml.safe_load(content.decode("utf-8"))
        if not isinstance(chart_yaml, dict):
            raise MakerError(f"chart {spec.name} ({where}): holds no {spec.name}/Chart.yaml; correct the profile")
        if str(chart_yaml.get("version")) != spec.version:
            raise MakerError(
                "chart {}: the profile says version {}, its Chart.yaml {}; correct one of them".format(
                    spec.name, spec.version, chart_yaml.get("version")
                )
            )
        return chart_yaml

    # -- of a chart repository ---------------------------------------------------------------------------------

    def _download(self, spec: ChartSpec) -> bytes | None:
        """The package that the index of a chart repository names, held against the digest that it or the site gives."""
        base = spec.repository.rstrip("/") + "/"
        try:
            index = yaml.safe_load(self.making.web.get(base + "index.yaml"))
            entries = [
                entry
                for entry in (index.get("entries") or {}).get(spec.name) or []
                if str(entry.get("version")) in (spec.version, "v" + spec.version)
            ]
        except (yaml.YAMLError, AttributeError) as error:
            raise MakerError(
                f"chart {spec.name}: {base}index.yaml is no index of charts; correct the repository"
            ) from error
        if not entries or not entries[0].get("urls"):
            raise MakerError(
                f"chart {spec.name}: {base}index.yaml has no version {spec.version}; correct the version or the "
                "repository"
            )
        listed = str(entries[0].get("digest") or "").partition("sha256:")[2] or str(entries[0].get("digest") or "")
        wanted = spec.digest.rpartition(":")[2] or listed
        if spec.digest and listed and wanted != listed:
            raise MakerError(
                f"chart {spec.name} {spec.version}: {base}index.yaml lists sha256:{listed}, the profile pins "
                f"sha256:{wanted}; "
                "find out which is right before you correct the profile"
            )
        cached = self.making.layout.blob_path("sha256:" + wanted) if re.match(r"^[0-9a-f]{64}\Z", wanted) else None
        if cached is not None and cached.is_file():
            return self.making.layout.read_bytes("sha256:" + wanted)
        if self.making.dry:
            self.making.pending(f"fetch chart {spec.name} {spec.version} of {spec.repository}")
            return None
        url = urllib.parse.urljoin(base, str(entries[0]["urls"][0]))
        package = self.making.web.get(url)
        actual = hashlib.sha256(package).hexdigest()
        if wanted and actual != wanted:
            raise MakerError(
                f"chart {spec.name} {spec.version}: {url} has sha256:{actual}, expected sha256:{wanted}; find out who "
                "changed it before you correct the profile"
            )
        return package

    # -- of a registry -----------------------------------------------------------------------------------------

    def _artifact(self, spec: ChartSpec) -> Descriptor | None:
        """A chart of a registry: it keeps its digest, and its provenance where it has one."""
        # Helm writes the + of a version as _, which a tag may hold.
        text = "{}/{}:{}".format(spec.repository[6:].rstrip("/"), spec.name, spec.version.replace("+", "_"))
        reference = Reference.parse(text)
        origin = RegistryOrigin(
            self.making.upstream.of(reference), reference.repository, spec.digest or reference.target
        )
        there = origin.head()
        if there is None:
            raise MakerError(
                f"chart {spec.name}: its registry does not have {text}; correct the repository or the version"
            )
        layout = self.making.layout
        try:
            for _part in layout.walk(there.digest):
                pass
        except LayoutError:
            if self.making.dry:
                self.making.pending(f"fetch chart {text}@{there.digest}")
                return None
            plan = plan_image(origin, there.digest, ())
            self.making.bring(f"chart {spec.name}", items_of(origin, plan, layout))
            plan.keep(layout)
        config = layout.read_json(there.digest).get("config") or {}
        if config.get("mediaType") != artifacts.CHART_CONFIG:
            raise MakerError(
                f"chart {spec.name}: {text} is no Helm chart ({config.get('mediaType')}); correct the repository"
            )
        found = layout.read_json(str(config["digest"]))
        if (found.get("name"), str(found.get("version"))) != (spec.name, spec.version):
            raise MakerError(
                f"chart {spec.name}: {text} is {found.get('name')} {found.get('version')}; correct the profile"
            )
        return layout.describe(there.digest)
