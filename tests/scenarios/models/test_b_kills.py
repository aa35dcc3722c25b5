# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kills at random moments while a pod reads without pause: it ends equal, and no part of a model is ever seen.

MODEL_KILLS says how often (tests/full takes 20).
"""

from __future__ import annotations

import os
import random
from concurrent.futures import ThreadPoolExecutor

from tests.integration.inside import Inside
from tests.scenarios.models import ways
from tests.scenarios.models.ways import (
    DIRECTORY,
    given,
    kill_while_placing,
    only,
    placed,
    playbook,
    reading,
    sums,
)
from tests.scenarios.way import forget_image

KILLS = int(os.environ.get("MODEL_KILLS") or "3")
SIZE = 96 << 20


def test_the_directory_of_a_node(inside: Inside) -> None:
    old, new = sums(inside, "1"), sums(inside, "2")
    with reading(inside, "models-directory", "reader", ways.node_directory()) as reader:
        reader.sees(old["nova.dg"])
        pattern = f"{DIRECTORY}/.versions/nova/*.partial/nova.dg"
        limit = ("--limit", f"{ways.WORKER}.airgap.internal")
        count = 0
        while count < KILLS:
            more, run = kill_while_placing(
                inside,
                pattern,
                SIZE,
                KILLS - count,
                *limit,
                model_preload_files=[given("2")],
            )
            count += more
            if count < KILLS:  # it came through between two kills: once more from the old version
                back = playbook(inside, *limit, model_preload_keep=0)
                assert back.rc == 0, back.text
        assert run.rc == 0, run.text
        reader.sees(new["nova.dg"])
        seen = reader.seen()
    assert count == KILLS
    assert set(seen) <= {old["nova.dg"], new["nova.dg"]}, seen
    assert placed(inside, f"{DIRECTORY}/nova") == new


def test_a_claim(inside: Inside) -> None:
    old, new = sums(inside, "1"), sums(inside, "2")
    root = ways.claim_path(inside, "models-claim", "claim-models")
    limit, releases = ("--limit", "bastion"), {"airgap_releases": only("claim", "pvc")}
    with reading(inside, "models-claim", "reader", ways.claim("claim-models")) as reader:
        reader.sees(old["nova.dg"])
        pattern = f"{root}/.versions/nova/*.partial/nova.dg"
        count = 0
        while count < KILLS:
            more, run = kill_while_placing(
                inside, pattern, SIZE, KILLS - count, *limit, **releases, model_preload_files=[given("2")]
            )
            count += more
            if count < KILLS:
                back = playbook(inside, *limit, **releases, model_preload_keep=0)
                assert back.rc == 0, back.text
        assert run.rc == 0, run.text
        reader.sees(new["nova.dg"])
        seen = reader.seen()
    assert count == KILLS
    assert set(seen) <= {old["nova.dg"], new["nova.dg"]}, seen
    assert placed(inside, f"{root}/nova") == new


def kill_while_pulling(inside: Inside, stop: str, moments: list[int]) -> int:
    """Kill containerd or the registry at each of these moments of a pull; how often it was done."""
    dice = random.Random()  # noqa: S311 - which one, and for how long
    killed = before = 0
    for moment in moments:
        host, unit = dice.choice([(ways.WORKER, "containerd"), ("registry", ways.PULLS)])
        # What is in the runtime's store stays there; of the registry, what it sent since the kill before is counted.
        wanted, before = (moment if unit == "containerd" else moment - before), moment
        pause = f"{dice.uniform(0, 2):.2f}"
        done = inside.on(host, "python3", "-c", ways.PULL_KILLER, unit, stop, str(wanted), pause)
        assert done.rc == 0, done.text
        killed += int(done.text.split()[-1])
    return killed


def forget(inside: Inside, digest: str) -> None:
    """Have the runtime know nothing of an image, so that the next pod pulls it anew."""
    forget_image(inside, ways.WORKER, digest)
    # The lease of a pull that was killed keeps what it had for a day.
    for line in inside.on(ways.WORKER, "ctr", "-n", "k8s.io", "leases", "ls").text.splitlines():
        if "containerd.io/gc.expire=" in line:
            lease = line.split()[0]
            assert inside.on(ways.WORKER, "ctr", "-n", "k8s.io", "leases", "rm", "--sync", lease).rc == 0


def test_image_volumes_with_containerd_and_the_registry_killed(inside: Inside) -> None:
    """The runtime's own store holds these: what it took in half is never mounted."""
    dice = random.Random()  # noqa: S311 - moments of kills
    stop = "/tmp/stop-killing"
    old, new = sums(inside, "1"), sums(inside, "2")
    digests = [inside.registry("HEAD", f"models/nova/manifests/{version}")[1] for version in ("1", "2")]
    assert all(digests), digests
    limit, releases = ("--limit", "bastion"), {"airgap_releases": only("mounted", "image")}
    assert playbook(inside, *limit, **releases).rc == 0  # the release mounts version 1 again
    with reading(inside, "models-mounted", "reader", ways.image(digests[0]), "nova.dg") as reader:
        reader.sees(old["nova.dg"])
        count = 0
        while count < KILLS:
            inside.kubectl("-n", "models-mounted", "delete", "jobs", "--all", "--cascade=foreground", "--wait=true")
            forget(inside, digests[1])
            for host in (ways.WORKER, "registry"):
                inside.on(host, "rm", "-f", stop)
            moments = [dice.randrange(1 << 20, SIZE // 2), dice.randrange(SIZE // 2, SIZE - (4 << 20))]
            with ThreadPoolExecutor(max_workers=1) as pool:
                killer = pool.submit(kill_while_pulling, inside, stop, moments)
                try:
                    run = playbook(inside, *limit, **releases, model_preload_files=[given("2")])
                finally:
                    for host in (ways.WORKER, "registry"):
                        inside.on(host, "touch", stop)
                killed = killer.result()
            assert run.rc == 0, run.text
            assert killed > 0, "no pull was seen"
            count += killed
        seen = reader.seen()
    assert seen == [old["nova.dg"]], seen
    with reading(inside, "models-mounted", "reader-new", ways.image(digests[1]), "nova.dg") as reader:
        reader.sees(new["nova.dg"])
        assert reader.seen() == [new["nova.dg"]]
    print(f"killed {count} times while the image was pulled")
