# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from ipaddress import IPv4Network

import pytest

from sandbox import egress
from sandbox.settings import parse_settings

INSIDE = IPv4Network("10.89.0.0/16")
SERVICES = frozenset({"kubernetes.default"})


@pytest.mark.parametrize(
    ("name", "outside"),
    [
        ("quay.io.", True),
        ("Registry-1.Docker.IO.", True),
        ("huggingface.co.", True),
        ("outside.example.com.", True),
        ("api.default.", True),  # no Service of that name: somebody's own top-level domain
        ("registry.airgap.internal.", False),
        ("quay.io.airgap.internal.", False),
        ("kubernetes.default.svc.cluster.local.", False),
        ("kubernetes.default.", False),
        ("kubernetes.default.svc.", False),
        ("localhost.", False),
        ("worker-1.", False),
        (".", False),
        ("11.0.89.10.in-addr.arpa.", False),
        ("1.0.0.127.in-addr.arpa.", False),
        ("1.2.0.192.in-addr.arpa.", True),
        ("notairgap.internal.", True),
    ],
)
def test_outside_names(name: str, *, outside: bool) -> None:
    assert egress.is_outside_name(name, INSIDE, SERVICES) is outside


def test_names_are_counted_from_the_log() -> None:
    lines = [
        "[INFO] asked client=10.89.0.4:5353 type=A name=quay.io.",
        "[INFO] asked client=10.89.0.4:5353 type=AAAA name=QUAY.io.",
        "[INFO] asked client=10.89.0.11:5353 type=AAAA name=control-plane.airgap.internal.",
        "CoreDNS-1.15.0",
    ]
    assert egress.count_names(lines, INSIDE) == {"quay.io": 2}


def test_counters_are_read_by_kind() -> None:
    listing = {"nftables": [{"metainfo": {}}, {"counter": {"name": "public", "packets": 3, "bytes": 180}}]}
    counted = egress.read_counters(json.dumps(listing))
    assert counted["public"] == 3
    assert set(counted) == set(egress.KINDS)
    assert sum(counted.values()) == 3


def test_every_kind_drops_what_it_counts() -> None:
    settings = parse_settings("airgap", None, None, {})
    rules = egress.ruleset(settings, IPv4Network("172.18.0.0/16")).splitlines()
    for kind in egress.KINDS:
        counting = [line for line in rules if f"counter name {kind} " in line]
        assert counting
        assert all(line.endswith("drop") for line in counting)
    last = [line.strip() for line in rules if line.strip().startswith("counter name")][-1]
    assert last == "counter name public drop"
