# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from ansible_collections.airgap.speech.plugins.module_utils.kube.nodes import read_node, read_pools, split_cluster
from ansible_collections.airgap.speech.plugins.module_utils.kube.quantity import QuantityError
from ansible_collections.airgap.speech.plugins.module_utils.kube.terms import SpecError

ALLOCATABLE = {"cpu": "4", "memory": "8Gi"}


def test_reads_a_node_of_the_api():
    node = read_node(
        {
            "metadata": {"name": "n", "labels": {"a": "b"}},
            "spec": {"unschedulable": True, "taints": [{"key": "k", "effect": "NoExecute"}]},
            "status": {"capacity": {"cpu": "8"}, "allocatable": {"cpu": "7500m", "pods": "110", "nvidia.com/gpu": "2"}},
        }
    )
    assert node.allocatable == {"cpu": 7500, "pods": 110, "nvidia.com/gpu": 2}
    assert (node.unschedulable, str(node.taints[0])) == (True, "{k: }")


def test_pools_make_nodes():
    nodes = read_pools([{"name": "gpu", "count": 2, "allocatable": ALLOCATABLE, "labels": {"x": "y"}}])
    assert [node.name for node in nodes] == ["gpu-1", "gpu-2"]
    assert nodes[1].labels["kubernetes.io/hostname"] == "gpu-2"
    assert nodes[0].pods == 110


@pytest.mark.parametrize(
    ("pool", "error", "words"),
    [
        ({"count": 1, "allocatable": ALLOCATABLE}, SpecError, "name: Required value"),
        ({"name": "a", "allocatable": {"cpu": 1}}, SpecError, "pool a: allocatable.memory: Required value"),
        ({"name": "a", "allocatable": ALLOCATABLE, "gpus": 1}, SpecError, "pool a: gpus: unknown field"),
        ({"name": "a", "allocatable": ALLOCATABLE, "count": -1}, SpecError, "pool a: count: -1"),
        ({"name": "a", "allocatable": {"cpu": "4 cores", "memory": 1}}, QuantityError, "pool a: allocatable.cpu"),
        (
            {"name": "a", "allocatable": ALLOCATABLE, "taints": [{"key": "x", "effect": "Never"}]},
            SpecError,
            "pool a: taints[0].effect: 'Never'",
        ),
    ],
)
def test_pools_that_are_wrong(pool, error, words):
    with pytest.raises(error) as caught:
        read_pools([pool])
    assert words in str(caught.value)


def test_two_nodes_of_one_name_are_refused():
    document = {"pools": [{"name": "a", "allocatable": ALLOCATABLE}]}
    with pytest.raises(SpecError, match="two nodes are named a-1"):
        split_cluster([document, document])
