# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The deploy takes its chart from a whole bundle in place, and from any one part of a split one: played by Ansible."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from tests.unit.plugins.module_utils.bundle.parts_samples import make_bundle, split
from tests.unit.plugins.module_utils.oci.samples import noise
from tests.unit.roles.playing import run_plays

PLAY = """\
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.include_role:
        name: airgap.speech.speech_platform
        tasks_from: chart
      vars:
        speech_platform_release: {platform: open_speech, name: r, namespace: n}
    - ansible.builtin.copy:
        content: "{{ {'chart': __speech_platform_chart, 'digests': __speech_platform_locked_digests,
                       'values': __speech_platform_values} | to_json }}"
        dest: "{{ result }}"
        mode: "0600"
      check_mode: false
"""


def play(tmp_path: Path, bundle: object, *options: str) -> subprocess.CompletedProcess[str]:
    values = {
        "airgap_bundle": bundle,
        "airgap_secrets_dir": str(tmp_path / "home" / "secrets"),
        "result": str(tmp_path / "result.json"),
    }
    return run_plays(tmp_path, PLAY, values, *options)


def test_from_a_whole_bundle_and_from_one_part(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle", chart_name="open-speech")
    made = split(bundle, tmp_path / "parts")
    medium = tmp_path / "medium"
    medium.mkdir()
    for path in (tmp_path / "parts").iterdir():
        if path.suffix != ".tar" or path.name == made.written[-1]:
            shutil.copy(path, medium)
    split_over = [str(medium), str(tmp_path / "none")]
    for where, in_place, options in ((str(bundle), True, []), (split_over, False, ["--check"])):
        done = play(tmp_path, where, *options)
        assert done.returncode == 0, done.stdout + done.stderr
        found = json.loads((tmp_path / "result.json").read_text())
        assert Path(found["chart"]).read_bytes() == noise("chart", 700)
        assert found["chart"].startswith(str(bundle)) == in_place
        chart = json.loads((bundle / "bundle.lock.json").read_text())["charts"][0]
        assert found["values"]["global"]["airgapSpeech"] == {"chart": chart["digest"]}
        images = {"quay.io/airgap/a:1", "quay.io/airgap/b:1", "docker.io/library/two:1"}
        assert set(found["digests"]) == {*images, "models/m:1"}
    assert (tmp_path / "home/charts/open-speech-0.1.0.tgz").is_file()


def test_a_bundle_without_the_chart(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    done = play(tmp_path, str(bundle))
    assert done.returncode != 0
    assert "chart open-speech 0.1.0 of platform open_speech is not in its lock" in " ".join(done.stdout.split())
