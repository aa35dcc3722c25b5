# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The charts of a bundle."""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import replace
from typing import Any

from ansible_collections.airgap.speech.plugins.module_utils.bundle import artifacts
from ansible_collections.airgap.speech.plugins.module_utils.bundle.archive import read_tar_gz, repack
from ansible_collections.airgap.speech.plugins.module_utils.bundle.lock import Chart, Reason
from ansible_collections.airgap.speech.plugins.module_utils.bundle.spec import ChartSpec, MakerError, Making, last_line
from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import Descriptor

try:
    import yaml
except ImportError:  # the modules say so
    yaml = None  # type: ignore[assignment]


class Charts:
    """Packs the charts of one run."""

    def __init__(self, making: Making) -> None:
        self.making = making
        self.spec = making.spec
        self.made = making.made

    def gather(self) -> dict[str, tuple[Descriptor, Chart]]:
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
            descriptor = artifacts.chart_artifact(self.making.layout, package, metadata)
            size, _platforms = self.making.measure(descriptor, None)
            charts[reference] = (descriptor, Chart(reference, spec.name, spec.version, descriptor.digest, size, used))
            self.making.step(f"chart {reference}", started, f"{descriptor.digest}, {size} bytes")
        for release in self.spec.releases:
            if release.chart and release.chart not in charts:
                raise MakerError(f"release {release.name}: its chart {release.chart} is not among the charts")
        return charts

    def _package(self, spec: ChartSpec) -> tuple[bytes, dict[str, Any]]:
        """A chart as a package whose bytes depend on its files alone, and its Chart.yaml."""
        first = (f"{spec.name}/Chart.yaml", f"{spec.name}/values.yaml")
        if os.path.isdir(spec.path):
            target = tempfile.mkdtemp(dir=self.making.scratch)
            rc, out, err = self.making.run([self.spec.helm, "package", spec.path, "--destination", target])
            if rc != 0:
                raise MakerError(
                    f"chart {spec.name} ({spec.path}): helm package says {last_line(err or out)}; correct the chart"
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
