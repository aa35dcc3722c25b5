# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The three ways after the playbook ran twice: what pods read, what a check says, what is refused and mended."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.integration.inside import Inside
from tests.scenarios.models import ways
from tests.scenarios.models.ways import DIRECTORY, given, placed, playbook, reading, sums

CLAIM = "claim-models"


def digest_of(inside: Inside, version: str) -> str:
    """The digest of the model in the registry, as the record on the node has it."""
    link = inside.on(ways.WORKER, "readlink", f"{DIRECTORY}/nova").text.strip()
    record = json.loads(inside.on(ways.WORKER, "cat", f"{DIRECTORY}/{link}.json").text)
    assert record["version"] == version
    return str(record["digest"])


def release(name: str, **volume: Any) -> dict[str, Any]:
    return {
        "platform": "model_test",
        "name": name,
        "namespace": "models-claim",
        "values": {"models": {"volume": {"type": "pvc", **volume}}},
    }


def test_every_way_gives_the_vendors_bytes(inside: Inside) -> None:
    wanted = sums(inside, "1")
    assert placed(inside, f"{DIRECTORY}/nova") == wanted
    assert placed(inside, f"{DIRECTORY}/nova", "control-plane") == wanted
    assert placed(inside, f"{ways.claim_path(inside, 'models-claim', CLAIM)}/nova") == wanted
    digest = digest_of(inside, "1")
    for namespace, volume, path in (
        ("models-directory", ways.node_directory(), "nova/nova.dg"),
        ("models-claim", ways.claim(CLAIM), "nova/nova.dg"),
        ("models-mounted", ways.image(digest), "nova.dg"),
    ):
        with reading(inside, namespace, "reader", volume, path) as reader:
            reader.sees(wanted["nova.dg"])


def test_the_image_was_on_the_node_before_a_pod_wanted_it(inside: Inside) -> None:
    digest = digest_of(inside, "1")
    jobs = inside.kubectl_json("-n", "models-mounted", "get", "jobs")["items"]
    assert [job["status"].get("succeeded") for job in jobs] == [1], "one worker takes pods"
    listed = inside.on(ways.WORKER, "ctr", "-n", "k8s.io", "images", "list", "-q").text
    assert f"registry.airgap.internal:5000/models/nova@{digest}" in listed


def test_a_check_says_what_would_be_done_and_does_nothing(inside: Inside) -> None:
    before = placed(inside, f"{DIRECTORY}/nova")
    check = playbook(inside, "--check", "--diff", model_preload_files=[given("2")])
    assert check.rc == 0, check.text
    assert "Would place 1 models, 3 files, 104.0 MiB, 0 already there" in check.text
    assert "Would bring 1 model images to worker-1" in check.text
    assert "+models/nova:2 sha256:" in check.text
    assert placed(inside, f"{DIRECTORY}/nova") == before
    there = inside.on(ways.WORKER, "ls", f"{DIRECTORY}/.versions/nova").text.split()
    assert len(there) == 2, there  # version 1 and its record
    assert inside.registry("HEAD", "models/nova/manifests/2")[0] == 404
    assert playbook(inside, "--check").text.count("changed=0") == 3


def test_two_versions_side_by_side(inside: Inside) -> None:
    both = [given("1"), given("2")]
    done = playbook(inside, "--limit", "speech_nodes", model_preload_files=both)
    assert done.rc == 0, done.text
    assert placed(inside, f"{DIRECTORY}/nova") == placed(inside, f"{DIRECTORY}/nova@1") == sums(inside, "1")
    assert placed(inside, f"{DIRECTORY}/nova@2") == sums(inside, "2")
    back = playbook(inside, "--limit", "speech_nodes", model_preload_keep=0)
    assert back.rc == 0, back.text
    listed = inside.on(ways.WORKER, "sh", "-c", f"cd {DIRECTORY} && ls -d * .versions/nova/*").text.split()
    assert len(listed) == 3, listed  # nova, its version and the record


@pytest.mark.parametrize("where", ["directory", "claim"])
def test_a_damaged_file_is_found_by_reading_every_byte(inside: Inside, where: str) -> None:
    root = DIRECTORY if where == "directory" else ways.claim_path(inside, "models-claim", CLAIM)
    limit = ("--limit", "speech_nodes" if where == "directory" else "bastion")
    damage = "import sys; stream = open(sys.argv[1], 'r+b'); stream.seek(5_000_000); stream.write(b'damaged')"
    assert inside.on(ways.WORKER, "python3", "-c", damage, f"{root}/nova/nova.dg").rc == 0
    assert placed(inside, f"{root}/nova") != sums(inside, "1")
    mended = playbook(inside, *limit, model_preload_verify="full")
    assert mended.rc == 0, mended.text
    assert "Placed 1 models, 1 files, 96.0 MiB" in mended.text
    assert placed(inside, f"{root}/nova") == sums(inside, "1")
    again = playbook(inside, *limit, model_preload_verify="full")
    assert again.rc == 0, again.text
    assert again.text.count("changed=0") == (2 if where == "directory" else 1), again.text


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        (
            {"model_preload_image": "docker.io/library/no-such-image:1", "model_preload_keep": 3},
            "registry.airgap.internal:5000/docker.io/library/no-such-image:1: not found",
        ),
        (
            {"model_preload_pull_secret": "no-such-secret", "model_preload_keep": 3},
            "secret models-claim/no-such-secret: it is not there",
        ),
        (
            {"airgap_releases": [release("rox")], "model_preload_pvc_access_modes": ["ReadOnlyMany"]},
            "one of ReadOnlyMany alone cannot be filled",
        ),
        (
            {"model_preload_files": [{**given("1"), "version": "3", "digest_file": "/home/ops/vendor/2/SHA256SUMS"}]},
            "copy the file again, or get the vendor's list for this version",
        ),
        (
            {
                "airgap_releases": [{**release("old"), "values": {"models": {"volume": {"type": "image"}}}}],
                "model_preload_tolerations": [{"operator": "Exists"}],
            },
            "old-node has Kubernetes v1.32.4, which is older than 1.33; older-node has containerd 1.7.27, which is",
        ),
    ],
)
def test_what_is_refused_and_why(inside: Inside, extra: dict[str, Any], said: str) -> None:
    nodes = {"old-node": ("v1.32.4", "containerd://2.1.0"), "older-node": ("v1.36.3", "containerd://1.7.27")}
    if "old-node" in said:
        for name, (kubelet, runtime) in nodes.items():
            node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}
            assert inside.kubectl("apply", "-f", "-", stdin=json.dumps(node)).rc == 0
            status = {"status": {"nodeInfo": {"kubeletVersion": kubelet, "containerRuntimeVersion": runtime}}}
            patch = ("patch", "node", name, "--subresource=status", "--type=merge", "-p", json.dumps(status))
            assert inside.kubectl(*patch).rc == 0
    try:
        refused = playbook(inside, "--limit", "bastion", **extra)
    finally:
        inside.kubectl("delete", "node", *nodes, "--ignore-not-found")
    assert refused.rc != 0
    assert said in " ".join(refused.text.split()), refused.text


def test_what_was_mended_is_taken_at_once(inside: Inside) -> None:
    """Its Job could not start: what is left of it does not stand in the way of the next run."""
    keep = {"model_preload_keep": 2}
    wrong = playbook(inside, "--limit", "bastion", model_preload_image="docker.io/library/no-such-image:1", **keep)
    assert wrong.rc != 0, wrong.text
    mended = playbook(inside, "--limit", "bastion", **keep)
    assert mended.rc == 0, mended.text


def test_a_disk_that_is_too_small_is_told_before_the_first_byte(inside: Inside) -> None:
    small = "/var/lib/airgap-small"
    assert inside.on(ways.WORKER, "mkdir", "-p", small).rc == 0
    assert inside.on(ways.WORKER, "mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", small).rc == 0
    try:
        limit = ("--limit", f"{ways.WORKER}.airgap.internal")
        refused = playbook(inside, *limit, model_preload_node_directory=f"{small}/models")
        left = inside.on(ways.WORKER, "find", small, "-type", "f", "-size", "+0").text
    finally:
        inside.on(ways.WORKER, "umount", small)
    assert refused.rc != 0
    assert "are free; make room, or choose a larger volume" in " ".join(refused.text.split()), refused.text
    assert left == ""


def shared_volume(inside: Inside, name: str, mode: str) -> None:
    """A claim and its volume over one directory of the worker, as an export of a network volume is."""
    on_worker = {"key": "kubernetes.io/hostname", "operator": "In", "values": [ways.WORKER]}
    common = {"accessModes": [mode], "storageClassName": ""}
    room = {"storage": "1Gi"}
    volume = {
        **common,
        "capacity": room,
        "local": {"path": "/var/lib/airgap-shared"},
        "claimRef": {"namespace": "models-claim", "name": name},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [on_worker]}]}},
        "persistentVolumeReclaimPolicy": "Retain",
    }
    claim = {**common, "volumeName": name, "resources": {"requests": room}}
    for kind, namespace, spec in (
        ("PersistentVolume", {}, volume),
        ("PersistentVolumeClaim", {"namespace": "models-claim"}, claim),
    ):
        meta = {"name": name, **namespace}
        made = inside.kubectl(
            "apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": kind, "metadata": meta, "spec": spec})
        )
        assert made.rc == 0, made.text


def test_volumes_that_many_write_and_that_none_writes(inside: Inside) -> None:
    inside.on(ways.WORKER, "mkdir", "-p", "/var/lib/airgap-shared")
    for name, mode in (("rwx", "ReadWriteMany"), ("rox", "ReadOnlyMany")):
        shared_volume(inside, name, mode)
    read_only = {"airgap_releases": [release("shared", pvc={"name": "rox"})]}
    empty = playbook(inside, "--limit", "bastion", **read_only)
    assert empty.rc != 0
    assert "the volume is read-only and does not hold nova:1 (104.0 MiB missing or damaged)" in empty.text
    written = playbook(inside, "--limit", "bastion", **read_only, model_preload_pvc_writers={"rox": "rwx"})
    assert written.rc == 0, written.text
    assert placed(inside, "/var/lib/airgap-shared/nova") == sums(inside, "1")
    with reading(inside, "models-claim", "reader-rox", ways.claim("rox")) as reader:
        reader.sees(sums(inside, "1")["nova.dg"])
    # Now that they are there, the read-only claim alone will do: a Job reads every byte through it.
    seen = playbook(inside, "--limit", "bastion", **read_only, model_preload_verify="full")
    assert seen.rc == 0, seen.text
    assert "All 1 models already there" in seen.text
