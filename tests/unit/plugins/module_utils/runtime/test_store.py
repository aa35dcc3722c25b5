# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real containerd with a real registry: its store is damaged, found out, and healed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.airgap.speech.plugins.module_utils.runtime.store import StoreError, pinned
from tests.unit.plugins.module_utils.runtime.containerd_site import NAME, Site, digest_of, plain_registry_server, site

__all__ = ["plain_registry_server", "site"]


def test_a_sound_store(site: Site) -> None:
    report = site.store.check()
    assert not report.damaged and not report.unchecked
    assert (report.blobs, report.snapshots) == (4, 2)
    assert set(site.store.snapshots()) == set(site.keys)
    healed = site.store.heal()
    assert (healed.damaged, healed.healed, healed.failed) == ({}, [], {})


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_flipped_and_truncated_blobs_are_fetched_again(site: Site) -> None:
    """One after the other: each layer flipped, each cut, the config emptied, the manifest gone."""

    def cut(path: Path) -> None:
        os.truncate(path, path.stat().st_size // 2)

    def empty(path: Path) -> None:
        os.truncate(path, 0)

    manifest = digest_of(site.manifest)
    for damage, digest in [
        (flip, site.layers[0]),
        (cut, site.layers[0]),
        (flip, site.layers[1]),
        (cut, site.layers[1]),
        (empty, site.config),
        (Path.unlink, manifest),
        (flip, manifest),
    ]:
        path = Path(site.store.blob_path(digest))
        damage(path)
        assert list(site.store.check().damaged) == [digest], (damage, digest)
        report = site.store.heal()
        assert digest in report.healed and not report.failed, report
        assert digest_of(path.read_bytes()) == digest
        again = site.store.check()
        assert not again.damaged and (again.blobs, again.snapshots) == (4, 2), again
    # The image has its name as before, and no other.
    assert [line.split()[0] for line in site.ask("images", "ls").splitlines()[1:]] == [NAME]


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("kind", ["torn", "zeroes", "missing", "mode"])
def test_torn_layers_are_unpacked_again(site: Site, place: int, kind: str) -> None:
    tool = site.directory(place) / "bin" / "tool"
    right = tool.read_bytes()
    if kind == "torn":
        os.truncate(tool, 4096)
    elif kind == "zeroes":
        tool.write_bytes(bytes(len(right)))
    elif kind == "missing":
        tool.unlink()
    else:
        tool.chmod(0o600)
    found = site.store.check().damaged
    assert list(found) == [site.keys[place]] and "bin/" in found[site.keys[place]], found
    report = site.store.heal()
    assert report.healed == [site.keys[place]] and not report.failed, report
    assert (site.directory(place) / "bin" / "tool").read_bytes() == right
    assert not site.store.check().damaged
    assert set(site.store.snapshots()) == set(site.keys)


def test_a_torn_layer_of_a_torn_blob(site: Site) -> None:
    os.truncate(site.directory(0) / "bin" / "tool", 0)
    flip(Path(site.store.blob_path(site.layers[0])))
    report = site.store.heal()
    assert sorted(report.healed) == sorted([site.layers[0], site.keys[0]]) and not report.failed
    assert not site.store.check().damaged


def test_a_layer_in_use_is_named_and_left(site: Site) -> None:
    site.ask("snapshots", "prepare", "running", site.keys[1])
    os.truncate(site.directory(0) / "bin" / "tool", 0)
    report = site.store.heal()
    assert report.healed == []
    assert "container running runs on it; drain the node" in report.failed[site.keys[0]]
    assert set(site.store.snapshots()) == {*site.keys, "running"}
    site.ask("snapshots", "rm", "running")
    assert site.store.heal().healed == [site.keys[0]]


def test_without_the_registry_the_blob_stays_named(site: Site) -> None:
    flip(Path(site.store.blob_path(site.layers[0])))
    site.registry.stop()
    report = site.store.heal()
    said = report.failed[site.layers[0]]
    assert NAME in said and "connection refused" in said and "see that the registry holds it" in said
    site.registry.start()
    assert not site.store.heal().failed
    assert not site.store.check().damaged


def test_containerd_that_does_not_run(site: Site) -> None:
    site.process.terminate()
    site.process.wait()
    with pytest.raises(StoreError, match="see that containerd runs"):
        site.store.check()


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("quay.io/a/b:1", "quay.io/a/b@D"),
        ("host:5443/a/b:1", "host:5443/a/b@D"),
        ("host:5443/a/b@sha256:0", "host:5443/a/b@D"),
        ("sha256:0", ""),
        ("import-2026", ""),
    ],
)
def test_names_by_digest(name: str, reference: str) -> None:
    assert pinned(name, "D") == reference
