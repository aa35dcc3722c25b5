# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all modules and both clients share: the options of a registry, and how long a next try waits."""

from __future__ import annotations

import pytest

from ansible_collections.airgap.speech.plugins.module_utils.oci.errors import LONGEST_WAIT, RegistryError, pause_before
from ansible_collections.airgap.speech.plugins.module_utils.oci.options import REGISTRY_OPTIONS, client

PARAMS = {name: option.get("default") for name, option in REGISTRY_OPTIONS.items()}


def test_a_prefix_a_user_and_a_password_file_make_a_client(tmp_path):
    secret = tmp_path / "password"
    secret.write_text("hunter2\n")
    given = {**PARAMS, "registry": "127.0.0.1:5/mirror", "username": "push", "password_file": str(secret)}
    with client({**given, "plain_http": True}) as registry:
        assert (registry.endpoint, registry.prefix) == ("127.0.0.1:5", "mirror")
        assert registry._basic == "Basic cHVzaDpodW50ZXIy"


@pytest.mark.parametrize("username", [None, ""])
def test_no_user_is_no_login(username):
    with client({**PARAMS, "registry": "127.0.0.1:5", "username": username, "plain_http": True}) as registry:
        assert registry._basic is None


@pytest.mark.parametrize(
    ("given", "kind", "said"),
    [
        ({"registry": "https://127.0.0.1:5"}, "answer", "correct the address"),
        ({"username": "push", "password_file": "/nowhere/password"}, "secret_missing", "make it, or name another file"),
        ({"ca_file": "/nowhere/ca.crt"}, "ca_missing", "name the file of the site's CA"),
    ],
)
def test_what_cannot_be_used_is_named(given, kind, said):
    with pytest.raises(RegistryError, match=said) as caught:
        client({**PARAMS, "registry": "127.0.0.1:5", **given})
    assert caught.value.kind == kind


@pytest.mark.parametrize(
    ("attempt", "asked", "least", "most"),
    [
        (1, None, 0.375, 0.625),
        (3, None, 1.5, 2.5),
        (20, None, 22.5, 37.5),
        (1, 0.0, 0.1, 0.1),
        (5, 7.0, 7.0, 7.0),
        (1, LONGEST_WAIT, 300.0, 300.0),
    ],
)
def test_a_pause_is_what_the_server_asks_else_longer_each_time(attempt, asked, least, most):
    assert all(least <= pause_before(attempt, asked) <= most for _turn in range(50))
