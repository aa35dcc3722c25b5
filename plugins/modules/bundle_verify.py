#!/usr/bin/python
# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bundle_verify
version_added: "0.1.0"
short_description: Hold a bundle against its signature and its lock
description:
  - Verifies the signature of the lock first, against signers that the operator supplies, then every file and every blob
    against the lock. Names each file that is missing, altered or not in the lock.
  - Of a bundle in parts it verifies the signature of the part list as well, and each part that is at hand where it
    lies. A part that is not at hand is no error, RV(wanted) names it.
  - Changes nothing.
requirements:
  - ssh-keygen
author:
  - Airgap Speech contributors (@airgap-speech)
attributes:
  check_mode:
    support: full
    description: Verifies in check mode as it does otherwise.
  diff_mode:
    support: none
    description: Changes nothing, so there is no difference to show.
options:
  path:
    description: The directory of the bundle, or each directory that holds parts of it.
    type: list
    elements: path
    required: true
  signers:
    description: An ssh C(allowed_signers) file with the signers that are trusted. It must not come from the bundle.
    type: path
  fingerprint:
    description: The fingerprint of the one key that is trusted, in place of O(signers).
    type: str
  revoked:
    description:
      - A file of keys that are trusted no more, as C(ssh-keygen -k) makes it or as a list of public keys.
      - A signature by one of them counts for nothing.
    type: path
  signatures:
    description: How many different trusted keys have to have signed. With O(fingerprint) it is one.
    type: int
    default: 1
  allow_unsigned:
    description: Take a bundle without a signature. A signature that is there and wrong is refused all the same.
    type: bool
    default: false
  threads:
    description: How many files are read at a time.
    type: int
    default: 2
"""

EXAMPLES = r"""
- name: Refuse a bundle that was altered on the way
  airgap.speech.bundle_verify:
    path: /srv/bundle
    signers: ~/.airgap/allowed_signers

- name: Verify the parts on two drives
  airgap.speech.bundle_verify:
    path: [/media/one, /media/two]
    signers: ~/.airgap/allowed_signers
"""

RETURN = r"""
principal:
  description: Who signed, several joined by a comma. Empty where no signature was asked for.
  returned: success
  type: str
  sample: airgap-speech-bundle
created:
  description: When the bundle was made, in UTC.
  returned: success
  type: str
  sample: "2026-11-21T12:00:00Z"
parts:
  description: How many parts the bundle has. None where it is not split.
  returned: success
  type: int
  sample: 7
wanted:
  description: The parts that are not at hand, and so were not verified.
  returned: success
  type: list
  elements: str
  sample: ["part 3 of 7 (bundle.part003.tar)"]
lock:
  description: The lock that was read.
  returned: success
  type: str
  sample: /media/bundle/bundle.lock.json
files:
  description: How many files the bundle has, blobs included.
  returned: success
  type: int
  sample: 84
blobs:
  description: How many of them are blobs.
  returned: success
  type: int
  sample: 23
images:
  description: How many images the bundle holds.
  returned: success
  type: int
  sample: 2
charts:
  description: How many charts the bundle holds.
  returned: success
  type: int
  sample: 1
models:
  description: How many models the bundle holds.
  returned: success
  type: int
  sample: 3
bytes:
  description: How many bytes were verified.
  returned: success
  type: int
  sample: 812345678
seconds:
  description: How long it took.
  returned: success
  type: float
  sample: 1.2
problems:
  description: What is wrong, a line a file.
  returned: failure
  type: list
  elements: str
  sample: ["files/tools/helm: is missing; copy that file again"]
"""

import os
import time
import traceback

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.airgap.speech.plugins.module_utils.bundle import signature
from ansible_collections.airgap.speech.plugins.module_utils.bundle.lock import LOCK_NAME, LockError
from ansible_collections.airgap.speech.plugins.module_utils.bundle.parts import (
    LIST_NAME,
    PartsError,
    open_bundle,
    verify_opened,
)
from ansible_collections.airgap.speech.plugins.module_utils.bundle.verify import BundleError


def who_signed(module, lock_path):
    """The principal, or nothing where an unsigned bundle is allowed."""
    params = module.params

    def run(argv, stdin):
        return module.run_command(argv, data=stdin, binary_data=True)

    if params["allow_unsigned"] and not os.path.exists(lock_path + ".sig"):
        module.warn(f"{lock_path}: has no signature, and airgap_bundle_allow_unsigned lets it pass")
        return ""
    if params["fingerprint"]:
        return signature.verify_fingerprint(run, lock_path, params["fingerprint"], params["revoked"] or "")
    if not params["signers"]:
        if params["allow_unsigned"]:
            module.warn(f"{lock_path}: its signature was not verified, since no signers were given")
            return ""
        raise signature.SignatureError(
            f"{lock_path}: nobody is trusted to sign it; set airgap_bundle_signers to an allowed_signers file"
        )
    signers = os.path.realpath(params["signers"])
    if any(signers.startswith(os.path.realpath(path) + os.sep) for path in params["path"]):
        raise signature.SignatureError(
            f"{signers}: lies inside the bundle, so the bundle would vouch for itself; bring the file from elsewhere"
        )
    return signature.verify(run, lock_path, params["signers"], params["revoked"] or "", params["signatures"])


def vouched(paths, name):
    """The first copy of a file that has a signature beside it, else the first copy."""
    there = [os.path.join(path, name) for path in paths if os.path.isfile(os.path.join(path, name))]
    return next((path for path in there if os.path.isfile(path + ".sig")), there[0] if there else "")


def main():
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "list", "elements": "path", "required": True},
            "signers": {"type": "path"},
            "fingerprint": {"type": "str"},
            "revoked": {"type": "path"},
            "signatures": {"type": "int", "default": 1},
            "allow_unsigned": {"type": "bool", "default": False},
            "threads": {"type": "int", "default": 2},
        },
        mutually_exclusive=[("signers", "fingerprint")],
        supports_check_mode=True,
    )
    started = time.monotonic()
    try:
        # The copies of lock and list on the other media have to equal those whose signatures were verified.
        lock_path = vouched(module.params["path"], LOCK_NAME)
        if not lock_path:
            first = os.path.join(module.params["path"][0], LOCK_NAME)
            raise LockError(f"{first}: there is no lock, so this is no bundle; check airgap_bundle")
        principal = who_signed(module, lock_path)
        list_path = vouched(module.params["path"], LIST_NAME)
        if list_path:
            who_signed(module, list_path)
        opened = open_bundle(module.params["path"])
        count = verify_opened(opened, module.params["threads"])
    except BundleError as error:
        module.fail_json(msg=str(error), problems=error.problems)
    except (LockError, OSError, PartsError, signature.SignatureError) as error:
        module.fail_json(msg=str(error), problems=[str(error)], exception=traceback.format_exc())
    lock = opened.lock
    module.exit_json(
        changed=False,
        principal=principal,
        created=lock.created,
        lock=opened.lock_path,
        parts=len(opened.shelf.parts.parts) if opened.shelf else 0,
        wanted=[opened.label(name) for name in opened.wanted()],
        files=len(lock.paths()),
        blobs=len(lock.blobs),
        images=len(lock.images),
        charts=len(lock.charts),
        models=len(lock.models),
        bytes=count,
        seconds=round(time.monotonic() - started, 3),
    )


if __name__ == "__main__":
    main()
