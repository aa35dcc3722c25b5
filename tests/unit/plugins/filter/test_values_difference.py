# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a release's values changes is said, and no secret with it."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.airgap.speech.plugins.filter.values_difference import FilterModule

difference = FilterModule().filters()["values_difference"]
DEPLOYED = {"stt": {"replicas": 2, "image": "speech@sha256:1"}, "tts": {"replicas": 1}}


def test_what_changes_is_said_with_its_place() -> None:
    lines = difference({**DEPLOYED, "stt": {"replicas": 3, "image": "speech@sha256:1"}}, DEPLOYED)
    assert "-  replicas: 2" in lines
    assert "+  replicas: 3" in lines
    assert " stt:" in lines


@pytest.mark.parametrize("deployed", [None, {}])
def test_of_a_first_release_all_is_new(deployed: Any) -> None:
    lines = difference(DEPLOYED, deployed)
    assert [line for line in lines if not line.startswith(("+", "@@"))] == []
    assert "+  replicas: 2" in lines


def test_nothing_is_said_where_nothing_changes() -> None:
    assert difference({"tts": {"replicas": 1}, "stt": {"image": "speech@sha256:1", "replicas": 2}}, DEPLOYED) == []


@pytest.mark.parametrize(
    "tree",
    [
        lambda secret: {"registry": {"password": secret}},
        lambda secret: {"apiKey": secret},
        lambda secret: {"clientSecret": {"value": secret}},
        lambda secret: {"tokens": [], "auth_token": [secret]},
        lambda secret: {"env": [{"name": "LICENSE_KEY", "value": secret}]},
    ],
)
def test_a_secret_is_not_shown_and_that_it_is_another_one_is(tree: Any) -> None:
    assert "hunter" not in "".join(difference(tree("hunter2"), {}))
    changed = "\n".join(difference(tree("hunter2"), tree("hunter1")))
    assert "hunter" not in changed
    assert "(not shown, another one)" in changed
    assert difference(tree("hunter1"), tree("hunter1")) == []


def test_a_number_may_be_a_secret() -> None:
    assert "1234" not in "".join(difference({"password": 1234}, {"password": 4321}))


def test_a_switch_or_the_key_of_a_toleration_is_no_secret() -> None:
    assert "+- key: nvidia.com/gpu" in difference({"tolerations": [{"key": "nvidia.com/gpu"}]}, {})
    assert "+token: true" in difference({"token": True, "pullSecrets": ["a"]}, {})
    assert "+- a" in difference({"token": True, "pullSecrets": ["a"]}, {})


def test_what_is_no_tree_is_refused() -> None:
    with pytest.raises(AnsibleFilterError, match=r"deployed is of type str; give the values of a chart, a mapping"):
        difference({}, "values")
