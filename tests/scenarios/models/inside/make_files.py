# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of a vendor on the bastion, in two versions of random bytes, with lists as sha256sum writes them.

make_files.py DIRECTORY MEBIBYTES
"""

import hashlib
import os
import sys


def main() -> None:
    for version in ("1", "2"):
        root = os.path.join(sys.argv[1], version)
        os.makedirs(os.path.join(root, "sub"), exist_ok=True)
        sums = []
        for path, mebibytes in (("nova.dg", int(sys.argv[2])), ("sub/second.dg", 8), ("sub/empty.dg", 0)):
            hasher = hashlib.sha256()
            with open(os.path.join(root, path), "wb") as stream:
                for _piece in range(mebibytes):
                    piece = os.urandom(1 << 20)
                    hasher.update(piece)
                    stream.write(piece)
            sums.append(f"{hasher.hexdigest()}  {path}\n")
        with open(os.path.join(root, "SHA256SUMS"), "w", encoding="utf-8") as stream:
            stream.writelines(sums)


if __name__ == "__main__":
    main()
