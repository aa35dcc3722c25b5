# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Inputs: the same chart as a directory, as a package and out of a real registry; and what is said when one is bad."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ansible_collections.airgap.speech.plugins.module_utils.discovery.charts import discover_chart, read_chart
from ansible_collections.airgap.speech.plugins.module_utils.discovery.findings import Discovery, Found, union
from ansible_collections.airgap.speech.plugins.module_utils.discovery.render import (
    Chart,
    Renderer,
    RenderFailed,
    write_values,
)
from tests.unit.registry_server import RegistryServer, plain_registry_server  # noqa: F401

from .test_cases import CASES, run, tool

ALIASES = CASES / "charts" / "aliases" / "chart"
PLAIN = CASES / "charts" / "plain" / "chart"


@pytest.fixture
def renderer() -> Renderer:
    return Renderer(run, tool("helm"))


def package(chart: Path, to: Path) -> Path:
    rc, _out, err = run([tool("helm"), "package", str(chart), "--destination", str(to)])
    assert rc == 0, err
    return next(to.glob("*.tgz"))


@pytest.mark.parametrize("chart", [ALIASES, PLAIN], ids=["aliases", "plain"])
def test_a_package_is_as_its_directory(renderer: Renderer, chart: Path, tmp_path: Path) -> None:
    made = package(chart, tmp_path)
    assert discover_chart(renderer, Chart(str(made))) == discover_chart(renderer, Chart(str(chart)))


def test_a_package_inside_a_chart_is_read(renderer: Renderer, tmp_path: Path) -> None:
    chart = tmp_path / "aliases"
    shutil.copytree(ALIASES, chart)
    made = package(chart / "charts" / "worker", tmp_path)
    shutil.rmtree(chart / "charts" / "worker")
    made.rename(chart / "charts" / made.name)
    assert discover_chart(renderer, Chart(str(chart))) == discover_chart(renderer, Chart(str(ALIASES)))
    assert [subchart.name for subchart in read_chart(str(chart)).subcharts] == ["worker"]


def test_a_chart_out_of_a_registry(
    renderer: Renderer,
    plain_registry_server: RegistryServer,  # noqa: F811
    tmp_path: Path,
) -> None:
    made = package(PLAIN, tmp_path)
    where = f"oci://{plain_registry_server.endpoint}/charts"
    rc, _out, err = run([tool("helm"), "push", str(made), where, "--plain-http"])
    assert rc == 0, err
    chart = Chart(f"{where}/plain", version="1.2.3", pull_options=["--plain-http"])
    assert discover_chart(renderer, chart) == discover_chart(renderer, Chart(str(PLAIN)))
    with pytest.raises(RenderFailed, match=r"chart oci://.*/plain: helm says .*; check the reference, the version"):
        discover_chart(renderer, Chart(f"{where}/plain", version="9.9.9", pull_options=["--plain-http"]))


def test_the_cluster_decides(renderer: Renderer) -> None:
    chart = CASES / "charts" / "kube-version" / "chart"
    old = discover_chart(renderer, Chart(str(chart), kube_version="1.34.1"))
    assert old.references == ["quay.io/acme/with-image-volume:1", "registry.k8s.io/kubectl:v1.34.0"]
    with pytest.raises(RenderFailed, match=r"chart .*: helm says .*incompatible with Kubernetes.*; give the values"):
        discover_chart(renderer, Chart(str(chart), kube_version="1.20.0"))


def test_bad_input(renderer: Renderer, tmp_path: Path) -> None:
    values = tmp_path / "values.yml"
    values.write_text("a: [b\n")
    bad = tmp_path / "bad.yml"
    bad.write_text("kind: Pod\n\tspec: {}\n")
    binary = tmp_path / "binary.yml"
    binary.write_bytes(b"\xff\xfe\x00")
    broken = tmp_path / "broken.tgz"
    broken.write_bytes(b"no package")
    (tmp_path / "empty").mkdir()
    (tmp_path / "kustomization").mkdir()
    (tmp_path / "kustomization" / "kustomization.yaml").write_text("resources: [missing.yaml]\n")
    for wanted, call in (
        ("chart /nowhere: does not exist; name a directory", lambda: discover_chart(renderer, Chart("/nowhere"))),
        ("broken.tgz: cannot be read .*; package it again", lambda: discover_chart(renderer, Chart(str(broken)))),
        ("helm says .*values.yml", lambda: discover_chart(renderer, Chart(str(PLAIN)), {"": [str(values)]})),
        (r"manifest .*bad.yml: is not YAML \(.*line 2.*\); correct it", lambda: renderer.manifests(str(bad))),
        ("manifest .*binary.yml: is no text; name a YAML", lambda: renderer.manifests(str(binary))),
        ("manifest .*gone.yml: No such file", lambda: renderer.manifests(str(tmp_path / "gone.yml"))),
        ("empty: holds no manifest", lambda: renderer.manifests(str(tmp_path / "empty"))),
    ):
        with pytest.raises(RenderFailed, match=wanted):
            call()
    with pytest.raises(
        RenderFailed, match=r"kustomization .*: kubectl says .*missing.yaml.*; make `kubectl kustomize`"
    ):
        Renderer(run, kubectl=tool("kubectl")).manifests(str(tmp_path / "kustomization"))


def test_values_are_the_owners_alone(tmp_path: Path) -> None:
    path = Path(write_values(str(tmp_path), "a set/of values", {"password": "p", "list": [1]}))
    assert path.name == "a_set_of_values.yaml"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text() == "list:\n- 1\npassword: p\n"


def test_union_says_which_sets() -> None:
    def one(reference: str, needed: str) -> Found:
        return Found(reference, "Pod", "p", "spec", "pod spec", needed)

    merged = union(
        {
            "a": Discovery([one("x/y:1", "always"), one("x/h:1", "hook post-install")]),
            "b": Discovery([one("x/y:1", "always"), one("x/o:1", "if spec.o.enabled")]),
            "c": Discovery([one("x/y:1", "always"), one("x/o:1", "always")]),
        }
    )
    assert {(item.reference, item.needed, item.required) for item in merged.found} == {
        ("x/y:1", "always", True),
        ("x/h:1", "hook post-install, in value sets a", True),
        ("x/o:1", "if spec.o.enabled, in value sets b", False),
        ("x/o:1", "in value sets c", True),
    }
    assert merged.references == ["x/h:1", "x/o:1", "x/y:1"]
