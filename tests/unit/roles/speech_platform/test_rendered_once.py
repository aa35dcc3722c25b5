# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run renders a release once, and again for other values; what helm says is told. Played with the real helm."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.roles.playing import CHECKOUT, run_plays

PLAY = """\
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: airgap.speech.speech_platform, tasks_from: prepare}
      vars: {speech_platform_release: {platform: open_speech, name: one, namespace: n}}
    - ansible.builtin.set_fact: {first: "{{ __speech_platform_manifest }}"}
    - ansible.builtin.include_role: {name: airgap.speech.speech_platform, tasks_from: prepare}
      vars: {speech_platform_release: {platform: open_speech, name: two, namespace: n, values: {stt: {replicas: 3}}}}
    - ansible.builtin.set_fact: {second: "{{ __speech_platform_manifest }}"}
    - ansible.builtin.include_role: {name: airgap.speech.speech_platform, tasks_from: prepare}
      vars: {speech_platform_release: {platform: open_speech, name: one, namespace: n}}
    - ansible.builtin.assert:
        that:
          - __speech_platform_manifest == first
          - __speech_platform_values.stt.replicas | default(1) == 1
          - first != second
          - "'name: one-stt' in first and 'name: two-stt' in second"
          - "'replicas: 3' in second"
"""
FAULTY = """\
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: airgap.speech.speech_platform, tasks_from: "{{ what }}"}
      vars: {speech_platform_release: {platform: open_speech, name: one, namespace: n, values: {stt: {replicas: many}}}}
"""


KEYLESS = """\
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: airgap.speech.speech_platform, tasks_from: profile}
      vars: {speech_platform_release: {platform: open_speech, name: one, namespace: n, api_keys: [], %s}}
"""


def helm_directory() -> str:
    built = [sys.executable, "-m", "sandbox", "build", "helm"]
    return subprocess.run(built, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout.split()[-1]


def test_once(tmp_path: Path) -> None:
    helm = tmp_path / "helm"
    helm.write_text(f'#!/bin/sh\necho "$2" >>{tmp_path}/calls\nexec {helm_directory()}/helm "$@"\n')
    helm.chmod(0o755)
    done = run_plays(tmp_path, PLAY, {"speech_platform_helm_binary": str(helm)})
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "calls").read_text().split() == ["one", "two"]


@pytest.mark.parametrize(
    ("what", "cause", "next_step"),
    [
        ("render", "got string, want integer", "correct the release's values in airgap_releases"),
        ("history", "cluster unreachable", "see that the cluster of /nowhere answers"),
    ],
)
def test_what_helm_says_is_told(tmp_path: Path, what: str, cause: str, next_step: str) -> None:
    values = {"speech_platform_helm_binary": f"{helm_directory()}/helm", "speech_platform_kubeconfig": "/nowhere"}
    done = run_plays(tmp_path, FAULTY, {"what": what, **values})
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert "release one" in said and cause in said and next_step in said, said


def test_a_release_without_keys_is_refused(tmp_path: Path) -> None:
    refused = run_plays(tmp_path, KEYLESS % "values: {}", {})
    assert refused.returncode != 0
    said = " ".join(refused.stdout.split())
    assert "release one: its api_keys are empty" in said and "leave api_keys out of the release" in said, said
    own = run_plays(tmp_path, KEYLESS % "api_keys_secret: ours", {})
    assert own.returncode == 0, own.stdout
