# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is made of the API's answers; the API itself is asked in the sandbox."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.airgap.speech.plugins.modules import release_diagnosis

kubernetes = pytest.importorskip("kubernetes")


class Core:
    """A cluster as far as the module asks one."""

    def __init__(
        self, pods: list[dict[str, Any]], events: list[dict[str, Any]], logs: dict[tuple[str, bool], str]
    ) -> None:
        self.pods, self.events, self.logs = pods, events, logs
        self.api_client = kubernetes.client.ApiClient()

    def list_namespaced_pod(self, _namespace: str, label_selector: str = "") -> dict[str, Any]:
        wanted = dict(pair.split("=") for pair in label_selector.split(",") if pair)
        return {"items": [pod for pod in self.pods if wanted.items() <= pod["metadata"].get("labels", {}).items()]}

    def list_namespaced_event(self, _namespace: str) -> dict[str, Any]:
        return {"items": self.events}

    def read_namespaced_pod_log(
        self, _name: str, _namespace: str, *, container: str, previous: bool, tail_lines: int
    ) -> str:
        if (container, previous) not in self.logs:
            raise kubernetes.client.exceptions.ApiException(reason="Bad Request")
        return "\n".join(self.logs[container, previous].splitlines()[-tail_lines:])


PARAMS = {"namespace": "voice", "release": "speech", "label_selector": None, "tail_lines": 2}
LABELS = {"app.kubernetes.io/instance": "speech"}


def pod(name: str, labels: dict[str, str], **status: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": labels}, "spec": {"nodeName": "worker-1"}, "status": status}


READY = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
CRASHED = {
    "phase": "Running",
    "containerStatuses": [
        {
            "name": "stt",
            "ready": False,
            "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {"exitCode": 78}},
        }
    ],
}


def event(name: str, kind: str, reason: str) -> dict[str, Any]:
    return {"type": "Warning", "reason": reason, "message": "m", "involvedObject": {"name": name, "kind": kind}}


def test_a_crashed_pod_is_told_with_the_log_of_the_run_before() -> None:
    core = Core(
        [
            pod("speech-tts-1", LABELS, **READY),
            pod("speech-stt-1", LABELS, **CRASHED),
            pod("other", {}, phase="Pending"),
        ],
        [event("speech-stt-1", "Pod", "BackOff"), event("speech-gone-1", "Pod", "Failed")],
        {("stt", True): "one\ntwo\nmodel silero-vad is missing"},
    )
    result = release_diagnosis.look(core, PARAMS)
    assert result["ready"] is False
    assert [found["name"] for found in result["pods"]] == ["speech-stt-1"]
    assert result["pods"][0]["logs"] == {"stt": ["two", "model silero-vad is missing"]}
    assert result["pods"][0]["events"] == ["BackOff: m"]
    assert result["warnings_about"] == {}
    assert "exit code 78" in result["text"]
    assert "model silero-vad is missing" in result["text"]


def test_no_pod_at_all_is_explained_by_the_replica_set() -> None:
    result = release_diagnosis.look(Core([], [event("speech-stt-5c", "ReplicaSet", "FailedCreate")], {}), PARAMS)
    assert result["ready"] is False
    assert result["warnings_about"] == {"speech-stt-5c": ["FailedCreate: m"]}
    assert "FailedCreate" in result["text"]


def test_nothing_at_all_is_said_so() -> None:
    assert "there is no pod" in release_diagnosis.look(Core([], [], {}), PARAMS)["text"]


def test_pods_without_the_label_are_looked_at_where_there_are_no_others() -> None:
    result = release_diagnosis.look(Core([pod("any", {}, phase="Pending")], [], {}), PARAMS)
    assert [found["name"] for found in result["pods"]] == ["any"]
    chosen = release_diagnosis.look(
        Core([pod("any", {}, phase="Pending")], [], {}), {**PARAMS, "label_selector": "a=b"}
    )
    assert chosen["pods"] == []


def test_a_log_that_cannot_be_read_is_said_so() -> None:
    result = release_diagnosis.look(Core([pod("speech-stt-1", LABELS, **CRASHED)], [], {}), PARAMS)
    assert result["pods"][0]["logs"] == {"stt": ["(the log could not be read: Bad Request)"]}


def test_all_ready() -> None:
    result = release_diagnosis.look(Core([pod("speech-stt-1", LABELS, **READY)], [], {}), PARAMS)
    assert result["ready"] is True
    assert result["pods"] == []
