# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import types

import pytest

from ansible_collections.airgap.speech.plugins.module_utils.kube.quantity import QuantityError
from ansible_collections.airgap.speech.plugins.module_utils.kube.terms import SpecError
from ansible_collections.airgap.speech.plugins.modules import capacity

NODES = """
pools:
  - name: worker
    count: 2
    allocatable: {cpu: 4, memory: 8Gi}
"""
MANIFEST = """
kind: Deployment
metadata: {name: app}
spec:
  replicas: %s
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}}
    spec:
      containers:
        - name: c
          image: registry.example/x
          resources: {requests: {cpu: %s}}
"""


def run(tmp_path, manifest, **params):
    (tmp_path / "nodes.yml").write_text(NODES)
    defaults = {
        "manifest": manifest,
        "manifest_file": None,
        "namespace": "speech",
        "release": "speech",
        "kubeconfig": None,
        "context": None,
        "cluster_file": str(tmp_path / "nodes.yml"),
        "releases": None,
        "questions": ["now"],
        "tolerate_nodes": 1,
    }
    return capacity.run(types.SimpleNamespace(params={**defaults, **params}))


@pytest.mark.parametrize(
    ("replicas", "cpu", "verdict", "pending"),
    [(2, "4", "fits", 0), (3, "4", "does_not_fit", 1), (1, "5", "does_not_fit", 1)],
)
def test_a_cluster_from_a_file(tmp_path, replicas, cpu, verdict, pending):
    result = run(tmp_path, MANIFEST % (replicas, cpu))
    assert (result["verdict"], result["fits"]) == (verdict, verdict == "fits")
    assert sum(item["pods"] for item in result["shortfalls"]) == pending
    assert f": {verdict}: " in result["message"]


def test_a_manifest_from_a_file(tmp_path):
    (tmp_path / "manifest.yml").write_text(MANIFEST % (1, "1"))
    assert run(tmp_path, None, manifest_file=str(tmp_path / "manifest.yml"))["fits"]
    with pytest.raises(SpecError, match=r"gone\.yml: it cannot be read"):
        run(tmp_path, None, manifest_file=str(tmp_path / "gone.yml"))


def test_a_wrong_quantity_names_object_and_field(tmp_path):
    with pytest.raises(QuantityError) as caught:
        run(tmp_path, MANIFEST % (1, "two"))
    assert "Deployment speech/app: spec.template.spec.containers[c].resources.requests.cpu: 'two'" in str(caught.value)
