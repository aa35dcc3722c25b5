# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What containerd itself says of the configurations that we make: the sandbox's 2.x, and others by CONTAINERD_PROGRAMS.

CONTAINERD_PROGRAMS names further programs, separated by colons. 1.6 and 1.7 are built with
`go build ./cmd/containerd` in their modules (docs/nodes.md).
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from ansible_collections.airgap.speech.plugins.module_utils.runtime.containerd import Containerd, ContainerdError, Dump
from sandbox.build import tool_dir

HOSTS = "/etc/containerd/certs.d"
PROGRAMS = [str(tool_dir("containerd") / "containerd")]
PROGRAMS += [name for name in os.environ.get("CONTAINERD_PROGRAMS", "").split(":") if name]
V2 = 'version = 2\n[plugins."io.containerd.grpc.v1.cri"]\n  sandbox_image = "own/pause:1" # why\n'
V3 = "version = 3\n[plugins.'io.containerd.cri.v1.images'.registry]\n  config_path = ''\n"


def run(argv: Sequence[str]) -> tuple[int, str, str]:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(params=PROGRAMS, ids=lambda path: Path(path).name)
def program(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def containerd(program: str, folder: Path, **files: str) -> Containerd:
    for name, text in files.items():
        (folder / f"{name}.toml").write_text(text)
    return Containerd(run, program, str(folder / "config.toml"))


def apply(found: Containerd, sync_fs: bool = True) -> list[str]:
    plan = found.plan(HOSTS, sync_fs)
    for change in plan.changes:
        Path(change.path).write_text(change.after)
    return [Path(change.path).name for change in plan.changes]


FILES: dict[str, dict[str, str]] = {
    "no file": {},
    "an empty table": {"config": V2},
    "the key is empty": {"config": V2 + "  [plugins.'io.containerd.grpc.v1.cri'.registry]\n    config_path = \"\"\n"},
    "a dotted key": {"config": V2 + '  registry.config_path = ""\n'},
    "only the version": {"config": "version = 2\n"},
    "no end of line": {"config": "version = 2"},
    "imports without the plugin": {
        "config": 'imports = ["o*.toml"]\n' + V2,
        "other": 'version = 2\n[plugins."io.containerd.internal.v1.opt"]\n  path = "/opt/x"\n',
    },
    "an import with the plugin": {
        "config": 'imports = ["o*.toml"]\n' + V2,
        "other": 'version = 2\n[plugins."io.containerd.grpc.v1.cri".containerd]\n  default_runtime_name = "nvidia"\n',
    },
    "an import that empties it": {
        "config": 'imports = ["other.toml"]\n' + V2,
        "other": 'version = 2\n[plugins."io.containerd.grpc.v1.cri".registry]\n  config_path = ""\n',
    },
}


@pytest.mark.parametrize("files", FILES.values(), ids=FILES)
def test_the_hosts_directory_takes_effect(program: str, tmp_path: Path, files: dict[str, str]) -> None:
    found = containerd(program, tmp_path, **files)
    before = {path.name: path.read_text() for path in tmp_path.iterdir()}
    changed = apply(found)
    assert changed
    dump = found.dump()
    assert HOSTS in dump.hosts_dirs
    knows = found.version() >= (1, 7)
    assert dump.sync_fs is (True if knows else None)
    assert apply(found) == []
    # What was there is there still, line by line.
    for name, text in before.items():
        after = (tmp_path / name).read_text().splitlines()
        lost = [line for line in text.splitlines() if line not in after and "config_path" not in line]
        assert lost == []


def test_version_3_of_the_config(program: str, tmp_path: Path) -> None:
    found = containerd(program, tmp_path, config=V3)
    if found.version()[0] < 2:
        with pytest.raises(ContainerdError, match="config dump"):
            apply(found)
        return
    assert apply(found) == ["config.toml"]
    assert found.dump().hosts_dirs == (HOSTS,)
    assert (tmp_path / "config.toml").read_text().startswith(V3.replace("''", f'"{HOSTS}"'))


def test_another_hosts_directory_stays_behind_ours(program: str, tmp_path: Path) -> None:
    text = V2 + '  [plugins."io.containerd.grpc.v1.cri".registry]\n    config_path = "/own:/second"\n'
    found = containerd(program, tmp_path, config=text)
    assert apply(found, sync_fs=False) == ["config.toml"]
    assert found.dump().hosts_dirs == (HOSTS, "/own", "/second")


@pytest.mark.parametrize(
    ("table", "until"),
    [
        ('mirrors."quay.io"]\n  endpoint = ["https://a"]', 99),
        # Version 2 knows no TLS settings here any more, and ignores them.
        ('configs."quay.io".tls]\n  ca_file = "x"', 1),
    ],
)
def test_the_old_form_is_refused(program: str, tmp_path: Path, table: str, until: int) -> None:
    found = containerd(program, tmp_path, config=f'{V2}[plugins."io.containerd.grpc.v1.cri".registry.{table}\n')
    if found.version()[0] > until:
        assert apply(found) == ["config.toml"]
        return
    with pytest.raises(ContainerdError, match=r"config\.toml sets registry.*quay\.io.*move them"):
        found.plan(HOSTS, True)


def test_logins_in_the_old_form_stay(program: str, tmp_path: Path) -> None:
    text = V2 + '[plugins."io.containerd.grpc.v1.cri".registry.configs."quay.io".auth]\n  username = "u"\n'
    found = containerd(program, tmp_path, config=text)
    apply(found)
    assert 'username = "u"' in (tmp_path / "config.toml").read_text()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("version = 2\nnonsense\n", "(?s)exit status .* correct the configuration first"),
        ('version = 2\nimports = ["missing.toml"]\n', "missing.toml"),
        ('version = 2\n[plugins."io.containerd.grpc.v1.cri"]\nregistry = {}\n', "set them there by hand|exit status"),
    ],
)
def test_what_cannot_be_made_right_is_left_alone(program: str, tmp_path: Path, text: str, message: str) -> None:
    found = containerd(program, tmp_path, config=text)
    with pytest.raises(ContainerdError, match=message):
        found.plan(HOSTS, True)
    assert (tmp_path / "config.toml").read_text() == text


def test_a_program_that_is_not_containerd(tmp_path: Path) -> None:
    found = Containerd(lambda argv: (0, "something else\n", ""), "thing", str(tmp_path / "config.toml"))
    with pytest.raises(ContainerdError, match="is it containerd"):
        found.version()
    with pytest.raises(ContainerdError, match="disabled_plugins"):
        Dump.read("version = 2\n")
