# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a site holds is asked of a real registry, written in one form, and read strictly."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable

import pytest

from ansible_collections.airgap.speech.plugins.module_utils.bundle.inventory import (
    HeldBlob,
    Inventory,
    InventoryError,
    Item,
    collect,
    dump,
    held,
    load,
    parse,
    same_but_time,
)
from ansible_collections.airgap.speech.plugins.module_utils.bundle.lock import load as load_lock
from ansible_collections.airgap.speech.plugins.module_utils.bundle.mirrored import items_of
from ansible_collections.airgap.speech.plugins.module_utils.bundle.split import manifests_of
from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import Layout
from ansible_collections.airgap.speech.plugins.module_utils.oci.plan import PushItem, plan_push
from ansible_collections.airgap.speech.plugins.module_utils.oci.registry import Registry, connect
from ansible_collections.airgap.speech.plugins.module_utils.oci.transfer import push
from tests.unit.plugins.module_utils.bundle.parts_samples import make_bundle
from tests.unit.registry_server import RegistryServer, plain_registry_server  # noqa: F401 - fixture

NOW = "2026-11-21T12:00:00Z"


@pytest.fixture(name="bundle", scope="module")
def a_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("whole") / "bundle")


@pytest.fixture(name="registry")
def a_registry(plain_registry_server: RegistryServer) -> Iterator[Registry]:  # noqa: F811
    registry = connect(plain_registry_server.endpoint, plain_http=True)
    yield registry
    registry.close()


def send(bundle: Path, registry: Registry, references: set[str]) -> None:
    """Push some of a bundle."""
    lock = load_lock(str(bundle))
    items = [item for item in items_of(lock) if item.reference in references]
    push(plan_push(Layout(bundle / "oci"), items, registry), registry)


def test_an_empty_registry_holds_nothing(bundle: Path, registry: Registry) -> None:
    lock = load_lock(str(bundle))
    found = collect(registry, "registry:5000", items_of(lock), NOW)
    assert found == Inventory(NOW, "registry:5000", [], [], sorted(lock.digests()))


def test_what_was_pushed_is_held(bundle: Path, registry: Registry) -> None:
    lock = load_lock(str(bundle))
    pushed = {"quay.io/airgap/a:1", "docker.io/library/two:1", "models/m:1"}
    send(bundle, registry, pushed)
    found = collect(registry, "registry:5000", items_of(lock), NOW)
    assert {item.reference: item.digest for item in found.items} == {
        reference: digest for reference, digest in lock.digests().items() if reference in pushed
    }
    assert found.missing == ["charts/speech:0.1.0", "quay.io/airgap/b:1"]
    layout = Layout(bundle / "oci")
    manifests = manifests_of(lock, layout)
    sizes = {blob.digest: blob.size for blob in lock.blobs}
    expected: dict[str, list[str]] = {}
    for item in found.items:
        for descriptor in layout.walk(item.digest):
            if descriptor.digest not in manifests:
                expected.setdefault(descriptor.digest, []).append(item.repository)
    assert {blob.digest: blob.repositories for blob in found.blobs} == {
        digest: sorted(names) for digest, names in expected.items()
    }
    assert all(blob.size == sizes[blob.digest] for blob in found.blobs)
    assert {item.repository for item in found.items} == {"quay.io/airgap/a", "docker.io/library/two", "models/m"}


def test_a_blob_that_was_deleted_is_not_held(
    bundle: Path,
    registry: Registry,
    plain_registry_server: RegistryServer,  # noqa: F811
) -> None:
    lock = load_lock(str(bundle))
    send(bundle, registry, {"models/m:1"})
    large = max(lock.blobs, key=lambda blob: blob.size).digest
    links = plain_registry_server.storage / "docker/registry/v2/repositories/models/m/_layers/sha256"
    (links / large[7:] / "link").unlink()
    plain_registry_server.stop()
    plain_registry_server.start()
    found = collect(registry, "registry:5000", items_of(lock), NOW)
    assert [item.reference for item in found.items] == ["models/m:1"]
    assert large not in {blob.digest for blob in found.blobs}


def test_only_some_platforms_of_an_index(bundle: Path, registry: Registry) -> None:
    lock = load_lock(str(bundle))
    image = next(image for image in lock.images if image.reference == "docker.io/library/two:1")
    layout = Layout(bundle / "oci")
    item = PushItem(image.digest, "docker.io/library/two", "1", image.reference, ("linux/amd64",))
    push(plan_push(layout, [item], registry), registry)
    found = collect(registry, "registry:5000", items_of(lock), NOW)
    manifests = manifests_of(lock, layout)
    amd64 = {each.digest for each in layout.walk(image.digest, ("linux/amd64",))} - manifests
    assert {blob.digest for blob in found.blobs} == amd64


def sample() -> Inventory:
    return Inventory(
        NOW,
        "registry:5000",
        [Item("quay.io/a:1", "quay.io/a", "1", "sha256:" + "1" * 64)],
        [HeldBlob("sha256:" + "2" * 64, 10, ["quay.io/a", "quay.io/b"]), HeldBlob("sha256:" + "1" * 64, 5, ["x"])],
        ["quay.io/c:1"],
    )


def test_one_form(tmp_path: Path) -> None:
    data = dump(sample())
    path = tmp_path / "inventory.json"
    path.write_bytes(data)
    assert dump(load(str(path))) == data
    assert load(str(path)).size == 15
    assert held(str(path)) == {"sha256:" + "1" * 64: ["x"], "sha256:" + "2" * 64: ["quay.io/a", "quay.io/b"]}
    chart = HeldBlob("sha256:" + "3" * 64, 7, ["charts/speech", "quay.io/a"])
    path.write_bytes(dump(replace(sample(), blobs=[*sample().blobs, chart])))
    assert chart.digest not in held(str(path))
    later = replace(parse(data, "x"), created="2027-01-01T00:00:00Z")
    assert same_but_time(data, later)
    assert not same_but_time(data, replace(later, missing=[]))
    assert not same_but_time(b"", later)


def _change(*keys: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(tree: dict[str, Any]) -> None:
        node: Any = tree
        for key in keys[:-1]:
            node = node[key]
        node[keys[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (_change("schema", value="airgap.speech/lock/v1"), "has schema 'airgap.speech/lock/v1', this version reads"),
        (_change("created", value="today"), "created 'today' is no UTC time"),
        (_change("registry", value=1), "it has no registry"),
        (_change("blobs", value={}), "blobs is no list"),
        (_change("blobs", 0, "digest", value="sha256:1"), "a blob has no digest"),
        (_change("blobs", 0, "size", value=-1), "has no size"),
        (_change("blobs", 0, "repositories", value=[""]), "has no list of repositories"),
        (_change("items", 0, "ref", value=None), "an item has no ref"),
        (_change("items", 0, value=[]), "an item has no reference"),
        (_change("missing", value=[1]), "missing is no list of texts"),
    ],
)
def test_what_is_not_understood_is_refused(change: Callable[[dict[str, Any]], None], cause: str) -> None:
    tree = json.loads(dump(sample()))
    change(tree)
    with pytest.raises(InventoryError, match=cause):
        parse(json.dumps(tree).encode(), "site.json")


def test_a_file_that_is_absent_or_no_json(tmp_path: Path) -> None:
    with pytest.raises(InventoryError, match=r"cannot be read .*give the file that inventory_export wrote"):
        load(str(tmp_path / "none"))
    with pytest.raises(InventoryError, match="is not JSON"):
        parse(b"{", "site.json")
