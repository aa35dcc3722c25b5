# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A blob and an unpacked file on a node are really damaged; the playbook finds and heals them from the registry."""

from __future__ import annotations

import json

from tests.integration.inside import Inside
from tests.scenarios.way import Scenario

CTR = ["ctr", "-n", "k8s.io"]
IMAGE = "docker.io/library/python:3.11-slim"
BLOBS = "/var/lib/containerd/io.containerd.content.v1.content/blobs/sha256"
HOSTS = ["--hosts-dir", "/etc/containerd/certs.d"]
LIMIT = ("--limit", "worker-1.airgap.internal")
FLIP = "import sys; f = open(sys.argv[1], 'r+b'); f.seek(9000); b = f.read(1); f.seek(9000); f.write(bytes([b[0] ^ 1]))"


def largest_layer(inside: Inside) -> str:
    """The digest of the largest layer of the image, on the worker."""
    listed = inside.on("worker-1", *CTR, "images", "ls", f"name=={IMAGE}").text
    manifest = next(line for line in listed.splitlines() if line.startswith(IMAGE)).split()[2]
    document = json.loads(inside.on("worker-1", "cat", f"{BLOBS}/{manifest[7:]}").text)
    if "manifests" in document:
        document = json.loads(inside.on("worker-1", "cat", f"{BLOBS}/{document['manifests'][0]['digest'][7:]}").text)
    return str(max(document["layers"], key=lambda layer: layer["size"])["digest"])


def sha256(inside: Inside, path: str) -> str:
    return inside.on("worker-1", "sha256sum", path).text.split()[0]


def test_damage_is_found_and_healed(inside: Inside, scenario: Scenario) -> None:
    assert inside.on("worker-1", *CTR, "images", "pull", *HOSTS, IMAGE).rc == 0
    layer = largest_layer(inside)
    path = f"{BLOBS}/{layer[7:]}"
    sound = scenario.playbook("node_runtime_verify", *LIMIT)
    assert sound.changed == 0 and "0 damaged" in sound.output, sound.output

    for damage in (["python3", "-c", FLIP, path], ["truncate", "-s", "100000", path]):
        assert inside.on("worker-1", *damage).rc == 0
        assert sha256(inside, path) != layer[7:]
        looked = scenario.playbook("node_runtime_verify", *LIMIT, "--check")
        assert "1 damaged" in looked.output and sha256(inside, path) != layer[7:]
        healed = scenario.playbook("node_runtime_verify", *LIMIT)
        assert "1 damaged, 1 healed" in " ".join(healed.output.split()), healed.output
        assert sha256(inside, path) == layer[7:]

    find = "find /var/lib/containerd/io.containerd.snapshotter.v1.overlayfs -path '*fs/usr/bin/python3.11' | head -1"
    program = inside.on("worker-1", "sh", "-c", find).text.strip()
    assert program.endswith("python3.11")
    right = sha256(inside, program)
    assert inside.on("worker-1", "truncate", "-s", "4096", program).rc == 0
    healed = scenario.playbook("node_runtime_verify", *LIMIT)
    assert "1 damaged, 1 healed" in " ".join(healed.output.split()), healed.output
    assert sha256(inside, inside.on("worker-1", "sh", "-c", find).text.strip()) == right
    assert scenario.playbook("node_runtime_verify").changed == 0
    inside.on("worker-1", *CTR, "images", "rm", "--sync", IMAGE)
