# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.airgap.speech.plugins.module_utils.bundle import signature
from ansible_collections.airgap.speech.plugins.module_utils.bundle.lock import File, Lock, dump
from ansible_collections.airgap.speech.plugins.modules import bundle_verify

Capture = pytest.CaptureFixture[str]


def call(capsys: Capture, **args: Any) -> dict[str, Any]:
    capsys.readouterr()
    with patch_module_args(args), pytest.raises(SystemExit):
        bundle_verify.main()
    result = json.loads(capsys.readouterr().out)
    assert isinstance(result, dict)
    return result


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    root = tmp_path / "bundle"
    root.mkdir()
    (root / "setup.sh").write_bytes(b"#!/bin/sh\n")
    digest = "sha256:" + hashlib.sha256(b"#!/bin/sh\n").hexdigest()
    lock = Lock("2026-11-21T12:00:00Z", "0.1.0", files=[File("setup.sh", digest, 10, "setup", "s")])
    (root / "bundle.lock.json").write_bytes(dump(lock))
    return root


def sign(bundle: Path) -> str:
    key = bundle.parent / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    argv = [
        "ssh-keygen",
        "-q",
        "-Y",
        "sign",
        "-f",
        str(key),
        "-n",
        signature.NAMESPACE,
        str(bundle / "bundle.lock.json"),
    ]
    subprocess.run(argv, check=True)
    return (bundle.parent / "key.pub").read_text()


def test_by_signers_and_by_fingerprint(bundle: Path, capsys: Capture) -> None:
    key = sign(bundle)
    signers = bundle.parent / "signers"
    signers.write_text(signature.signers_line(key, "release@example.com"))
    result = call(capsys, path=str(bundle), signers=str(signers))
    assert (result["principal"], result["files"], result["bytes"]) == ("release@example.com", 1, 10)
    assert result["changed"] is False
    result = call(capsys, path=str(bundle), fingerprint=signature.key_fingerprint(key), _ansible_check_mode=True)
    assert result["principal"] == "airgap-speech-bundle"


def test_unsigned(bundle: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    warned: list[str] = []
    monkeypatch.setattr(bundle_verify.AnsibleModule, "warn", lambda self, text: warned.append(text))
    assert "there is no signature" in call(capsys, path=str(bundle), signers="/x")["msg"]
    assert "nobody is trusted" in call(capsys, path=str(bundle))["msg"]
    allowed = call(capsys, path=str(bundle), allow_unsigned=True)
    assert allowed["principal"] == ""
    assert "has no signature" in warned[0]


def test_a_wrong_signature_is_refused_even_where_none_is_asked_for(bundle: Path, capsys: Capture) -> None:
    sign(bundle)
    (bundle.parent / "other").mkdir()
    stranger = bundle.parent / "other" / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(stranger)], check=True)
    signers = bundle.parent / "signers"
    signers.write_text(signature.signers_line(stranger.with_suffix(".pub").read_text()))
    result = call(capsys, path=str(bundle), signers=str(signers), allow_unsigned=True)
    assert "does not trust" in result["msg"]


def test_signers_inside_the_bundle(bundle: Path, capsys: Capture) -> None:
    (bundle / "signers").write_text(signature.signers_line(sign(bundle)))
    result = call(capsys, path=str(bundle), signers=str(bundle / "signers"))
    assert "would vouch for itself" in result["msg"]


def test_no_bundle(tmp_path: Path, capsys: Capture) -> None:
    assert "this is no bundle; check airgap_bundle" in call(capsys, path=str(tmp_path), signers="/x")["msg"]


def test_an_altered_file_is_named(bundle: Path, capsys: Capture) -> None:
    (bundle / "setup.sh").write_bytes(b"#!/bin/st\n")
    result = call(capsys, path=str(bundle), allow_unsigned=True)
    assert result["problems"][0].startswith("setup.sh: sha256 differs (expected sha256:")
