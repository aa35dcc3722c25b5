# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verdicts as text that a person can read, and as plain data."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence

from ansible_collections.airgap.speech.plugins.module_utils.kube import quantity as quantities
from ansible_collections.airgap.speech.plugins.module_utils.kube.pods import Manifest
from ansible_collections.airgap.speech.plugins.module_utils.kube.questions import Answer
from ansible_collections.airgap.speech.plugins.module_utils.kube.remedies import Remedy
from ansible_collections.airgap.speech.plugins.module_utils.kube.scheduling import DOES_NOT_FIT, FITS, Verdict

_SENTENCES = {
    FITS: "every pod finds a node",
    DOES_NOT_FIT: "pods would stay pending",
    "order_dependent": "whether every pod finds a node depends on the order in which equal nodes are chosen",
}
_CAUSES = {
    "sum": "the nodes together have too little",
    "fragmentation": "the nodes together have enough, but no node has it in one piece",
    "constraints": "no node is allowed",
    "quota": "the quota is too small",
    "admission": "the API server refuses the pods",
}


def table(rows: Sequence[Sequence[str]]) -> List[str]:
    """Rows as lines with aligned columns."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]


def describe(verdict: Verdict, manifest: Manifest, subject: str, remedies: Sequence[Remedy] = ()) -> str:
    """The verdict on what ``subject`` names, as a text."""
    lines = [
        f"capacity: {subject}: {verdict.verdict}: {_SENTENCES[verdict.verdict]}"
        f" ({verdict.pods} pods, {verdict.nodes} nodes)"
    ]
    for shortfall in verdict.shortfalls:
        lines.append(f"- {shortfall.workload}: {shortfall.pods} pod(s) pending: {shortfall.message}")
        if shortfall.cause:
            lines.append(f"  {_CAUSES[shortfall.cause]}")
        lines += [f"  {detail}" for detail in shortfall.details]
    lines += [f"would fit with: {remedy.text}" for remedy in remedies]
    where: Dict[str, Dict[str, int]] = {}
    for node, titles in verdict.placements.items():
        for title in titles:
            places = where.setdefault(title, {})
            places[node] = places.get(node, 0) + 1
    rows = [["workload", "pods", "a pod asks for", "nodes", "room for more"]]
    for workload in manifest.workloads:
        if workload.hook:
            continue
        asked = [f"{name} {quantities.text_of(name, amount)}" for name, amount in workload.pod.requests if amount]
        places = where.get(workload.title, {})
        nodes = [f"{name} ({count})" if count > 1 else name for name, count in sorted(places.items())]
        more = verdict.headroom.get(workload.title)
        rows.append(
            [
                workload.title,
                str(sum(places.values()) if workload.daemon else workload.count),
                ", ".join(asked) or "nothing",
                _some(nodes) or "-",
                "-" if more is None else f"{more} or more" if more >= 100 else str(more),
            ]
        )
    if len(rows) > 1:
        lines += table(rows)
    lines += [f"not modelled: {note}" for note in verdict.not_modelled]
    return "\n".join(lines)


def _some(names: Sequence[str], limit: int = 6) -> str:
    shown = ", ".join(names[:limit])
    return f"{shown} and {len(names) - limit} more" if len(names) > limit else shown


def describe_answer(answer: Answer) -> str:
    """The answer to a further question, in few lines."""
    verdict = answer.verdict
    lines = [f"{answer.subject}: {verdict.verdict}: {_SENTENCES[verdict.verdict]} ({verdict.pods} pods)"]
    for shortfall in verdict.shortfalls:
        lines.append(f"- {shortfall.workload}: {shortfall.pods} pod(s) pending: {shortfall.message}")
        lines += [f"  {detail}" for detail in shortfall.details]
    for victim in answer.victims:
        lines.append(
            f"- evicts {victim.pod} (priority {victim.priority}) from node {victim.node} for {victim.workload}"
        )
    return "\n".join(lines)


def as_result(verdict: Verdict, message: str, version_minor: Optional[int] = None) -> Dict[str, Any]:
    """The verdict as plain data."""
    return {
        "verdict": verdict.verdict,
        "fits": verdict.fits,
        "message": message,
        "nodes": verdict.nodes,
        "pods": verdict.pods,
        "kept": verdict.kept,
        "placements": verdict.placements,
        "shortfalls": [
            {
                "workload": item.workload,
                "pods": item.pods,
                "message": item.message,
                "details": item.details,
                "cause": item.cause,
            }
            for item in verdict.shortfalls
        ],
        "cause": verdict.shortfalls[0].cause if verdict.shortfalls else "",
        "headroom": verdict.headroom,
        "not_modelled": verdict.not_modelled,
        "orders_tried": verdict.orders,
        "exhaustive": verdict.exhaustive,
        "kubernetes_minor": version_minor,
    }
