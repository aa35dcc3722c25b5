# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way of a bundle in parts: made straight as parts, carried one a medium, verified, set up from the first."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.airgap.speech.plugins.module_utils.bundle import signature
from ansible_collections.airgap.speech.plugins.module_utils.bundle.inventory import HeldBlob, Inventory, dump
from ansible_collections.airgap.speech.plugins.module_utils.bundle.lock import LOCK_NAME, load
from ansible_collections.airgap.speech.plugins.module_utils.bundle.parts import COMPANIONS, LIST_NAME, open_bundle
from ansible_collections.airgap.speech.plugins.modules import bundle as bundle_module
from ansible_collections.airgap.speech.plugins.modules import bundle_verify
from tests.unit.plugins.modules.run_module import run_module
from tests.unit.plugins.modules.test_bundle import (
    carried,  # noqa: F401 - fixture
    setup,
    site,  # noqa: F401 - fixture
    snapshot,
)
from tests.unit.registry_server import plain_registry_server  # noqa: F401 - fixture

PART_SIZE = "4M"
MODEL = random.Random(4).randbytes(6_000_000)  # noqa: S311 - test data


@pytest.fixture(autouse=True)
def _in_parts(site: dict[str, Any], tmp_path: Path) -> None:  # noqa: F811
    """The small site of the bundle's own tests, with a model that is larger than a part."""
    (tmp_path / "model.bin").write_bytes(MODEL)
    site["models"][0]["files"][0].update(sha256=hashlib.sha256(MODEL).hexdigest(), size=len(MODEL))
    site["part_size"] = PART_SIZE


def media_of(bundle: Path, root: Path) -> list[Path]:
    """One directory a part, with what travels beside it."""
    media = []
    for part in sorted(bundle.glob("*.tar")):
        medium = root / part.name
        medium.mkdir(parents=True)
        shutil.copy2(part, medium)
        for name in COMPANIONS:
            shutil.copy2(bundle / name, medium)
        media.append(medium)
    return media


def names_of(result: dict[str, Any]) -> list[str]:
    """The files of the parts."""
    return [part["name"] for part in result["parts"]]


def test_made_in_parts_and_again(site: dict[str, Any]) -> None:  # noqa: F811
    guess = run_module(bundle_module.main, site, check=True)
    assert guess["changed"]
    made = run_module(bundle_module.main, site)
    dest = Path(site["dest"])
    names = names_of(made)
    assert len(names) >= 2
    assert sorted(os.listdir(dest)) == sorted([*COMPANIONS, *names])
    for part in made["parts"]:
        assert part["digest"] == "sha256:" + hashlib.sha256((dest / part["name"]).read_bytes()).hexdigest()
        assert (dest / part["name"]).stat().st_size == part["size"] <= 4_000_000
    for name in (LOCK_NAME, LIST_NAME):
        assert signature.verify_fingerprint(_run, str(dest / name), made["fingerprint"])
    before = snapshot(str(dest))
    for check in (True, False):
        again = run_module(bundle_module.main, site, check=check)
        assert not again["changed"]
        assert again["parts"] == made["parts"] or check
    assert snapshot(str(dest)) == before


def test_whole_to_parts_and_back(site: dict[str, Any]) -> None:  # noqa: F811
    whole = {**site, "part_size": ""}
    run_module(bundle_module.main, whole)
    before = snapshot(site["dest"])
    split = run_module(bundle_module.main, site)
    assert "files/installer.pyz" in split["removed"]
    assert {path.split("/")[0] for path in snapshot(site["dest"])} == {*COMPANIONS, *names_of(split)}
    assert not (Path(site["dest"]) / "oci").exists()
    back = run_module(bundle_module.main, whole)
    assert set(names_of(split)) < set(back["removed"])
    assert snapshot(site["dest"]) == before


def test_only_the_lost_part_is_made_again(site: dict[str, Any]) -> None:  # noqa: F811
    made = run_module(bundle_module.main, site)
    before = snapshot(site["dest"])
    for name in names_of(made):
        (Path(site["dest"]) / name).unlink()
    again = run_module(bundle_module.main, {**site, "only_parts": [2]})
    assert again["files_written"] == 1
    expected = {name: data for name, data in before.items() if not name.endswith(".tar") or "part002" in name}
    assert snapshot(site["dest"]) == expected
    assert "part 77: the bundle has" in run_module(bundle_module.main, {**site, "only_parts": [77]})["msg"]


def test_a_blob_of_the_cache_that_rotted_is_brought_anew(site: dict[str, Any]) -> None:  # noqa: F811
    made = run_module(bundle_module.main, site)
    before = snapshot(site["dest"])
    image = next(each for each in load(site["dest"]).images if each.reference == "quay.io/a/fetched:1")
    layout = open_bundle([site["dest"]]).layout
    blob = next(each for each in layout.walk(image.digest) if not each.is_manifest)
    path = next(Path(site["cache"]).rglob(blob.digest[7:]))
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.chmod(0o644)
    path.write_bytes(bytes(data))
    for name in names_of(made):
        (Path(site["dest"]) / name).unlink()
    again = run_module(bundle_module.main, site)
    assert again["changed"], again
    assert snapshot(site["dest"]) == before


@pytest.mark.parametrize("part_size", ["", PART_SIZE])
def test_what_the_site_holds_is_left_out(site: dict[str, Any], tmp_path: Path, part_size: str) -> None:  # noqa: F811
    site["part_size"] = part_size
    whole = run_module(bundle_module.main, site)
    lock = load(site["dest"])
    layer = max(lock.blobs, key=lambda blob: blob.size)
    assert layer.size > len(MODEL)
    known = HeldBlob(layer.digest, layer.size, ["models/m", "models/n"])
    elsewhere = HeldBlob("sha256:" + "e" * 64, 5, ["quay.io/other"])
    (tmp_path / "site.json").write_bytes(dump(Inventory("2026-11-21T12:00:00Z", "r:5000", [], [known, elsewhere])))
    for _again in (1, 2):
        delta = run_module(bundle_module.main, {**site, "inventory": str(tmp_path / "site.json")})
        assert (delta["omitted"], delta["omitted_bytes"]) == (1, layer.size)
        assert delta["size"] <= whole["size"] - layer.size + 1000
    assert not delta["changed"]
    lock = load(site["dest"])
    assert [(item.digest, item.repositories) for item in lock.omitted] == [(layer.digest, ["models/m", "models/n"])]
    assert run_module(bundle_verify.main, {"path": site["dest"], "signers": site["signers_file"]})["wanted"] == []
    opened = open_bundle([site["dest"]])
    assert opened.layout.omitted == {layer.digest: layer.size}
    assert layer.digest in {each.digest for each in opened.layout.walk(lock.models[0].digest)}
    refused = run_module(bundle_module.main, {**site, "inventory": str(tmp_path / "none.json")})
    assert "none.json: cannot be read" in refused["msg"]
    back = run_module(bundle_module.main, site)
    assert (back["omitted"], back["lock_digest"]) == (0, sha256_of(Path(site["dest"]) / LOCK_NAME))


def sha256_of(path: Path) -> str:
    return "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()


def test_sizes_that_cannot_be(site: dict[str, Any]) -> None:  # noqa: F811
    assert "is no size; write it as" in run_module(bundle_module.main, {**site, "part_size": "much"})["msg"]
    assert "are too few" in run_module(bundle_module.main, {**site, "part_size": "10K"})["msg"]


def test_set_up_from_the_first_medium(
    carried: tuple[Path, str],  # noqa: F811
    site: dict[str, Any],  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("ANSIBLE_COLLECTIONS_PATH", raising=False)
    bundle, fingerprint = carried
    media = media_of(bundle, tmp_path / "media")
    for medium in media:
        for path in medium.iterdir():
            path.chmod(0o555 if path.name == "setup.sh" else 0o444)
        medium.chmod(0o555)
    prefix = tmp_path / "prefix"
    late = setup(media[1], "--fingerprint", fingerprint, "--prefix", str(prefix))
    assert late.returncode == 1
    assert f"part 1 of {len(media)} (bundle.part001.tar) is not beside setup.sh; run setup.sh from" in late.stderr
    first = setup(media[0], "--signers", site["signers_file"], "--prefix", str(prefix))
    assert first.returncode == 0, first.stderr
    assert f"verify: 1 of {len(media)} parts" in first.stdout
    assert "controller: changed" in first.stdout
    said = subprocess.run([str(prefix / "bin/helm")], capture_output=True, text=True, check=True).stdout
    assert said == "helm\n"
    assert (prefix / "collections/ansible_collections/airgap/speech/MANIFEST.json").is_file()
    subprocess.run([str(prefix / "bin/ansible-playbook"), "x"], capture_output=True, check=True, cwd="/")
    assert not list(prefix.glob(".staging-*"))
    again = setup(media[0], "--fingerprint", fingerprint, "--prefix", str(prefix))
    assert "controller: nothing to do" in again.stdout


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("bundle.part001.tar", "part 1 of"),
        ("bundle.parts.json", "bundle.parts.json"),
        ("bundle.lock.json", "bundle.lock.json does not match its signature"),
        ("bundle.parts.json.sig", "bundle.parts.json"),
    ],
)
def test_set_up_refuses_what_was_altered(
    carried: tuple[Path, str],  # noqa: F811
    tmp_path: Path,
    name: str,
    cause: str,
) -> None:
    bundle, fingerprint = carried
    medium = media_of(bundle, tmp_path / "media")[0]
    data = bytearray((medium / name).read_bytes())
    data[len(data) // 2] ^= 1
    (medium / name).write_bytes(bytes(data))
    refused = setup(medium, "--fingerprint", fingerprint, "--prefix", str(tmp_path / "prefix"))
    assert refused.returncode == 1
    assert cause in refused.stderr
    assert not (tmp_path / "prefix" / "bin").exists()


def test_verify_what_is_at_hand(site: dict[str, Any], tmp_path: Path) -> None:  # noqa: F811
    made = run_module(bundle_module.main, site)
    media = media_of(Path(site["dest"]), tmp_path / "media")
    values: dict[str, Any] = {"signers": site["signers_file"]}
    every = run_module(bundle_verify.main, {**values, "path": [str(medium) for medium in media]})
    assert every["wanted"] == []
    assert every["parts"] == len(media)
    assert every["bytes"] == sum(part["size"] for part in made["parts"])
    assert every["principal"] == "airgap-speech-bundle"
    one = run_module(bundle_verify.main, {**values, "path": str(media[1])})
    assert one["lock"] == str(media[1] / LOCK_NAME)
    assert one["wanted"] == [
        f"part {number} of {len(media)} (bundle.part{number:03d}.tar)"
        for number in range(1, len(media) + 1)
        if number != 2
    ]
    part = media[1] / "bundle.part002.tar"
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes(bytes(data))
    bad = run_module(bundle_verify.main, {**values, "path": [str(medium) for medium in media]})
    assert bad["problems"] == [f"part 2 of {len(media)} (bundle.part002.tar): sha256 differs; copy that part again"]
    (media[0] / LIST_NAME).write_bytes(
        (media[0] / LIST_NAME).read_bytes().replace(b'"part_size": 4', b'"part_size": 5')
    )
    forged = run_module(bundle_verify.main, {**values, "path": str(media[0])})
    assert "does not match its signature" in forged["msg"]
    (media[0] / (LIST_NAME + ".sig")).unlink()
    unsigned = run_module(bundle_verify.main, {**values, "path": str(media[0])})
    assert "bundle.parts.json.sig: there is no signature" in unsigned["msg"]


def _run(argv: list[str], stdin: Any) -> tuple[int, str, str]:
    done = subprocess.run(argv, input=stdin, capture_output=True, check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()
