# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations


class ModuleDocFragment:
    """Options of every module that reads from a cluster."""

    DOCUMENTATION = r"""
options:
  kubeconfig:
    description: Path of a kubeconfig of the cluster, on the host that runs the module.
    type: path
    required: true
  context:
    description: Context of the kubeconfig. The current one when left out.
    type: str
requirements:
  - kubernetes (Python package)
"""
