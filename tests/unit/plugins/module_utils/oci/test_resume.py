# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A mirror that is killed, cut and slow, against the real registry: it goes on, inside a blob too."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from ansible_collections.airgap.speech.plugins.module_utils.oci.body import ExtentsBody
from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import Layout
from ansible_collections.airgap.speech.plugins.module_utils.oci.registry import Registry
from ansible_collections.airgap.speech.plugins.module_utils.oci.sessions import Sessions
from ansible_collections.airgap.speech.plugins.module_utils.oci.transfer import PushItem, plan_push, push
from tests.unit.fault_proxy import FaultProxy
from tests.unit.plugins.module_utils.oci.samples import add_image, noise
from tests.unit.registry_server import RegistryServer, plain_registry_server  # noqa: F401 - fixture

MIB = 1 << 20
PROCESS = Path(__file__).with_name("mirror_process.py")


@pytest.fixture(name="layout")
def a_layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path / "oci")
    layout.create()
    return layout


def client(server: RegistryServer, port: int = 0) -> Registry:
    return Registry(
        f"localhost:{port or server.port}", plain_http=True, sleep=lambda seconds: time.sleep(min(seconds, 0.3))
    )


def images(layout: Layout) -> list[PushItem]:
    """Six images with a base of 24 MiB in common and layers of 1 to 12 MiB."""
    base = noise("base", 24 * MIB)
    return [
        PushItem(add_image(layout, [base, noise(name, (1 + 2 * n) * MIB)], note=name), f"quay.io/airgap/{name}", "1")
        for n, name in enumerate("abcdef")
    ]


def whole(server: RegistryServer, layout: Layout, items: list[PushItem]) -> int:
    """How many of the tags are there; each that is has all of its blobs and manifests."""
    registry, there = client(server), 0
    for item in items:
        found = registry.head_manifest(item.repo, item.ref)
        if found is None:
            continue
        there += 1
        assert found.digest == item.digest
        for descriptor in layout.walk(item.digest):
            if descriptor.is_manifest:
                assert registry.head_manifest(item.repo, descriptor.digest) is not None
            else:
                assert registry.has_blob(item.repo, descriptor.digest)
    return there


def test_killed_at_twenty_random_moments(
    plain_registry_server: RegistryServer,  # noqa: F811
    layout: Layout,
    tmp_path: Path,
) -> None:
    items = images(layout)
    seed = random.randrange(1 << 30)  # noqa: S311 - which moments
    print(f"seed {seed}")
    moments = random.Random(seed)  # noqa: S311
    listed = tmp_path / "items.json"
    listed.write_text(json.dumps([[item.digest, item.repo, item.tag] for item in items]))
    kept = tmp_path / "sessions.json"
    began_inside = 0
    with FaultProxy(plain_registry_server.port, rate=25 * MIB) as proxy:
        # The registry names one host in its answers, and the sessions are by the registry's name.
        command = [sys.executable, str(PROCESS), str(layout.path), str(listed), f"localhost:{proxy.port}", str(kept)]
        for _turn in range(20):
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            time.sleep(moments.uniform(0.1, 0.9))
            process.kill()
            process.communicate()
            # What the killed run had sent may still be on its way: the next one does not know of it.
            proxy.settle()
            whole(plain_registry_server, layout, items)
            sessions = Sessions(str(kept))
            with client(plain_registry_server, proxy.port) as registry:
                plan = plan_push(layout, items, registry, sessions=sessions)
            began_inside += sum(1 for upload in plan.uploads if upload.place and upload.place.offset)
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    said = json.loads(done.stdout)
    assert said["sent"] == said["planned"]
    assert whole(plain_registry_server, layout, items) == len(items)
    assert not plan_push(layout, items, client(plain_registry_server)).changed
    assert began_inside, "no kill fell inside a blob"
    # No blob that the registry had taken was sent again.
    log = plain_registry_server.log.read_text()
    taken = Counter(re.findall(r'"PUT [^"]*digest=(sha256:[0-9a-f]{64})[^"]*" 201 ', log))
    assert taken
    assert set(taken.values()) == {1}
    assert not json.loads(kept.read_text())["uploads"]


def test_goes_on_inside_the_blob_and_says_so_before(
    plain_registry_server: RegistryServer,  # noqa: F811
    layout: Layout,
    tmp_path: Path,
) -> None:
    items = images(layout)[:1]
    kept = str(tmp_path / "sessions.json")
    with FaultProxy(plain_registry_server.port, cuts=[20 * MIB] * 8) as proxy:
        registry = client(plain_registry_server, proxy.port)
        registry.attempts = 1
        with pytest.raises(Exception, match=r"the connection was cut .*run again: it goes on here"):
            push(plan_push(layout, items, registry, 1), registry, 1, sessions=Sessions(kept))
    assert whole(plain_registry_server, layout, items) == 0
    uploads = json.loads(Path(kept).read_text())["uploads"]
    assert list(uploads) == [f"localhost:{proxy.port}/quay.io/airgap/a@{max_blob(layout, items[0])}"]
    again = Sessions(kept)
    for name, location in uploads.items():
        ours, theirs = str(plain_registry_server.port), str(proxy.port)
        again.keep(name.replace(theirs, ours), location.replace(theirs, ours, 1))
    registry = client(plain_registry_server)
    plan = plan_push(layout, items, registry, sessions=again)
    first = plan.uploads[0]
    assert first.place is not None
    assert 15 * MIB < first.place.offset < 24 * MIB
    assert plan.bytes == sum(d.size for d in layout.walk(items[0].digest)) - first.place.offset
    done = push(plan, registry, sessions=again)
    assert (done.bytes_sent, done.bytes_resent) == (plan.bytes, 0)
    assert whole(plain_registry_server, layout, items) == 1


def max_blob(layout: Layout, item: PushItem) -> str:
    return max(layout.walk(item.digest), key=lambda descriptor: descriptor.size).digest


def test_cut_connections_are_taken_up_where_they_broke(
    plain_registry_server: RegistryServer,  # noqa: F811
    layout: Layout,
) -> None:
    items = images(layout)
    with FaultProxy(plain_registry_server.port, cuts=[10 * MIB, 7 * MIB, 20 * MIB]) as proxy:
        registry = client(plain_registry_server, proxy.port)
        plan = plan_push(layout, items, registry)
        done = push(plan, registry)
    assert done.bytes_sent == plan.bytes
    # What was in the buffers of the way is sent again, not the 37 MiB before the cuts.
    assert done.bytes_resent < 18 * MIB
    assert whole(plain_registry_server, layout, items) == len(items)


def test_what_an_earlier_run_left_may_be_wrong(plain_registry_server: RegistryServer, layout: Layout) -> None:  # noqa: F811
    items = images(layout)[:1]
    registry = client(plain_registry_server)
    plan = plan_push(layout, items, registry)
    digest = plan.uploads[0].digest
    # Other bytes under this digest's session: the registry refuses them at the end, and then takes the right ones.
    other = Layout(layout.path.parent / "other")
    other.create()
    wrong = other.add_bytes(noise("wrong", 24 * MIB))[0]
    sessions = Sessions()
    registry.upload(
        plan.uploads[0].repo, digest, 24 * MIB, ExtentsBody(other.extents(wrong)), sessions=sessions, until=9 * MIB
    )
    plan = plan_push(layout, items, registry, sessions=sessions)
    assert plan.uploads[0].place is not None
    assert plan.uploads[0].place.offset == 9 * MIB
    push(plan, registry, sessions=sessions)
    assert whole(plain_registry_server, layout, items) == 1
