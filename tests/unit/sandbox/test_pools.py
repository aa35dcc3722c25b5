# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest

from sandbox.containers import File, tar_of
from sandbox.copy import parse_target
from sandbox.nodes import reserved
from sandbox.pools import FAKE, check_pools, node
from sandbox.run import SandboxError
from sandbox.settings import parse_settings


def test_node_of_a_pool() -> None:
    made = node({"name": "gpu", "cpu": 32, "memory": "128Gi", "gpus": 4, "labels": {"tier": "gpu"}}, 2)
    assert made["metadata"]["name"] == "gpu-2"
    assert made["metadata"]["labels"]["tier"] == "gpu"
    assert made["status"]["allocatable"]["nvidia.com/gpu"] == "4"
    assert made["spec"]["taints"] == [FAKE]
    assert node({"name": "big", "taints": []}, 1)["spec"]["taints"] == []
    assert "nvidia.com/gpu" not in node({"name": "big"}, 1)["status"]["allocatable"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"name": "x"}, "a list of mappings"),
        ([{"name": "x", "cpus": 2}], "unknown key 'cpus'"),
        ([{"name": "X"}], "pool name 'X'"),
        ([{"name": "x", "count": -1}], "give a number of nodes"),
        ([{"name": "x"}, {"name": "x"}], "two pools have one name"),
    ],
)
def test_pools_refused(data: Any, message: str) -> None:
    with pytest.raises(SandboxError, match=message):
        check_pools(data, "pools.yml")


@pytest.mark.parametrize("target", ["bastion", "nobody:/x", "bastion:relative"])
def test_copy_target_refused(target: str) -> None:
    with pytest.raises(SandboxError, match="give HOST:/PATH"):
        parse_target(target, ["bastion", "registry"])


def test_copy_target() -> None:
    assert parse_target("bastion:/media/bundle", ["bastion"]) == ("bastion", "/media/bundle")


@pytest.mark.parametrize("gib", [6, 8, 24, 64])
def test_nodes_offer_no_more_than_the_machine_has(gib: int) -> None:
    memory = gib * 1024**3
    for workers in (1, 2):
        settings = parse_settings("airgap", None, workers, {})
        offered = [
            gib * 1024 - int(reserved(settings, name, memory, 2)["memory"].removesuffix("Mi"))
            for name in settings.nodes
        ]
        assert all(part >= 1024 for part in offered)
        assert sum(offered) <= gib * 1024


def test_a_file_given_twice_is_refused() -> None:
    with pytest.raises(SandboxError, match="given twice"):
        tar_of([File("/a", b"1"), File("a", b"2")])
