# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much disk the images of a bundle take unpacked, against their packed layers: `python -m dev.unpacked BUNDLE`.

The factor in plugins/module_utils/sizing/disk.py comes from here. Files are rounded up to blocks of 4 KiB.
"""

from __future__ import annotations

import argparse
import json
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BLOCK = 4096


def layers(bundle: Path, digest: str) -> Iterator[dict[str, Any]]:
    """The layers of an image, of all its platforms."""
    manifest = json.loads((bundle / "oci/blobs" / digest.replace(":", "/")).read_text())
    for part in manifest.get("manifests", []):
        yield from layers(bundle, part["digest"])
    yield from manifest.get("layers", [])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    bundle = parser.parse_args().bundle
    lock = json.loads((bundle / "bundle.lock.json").read_text())
    for image in lock["images"]:
        packed = unpacked = 0
        for layer in layers(bundle, image["digest"]):
            packed += layer["size"]
            with tarfile.open(bundle / "oci/blobs" / layer["digest"].replace(":", "/")) as archive:
                unpacked += sum(BLOCK if item.isdir() else -(-item.size // BLOCK) * BLOCK for item in archive)
        ratio = unpacked / packed if packed else 0.0
        print(f"{image['reference']}: {packed} bytes packed, {unpacked} unpacked, {ratio:.2f} times")
    return 0


if __name__ == "__main__":
    sys.exit(main())
