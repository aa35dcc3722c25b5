# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`make discovery`: the table, the rows as JSON, and the exit status."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from .test_cases import CASES, tool

CHECKOUT = CASES.parents[1]


def discovery(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PYTHONPATH": str(CHECKOUT / "build" / "collections"),
        "AIRGAP_SPEECH_HELM": tool("helm"),
        "AIRGAP_SPEECH_KUBECTL": tool("kubectl"),
    }
    argv = [sys.executable, "-m", "dev.discovery", *arguments]
    return subprocess.run(argv, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False)


def test_the_table_of_value_sets() -> None:
    case = CASES / "charts" / "value-sets"
    sets = ["--values", f"gpu={case / 'gpu.yml'}", "--values", f"large={case / 'gpu.yml'},{case / 'cache.yml'}"]
    done = discovery(str(case / "chart"), *sets)
    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        "NEEDED (3)\n"
        "  docker.io/library/redis:8.2\n"
        "      hook post-install, in value sets large: Pod cache spec.containers[0].image (pod spec)\n"
        "  quay.io/acme/api:1\n"
        "      always: Pod engine spec.containers[1].image (pod spec)\n"
        "  quay.io/acme/engine:1-gpu\n"
        "      always: Pod engine spec.containers[0].image (pod spec)\n"
        "\n"
        "EXCLUDED (1 places; FULL=1 lists them)\n"
        "      1  not rendered: cache.enabled is off (in value sets gpu)\n"
        "\n"
        "3 images are needed, 0 places are undecided\n"
    )


def test_rules_that_ship_and_rows() -> None:
    manifest = str(CASES / "manifests" / "gpu-operator" / "input.yml")
    done = discovery(manifest, "--json", "--variable", "node_os=ubuntu22.04,rhel9")
    rows = json.loads(done.stdout)
    assert {row["reference"] for row in rows if row["path"] == "spec.driver"} == {
        "nvcr.io/nvidia/driver:580.82.07-rhel9",
        "nvcr.io/nvidia/driver:580.82.07-ubuntu22.04",
    }
    assert set(rows[0]) == {"status", "reference", "kind", "name", "path", "found", "why"}


def test_what_is_undecided_can_fail() -> None:
    manifest = str(CASES / "manifests" / "gpu-operator" / "input.yml")
    done = discovery(manifest, "--strict")
    assert done.returncode == 3
    assert "UNDECIDED (2)" in done.stdout
    assert "give the variable node_os" in done.stdout


def test_several_inputs_and_what_is_excluded() -> None:
    done = discovery(
        str(CASES / "kustomize" / "overlay" / "input"),
        str(CASES / "manifests" / "false-candidates" / "input.yml"),
        "--full",
    )
    assert done.returncode == 0, done.stderr
    assert "quay.io/acme/patched:3" in done.stdout
    assert (
        "  node-role.kubernetes.io/control-plane:NoSchedule\n      is the key of a label, a taint or a resource: "
        in (done.stdout)
    )


def test_an_error_is_one_line(tmp_path: Path) -> None:
    done = discovery(str(tmp_path / "gone"))
    assert done.returncode == 1
    assert done.stderr.startswith("discovery: manifest ")
    assert done.stderr.count("\n") == 1
