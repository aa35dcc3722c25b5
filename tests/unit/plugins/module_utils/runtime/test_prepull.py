# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which images go where, and a real containerd that gets them."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.airgap.speech.plugins.module_utils.runtime.prepull import (
    OURS,
    PINNED,
    PrepullError,
    Puller,
    plan,
)
from ansible_collections.airgap.speech.plugins.modules import node_images
from tests.unit.plugins.module_utils.runtime.containerd_site import (
    BIN,
    NAME,
    Site,
    digest_of,
    plain_registry_server,
    run,
    site,
)
from tests.unit.plugins.modules.run_module import run_module

__all__ = ["plain_registry_server", "site"]


def node(name: str, labels: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    found = {"kubernetes.io/hostname": name, **(labels or {})}
    return {
        "kind": "Node",
        "metadata": {"name": name, "labels": found},
        "spec": spec,
        "status": {"allocatable": {"pods": "9"}},
    }


def deployment(image: str, replicas: int = 1, **spec: Any) -> dict[str, Any]:
    pod = {"containers": [{"name": "a", "image": image}], **spec}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": pod},
        },
    }


GPU = {"key": "nvidia.com/gpu", "effect": "NoSchedule"}
NODES = [
    node("plain"),
    node("gpu", {"kind": "gpu"}, taints=[GPU]),
    node("cordoned", unschedulable=True, taints=[{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}]),
]


@pytest.mark.parametrize(
    ("document", "nodes"),
    [
        (deployment("x:1"), {"plain", "cordoned"}),
        (deployment("x:1", replicas=0), {"plain", "cordoned"}),
        (deployment("x:1", tolerations=[{"operator": "Exists"}]), {"plain", "gpu", "cordoned"}),
        (
            deployment(
                "x:1", nodeSelector={"kind": "gpu"}, tolerations=[{"key": "nvidia.com/gpu", "operator": "Exists"}]
            ),
            {"gpu"},
        ),
        (deployment("x:1", nodeSelector={"kind": "gpu"}), set()),
        (deployment("x:1", nodeName="plain"), {"plain"}),
    ],
)
def test_images_go_where_their_pods_can_run(document: dict[str, Any], nodes: set[str]) -> None:
    found = plan([("speech", [document])], NODES)
    assert set(found) == {"plain", "gpu", "cordoned"}
    assert {name for name, images in found.items() if images} == nodes
    assert all(images == ["docker.io/library/x:1"] for images in found.values() if images)


def test_every_image_of_a_pod() -> None:
    pod = {
        "initContainers": [{"name": "i", "image": "quay.io/a/init"}],
        "volumes": [{"name": "m", "image": {"reference": "host:5000/models/m:1"}}],
    }
    found = plan([("speech", [deployment("nvcr.io/n/x@sha256:" + "0" * 64, **pod)])], NODES[:1])
    assert found == {
        "plain": ["host:5000/models/m:1", "nvcr.io/n/x@sha256:" + "0" * 64, "quay.io/a/init:latest"],
    }


def settings(site: Site, images: list[str], **more: Any) -> dict[str, Any]:
    return {
        "images": images,
        "ctr": str(BIN / "ctr"),
        "socket": str(site.folder / "containerd.sock"),
        "hosts_dir": str(site.folder / "certs.d"),
        **more,
    }


def test_pull_pin_and_let_go(site: Site) -> None:
    site.ask("images", "rm", "--sync", NAME)
    puller = Puller(run, ctr=str(BIN / "ctr"), socket=str(site.folder / "containerd.sock"), hosts_dir="/none")
    wanted = settings(site, [NAME])
    predicted = run_module(node_images.main, wanted, check=True, diff=True)
    assert predicted["pulled"] == [NAME] and NAME in predicted["diff"]["prepared"]
    assert puller.present() == {}
    first = run_module(node_images.main, wanted)
    assert (first["pulled"], first["pinned"], first["released"]) == ([NAME], [NAME], [])
    there = puller.present()[NAME]
    assert there.digest == digest_of(site.manifest) and {PINNED, OURS} <= there.labels
    again = run_module(node_images.main, settings(site, [NAME], digests={NAME: there.digest}))
    assert again["changed"] is False
    moved = run_module(node_images.main, settings(site, [NAME], digests={NAME: "sha256:0"}), check=True)
    assert moved["pulled"] == [NAME]
    unpinned = run_module(node_images.main, settings(site, [NAME], pin=False))
    assert unpinned["released"] == [NAME] and PINNED not in puller.present()[NAME].labels
    assert run_module(node_images.main, wanted)["pinned"] == [NAME]
    gone = run_module(node_images.main, settings(site, []))
    assert gone["released"] == [NAME]
    assert not {PINNED, OURS} & puller.present()[NAME].labels
    assert run_module(node_images.main, settings(site, []))["changed"] is False


def test_an_image_that_is_not_unpacked_is_pulled_again(site: Site) -> None:
    """A pod starts from what is unpacked; containerd does not fetch the blobs of that once more."""
    site.ask("content", "rm", site.layers[0])
    assert run_module(node_images.main, settings(site, [NAME]), check=True)["pulled"] == []
    lines = [line.split() for line in site.ask("snapshots", "ls").splitlines()[1:]]
    parents = {words[1] for words in lines if len(words) == 3}
    for top in [words[0] for words in lines if words[0] not in parents]:
        site.ask("snapshots", "rm", top)
    assert run_module(node_images.main, settings(site, [NAME]), check=True)["pulled"] == [NAME]


def test_an_image_that_the_registry_lacks(site: Site) -> None:
    missing = NAME.replace("image:1", "other:1")
    said = run_module(node_images.main, settings(site, [missing]))
    assert said["failed"] and said["msg"].startswith(f"{missing} cannot be pulled") and "closure" in said["msg"]
    puller = Puller(run, ctr=str(BIN / "ctr"), socket="/nowhere.sock", hosts_dir="/none")
    with pytest.raises(PrepullError, match="see that containerd runs"):
        puller.present()
