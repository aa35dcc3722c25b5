# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tests of a chart run beside the sentence; one that fails ends the run with what its pod said. Played by Ansible.

helm is a script here: what is tested is how its end is met. The whole way runs the real one.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.unit.roles.playing import run_plays

PLAY = """\
- hosts: localhost
  gather_facts: false
  vars:
    __smoke_test_release: {name: speech, namespace: calls, platform: open_speech}
    __smoke_test_plan: {helm_test: true}
    smoke_test_closure: false
    smoke_test_roundtrip: false
  tasks:
    - ansible.builtin.include_role:
        name: airgap.speech.smoke_test
        tasks_from: test
    - ansible.builtin.copy:
        content: "{{ __smoke_test_results | to_json }}"
        dest: "{{ result }}"
        mode: "0600"
      check_mode: false
      changed_when: false
"""
HELM = """\
#!/bin/sh
[ "$*" = 'test speech --namespace=calls --timeout=20s --logs' ] && [ "$KUBECONFIG" = /nowhere/config ] || exit 3
sleep 1
echo 'POD LOGS: speech-services'
{end}
"""


def play(tmp_path: Path, end: str, *options: str) -> subprocess.CompletedProcess[str]:
    helm = tmp_path / "helm"
    helm.write_text(HELM.format(end=end))
    helm.chmod(0o755)
    values = {
        "smoke_test_helm_binary": str(helm),
        "smoke_test_kubeconfig": "/nowhere/config",
        "smoke_test_timeout": 20,
        "result": str(tmp_path / "result.json"),
        "ansible_async_dir": str(tmp_path / "async"),
    }
    return run_plays(tmp_path, PLAY, values, *options)


@pytest.mark.parametrize("options", [(), ("--check",)], ids=["run", "check mode"])
def test_it_waits_for_them(tmp_path: Path, options: tuple[str, ...]) -> None:
    done = play(tmp_path, "touch ended", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "changed=0" in done.stdout.rsplit("PLAY RECAP", 1)[-1]
    (result,) = json.loads((tmp_path / "result.json").read_text())
    assert result["helm_test"] == "passed"
    assert (tmp_path / "ended").exists()


def test_one_that_fails(tmp_path: Path) -> None:
    done = play(tmp_path, "echo 'Error: 1 error occurred: pod speech-services failed' >&2; exit 1")
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert "release speech in namespace calls: helm test failed" in said
    assert "pod speech-services failed" in said and "POD LOGS: speech-services" in said
    assert "run airgap.speech.verify again" in said
    assert not (tmp_path / "result.json").exists()
