# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import copy
from pathlib import Path

import pytest
import yaml

from ansible_collections.airgap.speech.plugins.module_utils.sizing.plan import read_cluster
from ansible_collections.airgap.speech.plugins.module_utils.sizing.profile import SizingError, load, size

PROFILES = Path(__file__).resolve().parents[5] / "roles/speech_platform/profiles"

# The table of the page that voicetyped has on Kubernetes, and what one replica of an engine takes.
FILE = {
    "schema": "airgap.speech/sizing/v1",
    "inputs": {"concurrent_calls": "calls at a time", "requests_per_second": "sentences spoken"},
    "always": [{"values": {"metrics": {"enabled": True}}, "source": "needed to see it"}],
    "rules": [
        {
            "name": "gateways",
            "input": "concurrent_calls",
            "outside": "error",
            "source": "Scaling Guidelines",
            "rows": [
                {"up_to": 10, "values": {"media": {"replicas": 2}, "speech": {"gpu": {"example.com/gpu": 1}}}},
                {"up_to": 50, "values": {"media": {"replicas": 3}, "speech": {"gpu": {"example.com/gpu": 2}}}},
                {
                    "up_to": 500,
                    "values": {"media": {"replicas": 10}, "speech": {"gpu": {"example.com/gpu": 5}}},
                    "source": "measured by hand",
                },
            ],
        },
        {
            "name": "voices",
            "input": "concurrent_calls",
            "outside": "note",
            "share": {"value": 0.25, "source": "estimate"},
            "per_replica": {"value": 3, "source": "make bench"},
            "up_to": {"value": 100, "source": "make bench"},
            "replicas": ["tts.replicas", "tts.autoscaling.minReplicas"],
            "values": {"tts": {"resources": {"requests": {"cpu": "2"}}}},
            "source": "make bench",
        },
        {
            "name": "voices by sentence",
            "input": "requests_per_second",
            "outside": "error",
            "per_replica": {"value": 0.5, "source": "make bench"},
            "up_to": {"value": 20, "source": "make bench"},
            "replicas": ["tts.replicas"],
        },
    ],
    "volumes": [{"name": "journal", "what": "usage records", "size": "1Gi", "source": "the chart", "claim": "j"}],
}


def text(*path, value=None, drop=False):
    """The file with one field changed."""
    tree = copy.deepcopy(FILE)
    node = tree
    for key in path[:-1]:
        node = node[key]
    if drop:
        del node[path[-1]]
    elif path:
        node[path[-1]] = value
    return yaml.safe_dump(tree)


def sized(**asked):
    return size(load(text(), "sizing.yml"), asked)


@pytest.mark.parametrize(
    ("calls", "media", "voices"),
    [(1, 2, 1), (10, 2, 1), (11, 3, 1), (12, 3, 1), (12.5, 3, 2), (50, 3, 5), (51, 10, 5), (100, 10, 9), (500, 10, 42)],
)
def test_it_steps_up_and_never_below(calls, media, voices):
    values = sized(concurrent_calls=calls).values
    assert values["media"]["replicas"] == media
    assert values["tts"]["replicas"] == values["tts"]["autoscaling"]["minReplicas"] == voices
    assert values["tts"]["resources"] == {"requests": {"cpu": "2"}}
    assert values["metrics"] == {"enabled": True}


@pytest.mark.parametrize(
    ("calls", "words"),
    [
        (10, []),
        (12, ["gateways: concurrent_calls 12 lies between rows: that of 50 is used"]),
        (
            200,
            [
                "gateways: concurrent_calls 200 lies between rows: that of 500 is used",
                "voices: concurrent_calls 200 is above 100, the most that the rule 'voices' covers:"
                " the replicas are drawn on beyond the source",
            ],
        ),
    ],
)
def test_what_has_to_be_said_is_said(calls, words):
    assert sized(concurrent_calls=calls).notes == words


def test_a_table_that_ends_with_a_note_is_not_drawn_on():
    changed = load(text("rules", 0, "outside", value="note"), "sizing.yml")
    result = size(changed, {"concurrent_calls": 501})
    assert result.values["media"]["replicas"] == 10
    assert "its last row is used, which is less than was asked" in result.notes[0]


def test_every_number_has_its_source():
    sources = {item.name: item.source for item in sized(concurrent_calls=60).settings}
    assert sources == {
        "media.replicas": "measured by hand",
        "metrics.enabled": "needed to see it",
        "speech.gpu.example.com/gpu": "measured by hand",
        "tts.autoscaling.minReplicas": "concurrent_calls 60: share 0.25 (estimate); 3 a replica (make bench)",
        "tts.replicas": "concurrent_calls 60: share 0.25 (estimate); 3 a replica (make bench)",
        "tts.resources.requests.cpu": "make bench",
    }


def test_keys_with_points_stay_whole():
    assert sized(concurrent_calls=50).values["speech"]["gpu"] == {"example.com/gpu": 2}


@pytest.mark.parametrize(("rate", "replicas"), [(0.1, 5), (2.5, 5), (2.6, 6), (5, 10)])
def test_of_two_inputs_the_larger_wins(rate, replicas):
    assert sized(concurrent_calls=60, requests_per_second=rate).values["tts"]["replicas"] == replicas


def test_nothing_asked_is_nothing_sized():
    assert sized(concurrent_calls=None).values == {}


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (
            {"channels": 4},
            "sizing.yml: inputs: this platform is not sized by channels; give concurrent",
        ),
        ({"concurrent_calls": 0}, "concurrent_calls: 0 is no size; give a number above zero"),
        ({"concurrent_calls": "many"}, "concurrent_calls: 'many' is no size"),
        ({"concurrent_calls": True}, "concurrent_calls: True is no size"),
        ({"concurrent_calls": float("inf")}, "concurrent_calls: inf is no size"),
        ({"concurrent_calls": 501}, "sizing.yml: concurrent_calls 501 is above 500, the most that the rule 'gateways'"),
    ],
)
def test_sizes_that_have_no_answer(asked, words):
    with pytest.raises(SizingError) as caught:
        sized(**asked)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("schema",), "v0", "sizing.yml: schema: 'v0' is not airgap.speech/sizing/v1"),
        (("inputs",), {"calls": "x"}, "inputs.calls: unknown input; known are concurrent_calls, channels"),
        (("inputs",), {}, "the file.inputs: missing"),
        (("more",), 1, "the file.more: unknown field"),
        (("rules",), {"a": 1}, "rules: a list is wanted"),
        (("rules", 0, "input"), "channels", "rules[0].input: 'channels' is none of inputs"),
        (("rules", 0, "outside"), "guess", "rules[0].outside: 'guess' is neither error nor note"),
        (("rules", 0, "rows", 1, "up_to"), 10, "rules[0].rows[1].up_to: 10 is not above the row before it"),
        (("rules", 0, "rows", 1, "up_to"), "50", "rules[0].rows[1].up_to: a number above zero is wanted, not '50'"),
        (("rules", 0, "rows", 1, "values"), {"media": {"replicas": 3}}, "rules[0].rows[1].values: sets other values"),
        (("rules", 0, "rows", 0, "note"), "x", "rules[0].rows[0].note: unknown field"),
        (("rules", 0, "source"), None, "rules[0].rows[0].source: a text is wanted, not None"),
        (("rules", 0, "rows"), [], "rules[0].rows: a table without a row"),
        (("rules", 0, "replicas"), ["x"], "rules[0]: a rule has either rows, or replicas"),
        (("rules", 1, "name"), "gateways", "rules[1].name: 'gateways' is the name of another rule"),
        (("rules", 1, "per_replica"), 3, "rules[1].per_replica: a map is wanted, not 3"),
        (("rules", 1, "per_replica"), {"value": 3}, "rules[1].per_replica.source: missing"),
        (("rules", 1, "per_replica"), {"value": -1, "source": "x"}, "rules[1].per_replica.value: a number above zero"),
        (("rules", 1, "up_to"), None, "rules[1].up_to: missing"),
        (("rules", 1, "replicas"), ["tts"], "rules[1]: tts.resources.requests.cpu is set by rule 'voices' too"),
        (("rules", 1, "values"), {"media": {"replicas": 1}}, "rules[1]: media.replicas is set by rule 'gateways' too"),
        (("rules", 1, "values"), {"metrics": {"enabled": 1}}, "rules[1]: metrics.enabled is set by always too"),
        (("rules", 1, "source"), None, "rules[1].source: a text is wanted, not None"),
        (("always", 0, "source"), " ", "always[0].source: a text is wanted"),
        (("volumes", 0, "size"), "1GB", "volumes[0].size: '1GB' is not a quantity"),
        (("volumes", 0, "size"), 0, "volumes[0].size: 0 is no room"),
        (("volumes", 0, "what"), None, "volumes[0].what: missing"),
    ],
)
def test_files_that_are_wrong_name_the_field(path, value, words):
    with pytest.raises(SizingError) as caught:
        load(text(*path, value=value), "sizing.yml")
    assert words in str(caught.value)
    assert str(caught.value).startswith("sizing.yml: ")
    assert "; " in str(caught.value)


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("a: [", "sizing.yml: this is not YAML"),
        ("- a", "sizing.yml: the file: a map is"),
        ("", "a map is wanted"),
    ],
)
def test_files_that_are_none(written, words):
    with pytest.raises(SizingError) as caught:
        load(written, "sizing.yml")
    assert words in str(caught.value)


def test_two_rules_that_set_one_text_to_two_things():
    changed = copy.deepcopy(FILE)
    changed["rules"][2]["values"] = {"tts": {"resources": {"requests": {"cpu": "4"}}}}
    changed["rules"][2]["source"] = "x"
    with pytest.raises(SizingError, match="'4' here and '2' in another rule"):
        size(load(yaml.safe_dump(changed), "sizing.yml"), {"concurrent_calls": 1, "requests_per_second": 1})


@pytest.mark.parametrize("path", sorted(PROFILES.glob("*/sizing.yml")), ids=lambda path: path.parent.name)
def test_the_files_of_our_profiles_are_read(path):
    assert load(path.read_text(encoding="utf-8"), str(path)).rules


def example(first):
    """The block of docs/sizing.md that begins with a word."""
    page = (PROFILES.parents[2] / "docs/sizing.md").read_text(encoding="utf-8")
    return next(block for block in page.split("```yaml\n")[1:] if block.startswith(first)).split("```")[0]


def test_the_examples_of_the_documentation_are_read():
    sizing = load(example("schema:"), "docs/sizing.md")
    values = size(sizing, {"concurrent_calls": 60}).values
    assert values["gateway"]["replicas"] == 5
    assert values["engine"] == {
        "replicas": 1,
        "autoscaling": {"minReplicas": 1},
        "resources": {"limits": {"nvidia.com/gpu": 1}},
    }
    assert [pool["name"] for pool in read_cluster(example("pools:")).pools] == ["cpu", "gpu"]
