#!/usr/bin/python
# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: secret_file
short_description: Make files that hold random secrets
version_added: "0.1.0"
description:
  - Makes sure that each file exists and holds a secret that only its owner can read.
  - A missing file gets a new secret from the operating system's random source. A file that is there is kept as it is,
    whoever wrote it; only its permissions are put right.
  - The values are never returned, shown in a diff or logged. Other tasks read them from the files.
author:
  - Airgap Speech contributors (@airgap-speech)
attributes:
  check_mode:
    description: Can predict what would be changed, without changing it.
    support: full
  diff_mode:
    description: Shows which files are made, replaced or given other permissions, never their content.
    support: full
options:
  path:
    description:
      - The files. Directories that are missing are made with mode 0700, files with mode 0600.
      - A file is written without a line feed at its end.
    type: list
    elements: path
    required: true
  kind:
    description:
      - V(text) is O(length) characters of O(alphabet).
      - V(hex) and V(base64) are O(length) random bytes in that encoding.
    type: str
    choices: [text, hex, base64]
    default: text
  length:
    description: Number of characters of V(text), or of random bytes of the others.
    type: int
    default: 40
  alphabet:
    description:
      - The characters that O(kind=text) is made of. Letters and digits if not given, which need no quoting anywhere.
    type: str
  force:
    description: Replaces the secrets that are there by new ones (a rotation).
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Make the passwords of the registry's users
  airgap.speech.secret_file:
    path:
      - ~/.airgap/secrets/registry-push-password
      - ~/.airgap/secrets/registry-pull-password

- name: Replace an API key
  airgap.speech.secret_file:
    path: ~/.airgap/secrets/api-keys/speech/demo/default
    force: true
"""

RETURN = r"""
created:
  description: Files that did not exist.
  returned: success
  type: list
  elements: str
  sample: ["/home/ops/.airgap/secrets/registry-push-password"]
rotated:
  description: Files whose secret was replaced.
  returned: success
  type: list
  elements: str
  sample: []
tightened:
  description: Files that others could read before.
  returned: success
  type: list
  elements: str
  sample: []
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.airgap.speech.plugins.module_utils.secrets.files import (
    DEFAULT_ALPHABET,
    SecretFileError,
    file_mode,
    new_secret,
    read_secret,
    write_file,
)

MODE = 0o600
#: Below this a secret of letters and digits can be guessed.
SHORTEST = 16


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "list", "elements": "path", "required": True},
            "kind": {"type": "str", "choices": ["text", "hex", "base64"], "default": "text"},
            "length": {"type": "int", "default": 40},
            "alphabet": {"type": "str"},
            "force": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    kind: str = module.params["kind"]
    length: int = module.params["length"]
    alphabet: str = module.params["alphabet"] or DEFAULT_ALPHABET
    if length < SHORTEST:
        module.fail_json(msg=f"length {length} makes a secret that can be guessed; use {SHORTEST} or more")

    created, rotated, tightened = [], [], []
    before, after = [], []
    try:
        for path in dict.fromkeys(module.params["path"]):
            mode = file_mode(path)
            if mode is None:
                created.append(path)
                before.append(f"{path}: absent")
                after.append(f"{path}: a new secret, mode 0600")
                if not module.check_mode:
                    write_file(path, new_secret(kind, length, alphabet).encode("utf-8"), MODE)
                continue
            if module.params["force"]:
                rotated.append(path)
                before.append(f"{path}: the old secret, mode {mode:04o}")
                after.append(f"{path}: a new secret, mode 0600")
                if not module.check_mode:
                    write_file(path, new_secret(kind, length, alphabet).encode("utf-8"), MODE)
                continue
            read_secret(path)
            if mode & 0o077:
                tightened.append(path)
                before.append(f"{path}: mode {mode:04o}")
                after.append(f"{path}: mode 0600")
                if not module.check_mode:
                    module.set_mode_if_different(path, MODE, False)
    except SecretFileError as err:
        module.fail_json(msg=str(err))

    result = {
        "changed": bool(created or rotated or tightened),
        "created": created,
        "rotated": rotated,
        "tightened": tightened,
    }
    if module._diff:
        result["diff"] = {
            "before": "".join(line + "\n" for line in before),
            "after": "".join(line + "\n" for line in after),
        }
    module.exit_json(**result)


if __name__ == "__main__":
    main()
