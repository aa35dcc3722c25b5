# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from ansible_collections.airgap.speech.plugins.module_utils.bundle.lock import (
    Blob,
    File,
    Image,
    Lock,
    Model,
    ModelFile,
    Reason,
)
from ansible_collections.airgap.speech.plugins.module_utils.sizing.disk import (
    held_digests,
    image_room,
    models_bytes,
    packed_bytes,
    places,
    registry_bytes,
    release_disk,
)


def digest(letter):
    return "sha256:" + letter * 64


def model(name, letter, size, release=""):
    reasons = [Reason(source=f"release {release}")] if release else [Reason(source="profile open_speech")]
    files = [ModelFile("a", digest("e"), size - 10), ModelFile("b", digest("f"), 10)]
    return Model(f"models/{name}:1", name, "1", digest(letter), size + 100, files, reasons)


LOCK = Lock(
    created="2026-11-21T00:00:00Z",
    collection_version="0.1.0",
    images=[Image("a:1", digest("a"), 1000), Image("b:1", digest("b"), 500)],
    models=[model("hears", "c", 3000), model("speaks", "d", 70)],
    blobs=[Blob(digest("a"), 1200), Blob(digest("c"), 3300)],
    files=[File("files/helm", digest("9"), 40, "tool", "x")],
)


def by_name(lock, releases, **options):
    return {place.name: place for place in places(lock, releases, **options)}


def test_the_registry_stores_each_blob_once_and_the_bastion_the_whole_bundle():
    found = by_name(LOCK, [])
    assert registry_bytes(LOCK) == found["registry"].size == 4500
    assert found["bastion"].size == 4540


@pytest.mark.parametrize(
    ("present", "size"),
    [((), 1500), (("a:1@" + digest("a"), "a:1"), 500), (("x@" + digest("a"), "y@" + digest("b")), 0), (("a:1",), 1500)],
)
def test_images_that_a_node_holds_take_no_more_room(present, size):
    held = held_digests(present)
    assert packed_bytes(LOCK, held) == size
    assert image_room(LOCK, 2.0, held).size == 2 * size


def test_shared_layers_never_count_for_more_than_all_blobs():
    twice = Lock("", "", images=LOCK.images * 5, blobs=LOCK.blobs)
    assert packed_bytes(twice) == 4500


@pytest.mark.parametrize(("release", "size"), [("speech", 3070), ("other", 3070)])
def test_models_that_no_reason_gives_to_a_release_are_everyones(release, size):
    assert models_bytes(LOCK, release) == size


def test_models_of_a_release():
    lock = Lock("", "", models=[model("hears", "c", 3000, "one"), model("speaks", "d", 70, "two")])
    assert models_bytes(lock, "one") == 3000
    assert models_bytes(lock, "two") == 70
    assert models_bytes(lock) == 3070


def entry(kind, **more):
    return release_disk({"name": "speech", "namespace": "ns", "values": {"models": {"volume": {"type": kind, **more}}}})


def test_models_on_a_claim():
    found = by_name(LOCK, [entry("pvc", pvc={"name": "shelf"})])
    assert found["ns/shelf"].size == 2 * 3070
    assert [room.what for room in found["each node"].rooms] == ["images"]
    assert by_name(LOCK, [release_disk({"name": "speech", "namespace": "ns"})], keep=0)["ns/speech-models"].size == 3070


def test_models_in_directories_of_the_nodes():
    found = by_name(LOCK, [entry("node_directory")], factor=5.4)
    assert [(room.what, room.size) for room in found["each node"].rooms] == [
        ("images", int(5.4 * 1500)),
        ("models in their directory", 2 * 3070),
    ]
    assert "ns/speech-models" not in found


def test_models_as_image_volumes():
    rooms = by_name(LOCK, [entry("image")], factor=2)["each node"].rooms
    assert [(room.what, room.size) for room in rooms] == [("images", 3000), ("models as image volumes", 2 * 3270)]


def test_journals_are_volumes_with_the_source_of_their_size():
    volume = {"name": "journal", "what": "usage", "bytes": 2**30, "claim": "journal-<release>-0", "source": "the chart"}
    release = release_disk({"name": "dg", "namespace": "ns", "volumes": [volume]})
    place = by_name(LOCK, [release])["ns/journal-dg-0"]
    assert place.as_dict() == {
        "kind": "volume",
        "name": "ns/journal-dg-0",
        "bytes": 2**30,
        "parts": [{"what": "usage", "bytes": 2**30, "rule": "the chart"}],
    }
