# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module that runs in Ansible's own process answers as one that is sent; and it is sent wherever it has to be.

With another ansible-core than the one that a bundle carries, every module is sent (make test-matrix).
"""

from __future__ import annotations

import atexit
import base64
import gc
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.airgap.speech.plugins.plugin_utils import in_process
from tests.unit.conftest import CHECKOUT

SECRET = "a very secret word"
SENT = "Using module file"


def play(
    tmp_path: Path, interpreter: str, *arguments: str, task: dict[str, Any], environment: dict[str, str] | None = None
) -> tuple[dict[str, Any], str]:
    """The result of one task on localhost, and all that was shown."""
    result = tmp_path / "result.json"
    tasks = [
        {"name": "Run", "register": "answer", "ignore_errors": True, **task},
        {
            "name": "Keep",
            "ansible.builtin.copy": {"content": "{{ answer | to_json }}", "dest": str(result)},
            "check_mode": False,
            "diff": False,
        },
    ]
    path = tmp_path / "play.yml"
    path.write_text(yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
    hosts = {"localhost": interpreter, "elsewhere": "/elsewhere/python"}
    inventory = tmp_path / "inventory.yml"
    inventory.write_text(
        yaml.safe_dump({"all": {"hosts": {name: {"ansible_python_interpreter": at} for name, at in hosts.items()}}})
    )
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(inventory), "-c", "local", str(path)]
    command += ["-vvv", *arguments]
    done = subprocess.run(
        command,
        env={
            **os.environ,
            "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / "build" / "collections"),
            **(environment or {}),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    shown = done.stdout.split("TASK [Keep]")[0]
    return json.loads(result.read_text()), shown + done.stderr


@pytest.fixture
def other_python(tmp_path: Path) -> str:
    """The same Python by another name, which Ansible has to start."""
    path = tmp_path / "other-python"
    path.symlink_to(os.path.realpath(sys.executable))
    return str(path)


def files(tmp_path: Path, **more: Any) -> dict[str, Any]:
    entry = {"path": str(tmp_path / "made"), "content": "word: @@word@@\n", "mode": "0600", "owner": "", "group": ""}
    return {"airgap.speech.managed_files": {"files": [entry], "secrets": {"word": SECRET}, **more}}


@pytest.mark.parametrize(
    ("more", "arguments"),
    [
        ({}, ()),
        ({}, ("--check", "--diff")),
        ({"state": "absent"}, ()),
        ({"mode": "0600"}, ()),
        ({"directory_mode": "rwx"}, ()),
    ],
    ids=["made", "predicted", "nothing to do", "unknown argument", "wrong value"],
)
def test_answers_as_one_that_is_sent(
    tmp_path: Path, other_python: str, more: dict[str, Any], arguments: tuple[str, ...]
) -> None:
    answers = []
    for interpreter in (other_python, sys.executable):
        (tmp_path / "made").unlink(missing_ok=True)
        answer, shown = play(tmp_path, interpreter, *arguments, task=files(tmp_path, **more))
        assert (SENT in shown) == (interpreter == other_python or not in_process.KNOWN)
        assert SECRET not in shown + json.dumps(answer)
        assert (tmp_path / "made").is_file() == (answer["changed"] and not arguments)
        answer.pop("exception", None)
        answers.append(answer)
    assert answers[0] == answers[1]


def test_warnings_are_shown(tmp_path: Path) -> None:
    lock = tmp_path / "bundle" / "bundle.lock.json"
    lock.parent.mkdir()
    lock.write_text("{}")
    task = {"airgap.speech.bundle_verify": {"path": [str(lock.parent)], "allow_unsigned": True}}
    answer, shown = play(tmp_path, sys.executable, task=task)
    assert (SENT in shown) != in_process.KNOWN
    # Older cores break lines within the path too.
    assert f"[WARNING]:{lock}:hasnosignature" in "".join(shown.split())
    assert answer["failed"] and "bundle.lock.json" in answer["msg"]


def test_each_item_of_a_loop_is_a_call_of_its_own(tmp_path: Path) -> None:
    task = {
        "airgap.speech.secret_file": {"path": ["{{ item }}"]},
        "loop": [str(tmp_path / "one"), str(tmp_path / "one"), str(tmp_path / "two")],
    }
    answer, shown = play(tmp_path, sys.executable, task=task)
    assert (SENT in shown) != in_process.KNOWN
    assert [item["changed"] for item in answer["results"]] == [True, False, True]


@pytest.mark.parametrize(
    ("keywords", "environment", "works"),
    [
        ({"environment": {"LANG": "C"}}, {}, True),
        ({"async": 30, "poll": 1}, {}, True),
        ({}, {"ANSIBLE_KEEP_REMOTE_FILES": "1"}, True),
        ({"delegate_to": "elsewhere"}, {}, False),
    ],
    ids=["environment", "async", "kept for debugging", "a host whose Python is another"],
)
def test_is_sent_where_something_else_is_asked_for(
    tmp_path: Path, keywords: dict[str, Any], environment: dict[str, str], works: bool
) -> None:
    environment = {**environment, "ANSIBLE_REMOTE_TEMP": str(tmp_path / "remote")}
    answer, shown = play(tmp_path, sys.executable, task={**files(tmp_path), **keywords}, environment=environment)
    assert SENT in shown
    assert answer["changed"] is works


@pytest.mark.parametrize(
    ("interpreter", "expected"),
    [
        (sys.executable, True),
        (str(Path(sys.executable).with_name("python")), True),
        (os.path.realpath(sys.executable), os.path.realpath(sys.executable) == sys.executable),
        ("", False),
        ("/nowhere/python3", False),
    ],
)
def test_this_python_is_told_from_others(interpreter: str, expected: bool) -> None:
    assert in_process.is_this_python(interpreter) is expected


def test_what_is_left_for_the_end_of_the_process_is_done(tmp_path: Path) -> None:
    called: list[str] = []
    register = atexit.register
    with pytest.raises(SystemExit), in_process.exit_handlers():
        atexit.register(called.append, "registered first")
        atexit.register(os.unlink, tmp_path / "not there")
        atexit.register(called.append, "registered last")
        sys.exit(0)
    assert called == ["registered last", "registered first"]
    assert atexit.register is register


def test_the_key_of_a_kubeconfig_does_not_stay(tmp_path: Path) -> None:
    """The library writes it into a temporary file, since ssl reads keys from files alone."""
    inline = {"certificate-authority-data": "", "server": "https://127.0.0.1:1"}
    user = {"client-certificate-data": "", "client-key-data": base64.b64encode(SECRET.encode()).decode()}
    context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
    config = {"apiVersion": "v1", "kind": "Config", "current-context": "c", "contexts": [context]}
    config |= {"clusters": [{"name": "c", "cluster": inline}], "users": [{"name": "u", "user": user}]}
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
    (tmp_path / "temporary").mkdir()
    task = {"airgap.speech.cluster_probe": {"kubeconfig": str(tmp_path / "kubeconfig"), "namespaces": []}}
    answer, shown = play(tmp_path, sys.executable, task=task, environment={"TMPDIR": str(tmp_path / "temporary")})
    assert (SENT in shown) != in_process.KNOWN
    assert answer["failed"] and "cluster" in answer["msg"]
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.skipif(not in_process.KNOWN, reason="another core loads nothing before")
def test_what_is_loaded_once_is_not_looked_through_again() -> None:
    try:
        in_process.load_once("kubernetes")
        assert len(gc.get_objects()) < 1000
    finally:
        gc.unfreeze()
