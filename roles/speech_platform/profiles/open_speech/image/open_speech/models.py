# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Models on the volume: found, checked by size and SHA-256, and never looked for anywhere else."""

from __future__ import annotations

import hashlib
import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from .errors import StartError

SCHEMA = "airgap.speech/model/v1"
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_AGAIN = "place the model on the volume again (role model_preload)"


@dataclass(frozen=True)
class ModelFile:
    path: str
    sha256: str
    size: int


@dataclass(frozen=True)
class Model:
    """A model whose files are on the volume and are what its manifest says."""

    name: str
    version: str
    kind: str
    engine: str
    directory: Path
    files: tuple[ModelFile, ...]

    def one(self, suffix: str) -> Path:
        """The only file with this suffix."""
        found = [file.path for file in self.files if file.path.endswith(suffix)]
        if len(found) != 1:
            raise StartError(
                f"model {self.name}: model.json lists {len(found)} files *{suffix}, {self.engine} needs one; "
                "correct the model"
            )
        return self.directory / found[0]

    def has(self, path: str) -> bool:
        return any(file.path == path for file in self.files)


def verify(models_dir: Path, wanted: dict[str, tuple[str, str]], *, threads: int = 4) -> dict[str, Model]:
    """Every wanted model (name -> kind, engine), with all of its files checked; StartError names the first fault."""
    if not models_dir.is_dir():
        raise StartError(f"models: {models_dir} is no directory; mount the model volume there")
    models = {name: _manifest(models_dir / name, name, kind, engine) for name, (kind, engine) in wanted.items()}
    with ThreadPoolExecutor(max(1, threads), "verify") as pool:
        work = [(model, file) for model in models.values() for file in model.files]
        for fault in pool.map(lambda item: _fault(*item), work):
            if fault:
                raise StartError(fault)
    return models


def _manifest(directory: Path, name: str, kind: str, engine: str) -> Model:
    path = directory / "model.json"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StartError(f"model {name}: missing, there is no {path}; {_AGAIN}") from None
    except OSError as error:
        raise StartError(f"model {name}: {path}: {error.strerror}; make it readable for uid 65532") from None
    except ValueError as error:
        raise StartError(f"model {name}: {path}: not JSON ({error}); {_AGAIN}") from None
    try:
        model = _parse(data, directory)
    except (KeyError, TypeError, ValueError) as error:
        raise StartError(f"model {name}: {path}: not a manifest of schema {SCHEMA} ({error!r}); {_AGAIN}") from None
    for what, actual, expected in (
        ("name", model.name, name),
        ("kind", model.kind, kind),
        ("engine", model.engine, engine),
    ):
        if actual != expected:
            raise StartError(f"model {name}: {path}: {what} is {actual!r}, expected {expected!r}; name another model")
    return model


def _parse(data: Any, directory: Path) -> Model:
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise ValueError("wrong schema")
    files = []
    for entry in data["files"]:
        file = ModelFile(str(entry["path"]), str(entry["sha256"]), int(entry["size"]))
        pure = PurePosixPath(file.path)
        if not file.path or pure.is_absolute() or ".." in pure.parts or file.path == "model.json":
            raise ValueError(f"path {file.path!r}")
        if not _SHA256.match(file.sha256):
            raise ValueError(f"sha256 of {file.path}")
        files.append(file)
    if not files:
        raise ValueError("no files")
    values = [str(data[key]) for key in ("name", "version", "kind", "engine")]
    return Model(*values, directory=directory, files=tuple(files))


def _fault(model: Model, file: ModelFile) -> str | None:
    path = model.directory / file.path
    try:
        size = path.stat().st_size
        if size != file.size:
            return f"model {model.name}: {path}: size differs, expected {file.size} bytes, actual {size}; {_AGAIN}"
        with path.open("rb") as stream:
            actual = hashlib.file_digest(stream, "sha256").hexdigest()
    except FileNotFoundError:
        return f"model {model.name}: {path}: missing; {_AGAIN}"
    except OSError as error:
        return f"model {model.name}: {path}: {error.strerror}; make it readable for uid 65532"
    if actual != file.sha256:
        return f"model {model.name}: {path}: sha256 differs, expected {file.sha256}, actual {actual}; {_AGAIN}"
    return None
