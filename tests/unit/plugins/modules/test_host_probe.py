# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os

import pytest

from ansible_collections.airgap.speech.plugins.modules import host_probe


def test_a_path_that_is_not_there_yet_has_the_file_system_of_the_nearest_directory(tmp_path):
    seen = host_probe.file_system(str(tmp_path / "a" / "b" / "c"))
    assert (seen["exists"], seen["nearest"]) == (False, str(tmp_path))
    assert seen["device"] == os.stat(tmp_path).st_dev
    assert 0 < seen["free_bytes"] <= seen["total_bytes"]
    assert "used_bytes" not in seen


def test_a_link_that_leads_nowhere_is_not_there(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    assert host_probe.nearest_existing(str(tmp_path / "link" / "below")) == str(tmp_path)


def test_contents_are_added_up_once(tmp_path):
    (tmp_path / "model").write_bytes(b"x" * 100_000)
    os.link(tmp_path / "model", tmp_path / "again")
    used = host_probe.file_system(str(tmp_path), measured=True)["used_bytes"]
    assert 100_000 <= used < 200_000


def test_reads_os_release():
    release = host_probe.os_release("ID=debian\nVERSION_ID=\"12\"\nPRETTY_NAME='Debian'\n")
    assert (release["ID"], release["VERSION_ID"], release["PRETTY_NAME"]) == ("debian", "12", "Debian")


def test_reads_memory_and_processors():
    assert host_probe.memory("MemTotal:       16 kB\nSwapTotal: 0 kB\n") == {"MemTotal": 16384, "SwapTotal": 0}
    assert host_probe.cpu_flags("processor : 0\nflags\t\t: sse avx2\n") == ["avx2", "sse"]
    assert host_probe.cpu_flags("Features : asimd\n") == ["asimd"]


@pytest.mark.parametrize(
    ("out", "version"),
    [
        ("containerd github.com/containerd/containerd/v2 v2.4.2 abc", "2.4.2"),
        ("containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1", "1.6.20~ds1"),
        ("nonsense", ""),
    ],
)
def test_reads_the_version_of_containerd(out, version):
    found = host_probe.containerd(lambda argv: (0, out, ""), lambda name: f"/usr/bin/{name}")
    assert found["version"] == version


def test_no_containerd():
    assert host_probe.containerd(lambda argv: (1, "", ""), lambda name: None)["version"] == ""
