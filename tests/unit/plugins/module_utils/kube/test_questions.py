# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several questions in one call, each with a verdict of its own."""

from __future__ import annotations

import pytest

from ansible_collections.airgap.speech.plugins.module_utils.kube.capacity import judge
from ansible_collections.airgap.speech.plugins.module_utils.kube.terms import SpecError
from tests.unit.plugins.module_utils.kube.kube_objects import ZONE, deployment, named, pool, pools, running, scaler

TWO = pools(pool(count=2))


def ask(cluster, manifest, *questions, **more):
    result = judge([*cluster], [*manifest], minor=36, questions=questions, **more)
    assert list(result["answers"]) == list(questions)
    return result


@pytest.mark.parametrize(("most", "verdict"), [(8, "fits"), (9, "does_not_fit")])
def test_autoscalers_at_their_maximum(most, verdict):
    result = ask([TWO], [deployment(), scaler("app", 2, most)], "now", "autoscaled")
    assert (result["verdict"], result["pods"]) == ("fits", 2)
    assert (result["answers"]["autoscaled"]["verdict"], result["answers"]["autoscaled"]["pods"]) == (verdict, most)


@pytest.mark.parametrize(
    ("replicas", "strategy", "pods", "words"),
    [
        # A quarter of eight, rounded up, is two more; of six it is two too.
        (6, {}, 8, ""),
        (8, {}, 10, "2 pod(s) may be unavailable"),
        (8, {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}, 9, "would stand still"),
        (8, {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}, 8, ""),
        (8, {"type": "Recreate"}, 8, ""),
    ],
)
def test_a_rolling_update_has_more_pods(replicas, strategy, pods, words):
    document = deployment(replicas=replicas)
    document["spec"]["strategy"] = strategy
    found = ask([TWO], [document], "rolling_update")
    assert found["pods"] == pods
    assert found["verdict"] == ("fits" if pods <= 8 else "does_not_fit")
    if words:
        assert any(words in detail for item in found["shortfalls"] for detail in item["details"])


def test_the_worst_node_is_lost():
    cluster = [pools(pool("small", 2, "2"), pool("large", 1, "6"))]
    found = ask(cluster, [deployment(replicas=5)], "now", "lost_nodes")
    assert found["verdict"] == "fits"
    lost = found["answers"]["lost_nodes"]
    assert (lost["verdict"], lost["lost"]) == ("does_not_fit", ["large-1"])
    assert sum(item["pods"] for item in lost["shortfalls"]) == 1
    assert ask(cluster, [deployment(replicas=4)], "lost_nodes")["verdict"] == "fits"
    assert ask(cluster, [deployment(replicas=3)], "lost_nodes", tolerate_nodes=2)["verdict"] == "does_not_fit"


def test_what_an_autoscaler_has_made_is_placed_anew_when_its_node_is_lost():
    document = deployment(replicas=1)
    mine = []
    for number in range(4):
        pod = running(f"app-x-{number}", f"worker-{number % 2 + 1}", namespace="default", owner="app-x")
        pod["metadata"]["labels"] = {"app": "app", "pod-template-hash": "x"}
        mine.append(pod)
    found = ask([TWO, *mine], [document, scaler("app", 1, 4)], "now", "lost_nodes")
    assert (found["verdict"], found["kept"], found["pods"]) == ("fits", 4, 4)
    lost = found["answers"]["lost_nodes"]
    assert (lost["verdict"], lost["kept"], lost["pods"]) == ("fits", 2, 4)
    full = [TWO, *mine, running("other", "worker-1", "1"), running("another", "worker-2", "1")]
    assert ask(full, [document, scaler("app", 1, 4)], "lost_nodes")["verdict"] == "does_not_fit"


def test_pods_of_others_take_room_elsewhere_when_their_node_is_lost():
    cluster = [TWO, running("web-1", "worker-1", "3", owner="web")]
    found = ask(cluster, [deployment(replicas=2)], "lost_nodes")
    # Three of them and two of ours do not go on a node with four, whichever node is lost.
    assert found["verdict"] == "does_not_fit"
    assert ask(cluster, [deployment(replicas=1)], "lost_nodes")["verdict"] == "fits"
    alone = [TWO, running("static", "worker-1", "3")]
    assert ask(alone, [deployment(replicas=1)], "lost_nodes")["verdict"] == "fits"


def test_each_zone_is_lost_in_turn():
    zoned = pools(pool("a", 1, "4", labels={ZONE: "a"}), pool("b", 2, "4", labels={ZONE: "b"}))
    assert ask([zoned], [deployment(replicas=4)], "lost_zone")["verdict"] == "fits"
    found = ask([zoned], [deployment(replicas=5)], "lost_zone")
    assert (found["verdict"], found["lost"]) == ("does_not_fit", ["b"])
    bare = ask([TWO], [deployment()], "lost_zone")
    assert bare["verdict"] == "does_not_fit"
    assert "label the nodes" in bare["shortfalls"][0]["message"]


GOLD = named("PriorityClass", "gold", value=1000)


def test_the_least_of_the_lower_priorities_are_evicted():
    cluster = [
        TWO,
        GOLD,
        running("high", "worker-1", "4", priority=500),
        running("low", "worker-2", "2", priority=10),
        running("lower", "worker-2", "2", priority=5),
    ]
    found = ask(cluster, [deployment(cpu="2", priorityClassName="gold")], "now", "evict")
    assert found["verdict"] == "does_not_fit"
    evict = found["answers"]["evict"]
    assert (evict["verdict"], [victim["pod"] for victim in evict["victims"]]) == ("fits", ["other/lower"])
    assert evict["victims"][0]["for"] == "Deployment default/app"
    assert "evicts other/lower (priority 5) from node worker-2" in found["message"]


@pytest.mark.parametrize(
    "more",
    [
        [named("PriorityClass", "gold", value=1)],
        [named("PriorityClass", "gold", value=1000, preemptionPolicy="Never")],
    ],
)
def test_nobody_is_evicted_for_pods_that_may_not(more):
    cluster = [pools(pool(count=1)), *more, running("low", "worker-1", "4", priority=10)]
    found = ask(cluster, [deployment(cpu="2", priorityClassName="gold")], "evict")
    assert (found["verdict"], found["victims"]) == ("does_not_fit", [])


@pytest.mark.parametrize(("allowed", "victim"), [(0, "other/b"), (1, "other/a")])
def test_a_budget_is_broken_last(allowed, victim):
    budget = named("PodDisruptionBudget", "a", "other", spec={"selector": {"matchLabels": {"app": "a"}}})
    budget["status"] = {"disruptionsAllowed": allowed}
    cluster = [TWO, GOLD, budget, running("a", "worker-1", "3", priority=5), running("b", "worker-2", "3", priority=10)]
    found = ask(cluster, [deployment(cpu="2", priorityClassName="gold")], "evict")
    assert [item["pod"] for item in found["victims"]] == [victim]


def test_pods_that_wait_for_others_evict_once_these_are_placed():
    term = {"topologyKey": "kubernetes.io/os", "labelSelector": {"matchLabels": {"app": "friend"}}}
    near = {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    cluster = [TWO, GOLD, running("low", "worker-1", "4", priority=10)]
    urgent = deployment("urgent", 2, "3", priorityClassName="gold", affinity=near)
    found = ask(cluster, [urgent, deployment("friend")], "evict")
    assert (found["verdict"], [item["pod"] for item in found["victims"]]) == ("fits", ["other/low"])


def test_nobody_is_evicted_where_there_is_room():
    cluster = [TWO, GOLD, running("low", "worker-1", "4", priority=10)]
    assert ask(cluster, [deployment(cpu="2", priorityClassName="gold")], "evict")["victims"] == []


def test_an_unknown_question_is_refused():
    with pytest.raises(SpecError, match="'later' is none of now, autoscaled"):
        judge([TWO], [deployment()], questions=["later"])
