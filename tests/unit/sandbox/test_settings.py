# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from sandbox.run import SandboxError
from sandbox.settings import load_config, parse_settings


@pytest.mark.parametrize("subnet", ["10.89.0.0/16", "10.90.0.0/20", "172.16.0.0/12"])
def test_ranges_lie_in_the_subnet_and_apart(subnet: str) -> None:
    settings = parse_settings("airgap", subnet, 6, {})
    ranges = [settings.host_range, settings.services, settings.simulated_pods]
    ranges += [settings.pod_range(node) for node in settings.nodes]
    assert all(item.subnet_of(settings.subnet) for item in ranges)
    assert not any(one.overlaps(other) for one, other in itertools.combinations(ranges, 2))
    addresses = [settings.address(host) for host in ("gateway", *settings.hosts)]
    assert len(set(addresses)) == len(addresses)
    assert all(address in settings.host_range for address in addresses)
    assert settings.dns_service in settings.services


def test_names_of_two_sandboxes_differ() -> None:
    one, other = parse_settings("one", None, None, {}), parse_settings("other", None, None, {})
    for attribute in ("inside", "outside", "table", "bridge", "state"):
        assert getattr(one, attribute) != getattr(other, attribute)
    assert len(one.bridge) <= 15


def test_command_line_wins_over_file() -> None:
    settings = parse_settings("airgap", "10.91.0.0/16", None, {"subnet": "10.92.0.0/16", "workers": 2})
    assert (str(settings.subnet), settings.workers) == ("10.91.0.0/16", 2)


@pytest.mark.parametrize(
    ("name", "subnet", "workers", "config", "message"),
    [
        ("Bad_Name", None, None, {}, "choose another --name"),
        ("airgap", "10.89.0.0/24", None, {}, "need a /12 to a /20"),
        ("airgap", "8.8.0.0/16", None, {}, "not a private range"),
        ("airgap", "10.89.0.1/16", None, {}, "give an IPv4 network"),
        ("airgap", None, 9, {}, "a number from 1 to 6"),
        ("airgap", None, None, {"wokers": 2}, "unknown key 'wokers'"),
    ],
)
def test_refused(name: str, subnet: str | None, workers: int | None, config: dict[str, object], message: str) -> None:
    with pytest.raises(SandboxError, match=message):
        parse_settings(name, subnet, workers, config)


def test_config_file(tmp_path: Path) -> None:
    path = tmp_path / "sandbox.yml"
    path.write_text("workers: 2\n")
    assert load_config(str(path)) == {"workers": 2}
    path.write_text("- a list\n")
    with pytest.raises(SandboxError, match="not a mapping"):
        load_config(str(path))
    with pytest.raises(SandboxError, match=r"absent\.yml"):
        load_config(str(tmp_path / "absent.yml"))
