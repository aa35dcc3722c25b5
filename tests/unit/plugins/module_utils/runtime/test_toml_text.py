# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values are found and set in TOML as Python's parser reads it."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from ansible_collections.airgap.speech.plugins.module_utils.runtime import toml_text

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TEXT = """\
# a comment = 'no value'
version = 2 # behind
imports = [
  "/a/*.toml", # one = "x"
  'b#.toml',
]
[plugins]
  [plugins."io.containerd.grpc.v1.cri"]
    sandbox_image = "r/p:1"
    text = '''
[not.a.table]
key = 1
'''
    registry.config_path = ""
  [plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.runc.options]
    SystemdCgroup = true
    inline = { a = 1, b = ["x", "]"] }
    escaped = "a\\"b]"
[[list.of.tables]]
  n = 1
"""
CRI = ("plugins", "io.containerd.grpc.v1.cri")


def at(text: str, path: tuple[str, ...]) -> Any:
    found: Any = tomllib.loads(text)
    for part in path:
        found = found[part]
    return found


def test_the_sample_is_toml() -> None:
    assert at(TEXT, ("imports",)) == ["/a/*.toml", "b#.toml"]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("version",), "2"),
        ((*CRI, "sandbox_image"), '"r/p:1"'),
        ((*CRI, "registry", "config_path"), '""'),
        ((*CRI, "containerd", "runtimes", "runc", "options", "SystemdCgroup"), "true"),
        ((*CRI, "containerd", "runtimes", "runc", "options", "inline"), '{ a = 1, b = ["x", "]"] }'),
        (("not", "a", "table", "key"), None),
        (("a",), None),
    ],
)
def test_values_are_found(path: tuple[str, ...], value: str | None) -> None:
    assert toml_text.get(TEXT, path) == value


def test_strings() -> None:
    assert toml_text.strings(toml_text.get(TEXT, ("imports",))) == ["/a/*.toml", "b#.toml"]
    assert toml_text.string(r'"a\"b"') == 'a"b'
    assert toml_text.string("'a\\b'") == "a\\b"
    assert toml_text.string(None) == ""


@pytest.mark.parametrize(
    "path",
    [
        ("version",),
        ("imports",),
        ("new",),
        (*CRI, "registry", "config_path"),
        (*CRI, "new"),
        (*CRI, "registry", "mirrors", "docker.io", "endpoint"),
        ("plugins", "other", "x"),
    ],
)
@pytest.mark.parametrize("text", [TEXT, TEXT.rstrip("\n"), "", "version = 2\n", "\n[a]\nb = 1\n"])
def test_a_value_is_set_and_nothing_else(text: str, path: tuple[str, ...]) -> None:
    after = toml_text.set_value(text, path, '"set"', "by us")
    assert at(after, path) == "set"
    before = {entry.path: entry.value for entry in toml_text.entries(text) if entry.path != path}
    assert {entry.path: entry.value for entry in toml_text.entries(after) if entry.path != path} == before
    assert toml_text.set_value(after, path, '"set"', "by us") == after


@pytest.mark.parametrize("text", ["a = [1\n", "nonsense\n", 'a = "b\n', "[a\n"])
def test_what_is_not_understood_is_refused(text: str) -> None:
    with pytest.raises(toml_text.TomlError):
        toml_text.entries(text)
