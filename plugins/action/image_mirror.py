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
from typing import Any, Callable, Dict, Optional

from ansible import constants as C
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

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


class ActionModule(ActionBase):
    """The action of image_mirror."""

    _requires_connection = True

    def run(self, tmp: Optional[str] = None, task_vars: Optional[Dict[str, Any]] = None) -> Dict[str, Any]:
        result = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        # On another host, or as another user, the file is out of reach here.
        near = self._connection.transport == "local" and self._connection.become is None
        if self._task.check_mode or not near:
            result.update(self._execute_module(module_args=arguments, task_vars=task_vars))
            return result
        own: Optional[str] = None
        if not arguments.get("progress_file"):
            handle, own = tempfile.mkstemp(prefix="progress-", dir=C.DEFAULT_LOCAL_TMP)
            os.close(handle)
            arguments["progress_file"] = own
        follower = Follower(os.path.expanduser(arguments["progress_file"]), Display().display)
        follower.start()
        try:
            result.update(self._execute_module(module_args=arguments, task_vars=task_vars))
        finally:
            follower.end()
            if own is not None:
                os.unlink(own)
        return result
