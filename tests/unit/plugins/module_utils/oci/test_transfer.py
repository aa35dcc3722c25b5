# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The transfer engine against the real registry."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.airgap.speech.plugins.module_utils.oci.body import FileBody
from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import Layout, LayoutError
from ansible_collections.airgap.speech.plugins.module_utils.oci.registry import Registry, RegistryError
from ansible_collections.airgap.speech.plugins.module_utils.oci.transfer import (
    Progress,
    PushItem,
    TransferError,
    plan_push,
    push,
)
from tests.unit.plugins.module_utils.oci.samples import add_image, add_index, noise
from tests.unit.registry_server import (  # noqa: F401 - fixtures
    RegistryServer,
    free_port,
    plain_registry_server,
    registry_server,
)


def client(server: RegistryServer, **changes: object) -> Registry:
    """A client of the server, with its login."""
    values = {
        "username": server.username if server.auth else None,
        "password": server.password if server.auth else None,
        "ca_file": str(server.ca_file) if server.tls else None,
        "plain_http": not server.tls,
    }
    values.update(changes)
    return Registry(server.endpoint, **values)  # type: ignore[arg-type]


@pytest.fixture(name="layout")
def a_layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path / "oci")
    layout.create()
    return layout


def three_images(layout: Layout, changed: str = "") -> list[PushItem]:
    """Three images that share a base layer; one of them with a changed layer on request."""
    base = noise("base", 3_000_000)
    return [
        PushItem(
            add_image(layout, [base, noise(f"{name}{changed if name == 'b' else ''}", 200_000)], note=name),
            f"quay.io/airgap/{name}",
            "1",
        )
        for name in ("a", "b", "c")
    ]


@pytest.fixture(name="server", params=["registry_server", "plain_registry_server"])
def either_server(request: pytest.FixtureRequest) -> RegistryServer:
    """The same over TLS (read and send) and over http (sendfile)."""
    server: RegistryServer = request.getfixturevalue(request.param)
    return server


def test_fresh_then_again_then_one_layer(server: RegistryServer, layout: Layout) -> None:
    items = three_images(layout)
    registry = client(server)
    plan = plan_push(layout, items, registry)
    assert (plan.pending, plan.blobs, len(plan.mounts)) == (3, 7, 2)
    assert plan.blob_bytes == 3_000_000 + 3 * 200_000 + sum(
        layout.blob_path(upload.digest).stat().st_size for upload in plan.uploads if upload.size < 1000
    )
    assert [upload.size for upload in plan.uploads] == sorted((u.size for u in plan.uploads), reverse=True)
    assert not [line for line in server.requests() if not line.startswith(("HEAD ", "GET "))]
    lines: list[str] = []
    progress = Progress("mirror", plan.bytes, lines.append, every=0.0)
    done = push(plan, registry, progress=progress)
    assert (done.bytes_sent, done.blobs_sent, done.blobs_mounted) == (plan.bytes, plan.blobs, 2)
    assert done.bytes_resent == 0
    assert progress.done == plan.bytes
    assert lines[-1].startswith("mirror: ")
    for item in items:
        found = registry.head_manifest(item.repo, "1")
        assert found is not None
        assert found.digest == item.digest

    before = len(server.requests())
    again = plan_push(layout, items, client(server))
    assert not again.changed
    assert (again.pending, again.blobs, again.bytes) == (0, 0, 0)
    assert sorted(server.requests()[before:]) == [f"HEAD /v2/quay.io/airgap/{name}/manifests/1" for name in "abc"]

    items = three_images(layout, changed="!")
    plan = plan_push(layout, items, registry)
    assert [image.status for image in plan.images] == ["present", "pushed", "present"]
    assert [(upload.size, upload.repo) for upload in plan.uploads] == [(200_000, "quay.io/airgap/b")]
    assert (len(plan.mounts), plan.skipped) == (0, 2)
    done = push(plan, registry)
    assert done.bytes_sent == plan.bytes
    assert plan.bytes == 200_000 + layout.blob_path(items[1].digest).stat().st_size


def test_new_repository_mounts_what_another_has(server: RegistryServer, layout: Layout) -> None:
    items = three_images(layout)
    registry = client(server)
    push(plan_push(layout, items[:1], registry), registry)
    plan = plan_push(layout, items, registry)
    assert plan.blobs == 4
    assert sorted((mount.size, mount.repo, mount.from_repo) for mount in plan.mounts) == [
        (3_000_000, "quay.io/airgap/b", "quay.io/airgap/a"),
        (3_000_000, "quay.io/airgap/c", "quay.io/airgap/a"),
    ]
    assert push(plan, registry).bytes_sent == plan.bytes


def test_uploads_of_a_killed_run_are_not_sent_again(server: RegistryServer, layout: Layout) -> None:
    items = three_images(layout)
    registry = client(server)
    plan = plan_push(layout, items, registry)
    for upload in plan.uploads[:3]:
        with layout.blob_path(upload.digest).open("rb") as stream:
            registry.upload(upload.repo, upload.digest, upload.size, FileBody(stream))
    rest = plan_push(layout, items, registry)
    assert [upload.digest for upload in rest.uploads] == [upload.digest for upload in plan.uploads[3:]]
    assert push(rest, registry).bytes_sent == rest.bytes
    assert not plan_push(layout, items, registry).changed


def test_without_a_registry_the_plan_is_that_of_an_empty_one(server: RegistryServer, layout: Layout) -> None:
    items = three_images(layout)
    guessed = plan_push(layout, items, None)
    plan = plan_push(layout, items, client(server))
    assert (guessed.pending, guessed.blobs, guessed.bytes) == (plan.pending, plan.blobs, plan.bytes)
    assert [upload.digest for upload in guessed.uploads] == [upload.digest for upload in plan.uploads]


def test_flipped_byte_is_refused_and_nothing_is_tagged(server: RegistryServer, layout: Layout) -> None:
    items = three_images(layout)
    registry = client(server)
    plan = plan_push(layout, items, registry)
    bad = plan.uploads[1]
    path = layout.blob_path(bad.digest)
    data = bytearray(path.read_bytes())
    data[1234] ^= 1
    path.write_bytes(data)
    with pytest.raises(LayoutError, match=rf"{bad.digest} .*sha256 differs.*copy the bundle again"):
        push(plan, registry)
    assert [registry.head_manifest(item.repo, "1") for item in items] == [None, None, None]
    assert not [line for line in server.requests() if line.startswith("PUT") and "/manifests/" in line]


def test_missing_and_short_blobs_are_named(layout: Layout) -> None:
    items = three_images(layout)
    path = layout.blob_path(plan_push(layout, items, None).uploads[0].digest)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(LayoutError, match=r"2999999 bytes where 3000000 are announced; copy the bundle again"):
        plan_push(layout, items, None)
    path.unlink()
    with pytest.raises(LayoutError, match=r"it is missing; copy the bundle again"):
        plan_push(layout, items, None)


def test_one_tag_with_two_digests_is_refused(layout: Layout) -> None:
    items = three_images(layout)
    twice = [items[0], PushItem(items[1].digest, items[0].repo, items[0].tag)]
    with pytest.raises(TransferError, match="two digests"):
        plan_push(layout, twice, None)


def test_wrong_password(registry_server: RegistryServer, layout: Layout) -> None:  # noqa: F811
    with pytest.raises(RegistryError, match=r"refused the login \(user airgap-push, 401\); check .*password") as caught:
        plan_push(layout, three_images(layout), client(registry_server, password="wrong"))
    assert caught.value.kind == "unauthorized"
    assert not caught.value.not_set_up


def test_untrusted_certificate(registry_server: RegistryServer, layout: Layout) -> None:  # noqa: F811
    with pytest.raises(RegistryError, match="is not trusted") as caught:
        plan_push(layout, three_images(layout), client(registry_server, ca_file=None))
    assert caught.value.kind == "tls"


@pytest.mark.parametrize(
    ("endpoint", "kind", "text"),
    [
        ("127.0.0.1:{port}", "refused", "refused the connection"),
        ("no-such-host.invalid:1", "dns", "cannot be resolved"),
    ],
)
def test_registry_that_is_not_there(layout: Layout, endpoint: str, kind: str, text: str) -> None:
    registry = Registry(endpoint.format(port=free_port()), plain_http=True)
    with pytest.raises(RegistryError, match=text) as caught:
        plan_push(layout, three_images(layout), registry)
    assert caught.value.kind == kind
    assert caught.value.absent


def test_index_keeps_its_digest_there_and_back(server: RegistryServer, layout: Layout, tmp_path: Path) -> None:
    amd64 = add_image(layout, [noise("amd64", 50_000)], "linux/amd64")
    arm64 = add_image(layout, [noise("arm64", 50_000)], "linux/arm64")
    index = add_index(layout, {"linux/amd64": amd64, "linux/arm64": arm64})
    registry = client(server, prefix="mirror/site")
    item = PushItem(index, "docker.io/library/app", "1", platforms=("linux/amd64", "linux/arm64"))
    plan = plan_push(layout, [item], registry)
    assert [put.ref for put in plan.children] == [arm64, amd64]
    assert push(plan, registry).bytes_sent == plan.bytes
    assert client(server).head_manifest("mirror/site/docker.io/library/app", "1") is not None

    half = Layout(tmp_path / "half")
    half.create()
    for digest in (index, arm64):
        half.add_bytes(registry.get_manifest("docker.io/library/app", digest)[0])
    for blob in layout.walk(arm64):
        if not blob.is_manifest:
            half.add_stream(registry.iter_blob("docker.io/library/app", blob.digest, blob.size), blob.digest, blob.size)
    assert [descriptor.digest for descriptor in half.walk(index)][:2] == [index, arm64]
    with pytest.raises(LayoutError, match="missing"):
        list(half.walk(index, ["linux/amd64"]))

    # What was taken for one platform goes into another registry with its digest unchanged.
    server.empty()
    plan = plan_push(half, [PushItem(index, "docker.io/library/app", "1", platforms=("linux/arm64",))], registry)
    push(plan, registry)
    there = registry.head_manifest("docker.io/library/app", "1")
    assert there is not None
    assert there.digest == index
