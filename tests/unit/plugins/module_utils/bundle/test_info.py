# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is in a bundle, how large, why, and which licences end: counted by hand here."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from ansible_collections.airgap.speech.plugins.module_utils.bundle.info import lines_of, look
from ansible_collections.airgap.speech.plugins.module_utils.bundle.lock import (
    LOCK_NAME,
    File,
    Omitted,
    Release,
    dump,
    load,
)
from ansible_collections.airgap.speech.plugins.module_utils.bundle.parts import PartsError, open_bundle
from ansible_collections.airgap.speech.plugins.module_utils.bundle.sbom import (
    SBOM_NAME,
    Facts,
    Licence,
    bill_of_materials,
)
from tests.unit.plugins.module_utils.bundle.parts_samples import make_bundle

TODAY = date(2026, 11, 21)


@pytest.fixture(name="bundle")
def a_bundle(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "bundle")


def add_file(bundle: Path, path: str, kind: str, data: bytes) -> None:
    """One more file, in the lock too."""
    (bundle / path).write_bytes(data)
    lock = load(str(bundle))
    item = File(path, "sha256:" + hashlib.sha256(data).hexdigest(), len(data), kind, "test")
    (bundle / LOCK_NAME).write_bytes(dump(replace(lock, files=[*lock.files, item])))


def test_kinds_count_what_is_shared_once(bundle: Path) -> None:
    info = look(open_bundle([str(bundle)]), TODAY)
    kinds = {each.kind: each for each in info.kinds}
    assert {kind: each.count for kind, each in kinds.items()} == {
        "image": 3,
        "chart": 1,
        "model": 1,
        "tool": 1,
        "wheel": 1,
        "setup": 2,
        "layout": 1,
    }
    lock = load(str(bundle))
    assert sum(each.size for each in info.kinds) == lock.size == info.size
    # The base of 150 000 bytes is in two of the three images.
    assert sum(image.size for image in lock.images) - kinds["image"].size >= 150_000
    items = {item.reference: item for item in info.contents}
    assert 90_000 < items["quay.io/airgap/a:1"].own < 91_000
    assert items["quay.io/airgap/a:1"].size > 240_000
    # All but the configuration, which says no more than linux/amd64 and so is one blob with those of the images.
    assert items["models/m:1"].size - items["models/m:1"].own == 47
    assert items["docker.io/library/two:1"].platforms == ["linux/amd64", "linux/arm64"]


def test_what_is_left_out(bundle: Path) -> None:
    lock = load(str(bundle))
    large = max(lock.blobs, key=lambda blob: blob.size)
    (bundle / "oci/blobs/sha256" / large.digest[7:]).unlink()
    blobs = [blob for blob in lock.blobs if blob != large]
    omitted = [Omitted(large.digest, large.size, ["models/m"])]
    (bundle / LOCK_NAME).write_bytes(dump(replace(lock, blobs=blobs, omitted=omitted)))
    info = look(open_bundle([str(bundle)]), TODAY)
    assert (info.omitted, info.omitted_size) == (1, large.size)
    (model,) = [item for item in info.contents if item.kind == "model"]
    assert model.omitted == large.size
    assert next(each.size for each in info.kinds if each.kind == "model") < 20_000
    assert any(line.startswith("left out, since the site has it: 1 blobs, 1.2 MiB") for line in lines_of(info))


def test_licences(bundle: Path) -> None:
    facts = Facts(
        {"models/m:1": "MIT"},
        [
            Licence("deepgram", "commercial", "2026-12-01"),
            Licence("azure_speech", "commitment", "2026-11-20", "disconnected"),
            Licence("voicetyped", "file", "2028-01-01"),
        ],
    )
    before = look(open_bundle([str(bundle)]), TODAY)
    assert not before.licences_known
    assert any(line.startswith("licences: not known here") for line in lines_of(before))
    add_file(bundle, SBOM_NAME, "sbom", bill_of_materials(load(str(bundle)), facts))
    info = look(open_bundle([str(bundle)]), TODAY)
    assert info.licences_known
    assert {item.thing: item.days_left for item in info.licences} == {
        "azure_speech": -1,
        "deepgram": 10,
        "models/m:1": None,
        "voicetyped": 406,
    }
    assert [line for line in lines_of(info) if line.startswith("licence of")] == [
        "licence of azure_speech: commitment, ENDED on 2026-11-20 (disconnected); renew it before the deploy",
        "licence of deepgram: commercial, ends on 2026-12-01, 10 days; renew it",
        "licence of models/m:1: MIT",
        "licence of voicetyped: file, ends on 2028-01-01, 406 days",
    ]
    assert "10 days; renew it" not in "\n".join(lines_of(info, within_days=5))


def test_a_bill_of_materials_that_is_no_json(bundle: Path) -> None:
    add_file(bundle, SBOM_NAME, "sbom", b"{")
    with pytest.raises(PartsError, match="is not JSON"):
        look(open_bundle([str(bundle)]), TODAY)


def test_text(bundle: Path, tmp_path: Path) -> None:
    lock = load(str(bundle))
    release = Release("open_speech", "speech", "voice", "charts/speech:0.1.0")
    second = replace(lock.images[0].reasons[0], source="profile p")
    images = [replace(lock.images[0], reasons=[*lock.images[0].reasons, second]), *lock.images[1:]]
    (bundle / LOCK_NAME).write_bytes(dump(replace(lock, releases=[release], images=images)))
    moved = tmp_path / "moved"
    shutil.move(bundle, moved)
    lines = lines_of(look(open_bundle([str(moved)]), TODAY))
    assert lines[0].startswith("bundle of 2026-11-21T12:00:00Z, airgap.speech 0.1.0, ")
    assert lines[1] == "for open_speech: voice/speech (charts/speech:0.1.0)"
    (two,) = [line for line in lines if line.startswith("docker.io/library/two:1")]
    assert two.startswith("docker.io/library/two:1 [linux/amd64, linux/arm64], 79.5 KiB: profile p: Deployment speech")
    assert two.endswith("(and 1 more)")
