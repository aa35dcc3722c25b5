# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The egress counter: on the machine, not in the containers. It drops what it counts.

Every inside container has the bridge as its default route. A table of nftables sees each packet that comes from
that bridge before the engine's own rules do, and counts by kind what is not for the inside.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timezone
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from sandbox.cluster import kubectl
from sandbox.containers import docker
from sandbox.run import Steps, as_root, run
from sandbox.settings import CLUSTER_DOMAIN, DOMAIN, Settings

# Kinds of destination, in the order in which a packet is asked.
KINDS = {
    "dns": "name servers that are not inside (port 53)",
    "machine": "new connections to the machine itself",
    "upstream": "the outside registry's network",
    "metadata": "link-local addresses, where clouds keep their metadata",
    "private": "other private addresses",
    "public": "everything else",
    "ipv6": "IPv6, which is off inside",
}


def ruleset(settings: Settings, outside: IPv4Network) -> str:
    """The table: created anew and filled in one transaction."""
    inside = settings.subnet
    counters = "\n".join(f'  counter {kind} {{ comment "{why}"; }}' for kind, why in KINDS.items())
    return f"""
table inet {settings.table} {{
{counters}
  chain from_inside {{
    type filter hook prerouting priority -150; policy accept;
    iifname != "{settings.bridge}" accept
    meta nfproto ipv6 ip6 daddr {{ ff00::/8, fe80::/10 }} drop
    meta nfproto ipv6 counter name ipv6 drop
    ct state established,related accept
    ip daddr {{ 224.0.0.0/4, 255.255.255.255, {inside.broadcast_address} }} drop
    meta l4proto {{ tcp, udp }} th dport 53 ip daddr != {inside} counter name dns drop
    fib daddr type local ct state new meta l4proto {{ tcp, udp }} th dport 53 counter name dns drop
    fib daddr type local ct state new counter name machine drop
    fib daddr type local accept
    ip daddr {inside} accept
    ip daddr {outside} counter name upstream drop
    ip daddr 169.254.0.0/16 counter name metadata drop
    ip daddr {{ 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 100.64.0.0/10 }} counter name private drop
    counter name public drop
  }}
}}
"""


def table_exists(settings: Settings) -> bool:
    return run(as_root(["nft", "list", "table", "inet", settings.table]), check=False).returncode == 0


def ensure_counter(settings: Settings, outside: IPv4Network, steps: Steps) -> None:
    if table_exists(settings):
        return
    with steps.step(f"egress counter: nftables table {settings.table}"):
        run(as_root(["nft", "-f", "-"]), stdin=ruleset(settings, outside).encode())


def remove_counter(settings: Settings, steps: Steps) -> None:
    if table_exists(settings):
        with steps.step(f"removing nftables table {settings.table}"):
            run(as_root(["nft", "delete", "table", "inet", settings.table]))


def read_counters(listing: str) -> dict[str, int]:
    """Packets by kind, from `nft -j list counters`."""
    found = {
        item["counter"]["name"]: int(item["counter"]["packets"])
        for item in json.loads(listing)["nftables"]
        if "counter" in item
    }
    return {kind: found.get(kind, 0) for kind in KINDS}


def reverse_address(name: str) -> IPv4Address | None:
    """The address that a reverse look-up of an IPv4 address asks about."""
    found = re.fullmatch(r"(\d+)\.(\d+)\.(\d+)\.(\d+)\.in-addr\.arpa", name)
    if not found:
        return None
    try:
        return IPv4Address(".".join(reversed(found.groups())))
    except ValueError:
        return None


def is_outside_name(name: str, inside: IPv4Network, services: frozenset[str] = frozenset()) -> bool:
    """Whether a name that the resolver was asked for is one of the outside world.

    Not outside: the inside zone and the cluster's zone, with whatever a search list put before them; names of one
    label (a host's own short name); the other way round, `quay.io.airgap.internal`, is a search list's doing and its
    plain form is asked for as well. A Service's short form (`name.namespace`, `name.namespace.svc`) reaches the
    resolver where a program does not use the search list. Reverse look-ups count by the address.
    """
    name = name.rstrip(".").lower()
    if not name or "." not in name:
        return False
    if any(name == zone or name.endswith("." + zone) for zone in (DOMAIN, CLUSTER_DOMAIN, "localhost", "local")):
        return False
    if name.endswith(".svc") or name in services:
        return False
    if name.endswith(".ip6.arpa"):
        return False
    if name.endswith(".in-addr.arpa"):
        address = reverse_address(name)
        return address is not None and address not in inside and not address.is_loopback
    return True


def count_names(lines: Iterable[str], inside: IPv4Network, services: frozenset[str] = frozenset()) -> dict[str, int]:
    """Outside names with the number of times each was asked for, from the resolver's log."""
    counted: Counter[str] = Counter()
    for line in lines:
        found = re.search(r"asked client=(\S+) type=(\S+) name=(\S+)", line)
        if found and is_outside_name(found.group(3), inside, services):
            counted[found.group(3).rstrip(".").lower()] += 1
    return dict(sorted(counted.items()))


def zero_file(settings: Settings) -> Path:
    return settings.state / "egress-zero"


def report(settings: Settings) -> dict[str, Any]:
    """Packets by kind and outside names asked for, since the counter was last set to zero."""
    packets = read_counters(
        run(as_root(["nft", "-j", "list", "counters", "table", "inet", settings.table])).stdout.decode()
    )
    since = zero_file(settings).read_text().strip() if zero_file(settings).exists() else "1970-01-01T00:00:00Z"
    # The resolver writes its log to both streams; names are on standard output.
    log = docker("logs", "--since", since, settings.container("resolver"))
    names = count_names(log.splitlines(), settings.subnet, service_names(settings))
    return {
        "since": since,
        "packets": packets,
        "packets_total": sum(packets.values()),
        "names": names,
        "names_total": sum(names.values()),
    }


def service_names(settings: Settings) -> frozenset[str]:
    """`name.namespace` of every Service, as far as the API server answers."""
    template = '{range .items[*]}{.metadata.name}.{.metadata.namespace}{"\\n"}{end}'
    return frozenset(
        kubectl(
            settings, "get", "services", "-A", "-o", f"jsonpath={template}", "--request-timeout=5s", check=False
        ).split()
    )


def zero(settings: Settings) -> None:
    run(as_root(["nft", "reset", "counters", "table", "inet", settings.table]))
    zero_file(settings).write_text(datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ") + "\n")
