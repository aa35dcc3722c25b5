# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bundle in parts, mirrored from one drive that has one part at a time; and one that leaves out what the site has."""

from __future__ import annotations

import json
import shutil
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import Layout
from ansible_collections.airgap.speech.plugins.module_utils.oci.registry import Registry
from ansible_collections.airgap.speech.plugins.modules import image_mirror
from tests.unit.plugins.module_utils.bundle.parts_samples import split
from tests.unit.plugins.module_utils.oci.samples import add_image, noise, write_lock
from tests.unit.plugins.modules.run_module import run_module
from tests.unit.registry_server import RegistryServer, plain_registry_server  # noqa: F401 - fixture

MIB = 1 << 20
REASON = {"source": "release speech", "kind": "", "name": "", "path": "", "found": "", "needed": "always"}


def item(layout: Layout, name: str, layers: list[bytes]) -> dict[str, Any]:
    digest = add_image(layout, layers, note=name)
    size = sum(found.size for found in layout.walk(digest))
    return {"reference": f"q.io/a/{name}:1", "digest": digest, "size": size, "platforms": [], "reasons": [REASON]}


@pytest.fixture(name="bundle", scope="module")
def a_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two images with one base, and a blob that is larger than two parts."""
    directory = tmp_path_factory.mktemp("whole") / "bundle"
    layout = Layout(directory / "oci")
    layout.create()
    base = noise("base", 3 * MIB)
    images = [item(layout, "one", [base, noise("one", 17 * MIB)]), item(layout, "two", [base, noise("two", MIB)])]
    (directory / "setup.sh").write_text("#!/bin/sh\n")
    write_lock(directory, layout, images=images)
    return directory


def media_of(parts: Path, root: Path) -> list[Path]:
    """One directory a part, each with what travels beside it."""
    media = []
    for number, part in enumerate(sorted(parts.glob("*.tar")), start=1):
        medium = root / f"medium{number}"
        medium.mkdir(parents=True)
        for path in parts.iterdir():
            if path == part or path.suffix != ".tar":
                shutil.copy2(path, medium)
        media.append(medium)
    return media


def test_one_drive_one_part_at_a_time_in_each_order(
    plain_registry_server: RegistryServer,  # noqa: F811
    bundle: Path,
    tmp_path: Path,
) -> None:
    split(bundle, tmp_path / "parts", 9 * MIB)
    media = media_of(tmp_path / "parts", tmp_path)
    assert len(media) == 3
    whole = sum(path.stat().st_size for path in (bundle / "oci/blobs/sha256").iterdir())
    for turn, order in enumerate(permutations(media)):
        values = {
            "registry": f"{plain_registry_server.endpoint}/turn{turn}",
            "plain_http": True,
            "session_file": str(tmp_path / f"sessions{turn}"),
            "locks_dir": str(tmp_path / f"locks{turn}"),
        }
        registry = Registry(plain_registry_server.endpoint, plain_http=True, prefix=f"turn{turn}")
        sent, rounds, wanted = 0, 0, ["all"]
        while wanted:
            rounds += 1
            assert rounds < 10
            for medium in order:
                guess = run_module(image_mirror.main, {**values, "bundle": [str(medium)]}, check=True)
                done = run_module(image_mirror.main, {**values, "bundle": [str(medium)]})
                assert "failed" not in done, done
                assert done["bytes_sent"] == guess["bytes_sent"]
                sent += done["bytes_sent"]
                wanted = done["wanted"]
                there = registry.head_manifest("q.io/a/one", "1")
                assert (there is None) is bool(wanted)
                if not wanted:
                    assert {image["status"] for image in done["images"]} == {"pushed"}
                    break
                assert {image["status"] for image in done["images"]} <= {"waiting", "present"}
                assert all(name.startswith("part ") for name in wanted)
                assert "still wanted: part " in done["summary"]
                assert not (tmp_path / f"locks{turn}").exists()
        assert sent == whole, order
        last = run_module(image_mirror.main, {**values, "bundle": [str(media[0])]})
        assert not last["changed"]
        assert len(list((tmp_path / f"locks{turn}").iterdir())) == 1


def test_all_drives_at_once(plain_registry_server: RegistryServer, bundle: Path, tmp_path: Path) -> None:  # noqa: F811
    split(bundle, tmp_path / "parts", 9 * MIB)
    media = [str(medium) for medium in media_of(tmp_path / "parts", tmp_path)]
    values = {"registry": plain_registry_server.endpoint, "plain_http": True, "bundle": media}
    done = run_module(image_mirror.main, values)
    assert (done["wanted"], done["bytes_resent"]) == ([], 0)
    assert {image["status"] for image in done["images"]} == {"pushed"}


def test_what_the_site_holds_is_left_out_and_mounted(
    plain_registry_server: RegistryServer,  # noqa: F811
    tmp_path: Path,
) -> None:
    first = tmp_path / "first"
    layout = Layout(first / "oci")
    layout.create()
    base = noise("base", 3 * MIB)
    write_lock(first, layout, images=[item(layout, "one", [base])])
    values = {"registry": plain_registry_server.endpoint, "plain_http": True}
    run_module(image_mirror.main, {**values, "bundle": str(first)})

    second = tmp_path / "second"
    layout = Layout(second / "oci")
    layout.create()
    image = item(layout, "two", [base, noise("two", 5000)])
    left_out = max(layout.walk(image["digest"]), key=lambda descriptor: descriptor.size)
    layout.blob_path(left_out.digest).unlink()
    omitted = [{"digest": left_out.digest, "size": left_out.size, "repositories": ["q.io/a/one"]}]
    write_lock(second, layout, images=[image], omitted=omitted)
    done = run_module(image_mirror.main, {**values, "bundle": str(second)})
    assert done["changed"], done
    assert done["bytes_sent"] < 10_000
    assert done["blobs_mounted"] == 1
    registry = Registry(plain_registry_server.endpoint, plain_http=True)
    assert registry.has_blob("q.io/a/two", left_out.digest)

    plain_registry_server.empty()
    mark = len(plain_registry_server.requests())
    refused = run_module(image_mirror.main, {**values, "bundle": str(second)})
    assert refused["failed"]
    assert (
        f"blob {left_out.digest} ({left_out.size} bytes, of q.io/a/two:1): the bundle leaves it out" in refused["msg"]
    )
    assert "make the bundle with a new inventory of this site, or without one" in refused["msg"]
    asked = plain_registry_server.requests()[mark:]
    assert all(line.startswith(("HEAD ", "GET ")) for line in asked), json.dumps(asked)
