# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""API keys: several at once, read again when a Secret is swapped, and never by accident none."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from open_speech.errors import StartError
from open_speech.keys import KeyStore, presented


def test_several_keys_are_good_at_once(keys_dir, swap_secret):
    swap_secret(keys_dir, {"first": "key-one\n", "second": "key-two"})
    store = KeyStore(keys_dir, None)
    assert store.name_of("key-one") == "first"
    assert store.name_of("key-two") == "second"
    for wrong in (None, "", "key-on", "key-one ", "key-three", "first", "\udcff"):
        assert store.name_of(wrong) is None


def test_a_swapped_secret_is_read_again(keys_dir, swap_secret):
    now = [0.0]
    store = KeyStore(keys_dir, None, every_seconds=1.0, clock=lambda: now[0])
    swap_secret(keys_dir, {"default": "rotated", "old": "still-good"})
    assert store.name_of("rotated") is None  # looked at most once a second
    now[0] = 1.0
    assert store.name_of("rotated") == "default"
    assert store.name_of("still-good") == "old"
    swap_secret(keys_dir, {"default": "rotated"})
    now[0] = 2.0
    assert store.name_of("still-good") is None


def test_an_emptied_secret_refuses_everybody_even_where_anonymous_was_allowed(keys_dir, swap_secret):
    store = KeyStore(keys_dir, None, allow_anonymous=True, every_seconds=0)
    assert not store.anonymous
    swap_secret(keys_dir, {})
    assert store.name_of("anything") is None
    assert store.name_of(None) is None


def test_a_first_key_ends_anonymous_access(tmp_path, swap_secret):
    directory = tmp_path / "later"
    directory.mkdir()
    store = KeyStore(directory, None, allow_anonymous=True, every_seconds=0)
    assert store.name_of(None) == "anonymous"
    swap_secret(directory, {"default": "now-there-is-one"})
    assert store.name_of(None) is None
    assert store.name_of("now-there-is-one") == "default"


@pytest.mark.parametrize("where", ["nowhere", "missing", "empty", "blank"])
def test_no_keys_is_no_start(tmp_path, where):
    directory = None if where == "nowhere" else tmp_path / where
    if where in ("empty", "blank"):
        directory.mkdir()
    if where == "blank":
        (directory / "default").write_text(" \n", encoding="utf-8")
    with pytest.raises(StartError, match="API keys: none") as caught:
        KeyStore(directory, None)
    assert "\n" not in str(caught.value)
    assert str(directory) in str(caught.value) or "OPEN_SPEECH_API_KEYS_DIR" in str(caught.value)


def test_a_file_holds_a_key_a_line(tmp_path):
    file = tmp_path / "keys"
    file.write_text("# keys\n\nalpha\n beta \n", encoding="utf-8")
    store = KeyStore(None, file)
    assert store.name_of("alpha") == "keys:1"
    assert store.name_of("beta") == "keys:2"
    assert store.name_of("# keys") is None


def test_unreadable_keys_keep_the_known_ones(tmp_path, caplog):
    file = tmp_path / "keys"
    file.write_text("alpha\n", encoding="utf-8")
    store = KeyStore(None, file, every_seconds=0)
    file.write_bytes(b"\xff\xfe\xff")
    with caplog.at_level(logging.ERROR):
        assert store.name_of("alpha") == "keys:1"
    assert "cannot be read again" in caplog.text


def test_keys_stay_out_of_logs_and_of_the_object(keys_dir: Path, swap_secret, caplog):
    secret = "sk-never-to-be-seen"
    with caplog.at_level(logging.DEBUG):
        swap_secret(keys_dir, {"default": secret})
        store = KeyStore(keys_dir, None, every_seconds=0)
        swap_secret(keys_dir, {"default": secret + "2"})
        assert store.name_of(secret + "2") == "default"
    assert "default" in caplog.text
    assert secret not in caplog.text
    assert secret not in repr(vars(store))


@pytest.mark.parametrize(
    ("authorization", "x_api_key", "expected"),
    [
        ("Bearer abc", None, "abc"),
        ("bearer  abc ", None, "abc"),
        (None, "abc", "abc"),
        ("Bearer abc", "other", "abc"),
        ("Basic abc", "abc", "abc"),
        ("Basic abc", None, None),
        ("Bearer ", None, None),
        ("abc", None, None),
        (None, None, None),
    ],
)
def test_presented(authorization, x_api_key, expected):
    assert presented(authorization, x_api_key) == expected
