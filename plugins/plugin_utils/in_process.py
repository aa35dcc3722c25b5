# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An action that runs its module in Ansible's own process, where the module's host is the controller itself.

Ansible packs a module with all that it imports, starts another Python and compiles everything anew there, at each call:
half a second to a second and a half, before the module does anything. Where that other Python would be this one, for
this user on this machine, the process that was forked for the task calls the module's main() itself. Everywhere else
the module is sent and called as ever, with the same result.

A module that an action imports at its top is compiled once a run: linear, the strategy that forks, loads the actions.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import io
import json
import os
import sys
from types import ModuleType
from typing import Any, Callable, ClassVar, Dict, Iterator, Mapping, Optional

from ansible import constants as C
from ansible.plugins.action import ActionBase
from ansible.release import __version__ as core

# How Ansible hands arguments to a module differs from release to release: this is the one that a bundle carries.
KNOWN = core.startswith("2.19.")
if KNOWN:  # Another release may not have them.
    from ansible.module_utils import basic
    from ansible.module_utils.common import json as common_json
    from ansible.vars.clean import remove_internal_keys
PROFILE = "legacy"


def is_this_python(interpreter: str) -> bool:
    """Whether it is the one that runs this: python and python3 of one environment are."""
    return os.path.dirname(interpreter) == os.path.dirname(sys.executable) and os.path.realpath(
        interpreter
    ) == os.path.realpath(sys.executable)


def load_once(library: str) -> None:
    """Import a library that is slow to import before the processes of the tasks are forked, so that they have it."""
    if KNOWN:
        with contextlib.suppress(ImportError):
            importlib.import_module(library)
        # So much new makes a full collection due, and each forked process would do it: 0.1 s a task.
        gc.freeze()


@contextlib.contextmanager
def exit_handlers() -> Iterator[None]:
    """Calls what is registered meanwhile for the end of the process: one that was forked ends without.

    Temporary directories are removed so, and the files into which `kubernetes` writes the key of a kubeconfig.
    """
    ended = contextlib.ExitStack()
    register = atexit.register

    def keep(function: Callable[..., Any], *arguments: Any, **named: Any) -> Callable[..., Any]:
        def call() -> None:
            # As at the end of a process, a fault of one hinders neither the others nor the result.
            with contextlib.suppress(Exception):
                function(*arguments, **named)

        ended.callback(call)
        return function

    atexit.register = keep  # type: ignore[assignment]
    try:
        with ended:
            yield
    finally:
        atexit.register = register


class InProcessAction(ActionBase):
    """The action of the module of the same name; `module` is that module, imported."""

    module: ClassVar[ModuleType]
    _requires_connection = True
    _supports_async = True

    def run(self, tmp: Optional[str] = None, task_vars: Optional[Dict[str, Any]] = None) -> Dict[str, Any]:
        result = super().run(tmp, task_vars)
        result.update(self.call(self._task.args, task_vars or {}))
        return result

    def call(self, arguments: Mapping[str, Any], task_vars: Dict[str, Any]) -> Dict[str, Any]:
        """The module's result, wherever it runs."""
        if self.is_here(task_vars):
            return self._call_main(dict(arguments), task_vars)
        wrap_async = bool(self._task.async_val) and not self._connection.has_native_async
        result: Dict[str, Any] = self._execute_module(
            module_args=dict(arguments), task_vars=task_vars, wrap_async=wrap_async
        )
        if not wrap_async:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        return result

    def is_here(self, task_vars: Mapping[str, Any]) -> bool:
        """Whether the module would run on this machine, as this user, in this Python and with nothing else set."""
        host = task_vars
        if self._task.delegate_to:
            host = task_vars.get("ansible_delegated_vars", {}).get(self._task.delegate_to, {})
        return (
            KNOWN
            and self._connection.transport == "local"
            and self._connection.become is None
            and not self._task.async_val
            and not any(self._task.environment or [])
            and not C.DEFAULT_KEEP_REMOTE_FILES
            and is_this_python(str(self._templar.template(host.get("ansible_python_interpreter", ""))))
        )

    def _call_main(self, arguments: Dict[str, Any], task_vars: Dict[str, Any]) -> Dict[str, Any]:
        self._update_module_args(self._task.action, arguments, task_vars)
        encoder = common_json.get_module_encoder(PROFILE, common_json.Direction.CONTROLLER_TO_MODULE)
        sent = json.dumps({"ANSIBLE_MODULE_ARGS": arguments}, cls=encoder).encode()
        said = io.StringIO()
        code: Any = 0
        kept = basic._ANSIBLE_ARGS, basic._ANSIBLE_PROFILE
        try:
            basic._ANSIBLE_ARGS, basic._ANSIBLE_PROFILE = sent, PROFILE
            with exit_handlers(), contextlib.redirect_stdout(said):
                self.module.main()
        except SystemExit as ended:
            code = ended.code
        finally:
            basic._ANSIBLE_ARGS, basic._ANSIBLE_PROFILE = kept
        result: Dict[str, Any] = self._parse_returned_data(
            {"rc": code, "stdout": said.getvalue(), "stderr": ""}, PROFILE
        )
        remove_internal_keys(result)
        return result
