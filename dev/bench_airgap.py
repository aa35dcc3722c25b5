# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine of the mirror as a plain process, for the bench: no Ansible around it, and only what a run needs is read.

bench_airgap.py push LAYOUT IMAGES.json REGISTRY CA-or-"" THREADS
bench_airgap.py copy SOURCE IMAGES.json REGISTRY CA-or-"" THREADS

Says on its last line what was sent, and engine_seconds: the work itself, as the module's result has it, without the
start of Python.
"""

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "build" / "collections"))

from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import Layout
from ansible_collections.airgap.speech.plugins.module_utils.oci.plan import PushItem, plan_push
from ansible_collections.airgap.speech.plugins.module_utils.oci.registry import Registry


def main() -> int:
    began = time.monotonic()
    action, source, images, endpoint, ca_file, count = sys.argv[1:]
    threads = int(count)
    listed = json.loads(Path(images).read_text())
    target = Registry(endpoint, ca_file=ca_file or None, plain_http=not ca_file)
    items = [PushItem(entry["digest"], entry["repo"], entry["tag"]) for entry in listed]
    if action == "push":
        plan = plan_push(Layout(source), items, target, threads)
    else:
        from ansible_collections.airgap.speech.plugins.module_utils.oci.relay import RegistrySource  # noqa: PLC0415

        # As a user names them: by tag, which the source resolves.
        relay = RegistrySource(Registry(source, ca_file=ca_file or None, plain_http=not ca_file))
        found = relay.find_all([(item.repo, item.ref) for item in items], threads)
        items = [PushItem(there.digest, item.repo, item.tag) for item, there in zip(items, found)]
        plan = plan_push(relay, items, target, threads)
    sent = 0
    if plan.changed:
        from ansible_collections.airgap.speech.plugins.module_utils.oci.transfer import push  # noqa: PLC0415

        sent = push(plan, target, threads).bytes_sent
    print(json.dumps({"bytes_sent": sent, "planned": plan.bytes, "engine_seconds": time.monotonic() - began}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
