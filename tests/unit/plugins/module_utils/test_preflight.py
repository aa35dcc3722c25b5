# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from ansible_collections.airgap.speech.plugins.module_utils.bundle.lock import Blob, Image, Lock, Model, ModelFile
from ansible_collections.airgap.speech.plugins.module_utils.preflight import (
    Findings,
    Need,
    check_capacity,
    check_cluster,
    check_hosts,
    check_space,
    check_unseen_nodes,
    check_volumes,
    cluster_node,
    host_names,
    node_rooms,
    version_of,
)
from ansible_collections.airgap.speech.plugins.module_utils.sizing.disk import ReleaseDisk, Volume, places


def probe(skew=0.0, **paths):
    return {"epoch": 1.0, "hostname": "h", "clock": {"skew": skew}, "paths": paths}


def room(free, device=1):
    return {"device": device, "nearest": "/var", "free_bytes": free}


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (
            {"unreachable": True, "msg": "Failed to connect\nvia ssh"},
            "host w1: cannot be reached: Failed to connect via ssh",
        ),
        ({"failed": True, "msg": "no python"}, "host w1: cannot be looked at: no python"),
        ({}, "host w1: was not looked at"),
        (None, "host w1: was not looked at"),
        (probe(31.5), "host w1: its clock is 31.5 s ahead of the bastion's (allowed: 30 s)"),
        (probe(-3600), "host w1: its clock is 3600.0 s behind the bastion's"),
    ],
)
def test_hosts_that_are_not_well(seen, words):
    findings = Findings()
    check_hosts(findings, {"w1": seen, "w2": probe()}, 30)
    (failure,) = findings.failures
    assert words in str(failure)
    assert failure.next_step


def test_hosts_that_are_well():
    findings = Findings()
    assert set(check_hosts(findings, {"w1": probe(29.9), "w2": probe(-1)}, 30)) == {"w1", "w2"}
    assert not findings.failures
    assert findings.passed[1] == "clocks agree with the bastion's within 30 s (worst: 29.9 s)"


@pytest.mark.parametrize(
    ("version", "minimum", "well"),
    [
        ("v1.36.3", "1.30", True),
        ("v1.30.0", "1.30", True),
        ("v1.29.14", "1.30", False),
        ("v1.9.0", "1.30", False),
        ("v1.31.2+k3s1", "1.31", True),
        ("unknown", "1.30", False),
    ],
)
def test_versions_of_the_cluster(version, minimum, well):
    findings = Findings()
    check_cluster(findings, version, minimum)
    assert bool(findings.passed) is well
    assert bool(findings.failures) is not well


def test_versions_with_letters():
    assert version_of("v1.27+") == (1, 27)
    assert version_of("36") is None


def test_paths_on_one_file_system_share_its_room():
    probes = {"w1": probe(**{"/images": room(100), "/models": room(100)})}
    needs = [Need("w1", "/images", 60, "images"), Need("w1", "/models", 60, "models")]
    findings = Findings()
    check_space(findings, needs, probes)
    (failure,) = findings.failures
    assert "has 100 B free, and 120 B are needed (60 B in /images for images, 60 B in /models for models)" in str(
        failure
    )
    probes["w1"]["paths"]["/models"] = room(100, device=2)
    findings = Findings()
    check_space(findings, needs, probes)
    assert not findings.failures
    assert findings.passed == ["disk is enough for the bundle on 1 hosts"]


def test_a_host_that_did_not_answer_is_not_judged_twice():
    findings = Findings()
    check_space(findings, [Need("gone", "/images", 60, "images")], {})
    assert not findings.failures


def test_a_path_that_was_not_looked_at_is_said():
    findings = Findings()
    check_space(findings, [Need("w1", "/images", 60, "images")], {"w1": probe()})
    assert "the file system of /images was not looked at" in str(findings.failures[0])


def digest(letter):
    return "sha256:" + letter * 64


LOCK = Lock(
    created="2026-11-21T00:00:00Z",
    collection_version="0.1.0",
    images=[Image("quay.io/x:1", digest("a"), 100), Image("quay.io/y:1", digest("b"), 10)],
    models=[Model("models/m:1", "m", "1", digest("c"), 60, [ModelFile("f", digest("d"), 50)])],
    blobs=[Blob(digest("a"), 500)],
)


def node(name, *, images=(), address="", capacity="", pressure=""):
    conditions = [{"type": "DiskPressure", "status": "True", "message": pressure}] if pressure else []
    return {
        "metadata": {"name": name},
        "status": {
            "images": [{"names": list(images)}],
            "addresses": [{"address": address}],
            "capacity": {"ephemeral-storage": capacity} if capacity else {},
            "conditions": conditions,
        },
    }


@pytest.mark.parametrize(("host", "found"), [("w1.airgap.internal", True), ("10.0.0.1", True), ("w2", False)])
def test_a_host_is_told_by_its_names_and_addresses(host, found):
    there = node("w1", address="10.0.0.1")
    assert bool(cluster_node(host_names(probe(), host), [there])) is found


def test_a_host_without_a_name_of_its_own_is_no_node():
    assert cluster_node(host_names({}, "w2"), [node("")]) == {}


def test_images_that_a_node_holds_take_no_room():
    held = node("w1", images=["quay.io/x@" + digest("a"), "quay.io/x:1"])
    assert [room.size for room in node_rooms(LOCK, [], held, 2.0, 1)] == [20]
    assert [room.size for room in node_rooms(LOCK, [], {}, 2.0, 1)] == [220]
    there = ReleaseDisk("speech", "ns", models="node_directory")
    assert [room.size for room in node_rooms(LOCK, [there], held, 2.0, 1)] == [20, 100]


def claim(name, given="", asked=""):
    return {
        "metadata": {"namespace": "ns", "name": name},
        "spec": {"resources": {"requests": {"storage": asked}}} if asked else {},
        "status": {"capacity": {"storage": given}} if given else {},
    }


JOURNAL = Volume("journal-0", "usage records", 2**30, "the chart's default")


@pytest.mark.parametrize(
    ("claims", "made", "failure", "passed"),
    [
        ([claim("speech-models", given="100")], "1", "", "1 volume(s) are large enough"),
        ([claim("speech-models", asked="100")], "1", "", "1 volume(s) are large enough"),
        (
            [claim("speech-models", given="99", asked="200")],
            "1",
            "volume ns/speech-models: it has 99 B, and 100 B are needed (100 B for models: 2 copies: the version in"
            " use, and 1 beside it while one is replaced); enlarge the claim to 100 B or more",
            "",
        ),
        ([], "100", "", "1 volume(s) are large enough"),
        ([], "99", "it will be made with 99 B, and 100 B are needed", ""),
        ([claim("other", given="1Gi")], "99", "set model_preload_pvc_size to 100 B or more", ""),
    ],
)
def test_claims_of_models(claims, made, failure, passed):
    findings = Findings()
    check_volumes(findings, places(LOCK, [ReleaseDisk("speech", "ns")]), claims, made)
    assert failure in " ".join(str(item) for item in findings.failures)
    assert bool(findings.failures) is bool(failure)
    assert passed in " ".join(findings.passed)


@pytest.mark.parametrize(
    ("claims", "failure", "passed"),
    [
        ([claim("journal-0", given="1Gi")], "", "1 volume(s) are large enough"),
        ([claim("journal-0", given="1G")], "volume ns/journal-0: it has 953.7 MiB, and 1.0 GiB are needed", ""),
        ([], "", "volume ns/journal-0: not there yet; 1.0 GiB for usage records: the chart's default will be needed"),
    ],
)
def test_claims_of_a_journal(claims, failure, passed):
    findings = Findings()
    check_volumes(findings, places(LOCK, [ReleaseDisk("s", "ns", "image", volumes=[JOURNAL])]), claims, "1")
    assert failure in " ".join(str(item) for item in findings.failures)
    assert bool(findings.failures) is bool(failure)
    assert passed in " ".join(findings.passed)


@pytest.mark.parametrize(
    ("found", "failure"),
    [
        (node("n", capacity="1Ki"), ""),
        (node("n", capacity="999"), "node n: its whole file system has 999 B, and 1000 B are needed for the bundle"),
        (node("n"), ""),
        (node("w1", capacity="1"), ""),
        (node("n", capacity="1Ki", pressure="the\ndisk is full"), "it reports DiskPressure: the disk is full"),
        (node("w1", pressure="full"), "node w1: it reports DiskPressure: full"),
    ],
)
def test_nodes_that_are_no_hosts_of_the_inventory(found, failure):
    findings = Findings()
    check_unseen_nodes(findings, [found], {"w1"}, 1000)
    assert failure in " ".join(str(item) for item in findings.failures)
    assert bool(findings.failures) is bool(failure)
    assert bool(findings.passed) is (found["metadata"]["name"] == "n")


def capacity(*, remedies=(), **answers):
    """A result of the module capacity, with an answer (a verdict, or a map) to each question."""
    found = {
        question: {"pods": 2, "nodes": 3, **(answer if isinstance(answer, dict) else {"verdict": answer})}
        for question, answer in answers.items()
    }
    return {"message": "capacity: the table", "answers": found, "remedies": [{"text": text} for text in remedies]}


SHORT = [
    {
        "workload": "Deployment speech/app",
        "pods": 1,
        "message": "0/3 nodes are available: 3 Insufficient cpu.",
        "details": ["d"],
    },
    {"workload": "Job speech/b", "pods": 2, "message": "0/3 nodes are available: 3 Insufficient cpu.", "details": []},
]


def short(verdict, **more):
    return {"verdict": verdict, "shortfalls": SHORT, **more}


@pytest.mark.parametrize(
    ("found", "required", "allow", "words"),
    [
        (
            capacity(now=short("does_not_fit")),
            ["now"],
            True,
            "capacity, with the replicas asked: the pods do not fit on the nodes: pending 1 of Deployment speech/app,"
            " 2 of Job speech/b: 0/3 nodes are available: 3 Insufficient cpu.; free room, add nodes, or ask",
        ),
        (
            capacity(now=short("does_not_fit"), remedies=["2 more node(s) like gpu", "3 like cpu"]),
            ["now"],
            False,
            "; what would help: 2 more node(s) like gpu; or 3 like cpu",
        ),
        (capacity(now=short("order_dependent")), ["now"], False, "or accept it with preflight_allow_order_dependent"),
        (
            capacity(now="fits", lost_nodes=short("does_not_fit", lost=["w1", "w2"])),
            ["now", "lost_nodes"],
            False,
            "capacity, with nodes lost: the pods do not fit on the nodes without w1, w2: pending 1 of Deployment",
        ),
        (
            capacity(now="fits", rolling_update={"verdict": "does_not_fit"}),
            ["rolling_update"],
            False,
            "capacity, during a rolling update: the pods do not fit on the nodes:; free room",
        ),
    ],
)
def test_verdicts_that_stand_in_the_way(found, required, allow, words):
    findings = Findings()
    check_capacity(findings, found, required, allow)
    (failure,) = findings.failures
    assert words in str(failure)
    assert "capacity: the table" in findings.message()


@pytest.mark.parametrize(
    ("found", "allow", "words"),
    [
        (
            capacity(now={"verdict": "fits", "not_modelled": ["DRA"]}),
            False,
            "capacity, with the replicas asked: fits, 2 pods on 3 nodes; not modelled: DRA",
        ),
        (
            capacity(now="order_dependent"),
            True,
            "capacity, with the replicas asked: order_dependent, 2 pods on 3 nodes",
        ),
        (
            capacity(evict={"verdict": "fits", "victims": [{"pod": "a/b", "node": "w1"}]}),
            False,
            "capacity, by evicting lower priorities: fits, 2 pods on 3 nodes by evicting a/b on w1",
        ),
        (
            capacity(autoscaled=short("does_not_fit")),
            False,
            "capacity, at the autoscalers' maximum: does_not_fit, which stands in nobody's way: pending 1 of",
        ),
    ],
)
def test_verdicts_that_are_told(found, allow, words):
    findings = Findings()
    check_capacity(findings, found, ["now"], allow)
    assert not findings.failures
    assert findings.passed[0].startswith(words)
    assert findings.message().endswith("\n\ncapacity: the table")


def test_what_is_not_modelled_is_told_once():
    findings = Findings()
    fits = {"verdict": "fits", "not_modelled": ["DRA"]}
    check_capacity(findings, capacity(now=fits, autoscaled=fits), ["now"], False)
    assert [line.count("not modelled: DRA") for line in findings.passed] == [1, 0]


def test_of_other_questions_the_text_has_the_first_line():
    found = capacity(now="fits", autoscaled={"verdict": "fits", "message": "at the maximum: fits\n- much more"})
    found["message"] = "capacity: fits\ntable\nat the maximum: fits\n- much more"
    findings = Findings()
    check_capacity(findings, found, ["now"], False)
    assert findings.texts == ["capacity: fits\ntable\nat the maximum: fits"]


def test_a_cluster_that_was_not_asked_is_not_judged():
    findings = Findings()
    check_capacity(findings, {}, ["now"], False)
    assert findings.message() == "preflight: everything checked is well"


def test_the_message_tells_everything():
    findings = Findings()
    findings.fail("a", "b", "c")
    findings.fail("d", "e", "f")
    assert findings.message() == (
        "preflight: 2 thing(s) must be put right before anything is changed:\n1. a: b; c\n2. d: e; f"
    )
    assert Findings(passed=["x"]).message() == "preflight: everything checked is well\n- x"
