# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What differs between the minor versions of Kubernetes, as far as it bears on where pods are placed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

OLDEST = 31
NEWEST = 36


@dataclass(frozen=True)
class Version:
    """One minor version. The defaults are those of the newest."""

    # What the scheduler says.
    names_taints: bool = False
    # Nodes that a pod does not name (metadata.name) are counted among those that are not available.
    counts_not_named: bool = True
    volume_affinity: str = "node(s) didn't match PersistentVolume's node affinity"
    one_pod_only: str = (
        "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by another"
        " pod"
    )
    # NodeResourcesBalancedAllocation scores what a pod changes, not only what comes out.
    balance_by_change: bool = True
    # A pod that asks for nothing has no score of balance.
    balance_skips_idle: bool = True
    # Images of image volumes count where an image is already on a node.
    image_volumes_score: bool = True
    # resources of a pod, beside those of its containers (PodLevelResources); else the API server drops the field.
    pod_resources: bool = True


def of(minor: Optional[int]) -> Version:
    """What holds for Kubernetes 1.``minor``; for the newest where it is not known."""
    minor = NEWEST if minor is None else minor
    return Version(
        names_taints=minor < 35,
        counts_not_named=minor >= 32,
        volume_affinity=Version.volume_affinity if minor >= 33 else "node(s) had volume node affinity conflict",
        one_pod_only=Version.one_pod_only
        if minor >= 34
        else "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode",
        balance_by_change=minor >= 36,
        balance_skips_idle=minor >= 33,
        image_volumes_score=minor >= 36,
        pod_resources=minor >= 34,
    )
