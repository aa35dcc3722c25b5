# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real registry is filled out of parts: from several drives at once, from one drive in any order, and by a delta."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.airgap.speech.plugins.module_utils.bundle.inventory import held
from ansible_collections.airgap.speech.plugins.module_utils.bundle.lock import LOCK_NAME, Lock, Omitted, dump, load
from ansible_collections.airgap.speech.plugins.module_utils.bundle.mirrored import items_of
from ansible_collections.airgap.speech.plugins.module_utils.bundle.parts import open_bundle
from ansible_collections.airgap.speech.plugins.module_utils.bundle.split import manifests_of
from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import Layout
from ansible_collections.airgap.speech.plugins.module_utils.oci.registry import connect
from ansible_collections.airgap.speech.plugins.modules import bundle_verify, image_mirror, inventory_export
from tests.unit.plugins.module_utils.bundle.parts_samples import contents, make_bundle, split
from tests.unit.plugins.modules.run_module import run_module
from tests.unit.registry_server import RegistryServer, registry_server  # noqa: F401 - fixture

PART_SIZE = 9_500_000
MODEL_SIZE = 22_000_000


@pytest.fixture(name="bundle", scope="module")
def a_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose model lies in three parts."""
    root = tmp_path_factory.mktemp("whole")
    make_bundle(root / "bundle", model_size=MODEL_SIZE)
    split(root / "bundle", root / "parts", PART_SIZE)
    return root / "bundle"


@pytest.fixture(name="media")
def some_media(bundle: Path, tmp_path: Path) -> Iterator[list[Path]]:
    """One read-only directory a part, with what travels beside it."""
    media = []
    parts = bundle.parent / "parts"
    for number, part in enumerate(sorted(parts.glob("*.tar")), start=1):
        medium = tmp_path / f"medium{number}"
        medium.mkdir()
        for path in parts.iterdir():
            if path == part or path.suffix != ".tar":
                shutil.copy2(path, medium)
                (medium / path.name).chmod(0o444)
        medium.chmod(0o555)
        media.append(medium)
    yield media
    for medium in media:
        medium.chmod(0o755)


def arguments(server: RegistryServer, bundle: Any, tmp_path: Path) -> dict[str, Any]:
    return {
        "bundle": bundle,
        "registry": server.endpoint,
        "username": server.username,
        "password_file": str(server.password_file),
        "ca_file": str(server.ca_file),
        "session_file": str(tmp_path / "sessions.json"),
    }


def assert_holds(server: RegistryServer, lock: Lock, bundle: Path) -> None:
    """Every item is in the registry by its digest, with all of its blobs, byte for byte."""
    registry = connect(
        server.endpoint,
        username=server.username,
        password_file=str(server.password_file),
        ca_file=str(server.ca_file),
    )
    layout = Layout(bundle / "oci")
    manifests = manifests_of(lock, layout)
    for item in items_of(lock):
        found = registry.head_manifest(item.repo, item.ref)
        assert found is not None
        assert found.digest == item.digest
        for descriptor in layout.walk(item.digest, item.platforms):
            if descriptor.digest not in manifests:
                data = b"".join(map(bytes, registry.iter_blob(item.repo, descriptor.digest, descriptor.size)))
                assert data == layout.blob_path(descriptor.digest).read_bytes()
    registry.close()


def test_all_drives_at_once(
    registry_server: RegistryServer,  # noqa: F811
    bundle: Path,
    media: list[Path],
    tmp_path: Path,
) -> None:
    values = arguments(registry_server, [str(medium) for medium in media], tmp_path)
    guess = run_module(image_mirror.main, values, check=True)
    done = run_module(image_mirror.main, values)
    assert done["wanted"] == []
    assert (guess["plan"], guess["bytes_sent"]) == (done["plan"], done["bytes_sent"])
    lock = load(str(bundle))
    assert done["bytes_sent"] <= 1.01 * sum(blob.size for blob in lock.blobs)
    assert_holds(registry_server, lock, bundle)
    assert not run_module(image_mirror.main, values)["changed"]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_one_drive_in_any_order(
    registry_server: RegistryServer,  # noqa: F811
    bundle: Path,
    media: list[Path],
    tmp_path: Path,
    seed: int,
) -> None:
    """The operator brings media in any order, and then what the run says is wanted, until nothing is."""
    lock = load(str(bundle))
    order = [*media]
    random.Random(seed).shuffle(order)  # noqa: S311 - test data
    brought: list[str] = []
    sent = 0
    wanted: list[str] = ["?"]
    while wanted:
        assert len(brought) < 3 * len(media), brought
        medium = order.pop(0) if order else media[int(wanted[0].split()[1]) - 1]
        brought.append(medium.name)
        done = run_module(image_mirror.main, arguments(registry_server, str(medium), tmp_path))
        assert not done.get("failed"), done
        sent += done["bytes_sent"]
        wanted = done["wanted"]
        puts = [line for line in registry_server.requests() if line.startswith("PUT") and "/manifests/" in line]
        if wanted:
            # Nothing half pushed is tagged.
            assert puts == []
            assert {image["status"] for image in done["images"]} == {"waiting"}
    assert_holds(registry_server, lock, bundle)
    # Nothing was sent twice, whatever the order was.
    assert sent <= 1.01 * sum(blob.size for blob in lock.blobs)
    assert done["images"]
    again = run_module(image_mirror.main, arguments(registry_server, str(media[0]), tmp_path))
    assert (again["changed"], again["wanted"]) == (False, [])


def test_a_flipped_byte_is_named_by_verify_and_only_that_part_is_made_again(
    registry_server: RegistryServer,  # noqa: F811
    bundle: Path,
    tmp_path: Path,
) -> None:
    parts = tmp_path / "parts"
    shutil.copytree(bundle.parent / "parts", parts)
    good = contents(parts)
    name = "bundle.part002.tar"
    data = bytearray(good[name])
    data[len(data) // 2] ^= 1
    (parts / name).write_bytes(bytes(data))
    verified = run_module(bundle_verify.main, {"path": str(parts), "allow_unsigned": True})
    count = sum(1 for each in good if each.endswith(".tar"))
    assert verified["problems"] == [f"part 2 of {count} ({name}): sha256 differs; copy that part again"]
    # Who mirrors all the same is stopped by the registry, and told which part it is.
    mirrored = run_module(image_mirror.main, arguments(registry_server, str(parts), tmp_path))
    assert mirrored["failed"]
    assert f"({name})" in mirrored["msg"]
    assert "sha256 differs" in mirrored["msg"]
    assert not [line for line in registry_server.requests() if line.startswith("PUT") and "/manifests/" in line]
    assert split(bundle, parts, PART_SIZE, only=[2]).written == [name]
    assert contents(parts) == good
    done = run_module(image_mirror.main, arguments(registry_server, str(parts), tmp_path))
    assert done["wanted"] == []
    assert_holds(registry_server, load(str(bundle)), bundle)


def delta_of(bundle: Path, inventory: Path, target: Path) -> Lock:
    """What the maker leaves out for an inventory, left out of a copy."""
    lock = load(str(bundle))
    known = held(str(inventory))
    manifests = manifests_of(lock, Layout(bundle / "oci"))
    gone = [blob for blob in lock.blobs if blob.digest in known and blob.digest not in manifests]
    shutil.copytree(bundle, target)
    for blob in gone:
        (target / "oci/blobs/sha256" / blob.digest[7:]).unlink()
    kept = [blob for blob in lock.blobs if blob not in gone]
    omitted = [Omitted(blob.digest, blob.size, known[blob.digest]) for blob in gone]
    delta = Lock(**{**vars(lock), "blobs": kept, "omitted": omitted})
    (target / LOCK_NAME).write_bytes(dump(delta))
    return delta


@pytest.mark.parametrize("in_parts", [False, True])
def test_a_delta_carries_only_the_rest(
    registry_server: RegistryServer,  # noqa: F811
    bundle: Path,
    tmp_path: Path,
    in_parts: bool,
) -> None:
    first = run_module(image_mirror.main, arguments(registry_server, str(bundle), tmp_path))
    assert first["changed"]
    inventory = tmp_path / "site.json"
    login = arguments(registry_server, None, tmp_path)
    login = {key: value for key, value in login.items() if key not in ("bundle", "session_file")}
    exported = run_module(inventory_export.main, {**login, "bundles": [str(bundle)], "dest": str(inventory)})
    assert exported["changed"]
    newer = make_bundle(tmp_path / "newer", version="2", model_size=MODEL_SIZE)
    lock = load(str(newer))
    delta = delta_of(newer, inventory, tmp_path / "delta")
    assert sum(blob.size for blob in delta.blobs) < 200_000 < MODEL_SIZE < sum(item.size for item in delta.omitted)
    carried = tmp_path / "delta"
    if in_parts:
        split(carried, tmp_path / "delta-parts", 250_000)
        carried = tmp_path / "delta-parts"
    assert open_bundle([str(carried)]).lock == load(str(carried))
    assert not run_module(bundle_verify.main, {"path": str(carried), "allow_unsigned": True}).get("failed")
    values = {**arguments(registry_server, str(carried), tmp_path), "move_tags": True}
    done = run_module(image_mirror.main, values)
    assert not done.get("failed"), done
    assert done["bytes_sent"] < 250_000
    assert_holds(registry_server, lock, newer)

    # The same delta to a registry that lost everything: refused by name before anything is pushed.
    registry_server.empty()
    asked = len(registry_server.requests())
    refused = run_module(image_mirror.main, values)
    assert refused["failed"]
    large = max(delta.omitted, key=lambda item: item.size)
    assert large.digest in refused["msg"]
    assert "the bundle leaves it out because the site was said to hold it" in refused["msg"]
    writes = [line for line in registry_server.requests()[asked:] if not line.startswith(("GET", "HEAD"))]
    assert writes == []
