# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from ansible_collections.airgap.speech.plugins.module_utils.kube.quantity import (
    MAX_INT64,
    Quantity,
    QuantityError,
    bytes_text,
    from_json,
    is_extended,
    parse,
    resource_list,
    text_of,
    whole_units,
)

G = 10**9


@pytest.mark.parametrize(
    ("text", "nanos"),
    [
        ("0", 0),
        ("1", G),
        ("+1", G),
        ("-1", -G),
        ("007", 7 * G),
        (".5", G // 2),
        ("1.", G),
        ("1.5", 3 * G // 2),
        ("100m", G // 10),
        ("250u", 250_000),
        ("3n", 3),
        ("0.1n", 1),
        ("-0.1n", -1),
        ("1.0000000001", G + 1),
        ("1k", 1000 * G),
        ("1E", 10**18 * G),
        ("1e3", 1000 * G),
        ("1E3", 1000 * G),
        ("1e-3", G // 1000),
        ("1e+3", 1000 * G),
        ("1Ki", 1024 * G),
        ("1.5Gi", 3 * 2**29 * G),
        ("0.5Ki", 512 * G),
        ("1Ei", 2**60 * G),
        ("100Ei", MAX_INT64 * G),
        ("1G", 10**9 * G),
        ("12e6", 12 * 10**6 * G),
        ("k", 0),
        ("Ti", 0),
        ("e-9", 0),
    ],
)
def test_parses(text, nanos):
    assert parse(text) == Quantity(nanos)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " 1",
        "1 ",
        "1K",
        "1ki",
        "1mi",
        "1KB",
        "1GB",
        "1 Gi",
        "1.5.2",
        "abc",
        "1e",
        "1e1.5",
        "0x10",
        "1_000",
        "1,5",
        "Ei",
        "-Pi",
        "e-19",
    ],
)
def test_refuses(text):
    with pytest.raises(QuantityError):
        parse(text)


def test_exponents_do_not_grow_without_bound():
    assert parse("1e999999999").nanos == parse("1e60").nanos
    assert parse("1e-999999999").nanos == 1


@pytest.mark.parametrize(
    ("value", "nanos"),
    [(1, G), (0.5, G // 2), (" 2 ", 2 * G), (None, 0), ("500m", G // 2)],
)
def test_reads_json(value, nanos):
    assert from_json(value).nanos == nanos


@pytest.mark.parametrize("value", [True, [], {}])
def test_refuses_json(value):
    with pytest.raises(QuantityError):
        from_json(value)


@pytest.mark.parametrize(
    ("text", "value", "milli"),
    [("100m", 1, 100), ("1500m", 2, 1500), ("-1500m", -2, -1500), ("0.1m", 1, 1), ("1Gi", 2**30, 2**30 * 1000)],
)
def test_rounds_away_from_zero(text, value, milli):
    assert (parse(text).value, parse(text).milli_value) == (value, milli)


def test_a_resource_list_is_kept_in_thousandths():
    assert resource_list({"cpu": "0.1m"}, "x", "y")["cpu"].nanos == 10**6


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"cpu": "2 cores"}, "Pod a/b: spec.requests.cpu: '2 cores' is not a quantity"),
        ({"memory": "-1Gi"}, "Pod a/b: spec.requests.memory: '-1Gi' is below zero"),
        (["cpu"], "Pod a/b: spec.requests: ['cpu'] is not a map"),
    ],
)
def test_errors_name_the_object_and_the_field(values, words):
    with pytest.raises(QuantityError) as caught:
        resource_list(values, "Pod a/b", "spec.requests")
    assert words in str(caught.value)


def test_units_of_the_scheduler():
    assert whole_units("cpu", parse("1500m")) == 1500
    assert whole_units("memory", parse("512m")) == 1


@pytest.mark.parametrize(
    ("name", "extended"),
    [
        ("nvidia.com/gpu", True),
        ("cpu", False),
        ("hugepages-2Mi", False),
        ("requests.nvidia.com/gpu", False),
        ("x.kubernetes.io/y", False),
    ],
)
def test_extended_resources(name, extended):
    assert is_extended(name) is extended


def test_texts():
    assert text_of("cpu", 1500) == "1500m"
    assert text_of("cpu", 2000) == "2"
    assert text_of("nvidia.com/gpu", 2) == "2"
    assert bytes_text(2**30) == "1 GiB"
    assert bytes_text(3 * 2**29) == "1.5 GiB"
    assert bytes_text(17) == "17 B"
