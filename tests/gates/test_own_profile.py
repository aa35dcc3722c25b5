# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The profile of docs/platforms/own_profile.md, as the page has it, renders with a chart beside it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import yaml

from tests.gates.pages import CHECKOUT, blocks

PAGE = CHECKOUT / "docs" / "platforms" / "own_profile.md"
CHART = {
    "Chart.yaml": "apiVersion: v2\nname: chatter\nversion: 1.2.3\n",
    "templates/pod.yaml": """\
apiVersion: v1
kind: Pod
metadata: {name: {{ .Release.Name }}}
spec:
  imagePullSecrets: {{ toJson .Values.imagePullSecrets }}
  containers: [{name: chatter, image: "{{ .Values.image.repository }}:{{ .Values.image.tag }}"}]
""",
}
PLAY = """\
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: airgap.speech.speech_platform, tasks_from: render}
      vars: {speech_platform_release: "{{ airgap_releases[0] }}"}
    - ansible.builtin.copy:
        content: "{{ __speech_platform_manifest }}"
        dest: "{{ playbook_dir }}/out.yml"
        mode: "0600"
"""


def test_the_profile_of_the_page_renders(tmp_path: Path, environment: dict[str, str]) -> None:
    files = {block.text.splitlines()[0][2:]: block.text for block in blocks("yaml", "jinja") if block.page == PAGE}
    files.update({f"profiles/chatter/chart/{name}": text for name, text in CHART.items()})
    files.update({"play.yml": PLAY, "hosts.yml": "all: {hosts: {localhost: {}}}\n"})
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    made = [sys.executable, "-m", "sandbox", "build", "helm"]
    tools = subprocess.run(made, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout.split()[-1]
    extra = {
        "speech_platform_helm_binary": f"{tools}/helm",
        "airgap_registry": "registry.example.internal:5000",
        "ansible_python_interpreter": sys.executable,
    }
    argv = ["ansible-playbook", "-i", "hosts.yml", "play.yml", "-e", yaml.safe_dump(extra, default_flow_style=True)]
    done = subprocess.run(argv, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    pod = yaml.safe_load((tmp_path / "out.yml").read_text())
    assert pod["metadata"]["name"] == "calls"
    assert pod["spec"]["containers"][0]["image"] == "registry.example.internal:5000/quay.io/example/chatter:1.2.3"
    assert pod["spec"]["imagePullSecrets"] == [{"name": "airgap-registry"}]
