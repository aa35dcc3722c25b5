# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The images of the scenario, as archives: python -m tests.scenarios.gpu_operator.images FOLDER.

operator.tar is busybox with a program vectorAdd, which stands for every image of NVIDIA's; nfd.tar has the real node
feature discovery, built from its Go module.
"""

from __future__ import annotations

import sys
from pathlib import Path

from sandbox.build import Builder
from sandbox.containers import File, tar_of
from sandbox.images import base_files, busybox_files, make_image, write_archive
from sandbox.run import Steps

VECTOR_ADD = b"#!/bin/sh\necho 'Test PASSED'\n"


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    steps = Steps()
    builder = Builder(steps, ["nfd"])
    try:
        programs = builder.get("nfd")
    finally:
        builder.close()
    operator = [*busybox_files(steps), File("bin/vectorAdd", VECTOR_ADD, 0o755)]
    nfd = [*base_files(), *(File(path.name, path.read_bytes(), 0o755) for path in sorted(programs.iterdir()))]
    for name, files, path in (("operator", operator, "/bin"), ("nfd", nfd, "/")):
        image = make_image([tar_of(files)], {"Env": [f"PATH={path}"]}, compress=False)
        write_archive(image, f"sandbox.airgap.internal/{name}:1", folder / f"{name}.tar")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
