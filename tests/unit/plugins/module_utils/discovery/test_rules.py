# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A file of rules is read strictly: each fault is named with its rule. What rules do is in tests/discovery."""

from __future__ import annotations

import pytest

from ansible_collections.airgap.speech.plugins.module_utils.discovery.rules import ImageRules, RulesInvalid, values_at

from .test_cases import SHIPPED

HEAD = "schema: airgap.speech/image-rules/v1\nvariables: {os: of the nodes}\nrules:\n"
RULE = HEAD + "  - {name: n, reason: r, document: {kind: A}, "

FAULTS = [
    ("not YAML", "rules: [", "f.yml: is not YAML"),
    ("another file", "rules: []", "f.yml: is no file of image rules; begin it with"),
    ("a key too many", "schema: airgap.speech/image-rules/v1\nrules: []\nrule: 1", "f.yml: rule is unknown"),
    ("variables without a description", HEAD.replace("of the nodes", "[a]") + "  []", "names with a description each"),
    ("no mapping", HEAD + "  - text", "rule 1: is no mapping"),
    ("an unknown key", RULE + "image: [a]}", r"rule 1 \(n\): image is unknown; write at, document"),
    ("no reason", HEAD + "  - {name: n, document: {kind: A}, images: [a]}", r"rule 1 \(n\): has no reason"),
    ("no kind", HEAD + "  - {name: n, reason: r, document: {group: a}, images: [a]}", "document must have a kind"),
    ("nothing to do", RULE + "at: [a]}", "does nothing; give images, only_if, needed or no_image"),
    ("no place", RULE + "needed: on nodes with a}", "says no place; give at"),
    ("images that are no list", RULE + "images: a}", "images must be a list of texts"),
    ("no image and images", RULE + "at: [a], no_image: true, images: [a]}", "no_image stands alone"),
    (
        "an unknown variable",
        RULE + "images: ['a:{kernel}']}",
        r"\{kernel\} is neither found, a path, nor one of variables",
    ),
    ("found without a place", RULE + "images: ['{found}-a']}", r"\{found\} needs at"),
    ("a condition without a path", RULE + "at: [a], only_if: [{is: true}]}", "only_if: a condition has a path"),
    ("a condition of nothing", RULE + "at: [a], only_if: [{path: a}]}", "only_if: a wants one of"),
    ("a condition of two", RULE + "at: [a], when: [{path: a, is: 1, set: true}], needed: x}", "when: a wants one of"),
    ("an empty any", RULE + "at: [a], only_if: [{any: []}]}", "any must be a list of conditions"),
]


@pytest.mark.parametrize(("text", "message"), [fault[1:] for fault in FAULTS], ids=[fault[0] for fault in FAULTS])
def test_faults_are_named(text: str, message: str) -> None:
    with pytest.raises(RulesInvalid, match=message):
        ImageRules.load(text, "f.yml")


@pytest.mark.parametrize("path", sorted(SHIPPED.iterdir()), ids=lambda path: path.name)
def test_rules_that_ship_are_good(path: object) -> None:
    text = path.read_text()  # type: ignore[attr-defined]
    rules = ImageRules.load(text, str(path))
    assert rules.rules
    assert len({rule.name for rule in rules.rules}) == len(rules.rules)


def test_values_at_a_path() -> None:
    tree = {"spec": {"list": [{"a": 1}, {"a": 2}, {}], "x": {"y": False}}}
    assert values_at(tree, "spec.list[*].a") == [1, 2]
    assert values_at(tree, "spec.list[1].a") == [2]
    assert values_at(tree, "spec.list[9].a") == []
    assert values_at(tree, "spec.x.y") == [False]
    assert values_at(tree, "spec.x.y.z") == []
