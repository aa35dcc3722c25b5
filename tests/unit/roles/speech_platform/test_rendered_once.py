# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run that checks a release and deploys it renders it once, and again for other values. Played with the real helm."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[4]
PLAY = """\
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: airgap.speech.speech_platform, tasks_from: render}
      vars: {speech_platform_release: {platform: open_speech, name: one, namespace: n}}
    - ansible.builtin.set_fact: {first: "{{ __speech_platform_manifest }}"}
    - ansible.builtin.include_role: {name: airgap.speech.speech_platform, tasks_from: render}
      vars: {speech_platform_release: {platform: open_speech, name: two, namespace: n, values: {stt: {replicas: 3}}}}
    - ansible.builtin.set_fact: {second: "{{ __speech_platform_manifest }}"}
    - ansible.builtin.include_role: {name: airgap.speech.speech_platform, tasks_from: render}
      vars: {speech_platform_release: {platform: open_speech, name: one, namespace: n}}
    - ansible.builtin.assert:
        that:
          - __speech_platform_manifest == first
          - first != second
          - "'name: one-stt' in first and 'name: two-stt' in second"
          - "'replicas: 3' in second"
"""


def test_once(tmp_path: Path) -> None:
    built = [sys.executable, "-m", "sandbox", "build", "helm"]
    tools = subprocess.run(built, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout.split()[-1]
    helm = tmp_path / "helm"
    helm.write_text(f'#!/bin/sh\necho "$2" >>{tmp_path}/calls\nexec {tools}/helm "$@"\n')
    helm.chmod(0o755)
    (tmp_path / "play.yml").write_text(PLAY)
    values = {"speech_platform_helm_binary": str(helm), "ansible_python_interpreter": sys.executable}
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / "build" / "collections"),
        "ANSIBLE_LOCAL_TEMP": str(tmp_path / "tmp"),
    }
    argv = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "localhost,", "-c", "local"]
    argv += ["-e", json.dumps(values), str(tmp_path / "play.yml")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "calls").read_text().split() == ["one", "two"]
