# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The orders of ties: every one where they can be counted, and otherwise some."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Set, Tuple

from ansible_collections.airgap.speech.plugins.module_utils.kube import scores
from ansible_collections.airgap.speech.plugins.module_utils.kube.cluster import Cluster, View
from ansible_collections.airgap.speech.plugins.module_utils.kube.volumes import Undo

# Steps of the search for an order that differs, times nodes: a few seconds at most.
_BUDGET = 60_000
_ORDERS = 12

# The nodes that pods went to, by the pod's number in the queue, in the order in which they were placed.
Path = List[Tuple[int, int]]


@dataclass
class Outcomes:
    """What the orders that were tried ended with: a path that places all, one that does not, and how many."""

    placed: Optional[Path] = None
    failed: Optional[Path] = None
    complete: bool = True
    orders: int = 0

    def absorb(self, other: Outcomes) -> None:
        self.placed = self.placed if self.placed is not None else other.placed
        self.failed = self.failed if self.failed is not None else other.failed
        self.orders += other.orders

    @property
    def differ(self) -> bool:
        return self.placed is not None and self.failed is not None


class _Pass(NamedTuple):
    """Where the queue stands: pods of this pass, how many were looked at, those put off, whether any was placed."""

    queue: Tuple[int, ...]
    position: int
    put_off: Tuple[int, ...]
    moved: bool


class _Level(NamedTuple):
    """One pod that was placed, and the nodes that it could have gone to instead."""

    state: _Pass
    choices: List[int]


class Search:
    """Follows the pods of a queue through a cluster, given as the class of each."""

    def __init__(self, cluster: Cluster, queue: Sequence[int]) -> None:
        self._cluster = cluster
        self._queue = list(queue)
        self._views: Dict[int, View] = {class_id: cluster.view(class_id) for class_id in set(queue)}
        numbers: Dict[Tuple[Any, ...], int] = {}
        self._signatures = [numbers.setdefault(entry, len(numbers)) for entry in cluster.signatures(queue)]
        self._random = random.Random(0)  # noqa: S311 - the same orders each time
        self._codes: Dict[Tuple[Any, ...], int] = {}
        self._parts = [self._code(index) for index in range(len(self._signatures))]
        self._total = sum(self._parts)

    def _code(self, index: int) -> int:
        """A random number for what a node is and holds: the sum over all nodes tells states apart."""
        key = (self._signatures[index], *sorted(self._cluster.contents[index].items()))
        code = self._codes.get(key)
        if code is None:
            code = self._codes[key] = self._random.getrandbits(120)
        return code

    def _place(self, class_id: int, index: int) -> Undo:
        undo = self._cluster.place(class_id, index)
        self._recode(index)
        return undo

    def _remove(self, class_id: int, index: int, undo: Undo) -> None:
        self._cluster.remove(class_id, index, undo)
        self._recode(index)

    def _recode(self, index: int) -> None:
        code = self._code(index)
        self._total += code - self._parts[index]
        self._parts[index] = code

    def _kinds(self, indexes: Sequence[int]) -> List[int]:
        """One node of each kind: nodes that are alike and hold the same pods are interchangeable."""
        if len(indexes) < 2:
            return list(indexes)
        volumes = self._cluster.volumes
        pins: Dict[int, List[str]] = {}
        for claim, where in volumes.pinned.items():
            pins.setdefault(where, []).append(claim)
        seen: Set[Tuple[Any, ...]] = set()
        result = []
        for index in indexes:
            key = (self._parts[index], tuple(sorted(pins.get(index, ()))))
            if key not in seen:
                seen.add(key)
                result.append(index)
        return result

    def _choices(self, view: View, best_only: bool) -> List[int]:
        feasible = self._cluster.feasible(view)
        if best_only:
            feasible = scores.best(self._cluster, view, feasible)
        return self._kinds(feasible)

    def _advance(self, state: _Pass, best_only: bool) -> Tuple[_Pass, List[int], Optional[bool]]:
        """The next pod that finds a node, and its choices; or, at the end, whether all were placed."""
        queue, position, put_off, moved = state
        hopeless: Dict[int, None] = {}
        while True:
            if position == len(queue):
                if not put_off:
                    return _Pass(queue, position, put_off, moved), [], True
                if not moved:
                    return _Pass(queue, position, put_off, moved), [], False
                queue, position, put_off, moved = put_off, 0, (), False
                hopeless = {}
                continue
            class_id = self._queue[queue[position]]
            choices: List[int] = []
            if class_id not in hopeless:
                view = self._views[class_id]
                choices = self._choices(view, best_only)
                if choices:
                    return _Pass(queue, position, put_off, moved), choices, None
                if not self._cluster.may_be_lifted(self._cluster.obstacle(view, index) for index in view.open):
                    return _Pass(queue, position, put_off, moved), [], False
                # Nothing has changed for pods of the same class that come next.
                hopeless[class_id] = None
            put_off = (*put_off, queue[position])
            position += 1

    def every(self, *, best_only: bool) -> Outcomes:
        """Try every order of ties, as far as the budget goes; stop when one places all and one does not."""
        outcomes = Outcomes()
        steps = max(_BUDGET // max(1, len(self._signatures)), 2 * len(self._queue))
        seen: Set[Tuple[Any, ...]] = set()
        levels: List[_Level] = []
        placed: List[Tuple[int, int, Undo]] = []
        path: Path = []
        state: Optional[_Pass] = _Pass(tuple(range(len(self._queue))), 0, (), False)
        while True:
            if state is not None:
                key = (state, self._total, self._cluster.volumes.state())
                if key not in seen:
                    seen.add(key)
                    steps -= 1
                    state, choices, end = self._advance(state, best_only)
                    if end is None:
                        levels.append(_Level(state, choices))
                    else:
                        outcomes.orders += 1
                        if end and outcomes.placed is None:
                            outcomes.placed = list(path)
                        elif not end and outcomes.failed is None:
                            outcomes.failed = list(path)
            while levels and not levels[-1].choices:
                levels.pop()
                if placed and len(placed) > len(levels):
                    self._remove(*placed.pop())
                    path.pop()
            if outcomes.differ or steps <= 0 or not levels:
                outcomes.complete = outcomes.differ or not levels
                while placed:
                    self._remove(*placed.pop())
                return outcomes
            if len(placed) >= len(levels):
                self._remove(*placed.pop())
                path.pop()
            at = levels[-1].state
            index = levels[-1].choices.pop(0)
            number = at.queue[at.position]
            placed.append((self._queue[number], index, self._place(self._queue[number], index)))
            path.append((number, index))
            state = _Pass(at.queue, at.position + 1, at.put_off, True)

    def some(self, *, best_only: bool) -> Outcomes:
        """Try some orders: the first and the last node of each tie, the fullest, the emptiest, and random ones."""
        outcomes = Outcomes(complete=False)
        cost = max(1, len(self._queue) * len(self._signatures))
        for attempt in range(max(3, min(_ORDERS, 2 * _BUDGET // cost))):
            path, whole = self._follow(attempt, best_only)
            outcomes.orders += 1
            if whole and outcomes.placed is None:
                outcomes.placed = path
            elif not whole and outcomes.failed is None:
                outcomes.failed = path
            if outcomes.differ:
                break
        return outcomes

    def _follow(self, attempt: int, best_only: bool) -> Tuple[Path, bool]:
        placed: List[Tuple[int, int, Undo]] = []
        path: Path = []
        state = _Pass(tuple(range(len(self._queue))), 0, (), False)
        while True:
            state, choices, end = self._advance(state, best_only)
            if end is not None:
                break
            index = self._pick(attempt, choices)
            number = state.queue[state.position]
            placed.append((self._queue[number], index, self._place(self._queue[number], index)))
            path.append((number, index))
            state = _Pass(state.queue, state.position + 1, state.put_off, True)
        while placed:
            self._remove(*placed.pop())
        return path, end

    def _pick(self, attempt: int, choices: Sequence[int]) -> int:
        if attempt == 0:
            return choices[0]
        if attempt == 1:
            return choices[-1]
        if attempt in (2, 3):
            ranked = sorted(choices, key=lambda index: self._cluster.scored_cpu[index])
            return ranked[-1] if attempt == 2 else ranked[0]
        return self._random.choice(list(choices))
