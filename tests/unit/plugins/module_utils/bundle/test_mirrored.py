# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The locks of mirrored bundles: kept once each, for their owner only, oldest first."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.airgap.speech.plugins.module_utils.bundle.lock import Lock, dump, load
from ansible_collections.airgap.speech.plugins.module_utils.bundle.mirrored import movable, records, remember
from tests.unit.plugins.module_utils.bundle.parts_samples import make_bundle


@pytest.fixture(name="lock", scope="module")
def a_lock(tmp_path_factory: pytest.TempPathFactory) -> Lock:
    return load(str(make_bundle(tmp_path_factory.mktemp("bundle"), model_size=1000)))


def written(folder: Path, lock: Lock) -> str:
    path = folder / f"{lock.created}.json"
    path.write_bytes(dump(lock))
    return str(path)


def test_a_lock_is_kept_once_and_for_its_owner_only(tmp_path: Path, lock: Lock) -> None:
    kept = tmp_path / "airgap" / "locks"
    path = remember(str(kept), written(tmp_path, lock))
    assert path.read_bytes() == dump(lock)
    assert (kept.stat().st_mode & 0o777, path.stat().st_mode & 0o777) == (0o700, 0o600)
    before = path.stat().st_mtime_ns
    assert remember(str(kept), written(tmp_path, lock)) == path
    assert path.stat().st_mtime_ns == before
    assert os.listdir(kept) == [path.name]


def test_records_are_oldest_first_and_say_what_a_tag_may_be_moved_away_from(tmp_path: Path, lock: Lock) -> None:
    image, (one, two) = lock.images[0], [entry.digest for entry in lock.images[1:3]]
    older = replace(lock, created="2026-01-02T03:04:05Z", images=[replace(image, digest=one)])
    newer = replace(lock, created="2027-01-02T03:04:05Z", images=[replace(image, digest=two)])
    for each in (newer, older):
        remember(str(tmp_path / "locks"), written(tmp_path, each))
    found = records(str(tmp_path / "locks"))
    assert [record.lock.created for record in found] == [older.created, newer.created]
    assert movable(lock, found)[image.reference] == {one}
    assert records(str(tmp_path / "none")) == []
