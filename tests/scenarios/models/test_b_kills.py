# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kills at random moments while a pod reads without pause: it ends equal, and no part of a model is ever seen.

MODEL_KILLS says how often (tests/full takes 20).
"""

from __future__ import annotations

import os
import random
import time

from tests.integration.inside import Inside
from tests.scenarios.models import ways
from tests.scenarios.models.ways import (
    DIRECTORY,
    Background,
    given,
    kill_while_placing,
    placed,
    playbook,
    reading,
    sums,
)

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
    with reading(inside, "models-claim", "reader", ways.claim("claim-models")) as reader:
        reader.sees(old["nova.dg"])
        pattern = f"{root}/.versions/nova/*.partial/nova.dg"
        count = 0
        while count < KILLS:
            more, run = kill_while_placing(
                inside, pattern, SIZE, KILLS - count, "--limit", "bastion",
                model_preload_files=[given("2")],
            )  # fmt: skip
            count += more
            if count < KILLS:
                back = playbook(inside, "--limit", "bastion", model_preload_keep=0)
                assert back.rc == 0, back.text
        assert run.rc == 0, run.text
        reader.sees(new["nova.dg"])
        seen = reader.seen()
    assert count == KILLS
    assert set(seen) <= {old["nova.dg"], new["nova.dg"]}, seen
    assert placed(inside, f"{root}/nova") == new


def test_image_volumes_with_containerd_and_the_registry_killed(inside: Inside) -> None:
    """The runtime's own store holds these: what it took in half is never mounted."""
    dice = random.Random()  # noqa: S311 - moments of kills
    old, new = sums(inside, "1"), sums(inside, "2")
    listed = inside.on(ways.WORKER, "ctr", "-n", "k8s.io", "images", "list", "-q").text.split()
    before = {name.rpartition("@")[2] for name in listed if "/models/nova@" in name}
    playbook(inside, "--limit", "bastion")  # the release mounts version 1 again
    digests = [digest for digest in before if digest]
    assert digests
    with reading(inside, "models-mounted", "reader", ways.image(digests[0]), "nova.dg") as reader:
        reader.sees(reader.seen()[0])
        first = reader.seen()[0]
        count = 0
        while count < KILLS:
            # Out of the runtime, so that every turn pulls anew.
            inside.kubectl("-n", "models-mounted", "delete", "jobs", "--all", "--wait=true")
            for name in inside.on(ways.WORKER, "ctr", "-n", "k8s.io", "images", "list", "-q").text.split():
                if "models/nova@" in name and digests[0] not in name:
                    inside.on(ways.WORKER, "ctr", "-n", "k8s.io", "images", "rm", "--sync", name)
            run = Background(inside, "--limit", "bastion", model_preload_files=[given("2")])
            while run.is_alive() and count < KILLS:
                time.sleep(dice.uniform(1, 6))
                host, unit = dice.choice([(ways.WORKER, "containerd"), ("registry", ways.PULLS)])
                inside.on(host, "systemctl", "kill", "--signal=KILL", unit)
                time.sleep(dice.uniform(0, 2))
                assert inside.on(host, "systemctl", "start", unit).rc == 0
                count += 1
            run.join()
            assert run.done is not None
        last = playbook(inside, "--limit", "bastion", model_preload_files=[given("2")])
        assert last.rc == 0, last.text
        seen = reader.seen()
    assert seen == [first]
    assert first == old["nova.dg"]
    listed = inside.on(ways.WORKER, "ctr", "-n", "k8s.io", "images", "list", "-q").text.split()
    digest = next(n.rpartition("@")[2] for n in listed if "/models/nova@" in n and digests[0] not in n)
    with reading(inside, "models-mounted", "reader-new", ways.image(digest), "nova.dg") as reader:
        reader.sees(new["nova.dg"])
        assert reader.seen() == [new["nova.dg"]]
