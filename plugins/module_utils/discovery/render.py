# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The manifests of what is to be deployed: charts rendered by helm, kustomizations by kubectl, files as they are."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.airgap.speech.plugins.module_utils.discovery.documents import load_documents

try:
    import yaml
except ImportError:  # the modules say so
    yaml = None  # type: ignore[assignment]

Run = Callable[[list[str]], "tuple[int, str, str]"]

KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml", "Kustomization")
MANIFESTS = (".yaml", ".yml", ".json")
RELEASE_STATE = re.compile(r"\.Release\.Is(?:Upgrade|Install)\b")


class RenderFailed(Exception):
    """The input cannot be rendered or read: the input, the cause and the next step."""


@dataclass(frozen=True)
class Chart:
    """A chart and how it is deployed.

    `chart` is a directory, a package (.tgz), or an OCI reference (`oci://host/name`, with `version`). `pull_options`
    go to `helm pull` (`--plain-http`, `--ca-file=...`). `kube_version` and `api_versions` are what the cluster has;
    where they are empty, helm's own are taken.
    """

    chart: str
    version: str = ""
    release: str = "release"
    namespace: str = "default"
    kube_version: str = ""
    api_versions: Sequence[str] = field(default_factory=list)
    pull_options: Sequence[str] = field(default_factory=list)


class Renderer:
    """Runs helm and kubectl; `run` takes an argument list and returns the exit status, the output and the errors."""

    def __init__(self, run: Run, helm: str = "helm", kubectl: str = "kubectl") -> None:
        self.run = run
        self.helm = helm
        self.kubectl = kubectl

    def local(self, chart: Chart, folder: str) -> str:
        """The path of the chart, pulled into `folder` where it is in a registry. Raises RenderFailed."""
        if not chart.chart.startswith("oci://"):
            if not os.path.exists(chart.chart):
                raise RenderFailed(f"chart {chart.chart}: does not exist; name a directory, a .tgz or oci://host/name")
            return chart.chart
        target = tempfile.mkdtemp(dir=folder)
        version = ["--version", chart.version] if chart.version else []
        self._run(
            [self.helm, "pull", chart.chart, *version, "--destination", target, *chart.pull_options],
            f"chart {chart.chart}",
            "check the reference, the version and the login (helm registry login)",
        )
        pulled = [name for name in os.listdir(target) if name.endswith(".tgz")]
        if len(pulled) != 1:
            raise RenderFailed(f"chart {chart.chart}: helm pull left {len(pulled)} packages; check the reference")
        return os.path.join(target, pulled[0])

    def chart(self, chart: Chart, path: str, values_files: Sequence[str] = (), upgrade: bool = False) -> str:
        """The manifest of a chart at a local path, with its hooks, tests and CRDs. Raises RenderFailed."""
        argv = [self.helm, "template", chart.release, path, "--namespace", chart.namespace, "--include-crds"]
        for name in values_files:
            argv += ["--values", name]
        if chart.kube_version:
            argv += ["--kube-version", chart.kube_version]
        for name in chart.api_versions:
            argv += ["--api-versions", name]
        if upgrade:
            argv.append("--is-upgrade")
        return self._run(argv, f"chart {chart.chart}", "give the values of the deploy, and correct the chart")

    def manifests(self, path: str) -> str:
        """What a file, a directory of manifests or a kustomization holds, as one text. Raises RenderFailed."""
        if os.path.isdir(path):
            if any(os.path.isfile(os.path.join(path, name)) for name in KUSTOMIZATIONS):
                return self._run(
                    [self.kubectl, "kustomize", path], f"kustomization {path}", "make `kubectl kustomize` work there"
                )
            names = sorted(
                os.path.join(folder, name)
                for folder, _folders, found in os.walk(path)
                for name in found
                if name.endswith(MANIFESTS)
            )
            if not names:
                raise RenderFailed(f"{path}: holds no manifest ({', '.join(MANIFESTS)}); name another directory")
            return "\n---\n".join(self._file(name) for name in names)
        return self._file(path)

    def _file(self, name: str) -> str:
        try:
            with open(name, encoding="utf-8") as handle:
                text = handle.read()
        except (OSError, UnicodeDecodeError) as error:
            cause = error.strerror if isinstance(error, OSError) else "is no text"
            raise RenderFailed(f"manifest {name}: {cause}; name a YAML or JSON file") from error
        parsed(text, f"manifest {name}")
        return text

    def _run(self, argv: list[str], what: str, advice: str) -> str:
        rc, out, err = self.run(argv)
        if rc != 0:
            lines = [line.strip() for line in (err or out).splitlines() if line.strip()]
            wanted = [line for line in lines if not line.startswith(("WARNING", "walk.go", "level=", "Use --debug"))]
            raise RenderFailed(f"{what}: {os.path.basename(argv[0])} says {' '.join(wanted)[:800]}; {advice}")
        return out


def parsed(text: str, what: str) -> list[dict[str, Any]]:
    """The documents of a text. Raises RenderFailed."""
    try:
        return load_documents(text)
    except yaml.YAMLError as error:
        raise RenderFailed(f"{what}: is not YAML ({' '.join(str(error).split())}); correct it") from error


def write_values(folder: str, name: str, values: Mapping[str, Any]) -> str:
    """Values as a file for helm that only the owner can read, because values may hold secrets."""
    path = os.path.join(folder, re.sub(r"[^A-Za-z0-9_.-]", "_", name) + ".yaml")
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as handle:
        yaml.safe_dump(dict(values), handle)
    return path
