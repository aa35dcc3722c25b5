# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from ipaddress import IPv4Network

import pytest

from sandbox import checks
from sandbox.run import SandboxError

GIB = 1024**3


@pytest.mark.parametrize("release", ["ID=debian\n", 'ID="ubuntu"\n', "ID=mint\nID_LIKE=ubuntu debian\n"])
def test_system_accepted(release: str) -> None:
    checks.check_system(release, "x86_64")


@pytest.mark.parametrize(
    ("release", "architecture", "words"),
    [
        ('ID=fedora\nPRETTY_NAME="Fedora 40"\n', "x86_64", ["Fedora 40", "Debian or Ubuntu"]),
        ("", "x86_64", ["unknown"]),
        ("ID=debian\n", "aarch64", ["aarch64", "x86_64"]),
    ],
)
def test_system_refused(release: str, architecture: str, words: list[str]) -> None:
    with pytest.raises(SandboxError) as error:
        checks.check_system(release, architecture)
    assert all(word in str(error.value) for word in words)


def test_memory_and_disk() -> None:
    checks.check_memory(6 * GIB)
    checks.check_disk(15 * GIB, "/cache")
    with pytest.raises(SandboxError, match=r"5\.9 GiB and the sandbox needs 6 GiB; give the machine more memory"):
        checks.check_memory(int(5.9 * GIB))
    with pytest.raises(
        SandboxError, match=r"14\.0 GiB are free at /cache and the sandbox needs 15 GiB; free some space"
    ):
        checks.check_disk(14 * GIB, "/cache")


def test_inotify() -> None:
    checks.check_inotify(10, [])
    checks.check_inotify(128, ["a"])
    with pytest.raises(SandboxError, match="is 128, and 3 sandboxes need 150; remove one of a, b with"):
        checks.check_inotify(128, ["a", "b"])


@pytest.mark.parametrize(
    ("installed", "answers", "is_root", "can_sudo", "message"),
    [
        (False, False, False, False, "not installed, and this user may not install it"),
        (True, False, False, False, "does not answer this user"),
        (False, False, True, False, None),
        (False, False, False, True, None),
        (True, True, False, False, None),
    ],
)
def test_docker(*, installed: bool, answers: bool, is_root: bool, can_sudo: bool, message: str | None) -> None:
    def check() -> None:
        checks.check_docker(installed=installed, answers=answers, is_root=is_root, can_sudo=can_sudo)

    if message is None:
        check()
    else:
        with pytest.raises(SandboxError, match=message):
            check()


def test_root() -> None:
    checks.check_root(is_root=False, can_sudo=True)
    with pytest.raises(SandboxError, match="run this as root, or let this user run sudo"):
        checks.check_root(is_root=False, can_sudo=False)


USED = [("the route `default`", IPv4Network("0.0.0.0/0")), ("the network other", IPv4Network("10.60.0.0/16"))]


def test_range_free() -> None:
    checks.check_range(IPv4Network("10.89.0.0/16"), USED)


@pytest.mark.parametrize("subnet", ["10.60.0.0/16", "10.60.128.0/17", "10.48.0.0/12"])
def test_range_in_use(subnet: str) -> None:
    with pytest.raises(SandboxError) as error:
        checks.check_range(IPv4Network(subnet), USED)
    message = str(error.value)
    assert "10.60.0.0/16 belongs to the network other" in message
    proposed = IPv4Network(message.rsplit("e.g. ", 1)[1])
    assert not proposed.overlaps(USED[1][1])
