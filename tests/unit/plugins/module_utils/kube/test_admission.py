# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the API server adds, and for what it refuses pods: limit ranges, quotas, classes, fields."""

from __future__ import annotations

import pytest

from ansible_collections.airgap.speech.plugins.module_utils.kube.capacity import judge
from ansible_collections.airgap.speech.plugins.module_utils.kube.terms import SpecError
from tests.unit.plugins.module_utils.kube.kube_objects import deployment, named, pool, pools, running

CLUSTER = pools(pool())


def ask(cluster, document, minor=36):
    return judge([CLUSTER, *cluster], [document], minor=minor)


def why(cluster, document):
    found = ask(cluster, document)
    assert found["verdict"] == "does_not_fit"
    return found["shortfalls"][0]["message"], found["cause"]


def limit_range(**item):
    return named("LimitRange", "limits", "default", spec={"limits": [{"type": "Container", **item}]})


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ({"max": {"cpu": "500m"}}, "maximum cpu usage per Container is 500m, but request is 1"),
        ({"min": {"cpu": "2"}}, "minimum cpu usage per Container is 2, but request is 1"),
        ({"min": {"memory": "1Gi"}, "max": {"cpu": "1"}}, ""),
        (
            {"type": "Pod", "max": {"memory": "1024Mi"}},
            "maximum memory usage per Pod is 1Gi.  No limit is specified",
        ),
        (
            {"maxLimitRequestRatio": {"cpu": "2"}},
            "cpu max limit to request ratio per Container is 2, but no limit is specified or limit is 0",
        ),
        ({"default": {"cpu": "500m"}}, "must be less than or equal to cpu limit of 500m"),
    ],
)
def test_limit_ranges(item, words):
    document = deployment(cpu="1")
    if not words:
        assert ask([limit_range(**item)], document)["verdict"] == "fits"
        return
    message, cause = why([limit_range(**item)], document)
    assert message.startswith("pods are forbidden: ")
    assert message.endswith(words)
    assert cause == "admission"


def test_all_that_a_limit_range_refuses_is_said_at_once():
    message, _cause = why([limit_range(min={"cpu": "2"}, max={"cpu": "500m"})], deployment(cpu="1"))
    assert (
        message
        == (
            "pods are forbidden: [minimum cpu usage per Container is 2, but request is 1,"
            " maximum cpu usage per Container is 500m, but request is 1]"
        )
        or "but limit is 500m" in message
    )


def quota(hard, scopes=(), used=None, **spec):
    found = named("ResourceQuota", "q", "default", spec={"hard": hard, "scopes": list(scopes), **spec})
    if used is not None:
        found["status"] = {"hard": hard, "used": used}
    return found


@pytest.mark.parametrize(
    ("item", "pods"),
    [
        (quota({"pods": "2"}), 1),
        (quota({"pods": "3"}), 0),
        (quota({"requests.cpu": "2500m"}), 1),
        (quota({"cpu": "3"}, used={"cpu": "1"}), 1),
        (quota({"requests.nvidia.com/gpu": "0", "count/pods": "9"}), 0),
        (quota({"pods": "1"}, ["BestEffort"]), 0),
        (quota({"pods": "1"}, ["NotBestEffort"]), 2),
        (quota({"pods": "1"}, ["Terminating"]), 0),
        (
            quota(
                {"pods": "1"},
                scopeSelector={"matchExpressions": [{"scopeName": "PriorityClass", "operator": "Exists"}]},
            ),
            0,
        ),
        (quota({"limits.cpu": "9"}), 3),
    ],
)
def test_quotas(item, pods):
    found = ask([item], deployment(replicas=3))
    assert sum(shortfall["pods"] for shortfall in found["shortfalls"]) == pods
    assert found["fits"] is (pods == 0)


def test_a_quota_wants_to_be_told():
    message, cause = why([quota({"limits.cpu": "9", "requests.memory": "9Gi"})], deployment())
    assert message == "pods are forbidden: failed quota: q: must specify limits.cpu for: c; requests.memory for: c"
    assert cause == "quota"


def test_pods_that_run_are_counted_where_the_cluster_has_not_counted():
    mine = running("other", "worker-1", namespace="default")
    assert ask([quota({"pods": "2"}), mine], deployment(replicas=2))["shortfalls"][0]["pods"] == 1
    assert ask([quota({"pods": "2"}, used={"pods": "0"}), mine], deployment(replicas=2))["fits"]


def ports(*entries):
    return {"containers": [{"name": "c", "image": "x", "ports": list(entries)}]}


def test_pods_that_have_ended_or_wait_are_counted_as_the_cluster_would():
    ended = {**running("done", "worker-1", namespace="default"), "status": {"phase": "Succeeded"}}
    assert ask([quota({"count/pods": "2"}), ended], deployment(replicas=2))["shortfalls"][0]["pods"] == 1
    assert ask([quota({"pods": "2", "requests.cpu": "2"}), ended], deployment(replicas=2))["fits"]
    waiting = {"kind": "Pod", "metadata": {"name": "waiting"}, "spec": {"containers": [{"name": "c"}]}}
    assert ask([quota({"pods": "2"}), waiting], deployment(replicas=2))["shortfalls"][0]["pods"] == 1
    # A pod of the release itself that waits is not asked for twice.
    own = {**waiting, "metadata": {"name": "app-7f-x"}}
    assert ask([quota({"pods": "2"}, used={"pods": "1"}), own], deployment(replicas=2))["fits"]


def test_limit_ranges_that_contend_are_said():
    """Which of them is read first is nobody's to say."""
    one = limit_range(default={"memory": "1Gi"}, defaultRequest={"memory": "1Gi"})
    two = limit_range(default={"memory": "2Gi"}, defaultRequest={"memory": "1Gi"})
    two["metadata"] = {**two["metadata"], "name": "other"}
    name = one["metadata"]["name"]
    found = ask([one, two], deployment())
    words = f"LimitRanges {name} and other: each has a default limit of memory, and either may win"
    assert found["not_modelled"] == [f"Deployment default/app: {words}"]
    assert ask([one], deployment())["not_modelled"] == []
    said = {"resources": {"requests": {"memory": "1Gi"}, "limits": {"memory": "1Gi"}}}
    document = deployment()
    document["spec"]["template"]["spec"]["containers"][0].update(said)
    assert ask([one, two], document)["not_modelled"] == []


def test_what_else_a_quota_limits_is_said():
    found = ask([quota({"pods": "9", "requests.storage": "1Gi"})], deployment())
    assert found["not_modelled"] == ["ResourceQuota default/q: requests.storage: only pods are counted"]


KATA = named(
    "RuntimeClass",
    "kata",
    overhead={"podFixed": {"cpu": "500m"}},
    scheduling={"nodeSelector": {"kata": "yes"}, "tolerations": [{"key": "kata", "operator": "Exists"}]},
)


def test_a_runtime_class_has_nodes_tolerations_and_overhead():
    taint = {"key": "kata", "effect": "NoSchedule"}
    cluster = [pools(pool(), pool("kata", 1, labels={"kata": "yes"}, taints=[taint])), KATA]
    found = judge(cluster, [deployment(replicas=2, cpu="1500m", runtimeClassName="kata")], minor=36)
    assert (found["verdict"], set(found["placements"])) == ("fits", {"kata-1"})
    assert judge(cluster, [deployment(replicas=2, cpu="1600m", runtimeClassName="kata")], minor=36)["fits"] is False


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"runtimeClassName": "gone"}, 'pod rejected: RuntimeClass "gone" not found'),
        ({"runtimeClassName": "kata", "overhead": {"cpu": "1"}}, "Pod's Overhead doesn't match RuntimeClass's"),
        ({"overhead": {"cpu": "1"}}, "Pod Overhead set without corresponding RuntimeClass defined Overhead"),
        (
            {"runtimeClassName": "kata", "nodeSelector": {"kata": "no"}},
            "conflict: runtimeClass.scheduling.nodeSelector[kata] = yes; pod.spec.nodeSelector[kata] = no",
        ),
    ],
)
def test_runtime_classes_that_refuse(spec, words):
    message, cause = why([KATA], deployment(**spec))
    assert words in message
    assert cause == "admission"


def test_the_default_priority_is_the_lowest_of_several():
    classes = [
        named("PriorityClass", "high", value=100, globalDefault=True),
        named("PriorityClass", "low", value=-5, globalDefault=True),
        named("PriorityClass", "none", value=0),
    ]
    low, none = deployment("low", cpu="4"), deployment("none", cpu="4", priorityClassName="none")
    found = judge([pools(pool(count=1)), *classes], [low, none], minor=36)
    assert [item["workload"] for item in found["shortfalls"]] == ["Deployment default/low"]


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"priority": 7}, "spec.template.spec.priority: the integer value of priority (7) must not be provided"),
        ({"preemptionPolicy": "Never"}, "the string value of PreemptionPolicy (Never) must not be provided"),
        ({"contianers": []}, "spec.template.spec.contianers: unknown field"),
        ({"nodeselector": {}}, "spec.template.spec.nodeselector: unknown field; nodeSelector is meant"),
        ({"affinity": {"podAffinity": {"required": []}}}, "spec.affinity.podAffinity.required: unknown field"),
        ({"tolerations": [{"key": "a", "effects": "x"}]}, "spec.tolerations[0].effects: unknown field"),
        ({"tolerations": [{"key": "a", "tolerationSeconds": 3}]}, "effect: must be 'NoExecute'"),
        ({"tolerations": [{"key": "a b"}]}, "spec.tolerations[0].key: Invalid value: 'a b'"),
        ({"nodeSelector": {"a": "b c"}}, "spec.nodeSelector.a: Invalid value: 'b c'"),
        ({"resources": {"requests": {"nvidia.com/gpu": 1}}}, "a pod may only have cpu, memory and hugepages- here"),
        (
            {"resources": {"requests": {"cpu": "500m"}}},
            "must be greater than or equal to aggregate container requests of 1",
        ),
        ({"resources": {"limits": {"cpu": "1", "memory": 0.5}}}, ""),
        (ports({"containerPort": 80, "hostPort": 65536}), "ports[0].hostPort: Invalid value: 65536: must be between 1"),
        (ports({"containerPort": 0, "hostPort": "http"}), "ports[0].hostPort: Invalid value: 'http'"),
        (
            {**ports({"containerPort": 80, "hostPort": 81}), "hostNetwork": True},
            "ports[0].hostPort: Invalid value: 81: must match `containerPort` when `hostNetwork` is true",
        ),
        (
            ports({"containerPort": 80, "hostPort": 80}, {"containerPort": 81, "hostPort": 80}),
            "ports[1].hostPort: Duplicate value: 'TCP//80'",
        ),
        (ports({"containerPort": 80, "hostPort": 80}, {"containerPort": 80, "hostPort": 80, "protocol": "UDP"}), ""),
    ],
)
def test_what_the_api_server_refuses_names_object_and_field(spec, words):
    document = deployment(**spec)
    if not words:
        assert ask([], document)["fits"]
        return
    with pytest.raises(SpecError) as caught:
        ask([], document)
    assert str(caught.value).startswith("Deployment default/app: ")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("requests", "limits", "words"),
    [
        ({"gpu": 1}, {"gpu": 1}, "must be a standard resource type or fully qualified"),
        ({"a b/c": 1}, {}, "this is no name of a resource"),
        ({"hugepages-2Mi": "3Mi", "cpu": "1"}, {"hugepages-2Mi": "3Mi"}, "is not positive integer multiple of"),
        ({"hugepages-2Mi": "4Mi"}, {"hugepages-2Mi": "4Mi"}, "HugePages require cpu or memory"),
        ({"hugepages-2Mi": "4Mi", "cpu": "1"}, {}, "Limit must be set for non overcommitable resources"),
        ({"nvidia.com/mig-1g.5gb": "0.5"}, {"nvidia.com/mig-1g.5gb": "0.5"}, "must be an integer"),
    ],
)
def test_resources_that_are_refused(requests, limits, words):
    document = deployment()
    document["spec"]["template"]["spec"]["containers"][0]["resources"] = {"requests": requests, "limits": limits}
    with pytest.raises(SpecError, match=r"containers\[c\].resources") as caught:
        ask([], document)
    assert words in str(caught.value)


def test_a_selector_matches_the_labels_of_its_template():
    document = deployment()
    document["spec"]["selector"] = {"matchLabels": {"app": "other"}}
    with pytest.raises(SpecError, match=r"selector.* does not match template"):
        ask([], document)


@pytest.mark.parametrize(("minor", "verdict"), [(36, "does_not_fit"), (33, "fits")])
def test_resources_of_pods_came_with_a_version(minor, verdict):
    found = ask([], deployment(resources={"requests": {"cpu": "9"}}), minor)
    assert found["verdict"] == verdict


def test_a_running_pod_with_fields_that_are_not_known_takes_its_room():
    odd = running("odd", "worker-1", "4", tolerations=[{"key": "a", "operator": "Gt", "value": "3"}])
    found = ask([odd], deployment(cpu="4", replicas=2))
    assert sum(item["pods"] for item in found["shortfalls"]) == 1
    assert "Pod other/odd: spec.tolerations[0].operator: 'Gt' is none of Equal, Exists" in found["not_modelled"][0]
