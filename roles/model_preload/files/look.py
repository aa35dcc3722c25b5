# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks at models that are mounted as image volumes, inside a pod: every file is there, with its size or its sha256.

look.py CONFIG DIRECTORY RESULT: a model lies in DIRECTORY/<hex of its digest>.
"""

import hashlib
import json
import os
import sys


def wrong(path, entry, full):
    """What is wrong with a file, or nothing."""
    try:
        size = os.stat(path).st_size
    except OSError as error:
        return error.strerror
    if size != entry["size"]:
        return f"{size} bytes where the lock has {entry['size']}"
    if full:
        hasher = hashlib.sha256()
        with open(path, "rb", buffering=0) as stream:
            for chunk in iter(lambda: stream.read(1 << 20), b""):
                hasher.update(chunk)
        if "sha256:" + hasher.hexdigest() != entry["digest"]:
            return "its sha256 differs"
    return ""


def main(config_path, directory, result_path):
    """See all of them, and say it in JSON."""
    with open(config_path) as stream:
        config = json.load(stream)
    bad, files = [], 0
    for model in config["models"]:
        root = os.path.join(directory, model["digest"].partition(":")[2])
        if not os.listdir(root):
            bad.append(f"{model['name']}:{model['version']}: it is empty")
        for entry in model.get("files") or ():
            files += 1
            found = wrong(os.path.join(root, entry["path"]), entry, config["verify"] == "full")
            if found:
                bad.append(f"{model['name']}:{model['version']}, {entry['path']}: {found}")
    if bad:
        result = {"error": "; ".join(bad)[:3000]}
    else:
        result = {"summary": f"{len(config['models'])} models, {files} files are there"}
    text = json.dumps(result, sort_keys=True)
    print(text)
    with open(result_path, "w") as stream:
        stream.write(text)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
