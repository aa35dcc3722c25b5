# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which images each node needs beforehand, and bringing them there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Callable, Dict, Iterable, List, Mapping, Sequence, Set, Tuple

from ansible_collections.airgap.speech.plugins.module_utils.kube.fixed import Fixed
from ansible_collections.airgap.speech.plugins.module_utils.kube.nodes import Node, read_node
from ansible_collections.airgap.speech.plugins.module_utils.kube.pods import read_manifest
from ansible_collections.airgap.speech.plugins.module_utils.kube.terms import Taint
from ansible_collections.airgap.speech.plugins.module_utils.kube.versions import Version
from ansible_collections.airgap.speech.plugins.module_utils.oci.reference import Reference

Run = Callable[[Sequence[str]], Tuple[int, str, str]]

# What passes by itself: a node that is cordoned or not ready today runs pods tomorrow.
_PASSING = "node.kubernetes.io/"
# containerd's plugin for the kubelet shows an image with this label as pinned, and the kubelet then leaves it.
PINNED = "io.cri-containerd.pinned=pinned"
OURS = "airgap.speech/prepull=yes"


class PrepullError(Exception):
    """Images cannot be brought to the node; the message says what to do."""


def _lasting(node: Node) -> Node:
    taints: Iterable[Taint] = (taint for taint in node.taints if not taint.key.startswith(_PASSING))
    return replace(node, taints=tuple(taints), unschedulable=False)


def plan(
    releases: Sequence[Tuple[str, Sequence[Mapping[str, Any]]]], nodes: Sequence[Mapping[str, Any]]
) -> Dict[str, List[str]]:
    """The images for each node, by its name: those of pods whose selector, affinity and tolerations let them run there.

    ``releases`` are pairs of a namespace and rendered objects. Every node is in the answer, and room is not asked for:
    it changes.
    """
    fixed = Fixed([_lasting(read_node(document)) for document in nodes], Version())
    wanted: Dict[str, Set[str]] = {node.name: set() for node in fixed.nodes}
    for namespace, documents in releases:
        for workload in read_manifest(documents, namespace).workloads:
            images = {image for image in (*workload.pod.images, *workload.pod.image_volumes) if image}
            for index in fixed.static(workload.pod)[1]:
                wanted[fixed.nodes[index].name] |= {str(Reference.parse(image)) for image in images}
    return {name: sorted(images) for name, images in wanted.items()}


@dataclass
class Present:
    """An image that a node has: its digest and its labels."""

    digest: str
    labels: Set[str]


class Puller:
    """Images of containerd, pulled and pinned through ctr."""

    def __init__(self, run: Run, *, ctr: str, socket: str, hosts_dir: str, namespace: str = "k8s.io") -> None:
        self._run, self._hosts_dir = run, hosts_dir
        self._base = [ctr, "--address", socket, "--namespace", namespace]

    def present(self) -> Dict[str, Present]:
        """The images that are unpacked, by name: a pod starts from them without a pull.

        The blob of a layer may be missing. containerd fetches none whose content is unpacked already, for another image
        or before it was told to discard it.
        """
        rc, out, err = self._run([*self._base, "images", "ls"])
        if rc != 0:
            raise PrepullError(f"{' '.join(self._base)} images ls: {_last(err)}; see that containerd runs on this node")
        rc, checked, _err = self._run([*self._base, "images", "check"])
        whole = {line.split()[0] for line in (checked.splitlines() if rc == 0 else []) if line.split()[-1:] == ["true"]}
        found = {}
        for line in out.splitlines()[1:]:
            words = line.split()
            if len(words) > 3 and words[0] in whole:
                found[words[0]] = Present(words[2], set(words[-1].split(",")))
        return found

    def pull(self, reference: str) -> None:
        """Bring an image, from where the hosts files of the node say."""
        rc, _out, err = self._run([*self._base, "images", "pull", "--hosts-dir", self._hosts_dir, reference])
        if rc != 0:
            raise PrepullError(
                f"{reference} cannot be pulled: {_last(err)}; see that the registry holds it (closure) and that its "
                "host is in the bundle's lock"
            )

    def label(self, reference: str, labels: Sequence[str]) -> None:
        """Set labels; one with no value goes."""
        rc, _out, err = self._run([*self._base, "images", "label", reference, *labels])
        if rc != 0:
            raise PrepullError(f"{reference} cannot be labelled: {_last(err)}; see what containerd says on this node")


def _last(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if "DEPRECATION" not in line]
    return lines[-1][-400:] if lines else "no message"
