# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An image as large as a small speech engine: python -m tests.scenarios.node_runtime.images FOLDER."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from sandbox.containers import File, tar_of
from sandbox.images import busybox_files, make_image, write_archive
from sandbox.run import Steps

SIZE = 512 << 20


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    files = [*busybox_files(Steps()), File("model", os.urandom(SIZE), 0o644)]
    image = make_image([tar_of(files)], {"Env": ["PATH=/bin"]}, compress=False)
    write_archive(image, "sandbox.airgap.internal/large:1", folder / "large.tar")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
