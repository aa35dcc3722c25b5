# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""airgap.speech.bundle for a profile whose chart lies in a registry, and for several sets of values."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.airgap.speech.plugins.module_utils.bundle.archive import tar_gz
from ansible_collections.airgap.speech.plugins.module_utils.bundle.artifacts import chart_artifact
from ansible_collections.airgap.speech.plugins.module_utils.bundle.lock import load
from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import Layout
from ansible_collections.airgap.speech.plugins.modules import bundle_chart
from tests.unit.plugins.module_utils.bundle.test_web import web_server
from tests.unit.plugins.module_utils.bundle.upstreams import push_bytes, push_image
from tests.unit.plugins.modules.run_module import run_module
from tests.unit.registry_server import RegistryServer, plain_registry_server  # noqa: F401 - fixture
from tests.unit.roles.playing import run_playbook

VERSION = "1.2.3+b1"
CHART = {"apiVersion": "v2", "name": "app", "version": VERSION}
POD = """\
apiVersion: v1
kind: Pod
metadata: {name: app}
spec:
  containers:
    - {name: a, image: "quay.io/a/always:1"}
{{- if .Values.gpu }}
    - {name: g, image: "quay.io/a/gpu:{{ .Values.tag }}"}
{{- end }}
"""
PACKAGE = tar_gz(
    [
        ("app/Chart.yaml", yaml.safe_dump(CHART).encode(), False),
        ("app/values.yaml", b"gpu: false\ntag: '1'\n", False),
        ("app/templates/pod.yaml", POD.encode(), False),
    ]
)


def helm() -> str:
    """helm of this machine, or the sandbox's."""
    cache = Path(os.environ.get("AIRGAP_SPEECH_CACHE") or Path.home() / ".cache/airgap-speech")
    found = shutil.which("helm") or next(iter(sorted(str(path) for path in cache.glob("go/helm/*/bin/helm"))), None)
    assert found, "no helm: install it, or build the sandbox's: .venv/bin/python -m sandbox build helm"
    return found


@pytest.fixture
def upstream(tmp_path: Path, plain_registry_server: RegistryServer) -> RegistryServer:  # noqa: F811
    """A registry outside with the chart and the images that it may name."""
    layout = Layout(tmp_path / "upstream")
    layout.create()
    chart = chart_artifact(layout, PACKAGE, CHART)
    push_image(plain_registry_server, layout, chart.digest, "charts/app:1.2.3_b1")
    for name in ("always", "gpu"):
        push_bytes(plain_registry_server, layout, [name.encode()], f"quay/a/{name}:1")
    return plain_registry_server


def hosts_of(upstream: RegistryServer) -> dict[str, Any]:
    there = {"endpoint": upstream.endpoint, "plain_http": True}
    return {"charts.example.com": there, "quay.io": {**there, "prefix": "quay"}}


def play(name: str, folder: Path, *options: str, **values: Any) -> subprocess.CompletedProcess[str]:
    """A playbook of the collection, with a profile that lies outside of it and this machine as the bastion."""
    profile = folder / "profiles" / "app"
    profile.mkdir(parents=True, exist_ok=True)
    chart = {"name": "app", "version": VERSION, "repository": "oci://charts.example.com/charts"}
    (profile / "profile.yml").write_text(yaml.safe_dump({"name": "app", "charts": [chart]}))
    (profile / "values.yml.j2").write_text("{}\n")
    values = {
        "airgap_bundle": str(folder / "bundle"),
        "airgap_releases": [{"platform": "app", "name": "app", "namespace": "app"}],
        "speech_platform_profiles_path": [str(folder / "profiles")],
        "speech_platform_helm_binary": helm(),
        "bundle_helm_binary": helm(),
        "bundle_cache": str(folder / "cache"),
        "bundle_extra_images": [],
        "bundle_docs": "",
        "bundle_collections": [],
        "bundle_controller_requirements": "",
        "bundle_sbom": False,
        "bundle_docker_config": "",
        "bundle_signing_key": str(folder / "signing" / "key"),
        "bundle_signers_file": str(folder / "signing" / "allowed_signers"),
        **values,
    }
    return run_playbook(folder, name, values, *options)


RENDER = """\
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: airgap.speech.speech_platform, tasks_from: chart}
      when: from_bundle
    - ansible.builtin.include_role: {name: airgap.speech.speech_platform, tasks_from: render}
    - ansible.builtin.debug:
        msg: "rendered {{ __speech_platform_manifest | from_yaml_all | map(attribute='kind') | list }}"
  vars:
    speech_platform_release: {platform: app, name: app, namespace: app}
"""


def test_a_chart_of_a_registry_and_its_value_sets(upstream: RegistryServer, tmp_path: Path) -> None:
    sets = [{"release": "app", "name": "with gpu", "values": {"gpu": True}}]
    made = play(
        "airgap.speech.bundle",
        tmp_path,
        bundle_registry_hosts=hosts_of(upstream),
        bundle_value_sets=sets,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    lock = load(str(tmp_path / "bundle"))
    assert [(chart.reference, chart.version) for chart in lock.charts] == [(f"charts/app:{VERSION}", VERSION)]
    needed = {image.reference: image.reasons[0].needed for image in lock.images}
    assert needed == {"quay.io/a/always:1": "always", "quay.io/a/gpu:1": "in value sets with gpu"}

    upstream.stop()  # inside: the bundle alone
    (tmp_path / "render.yml").write_text(RENDER)
    inside = play(str(tmp_path / "render.yml"), tmp_path, from_bundle=True)
    assert inside.returncode == 0, inside.stdout + inside.stderr
    assert "rendered ['Pod']" in inside.stdout
    without = play(str(tmp_path / "render.yml"), tmp_path, from_bundle=False)
    assert without.returncode != 0
    said = " ".join(without.stdout.split())
    assert "release app: chart app of platform app comes from oci://charts.example.com/charts, and no bundle" in said


def test_a_value_set_of_no_release(tmp_path: Path) -> None:
    stray = [{"release": "other", "name": "gpu", "values": {}}]
    refused = play("airgap.speech.bundle", tmp_path, bundle_value_sets=stray)
    assert refused.returncode != 0
    said = " ".join(refused.stdout.split())
    assert "bundle_value_sets: other is no release of airgap_releases; name one of app" in said


def test_the_module(upstream: RegistryServer, tmp_path: Path) -> None:
    wanted: dict[str, Any] = {
        "name": "app",
        "version": VERSION,
        "repository": "oci://charts.example.com/charts",
        "cache": str(tmp_path / "cache"),
        "registry_hosts": hosts_of(upstream),
    }
    refused = run_module(bundle_chart.main, wanted, check=True)
    assert (
        f"chart app {VERSION}: is not in the cache {tmp_path / 'cache'}, and check mode fetches nothing"
        in refused["msg"]
    )
    made = run_module(bundle_chart.main, wanted)
    assert made["changed"] and Path(made["path"]).read_bytes() == PACKAGE
    for check in (True, False):
        again = run_module(bundle_chart.main, {**wanted, "digest": made["digest"]}, check=check)
        assert not again["changed"] and again["path"] == made["path"]
    assert "does not have" in run_module(bundle_chart.main, {**wanted, "version": "2"})["msg"]


def test_the_module_and_a_repository(tmp_path: Path) -> None:
    (tmp_path / "repo").mkdir()
    (tmp_path / "repo" / "app.tgz").write_bytes(PACKAGE)
    entry = {"name": "app", "version": VERSION, "urls": ["app.tgz"], "digest": hashlib.sha256(PACKAGE).hexdigest()}
    (tmp_path / "repo" / "index.yaml").write_text(yaml.safe_dump({"apiVersion": "v1", "entries": {"app": [entry]}}))
    with web_server(tmp_path / "repo") as host:
        wanted = {"name": "app", "version": VERSION, "repository": f"http://{host}", "cache": str(tmp_path / "cache")}
        made = run_module(bundle_chart.main, wanted)
        assert made["changed"] and Path(made["path"]).read_bytes() == PACKAGE
        assert not run_module(bundle_chart.main, wanted, check=True)["changed"]
        wrong = run_module(bundle_chart.main, {**wanted, "digest": "sha256:" + "0" * 64})
        assert "the profile pins sha256:000" in wrong["msg"]
