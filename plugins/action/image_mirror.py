# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shows the progress of the module image_mirror while it runs, where it runs on the controller.

Ansible hears of a module only when it has ended. The module writes a line a second into a file; here it is read
meanwhile, and its newest line is shown.
"""

from __future__ import annotations

import os
import tempfile
import threading
from typing import Any, Callable, Dict, Mapping, Optional

from ansible import constants as C
from ansible.utils.display import Display

from ansible_collections.airgap.speech.plugins.modules import image_mirror
from ansible_collections.airgap.speech.plugins.plugin_utils.in_process import InProcessAction

EVERY = 2.0


class Follower(threading.Thread):
    """Shows the newest line of a file, each I(every) seconds, where there is a new one."""

    def __init__(self, path: str, show: Callable[[str], None], every: float = EVERY) -> None:
        super().__init__(daemon=True)
        self._path = path
        self._show = show
        self._every = every
        self._ended = threading.Event()
        self._shown = ""

    def run(self) -> None:
        while not self._ended.wait(self._every):
            self._look()

    def end(self) -> None:
        """Stop, and wait until it has."""
        self._ended.set()
        self.join()

    def _look(self) -> None:
        try:
            with open(self._path, "rb") as stream:
                stream.seek(0, os.SEEK_END)
                stream.seek(max(0, stream.tell() - 4096))
                lines = stream.read().decode("utf-8", "replace").split("\n")
        except OSError:
            return  # It is not there before the module has made its plan.
        line = lines[-2] if len(lines) > 1 else ""
        if line and line != self._shown:
            self._shown = line
            self._show(line)


class ActionModule(InProcessAction):
    """The action of image_mirror."""

    module = image_mirror

    def call(self, arguments: Mapping[str, Any], task_vars: Dict[str, Any]) -> Dict[str, Any]:
        # On another host, or as another user, the file is out of reach here.
        near = self._connection.transport == "local" and self._connection.become is None
        if self._task.check_mode or self._task.async_val or not near:
            return super().call(arguments, task_vars)
        arguments = dict(arguments)
        own: Optional[str] = None
        if not arguments.get("progress_file"):
            handle, own = tempfile.mkstemp(prefix="progress-", dir=C.DEFAULT_LOCAL_TMP)
            os.close(handle)
            arguments["progress_file"] = own
        follower = Follower(os.path.expanduser(arguments["progress_file"]), Display().display)
        follower.start()
        try:
            return super().call(arguments, task_vars)
        finally:
            follower.end()
            if own is not None:
                os.unlink(own)
