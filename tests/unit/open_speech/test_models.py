# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Models: one clear line for each way in which a volume can be wrong."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
from pathlib import Path

import pytest
import yaml

from open_speech.errors import StartError
from open_speech.models import verify

IMAGE = Path(__file__).resolve().parents[3] / "roles/speech_platform/profiles/open_speech/image"
WANTED = {"tiny": ("stt", "faster-whisper"), "detector": ("vad", "silero-vad")}


def place(root: Path, name: str, kind: str, engine: str, **files: bytes) -> dict:
    directory = root / name
    directory.mkdir(parents=True)
    entries = []
    for path, content in files.items():
        (directory / path).write_bytes(content)
        entries.append({"path": path, "sha256": hashlib.sha256(content).hexdigest(), "size": len(content)})
    data = {
        "schema": "airgap.speech/model/v1",
        "name": name,
        "version": "1",
        "kind": kind,
        "engine": engine,
        "files": entries,
    }
    (directory / "model.json").write_text(json.dumps(data), encoding="utf-8")
    return data


@pytest.fixture
def volume(tmp_path):
    root = tmp_path / "models"
    place(root, "tiny", "stt", "faster-whisper", weights=b"w" * 3_000_000, config=b"{}")
    place(root, "detector", "vad", "silero-vad", net=b"n" * 1000)
    return root


def test_good(volume):
    models = verify(volume, WANTED)
    assert {name: (model.kind, model.version) for name, model in models.items()} == {
        "tiny": ("stt", "1"),
        "detector": ("vad", "1"),
    }
    assert models["tiny"].has("config")
    assert not models["tiny"].has("model.json")


def change_manifest(volume: Path, **changes) -> None:
    path = volume / "tiny/model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def flip(volume: Path) -> None:
    path = volume / "tiny/weights"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


FILE = {"path": "config", "sha256": "0" * 64, "size": 2}


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda v: (v / "tiny").rename(v / "other"), ["model tiny: missing", "tiny/model.json"]),
        (lambda v: (v / "detector/net").unlink(), ["model detector", "detector/net: missing"]),
        (lambda v: (v / "tiny/config").write_bytes(b"{ }"), ["tiny/config: size differs, expected 2 bytes, actual 3"]),
        (flip, ["model tiny", "tiny/weights: sha256 differs, expected ", "actual "]),
        (lambda v: (v / "tiny/model.json").write_text("{"), ["model tiny", "not JSON"]),
        (lambda v: change_manifest(v, schema="other/v1"), ["not a manifest of schema airgap.speech/model/v1"]),
        (lambda v: change_manifest(v, files=[]), ["not a manifest of schema"]),
        (lambda v: change_manifest(v, files=[{**FILE, "path": "../detector/net"}]), ["path '../detector/net'"]),
        (lambda v: change_manifest(v, files=[{**FILE, "path": "/etc/passwd"}]), ["path '/etc/passwd'"]),
        (lambda v: change_manifest(v, files=[{**FILE, "sha256": "short"}]), ["sha256 of config"]),
        (lambda v: change_manifest(v, kind="tts"), ["kind is 'tts', expected 'stt'"]),
        (lambda v: change_manifest(v, name="small"), ["name is 'small', expected 'tiny'"]),
        (lambda v: change_manifest(v, engine="other"), ["engine is 'other', expected 'faster-whisper'"]),
    ],
)
def test_faults(volume, spoil, words):
    spoil(volume)
    with pytest.raises(StartError) as caught:
        verify(volume, WANTED)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message
    assert re.search(r"; (place|name) ", message)  # the next step


def test_a_wrong_digest_names_both(volume):
    expected = hashlib.sha256((volume / "tiny/weights").read_bytes()).hexdigest()
    flip(volume)
    actual = hashlib.sha256((volume / "tiny/weights").read_bytes()).hexdigest()
    with pytest.raises(StartError, match=f"expected {expected}, actual {actual}"):
        verify(volume, WANTED)


def test_no_volume(tmp_path):
    with pytest.raises(StartError, match="is no directory; mount the model volume there"):
        verify(tmp_path / "nothing", WANTED)


def test_models_yml_and_its_manifests():
    """Every pin is whole, and the model.json made from it is what the service reads."""
    spec = importlib.util.spec_from_file_location("fetch_models", IMAGE / "fetch_models.py")
    fetch_models = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fetch_models)
    models = yaml.safe_load((IMAGE.parent / "models.yml").read_text(encoding="utf-8"))["models"]
    assert [model["kind"] for model in models] == ["stt", "tts", "vad"]
    for model in models:
        assert set(model) == {"name", "version", "kind", "engine", "licence", "files"}
        assert isinstance(model["version"], str)
        text = fetch_models.manifest(model)
        assert text == json.dumps(json.loads(text), indent=2, sort_keys=True) + "\n"
        assert set(json.loads(text)) == {"schema", "name", "version", "kind", "engine", "files"}
        for file in model["files"]:
            assert re.fullmatch(r"[0-9a-f]{64}", file["sha256"])
            assert re.fullmatch(r"[0-9a-f]{64}", file["source"]["wheel_sha256"])
            assert file["size"] > 0
            assert set(file["source"]) == {"pypi", "version", "wheel", "wheel_sha256", "member"}
            assert isinstance(file["source"]["version"], str)
