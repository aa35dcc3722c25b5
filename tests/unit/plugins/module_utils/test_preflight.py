# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from ansible_collections.airgap.speech.plugins.module_utils.preflight import (
    Findings,
    Need,
    check_capacity,
    check_cluster,
    check_hosts,
    check_space,
    image_need,
    model_need,
    node_images,
    version_of,
)


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


LOCK = {"images": [{"digest": "sha256:a", "size": 100}, {"digest": "sha256:b", "size": 10}], "models": [{"size": 50}]}


def test_images_that_a_node_holds_take_no_room():
    nodes = [
        {
            "metadata": {"name": "w1"},
            "status": {
                "images": [{"names": ["quay.io/x@sha256:a", "quay.io/x:1"]}],
                "addresses": [{"address": "10.0.0.1"}],
            },
        }
    ]
    assert node_images(probe(), "w1.airgap.internal", nodes) == ["quay.io/x@sha256:a", "quay.io/x:1"]
    assert node_images(probe(), "10.0.0.1", nodes)
    assert node_images(probe(), "w2", nodes) == []
    assert image_need(LOCK, ["quay.io/x@sha256:a", "quay.io/x:1"]) == 10
    assert image_need(LOCK, []) == 110


def test_models_that_are_there_take_no_room():
    assert model_need(LOCK, 0) == 50
    assert model_need(LOCK, 60) == 0


def release(verdict, **more):
    result = {"verdict": verdict, "pods": 2, "nodes": 3, **more}
    return {"name": "speech", "namespace": "speech", "result": result}


SHORT = [
    {
        "workload": "Deployment speech/app",
        "pods": 1,
        "message": "0/3 nodes are available: 3 Insufficient cpu.",
        "details": ["d"],
    }
]


@pytest.mark.parametrize(
    ("entry", "allow", "words"),
    [
        (
            release("does_not_fit", shortfalls=SHORT),
            True,
            "do not fit on the nodes: Deployment speech/app: 1 pod(s) pending: 0/3",
        ),
        (release("order_dependent", shortfalls=SHORT), False, "preflight_allow_order_dependent"),
    ],
)
def test_releases_that_do_not_fit(entry, allow, words):
    findings = Findings()
    check_capacity(findings, [entry], allow)
    assert words in str(findings.failures[0])
    assert not findings.passed


@pytest.mark.parametrize("entry", [release("fits", not_modelled=["DRA"]), release("order_dependent")])
def test_releases_that_fit(entry):
    findings = Findings()
    check_capacity(findings, [entry], True)
    assert not findings.failures
    assert findings.passed[0].startswith("release speech in namespace speech: ")


def test_the_message_tells_everything():
    findings = Findings()
    findings.fail("a", "b", "c")
    findings.fail("d", "e", "f")
    assert findings.message() == (
        "preflight: 2 thing(s) must be put right before anything is changed:\n1. a: b; c\n2. d: e; f"
    )
    assert Findings(passed=["x"]).message() == "preflight: everything checked is well\n- x"
