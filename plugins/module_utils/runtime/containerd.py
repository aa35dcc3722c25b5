# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""containerd's own configuration, versions 1.6 to 2.x: what holds in the end, and what has to be written where.

containerd reads its main file, then what that imports. Version 1 replaces a plugin's whole section by that of a later
file, version 2 merges them. So what a change does is asked of containerd itself (``containerd config dump``), on copies
of the files, before the files are touched.
"""

from __future__ import annotations

import glob
import os
import re
import tempfile
from dataclasses import dataclass, field
from typing import Callable, Dict, List, Optional, Sequence, Tuple

from ansible_collections.airgap.speech.plugins.module_utils.runtime import toml_text
from ansible_collections.airgap.speech.plugins.module_utils.runtime.toml_text import Path, TomlError

# Runs a command: (return code, standard output, standard error).
Run = Callable[[Sequence[str]], Tuple[int, str, str]]

_CRI, _IMAGES = "io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images"
# The plugin that pulls for the kubelet, by the version of the config.
_PLUGINS = {1: "cri", 2: _CRI, 3: _IMAGES, 4: _IMAGES}
_HOSTS_DIR: Path = ("registry", "config_path")
_SYNC_FS: Path = ("image_pull_with_sync_fs",)
COMMENT = "Added by airgap.speech (role node_runtime)"


class ContainerdError(Exception):
    """The configuration cannot be read, or cannot be made right; the message says what to do."""


@dataclass(frozen=True)
class Dump:
    """What containerd's configuration comes to."""

    hosts_dirs: Tuple[str, ...]
    sync_fs: Optional[bool]  # None: this containerd does not know it
    discards_layers: bool
    root: str
    snapshotter: str
    old_mirrors: Tuple[str, ...]

    @classmethod
    def read(cls, text: str) -> Dump:
        values = {entry.path: entry.value for entry in toml_text.entries(text)}
        plugin = next((name for name in (_IMAGES, _CRI, "cri") if any(p[:2] == ("plugins", name) for p in values)), "")
        if not plugin:
            raise ContainerdError(
                "containerd's configuration has no plugin that pulls images for the kubelet (cri); take it out of "
                "disabled_plugins"
            )

        def value(*path: str) -> Optional[str]:
            return values.get(("plugins", plugin, *path))

        sync_fs = value(*_SYNC_FS)
        registry = ("plugins", plugin, "registry")
        old = {path[4] for path in values if path[:4] == (*registry, "mirrors") and len(path) > 4} | {
            path[4] for path in values if path[:4] == (*registry, "configs") and len(path) > 5 and path[5] == "tls"
        }
        return cls(
            hosts_dirs=tuple(part for part in toml_text.string(value(*_HOSTS_DIR)).split(":") if part),
            sync_fs=None if sync_fs is None else sync_fs == "true",
            discards_layers=value("discard_unpacked_layers") == "true",
            root=toml_text.string(values.get(("root",))) or "/var/lib/containerd",
            snapshotter=toml_text.string(value("snapshotter") or value("containerd", "snapshotter")) or "overlayfs",
            old_mirrors=tuple(sorted(old)),
        )


@dataclass
class Change:
    """A file of the configuration and what it has to hold."""

    path: str
    before: Optional[str]  # None: the file is not there
    after: str


@dataclass
class Plan:
    """What containerd has, and the changes that give it what is wanted."""

    dump: Dump
    changes: List[Change] = field(default_factory=list)
    notes: List[str] = field(default_factory=list)


class Containerd:
    """containerd's program and main file on this host."""

    def __init__(self, run: Run, program: str, config: str) -> None:
        self._run, self._program, self._config = run, program, config

    def version(self) -> Tuple[int, int]:
        """Major and minor number."""
        said = self._ask([self._program, "--version"])
        found = re.search(r"\bv?(\d+)\.(\d+)\.\d+", said)
        if not found:
            raise ContainerdError(
                f"{self._program} --version says {said.strip()!r}, which has no version; is it containerd?"
            )
        return int(found.group(1)), int(found.group(2))

    def dump(self, config: str = "") -> Dump:
        """What the configuration of a file comes to, as containerd sees it; the defaults where there is no file."""
        name = config or self._config
        # containerd 1 does not dump what it would do without a file.
        argv = ["--config", name, "config", "dump"] if os.path.exists(name) else ["config", "default"]
        return Dump.read(self._ask([self._program, *argv]))

    def plan(self, hosts_dir: str, sync_fs: bool) -> Plan:
        """What has to change so that images are pulled by the hosts files of ``hosts_dir``, and synced where wanted."""
        plan = Plan(self.dump())
        if plan.dump.old_mirrors:
            raise ContainerdError(
                f"{self._config} sets registry.mirrors or registry.configs for {', '.join(plan.dump.old_mirrors)}, "
                f"which containerd refuses beside a hosts directory; move them to files in {hosts_dir} and remove them"
            )
        wanted: List[Tuple[Path, str]] = []
        if hosts_dir not in plan.dump.hosts_dirs:
            if plan.dump.hosts_dirs:
                # Ours comes first: containerd takes the first directory that has the host.
                wanted.append((_HOSTS_DIR, toml_text.quoted(":".join((hosts_dir, *plan.dump.hosts_dirs)))))
            else:
                wanted.append((_HOSTS_DIR, toml_text.quoted(hosts_dir)))
        if sync_fs and plan.dump.sync_fs is None:
            plan.notes.append(
                "this containerd does not know image_pull_with_sync_fs: after a cut of power, look for torn layers "
                "(node_runtime_verify)"
            )
        elif sync_fs and not plan.dump.sync_fs:
            wanted.append((_SYNC_FS, "true"))
        if not wanted:
            return plan
        major = self.version()[0]
        files = self._files()
        texts = dict(files)
        if self._config not in texts:
            texts[self._config] = f"version = {3 if major >= 2 else 2}\n"
        before = dict(files)
        for path, value in wanted:
            name = self._place(texts, path, major)
            texts[name] = toml_text.set_value(texts[name], self._full(texts[name], path), value, COMMENT)
        self._check(texts, hosts_dir, sync_fs and plan.dump.sync_fs is not None)
        plan.changes = [
            Change(name, before.get(name), text) for name, text in texts.items() if before.get(name) != text
        ]
        return plan

    def _files(self) -> Dict[str, str]:
        """The text of the main file and of all that it imports, in the order in which containerd loads them."""
        found: Dict[str, str] = {}
        pending = [self._config]
        while pending:
            path = pending.pop(0)
            if path in found:
                continue
            try:
                with open(path, encoding="utf-8") as handle:
                    found[path] = handle.read()
            except FileNotFoundError:
                if path == self._config:
                    return {}
                raise ContainerdError(
                    f"{path} is imported and not there; correct the imports of {self._config}"
                ) from None
            try:
                imports = toml_text.strings(toml_text.get(found[path], ("imports",)))
            except TomlError as err:
                raise ContainerdError(f"{path}: {err}; correct it, containerd reads it too") from err
            for name in imports:
                place = os.path.normpath(os.path.join(os.path.dirname(path), name))
                pending += sorted(glob.glob(place)) if "*" in place else [place]
        return found

    @staticmethod
    def _version_of(text: str) -> int:
        value = toml_text.get(text, ("version",))
        return int(value) if value and value.isdigit() else 1

    def _full(self, text: str, path: Path) -> Path:
        return ("plugins", _PLUGINS.get(self._version_of(text), _IMAGES), *path)

    def _place(self, texts: Dict[str, str], path: Path, major: int) -> str:
        """The file in which a value takes effect: the last that sets it, or (version 1) the last with the plugin."""
        place = self._config
        for name, text in texts.items():
            full = self._full(text, path)
            paths = [item.path for item in toml_text.scan(text) if isinstance(item, (toml_text.Entry, toml_text.Table))]
            if full in paths or (major < 2 and any(item[:2] == full[:2] for item in paths)):
                place = name
        return place

    def _check(self, texts: Dict[str, str], hosts_dir: str, sync_fs: bool) -> None:
        """Ask containerd what the files would come to, before they are written."""
        with tempfile.TemporaryDirectory(prefix="airgap-containerd-") as folder:
            copies = {name: os.path.join(folder, f"{number}.toml") for number, name in enumerate(texts)}
            for name, original in texts.items():
                text = original
                if name == self._config:
                    others = [copies[other] for other in texts if other != name]
                    text = toml_text.set_value(text, ("imports",), "[" + ", ".join(map(toml_text.quoted, others)) + "]")
                elif toml_text.get(text, ("imports",)) is not None:
                    text = toml_text.set_value(text, ("imports",), "[]")
                with open(copies[name], "w", encoding="utf-8") as handle:
                    handle.write(text)
            made = self.dump(copies[self._config])
        if hosts_dir not in made.hosts_dirs or (sync_fs and not made.sync_fs):
            raise ContainerdError(
                f"{self._config}: with config_path and image_pull_with_sync_fs set, containerd still does not see them "
                "(config dump); another file that it imports, or an inline table, decides: set them there by hand"
            )

    def _ask(self, argv: Sequence[str]) -> str:
        rc, out, err = self._run(argv)
        if rc != 0:
            raise ContainerdError(
                f"{' '.join(argv)}: exit status {rc}: {err.strip()[-500:] or 'no message'}; "
                "correct the configuration first"
            )
        return out
