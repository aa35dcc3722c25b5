# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What one tree of chart values changes of another."""

from __future__ import annotations

DOCUMENTATION = """
name: values_difference
short_description: What one tree of chart values changes of another
version_added: 0.1.0
author:
  - Airgap Speech contributors (@airgap-speech)
description:
  - Says as lines of a diff what the values of a release change of those that are deployed, which Helm itself shows
    only with a plugin.
  - A text or number under a name that ends in C(password), C(passwd), C(passphrase), C(credentials), C(secret),
    C(token), or in C(key) with something before it, is not shown, only that it is another one.
positional: deployed
options:
  _input:
    description: The values to deploy.
    type: dict
    required: true
  deployed:
    description: The values that are deployed, as C(helm get values) gives them; null or empty where there are none.
    type: dict
"""

EXAMPLES = """
- name: Say which values of the release change
  ansible.builtin.debug:
    msg: "{{ values | airgap.speech.values_difference(deployed) }}"
"""

RETURN = """
_value:
  description: The lines of a unified diff without its head. Empty where nothing changes.
  type: list
  elements: str
"""

import difflib
import json
import re
from collections.abc import Mapping
from typing import Any, Callable, Optional

import yaml
from ansible.errors import AnsibleFilterError

# A bare `key` is that of a toleration, or of an entry of a Secret.
_SECRET = re.compile(r"(?i)(?:password|passwd|passphrase|credentials?|secret|token|.key)\Z")


def values_difference(values: Mapping[str, Any], deployed: Optional[Mapping[str, Any]] = None) -> list[str]:
    """The lines of a diff from I(deployed) to I(values), without secrets."""
    before = deployed or {}
    for name, tree in (("_input", values), ("deployed", before)):
        if not isinstance(tree, Mapping):
            raise AnsibleFilterError(
                f"values_difference: {name} is of type {type(tree).__name__}; give the values of a chart, a mapping"
            )
    texts = [_text(_shown(tree, before)) for tree in (before, values)]
    return list(difflib.unified_diff(*texts, lineterm=""))[2:]


def _text(tree: Mapping[str, Any]) -> list[str]:
    # Through JSON, as YAML's safe writer takes none of the types that Ansible makes of a text.
    plain = json.loads(json.dumps(tree, default=str))
    return yaml.safe_dump(plain, sort_keys=True, width=1000).splitlines() if plain else []


def _shown(tree: Any, before: Any, secret: bool = False) -> Any:
    """The tree with words in the place of secrets, which tell only whether one is that of the tree before."""
    if isinstance(tree, Mapping):
        there = before if isinstance(before, Mapping) else {}
        # A variable of a container has its name beside its value.
        named = _SECRET.search(str(tree.get("name", ""))) is not None
        return {
            str(name): _shown(
                part, there.get(name), secret or _SECRET.search(str(name)) is not None or (named and name == "value")
            )
            for name, part in tree.items()
        }
    if isinstance(tree, (list, tuple)):
        there = before if isinstance(before, (list, tuple)) else []
        return [_shown(part, there[place] if place < len(there) else None, secret) for place, part in enumerate(tree)]
    if secret and tree not in (None, "", True, False):
        return "(not shown)" if before in (None, tree) else "(not shown, another one)"
    return tree


class FilterModule:
    """The filter, for Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """By name."""
        return {"values_difference": values_difference}
