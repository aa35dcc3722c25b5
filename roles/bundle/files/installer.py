# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The start of files/installer.pyz: verifies the whole bundle once more, then makes the controller."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time

from ansible_collections.airgap.speech.plugins.module_utils.bundle.archive import ArchiveError
from ansible_collections.airgap.speech.plugins.module_utils.bundle.install import Installer, InstallError
from ansible_collections.airgap.speech.plugins.module_utils.bundle.lock import LOCK_NAME, LockError
from ansible_collections.airgap.speech.plugins.module_utils.bundle.parts import (
    LIST_NAME,
    Opened,
    PartsError,
    open_bundle,
    verify_opened,
)
from ansible_collections.airgap.speech.plugins.module_utils.bundle.signature import SignatureError, verify
from ansible_collections.airgap.speech.plugins.module_utils.bundle.verify import BundleError


def run(argv: list[str], stdin: bytes | None = b"") -> tuple[int, str, str]:
    """Run a command of this machine."""
    done = subprocess.run(argv, input=stdin, capture_output=True, check=False)
    return done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")


def say(line: str) -> None:
    """A line for the operator."""
    print(line, flush=True)


def install(opened: Opened, prefix: str, signers: str) -> bool:
    """Make the controller. Out of parts, its files (and nothing else) are taken out first, and removed in the end."""
    if opened.shelf is None:
        return Installer(opened.paths[0], opened.lock, prefix, run, say, signers).install()
    os.makedirs(prefix, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".staging-", dir=prefix) as staging:
        installer = Installer(staging, opened.lock, prefix, run, say, signers)
        if not installer.complete():
            for item in installer.wanted():
                opened.take(item.path, os.path.join(staging, item.path))
        return installer.install()


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="setup.sh")
    parser.add_argument("--bundle", required=True)
    parser.add_argument("--signers", required=True)
    parser.add_argument("--signatures", type=int, default=1)
    parser.add_argument("--revoked", default="")
    parser.add_argument("--prefix", required=True)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    shown = [time.monotonic()]

    def progress(done: int, total: int) -> None:
        if time.monotonic() - shown[0] >= 2:
            shown[0] = time.monotonic()
            say(f"verify: {done >> 20} of {total >> 20} MB")

    started = time.monotonic()
    try:
        trusted = (options.signers, options.revoked, options.signatures)
        principal = verify(run, os.path.join(options.bundle, LOCK_NAME), *trusted)
        if os.path.exists(os.path.join(options.bundle, LIST_NAME)):
            verify(run, os.path.join(options.bundle, LIST_NAME), *trusted)
        opened = open_bundle([options.bundle])
        count = verify_opened(opened, options.threads, progress)
        what = f"{len(opened.lock.paths())} files"
        if opened.shelf is not None:
            what = f"{len(opened.shelf.present)} of {len(opened.shelf.parts.parts)} parts"
        say(f"verify: {what}, {count >> 20} MB, signed by {principal}, {time.monotonic() - started:.1f} s")
        started = time.monotonic()
        with open(options.signers, encoding="utf-8") as handle:
            signers = handle.read()
        changed = install(opened, options.prefix, signers)
    except (ArchiveError, BundleError, InstallError, LockError, OSError, PartsError, SignatureError) as error:
        print(f"setup.sh: {error}", file=sys.stderr)
        return 1
    say("controller: {}, {:.1f} s".format("changed" if changed else "nothing to do", time.monotonic() - started))
    return 0


if __name__ == "__main__":
    sys.exit(main())
