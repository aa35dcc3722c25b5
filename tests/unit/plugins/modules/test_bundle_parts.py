# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module bundle_parts, run as Ansible runs it: split, sign, make one part again."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any, Optional

import pytest

from ansible_collections.airgap.speech.plugins.module_utils.bundle import signature
from ansible_collections.airgap.speech.plugins.module_utils.bundle.lock import LOCK_NAME
from ansible_collections.airgap.speech.plugins.module_utils.bundle.parts import COMPANIONS, LIST_NAME
from ansible_collections.airgap.speech.plugins.modules import bundle_parts
from tests.unit.plugins.module_utils.bundle.parts_samples import contents, make_bundle
from tests.unit.plugins.modules.run_module import run_module


def run(argv: list[str], stdin: Optional[bytes]) -> tuple[int, str, str]:
    done = subprocess.run(argv, input=stdin, capture_output=True, check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.fixture(name="values")
def arguments(tmp_path: Path) -> dict[str, Any]:
    """A signed bundle, and the arguments to split it."""
    bundle = make_bundle(tmp_path / "bundle")
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    signature.sign(run, str(bundle / LOCK_NAME), str(key))
    public = " ".join((tmp_path / "key.pub").read_text().split()[:2])
    (tmp_path / "signers").write_text(signature.signers_line(public))
    return {
        "bundle": str(bundle),
        "dest": str(tmp_path / "parts"),
        "part_size": "500K",
        "signing_key": str(key),
    }


def test_split_sign_and_again(values: dict[str, Any], tmp_path: Path) -> None:
    guess = run_module(bundle_parts.main, values, check=True)
    assert guess["changed"]
    assert not (tmp_path / "parts").exists()
    done = run_module(bundle_parts.main, values)
    assert done["changed"]
    assert done["written"] == guess["written"] == [part["name"] for part in done["parts"]]
    assert done["bytes_written"] == guess["bytes_written"] == sum(part["size"] for part in done["parts"])
    assert done["beside"] == list(COMPANIONS)
    assert [{**part, "digest": ""} for part in done["parts"]] == guess["parts"]
    for name in (LOCK_NAME, LIST_NAME):
        assert signature.verify(run, str(tmp_path / "parts" / name), str(tmp_path / "signers"))
    before = contents(tmp_path / "parts")
    again = run_module(bundle_parts.main, {**values, "signing_key": None})
    assert not again["changed"]
    assert contents(tmp_path / "parts") == before


def test_one_part_again_without_the_key(values: dict[str, Any], tmp_path: Path) -> None:
    run_module(bundle_parts.main, values)
    before = contents(tmp_path / "parts")
    (tmp_path / "parts" / "bundle.part003.tar").write_bytes(b"scratched")
    (tmp_path / "parts" / "bundle.part002.tar").unlink()
    done = run_module(bundle_parts.main, {**values, "signing_key": None, "only": [3]})
    assert done["written"] == ["bundle.part003.tar"]
    assert contents(tmp_path / "parts") == {name: data for name, data in before.items() if "part002" not in name}
    assert run_module(bundle_parts.main, {**values, "signing_key": None})["written"] == ["bundle.part002.tar"]
    assert contents(tmp_path / "parts") == before


def test_a_lost_signature_is_made_again(values: dict[str, Any], tmp_path: Path) -> None:
    run_module(bundle_parts.main, values)
    before = contents(tmp_path / "parts")
    for name in (LOCK_NAME, LIST_NAME):
        (tmp_path / "parts" / (name + ".sig")).unlink()
    for check in (True, False):
        done = run_module(bundle_parts.main, values, check=check)
        assert done["changed"]
        assert done["written"] == []
    assert contents(tmp_path / "parts") == before


def test_what_cannot_be_signed_is_refused_first(values: dict[str, Any], tmp_path: Path) -> None:
    refused = run_module(bundle_parts.main, {**values, "signing_key": None})
    assert "bundle.parts.json: has to be signed, and no signing_key is given; give the key" in refused["msg"]
    (Path(values["bundle"]) / "bundle.lock.json.sig").unlink()
    refused = run_module(bundle_parts.main, values)
    assert "bundle.lock.json.sig: there is no signature; sign the bundle first" in refused["msg"]
    assert not (tmp_path / "parts").exists()
    allowed = run_module(bundle_parts.main, {**values, "signing_key": None, "allow_unsigned": True})
    assert allowed["changed"]
    assert allowed["beside"] == [name for name in COMPANIONS if not name.endswith(".sig")]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"part_size": "big"}, "is no size; write it as 4.7G"),
        ({"part_size": "100K"}, "are too few"),
        ({"only": [77]}, "part 77: the bundle has"),
        ({"bundle": "/none"}, "there is no lock"),
        ({"dest": "{tmp}/key/parts"}, "make room there, make it writable and"),
    ],
)
def test_errors(values: dict[str, Any], tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    changes = {k: v.replace("{tmp}", str(tmp_path)) if isinstance(v, str) else v for k, v in changes.items()}
    assert message in run_module(bundle_parts.main, {**values, **changes})["msg"]
