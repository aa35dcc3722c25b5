# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a push did or would do, as a module returns it."""

from __future__ import annotations

from typing import Any, Optional

from ansible_collections.airgap.speech.plugins.module_utils.oci.errors import human_bytes
from ansible_collections.airgap.speech.plugins.module_utils.oci.plan import Plan, PushItem
from ansible_collections.airgap.speech.plugins.module_utils.oci.transfer import PushResult


def inside_name(registry: str, item: PushItem) -> str:
    """How an item is called in a registry, which is C(host:port) or C(host:port/prefix)."""
    return f"{registry}/{item.repo}{':' if item.tag else '@'}{item.ref}"


def summary_of(plan: Plan, done: PushResult, seconds: float, check: bool) -> str:
    """The run in one line."""
    there = len(plan.images) - plan.pending
    if not plan.changed and not plan.wanted:
        return f"All {there} items already there"
    amount = f"{human_bytes(done.bytes_sent)} ({done.bytes_sent} bytes)"
    took = "" if check else f" in {seconds:.1f} s"
    if plan.wanted:
        parts = ", ".join(plan.wanted)
        return (
            f"{'Would send' if check else 'Sent'} {amount}{took}; still wanted: {parts}; tags are set when all is there"
        )
    head = f"{'Would mirror' if check else 'Mirrored'} {plan.pending} items, {amount}{took}"
    return f"{head}, {there} already there"


def outcome(
    plan: Plan, done: Optional[PushResult], registry: str, requests: int, seconds: float, check: bool
) -> dict[str, Any]:
    """The result of a module; without I(done), of a run that has sent nothing: what it would send."""
    if done is None:
        done = PushResult(
            bytes_sent=plan.bytes,
            blobs_sent=plan.blobs,
            blobs_mounted=len(plan.mounts),
            blobs_skipped=plan.skipped,
            wanted=plan.wanted,
        )
    before, after, images = [], [], []
    for image in plan.images:
        name = inside_name(registry, image.item)
        status = image.status if image.status == "present" or not plan.wanted else "waiting"
        images.append({"reference": name, "digest": image.item.digest, "status": status})
        if status != "waiting":
            after.append(f"{name} {image.item.digest}")
        elif image.before is not None:
            after.append(f"{name} {image.before}")
        if image.before is not None:
            before.append(f"{name} {image.before}")
    return {
        "changed": plan.changed,
        "images": images,
        "plan": {"images": plan.pending, "blobs": plan.blobs, "bytes": plan.bytes},
        "bytes_sent": done.bytes_sent,
        "bytes_resent": done.bytes_resent,
        "blobs_sent": done.blobs_sent,
        "blobs_mounted": done.blobs_mounted,
        "blobs_skipped": done.blobs_skipped,
        "requests": requests,
        "seconds": seconds,
        "wanted": list(done.wanted),
        "summary": summary_of(plan, done, seconds, check),
        "diff": {"before": "".join(f"{line}\n" for line in before), "after": "".join(f"{line}\n" for line in after)},
    }
