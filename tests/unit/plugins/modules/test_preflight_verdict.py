# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from ansible_collections.airgap.speech.plugins.module_utils.bundle.lock import (
    Blob,
    Image,
    Lock,
    Model,
    ModelFile,
    dump,
)
from ansible_collections.airgap.speech.plugins.modules.preflight_verdict import main
from tests.unit.plugins.modules.run_module import run_module

GIB = 2**30


def digest(letter):
    return "sha256:" + letter * 64


@pytest.fixture
def lock_file(tmp_path):
    lock = Lock(
        created="2026-11-21T00:00:00Z",
        collection_version="0.1.0",
        images=[Image("quay.io/x:1", digest("a"), GIB)],
        models=[Model("models/m:1", "m", "1", digest("c"), 2 * GIB, [ModelFile("f", digest("d"), 2 * GIB)])],
        blobs=[Blob(digest("a"), GIB), Blob(digest("c"), 2 * GIB)],
    )
    path = tmp_path / "bundle.lock.json"
    path.write_bytes(dump(lock))
    return path


def probe(images, models=0, used=0, same=False):
    paths = {
        "/images": {"device": 1, "nearest": "/images", "free_bytes": images},
        "/models": {"device": 1 if same else 2, "nearest": "/models", "free_bytes": models, "used_bytes": used},
        "/registry": {"device": 3, "nearest": "/registry", "free_bytes": images},
    }
    return {"epoch": 1.0, "hostname": "w1", "clock": {"skew": 0.0}, "paths": paths}


def verdict(lock_file, host, kind="pvc", **more):
    return run_module(
        main,
        {
            "hosts": {"w1": host},
            "lock_file": str(lock_file),
            "nodes": ["w1"],
            "images_dir": "/images",
            "models_dir": "/models",
            "releases": [{"name": "speech", "namespace": "ns", "values": {"models": {"volume": {"type": kind}}}}],
            **more,
        },
    )


def causes(result):
    return [f"{item['thing']}: {item['cause']}" for item in result["failures"]]


@pytest.mark.parametrize(
    ("host", "kind", "words"),
    [
        (probe(6 * GIB), "pvc", ""),
        (probe(5 * GIB), "pvc", "5.0 GiB free, and 5.4 GiB are needed (5.4 GiB in /images for images: 5.4 x packed"),
        (probe(6 * GIB), "node_directory", "0 B free, and 4.0 GiB are needed (4.0 GiB in /models for models in their"),
        (probe(6 * GIB, 3 * GIB, used=2 * GIB), "node_directory", ""),
        (probe(9 * GIB, 9 * GIB, same=True), "node_directory", "9.0 GiB free, and 9.4 GiB are needed"),
        (probe(16 * GIB), "image", "16.0 GiB free, and 16.2 GiB are needed"),
    ],
)
def test_disk_of_a_node(lock_file, host, kind, words):
    found = causes(verdict(lock_file, host, kind))
    assert bool(found) is bool(words)
    assert words in " ".join(found)


@pytest.mark.parametrize(("missing", "fits"), [(None, False), (GIB, True)])
def test_the_registry_needs_what_it_does_not_hold(lock_file, missing, fits):
    more = {} if missing is None else {"registry_bytes": missing}
    found = verdict(
        lock_file, probe(2 * GIB), images_dir="", nodes=[], registry_hosts=["w1"], registry_dir="/registry", **more
    )
    assert bool(causes(found)) is not fits


def test_a_claim_that_is_too_small_for_the_models(lock_file):
    claims = [{"metadata": {"namespace": "ns", "name": "speech-models"}, "status": {"capacity": {"storage": "3Gi"}}}]
    (found,) = causes(verdict(lock_file, probe(6 * GIB), claims=claims))
    assert found.startswith("volume ns/speech-models: it has 3.0 GiB, and 4.0 GiB are needed")


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "bundle: "), ('{"schema": "v9"}', "has schema 'v9', this version reads airgap.speech/lock")],
)
def test_a_lock_that_cannot_be_read_is_one_failure_among_the_others(tmp_path, text, words):
    path = tmp_path / "bundle.lock.json"
    path.write_text(text, encoding="utf-8")
    assert words in " ".join(causes(verdict(path, probe(GIB))))


def test_a_size_that_is_none(lock_file):
    assert "'10GB' is not a quantity" in " ".join(causes(verdict(lock_file, probe(9 * GIB), claim_size="10GB")))


STATEFUL = """
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: billing}
spec:
  replicas: 1
  template: {spec: {containers: [{name: a, image: a}]}}
  volumeClaimTemplates:
    - metadata: {name: journal}
      spec: {resources: {requests: {storage: 512Mi}}}
"""


def test_the_journal_that_a_chart_brings(lock_file):
    journal = {"name": "journal", "what": "records", "bytes": GIB, "claim": "journal-billing-0", "source": "the vendor"}
    release = {"name": "dg", "namespace": "ns", "volumes": [journal], "manifest": STATEFUL}
    (found,) = causes(verdict(lock_file, probe(6 * GIB), releases=[release]))
    assert found.startswith(
        "volume ns/journal-billing-0: it has 512.0 MiB, and 1.0 GiB are needed (1.0 GiB for records"
    )
    there = {
        "metadata": {"namespace": "ns", "name": "journal-billing-0"},
        "status": {"capacity": {"storage": "1Gi"}},
    }
    assert not causes(verdict(lock_file, probe(6 * GIB), releases=[release], claims=[there]))
