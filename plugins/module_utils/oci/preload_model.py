# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is to be placed, for whom, and what happened: the plain data of a preload."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ansible_collections.airgap.speech.plugins.module_utils.oci.digest import DigestError, parse_digest
from ansible_collections.airgap.speech.plugins.module_utils.oci.errors import human_bytes


class PreloadError(Exception):
    """A model cannot be placed; the text names it, the cause and the next step."""


def safe_path(path: str, what: str) -> str:
    """The path, which may not leave the directory that it is relative to."""
    parts = path.split("/")
    if not path or "\0" in path or path.startswith("/") or any(part in ("", ".", "..") for part in parts):
        raise PreloadError(f"{what}: the path {path!r} could leave its directory; make the model again")
    return path


@dataclass(frozen=True)
class ModelFile:
    """A file of a model, as the bundle's lock has it. Size in bytes."""

    path: str
    digest: str
    size: int


@dataclass(frozen=True)
class Model:
    """A model that is wanted: the digest of its image decides what it is."""

    name: str
    version: str
    digest: str
    files: tuple[ModelFile, ...] = ()

    @property
    def hex(self) -> str:
        """The digits of its digest: the name of its directory."""
        return parse_digest(self.digest)[1]

    @property
    def title(self) -> str:
        """How it is called in messages."""
        return f"model {self.name}:{self.version}"

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> Model:
        """Take a model from plain data and refuse what could leave the directory."""
        name, version, digest = (str(raw.get(key) or "") for key in ("name", "version", "digest"))
        safe_path(name, f"model {name!r}")
        if any(part.startswith(".") or "@" in part for part in name.split("/")):
            raise PreloadError(f"model {name!r}: a name may not start with a dot or hold an @; give it another name")
        if not version:
            raise PreloadError(f"model {name}: it has no version; name one")
        if "/" in version or "\0" in version:
            raise PreloadError(f"model {name}: the version {version!r} has a slash in it; name it without")
        try:
            parse_digest(digest)
        except DigestError as error:
            raise PreloadError(f"model {name}: {error}") from error
        files = tuple(
            ModelFile(str(entry["path"]), str(entry["digest"]), int(entry["size"])) for entry in raw.get("files") or ()
        )
        return cls(name, version, digest, files)


@dataclass(frozen=True)
class Owner:
    """Whom the files belong to and how they may be read; nothing given means as they are made."""

    uid: int = -1
    gid: int = -1
    mode: int = 0o644
    # The type of the SELinux context, where SELinux is on.
    selinux_type: str = ""

    @property
    def directory_mode(self) -> int:
        """The mode for directories: whoever reads a file may enter its directory."""
        return self.mode | ((self.mode & 0o444) >> 2)


@dataclass
class ModelResult:
    """What happened to one model: status is present, written or switched; bytes of the files that were written."""

    name: str
    version: str
    digest: str
    status: str = "present"
    files: int = 0
    bytes: int = 0


@dataclass
class PreloadResult:
    """What happened to all of them. Before and after are the digests that the links stand for."""

    models: list[ModelResult] = field(default_factory=list)
    files_written: int = 0
    bytes_written: int = 0
    pruned: list[str] = field(default_factory=list)
    owned: int = 0
    seconds: float = 0.0
    before: dict[str, str] = field(default_factory=dict)
    after: dict[str, str] = field(default_factory=dict)

    @property
    def changed(self) -> bool:
        """Whether anything is different from before."""
        return bool(self.pruned or self.owned or any(model.status != "present" for model in self.models))

    def summary(self, check: bool = False) -> str:
        """The run in one line."""
        there = sum(1 for model in self.models if model.status == "present")
        if there == len(self.models):
            return f"All {there} models already there"
        amount = f"{len(self.models) - there} models, {self.files_written} files, {human_bytes(self.bytes_written)}"
        head = f"Would place {amount}" if check else f"Placed {amount} in {self.seconds:.1f} s"
        return f"{head}, {there} already there"

    def as_dict(self) -> dict[str, Any]:
        """Plain data for a module's result or a Job's message."""
        return {
            "changed": self.changed,
            "models": [asdict(model) for model in self.models],
            "files_written": self.files_written,
            "bytes_written": self.bytes_written,
            "pruned": self.pruned,
            "seconds": round(self.seconds, 3),
        }
