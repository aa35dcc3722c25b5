# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verdict: would the scheduler place these pods, in every order of ties, in none, or in some."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Callable, Dict, FrozenSet, Iterable, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.airgap.speech.plugins.module_utils.kube import bulk, proofs, scores
from ansible_collections.airgap.speech.plugins.module_utils.kube import quantity as quantities
from ansible_collections.airgap.speech.plugins.module_utils.kube.cluster import NOT_NAMED, TOO_MANY_PODS, Cluster, View
from ansible_collections.airgap.speech.plugins.module_utils.kube.orders import Outcomes, Path, Search
from ansible_collections.airgap.speech.plugins.module_utils.kube.pods import Workload
from ansible_collections.airgap.speech.plugins.module_utils.kube.podspec import Existing, Pod
from ansible_collections.airgap.speech.plugins.module_utils.kube.quota import Quotas
from ansible_collections.airgap.speech.plugins.module_utils.kube.terms import NOTHING, PodTerm, Requirement, Selector
from ansible_collections.airgap.speech.plugins.module_utils.kube.volumes import Undo

FITS = "fits"
DOES_NOT_FIT = "does_not_fit"
ORDER_DEPENDENT = "order_dependent"

SUM, FRAGMENTATION, CONSTRAINTS = "sum", "fragmentation", "constraints"
QUOTA, ADMISSION = "quota", "admission"

# From this many nodes on, the scheduler looks at a sample of them only.
_SAMPLED_NODES = 100
_HEADROOM_LIMIT = 100


# Places a pod of a class for a workload, whatever it takes: the node, or None.
Evict = Callable[[int, str], Optional[int]]


@dataclass
class Shortfall:
    """Pods of one workload that stay pending, and why."""

    workload: str
    pods: int
    message: str
    details: List[str] = field(default_factory=list)
    # Whether it is a lack of sum, of room in one piece, of a rule that lets no node in, or of quota.
    cause: str = ""


@dataclass
class Verdict:
    """What the simulation found."""

    verdict: str
    nodes: int
    pods: int
    kept: int
    placements: Dict[str, List[str]]
    shortfalls: List[Shortfall]
    headroom: Dict[str, int]
    not_modelled: List[str]
    orders: int
    exhaustive: bool

    @property
    def fits(self) -> bool:
        return self.verdict == FITS


_SET_BY_CONTROLLERS = frozenset(
    (
        "pod-template-hash",
        "controller-revision-hash",
        "statefulset.kubernetes.io/pod-name",
        "apps.kubernetes.io/pod-index",
        "pod-template-generation",
        "batch.kubernetes.io/controller-uid",
        "batch.kubernetes.io/job-name",
        "controller-uid",
        "job-name",
    )
)


def _bare(pod: Pod, workload: Workload) -> Pod:
    """A pod without what controllers and admission add to it, to compare it with another of the same workload."""
    own = tuple(f"{name}-" for name in workload.claim_templates)
    mine = tuple(f"-{name}" for name in workload.ephemeral)
    claims = sorted(
        claim for claim in pod.claims if not (own and claim.startswith(own)) and not (mine and claim.endswith(mine))
    )

    def bare(term: PodTerm) -> PodTerm:
        return replace(term, selector=_bare_selector(term.selector))

    return replace(
        pod,
        labels=tuple(item for item in pod.labels if item[0] not in _SET_BY_CONTROLLERS),
        claims=tuple(claims),
        default_spread=NOTHING,
        affinity=tuple(bare(term) for term in pod.affinity),
        anti_affinity=tuple(bare(term) for term in pod.anti_affinity),
        preferred_affinity=tuple(bare(term) for term in pod.preferred_affinity),
        preferred_anti_affinity=tuple(bare(term) for term in pod.preferred_anti_affinity),
        spreads=tuple(replace(item, selector=_bare_selector(item.selector)) for item in pod.spreads),
        # What a kubelet's node has set, and what bears on the node only.
        image_volumes=(),
        preempts=True,
    )


def _bare_selector(selector: Selector) -> Selector:
    """A selector without the values of labels that controllers set, which matchLabelKeys puts in."""
    kept = {
        Requirement(item.key, item.operator) if item.key in _SET_BY_CONTROLLERS else item
        for item in selector.requirements
    }
    ordered = sorted(kept, key=lambda item: (item.key, item.operator, item.values))
    return Selector(tuple(ordered), selector.nothing)


def split_existing(
    existing: Iterable[Existing], workloads: Sequence[Workload], releases: FrozenSet[Tuple[str, str]]
) -> Tuple[List[Existing], Dict[str, List[Existing]]]:
    """Divide the pods of a cluster into those of others, and those of these releases that stay where they run.

    ``releases`` are pairs of namespace and name. A pod of a release whose template has not changed is not made again
    by an upgrade, so it keeps its place. The others of a release are left out: the manifest's take their place.
    """
    others: List[Existing] = []
    kept: Dict[str, List[Existing]] = {}
    owners = {(item.namespace, item.kind, item.name): item for item in workloads}
    bare: Dict[Tuple[int, str], Tuple[Pod, bool]] = {}
    for item in existing:
        owner = _owner(item, owners)
        if owner is None:
            instance = item.pod.label("app.kubernetes.io/instance") if releases else None
            if instance is None or (item.pod.namespace, instance) not in releases:
                others.append(item)
            continue
        if owner.daemon or owner.hook or item.terminating or owner.kind in ("Job", "CronJob"):
            continue
        if owner.autoscaled or len(kept.get(owner.title, ())) < owner.count:
            key = (id(item.pod), owner.title)
            if key not in bare:
                bare[key] = (item.pod, _bare(item.pod, owner) == _bare(owner.pod, owner))
            if bare[key][1]:
                kept.setdefault(owner.title, []).append(item)
    return others, kept


def _owner(item: Existing, owners: Mapping[Tuple[str, str, str], Workload]) -> Optional[Workload]:
    """The workload of the manifest that a running pod belongs to."""
    namespace = item.pod.namespace
    found = owners.get((namespace, item.owner_kind, item.owner_name))
    if found is None and item.owner_kind == "Job":
        found = owners.get((namespace, "CronJob", item.owner_name.rsplit("-", 1)[0]))
    if found is None and not item.owner_kind:
        found = owners.get((namespace, "Pod", item.name))
    return found


def _why_refused(refusal: str) -> str:
    return QUOTA if refusal.startswith(("exceeded quota", "failed quota")) else ADMISSION


def _lack(reasons: Tuple[str, ...]) -> str:
    """What a pod that may go to one node only lacks there."""
    full = all(reason == TOO_MANY_PODS or reason.startswith("Insufficient ") for reason in reasons)
    return SUM if full else CONSTRAINTS


def queue(workloads: Sequence[Workload]) -> List[Workload]:
    """The order in which the scheduler takes them: by priority, then as the objects stand."""
    return sorted(workloads, key=lambda workload: -workload.pod.priority)


class Simulation:
    """Places the pods of workloads on a cluster, in one order of ties after the other."""

    def __init__(
        self,
        cluster: Cluster,
        workloads: Sequence[Workload],
        *,
        exact_scores: bool = True,
        quotas: Optional[Quotas] = None,
    ) -> None:
        self.cluster = cluster
        self.workloads = list(workloads)
        self.quotas = quotas or Quotas(())
        self.large = len(cluster.nodes) >= _SAMPLED_NODES
        self.exact = exact_scores and not self.large
        self.not_modelled: List[str] = []
        self.shortfalls: List[Shortfall] = []
        self._placements: Dict[str, List[str]] = {}
        self._kept = 0
        self._daemon_pods = 0
        # The queue: whose each pod is, and its class.
        self._owners: List[Workload] = []
        self._queue: List[int] = []

    def run(
        self,
        kept: Optional[Dict[str, List[Existing]]] = None,
        *,
        headroom: bool = True,
        evict: Optional[Evict] = None,
    ) -> Verdict:
        """Find the verdict; with ``evict``, the one order in which it places the pods of the queue."""
        kept = kept or {}
        hooks = [workload for workload in self.workloads if workload.hook]
        main = [workload for workload in self.workloads if not workload.hook]
        waiting = [workload for workload in queue(main) if not workload.daemon]
        self._keep(waiting, kept)
        self._run_hooks([hook for hook in hooks if hook.hook == "before"])
        admitted = self._admit([workload for workload in main if not workload.daemon], kept)
        for workload in waiting:
            if not workload.pod.node_name:
                here = len(kept.get(workload.title, ()))
                count = admitted[workload.title]
                self._owners += [workload] * count
                if workload.alike:
                    self._queue += [self.cluster.intern(workload.pod_at(0))] * count
                else:
                    pods = (workload.pod_at(index) for index in range(here, here + count))
                    self._queue += [self.cluster.intern(pod) for pod in pods]
        named = [workload for workload in main if workload.pod.node_name and not workload.daemon]
        self._run_named([(workload, admitted[workload.title]) for workload in named])
        self._run_daemons(queue([workload for workload in main if workload.daemon]))
        blocked = list(self.shortfalls)
        verdict, orders, exhaustive = self._place_queue() if evict is None else self._place_by(evict)
        room = self._headroom([workload for workload in waiting if not workload.pod.node_name]) if headroom else {}
        self._run_hooks([hook for hook in hooks if hook.hook == "after"])
        if blocked or (verdict == FITS and self.shortfalls):
            verdict = DOES_NOT_FIT
        return Verdict(
            verdict=verdict,
            nodes=len(self.cluster.nodes),
            pods=self._daemon_pods + sum(max(item.count, len(kept.get(item.title, ()))) for item in waiting),
            kept=self._kept,
            placements={name: sorted(pods) for name, pods in sorted(self._placements.items())},
            shortfalls=self.shortfalls,
            headroom=room,
            not_modelled=self.not_modelled,
            orders=orders,
            exhaustive=exhaustive,
        )

    def _note(self, title: str, index: int) -> None:
        self._placements.setdefault(self.cluster.nodes[index].name, []).append(title)

    # Pods that are not of the queue

    def _keep(self, workloads: Sequence[Workload], kept: Dict[str, List[Existing]]) -> None:
        for workload in workloads:
            for number, item in enumerate(kept.get(workload.title, ())):
                index = self.cluster.by_name.get(item.node)
                if index is not None:
                    self.cluster.place(self.cluster.intern(workload.pod_at(number)), index)
                    self._note(workload.title, index)
                    self._kept += 1

    def _admit(self, workloads: Sequence[Workload], kept: Dict[str, List[Existing]]) -> Dict[str, int]:
        """How many pods of each workload the API server takes in, in the order of the objects; tell what it refuses."""
        result: Dict[str, int] = {}
        for workload in workloads:
            wanted = max(0, workload.count - len(kept.get(workload.title, ())))
            result[workload.title], refusal = self._admitted(workload, wanted)
            if refusal:
                pods = wanted - result[workload.title]
                self.shortfalls.append(
                    Shortfall(workload.title, pods, f"pods are forbidden: {refusal}", cause=_why_refused(refusal))
                )
        return result

    def _admitted(self, workload: Workload, wanted: int) -> Tuple[int, str]:
        if workload.refused and wanted:
            return 0, workload.refused
        if not any(quota.namespace == workload.namespace for quota in self.quotas.quotas):
            return wanted, ""
        for number in range(wanted):
            refusal = self.quotas.admit(workload.namespace, workload.charge)
            if refusal:
                return number, refusal
        return wanted, ""

    def _run_named(self, workloads: Sequence[Tuple[Workload, int]]) -> None:
        """Pods that name their node go past the scheduler: the node's kubelet takes them in or refuses them."""
        for workload, count in workloads:
            class_id = self.cluster.intern(workload.pod)
            index = self.cluster.by_name.get(workload.pod.node_name)
            for number in range(count):
                missing = self.cluster.refusal(class_id, index)
                if missing or index is None:
                    self.shortfalls.append(Shortfall(workload.title, count - number, missing))
                    break
                self.cluster.place(class_id, index)
                self._note(workload.title, index)

    def _run_daemons(self, daemons: Sequence[Workload]) -> None:
        """A pod on each node that the controller picks; those that do not fit at once are tried after the others."""
        cluster = self.cluster
        waiting: List[Tuple[Workload, int]] = []
        for workload in daemons:
            pod = workload.pod
            taints, affine = cluster.fixed.blocking_taints(pod), cluster.fixed.node_affinity(pod)
            wanted = [
                index
                for index, node in enumerate(cluster.nodes)
                if affine[index] and taints[index] is None and pod.node_name in ("", node.name)
            ]
            self._daemon_pods += len(wanted)
            count, refusal = self._admitted(workload, len(wanted))
            if refusal:
                refused = len(wanted) - count
                self.shortfalls.append(
                    Shortfall(workload.title, refused, f"pods are forbidden: {refusal}", cause=_why_refused(refusal))
                )
            waiting += [(workload, index) for index in wanted[:count]]
        failed: Dict[str, List[Tuple[str, ...]]] = {}
        while waiting:
            again: List[Tuple[Workload, int]] = []
            failed = {}
            for workload, index in waiting:
                view = cluster.view(cluster.intern(workload.pod))
                static = view.static[index]
                reasons = cluster.obstacle(view, index) if static is None else (static,)
                if reasons:
                    again.append((workload, index))
                    failed.setdefault(workload.title, []).append(reasons)
                else:
                    cluster.place(view.class_id, index)
                    self._note(workload.title, index)
            if len(again) == len(waiting):
                break
            waiting = again
        for title, entries in failed.items():
            others = len(cluster.nodes) - 1
            counts = dict.fromkeys(entries[0], 1)
            if others:
                counts[NOT_NAMED] = others
            self.shortfalls.append(Shortfall(title, len(entries), cluster.sentence(counts), cause=_lack(entries[0])))

    def _run_hooks(self, hooks: Sequence[Workload]) -> None:
        """Hooks run one after the other and go away again: each needs room of its own, not room together."""
        for workload in hooks:
            class_id = self.cluster.intern(workload.pod)
            view = self.cluster.view(class_id)
            placed: List[Tuple[int, Undo]] = []
            while len(placed) < workload.count:
                feasible = self.cluster.feasible(view)
                if not feasible:
                    message = self.cluster.message(self.cluster.reasons(class_id))
                    self._short(workload, class_id, workload.count - len(placed), message)
                    break
                index = scores.best(self.cluster, view, feasible)[0]
                placed.append((index, self.cluster.place(class_id, index)))
            for index, undo in reversed(placed):
                self.cluster.remove(class_id, index, undo)

    # The queue

    def _batches(self) -> List[bulk.Batch]:
        batches: List[bulk.Batch] = []
        for number, class_id in enumerate(self._queue):
            if batches and batches[-1][0] == class_id:
                batches[-1][1].append(number)
            else:
                batches.append((class_id, [number]))
        return batches

    def _place_queue(self) -> Tuple[str, int, bool]:
        """Place the queue: the verdict, how many orders were followed, and whether that was all of them."""
        batches = self._batches()
        totals = [(class_id, len(numbers)) for class_id, numbers in batches]
        if proofs.always_fits(self.cluster, totals):
            self._follow([])
            return FITS, 1, True
        if self.large:
            never = proofs.never_fits(self.cluster, totals)
            outcomes, standing = bulk.some(self.cluster, batches)
            verdict = self._verdict(outcomes)
            self._finish((outcomes.failed if standing is None else standing) or [], standing is not None)
            return verdict, outcomes.orders, never or verdict == ORDER_DEPENDENT
        outcomes = self._explore()
        verdict = self._verdict(outcomes)
        # Where every order ends alike, the one that the scores choose is shown.
        path = outcomes.failed if verdict == ORDER_DEPENDENT else outcomes.placed if not outcomes.complete else []
        self._follow(path or [])
        return verdict, outcomes.orders, outcomes.complete

    def _place_by(self, evict: Evict) -> Tuple[str, int, bool]:
        path: Path = []
        waiting, moved = list(range(len(self._queue))), True
        while waiting and moved:
            # Pods that others of the queue can let in are tried again, and may evict then.
            pending = []
            for number in waiting:
                index = evict(self._queue[number], self._owners[number].title)
                if index is None:
                    pending.append(number)
                else:
                    path.append((number, index))
            waiting, moved = pending, len(pending) < len(waiting)
        self._finish(path, True)
        return DOES_NOT_FIT if len(self.shortfalls) else FITS, 1, False

    @staticmethod
    def _verdict(outcomes: Outcomes) -> str:
        if outcomes.differ:
            return ORDER_DEPENDENT
        return FITS if outcomes.failed is None else DOES_NOT_FIT

    def _explore(self) -> Outcomes:
        search = Search(self.cluster, self._queue)
        if self.exact:
            outcomes = search.every(best_only=True)
            if outcomes.complete:
                return outcomes
        anywhere = search.every(best_only=False)
        if anywhere.complete and not anywhere.differ:
            return anywhere
        if self.exact:
            outcomes.absorb(search.some(best_only=True))
            return outcomes
        anywhere.absorb(search.some(best_only=True))
        anywhere.absorb(search.some(best_only=False))
        return anywhere

    def _follow(self, path: Path) -> None:
        """Place the pods for good along an order; after its end, wherever the scores say."""
        if self.large:
            standing, _pending = bulk.follow(self.cluster, self._batches(), bulk.Filler(self.cluster))
            self._finish(standing, True)
        else:
            self._finish(path, False)

    def _finish(self, path: Path, standing: bool) -> None:
        """Place the pods of a path, unless they stand already, then try the others until nothing moves."""
        cluster = self.cluster
        left = dict.fromkeys(range(len(self._queue)))
        for number, index in path:
            del left[number]
            if not standing:
                cluster.place(self._queue[number], index)
            self._note(self._owners[number].title, index)
        messages: Dict[int, str] = {}
        moved = True
        while left and moved:
            moved = False
            hopeless: Dict[int, str] = {}
            for number in list(left):
                class_id = self._queue[number]
                if class_id in hopeless:
                    messages.setdefault(number, hopeless[class_id])
                    continue
                view = cluster.view(class_id)
                feasible = cluster.feasible(view)
                if not feasible:
                    hopeless[class_id] = cluster.message(cluster.reasons(class_id))
                    messages.setdefault(number, hopeless[class_id])
                    continue
                index = scores.best(cluster, view, feasible)[0]
                cluster.place(class_id, index)
                self._note(self._owners[number].title, index)
                del left[number]
                moved = True
                hopeless = {}
        pending: Dict[Tuple[str, int], List[int]] = {}
        for number in left:
            pending.setdefault((self._owners[number].title, self._queue[number]), []).append(number)
        for (_title, class_id), numbers in pending.items():
            self._short(self._owners[numbers[0]], class_id, len(numbers), messages[numbers[0]])

    def _short(self, workload: Workload, class_id: int, pods: int, message: str) -> None:
        details = self._details(workload.pod, class_id)
        if workload.pod.preempts and any(
            entry.where and entry.pod.priority < workload.pod.priority for entry in self.cluster.classes
        ):
            details.append("pods of lower priority run: the question evict says whether evicting some helps")
        self.shortfalls.append(Shortfall(workload.title, pods, message, details, self._cause(class_id, pods)))

    def _cause(self, class_id: int, pods: int) -> str:
        """Why pods of a class find no place, as the cluster stands."""
        cluster, view = self.cluster, self.cluster.view(class_id)
        reasons = [cluster.obstacle(view, index) for index in view.open]
        full = [
            index
            for index, entry in zip(view.open, reasons)
            if entry and all(reason == TOO_MANY_PODS or reason.startswith("Insufficient ") for reason in entry)
        ]
        if not full or len(full) < sum(1 for entry in reasons if entry):
            return CONSTRAINTS
        for name, amount in cluster.pod(class_id).requests:
            if amount and sum(max(0, cluster.free[name][index]) for index in full) < amount * pods:
                return SUM
        return SUM if sum(max(0, cluster.slots[index]) for index in full) < pods else FRAGMENTATION

    def _details(self, pod: Pod, class_id: int) -> List[str]:
        """What the event does not say: the taints, the selector, and the most that a node has free."""
        cluster, view = self.cluster, self.cluster.view(class_id)
        details = []
        taints: Dict[str, int] = {}
        for taint in cluster.fixed.blocking_taints(pod):
            if taint is not None:
                text = f"{taint.key}={taint.value}:{taint.effect}"
                taints[text] = taints.get(text, 0) + 1
        details += [f"taint {text} on {count} node(s) is not tolerated" for text, count in sorted(taints.items())]
        if cluster.nodes and not any(cluster.fixed.node_affinity(pod)):
            wanted = ", ".join(f"{key}={text}" for key, text in pod.node_selector)
            details.append("no node has what the node selector and affinity ask" + (f": {wanted}" if wanted else ""))
        for name, amount in pod.requests:
            free = [cluster.free[name][index] for index in view.open]
            if amount and free and max(free) < amount:
                details.append(
                    f"a pod asks for {quantities.text_of(name, amount)} of {name}; "
                    f"the node with the most has {quantities.text_of(name, max(0, *free))} free"
                )
        return details

    def _headroom(self, workloads: Sequence[Workload]) -> Dict[str, int]:
        """How many more pods of each workload would find a place, each workload alone."""
        result = {}
        filler = bulk.Filler(self.cluster)
        for workload in workloads:
            if workload.refused:
                result[workload.title] = 0
                continue
            class_id = self.cluster.intern(workload.pod_at(workload.count))
            view = self.cluster.view(class_id)
            most = self.quotas.room(workload.namespace, workload.charge, _HEADROOM_LIMIT)
            if view.alone:
                result[workload.title] = min(most, self._room(view, most))
                continue
            placed: List[Tuple[int, Undo]] = []
            if self.large:
                placed = filler.place(class_id, most, plain=True)
                filler.remove(class_id, placed)
            else:
                while len(placed) < most:
                    feasible = self.cluster.feasible(view)
                    if not feasible:
                        break
                    index = scores.best(self.cluster, view, feasible)[0]
                    placed.append((index, self.cluster.place(class_id, index)))
                for index, undo in reversed(placed):
                    self.cluster.remove(class_id, index, undo)
            result[workload.title] = len(placed)
        return result

    def _room(self, view: View, most: int) -> int:
        """How many pods that nothing but resources keeps out would find a place, up to ``most``."""
        room = 0
        for index in view.open:
            fitting = [column[index] // amount for column, amount in view.needs]
            room += max(0, min([self.cluster.slots[index], *fitting]))
            if room >= most:
                break
        return room
