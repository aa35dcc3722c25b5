# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The start of files/installer.pyz: verifies the whole bundle once more, then makes the controller."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time

from ansible_collections.airgap.speech.plugins.module_utils.bundle.archive import ArchiveError
from ansible_collections.airgap.speech.plugins.module_utils.bundle.install import Installer, InstallError
from ansible_collections.airgap.speech.plugins.module_utils.bundle.lock import LOCK_NAME, LockError, load
from ansible_collections.airgap.speech.plugins.module_utils.bundle.signature import SignatureError, verify
from ansible_collections.airgap.speech.plugins.module_utils.bundle.verify import BundleError, verify_bundle


def run(argv: list[str], stdin: bytes | None = b"") -> tuple[int, str, str]:
    """Run a command of this machine."""
    done = subprocess.run(argv, input=stdin, capture_output=True, check=False)
    return done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")


def say(line: str) -> None:
    """A line for the operator."""
    print(line, flush=True)


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="setup.sh")
    parser.add_argument("--bundle", required=True)
    parser.add_argument("--signers", required=True)
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
        principal = verify(run, os.path.join(options.bundle, LOCK_NAME), options.signers)
        lock = load(options.bundle)
        verify_bundle(options.bundle, lock, options.threads, progress)
        say(
            f"verify: {len(lock.paths())} files, {lock.size >> 20} MB, signed by {principal}, "
            f"{time.monotonic() - started:.1f} s"
        )
        started = time.monotonic()
        with open(options.signers, encoding="utf-8") as handle:
            signers = handle.read()
        changed = Installer(options.bundle, lock, options.prefix, run, say, signers).install()
    except (ArchiveError, BundleError, InstallError, LockError, OSError, SignatureError) as error:
        print(f"setup.sh: {error}", file=sys.stderr)
        return 1
    say("controller: {}, {:.1f} s".format("changed" if changed else "nothing to do", time.monotonic() - started))
    return 0


if __name__ == "__main__":
    sys.exit(main())
