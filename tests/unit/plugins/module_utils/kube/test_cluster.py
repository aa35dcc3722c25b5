# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Counters, proofs and the placing of many pods, held against what is counted and tried one by one."""

from __future__ import annotations

import random

import pytest

from ansible_collections.airgap.speech.plugins.module_utils.kube import bulk, proofs, scores
from ansible_collections.airgap.speech.plugins.module_utils.kube.capacity import judge
from ansible_collections.airgap.speech.plugins.module_utils.kube.cluster import Cluster
from ansible_collections.airgap.speech.plugins.module_utils.kube.nodes import read_pools
from ansible_collections.airgap.speech.plugins.module_utils.kube.orders import Search
from ansible_collections.airgap.speech.plugins.module_utils.kube.pods import read_manifest
from tests.unit.plugins.module_utils.kube.kube_objects import HOSTNAME, ZONE, deployment, pool, pools, scaler

SEEDS = range(60)


def drawing(seed):
    return random.Random(seed)  # noqa: S311 - the same clusters each time


def random_workload(draw, name):
    """A Deployment with rules towards pods of its own and of others."""
    spec = {}
    labels = {"app": draw.choice(["a", "b", "c"])}
    term = {"topologyKey": draw.choice([HOSTNAME, ZONE]), "labelSelector": {"matchLabels": labels}}
    rule = draw.choice(["", "", "anti", "near", "spread", "ports"])
    if rule == "anti":
        spec["affinity"] = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    elif rule == "near":
        spec["affinity"] = {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    elif rule == "spread":
        spec["topologySpreadConstraints"] = [
            {"maxSkew": draw.choice([1, 2]), "whenUnsatisfiable": "DoNotSchedule", **term},
        ]
    document = deployment(name, draw.randint(1, 4), draw.choice(["500m", "1", "2"]), **spec)
    if rule == "ports":
        document["spec"]["template"]["spec"]["containers"][0]["ports"] = [{"containerPort": 80, "hostPort": 80}]
    return document


def random_cluster(draw, least=2, most=5):
    items = [
        pool(f"p{number}", draw.randint(1, 2), draw.choice(["2", "3", "4", "8"]), labels={ZONE: draw.choice("xy")})
        for number in range(draw.randint(least, most))
    ]
    names = [draw.choice(["a", "b", "c"]) + str(number) for number in range(draw.randint(1, 3))]
    documents = [random_workload(draw, name) for name in names]
    for name, document in zip(names, documents):
        document["spec"]["template"]["metadata"]["labels"]["app"] = name[0]
        document["spec"]["selector"] = {"matchLabels": {"app": name[0]}}
    workloads = read_manifest(documents, "default").workloads
    return Cluster(read_pools(items)), workloads


@pytest.mark.parametrize("seed", SEEDS)
def test_counters_follow_pods_that_come_and_go(seed):
    draw = drawing(seed)
    cluster, workloads = random_cluster(draw)
    classes = [cluster.intern(item.pod) for item in workloads]
    for class_id in classes:
        cluster.view(class_id)
    saved = cluster.save()
    placed = []
    for _step in range(30):
        if placed and draw.random() < 0.4:
            cluster.remove(*placed.pop(draw.randrange(len(placed))))
        else:
            class_id, index = draw.choice(classes), draw.randrange(len(cluster.nodes))
            placed.append((class_id, index, cluster.place(class_id, index)))
    fresh = Cluster(cluster.nodes)
    for class_id, index, _undo in placed:
        fresh.place(fresh.intern(cluster.pod(class_id)), index)
    for class_id in classes:
        other = fresh.intern(cluster.pod(class_id))
        assert cluster.reasons(class_id) == fresh.reasons(other)
        view, fresh_view = cluster.view(class_id), fresh.view(other)
        nodes = list(range(len(cluster.nodes)))
        assert scores.scores(cluster, view, nodes) == scores.scores(fresh, fresh_view, nodes)
        for one, two in zip(view.spreads, fresh_view.spreads):
            assert (one[0].low, one[0].levels) == (min(one[0].counts), two[0].levels)
    cluster.restore(saved)
    untouched = Cluster(cluster.nodes)
    for class_id in classes:
        assert cluster.reasons(class_id) == untouched.reasons(untouched.intern(cluster.pod(class_id)))


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_proven_holds_in_every_order(seed):
    draw = drawing(seed)
    cluster, workloads = random_cluster(draw, 1, 4)
    queue = [cluster.intern(item.pod) for item in workloads for _pod in range(item.count)]
    totals = [(cluster.intern(item.pod), item.count) for item in workloads]
    always, never = proofs.always_fits(cluster, totals), proofs.never_fits(cluster, totals)
    outcomes = Search(cluster, queue).every(best_only=False)
    if always:
        assert outcomes.failed is None
        assert outcomes.placed is not None
    if never:
        assert outcomes.placed is None


def test_proofs_are_found():
    found = [0, 0]
    for seed in SEEDS:
        cluster, workloads = random_cluster(drawing(seed), 1, 4)
        totals = [(cluster.intern(item.pod), item.count) for item in workloads]
        found[0] += proofs.always_fits(cluster, totals)
        found[1] += proofs.never_fits(cluster, totals)
    assert min(found) > 2


@pytest.mark.parametrize("seed", SEEDS)
def test_many_pods_are_placed_by_the_same_rules_as_one(seed):
    draw = drawing(seed)
    cluster, workloads = random_cluster(draw)
    numbers = iter(range(1000))
    batches = [(cluster.intern(item.pod), [next(numbers) for _pod in range(item.count)]) for item in workloads]
    classes = {number: class_id for class_id, group in batches for number in group}
    path, pending = bulk.follow(cluster, batches, bulk.Filler(cluster, 0.2, seed))
    # Where a pod stays pending, no node would take it.
    for class_id, _numbers in pending:
        assert all(cluster.reasons(class_id))
    replay = Cluster(cluster.nodes)
    for number, index in path:
        class_id = replay.intern(cluster.pod(classes[number]))
        assert not replay.reasons(class_id)[index]
        replay.place(class_id, index)


def test_a_large_cluster_is_judged_as_a_small_one():
    spread = {
        "maxSkew": 1,
        "topologyKey": ZONE,
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "app"}},
    }
    # Zone a holds forty pods, so zone b takes forty-one and no more.
    cluster = pools(pool("a", 40, "1", labels={ZONE: "a"}), pool("b", 80, "1", labels={ZONE: "b"}))
    for replicas, verdict in ((81, "fits"), (82, "does_not_fit")):
        found = judge([cluster], [deployment(replicas=replicas, topologySpreadConstraints=[spread])], minor=36)
        assert (found["nodes"], found["verdict"]) == (120, verdict)
    assert found["shortfalls"][0]["message"] == (
        "0/120 nodes are available: 39 node(s) didn't match pod topology spread constraints, 81 Insufficient cpu."
    )


def test_pods_that_wait_for_others_are_tried_again():
    near = {"topologyKey": HOSTNAME, "labelSelector": {"matchLabels": {"app": "base"}}}
    affinity = {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [near]}}
    documents = [deployment("guest", 2, affinity=affinity), deployment("base", 1)]
    for count in (3, 120):
        found = judge([pools(pool(count=count))], documents, minor=36)
        assert (found["verdict"], found["pods"]) == ("fits", 3)


def test_an_autoscaler_may_have_made_more_than_is_asked():
    found = judge([pools(pool())], [deployment(replicas=1), scaler("app", 1, 4)], minor=36)
    assert found["pods"] == 1
