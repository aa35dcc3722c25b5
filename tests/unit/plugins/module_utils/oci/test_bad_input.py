# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad bundles and bad registries for the mirror: each error names the thing, the cause and the next step."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.airgap.speech.plugins.module_utils.oci.digest import DigestError
from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import (
    MEDIA_CONFIG,
    MEDIA_MANIFEST,
    Layout,
    LayoutError,
)
from ansible_collections.airgap.speech.plugins.module_utils.oci.registry import Registry, RegistryError
from ansible_collections.airgap.speech.plugins.module_utils.oci.transfer import PushItem, plan_push, push
from tests.unit.fault_proxy import FaultProxy
from tests.unit.plugins.module_utils.oci.samples import add_image, noise
from tests.unit.plugins.module_utils.oci.test_registry import Fake, a_fake, answer, head, refusal  # noqa: F401
from tests.unit.registry_server import RegistryServer, plain_registry_server, registry_binary  # noqa: F401

MIB = 1 << 20


@pytest.fixture(name="layout")
def a_layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path / "oci")
    layout.create()
    return layout


@pytest.fixture(name="small_disk")
def a_small_disk(tmp_path: Path) -> Iterator[RegistryServer]:
    """A registry whose disk has 12 MiB."""
    binary = registry_binary()
    if binary is None or os.geteuid() != 0:
        pytest.skip("a small disk for the registry wants its binary and root")
    server = RegistryServer(tmp_path / "registry", binary, tls=False, auth=False)
    server.storage.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(server.storage)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no file system may be mounted here")
    try:
        server.start()
        yield server
    finally:
        server.stop()
        subprocess.run(["umount", str(server.storage)], check=True)


def no_tag(server: RegistryServer) -> bool:
    return not [line for line in server.requests() if line.startswith("PUT") and "/manifests/" in line]


def test_full_disk(small_disk: RegistryServer, layout: Layout) -> None:
    item = PushItem(add_image(layout, [noise("large", 20 * MIB)]), "a/b", "1")
    waits: list[float] = []
    registry = Registry(small_disk.endpoint, plain_http=True, sleep=waits.append)
    with pytest.raises(
        RegistryError, match=r"a/b@sha256:[0-9a-f]{64}: the registry's disk is full .*larger disk, then run again"
    ) as caught:
        push(plan_push(layout, [item], registry), registry)
    assert caught.value.kind == "full"
    assert not waits, "nothing is gained by waiting"
    assert no_tag(small_disk)


def test_digest_of_another_algorithm(layout: Layout) -> None:
    config, size = layout.add_json({"os": "linux", "architecture": "amd64"})
    layer = {"mediaType": "x/y", "digest": "sha512:" + "0" * 128, "size": 1}
    digest = layout.add_json(
        {
            "schemaVersion": 2,
            "mediaType": MEDIA_MANIFEST,
            "config": {"mediaType": MEDIA_CONFIG, "digest": config, "size": size},
            "layers": [layer],
        }
    )[0]
    with pytest.raises(
        LayoutError, match=rf"{digest}.*'sha512' is not taken; make the item again with a sha256 digest"
    ):
        plan_push(layout, [PushItem(digest, "a/b", "1")], None)
    with pytest.raises(DigestError, match="'md5' is not taken"):
        plan_push(layout, [PushItem("md5:" + "0" * 32, "a/b", "1")], None)


def test_lock_names_a_manifest_that_the_layout_lacks(layout: Layout) -> None:
    digest = "sha256:" + "0" * 64
    with pytest.raises(LayoutError, match=rf"{digest} .*it is missing; copy the bundle again"):
        plan_push(layout, [PushItem(digest, "a/b", "1")], None)


def test_file_that_shrinks_under_the_push(plain_registry_server: RegistryServer, layout: Layout) -> None:  # noqa: F811
    item = PushItem(add_image(layout, [noise("large", 4 * MIB)]), "a/b", "1")
    registry = Registry(plain_registry_server.endpoint, plain_http=True)
    plan = plan_push(layout, [item], registry)
    path = layout.blob_path(plan.uploads[0].digest)
    with path.open("r+b") as stream:
        stream.truncate(MIB)
    with pytest.raises(LayoutError, match=rf"{path}\): sha256 differs, the registry refused it; copy the bundle again"):
        push(plan, registry)
    path.unlink()
    with pytest.raises(LayoutError, match="it is missing; copy the bundle again"):
        push(plan, registry)
    assert no_tag(plain_registry_server)


@pytest.mark.parametrize(
    ("status", "code", "kind", "text"),
    [
        (
            401,
            "UNAUTHORIZED",
            "unauthorized",
            r"refused the login \(user u, 401\); check the user name and the password",
        ),
        (403, "DENIED", "forbidden", r"does not allow this to user u \(403\); give that user the right"),
        (
            404,
            "NAME_UNKNOWN",
            "no_repository",
            r"has no such repository, and makes none on a push .*make the repository there first \(in Harbor",
        ),
        (
            429,
            "TOOMANYREQUESTS",
            "busy",
            r"status 429 .*, 2 tries; look at the registry's log, then run again: it goes on",
        ),
        (500, "UNKNOWN", "server", r"status 500 .*, 2 tries; look at the registry's log, then run again"),
        (507, "UNKNOWN", "full", r"the registry's disk is full .*prune and garbage-collect it"),
    ],
)
def test_upload_that_is_refused(fake: Fake, layout: Layout, status: int, code: str, kind: str, text: str) -> None:
    item = PushItem(add_image(layout, [noise("layer", 1000)]), "a/b", "1")
    other = PushItem(add_image(layout, [noise("other", 2000)]), "c/d", "1")
    waits: list[float] = []
    registry = Registry(fake.endpoint, username="u", password="p", plain_http=True, attempts=2, sleep=waits.append)
    fake.script = [answer(404)] * 7
    plan = plan_push(layout, [item, other], registry, 1)
    assert not fake.script
    refused = refusal(status, code, Retry_After="3") if status == 429 else refusal(status, code)
    fake.script = [refused] * 2
    with pytest.raises(RegistryError, match=text) as caught:
        push(plan, registry, 1)
    assert caught.value.kind == kind
    assert str(caught.value).startswith(f"{fake.endpoint}/c/d")
    if status == 429:
        assert waits == [3.0]
    if status == 404:
        assert str(caught.value).endswith(f"not there yet: {fake.endpoint}/a/b, {fake.endpoint}/c/d")


def test_slow_connection_is_not_given_up(plain_registry_server: RegistryServer, layout: Layout) -> None:  # noqa: F811
    item = PushItem(add_image(layout, [noise("large", 3 * MIB)]), "a/b", "1")
    with FaultProxy(plain_registry_server.port, rate=MIB) as proxy:
        registry = Registry(f"localhost:{proxy.port}", plain_http=True, timeout=2.0)
        done = push(plan_push(layout, [item], registry), registry)
    assert done.bytes_resent == 0
    assert done.seconds > 1.5


def test_cut_again_and_again(plain_registry_server: RegistryServer, layout: Layout) -> None:  # noqa: F811
    item = PushItem(add_image(layout, [noise("large", 3 * MIB)]), "a/b", "1")
    with FaultProxy(plain_registry_server.port, cuts=[100_000] * 9) as proxy:
        registry = Registry(f"localhost:{proxy.port}", plain_http=True, attempts=3, sleep=lambda _seconds: None)
        with pytest.raises(
            RegistryError, match=r"the connection was cut .*3 tries; look at the registry's log"
        ) as caught:
            push(plan_push(layout, [item], registry), registry)
    assert caught.value.kind == "cut"
    assert no_tag(plain_registry_server)


def test_registry_that_tells_another_digest_of_a_tag(fake: Fake, layout: Layout) -> None:
    item = PushItem(add_image(layout, [noise("layer", 1000)]), "a/b", "1")
    registry = Registry(fake.endpoint, plain_http=True, attempts=2, sleep=lambda _seconds: None)
    fake.script = [head(json.dumps({"other": 1}).encode())] + [answer(200)] * 2
    plan = plan_push(layout, [item], registry, 1)
    assert (plan.pending, plan.blobs) == (1, 0)
    fake.script = [answer(201, Docker_Content_Digest="sha256:" + "0" * 64)]
    with pytest.raises(RegistryError, match=r"a/b:1: the registry answered with another digest .*look at the registry"):
        push(plan, registry, 1)
