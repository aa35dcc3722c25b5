#!/usr/bin/python
# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: node_containerd
version_added: "0.1.0"
short_description: Make containerd look into a hosts directory, and sync what it unpacks
description:
  - Sets C(config_path) of the plugin that pulls for the kubelet, and C(image_pull_with_sync_fs) where this containerd
    knows it, in containerd's configuration of version 1 to 4. Only these values change; the rest of the file, comments
    too, stays as it is.
  - What holds is asked of containerd itself (C(containerd config dump)), so that imported files count. Before a file is
    written, containerd reads the new text from a copy; one that does not come to what is wanted is not written.
  - Nothing is restarted.
author:
  - Airgap Speech contributors (@airgap-speech)
attributes:
  check_mode:
    description: Can predict what would be changed, without changing it.
    support: full
  diff_mode:
    description: Shows the changed lines of the configuration, and none of the others, which may hold passwords.
    support: full
options:
  config:
    description: containerd's main file.
    type: path
    default: /etc/containerd/config.toml
  program:
    description: containerd's program.
    type: str
    default: containerd
  hosts_dir:
    description: The directory of the hosts files.
    type: path
    default: /etc/containerd/certs.d
  sync_fs:
    description: Whether a pull is on the disk before it counts as done.
    type: bool
    default: true
  originals_dir:
    description: Where what the files held before is kept, for O(state=absent).
    type: path
    default: /var/lib/airgap-speech/node_runtime
  state:
    description:
      - V(absent) gives each file back as it was. A file that others changed since then stays and is named in RV(kept).
      - V(undone) takes back the last change alone.
    type: str
    choices: [present, absent, undone]
    default: present
"""

EXAMPLES = r"""
- name: Let containerd read its hosts files
  airgap.speech.node_containerd:
    hosts_dir: /etc/containerd/certs.d
  notify: Restart containerd
"""

RETURN = r"""
changed_files:
  description: Files that were written or given back.
  returned: success
  type: list
  elements: str
  sample: [/etc/containerd/config.toml]
backups:
  description: Where what a changed file held before our first change is kept, by its path.
  returned: success
  type: dict
  sample: {/etc/containerd/config.toml: /var/lib/airgap-speech/node_runtime/0f3c-config.toml}
kept:
  description: Files that others changed after us, which O(state=absent) leaves as they are.
  returned: success
  type: list
  elements: str
  sample: []
sync_fs:
  description: Whether pulls are synced in the end. Null where this containerd cannot.
  returned: O(state=present)
  type: bool
  sample: true
notes:
  description: What the user should know.
  returned: success
  type: list
  elements: str
  sample: []
"""

import difflib
import os
import stat
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.airgap.speech.plugins.module_utils.runtime import originals as kept_files
from ansible_collections.airgap.speech.plugins.module_utils.runtime.containerd import Containerd, ContainerdError
from ansible_collections.airgap.speech.plugins.module_utils.runtime.originals import Originals, OriginalsError
from ansible_collections.airgap.speech.plugins.module_utils.runtime.toml_text import TomlError


def difference(path: str, before: str, after: str) -> dict[str, str]:
    """The changed lines alone: a configuration may hold passwords of registries."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), path, path, lineterm="", n=0)
    return {"prepared": "\n".join(lines) + "\n"}


def present(module: AnsibleModule, store: Originals) -> dict[str, Any]:
    params = module.params
    containerd = Containerd(module.run_command, params["program"], params["config"])
    plan = containerd.plan(params["hosts_dir"], params["sync_fs"])
    backups = {}
    for change in plan.changes:
        if not module.check_mode:
            store.keep(change.path)
            backups[change.path] = store.copy_of(change.path)
            rights = {"mode": 0o644}
            if change.before is not None:
                status = os.stat(change.path)
                rights = {"mode": stat.S_IMODE(status.st_mode), "owner": status.st_uid, "group": status.st_gid}
            data = change.after.encode()
            store.wrote(change.path, data)
            kept_files.write(change.path, data, **rights)
            module.set_default_selinux_context(change.path, False)
    return {
        "changed_files": [change.path for change in plan.changes],
        "backups": backups,
        "kept": [],
        "notes": plan.notes,
        "sync_fs": None if plan.dump.sync_fs is None else bool(params["sync_fs"] or plan.dump.sync_fs),
        "diff": [difference(change.path, change.before or "", change.after) for change in plan.changes],
    }


def absent(module: AnsibleModule, store: Originals) -> dict[str, Any]:
    changed, kept, diff, notes = [], [], [], []
    for path in store.paths:
        before, original = kept_files.read(path), store.original(path)
        if before == original:
            if not module.check_mode:
                store.forget(path)
            continue
        if before is not None and not store.is_ours(path):
            kept.append(path)
            notes.append(
                f"{path} was changed after us and stays; what it held before us is {store.copy_of(path) or 'nothing'}"
            )
            continue
        changed.append(path)
        diff.append(
            difference(path, (before or b"").decode(errors="replace"), (original or b"").decode(errors="replace"))
        )
        if not module.check_mode:
            store.give_back(path)
            if original is not None:
                module.set_default_selinux_context(path, False)
    return {"changed_files": changed, "backups": {}, "kept": kept, "notes": notes, "diff": diff}


def undone(module: AnsibleModule, store: Originals) -> dict[str, Any]:
    changed = [path for path in store.paths if store.is_ours(path)]
    for path in [] if module.check_mode else changed:
        store.undo(path)
        if os.path.exists(path):
            module.set_default_selinux_context(path, False)
    return {"changed_files": changed, "backups": {}, "kept": [], "notes": [], "diff": []}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "config": {"type": "path", "default": "/etc/containerd/config.toml"},
            "program": {"type": "str", "default": "containerd"},
            "hosts_dir": {"type": "path", "default": "/etc/containerd/certs.d"},
            "sync_fs": {"type": "bool", "default": True},
            "originals_dir": {"type": "path", "default": "/var/lib/airgap-speech/node_runtime"},
            "state": {"type": "str", "choices": ["present", "absent", "undone"], "default": "present"},
        },
        supports_check_mode=True,
    )
    try:
        store = Originals(module.params["originals_dir"])
        result = {"present": present, "absent": absent, "undone": undone}[module.params["state"]](module, store)
    except (ContainerdError, OriginalsError, TomlError) as err:
        module.fail_json(msg=str(err))
    except OSError as err:
        module.fail_json(msg=f"{err.filename}: {err.strerror}; check the rights and the disk of the host")
    diff = result.pop("diff")
    if module._diff:
        result["diff"] = diff
    module.exit_json(changed=bool(result["changed_files"]), **result)


if __name__ == "__main__":
    main()
