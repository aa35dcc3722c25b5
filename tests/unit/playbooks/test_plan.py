# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""airgap.speech.plan as a user runs it on a laptop: the collection, helm, a file of nodes, and nothing else."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.airgap.speech.plugins.module_utils.bundle.lock import (
    Blob,
    Image,
    Lock,
    Model,
    ModelFile,
    Reason,
    dump,
)

CHECKOUT = Path(__file__).resolve().parents[3]
SIZING = CHECKOUT / "roles/speech_platform/profiles/open_speech/sizing.yml"
CHART = CHECKOUT / "roles/speech_platform/profiles/open_speech/chart"

Plan = Callable[..., "tuple[int, str, dict[str, Any]]"]


def helm_folder() -> Path:
    """Where helm is: on the path, or built for the sandbox."""
    cache = Path(os.environ.get("AIRGAP_SPEECH_CACHE") or Path.home() / ".cache/airgap-speech")
    found = shutil.which("helm") or next(iter(sorted(str(path) for path in cache.glob("go/helm/*/bin/helm"))), None)
    assert found, "no helm: install it, or build the sandbox's: .venv/bin/python -m sandbox build helm"
    return Path(found).parent


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """plan(pools, **variables): the exit status, what was printed, and the plan that was written."""

    def run(pools: list[dict[str, Any]], **variables: Any) -> tuple[int, str, dict[str, Any]]:
        (tmp_path / "nodes.yml").write_text(yaml.safe_dump({"pools": pools}), encoding="utf-8")
        home = tmp_path / "home"
        home.mkdir(exist_ok=True)
        done = subprocess.run(
            [
                str(Path(sys.executable).parent / "ansible-playbook"),
                "airgap.speech.plan",
                "-e",
                json.dumps({"plan_nodes_file": "nodes.yml", **variables}),
            ],
            cwd=tmp_path,
            env={
                "PATH": f"{helm_folder()}:{os.environ['PATH']}",
                "PWD": str(tmp_path),
                "HOME": str(home),
                "LC_ALL": "C.UTF-8",
                "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / "build/collections"),
                "ANSIBLE_NOCOLOR": "1",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        written = tmp_path / "plan" / "plan.json"
        return done.returncode, done.stdout, json.loads(written.read_text()) if written.exists() else {}

    return run


def pool(count: int, cpu: str = "8", **more: Any) -> dict[str, Any]:
    allocatable = {"cpu": cpu, "memory": "32Gi", "ephemeral-storage": "100Gi"}
    return {"name": "cpu", "count": count, "allocatable": {**allocatable, **more}}


def test_calls_become_nodes_to_buy_and_then_they_fit(plan: Plan, tmp_path: Path) -> None:
    rc, said, made = plan([pool(1)], plan_platform="open_speech", plan_concurrent_calls=60)
    assert rc == 0, said
    (release,) = made["releases"]
    values = {item["path"]: item for item in release["settings"]}
    rules = {rule["name"]: rule for rule in yaml.safe_load(SIZING.read_text())["rules"]}
    assert values["stt.replicas"]["value"] == -(-60 // rules["transcription"]["per_replica"]["value"])
    assert rules["transcription"]["per_replica"]["source"] in values["stt.replicas"]["source"]
    assert made["capacity"]["verdict"] == "does_not_fit"
    (way,) = made["add"]
    text = (tmp_path / "plan" / "plan.txt").read_text()
    assert f"add {way['cpu']} more node(s) of pool cpu (cpu 8, ephemeral-storage 100Gi, memory 32Gi each)" in text
    assert "disk: not known, for no bundle was given" in text

    rc, said, made = plan([pool(1 + way["cpu"])], plan_platform="open_speech", plan_concurrent_calls=60)
    assert rc == 0, said
    assert made["ready"] is True
    assert made["capacity"]["verdict"] == "fits"
    assert re.search(r"\bchanged=1\b", said), said  # the files alone

    rc, said, made = plan([pool(1 + way["cpu"])], plan_platform="open_speech", plan_concurrent_calls=60)
    assert re.search(r"\bchanged=0\b", said), said


def test_releases_of_an_inventory_with_a_bundle(plan: Plan, tmp_path: Path) -> None:
    """Two releases, one of which names its size; what it says itself wins. Disk comes from the lock."""
    chart = tmp_path / "chart"
    shutil.copytree(CHART, chart)
    image, model = "sha256:" + "a" * 64, "sha256:" + "b" * 64
    lock = Lock(
        created="2026-11-21T00:00:00Z",
        collection_version="0.1.0",
        images=[Image("ghcr.io/airgap-speech/open-speech:0.1.0", image, 20 * 2**30)],
        models=[
            Model("models/m:1", "m", "1", model, 2**30, [ModelFile("f", model, 2**30)], [Reason("profile open_speech")])
        ],
        blobs=[Blob(image, 20 * 2**30), Blob(model, 2**30)],
    )
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "bundle.lock.json").write_bytes(dump(lock))
    releases = [
        {
            "platform": "open_speech",
            "name": "one",
            "namespace": "n1",
            "concurrent_calls": 4,
            "values": {"stt": {"replicas": 3}},
        },
        {"platform": "open_speech", "name": "two", "namespace": "n2"},
    ]
    rc, said, made = plan(
        [pool(8)], airgap_releases=releases, preflight_bundle=str(bundle), preflight_plan_chart=str(chart)
    )
    assert rc == 0, said
    assert [item["sizes"] for item in made["releases"]] == [{"concurrent_calls": 4}, {}]
    settings = {item["path"]: item for item in made["releases"][0]["settings"]}
    assert (settings["stt.replicas"]["value"], settings["stt.replicas"]["overridden"]) == (2, 3)
    placed = [title for titles in made["capacity"]["placements"].values() for title in titles]
    assert placed.count("Deployment n1/one-stt") == 3
    assert placed.count("Deployment n2/two-stt") == 1
    assert {place["name"]: place["bytes"] for place in made["disk"]} == {
        "registry": 21 * 2**30,
        "bastion": 21 * 2**30,
        "each node": int(5.4 * 20 * 2**30),
        "n1/one-models": 2 * 2**30,
        "n2/two-models": 2 * 2**30,
    }
    assert made["steps"][-1].startswith(
        "give 8 node(s) (cpu-1, cpu-2, cpu-3, cpu-4, cpu-5, cpu-6 and 2 more) 8 GiB more"
    )


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({}, "and there are 0"),
        ({"plan_platform": "open_speech", "plan_channels": 3}, "this platform is not sized by channels"),
        ({"plan_platform": "open_speech", "plan_nodes_file": "gone.yml"}, "gone.yml: it cannot be read"),
    ],
)
def test_what_is_missing_is_named(plan: Plan, variables: dict[str, Any], words: str) -> None:
    rc, said, _made = plan([pool(1)], **variables)
    assert rc != 0
    assert words in " ".join(said.split()), said
