# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian's kernel headers with all that they need, for the bundle: ... -m tests.scenarios.gpu_operator.packages FOLDER.

What an image lacks is found against the list of packages in the image, as apt inside would find it.
"""

from __future__ import annotations

import re
import sys
import tarfile
import tempfile
from pathlib import Path

from sandbox.rootfs import rootfs_tar
from sandbox.run import Steps, run, text

META = "linux-headers-amd64"


def headers() -> str:
    """The package with the headers of Debian's kernel, such as linux-headers-6.1.0-40-amd64."""
    found = re.search(r"Depends: (linux-headers-\S+)", text(["apt-cache", "depends", META]))
    if not found:
        raise SystemExit(f"packages: apt knows no {META}; run `apt-get update` on this machine")
    return found.group(1)


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    package = headers()
    if any(path.name.startswith(package + "_") for path in folder.glob("*.deb")):
        return
    with tempfile.TemporaryDirectory() as work, tarfile.open(rootfs_tar("python", Steps())) as tar:
        member = next(item for item in tar if item.name.lstrip("./") == "var/lib/dpkg/status")
        source = tar.extractfile(member)
        status = Path(work) / "status"
        status.write_bytes(source.read() if source else b"")
        options = ["-o", f"Dir::State::status={status}", "--no-install-recommends", "--print-uris", "-qq"]
        lines = text(["apt-get", *options, "install", package]).splitlines()
        found = [match.group(1) for line in lines if (match := re.match(r"'\S+' (\S+) ", line))]
        versions = ["=".join(name.replace("%3a", ":").split("_")[:2]) for name in found]
        # One call, since apt reads its lists anew in each.
        run(["apt-get", "download", "-q", *versions], cwd=folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
