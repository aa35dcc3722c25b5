# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.airgap.speech.plugins.module_utils import diagnosis


def pod(**status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "speech-stt-1"}, "status": status}


def container(state: dict[str, Any], last: dict[str, Any] | None = None, ready: bool = False) -> dict[str, Any]:
    return {"name": "stt", "state": state, "lastState": {"terminated": last} if last else {}, "ready": ready}


READY = [
    (pod(phase="Running", conditions=[{"type": "Ready", "status": "True"}]), True),
    (pod(phase="Running", conditions=[{"type": "Ready", "status": "False"}]), False),
    (pod(phase="Succeeded", conditions=[{"type": "Ready", "status": "False"}]), True),
    (pod(phase="Pending"), False),
    ({"metadata": {"name": "x"}}, False),
]


@pytest.mark.parametrize(("found", "ready"), READY)
def test_is_ready(found: dict[str, Any], ready: bool) -> None:
    assert diagnosis.is_ready(found) is ready


REASONS = [
    (
        pod(
            conditions=[
                {"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available: 3 Insufficient cpu."}
            ]
        ),
        ["not placed on a node: 0/3 nodes are available: 3 Insufficient cpu."],
    ),
    (
        pod(
            containerStatuses=[
                container({"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}})
            ]
        ),
        ["container stt: ImagePullBackOff: Back-off pulling image"],
    ),
    (
        pod(
            containerStatuses=[
                container(
                    {"waiting": {"reason": "CrashLoopBackOff"}},
                    {"exitCode": 78, "reason": "Error", "message": "model silero-vad is missing\n"},
                )
            ]
        ),
        ["container stt: CrashLoopBackOff; before that it ended with exit code 78: model silero-vad is missing"],
    ),
    (
        pod(containerStatuses=[container({"terminated": {"exitCode": 137, "reason": "OOMKilled"}})]),
        ["container stt: ended with exit code 137 (OOMKilled)"],
    ),
    (pod(containerStatuses=[container({"running": {}})]), ["container stt: runs, but is not ready"]),
    (
        pod(
            initContainerStatuses=[container({"terminated": {"exitCode": 0}})],
            containerStatuses=[
                container({"waiting": {"reason": "CreateContainerConfigError", "message": "no secret"}})
            ],
        ),
        ["container stt: CreateContainerConfigError: no secret"],
    ),
    (
        pod(initContainerStatuses=[container({"terminated": {"exitCode": 1}})]),
        ["init container stt: ended with exit code 1"],
    ),
    (pod(phase="Failed", reason="Evicted", message="low on memory"), ["Evicted: low on memory"]),
    (pod(phase="Pending"), ["phase Pending, no reason given yet"]),
]


@pytest.mark.parametrize(("found", "expected"), REASONS)
def test_reasons(found: dict[str, Any], expected: list[str]) -> None:
    assert diagnosis.reasons(found) == expected


LOGS = [
    (pod(containerStatuses=[container({"running": {}})]), [("stt", False)]),
    (pod(containerStatuses=[container({"running": {}}, ready=True)]), []),
    (pod(containerStatuses=[container({"waiting": {}}, {"exitCode": 1})]), [("stt", True)]),
    (pod(containerStatuses=[container({"waiting": {"reason": "ImagePullBackOff"}})]), []),
    (pod(initContainerStatuses=[container({"terminated": {"exitCode": 0}})]), []),
    (pod(initContainerStatuses=[container({"terminated": {"exitCode": 2}})]), [("stt", False)]),
]


@pytest.mark.parametrize(("found", "expected"), LOGS)
def test_containers_with_logs(found: dict[str, Any], expected: list[tuple[str, bool]]) -> None:
    assert diagnosis.containers_with_logs(found) == expected


def event(name: str, reason: str, when: str, kind: str = "Warning") -> dict[str, Any]:
    return {
        "type": kind,
        "reason": reason,
        "message": "because",
        "involvedObject": {"name": name},
        "lastTimestamp": when,
    }


def test_warnings_are_the_last_ones_each_said_once() -> None:
    events = [
        event("a", "Five", "2026-01-01T00:00:05Z"),
        event("a", "One", "2026-01-01T00:00:01Z"),
        event("a", "One", "2026-01-01T00:00:09Z"),
        event("a", "Two", "2026-01-01T00:00:02Z"),
        event("a", "Three", "2026-01-01T00:00:03Z"),
        event("a", "Four", "2026-01-01T00:00:04Z"),
        event("a", "Pulled", "2026-01-01T00:00:10Z", kind="Normal"),
        event("other", "Six", "2026-01-01T00:00:06Z"),
    ]
    found = diagnosis.warnings_about(events, {"a"})
    assert found == {"a": ["Three: because", "Four: because", "Five: because", "One: because"]}


def test_summary_names_pod_reason_event_and_log() -> None:
    finding = {
        "name": "speech-stt-1",
        "node": "",
        "reasons": ["container stt: CrashLoopBackOff"],
        "events": ["BackOff: restarting"],
        "logs": {"stt": ["models: /models/silero-vad is missing"]},
    }
    text = diagnosis.summary("speech", "voice", [finding], {"speech-stt": ["FailedCreate: quota"]})
    for part in (
        "release speech in namespace voice",
        "pod speech-stt-1 on no node",
        "CrashLoopBackOff",
        "event BackOff: restarting",
        "/models/silero-vad is missing",
        "FailedCreate: quota",
    ):
        assert part in text
