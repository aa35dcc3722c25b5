# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pruning by playbook on the real registry: what only an earlier bundle wanted goes, and its room; it serves again."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from ansible_collections.airgap.speech.plugins.module_utils.bundle.lock import (
    LOCK_NAME,
    Blob,
    File,
    Image,
    Lock,
    Reason,
    dump,
    load,
)
from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import (
    MEDIA_CONFIG,
    MEDIA_LAYER_TAR,
    MEDIA_MANIFEST,
    Layout,
)
from dev.journey import HOME_INSIDE, Journey
from tests.integration.inside import Done, Inside

STORAGE = "/var/lib/airgap-registry"
REPOSITORY = "quay.io/airgap/old"
SIZE = 30_000_000
PULL = ("ctr", "-n", "airgap-test", "images", "pull", "--hosts-dir", "/etc/containerd/certs.d")
FORGET = "ctr -n airgap-test images ls -q | xargs -r ctr -n airgap-test images rm"


def said(done: Done) -> str:
    return " ".join(done.text.split())


def make_old_bundle(root: Path) -> tuple[str, str]:
    """A bundle older than any other, of one image with one layer of noise; the digests of manifest and layer."""
    layout = Layout(root / "oci")
    layout.create()
    layer, _size = layout.add_bytes(random.Random(7).randbytes(SIZE))  # noqa: S311 - test data
    config, config_size = layout.add_json({"os": "linux", "architecture": "amd64", "rootfs": {"diff_ids": [layer]}})
    document = {
        "schemaVersion": 2,
        "mediaType": MEDIA_MANIFEST,
        "config": {"mediaType": MEDIA_CONFIG, "digest": config, "size": config_size},
        "layers": [{"mediaType": MEDIA_LAYER_TAR, "digest": layer, "size": SIZE}],
    }
    manifest, _size = layout.add_json(document)
    blobs = [Blob("sha256:" + path.name, path.stat().st_size) for path in layout.blobs.iterdir()]
    size = sum(blob.size for blob in blobs)
    reason = Reason("release old", "Deployment", "old", "spec.template.spec.containers[0].image", "pod spec")
    marker = (layout.path / "oci-layout").read_bytes()
    lock = Lock(
        "2020-01-01T00:00:00Z",
        "0.1.0",
        images=[Image(f"{REPOSITORY}:1", manifest, size, ["linux/amd64"], [reason])],
        blobs=blobs,
        files=[File("oci/oci-layout", f"sha256:{hashlib.sha256(marker).hexdigest()}", len(marker), "layout", "test")],
    )
    (root / LOCK_NAME).write_bytes(dump(lock))
    return manifest, layer


def used(inside: Inside) -> int:
    """Bytes of the registry's storage."""
    done = inside.on("registry", "du", "-sb", STORAGE)
    assert done.rc == 0, done.text
    return int(done.text.split()[0])


def names_of(inside: Inside) -> set[str]:
    """The tags of all repositories, as the registry's disk has them."""
    tags = f"{STORAGE}/docker/registry/v2/repositories"
    return set(inside.on("registry", "find", tags, "-path", "*/_manifests/tags/*", "-name", "link").text.split())


@pytest.fixture
def old(journey: Journey, inside: Inside, tmp_path: Path, scratch: Callable[[str], str]) -> tuple[str, str]:
    """An image that only an older bundle wanted is in the registry; the digests of its manifest and its layer."""
    made = make_old_bundle(tmp_path / "old")
    path = scratch("old-bundle")
    journey.copy(tmp_path / "old", path)
    done = inside.playbook("mirror", airgap_bundle=path)
    assert done.rc == 0, done.text
    assert inside.registry("HEAD", f"{REPOSITORY}/manifests/1") == (200, made[0])
    return made


def test_prune_gives_back_the_room(journey: Journey, inside: Inside, old: tuple[str, str]) -> None:
    manifest, layer = old
    locks = inside.on("bastion", "sh", "-c", f"ls {HOME_INSIDE}/.airgap/locks/*.lock.json").text.split()
    keep = {"image_mirror_keep_bundles": len(locks) - 1}  # all but the oldest
    listed = f"registry.airgap.internal:5001/{REPOSITORY}@{manifest}"
    before, names = used(inside), names_of(inside)

    shown = inside.playbook("prune", "--check", "--diff", **keep)
    assert shown.rc == 0 and listed in said(shown), shown.text
    assert "Would delete 1 manifest of 1 earlier bundle" in said(shown)
    assert (used(inside), names_of(inside)) == (before, names), "check mode changed the registry"

    done = inside.playbook("prune", **keep)
    assert done.rc == 0 and listed in said(done), done.text
    assert "Deleted 1 manifest of 1 earlier bundle" in said(done)
    freed = before - used(inside)
    assert freed >= SIZE, f"{freed} bytes were freed"
    data = f"{STORAGE}/docker/registry/v2/blobs/sha256/{layer[7:9]}/{layer[7:]}/data"
    assert inside.on("registry", "test", "-e", data).rc != 0
    gone = names - names_of(inside)
    assert gone and all(f"/{REPOSITORY}/" in name for name in gone), f"tags of others went: {gone}"

    # It serves again: a node pulls, and a push of what was pruned goes through; then nothing is left to prune.
    for image in load(str(journey.bundle_directory)).images:
        assert inside.registry("HEAD", f"{image.reference.replace(':', '/manifests/')}") == (200, image.digest)
    pulled = inside.on("worker-1", *PULL, "docker.io/library/python:3.11-slim")
    assert pulled.rc == 0, pulled.text
    inside.on("worker-1", "sh", "-c", FORGET)
    again = inside.playbook("prune", **keep)
    assert again.rc == 0 and "Nothing to prune" in said(again) and "changed=0" in again.text, again.text
    whole = inside.playbook("mirror")
    assert whole.rc == 0 and "already there" in said(whole), whole.text


def test_a_collection_that_was_left_out_is_made_good(inside: Inside, old: tuple[str, str]) -> None:
    """The fixture pushed what was pruned before, so no cache took its blobs for present. Its room comes back later."""
    _manifest, layer = old
    assert inside.registry("HEAD", f"{REPOSITORY}/blobs/{layer}")[0] == 200
    locks = inside.on("bastion", "sh", "-c", f"ls {HOME_INSIDE}/.airgap/locks/*.lock.json").text.split()
    keep = {"image_mirror_keep_bundles": len(locks) - 1}
    before = used(inside)
    pruned = inside.playbook("prune", image_mirror_garbage_collect=False, **keep)
    assert pruned.rc == 0 and "Deleted 1 manifest" in said(pruned), pruned.text
    assert inside.registry("HEAD", f"{REPOSITORY}/manifests/1")[0] == 404
    assert before - used(inside) < SIZE
    collected = inside.playbook("prune", **keep)
    assert collected.rc == 0 and "Nothing to prune" in said(collected), collected.text
    assert before - used(inside) >= SIZE
