# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The mirror against every registry at hand, from one to another, with referrers, tokens and guarded tags."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Optional, Union

import pytest

from ansible_collections.airgap.speech.plugins.module_utils.oci.body import ExtentsBody
from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import MEDIA_MANIFEST, Layout
from ansible_collections.airgap.speech.plugins.module_utils.oci.registry import Registry, RegistryError
from ansible_collections.airgap.speech.plugins.module_utils.oci.relay import RegistrySource, items_of_source
from ansible_collections.airgap.speech.plugins.module_utils.oci.sessions import Sessions
from ansible_collections.airgap.speech.plugins.module_utils.oci.transfer import (
    PushItem,
    TransferError,
    plan_push,
    push,
)
from tests.unit.other_registries import OtherRegistry, TokenServer, program
from tests.unit.plugins.module_utils.oci.samples import add_image, add_index, noise
from tests.unit.registry_server import (  # noqa: F401 - fixtures
    RegistryServer,
    plain_registry_server,
    registry_server,
)

MIB = 1 << 20
KINDS = ("distribution-3.1", "distribution-2.8", "crane", "zot")
Server = Union[RegistryServer, OtherRegistry]


@pytest.fixture(name="layout")
def a_layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path / "oci")
    layout.create()
    return layout


@pytest.fixture(name="other", params=KINDS)
def any_registry(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """Each registry that this machine has."""
    if request.param == "distribution-3.1":
        yield request.getfixturevalue("plain_registry_server")
        return
    binary = program(request.param)
    if binary is None:
        pytest.skip(f"{request.param} is not on this machine")
    server = OtherRegistry(request.param, binary, tmp_path / request.param)
    try:
        yield server
    finally:
        server.stop()


def client(server: Server, prefix: str = "") -> Registry:
    if isinstance(server, RegistryServer) and server.tls:
        return Registry(
            server.endpoint,
            username=server.username,
            password=server.password,
            ca_file=str(server.ca_file),
            prefix=prefix,
        )
    return Registry(server.endpoint, plain_http=True, prefix=prefix)


def signature(layout: Layout, subject: str, note: str) -> str:
    """An artifact that refers to a manifest (OCI 1.1)."""
    empty = layout.add_bytes(b"{}")
    payload = layout.add_bytes(note.encode())
    of = layout.describe(subject)
    return layout.add_json(
        {
            "schemaVersion": 2,
            "mediaType": MEDIA_MANIFEST,
            "artifactType": "application/vnd.example.signature",
            "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": empty[0], "size": empty[1]},
            "layers": [{"mediaType": "text/plain", "digest": payload[0], "size": payload[1]}],
            "subject": {"mediaType": of.media_type, "digest": of.digest, "size": of.size},
            "annotations": {"note": note},
        }
    )[0]


def images(layout: Layout) -> list[PushItem]:
    """Two images with one base, an index of two platforms, two referrers and a cosign signature by tag."""
    base = noise("base", 3 * MIB)
    digests = {name: add_image(layout, [base, noise(name, 200_000)], note=name) for name in "ab"}
    arm64 = add_image(layout, [noise("arm64", 300_000)], "linux/arm64")
    index = add_index(layout, {"linux/amd64": digests["a"], "linux/arm64": arm64})
    items = [PushItem(digest, f"quay.io/airgap/{name}", "1") for name, digest in digests.items()]
    items.append(PushItem(index, "quay.io/airgap/both", "1"))
    subject = digests["a"]
    for note in ("one", "two"):
        items.append(PushItem(signature(layout, subject, note), "quay.io/airgap/a", None, subject=subject))
    cosign = add_image(layout, [noise("cosign", 900)], note="cosign")
    items.append(PushItem(cosign, "quay.io/airgap/a", f"{subject.replace(':', '-')}.sig", subject=subject))
    return items


def test_push_and_again(other: Server, layout: Layout) -> None:
    items = images(layout)
    registry = client(other, "mirror/site")
    plan = plan_push(layout, items, registry)
    done = push(plan, registry)
    assert (done.bytes_sent, done.blobs_sent, done.bytes_resent) == (plan.bytes, plan.blobs, 0)
    bare = client(other)
    for item in items:
        found = bare.head_manifest(f"mirror/site/{item.repo}", item.ref)
        assert found is not None
        assert found.digest == item.digest
    again = client(other, "mirror/site")
    plan = plan_push(layout, items, again)
    assert not plan.changed
    # One for each of four tags, and one for what refers to the image (two where the registry keeps no such list).
    assert again.requests == (5 if again.has_referrers_api else 6)
    assert {d.digest for d in again.referrers("quay.io/airgap/a", items[0].digest)} == {i.digest for i in items[3:5]}
    assert [tag[-4:] for tag, _there in again.attached("quay.io/airgap/a", items[0].digest)] == [".sig"]


def test_a_second_referrer_joins_the_first(other: Server, layout: Layout) -> None:
    items = images(layout)
    registry = client(other)
    push(plan_push(layout, items[:4], registry), registry)
    plan = plan_push(layout, items[:5], registry)
    assert [image.status for image in plan.images] == ["present"] * 4 + ["pushed"]
    assert push(plan, registry).bytes_sent == plan.bytes
    listed = registry.referrers_index("quay.io/airgap/a", items[0].digest)["manifests"]
    assert {entry["digest"] for entry in listed} == {items[3].digest, items[4].digest}
    assert {entry["artifactType"] for entry in listed} == {"application/vnd.example.signature"}


def test_an_open_upload_goes_on_where_the_registry_says_so(other: Server, layout: Layout) -> None:
    digest = layout.add_bytes(noise("large", 20 * MIB))[0]
    registry, sessions = client(other), Sessions()
    body = ExtentsBody(layout.extents(digest))
    registry.upload("a/b", digest, 20 * MIB, body, sessions=sessions, until=9 * MIB)
    location = sessions.get(registry.name("a/b", digest))
    assert location is not None
    place = registry.upload_place("a/b", digest, location)
    if isinstance(other, OtherRegistry) and other.kind == "crane":
        assert place is None or place.offset in (0, 9 * MIB)
    else:
        assert place is not None
        assert place.offset == 9 * MIB
    sent = registry.upload("a/b", digest, 20 * MIB, body, sessions=sessions, place=place)
    assert sent == 20 * MIB - (place.offset if place else 0)
    assert registry.has_blob("a/b", digest)
    assert sessions.get(registry.name("a/b", digest)) is None


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("plain_registry_server", "registry_server"),
        ("registry_server", "plain_registry_server"),
    ],
)
def test_registry_to_registry(
    request: pytest.FixtureRequest, layout: Layout, source: str, target: str, tmp_path: Path
) -> None:
    items = images(layout)
    first: RegistryServer = request.getfixturevalue(source)
    origin = client(first, "dmz")
    push(plan_push(layout, items, origin), origin)
    relay = RegistrySource(origin)
    found = items_of_source(relay)
    assert {(item.repo, item.ref, item.digest) for item in found} == {(i.repo, i.ref, i.digest) for i in items}
    second: RegistryServer = request.getfixturevalue(target)
    registry = client(second)
    plan = plan_push(relay, found, registry)
    done = push(plan, registry)
    assert done.bytes_sent == plan.bytes
    for item in items:
        there = registry.head_manifest(item.repo, item.ref)
        assert there is not None
        assert there.digest == item.digest
    assert not plan_push(relay, found, registry).changed
    named = items_of_source(relay, ["quay.io/airgap/b:1", f"quay.io/airgap/a@{items[0].digest}"], referrers=False)
    assert [(item.repo, item.tag) for item in named] == [("quay.io/airgap/b", "1"), ("quay.io/airgap/a", None)]
    with pytest.raises(RegistryError, match="the source does not have it; correct the reference"):
        items_of_source(relay, ["quay.io/airgap/b:2"])


def test_from_each_registry_inside_the_kernel(
    other: Server,
    layout: Layout,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    """Both over http: the bytes go from socket to socket."""
    items = images(layout)[:3]
    layer = layout.add_bytes(noise("large", 9 * MIB + 17))
    items.append(PushItem(add_image(layout, [noise("large", 9 * MIB + 17)]), "deep/er/name", "v1"))
    origin = client(other)
    push(plan_push(layout, items, origin), origin)
    binary = program("crane") if not isinstance(other, OtherRegistry) or other.kind != "crane" else None
    target: Server
    stop: Optional[OtherRegistry] = None
    if binary is None:
        target = request.getfixturevalue("plain_registry_server")
    else:
        target = stop = OtherRegistry("crane", binary, tmp_path / "target")
    try:
        registry = client(target)
        relay = RegistrySource(origin)
        plan = plan_push(relay, items_of_source(relay, [f"{i.repo}:{i.tag}" for i in items], False), registry)
        assert push(plan, registry).bytes_sent == plan.bytes
        assert registry.has_blob("deep/er/name", layer[0])
        assert b"".join(map(bytes, registry.iter_blob("deep/er/name", *layer))) == noise("large", 9 * MIB + 17)
    finally:
        if stop is not None:
            stop.stop()


def test_source_that_has_altered_a_blob(
    plain_registry_server: RegistryServer,  # noqa: F811
    registry_server: RegistryServer,  # noqa: F811
    layout: Layout,
) -> None:
    items = images(layout)[:1]
    origin, registry = client(plain_registry_server), client(registry_server)
    push(plan_push(layout, items, origin), origin)
    layer = max(layout.walk(items[0].digest), key=lambda descriptor: descriptor.size)
    name = layer.digest.partition(":")[2]
    path = plain_registry_server.storage / "docker/registry/v2/blobs/sha256" / name[:2] / name / "data"
    data = bytearray(path.read_bytes())
    data[99] ^= 1
    path.write_bytes(data)
    relay = RegistrySource(origin)
    with pytest.raises(RegistryError, match=rf"{layer.digest}: the registry computed another digest"):
        push(plan_push(relay, items_of_source(relay), registry), registry)
    assert registry.head_manifest(items[0].repo, "1") is None


def test_tokens(tmp_path: Path, layout: Layout) -> None:
    binary = program("distribution-2.8")
    if binary is None:
        pytest.skip("docker-registry (distribution 2.8, with token login) is not on this machine")
    token = TokenServer(tmp_path / "token", life=6)
    server = OtherRegistry("distribution-2.8", binary, tmp_path / "registry", token)
    try:
        items = images(layout)
        registry = Registry(server.endpoint, username="airgap-push", password="correct horse: battery", plain_http=True)
        plan = plan_push(layout, items, registry)
        assert push(plan, registry).bytes_sent == plan.bytes
        assert not plan_push(layout, items, registry).changed
        assert any("repository:quay.io/airgap/a:pull,push" in scopes for scopes in token.scopes)
        wrong = Registry(server.endpoint, username="airgap-push", password="wrong", plain_http=True)
        with pytest.raises(RegistryError, match=r"refused the login \(user airgap-push, 401\); check the user name"):
            plan_push(layout, items, wrong)
    finally:
        server.stop()
        token.stop()


def test_tags_do_not_move_backwards(plain_registry_server: RegistryServer, layout: Layout) -> None:  # noqa: F811
    items = images(layout)[:2]
    registry = client(plain_registry_server)
    push(plan_push(layout, items, registry, known={}), registry)
    other = [PushItem(items[1].digest, items[0].repo, "1"), items[1]]
    mark = len(plain_registry_server.requests())
    with pytest.raises(TransferError, match=rf"quay.io/airgap/a:1 \(holds {items[0].digest}\).*move_tags"):
        plan_push(layout, other, registry, known={"quay.io/airgap/a:1": frozenset(["sha256:" + "0" * 64])})
    assert all(line.startswith("HEAD") for line in plain_registry_server.requests()[mark:])
    plan = plan_push(layout, other, registry, known={"quay.io/airgap/a:1": frozenset([items[0].digest])})
    assert [image.status for image in plan.images] == ["pushed", "present"]
    push(plan, registry)
    assert not plan_push(layout, other, registry, known={}).changed


def test_sessions_survive_what_is_no_sessions_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "sessions.json"
    sessions = Sessions(str(path))
    sessions.keep("r:1/a@sha256:x", "/v2/a/blobs/uploads/1")
    assert Sessions(str(path)).get("r:1/a@sha256:x") == "/v2/a/blobs/uploads/1"
    assert path.stat().st_mode & 0o077 == 0
    sessions.drop("r:1/a@sha256:x")
    assert json.loads(path.read_text())["uploads"] == {}
    for text in ("", "[]", '{"version": 9, "uploads": {"a": "b"}}', '{"version": 1, "uploads": 3}'):
        path.write_text(text)
        assert Sessions(str(path)).get("a") is None
