# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A registry as the options of a module name it. The doc fragment C(registry) describes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.airgap.speech.plugins.module_utils.oci.registry import Registry, connect

# The argument_spec of these options; C(required_by) of them is REGISTRY_REQUIRED_BY.
REGISTRY_OPTIONS: dict[str, Any] = {
    "registry": {"type": "str", "required": True},
    "username": {"type": "str"},
    "password_file": {"type": "path", "no_log": False},
    "ca_file": {"type": "path"},
    "plain_http": {"type": "bool", "default": False},
}
REGISTRY_REQUIRED_BY = {"password_file": "username"}


def client(params: Mapping[str, Any]) -> Registry:
    """A client of the registry that the options name; C(password) and C(ca_pem) count where a module has them."""
    return connect(
        params["registry"],
        username=params["username"] or None,
        password=params.get("password"),
        password_file=params["password_file"],
        ca_file=params["ca_file"],
        ca_pem=params.get("ca_pem"),
        plain_http=params["plain_http"],
    )
