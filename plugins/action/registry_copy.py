# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shows the progress of the module registry_copy while it runs, as that of image_mirror does."""

from __future__ import annotations

from ansible_collections.airgap.speech.plugins.action.image_mirror import ActionModule as MirrorAction
from ansible_collections.airgap.speech.plugins.modules import registry_copy


class ActionModule(MirrorAction):
    """The action of registry_copy."""

    module = registry_copy
