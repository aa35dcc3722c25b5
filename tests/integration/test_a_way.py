# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the way left: nothing tried to leave, the prediction was true, a second run changes nothing."""

from __future__ import annotations

import json
import re

from dev.journey import HOME_INSIDE, Journey
from tests.integration.inside import Inside, changed, sandbox_release

MIRRORED = re.compile(r"(\d+) bytes\)")
MODELS_MOUNTED = "/var/lib/airgap-speech/models"


def mirror_summary(log: str) -> str:
    """The line in which the role image_mirror says what it sent, or would send."""
    found = re.search(
        r"TASK \[airgap\.speech\.image_mirror : Say what was mirrored\].*?\"msg\": \"([^\"]+)\"", log, re.S
    )
    assert found, log
    return found[1]


def test_nothing_tried_to_leave(journey: Journey) -> None:
    report = journey.egress()
    assert report["packets_total"] == 0, report
    assert report["names_total"] == 0, report


def test_a_sentence_came_back(journey: Journey) -> None:
    report = json.loads(journey.read(f"{HOME_INSIDE}/.airgap/reports/report.json"))
    assert report["transcript"]
    assert report["expected"] != report["transcript"] or report["word_error_rate"] == 0
    assert report["word_error_rate"] <= 0.2


def test_check_mode_predicted_what_was_sent(inside: Inside) -> None:
    """Before a registry was there, check mode said the bytes that the first run then sent."""
    predicted, first = mirror_summary(inside.logs("predict")[0]), mirror_summary(inside.logs("site")[0])
    assert predicted.startswith("Would mirror"), predicted
    assert MIRRORED.findall(predicted) == MIRRORED.findall(first) != []


def test_second_run_sent_nothing(inside: Inside) -> None:
    assert re.fullmatch(r"All \d+ items already there", mirror_summary(inside.logs("site")[1]))


def test_check_mode_has_nothing_to_do_afterwards(journey: Journey) -> None:
    step = journey.predict()
    assert step.changed == 0, step.output


def test_the_diff_says_what_of_a_release_would_change(inside: Inside) -> None:
    release = sandbox_release()
    release["values"]["stt"]["concurrency"] = 7
    shown = inside.playbook("deploy", "--check", "--diff", airgap_releases=[release])
    assert changed(shown)
    told = shown.text.partition("Say which values of the release change")[2].partition("TASK [")[0]
    assert '"+  concurrency: 7"' in told, shown.text


def test_setup_again_changes_nothing(journey: Journey) -> None:
    step = journey.setup()
    assert step.changed == 0, step.output
    assert "controller: " in step.output and "nothing to do" in step.output


def test_every_pod_of_the_release_runs(inside: Inside) -> None:
    pods = inside.kubectl_json("get", "pods", "-n", "speech", "-l", "app.kubernetes.io/instance=speech")
    components = set()
    for pod in pods["items"]:
        components.add(pod["metadata"]["labels"].get("app.kubernetes.io/component"))
        for status in pod["status"].get("containerStatuses", []):
            assert status["imageID"].startswith("registry.airgap.internal:5000/"), status
    assert {"stt", "tts"} <= components


def test_models_reach_a_node_directory(inside: Inside) -> None:
    """The other way onto a volume: streamed by the node itself, whole, and written once."""
    inside.on("worker-1", "rm", "-rf", MODELS_MOUNTED)
    extra: dict[str, object] = {"model_preload_node_directory": MODELS_MOUNTED}
    node_playbook = f"{HOME_INSIDE}/models-to-nodes.yml"
    play = [
        {
            "hosts": "workers",
            "become": True,
            "gather_facts": False,
            "tasks": [{"ansible.builtin.include_role": {"name": "airgap.speech.model_preload", "tasks_from": "nodes"}}],
        }
    ]
    inside.on("bastion", "sh", "-c", f"cat > {node_playbook}", stdin=json.dumps(play))
    argv = [f"{HOME_INSIDE}/.airgap/bin/ansible-playbook", node_playbook, "-i", f"{HOME_INSIDE}/inventory"]
    first = inside.on("bastion", *argv, "-e", json.dumps(extra))
    assert first.rc == 0, first.text
    assert "changed=1" in first.text
    second = inside.on("bastion", *argv, "-e", json.dumps(extra))
    assert second.rc == 0 and "changed=0" in second.text, second.text
    found = inside.on("worker-1", "find", "-L", MODELS_MOUNTED, "-name", "model.json")
    assert found.text.count("model.json") >= 3, found.text
