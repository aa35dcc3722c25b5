# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Claims and volumes: what binds, where it lets pods run, and how many volumes a node takes."""

from __future__ import annotations

import pytest

from ansible_collections.airgap.speech.plugins.module_utils.kube.capacity import judge
from tests.unit.plugins.module_utils.kube.kube_objects import (
    HOSTNAME,
    ZONE,
    deployment,
    named,
    pool,
    pools,
    stateful_set,
)

ZONED = pools(pool("a", 2, labels={ZONE: "a"}), pool("b", 1, labels={ZONE: "b"}))


def at(key, *values):
    expression = {"key": key, "operator": "In", "values": list(values)}
    return {"required": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}}


def volume(name, size="1Gi", storage_class="", labels=None, **spec):
    given = {"capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"], "storageClassName": storage_class, **spec}
    found = named("PersistentVolume", name, spec=given, status={"phase": "Available"})
    found["metadata"]["labels"] = labels or {}
    return found


def claim(name, storage_class="", mode="ReadWriteOnce", size="1Gi", **spec):
    asked = {"accessModes": [mode], "resources": {"requests": {"storage": size}}, **spec}
    return named("PersistentVolumeClaim", name, "default", spec={**asked, "storageClassName": storage_class})


def storage_class(name, provisioner, mode="WaitForFirstConsumer", **more):
    return named("StorageClass", name, provisioner=provisioner, volumeBindingMode=mode, **more)


def csi_node(name, count=None, keys=None):
    driver = {"name": "csi.example", "topologyKeys": keys}
    if count is not None:
        driver["allocatable"] = {"count": count}
    return named("CSINode", name, spec={"drivers": [driver]})


def mounting(name, replicas=1, claim_name="data", **spec):
    mount = [{"name": "v", "persistentVolumeClaim": {"claimName": claim_name}}]
    return deployment(name, replicas, volumes=mount, **spec)


def ask(cluster, *manifest, minor=36):
    return judge(list(cluster), list(manifest), minor=minor)


def where(found, title):
    return sorted(node for node, titles in found["placements"].items() if title in titles)


def test_a_bound_volume_of_a_zone_keeps_its_pods_there():
    bound = claim("data", volumeName="pv")
    for pv in (volume("pv", nodeAffinity=at(ZONE, "b")), volume("pv", labels={ZONE: "b"})):
        found = ask([ZONED, bound, pv], mounting("app"))
        assert (found["verdict"], where(found, "Deployment default/app")) == ("fits", ["b-1"])


def test_a_zone_that_only_the_label_of_a_volume_says_is_told_in_words():
    found = ask([ZONED, claim("data", volumeName="pv"), volume("pv", labels={ZONE: "c"})], mounting("app"))
    assert found["shortfalls"][0]["message"] == "0/3 nodes are available: 3 node(s) had no available volume zone."


@pytest.mark.parametrize(("pods", "verdict"), [(2, "fits"), (3, "does_not_fit")])
def test_a_volume_that_stands_ready_is_taken_by_one_claim(pods, verdict):
    ready = [volume(f"pv-{name}", storage_class="local", nodeAffinity=at(HOSTNAME, name)) for name in ("a-1", "a-2")]
    cluster = [ZONED, storage_class("local", "kubernetes.io/no-provisioner"), *ready]
    wanted = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "local",
        "resources": {"requests": {"storage": "1Gi"}},
    }
    found = ask(cluster, stateful_set("db", pods, claim=wanted))
    assert found["verdict"] == verdict
    assert set(where(found, "StatefulSet default/db")) == {"a-1", "a-2"}
    if verdict != "fits":
        assert "node(s) didn't find available persistent volumes to bind" in found["shortfalls"][0]["message"]


def test_the_smallest_volume_that_is_large_enough_is_taken():
    ready = [
        volume("small", "1Gi", "local", nodeAffinity=at(HOSTNAME, "a-1")),
        volume("large", "9Gi", "local", nodeAffinity=at(HOSTNAME, "a-2")),
        volume("middle", "5Gi", "local", nodeAffinity=at(HOSTNAME, "a-2")),
    ]
    cluster = [ZONED, storage_class("local", "kubernetes.io/no-provisioner"), *ready]
    claims = [claim("one", "local", size="4Gi"), claim("two", "local", size="6Gi")]
    found = ask([*cluster, *claims], mounting("one", claim_name="one"), mounting("two", claim_name="two"))
    assert found["verdict"] == "fits"


def test_topologies_that_a_class_allows():
    terms = [{"matchLabelExpressions": [{"key": ZONE, "values": ["b"]}]}]
    cluster = [ZONED, storage_class("zonal", "csi.example", allowedTopologies=terms), claim("data", "zonal")]
    assert where(ask(cluster, mounting("app")), "Deployment default/app") == ["b-1"]


def test_a_volume_of_a_driver_stays_in_the_topology_where_it_was_made():
    drivers = [csi_node(name, keys=[ZONE]) for name in ("a-1", "a-2", "b-1")]
    cluster = [ZONED, storage_class("csi", "csi.example"), claim("data", "csi"), *drivers]
    first = mounting("first", nodeSelector={HOSTNAME: "a-1"})
    assert ask(cluster, first, mounting("more", nodeSelector={HOSTNAME: "a-2"}))["verdict"] == "fits"
    assert ask(cluster, first, mounting("more", nodeSelector={HOSTNAME: "b-1"}))["verdict"] == "does_not_fit"


@pytest.mark.parametrize(("pods", "verdict"), [(4, "fits"), (5, "does_not_fit")])
def test_a_node_takes_so_many_volumes_of_a_driver(pods, verdict):
    cluster = [
        pools(pool(count=2)),
        csi_node("worker-1", 2),
        csi_node("worker-2", 2),
        storage_class("csi", "csi.example"),
    ]
    wanted = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "csi",
        "resources": {"requests": {"storage": "1Gi"}},
    }
    found = ask(cluster, stateful_set("db", pods, "100m", claim=wanted))
    assert found["verdict"] == verdict
    if verdict != "fits":
        assert found["shortfalls"][0]["message"] == "0/2 nodes are available: 2 node(s) exceed max volume count."


def test_volumes_of_others_count_and_one_volume_counts_once():
    used = volume("pv", csi={"driver": "csi.example", "volumeHandle": "h"})
    shared = claim("data", volumeName="pv")
    mount = [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]
    other = named(
        "Pod", "other", "default", spec={"nodeName": "worker-1", "volumes": mount, "containers": [{"name": "c"}]}
    )
    cluster = [pools(pool(count=1)), csi_node("worker-1", 1), storage_class("csi", "csi.example"), used, shared, other]
    assert ask(cluster, mounting("app", 2))["verdict"] == "fits"
    assert ask([*cluster, claim("own", "csi")], mounting("app", claim_name="own"))["verdict"] == "does_not_fit"


@pytest.mark.parametrize(
    ("minor", "words"),
    [
        (36, "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode"),
        (33, "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"),
    ],
)
def test_a_volume_for_one_pod_only(minor, words):
    single = claim("data", mode="ReadWriteOncePod", volumeName="pv")
    cluster = [ZONED, single, volume("pv", accessModes=["ReadWriteOncePod"])]
    assert ask(cluster, mounting("app", 1))["verdict"] == "fits"
    found = ask(cluster, mounting("app", 2), minor=minor)
    assert sum(item["pods"] for item in found["shortfalls"]) == 1
    assert words in found["shortfalls"][0]["message"]


def test_a_driver_that_reports_its_room():
    room = named("CSIStorageCapacity", "c", "kube-system", storageClassName="csi", capacity="2Gi")
    room["nodeTopology"] = {"matchLabels": {ZONE: "b"}}
    driver = named("CSIDriver", "csi.example", spec={"storageCapacity": True})
    cluster = [ZONED, storage_class("csi", "csi.example"), driver, room]
    assert where(ask([*cluster, claim("data", "csi")], mounting("app")), "Deployment default/app") == ["b-1"]
    found = ask([*cluster, claim("data", "csi", size="3Gi")], mounting("app"))
    assert found["shortfalls"][0]["message"] == ("0/3 nodes are available: 3 node(s) did not have enough free storage.")


def test_a_claim_that_the_cluster_has_not_bound():
    cluster = [ZONED, storage_class("now", "csi.example", mode="Immediate"), claim("data", "now")]
    assert ask(cluster, mounting("app"))["shortfalls"][0]["message"] == (
        "0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims."
    )
    planned = ask(cluster[:2], claim("data", "now"), mounting("app"))
    assert planned["verdict"] == "fits"
    assert "not bound yet" in planned["not_modelled"][0]


def test_the_newest_default_class_is_taken():
    def marked(name, provisioner, age):
        found = storage_class(name, provisioner)
        found["metadata"] |= {
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
            "creationTimestamp": age,
        }
        return found

    unnamed = claim("data")
    del unnamed["spec"]["storageClassName"]
    classes = [
        marked("old", "kubernetes.io/no-provisioner", "2025-01-01T00:00:00Z"),
        marked("new", "csi.example", "2026-01-01T00:00:00Z"),
    ]
    assert ask([ZONED, *classes], unnamed, mounting("app"))["verdict"] == "fits"
    assert ask([ZONED, classes[0]], unnamed, mounting("app"))["verdict"] == "does_not_fit"


def test_each_pod_has_its_own_ephemeral_claim():
    template = {"spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "csi", "resources": {}}}
    volumes = [{"name": "scratch", "ephemeral": {"volumeClaimTemplate": template}}]
    cluster = [pools(pool(count=1)), csi_node("worker-1", 2), storage_class("csi", "csi.example")]
    assert ask(cluster, deployment("app", 2, volumes=volumes))["verdict"] == "fits"
    assert ask(cluster, deployment("app", 3, volumes=volumes))["verdict"] == "does_not_fit"
