# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
import yaml

from ansible_collections.airgap.speech.plugins.module_utils.bundle.lock import Blob, Image, Lock
from ansible_collections.airgap.speech.plugins.module_utils.kube.terms import SpecError
from ansible_collections.airgap.speech.plugins.module_utils.sizing import plan

GPU = "nvidia.com/gpu"


def deployment(name, replicas, cpu="1", gpu=0, selector=None):
    requests = {"cpu": cpu, "memory": "1Gi"}
    limits = {GPU: gpu} if gpu else {}
    pod = {"containers": [{"name": "a", "image": "a", "resources": {"requests": requests, "limits": limits}}]}
    if selector:
        pod["nodeSelector"] = selector
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def release(*documents, name="speech", namespace="ns", **more):
    manifest = yaml.safe_dump_all(documents)
    return plan.read_release(
        {"platform": "open_speech", "name": name, "namespace": namespace, "manifest": manifest, **more}
    )


def pool(name, count, cpu="4", gpu=0, disk="", **more):
    allocatable = {"cpu": cpu, "memory": "16Gi", **({GPU: gpu} if gpu else {})}
    if disk:
        allocatable["ephemeral-storage"] = disk
    return {"name": name, "count": count, "allocatable": allocatable, **more}


def cluster(*pools):
    return plan.read_cluster(yaml.safe_dump({"pools": list(pools)}))


@pytest.mark.parametrize(
    ("releases", "pools", "add"),
    [
        # Four pods of one cpu fill a node.
        ([release(deployment("a", 8))], [pool("cpu", 2)], []),
        ([release(deployment("a", 10))], [pool("cpu", 2)], [{"cpu": 1}]),
        ([release(deployment("a", 10))], [pool("cpu", 0)], [{"cpu": 3}]),
        # Fragmentation: 3 cpus a pod leave one of four on each node.
        ([release(deployment("a", 5, cpu="3"))], [pool("cpu", 2)], [{"cpu": 3}]),
        # Any one of two pools helps.
        ([release(deployment("a", 10))], [pool("cpu", 1), pool("big", 0, cpu="16")], [{"cpu": 2}, {"big": 1}]),
        # Only the pool with GPUs helps, and one card a node.
        ([release(deployment("a", 3, gpu=1))], [pool("cpu", 9), pool("gpu", 1, gpu=1)], [{"gpu": 2}]),
        # Two pools have to grow together.
        (
            [
                release(
                    deployment("a", 8, selector={"kind": "cpu"}), deployment("b", 3, gpu=1, selector={"kind": "gpu"})
                )
            ],
            [pool("cpu", 0, labels={"kind": "cpu"}), pool("gpu", 0, gpu=1, cpu="1", labels={"kind": "gpu"})],
            [{"cpu": 2, "gpu": 3}],
        ),
        # Two releases together, though each alone would fit.
        (
            [release(deployment("a", 4)), release(deployment("a", 4), name="two", namespace="n2")],
            [pool("cpu", 1)],
            [{"cpu": 1}],
        ),
        # No node of the pools is large enough.
        ([release(deployment("a", 1, cpu="8"))], [pool("cpu", 3)], []),
    ],
)
def test_the_smallest_number_of_nodes_that_helps(releases, pools, add):
    made = plan.make(releases, cluster(*pools))
    assert made["add"] == add
    for way in add:
        grown = [{**item, "count": item["count"] + way.get(item["name"], 0)} for item in pools]
        assert plan.make(releases, cluster(*grown))["ready"] is True
        for name, count in way.items():
            fewer = [{**item, "count": item["count"] - (1 if item["name"] == name else 0)} for item in grown]
            assert count and plan.make(releases, cluster(*fewer))["ready"] is False


def test_nodes_that_may_be_lost_are_bought_as_well():
    asked = {"questions": ["now", "lost_nodes"], "tolerate_nodes": 1}
    one = [release(deployment("a", 8))]
    assert plan.make(one, cluster(pool("cpu", 2)))["ready"] is True
    made = plan.make(one, cluster(pool("cpu", 2)), **asked)
    assert made["add"] == [{"cpu": 1}]
    assert made["capacity"]["answers"]["lost_nodes"]["verdict"] == "does_not_fit"
    assert plan.make(one, cluster(pool("cpu", 3)), **asked)["ready"] is True


def test_what_no_node_helps_is_said_with_the_reason():
    made = plan.make([release(deployment("a", 1, cpu="8"))], cluster(pool("cpu", 3)))
    (step,) = made["steps"]
    assert step.startswith("no number of further nodes of these pools helps: Deployment ns/a: 0/3 nodes are available")
    assert made["ready"] is False


def test_several_ways_are_one_step():
    made = plan.make([release(deployment("a", 10))], cluster(pool("cpu", 1), pool("big", 0, cpu="16")))
    assert made["steps"] == [
        "any one of these: add 2 more node(s) of pool cpu (cpu 4, memory 16Gi each);"
        " or add 1 more node(s) of pool big (cpu 16, memory 16Gi each)"
    ]


def test_what_a_pool_has_and_what_is_asked_of_it():
    made = plan.make(
        [release(deployment("a", 3))],
        cluster(pool("cpu", 2), pool("gpu", 1, gpu=2, taints=[{"key": "gpu", "effect": "NoSchedule"}])),
    )
    assert made["pools"] == [
        {
            "name": "cpu",
            "nodes": 2,
            "used": 2,
            "resources": {
                "cpu": {"allocatable": 8000, "asked": 3000},
                "memory": {"allocatable": 2 * 16 * 2**30, "asked": 3 * 2**30},
            },
        },
        {
            "name": "gpu",
            "nodes": 1,
            "used": 0,
            "resources": {
                "cpu": {"allocatable": 4000, "asked": 0},
                "memory": {"allocatable": 16 * 2**30, "asked": 0},
                GPU: {"allocatable": 2, "asked": 0},
            },
        },
    ]


LOCK = Lock("", "", images=[Image("a:1", "sha256:" + "a" * 64, 2**30)], blobs=[Blob("sha256:" + "a" * 64, 2**30)])


@pytest.mark.parametrize(
    ("disk", "words"), [("11Gi", ""), ("", ""), ("9Gi", "give 2 node(s) (cpu-1, cpu-2) 1 GiB more")]
)
def test_disk_of_the_nodes(disk, words):
    made = plan.make([release(deployment("a", 1))], cluster(pool("cpu", 2, disk=disk)), LOCK, factor=10)
    assert words in " ".join(made["steps"])
    assert bool(made["steps"]) is bool(words)
    assert [place["name"] for place in made["disk"]] == ["registry", "bastion", "each node"]


def test_without_a_bundle_disk_is_not_known():
    made = plan.make([release(deployment("a", 1))], cluster(pool("cpu", 2)))
    assert made["disk"] == []
    assert "disk: not known, for no bundle was given" in plan.describe(made)


def test_the_text_tells_sizes_sources_and_what_the_release_says_itself():
    one = release(
        deployment("a", 2),
        sizes={"concurrent_calls": 40.0},
        sources=[
            {"path": "stt.replicas", "value": 14, "source": "measured"},
            {"path": "gpu.nvidia.com/gpu", "value": 1, "source": "the vendor"},
        ],
        notes=["between rows"],
        own_values={"stt": {"replicas": 2}, "gpu": {"nvidia.com/gpu": 1}},
    )
    made = plan.make([one], cluster(pool("cpu", 2)))
    assert made["releases"][0]["settings"][0]["overridden"] == 2
    assert "overridden" not in made["releases"][0]["settings"][1]
    text = plan.describe(made)
    assert "release speech in namespace ns (open_speech): concurrent_calls 40" in text
    assert "stt.replicas        2   the release's own value; sized it would be 14: measured" in text
    assert "note: between rows" in text
    assert "capacity: release speech in namespace ns: fits" in text
    assert text.endswith("what to buy or free: nothing; every pod finds a node")


def test_the_text_names_all_releases():
    made = plan.make([release(deployment("a", 1)), release(deployment("a", 1), name="two")], cluster(pool("cpu", 2)))
    assert "capacity: release speech in namespace ns and release two in namespace ns: fits" in plan.describe(made)


def test_nodes_of_a_running_cluster():
    node = {
        "kind": "Node",
        "metadata": {"name": "w1", "labels": {"kubernetes.io/hostname": "w1"}},
        "status": {"allocatable": {"cpu": "2", "memory": "4Gi", "pods": "110"}},
    }
    made = plan.make([release(deployment("a", 3))], plan.read_cluster(yaml.safe_dump_all([node])))
    assert [item["name"] for item in made["pools"]] == ["nodes"]
    assert made["steps"][0].startswith("no number of further nodes of these pools helps")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("pools: [{name: a, count: -1, allocatable: {cpu: 1, memory: 1Gi}}]", "pool a: count: -1"),
        ("pools: [{name: a, allocatable: {cpu: 1}}]", "pool a: allocatable.memory: Required value"),
        ("pools: {a: 1}", "pools"),
    ],
)
def test_files_of_nodes_that_are_wrong(text, words):
    with pytest.raises(SpecError) as caught:
        plan.read_cluster(text)
    assert words in str(caught.value)
