#!/usr/bin/python
# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bundle_parts
version_added: "0.1.0"
short_description: Split a bundle into parts that fit on media, or make a single part again
description:
  - Writes a bundle that lies in a directory as C(bundle.part001.tar), C(bundle.part002.tar) and so on, with a signed
    list of their digests. M(airgap.speech.bundle) does the same without the directory in between. This module is for
    a bundle that is there already, and for a part that was lost.
  - Each part is a plain tar of whole files of the bundle, or of ranges of a file that is larger than a part. Its bytes
    depend on the bundle and O(part_size) alone, so a part that is made again equals the one that was lost.
  - Carry with each part the files that lie beside it, which are C(bundle.lock.json), C(bundle.parts.json), their
    signatures and C(setup.sh).
  - Each part is read once and written once, and hashed meanwhile. The room that is needed is the size of the parts to
    write, and is checked before the first byte.
requirements:
  - ssh-keygen
author:
  - Airgap Speech contributors (@airgap-speech)
attributes:
  check_mode:
    support: full
    description: Says which parts would be written. Nothing is written.
  diff_mode:
    support: none
    description: The parts hold what the lock names, so there is no difference to show.
options:
  bundle:
    description: The directory of the whole bundle, with its lock and the signature of it.
    type: path
    required: true
  dest:
    description:
      - The directory for the parts. Parts of an earlier bundle in it are removed.
    type: path
    required: true
  part_size:
    description:
      - What fits on one medium, such as V(4.7G), V(25GB) or V(650Mi). The files beside a part are counted in.
    type: str
    required: true
  only:
    description:
      - Numbers of the parts to write, in place of all that lack. The list of all parts has to be in O(dest).
    type: list
    elements: int
    default: []
  signing_key:
    description:
      - The private key that signs the part list, without a passphrase. Needed where the list is new or changed.
    type: path
  allow_unsigned:
    description: Leave the part list without a signature where O(signing_key) is not given.
    type: bool
    default: false
  threads:
    description: Parts that are written at a time.
    type: int
    default: 2
"""

EXAMPLES = r"""
- name: Split the bundle for discs
  airgap.speech.bundle_parts:
    bundle: /srv/bundle
    dest: /srv/discs
    part_size: 25G
    signing_key: /home/ops/.airgap/signing/bundle_ed25519

- name: Make the third disc again
  airgap.speech.bundle_parts:
    bundle: /srv/bundle
    dest: /srv/discs
    part_size: 25G
    only: [3]
"""

RETURN = r"""
parts:
  description: All parts of the bundle.
  returned: success
  type: list
  elements: dict
  contains:
    number:
      description: Its number, from 1 on.
      type: int
    name:
      description: Its file below O(dest).
      type: str
    size:
      description: Its size in bytes.
      type: int
    digest:
      description: Its sha256. Empty in check mode where it was not made yet.
      type: str
    files:
      description: How many files, or ranges of files, of the bundle it holds.
      type: int
written:
  description: The files of the parts that were written. In check mode, that would be.
  returned: success
  type: list
  elements: str
removed:
  description: The files of an earlier split that were removed. In check mode, that would be.
  returned: success
  type: list
  elements: str
bytes_written:
  description: The bytes of the parts that were written. In check mode, that would be.
  returned: success
  type: int
beside:
  description: The files that each medium carries beside its part.
  returned: success
  type: list
  elements: str
seconds:
  description: How long it took.
  returned: success
  type: float
"""

import os
import time
import traceback
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.airgap.speech.plugins.module_utils.bundle import signature
from ansible_collections.airgap.speech.plugins.module_utils.bundle.cache import write_file
from ansible_collections.airgap.speech.plugins.module_utils.bundle.lock import (
    SIGNATURE_NAME,
    LockError,
    load,
)
from ansible_collections.airgap.speech.plugins.module_utils.bundle.parts import (
    COMPANIONS,
    LIST_NAME,
    LIST_SIGNATURE_NAME,
    SETUP_NAME,
    PartsError,
)
from ansible_collections.airgap.speech.plugins.module_utils.bundle.split import (
    Splitter,
    everywhere_of,
    parse_size,
    plan_parts,
)
from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import Layout, LayoutError


def split(module: AnsibleModule) -> dict[str, Any]:
    """One run of the module."""
    started = time.monotonic()
    params = module.params
    bundle, dest = params["bundle"], params["dest"]
    lock = load(bundle)
    paths = lock.paths()
    plan = plan_parts(
        lock,
        parse_size(params["part_size"]),
        everywhere_of(lock, Layout(os.path.join(bundle, "oci"))),
        paths[SETUP_NAME][1] if SETUP_NAME in paths else 0,
    )
    sources = {path: os.path.join(bundle, path) for path in paths}
    splitter = Splitter(dest, lock, plan, sources, threads=params["threads"], only=params["only"])
    fresh = not (splitter.listed() and os.path.isfile(os.path.join(dest, LIST_SIGNATURE_NAME)))
    refuse_unsigned(params, fresh)
    made = splitter.run(dry=module.check_mode)
    changed = seal(module, fresh) or made.changed
    return {
        "changed": changed,
        "parts": [
            {"number": p.number, "name": p.name, "size": p.size, "digest": p.digest, "files": len(p.entries)}
            for p in made.parts.parts
        ],
        "written": made.written,
        "removed": made.removed,
        "bytes_written": made.bytes_written,
        "beside": [name for name in COMPANIONS if os.path.isfile(os.path.join(dest, name))],
        "seconds": round(time.monotonic() - started, 3),
    }


def refuse_unsigned(params: dict[str, Any], fresh: bool) -> None:
    """See before anything is written that it can be signed in the end."""
    if params["allow_unsigned"]:
        return
    source = os.path.join(params["bundle"], SIGNATURE_NAME)
    if not os.path.isfile(source):
        raise PartsError(f"{source}: there is no signature; sign the bundle first, or set allow_unsigned")
    if fresh and not params["signing_key"]:
        raise PartsError(
            f"{os.path.join(params['dest'], LIST_NAME)}: has to be signed, and no signing_key is given; "
            "give the key that signed the bundle"
        )


def seal(module: AnsibleModule, fresh: bool) -> bool:
    """Bring the signatures to where the parts are; whether one had to be written."""
    params = module.params

    def run(argv: list[str], stdin: Any) -> tuple[int, str, str]:
        rc, out, err = module.run_command(argv, data=stdin, binary_data=True)
        return rc, out, err

    source, target = (os.path.join(params[where], SIGNATURE_NAME) for where in ("bundle", "dest"))
    changed = os.path.isfile(source) and content_of(source) != content_of(target)
    if changed and not module.check_mode:
        write_file(target, content_of(source))
    if not fresh or not params["signing_key"]:
        return changed
    if not module.check_mode:
        signature.sign(run, os.path.join(params["dest"], LIST_NAME), params["signing_key"])
    return True


def content_of(path: str) -> bytes:
    """The bytes of a small file, none where it is absent."""
    if not os.path.isfile(path):
        return b""
    with open(path, "rb") as handle:
        return handle.read()


def main() -> None:
    """Entry of the module."""
    module = AnsibleModule(
        argument_spec={
            "bundle": {"type": "path", "required": True},
            "dest": {"type": "path", "required": True},
            "part_size": {"type": "str", "required": True},
            "only": {"type": "list", "elements": "int", "default": []},
            "signing_key": {"type": "path", "no_log": False},
            "allow_unsigned": {"type": "bool", "default": False},
            "threads": {"type": "int", "default": 2},
        },
        supports_check_mode=True,
    )
    try:
        result = split(module)
    except (LayoutError, LockError, PartsError, signature.SignatureError) as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(
            msg=f"{module.params['dest']}: {error}; make room there, make it writable and {module.params['bundle']} "
            "readable, and run again: it goes on after the last whole part",
            exception=traceback.format_exc(),
        )
    module.exit_json(**result)


if __name__ == "__main__":
    main()
