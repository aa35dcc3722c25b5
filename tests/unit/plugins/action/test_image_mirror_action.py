# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""image_mirror and registry_copy under ansible-playbook: their progress is shown while they run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from ansible_collections.airgap.speech.plugins.action.image_mirror import Follower
from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import Layout
from tests.unit.conftest import CHECKOUT
from tests.unit.fault_proxy import FaultProxy
from tests.unit.plugins.module_utils.oci.samples import add_image, noise, write_lock
from tests.unit.registry_server import RegistryServer, plain_registry_server  # noqa: F401 - fixture

MIB = 1 << 20
REASON = {"source": "release speech", "kind": "", "name": "", "path": "", "found": "", "needed": "always"}


def test_follower_shows_each_line_once(tmp_path: Path) -> None:
    path, shown = tmp_path / "progress", []
    follower = Follower(str(path), shown.append, 0.01)
    follower.start()
    for lines in ("one\n", "one\ntwo\nthr", "one\ntwo\nthree\n"):
        path.write_text(lines)
        time.sleep(0.2)
    follower.end()
    assert shown == ["one", "two", "three"]
    assert not [thread for thread in threading.enumerate() if thread is follower]


def playbook(tmp_path: Path, module: str, arguments: dict[str, Any]) -> list[tuple[float, str]]:
    """Run one task; its output, each line with the time when it came."""
    path = tmp_path / f"{module}.json"
    play = {"name": "Test", "hosts": "localhost", "gather_facts": False}
    path.write_text(json.dumps([{**play, "tasks": [{"name": "Run", f"airgap.speech.{module}": arguments}]}]))
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", "-c", "local", str(path)]
    command += ["-e", f"ansible_python_interpreter={sys.executable}"]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"), "PYTHONUNBUFFERED": "1"}
    lines: list[tuple[float, str]] = []
    with subprocess.Popen(
        command, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as process:
        for line in process.stdout or ():
            lines.append((time.monotonic(), line.rstrip()))
    assert process.returncode == 0, lines
    return lines


def test_progress_comes_while_it_runs(plain_registry_server: RegistryServer, tmp_path: Path) -> None:  # noqa: F811
    bundle = tmp_path / "bundle"
    layout = Layout(bundle / "oci")
    layout.create()
    digest = add_image(layout, [noise("large", 24 * MIB)])
    size = sum(found.size for found in layout.walk(digest))
    image = {"reference": "q.io/a/b:1", "digest": digest, "size": size, "platforms": [], "reasons": [REASON]}
    write_lock(bundle, layout, images=[image])
    with FaultProxy(plain_registry_server.port, rate=2 * MIB) as proxy:
        values = {"bundle": str(bundle), "registry": f"localhost:{proxy.port}", "plain_http": True}
        lines = playbook(tmp_path, "image_mirror", values)
    shown = [(when, line) for when, line in lines if line.startswith("mirror: ")]
    ended = next(when for when, line in lines if line.startswith("changed: "))
    assert shown
    assert all(" of 24.0 MiB, " in line and "/s, " in line for _when, line in shown)
    # What was held back would come all at once with the end.
    assert shown[0][0] + 1 < ended, "they came while it ran"
    source = {"registry": plain_registry_server.endpoint, "plain_http": True}
    copied = playbook(
        tmp_path,
        "registry_copy",
        {"source": source, "registry": f"{plain_registry_server.endpoint}/copy", "plain_http": True},
    )
    assert any(line.startswith("changed: ") for _when, line in copied)
