# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where claims and volumes let pods run: binding, zones, limits of CSI drivers, and volumes for one pod only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, FrozenSet, Iterable, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.airgap.speech.plugins.module_utils.kube import quantity as quantities
from ansible_collections.airgap.speech.plugins.module_utils.kube.nodes import HOSTNAME, Node
from ansible_collections.airgap.speech.plugins.module_utils.kube.terms import (
    NodeTerm,
    Selector,
    label_selector,
    node_terms,
)
from ansible_collections.airgap.speech.plugins.module_utils.kube.versions import Version

Document = Mapping[str, Any]

NO_VOLUME = "node(s) didn't find available persistent volumes to bind"
NO_SPACE = "node(s) did not have enough free storage"
TOO_MANY_VOLUMES = "node(s) exceed max volume count"
VOLUME_ZONE = "node(s) had no available volume zone"
# Said of the pod, not of a node.
UNBOUND = "pod has unbound immediate PersistentVolumeClaims"
_NO_PROVISIONER = "kubernetes.io/no-provisioner"
_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
_SELECTED_NODE = "volume.kubernetes.io/selected-node"
_ZONE_LABELS = {
    "failure-domain.beta.kubernetes.io/zone": "topology.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region": "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone": "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region": "topology.kubernetes.io/region",
}


@dataclass(frozen=True)
class Volume:
    """A persistent volume: the nodes that reach it, and what a CSI driver calls it."""

    name: str
    terms: Optional[Tuple[NodeTerm, ...]] = None
    zones: Tuple[Tuple[str, FrozenSet[str]], ...] = ()
    driver: str = ""
    handle: str = ""


@dataclass(frozen=True)
class Claim:
    """A persistent volume claim.

    ``volume`` is the one it is bound to. One that waits for its first pod takes the first of ``candidates`` that the
    pod's node reaches, or has one made by ``provisioner``, which then stays where the labels of ``keys`` are equal.
    ``fresh`` stands for the claims that the pods of one workload get each for itself. The pods of one that is
    ``unbound`` wait until the cluster has bound it.
    """

    key: str
    volume: Optional[Volume] = None
    unbound: bool = False
    once: bool = False
    waits: bool = False
    candidates: Tuple[Volume, ...] = ()
    provisioner: str = ""
    allowed: Tuple[Tuple[Tuple[str, FrozenSet[str]], ...], ...] = ()
    pools: Optional[Tuple[Selector, ...]] = None
    keys: Tuple[str, ...] = ()
    selected: str = ""
    fresh: bool = False


@dataclass
class Storage:
    """What of a cluster bears on volumes: claims by ``namespace/name``, and how many volumes a driver attaches."""

    claims: Dict[str, Claim] = field(default_factory=dict)
    limits: Dict[str, Dict[str, int]] = field(default_factory=dict)
    topology_keys: Dict[str, Tuple[str, ...]] = field(default_factory=dict)


# What placing a pod did to the volumes, so that it can be taken back: claims pinned, volumes taken.
Undo = Tuple[Tuple[str, ...], Tuple[str, ...]]
NOTHING_DONE: Undo = ((), ())


class Volumes:
    """The state of the volumes as pods are placed."""

    def __init__(self, nodes: Sequence[Node], storage: Storage, version: Version) -> None:
        self._nodes = nodes
        self.claims = storage.claims
        self._limits = [storage.limits.get(node.name, {}) for node in nodes] if storage.limits else []
        self._version = version
        self._words = version.volume_affinity
        # A claim that waited, and where the pod that it waited for went.
        self.pinned: Dict[str, int] = {}
        self.taken: Dict[str, str] = {}
        self._chosen: Dict[str, Volume] = {}
        self.users: Dict[str, int] = {}
        self.attached: List[Dict[Tuple[str, str], int]] = [{} for _node in nodes] if self._limits else []
        self._reach: Dict[Tuple[Any, int], bool] = {}

    def of(self, namespace: str, names: Iterable[str]) -> Tuple[Claim, ...]:
        """The claims that a pod mounts, as far as they are known."""
        found = (self.claims.get(f"{namespace}/{name}") for name in names)
        return tuple(claim for claim in found if claim is not None)

    def obstacle(self, claims: Sequence[Claim], index: int) -> Tuple[str, ...]:
        """Why these claims keep a pod off a node, in the order of the scheduler's plugins."""
        for claim in claims:
            if claim.unbound:
                return (UNBOUND,)
        for claim in claims:
            if claim.once and self.users.get(claim.key):
                return (self._version.one_pod_only,)
        if self._limits and self._over_limit(claims, index):
            return (TOO_MANY_VOLUMES,)
        reasons: List[str] = []
        chosen: List[str] = []
        for claim in claims:
            reason = self._bind_reason(claim, index, chosen)
            if reason and reason not in reasons:
                reasons.append(reason)
        if reasons:
            return tuple(reasons)
        if any(not self._zone_matches(claim, index) for claim in claims):
            return (VOLUME_ZONE,)
        return ()

    def _bind_reason(self, claim: Claim, index: int, chosen: List[str]) -> str:
        bound = claim.volume or self._chosen.get(claim.key)
        if bound is not None:
            return "" if self._reaches(bound.terms, index) else self._words
        if not claim.waits:
            return ""
        if claim.key in self.pinned:
            return "" if self._same_place(claim, self.pinned[claim.key], index) else self._words
        if claim.selected and claim.selected != self._nodes[index].name:
            return NO_VOLUME
        volume = None if claim.selected else self._candidate(claim, index, chosen)
        if volume is not None:
            chosen.append(volume.name)
            return ""
        if not claim.provisioner or not self._allowed(claim, index):
            return NO_VOLUME
        labels = self._nodes[index].labels
        if claim.pools is not None and not any(pool.matches(labels) for pool in claim.pools):
            return NO_SPACE
        return ""

    def _candidate(self, claim: Claim, index: int, chosen: Sequence[str]) -> Optional[Volume]:
        for volume in claim.candidates:
            if volume.name not in self.taken and volume.name not in chosen and self._reaches(volume.terms, index):
                return volume
        return None

    def _allowed(self, claim: Claim, index: int) -> bool:
        labels = self._nodes[index].labels
        return not claim.allowed or any(
            all(labels.get(key) in values for key, values in term) for term in claim.allowed
        )

    def _same_place(self, claim: Claim, first: int, index: int) -> bool:
        one, other = self._nodes[first].labels, self._nodes[index].labels
        return all(key not in one or one[key] == other.get(key) for key in claim.keys)

    def _reaches(self, terms: Optional[Tuple[NodeTerm, ...]], index: int) -> bool:
        if terms is None:
            return True
        key = (id(terms), index)
        if key not in self._reach:
            node = self._nodes[index]
            self._reach[key] = any(term.matches(node.labels, node.name) for term in terms)
        return self._reach[key]

    def _zone_matches(self, claim: Claim, index: int) -> bool:
        volume = claim.volume or self._chosen.get(claim.key)
        if volume is None or not volume.zones:
            return True
        labels = self._nodes[index].labels
        if not any(label in labels for label in _ZONE_LABELS):
            return True
        return all(labels.get(key, labels.get(_ZONE_LABELS[key])) in values for key, values in volume.zones)

    def _name(self, claim: Claim) -> Tuple[str, str]:
        """The driver of a claim's volume and its handle; no driver where the volume does not count."""
        volume = claim.volume or self._chosen.get(claim.key)
        if volume is not None:
            return volume.driver, volume.handle
        return claim.provisioner, claim.key

    def _over_limit(self, claims: Sequence[Claim], index: int) -> bool:
        limits = self._limits[index]
        if not limits:
            return False
        attached = self.attached[index]
        new: Dict[str, int] = {}
        for name in {self._name(claim) for claim in claims}:
            if name[0] in limits and (name not in attached or name[1].endswith("/*")):
                new[name[0]] = new.get(name[0], 0) + 1
        return any(self._count(attached, driver) + count > limits[driver] for driver, count in new.items())

    @staticmethod
    def _count(attached: Mapping[Tuple[str, str], int], driver: str) -> int:
        return sum(
            count if handle.endswith("/*") else 1 for (name, handle), count in attached.items() if name == driver
        )

    def place(self, claims: Sequence[Claim], index: int, waiting: bool = True) -> Undo:
        """Count a pod that mounts these claims; ``waiting`` ones are bound by it."""
        pinned: List[str] = []
        taken: List[str] = []
        for claim in claims:
            if waiting and claim.waits and claim.key not in self._chosen and claim.key not in self.pinned:
                volume = None if claim.selected else self._candidate(claim, index, ())
                if volume is not None:
                    self.taken[volume.name] = claim.key
                    taken.append(volume.name)
                    if not claim.fresh:
                        self._chosen[claim.key] = volume
                elif not claim.fresh:
                    self.pinned[claim.key] = index
                    pinned.append(claim.key)
            self.users[claim.key] = self.users.get(claim.key, 0) + 1
        self._attach(claims, index, 1)
        return (tuple(pinned), tuple(taken)) if pinned or taken else NOTHING_DONE

    def remove(self, claims: Sequence[Claim], index: int, undo: Undo) -> None:
        """Take back what :meth:`place` did."""
        self._attach(claims, index, -1)
        for claim in claims:
            self.users[claim.key] -= 1
        for key in undo[0]:
            del self.pinned[key]
        for name in undo[1]:
            self._chosen.pop(self.taken.pop(name), None)

    def _attach(self, claims: Sequence[Claim], index: int, sign: int) -> None:
        if not self.attached:
            return
        attached = self.attached[index]
        for name in {self._name(claim) for claim in claims}:
            if name[0]:
                attached[name] = attached.get(name, 0) + sign
                if not attached[name]:
                    del attached[name]

    def state(self) -> Tuple[Any, ...]:
        """What is bound and taken, as a key."""
        return (tuple(sorted(self.pinned.items())), tuple(sorted(self.taken.items())))

    def signature(self, index: int) -> Tuple[Any, ...]:
        """What of a node could matter to the claims and never changes: equal nodes are interchangeable."""
        if not self.claims:
            return ()
        labels = self._nodes[index].labels
        keys = sorted({key for claim in self.claims.values() for key in claim.keys if key != HOSTNAME})
        volumes = [volume for claim in self.claims.values() for volume in (claim.volume, *claim.candidates) if volume]
        return (
            tuple(labels.get(key) for key in keys),
            tuple(labels.get(key) for key in _ZONE_LABELS),
            tuple(self._reaches(volume.terms, index) for volume in volumes),
            tuple(self._allowed(claim, index) for claim in self.claims.values()),
            tuple(
                any(pool.matches(labels) for pool in claim.pools)
                for claim in self.claims.values()
                if claim.pools is not None
            ),
            tuple(claim.selected == self._nodes[index].name for claim in self.claims.values() if claim.selected),
            tuple(sorted(self._limits[index].items())) if self._limits else (),
        )

    def save(self) -> Tuple[Any, ...]:
        """The state, to come back to with :meth:`restore`."""
        attached = [dict(entry) for entry in self.attached]
        return dict(self.pinned), dict(self.taken), dict(self._chosen), dict(self.users), attached

    def restore(self, saved: Tuple[Any, ...]) -> None:
        self.pinned, self.taken, self._chosen, self.users = (dict(entry) for entry in saved[:4])
        self.attached = [dict(entry) for entry in saved[4]]


def _metadata(document: Document) -> Mapping[str, Any]:
    return document.get("metadata") or {}


def _name(document: Document) -> str:
    return str(_metadata(document).get("name") or "")


def _spec(document: Document) -> Mapping[str, Any]:
    return document.get("spec") or {}


def _class_of(document: Document, default: str = "") -> str:
    annotated = (_metadata(document).get("annotations") or {}).get("volume.beta.kubernetes.io/storage-class")
    named = _spec(document).get("storageClassName")
    if annotated is not None:
        return str(annotated)
    return default if named is None else str(named)


def default_class(classes: Iterable[Document]) -> str:
    """The storage class that admission gives to a claim that names none: the newest of those marked as default."""
    marked = [
        (str(_metadata(item).get("creationTimestamp") or ""), _name(item))
        for item in classes
        if (_metadata(item).get("annotations") or {}).get(_DEFAULT_CLASS) == "true"
    ]
    # Newest first; of the same age, the first by name.
    newest = max((age for age, _item in marked), default="")
    return min((item for age, item in marked if age == newest), default="")


def read_volume(document: Document) -> Volume:
    """Read a PersistentVolume."""
    spec = _spec(document)
    terms = ((spec.get("nodeAffinity") or {}).get("required") or {}).get("nodeSelectorTerms")
    labels = _metadata(document).get("labels") or {}
    csi = spec.get("csi") or {}
    return Volume(
        name=_name(document),
        terms=node_terms(terms, f"PersistentVolume {_name(document)}", "spec.nodeAffinity.required") if terms else None,
        zones=tuple((key, frozenset(str(labels[key]).split("__"))) for key in _ZONE_LABELS if key in labels),
        driver=str(csi.get("driver") or ""),
        handle=str(csi.get("volumeHandle") or ""),
    )


def read_storage(objects: Mapping[str, Sequence[Document]]) -> Storage:
    """Limits and topology keys of the CSI drivers on each node, from the CSINode objects."""
    storage = Storage()
    for item in objects.get("CSINode", ()):
        for driver in _spec(item).get("drivers") or []:
            name = str(driver.get("name") or "")
            count = (driver.get("allocatable") or {}).get("count")
            if isinstance(count, int) and not isinstance(count, bool):
                storage.limits.setdefault(_name(item), {})[name] = count
            keys = tuple(str(key) for key in driver.get("topologyKeys") or [])
            storage.topology_keys.setdefault(name, keys)
    return storage


class ClaimReader:
    """Reads claims against the volumes, classes and drivers of a cluster."""

    def __init__(self, objects: Mapping[str, Sequence[Document]], storage: Storage) -> None:
        self._storage = storage
        self._volumes = {_name(item): item for item in objects.get("PersistentVolume", ())}
        self._classes = {_name(item): item for item in objects.get("StorageClass", ())}
        self._drivers = {_name(item): item for item in objects.get("CSIDriver", ())}
        self._capacities = list(objects.get("CSIStorageCapacity", ()))
        self._default = default_class(self._classes.values())
        self._read: Dict[str, Volume] = {}

    def _volume(self, name: str) -> Volume:
        if name not in self._read:
            self._read[name] = read_volume(self._volumes[name])
        return self._read[name]

    def read(self, key: str, document: Optional[Document], *, planned: bool = False) -> Tuple[Optional[Claim], str]:
        """The claim, and what of it is not known; None where nothing is. A ``planned`` one is still to be created."""
        fresh = key.endswith("/*")
        if document is None:
            return None, f"PersistentVolumeClaim {key}: it is not there yet, so its volume's nodes are not known"
        spec = _spec(document)
        once = "ReadWriteOncePod" in (spec.get("accessModes") or [])
        volume_name = str(spec.get("volumeName") or "")
        if volume_name:
            if volume_name not in self._volumes:
                return None, f"PersistentVolumeClaim {key}: its volume {volume_name} was not found"
            return Claim(key, volume=self._volume(volume_name), once=once), ""
        class_name = _class_of(document, self._default)
        storage = self._classes.get(class_name)
        if storage is None:
            known = f"PersistentVolumeClaim {key}: its StorageClass {class_name or '(default)'} was not found"
            return (Claim(key, once=once) if once else None), known
        if storage.get("volumeBindingMode") != "WaitForFirstConsumer":
            if not planned:
                return Claim(key, unbound=True), ""
            note = f"PersistentVolumeClaim {key}: not bound yet, and its volume decides where pods may run"
            return (Claim(key, once=once) if once else None), note
        provisioner = str(storage.get("provisioner") or "")
        dynamic = "" if provisioner == _NO_PROVISIONER else provisioner
        keys = self._storage.topology_keys.get(provisioner, ())
        if not keys and ("local" in provisioner or "hostpath" in provisioner):
            # A directory of a node: the first pod that uses the claim decides the node for all others.
            keys = (HOSTNAME,)
        return (
            Claim(
                key,
                once=once and not fresh,
                waits=True,
                candidates=self._candidates(document, class_name),
                provisioner=dynamic,
                allowed=tuple(
                    tuple(
                        (str(entry.get("key")), frozenset(str(value) for value in entry.get("values") or []))
                        for entry in term.get("matchLabelExpressions") or []
                    )
                    for term in storage.get("allowedTopologies") or []
                ),
                pools=self._pools(document, class_name, provisioner),
                keys=keys,
                selected=str((_metadata(document).get("annotations") or {}).get(_SELECTED_NODE) or ""),
                fresh=fresh,
            ),
            "",
        )

    def _size(self, document: Document, what: str) -> quantities.Quantity:
        resources = _spec(document).get("resources") or {}
        asked = quantities.resource_list(resources.get("requests"), what, "spec.resources.requests")
        return asked.get("storage", quantities.ZERO)

    def _candidates(self, claim: Document, class_name: str) -> Tuple[Volume, ...]:
        """The volumes that could be bound to a claim, in the order in which the scheduler prefers them."""
        what = f"PersistentVolumeClaim {_name(claim)}"
        spec = _spec(claim)
        size = self._size(claim, what)
        wanted = {str(mode) for mode in spec.get("accessModes") or []}
        selector = label_selector(spec.get("selector"), what, "spec.selector") if spec.get("selector") else None
        found: List[Tuple[quantities.Quantity, int, Volume]] = []
        for name, volume in self._volumes.items():
            of_volume = _spec(volume)
            given = quantities.resource_list(
                of_volume.get("capacity"), f"PersistentVolume {name}", "spec.capacity"
            ).get("storage", quantities.ZERO)
            if (
                of_volume.get("claimRef")
                or given < size
                or _class_of(volume) != class_name
                or (of_volume.get("volumeMode") or "Filesystem") != (spec.get("volumeMode") or "Filesystem")
                or (of_volume.get("volumeAttributesClassName") or "") != (spec.get("volumeAttributesClassName") or "")
                or (volume.get("status") or {}).get("phase", "Available") != "Available"
                or _metadata(volume).get("deletionTimestamp")
                or not wanted <= {str(mode) for mode in of_volume.get("accessModes") or []}
                or (selector is not None and not selector.matches(_metadata(volume).get("labels") or {}))
            ):
                continue
            found.append((given, len(found), self._volume(name)))
        return tuple(volume for _given, _order, volume in sorted(found, key=lambda item: item[:2]))

    def _pools(self, claim: Document, class_name: str, provisioner: str) -> Optional[Tuple[Selector, ...]]:
        """Which nodes reach storage with enough room, where the driver reports its room; None where it does not."""
        what = f"PersistentVolumeClaim {_name(claim)}"
        if "storage" not in ((_spec(claim).get("resources") or {}).get("requests") or {}):
            return None
        if not _spec(self._drivers.get(provisioner) or {}).get("storageCapacity"):
            return None
        size = self._size(claim, what).value
        result = []
        for item in self._capacities:
            limit = item.get("maximumVolumeSize", item.get("capacity"))
            topology = item.get("nodeTopology")
            if item.get("storageClassName") != class_name or limit is None or topology is None:
                continue
            if quantities.from_json(limit).value >= size:
                result.append(label_selector(topology, f"CSIStorageCapacity {_name(item)}", "nodeTopology"))
        return tuple(result)
