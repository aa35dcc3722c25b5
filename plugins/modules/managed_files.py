#!/usr/bin/python
# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: managed_files
short_description: Keep a set of small files on a host in one call
version_added: "0.1.0"
description:
  - Writes several small text files at once, each whole or not at all, with its owner and mode from the first moment.
  - Secrets are given apart from the text. In a file's text C(@@name@@) stands for the secret of that name. The secrets
    are never returned or shown; a diff shows the text with their names.
  - With O(prune_directory), files that an earlier run wrote there and that are not wanted any more are removed.
  - With O(originals_directory), what a file of somebody else's held is kept before it is first written over.
author:
  - Airgap Speech contributors (@airgap-speech)
attributes:
  check_mode:
    description: Can predict what would be changed, without changing it.
    support: full
  diff_mode:
    description: Shows the text of files with the names of secrets in the place of their values.
    support: full
options:
  files:
    description: The files.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Where the file lies. Directories that are missing are made with O(directory_mode).
        type: path
        required: true
      content:
        description: The text, with C(@@name@@) for secrets.
        type: str
        default: ''
      mode:
        description: Permissions, in octal digits.
        type: str
        default: '0644'
      owner:
        description: Name of the owner. Empty for the user that the module runs as.
        type: str
        default: root
      group:
        description: Name of the group. Empty for that of the user that the module runs as.
        type: str
        default: root
  secrets:
    description: Values by name, for the placeholders.
    type: dict
    default: {}
  directory_mode:
    description: Permissions of directories that are made, in octal digits.
    type: str
    default: '0755'
  prune_directory:
    description:
      - Directory in which, and directly below which, files with O(prune_marker) that are not in O(files) are removed.
    type: path
  prune_marker:
    description: First line of files that may be removed, and of those that are ours already.
    type: str
  originals_directory:
    description:
      - Where the files that wanted ones with O(prune_marker) will replace are kept, each once, for
        M(airgap.speech.node_originals) to give back. Only root reads it.
    type: path
  state:
    description:
      - V(absent) removes the files. Below O(prune_directory), directories that are empty then are removed too.
    type: str
    choices: [present, absent]
    default: present
"""

EXAMPLES = r"""
- name: Give containerd its registry hosts
  airgap.speech.managed_files:
    files:
      - path: /etc/containerd/certs.d/quay.io/hosts.toml
        mode: "0600"
        content: |
          # Written by airgap.speech
          server = "https://registry.airgap.internal:5000/v2/quay.io"
          override_path = true
          [header]
          Authorization = ["Basic @@pull_credentials@@"]
    secrets:
      pull_credentials: "{{ (username ~ ':' ~ password) | b64encode }}"
    prune_directory: /etc/containerd/certs.d
    prune_marker: "# Written by airgap.speech"
"""

RETURN = r"""
changed_files:
  description: Files that were written, or given another owner or mode.
  returned: success
  type: list
  elements: str
  sample: [/etc/containerd/certs.d/quay.io/hosts.toml]
kept_files:
  description: Files of somebody else's that were kept in O(originals_directory).
  returned: success
  type: list
  elements: str
  sample: [/etc/containerd/certs.d/docker.io/hosts.toml]
removed_files:
  description: Files that were removed.
  returned: success
  type: list
  elements: str
  sample: []
"""

import grp
import os
import pwd
import stat
import tempfile
from typing import Any, Optional

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.airgap.speech.plugins.module_utils.runtime.originals import Originals, OriginalsError
from ansible_collections.airgap.speech.plugins.module_utils.secrets.file_set import (
    FileSetError,
    marked_files,
    render,
    show,
)


def number_of(kind: str, name: str, check_mode: bool) -> Optional[int]:
    """Number of a user or group, ours where it is empty; None in check mode for one that a task before would make."""
    if not name:
        return os.geteuid() if kind == "user" else os.getegid()
    try:
        return pwd.getpwnam(name).pw_uid if kind == "user" else grp.getgrnam(name).gr_gid
    except KeyError as err:
        if check_mode:
            return None
        raise FileSetError(f"there is no {kind} {name}; make it first, or name another") from err


def octal(text: str) -> int:
    try:
        return int(text, 8)
    except ValueError as err:
        raise FileSetError(f"mode {text!r} is not a number in octal digits; write it like '0640'") from err


class FileSet:
    """One run over the wanted files."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        directory = module.params["originals_directory"]
        self.originals = Originals(directory) if directory else None
        self.kept_files: list[str] = []
        self.changed_files: list[str] = []
        self.removed_files: list[str] = []
        self.diff: list[dict[str, str]] = []

    def keep(self, item: dict[str, Any], secrets: dict[str, str], directory_mode: int) -> None:
        path, text = item["path"], item["content"]
        mode = octal(item["mode"])
        owner = number_of("user", item["owner"], self.module.check_mode)
        group = number_of("group", item["group"], self.module.check_mode)
        wanted = render(path, text, secrets)
        attributes = f"# {item['owner'] or 'this user'}:{item['group'] or 'its group'} {mode:04o}\n"
        present: Optional[bytes] = None
        before, attributes_before = "", ""
        if os.path.lexists(path):
            status = os.lstat(path)
            if not stat.S_ISREG(status.st_mode):
                raise FileSetError(f"{path} is not a regular file; move it away")
            with open(path, "rb") as handle:
                present = handle.read()
            before = show(present, text, wanted)
            attributes_before = f"# {name_of(status)} {stat.S_IMODE(status.st_mode):04o}\n"
            if present == wanted and (owner, group, mode) == (
                status.st_uid,
                status.st_gid,
                stat.S_IMODE(status.st_mode),
            ):
                return
        self.keep_original(path, text, present)
        self.changed_files.append(path)
        self.diff.append(
            {
                "before_header": path,
                "after_header": path,
                "before": attributes_before + before,
                "after": attributes + text,
            }
        )
        if self.module.check_mode:
            return
        self.directories(os.path.dirname(path), directory_mode)
        write(path, wanted, (owner, group, mode))
        self.module.set_default_selinux_context(path, False)

    def keep_original(self, path: str, text: str, present: Optional[bytes]) -> None:
        """Keep what a file holds that is not ours and that a marked one of ours replaces."""
        marker = self.module.params["prune_marker"]
        if self.originals is None or present is None or not text.startswith(marker):
            return
        if present.startswith(marker.encode()) or path in self.originals.paths:
            return
        self.kept_files.append(path)
        self.diff.append({"prepared": f"{path}: kept in {self.originals.directory}\n"})
        if not self.module.check_mode:
            self.originals.keep(path)

    def directories(self, directory: str, mode: int) -> None:
        if directory and not os.path.isdir(directory):
            self.directories(os.path.dirname(directory), mode)
            os.mkdir(directory, mode)
            os.chmod(directory, mode)

    def remove(self, path: str, stop: str) -> None:
        if not os.path.lexists(path):
            return
        self.removed_files.append(path)
        self.diff.append({"before_header": path, "after_header": path, "before": "present\n", "after": "absent\n"})
        if self.module.check_mode:
            return
        os.unlink(path)
        directory = os.path.dirname(path)
        if stop and directory.startswith(stop + "/") and not os.listdir(directory):
            os.rmdir(directory)


def name_of(status: os.stat_result) -> str:
    """Owner and group of a file, by name where they have one."""
    try:
        owner = pwd.getpwuid(status.st_uid).pw_name
    except KeyError:
        owner = str(status.st_uid)
    try:
        group = grp.getgrgid(status.st_gid).gr_name
    except KeyError:
        group = str(status.st_gid)
    return f"{owner}:{group}"


def write(path: str, data: bytes, rights: tuple[Optional[int], Optional[int], int]) -> None:
    """Write beside the file and rename, so that nobody ever sees half of it or more rights than asked."""
    owner, group, mode = rights
    handle, temporary = tempfile.mkstemp(prefix=".airgap-", dir=os.path.dirname(path) or "/")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fchown(stream.fileno(), -1 if owner is None else owner, -1 if group is None else group)
            os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
        os.rename(temporary, path)
    except OSError:
        os.unlink(temporary)
        raise


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "files": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "path": {"type": "path", "required": True},
                    "content": {"type": "str", "default": ""},
                    "mode": {"type": "str", "default": "0644"},
                    "owner": {"type": "str", "default": "root"},
                    "group": {"type": "str", "default": "root"},
                },
            },
            "secrets": {"type": "dict", "default": {}, "no_log": True},
            "directory_mode": {"type": "str", "default": "0755"},
            "prune_directory": {"type": "path"},
            "prune_marker": {"type": "str"},
            "originals_directory": {"type": "path"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        required_together=[("prune_directory", "prune_marker")],
        required_by={"originals_directory": ["prune_marker"]},
        supports_check_mode=True,
    )
    files: list[dict[str, Any]] = module.params["files"]
    prune: str = (module.params["prune_directory"] or "").rstrip("/")
    try:
        run = FileSet(module)
        wanted = [item["path"] for item in files]
        repeated = sorted({path for path in wanted if wanted.count(path) > 1})
        if repeated:
            raise FileSetError(f"{repeated[0]} is listed twice; list it once")
        if module.params["state"] == "present":
            secrets = {name: str(value) for name, value in module.params["secrets"].items()}
            for item in files:
                run.keep(item, secrets, octal(module.params["directory_mode"]))
        else:
            for path in wanted:
                run.remove(path, prune)
        if prune:
            for path in marked_files(prune, module.params["prune_marker"]):
                if path not in wanted:
                    run.remove(path, prune)
    except (FileSetError, OriginalsError) as err:
        module.fail_json(msg=str(err))
    except OSError as err:
        module.fail_json(msg=f"{err.filename}: {err.strerror}; check the rights and the disk of the host")

    result: dict[str, Any] = {
        "changed": bool(run.changed_files or run.removed_files),
        "changed_files": run.changed_files,
        "kept_files": run.kept_files,
        "removed_files": run.removed_files,
    }
    if module._diff:
        result["diff"] = run.diff
    module.exit_json(**result)


if __name__ == "__main__":
    main()
