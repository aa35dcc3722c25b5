# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules registry_prune and registry_copy, and what image_mirror remembers, against the real registry."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import Layout
from ansible_collections.airgap.speech.plugins.module_utils.oci.registry import Registry
from ansible_collections.airgap.speech.plugins.modules import image_mirror, registry_copy, registry_prune
from tests.unit.plugins.module_utils.oci.samples import add_image, add_index, noise, write_lock
from tests.unit.plugins.modules.run_module import run_module
from tests.unit.registry_server import (  # noqa: F401 - fixtures
    RegistryServer,
    plain_registry_server,
    registry_server,
)

REASON = {"source": "release speech", "kind": "", "name": "", "path": "", "found": "", "needed": "always"}
BASE = noise("base", 200_000)


def bundle(root: Path, month: int, images: dict[str, str]) -> Path:
    """A bundle of images, made in a month; each image is named by what its own layer holds."""
    directory = root / f"bundle-{month}"
    layout = Layout(directory / "oci")
    layout.create()
    listed = []
    for reference, content in images.items():
        digest = add_image(layout, [BASE, noise(content, 5000)], note=content)
        if content.startswith("index"):
            arm64 = add_image(layout, [noise(content + "arm64", 4000)], "linux/arm64")
            digest = add_index(layout, {"linux/amd64": digest, "linux/arm64": arm64})
        size = sum(found.size for found in layout.walk(digest))
        listed.append({"reference": reference, "digest": digest, "size": size, "platforms": [], "reasons": [REASON]})
    write_lock(directory, layout, images=listed, created=f"2026-{month:02d}-01T00:00:00Z")
    return directory


def login(server: RegistryServer) -> dict[str, Any]:
    return {
        "registry": server.endpoint,
        "username": server.username,
        "password_file": str(server.password_file),
        "ca_file": str(server.ca_file),
    }


def client(server: RegistryServer) -> Registry:
    return Registry(server.endpoint, username=server.username, password=server.password, ca_file=str(server.ca_file))


def test_prune_takes_only_what_earlier_bundles_put_there(
    registry_server: RegistryServer,  # noqa: F811
    tmp_path: Path,
) -> None:
    locks = {"locks_dir": str(tmp_path / "locks")}
    first = {"q.io/a/one:1": "one", "q.io/a/two:1": "index-two", "q.io/a/three:1": "three", "q.io/a/four:1": "four"}
    second = {"q.io/a/one:2": "one-2", "q.io/a/two:2": "index-two-2", "q.io/a/three:1": "three-moved"}
    third = {"q.io/a/one:3": "one-3", "q.io/a/two:2": "index-two-2", "q.io/a/three:1": "three-moved"}
    values = login(registry_server)
    for month, images in ((1, first), (2, second), (3, third)):
        place = str(bundle(tmp_path, month, images))
        done = run_module(image_mirror.main, {**values, **locks, "bundle": place})
        assert done["changed"], done
        if month == 1:
            registry = client(registry_server)
            data, media_type, four = registry.get_manifest("q.io/a/four", "1")
            registry.put_manifest("q.io/a/four", "somebody", data, media_type)
    assert len(list((tmp_path / "locks").glob("*.lock.json"))) == 3

    guess = run_module(registry_prune.main, {**values, **locks}, check=True, diff=True)
    names = [(one["repository"].partition("/")[2], one["names"]) for one in guess["deleted"]]
    assert sorted(names) == [
        ("q.io/a/one", ["1"]),
        ("q.io/a/three", ["1"]),
        ("q.io/a/two", []),
        ("q.io/a/two", []),
        ("q.io/a/two", ["1"]),
    ]
    assert [(one["repository"].partition("/")[2], one["digest"]) for one in guess["spared"]] == [("q.io/a/four", four)]
    assert "which no bundle set" in guess["spared"][0]["why"]
    assert guess["diff"]["before"].count("\n") == 5
    assert not [line for line in registry_server.requests() if line.startswith("DELETE")]

    done = run_module(registry_prune.main, {**values, **locks})
    assert done["changed"]
    assert done["deleted"] == guess["deleted"]
    assert done["summary"] == "Deleted 5 manifests of 1 earlier bundle; garbage collection frees their room"
    registry = client(registry_server)
    for repo, ref, there in (
        ("one", "1", False),
        ("one", "2", True),
        ("one", "3", True),
        ("two", "1", False),
        ("two", "2", True),
        ("three", "1", True),
        ("four", "1", True),
    ):
        assert (registry.head_manifest(f"q.io/a/{repo}", ref) is not None) is there, (repo, ref)
    again = run_module(registry_prune.main, {**values, **locks})
    assert not again["changed"]
    assert again["summary"] == "Nothing to prune; 2 bundles are kept"

    # The registry's own collector, as the role runs it, gives the room back and takes nothing that is wanted.
    blobs = registry_server.storage / "docker/registry/v2/blobs/sha256"
    before = len(list(blobs.glob("*/*/data")))
    registry_server.stop()
    command = [str(registry_server.binary), "garbage-collect", str(registry_server.directory / "config.yml")]
    said = subprocess.run(command, capture_output=True, text=True, check=True, env={"OTEL_TRACES_EXPORTER": "none"})
    assert "blob eligible for deletion" in said.stdout
    registry_server.start()
    # Of one:1, two:1 (two platforms) and three:1: layers, manifests and configurations (one of which stays), the index.
    assert before - len(list(blobs.glob("*/*/data"))) == 4 * 3 - 1 + 1
    last = run_module(image_mirror.main, {**values, **locks, "bundle": str(tmp_path / "bundle-3")})
    assert not last["changed"]
    registry = client(registry_server)
    layout = Layout(tmp_path / "bundle-1" / "oci")
    for found in layout.walk(four):
        if not found.is_manifest:
            assert registry.has_blob("q.io/a/four", found.digest)


def test_an_older_bundle_does_not_take_a_tag_back(registry_server: RegistryServer, tmp_path: Path) -> None:  # noqa: F811
    values = {**login(registry_server), "locks_dir": str(tmp_path / "locks")}
    old, new = (str(bundle(tmp_path, month, {"q.io/a/one:1": f"one-{month}"})) for month in (1, 2))
    assert run_module(image_mirror.main, {**values, "bundle": old})["changed"]
    assert run_module(image_mirror.main, {**values, "bundle": new})["changed"]
    refused = run_module(image_mirror.main, {**values, "bundle": old})
    assert refused["failed"]
    assert "q.io/a/one:1 (holds sha256:" in refused["msg"]
    assert "push a bundle that is not older, or ask for tags to be moved (move_tags)" in refused["msg"]
    assert run_module(image_mirror.main, {**values, "bundle": old, "move_tags": True})["changed"]


@pytest.mark.parametrize("check_first", [True, False])
def test_copy_from_a_dmz(
    registry_server: RegistryServer,  # noqa: F811
    plain_registry_server: RegistryServer,  # noqa: F811
    tmp_path: Path,
    check_first: bool,
) -> None:
    place = str(bundle(tmp_path, 1, {"q.io/a/one:1": "one", "q.io/a/two:1": "index-two"}))
    run_module(
        image_mirror.main, {"bundle": place, "registry": f"{plain_registry_server.endpoint}/dmz", "plain_http": True}
    )
    values = {
        **login(registry_server),
        "source": {"registry": f"{plain_registry_server.endpoint}/dmz", "plain_http": True},
        "progress_file": str(tmp_path / "progress"),
        "session_file": str(tmp_path / "sessions"),
    }
    guess = run_module(registry_copy.main, values, check=True) if check_first else None
    done = run_module(registry_copy.main, values)
    assert done["changed"]
    assert {image["status"] for image in done["images"]} == {"pushed"}
    assert done["bytes_sent"] == done["plan"]["bytes"]
    if guess is not None:
        assert guess["plan"] == done["plan"]
    assert (tmp_path / "progress").read_text().startswith("copy: ")
    again = run_module(registry_copy.main, values)
    assert not again["changed"]
    assert again["requests"] == 2
    refused = run_module(registry_copy.main, {**values, "images": ["q.io/a/one"]})
    assert refused["failed"]
    assert "there is no tag in it; write repository:tag or repository@digest" in refused["msg"]
