# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations


class ModuleDocFragment:
    """Options of every module that talks to the registry."""

    DOCUMENTATION = r"""
options:
  registry:
    description:
      - The private registry as C(host:port), or C(host:port/prefix) where everything lies below a path.
    type: str
    required: true
  username:
    description:
      - User of the registry. Without it nothing is sent as a login.
    type: str
  password_file:
    description:
      - File with the password of O(username), on the host that runs the module. A line end after it does not count.
    type: path
  ca_file:
    description:
      - PEM file with the CA that signed the certificate of the registry, on the host that runs the module.
      - The CAs of the system are trusted as well.
    type: path
  plain_http:
    description:
      - Talks to the registry without TLS. For a registry on the same host, or for a trial.
    type: bool
    default: false
"""
