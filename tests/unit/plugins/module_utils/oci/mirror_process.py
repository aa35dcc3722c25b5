# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The mirror as a process that a test can kill: `mirror_process.py LAYOUT ITEMS.json REGISTRY SESSIONS`."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[5] / "build" / "collections"))

from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import Layout
from ansible_collections.airgap.speech.plugins.module_utils.oci.registry import Registry
from ansible_collections.airgap.speech.plugins.module_utils.oci.sessions import Sessions
from ansible_collections.airgap.speech.plugins.module_utils.oci.transfer import PushItem, plan_push, push


def main() -> int:
    layout, listed, endpoint, kept = sys.argv[1:]
    items = [PushItem(*entry) for entry in json.loads(Path(listed).read_text())]
    registry, sessions = Registry(endpoint, plain_http=True), Sessions(kept)
    plan = plan_push(Layout(layout), items, registry, sessions=sessions)
    done = push(plan, registry, sessions=sessions)
    print(json.dumps({"planned": plan.bytes, "sent": done.bytes_sent, "resent": done.bytes_resent}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
