#!/usr/bin/python
# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: htpasswd
short_description: Keep a file of users and bcrypt hashes
version_added: "0.1.0"
description:
  - Writes an htpasswd file with exactly the given users. Passwords are read from files and kept as bcrypt hashes.
  - An entry whose hash already fits the password and the cost is kept, so that a second run changes nothing.
  - Passwords and hashes are never returned or shown.
author:
  - Airgap Speech contributors (@airgap-speech)
requirements:
  - bcrypt (Python library) on the host that runs the module
attributes:
  check_mode:
    description: Can predict what would be changed, without changing it.
    support: full
  diff_mode:
    description: Shows user names and what becomes of their entries, never a hash.
    support: full
options:
  path:
    description: The file to keep. Its mode is 0600.
    type: path
    required: true
  users:
    description: All users of the file, in this order. Entries of other users are removed.
    type: list
    elements: dict
    required: true
    suboptions:
      username:
        description: Name of the user.
        type: str
        required: true
      password_file:
        description:
          - File that holds the password. In check mode it may be missing, as it may be made by a task before.
        type: path
        required: true
  cost:
    description:
      - Work factor of bcrypt, as the power of two of its rounds.
      - The registry checks the hash on every request, so each blob pays for it. The default, 5, takes about 2 ms and 10
        takes about 60 ms. A generated password of 40 characters cannot be guessed at any cost; raise it for passwords
        that people chose.
    type: int
    default: 5
"""

EXAMPLES = r"""
- name: Keep the registry's users
  airgap.speech.htpasswd:
    path: ~/.airgap/secrets/registry/pull.htpasswd
    users:
      - username: airgap-push
        password_file: ~/.airgap/secrets/registry-push-password
      - username: airgap-pull
        password_file: ~/.airgap/secrets/registry-pull-password
"""

RETURN = r"""
added:
  description: Users that had no entry.
  returned: success
  type: list
  elements: str
  sample: ["airgap-pull"]
updated:
  description: Users whose password or cost is another than the entry's.
  returned: success
  type: list
  elements: str
  sample: []
removed:
  description: Users that had an entry and are not wanted.
  returned: success
  type: list
  elements: str
  sample: []
"""

import os
import traceback
from typing import Optional

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.airgap.speech.plugins.module_utils.secrets.files import (
    SecretFileError,
    file_mode,
    read_bytes,
    read_secret,
    write_file,
)

try:
    import bcrypt
except ImportError:
    HAS_BCRYPT = False
    BCRYPT_ERROR: Optional[str] = traceback.format_exc()
else:
    HAS_BCRYPT = True
    BCRYPT_ERROR = None

#: bcrypt looks at no more than this.
LONGEST = 72


def parse(text: str) -> dict[str, str]:
    """User names and hashes of an htpasswd file, in order."""
    entries = {}
    for line in text.splitlines():
        name, colon, hashed = line.strip().partition(":")
        if colon and not name.startswith("#"):
            entries[name] = hashed
    return entries


def fits(hashed: str, password: bytes, cost: int) -> bool:
    """Whether a hash is of this password with this cost."""
    parts = hashed.split("$")
    if len(parts) != 4 or not parts[1].startswith("2") or parts[2] != f"{cost:02d}":
        return False
    try:
        return bool(bcrypt.checkpw(password, hashed.encode("ascii")))
    except ValueError:
        return False


def password_of(path: str) -> bytes:
    """The password in a file, as bcrypt can use it."""
    password = read_secret(path).encode("utf-8")
    if len(password) > LONGEST:
        raise SecretFileError(
            f"the password in {path} has {len(password)} bytes and bcrypt looks at {LONGEST}; use a shorter one"
        )
    return password


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "users": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "username": {"type": "str", "required": True},
                    "password_file": {"type": "path", "required": True, "no_log": False},
                },
            },
            "cost": {"type": "int", "default": 5},
        },
        supports_check_mode=True,
    )
    if not HAS_BCRYPT:
        module.fail_json(msg=missing_required_lib("bcrypt"), exception=BCRYPT_ERROR)
    path: str = module.params["path"]
    cost: int = module.params["cost"]
    if not 4 <= cost <= 16:
        module.fail_json(msg=f"cost {cost} is out of range; use 4 to 16")

    added, updated = [], []
    entries: dict[str, str] = {}
    try:
        mode = file_mode(path)
        present = parse(read_bytes(path).decode("utf-8", "replace")) if mode is not None else {}
        for user in module.params["users"]:
            name = user["username"]
            if not name or ":" in name or name.startswith("#") or name != name.strip() or not name.isprintable():
                raise SecretFileError(f"user name {name!r} cannot stand in an htpasswd file; use letters and digits")
            if name in entries:
                raise SecretFileError(f"user {name} is listed twice; list it once")
            known = present.get(name)
            if module.check_mode and not os.path.exists(user["password_file"]):
                # Made by a task that check mode did not run: whatever it is, no hash fits it yet.
                (added if known is None else updated).append(name)
                entries[name] = "?"
                continue
            password = password_of(user["password_file"])
            if known is not None and fits(known, password, cost):
                entries[name] = known
                continue
            (added if known is None else updated).append(name)
            entries[name] = bcrypt.hashpw(password, bcrypt.gensalt(rounds=cost)).decode("ascii")
        removed = [name for name in present if name not in entries]
        content = "".join(f"{name}:{hashed}\n" for name, hashed in entries.items())
        rewrite = mode is None or bool(added or updated or removed) or list(present) != list(entries)
        if rewrite and not module.check_mode:
            write_file(path, content.encode("utf-8"), 0o600)
        tighten = not rewrite and bool((mode or 0) & 0o077)
        if tighten and not module.check_mode:
            module.set_mode_if_different(path, 0o600, False)
    except SecretFileError as err:
        module.fail_json(msg=str(err))

    result = {"changed": rewrite or tighten, "added": added, "updated": updated, "removed": removed}
    if module._diff:
        result["diff"] = {
            "before_header": path,
            "after_header": path,
            "before": "".join(f"{name}: an entry\n" for name in present),
            "after": "".join(
                f"{name}: {'a new entry' if name in added or name in updated else 'an entry'}\n" for name in entries
            ),
        }
    module.exit_json(**result)


if __name__ == "__main__":
    main()
