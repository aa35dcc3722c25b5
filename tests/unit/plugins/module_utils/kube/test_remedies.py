# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why pods do not fit, and what would make them fit."""

from __future__ import annotations

import pytest

from ansible_collections.airgap.speech.plugins.module_utils.kube.capacity import judge
from tests.unit.plugins.module_utils.kube.kube_objects import deployment, named, pool, pools, running


def remedies(cluster, manifest):
    result = judge(cluster, manifest, minor=36)
    assert not result["fits"]
    return result, {item["kind"]: item for item in result["remedies"]}


def test_so_many_more_nodes_of_a_pool():
    result, _found = remedies([pools(pool(count=2), pool("large", 1, "16"))], [deployment(replicas=10, cpu="3")])
    assert result["cause"] == "sum"
    # Two on the workers and five on the large one find room, and three more are wanted.
    assert [(item["nodes"], item["like"]) for item in result["remedies"]] == [(3, "worker"), (1, "large")]
    assert "would fit with: 3 more node(s) like worker" in result["message"]


def test_room_that_is_there_but_not_in_one_piece():
    cluster = [pools(pool(count=2)), running("a", "worker-1", "2"), running("b", "worker-2", "2")]
    result, _found = remedies(cluster, [deployment(cpu="3")])
    assert result["cause"] == "fragmentation"
    assert "no node has it in one piece" in result["message"]


def test_a_label_that_nodes_lack():
    result, found = remedies([pools(pool(count=3))], [deployment(replicas=2, cpu="4", nodeSelector={"disk": "ssd"})])
    assert result["cause"] == "constraints"
    assert (found["label"]["label"], found["label"]["nodes"]) == ("disk=ssd", 2)


def test_a_taint_that_is_not_tolerated():
    taint = {"key": "gpu", "value": "yes", "effect": "NoSchedule"}
    _result, found = remedies([pools(pool(count=1), pool("gpu", 1, taints=[taint]))], [deployment(replicas=2, cpu="3")])
    assert found["toleration"]["taint"] == "gpu=yes:NoSchedule"
    assert found["toleration"]["workloads"] == ["Deployment default/app"]


def test_a_quota_that_is_too_small():
    quota = named("ResourceQuota", "q", "default", spec={"hard": {"requests.cpu": "1500m", "pods": "9"}})
    result, found = remedies([pools(pool(count=2)), quota], [deployment(replicas=2)])
    assert result["cause"] == "quota"
    assert found["quota"]["quotas"] == ["requests.cpu of ResourceQuota default/q to 2"]
    assert result["shortfalls"][0]["message"] == (
        "pods are forbidden: exceeded quota: q, requested: requests.cpu=1, used: requests.cpu=1,"
        " limited: requests.cpu=1500m"
    )
    assert result["headroom"] == {"Deployment default/app": 0}


def test_a_node_that_is_cordoned():
    node = {
        "kind": "Node",
        "metadata": {"name": "n"},
        "spec": {"unschedulable": True},
        "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "10"}},
    }
    _result, found = remedies([node], [deployment()])
    assert found["uncordon"]["node"] == "n"


@pytest.mark.parametrize("replicas", [2, 5])
def test_fewer_pods_where_nothing_else_helps(replicas):
    term = {"topologyKey": "everywhere", "labelSelector": {"matchLabels": {"app": "app"}}}
    affinity = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    cluster = [pools(pool(count=3, labels={"everywhere": "yes"}))]
    result, found = remedies(cluster, [deployment(replicas=replicas, affinity=affinity)])
    assert result["cause"] == "constraints"
    assert list(found) == ["replicas"]
    assert found["replicas"]["workloads"] == ["1 pod(s) of Deployment default/app"]


def test_what_fits_wants_no_remedy():
    result = judge([pools(pool())], [deployment()], minor=36)
    assert (result["remedies"], result["cause"]) == ([], "")
