# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`make capacity-oracle`: our verdict on random cases beside the real scheduler's, of the newest and the oldest minor.

What was found goes to build/bench/capacity-oracle.json, and each disagreement, made as small as it gets, to
build/oracle/. tests/oracle/README.md says what the figures mean.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from sandbox.build import Builder, tool_dir
from sandbox.run import Steps
from tests.oracle import ask, quantities
from tests.oracle.generator import make, make_evicting
from tests.oracle.shrink import shrink

CHECKOUT = Path(__file__).resolve().parents[1]
KINDS = (ask.FALSE_FIT, ask.FALSE_REFUSAL, ask.NEEDLESS_DOUBT, ask.CRASH)
# The shares that are let pass.
MOST = {ask.FALSE_FIT: 0.0, ask.FALSE_REFUSAL: 0.001, ask.NEEDLESS_DOUBT: 0.02, ask.CRASH: 0.0}

_oracle: ask.Oracle | None = None


def program(minor: int) -> Path:
    """The oracle of a minor, built where it is not there yet."""
    tool = ask.TOOLS[minor]
    builder = Builder(Steps(), [tool])
    try:
        builder.get(tool)
    finally:
        builder.close()
    return tool_dir(tool) / "oracle"


def _begin(path: Path) -> None:
    global _oracle  # noqa: PLW0603 - one oracle a process of the pool
    _oracle = ask.Oracle(path)


def _one(task: tuple[int, int, int]) -> dict[str, Any]:
    seed, number, minor = task
    if _oracle is None:
        raise ask.OracleError("this process has no oracle")
    case = make(seed, number, minor, ask.fits)
    answer = ask.check(case.document, _oracle)
    said = ask.what_the_scheduler_said(answer.oracle)
    record: dict[str, Any] = {
        "number": number,
        "features": case.features,
        "edge": case.edge,
        "verdict": answer.ours.verdict,
        "fitting": answer.fitting,
        "runs": answer.runs,
        "kind": answer.kind,
        "not_modelled": answer.ours.not_modelled,
        # The words of a refusal: ours are some run's, word for word.
        "words": not answer.ours.messages or ask.same_words(answer.ours.messages, said),
    }
    if answer.kind:
        record |= {"case": case.document, "ours": vars(answer.ours), "oracle": answer.oracle}
    return record


def measure(path: Path, minor: int, seed: int, cases: int, jobs: int) -> list[dict[str, Any]]:
    """Put so many cases to both; progress goes to stderr."""
    tasks = [(seed, number, minor) for number in range(cases)]
    records: list[dict[str, Any]] = []
    began = time.monotonic()
    with multiprocessing.Pool(jobs, _begin, (path,)) as pool:
        for record in pool.imap_unordered(_one, tasks, chunksize=4):
            records.append(record)
            if record["kind"]:
                print(f"1.{minor}: case {record['number']}: {record['kind']}", file=sys.stderr, flush=True)
            if len(records) % max(1, cases // 20) == 0:
                found = Counter(item["kind"] for item in records if item["kind"])
                seconds = time.monotonic() - began
                listed = ", ".join(f"{kind} {count}" for kind, count in sorted(found.items())) or "no disagreement"
                print(
                    f"1.{minor}: {len(records)} of {cases} cases, {seconds:.0f} s: {listed}",
                    file=sys.stderr,
                    flush=True,
                )
    return sorted(records, key=lambda item: item["number"])


def figures(records: list[dict[str, Any]]) -> dict[str, Any]:
    """The counts of a run."""
    found = Counter(record["kind"] for record in records if record["kind"])
    features: dict[str, dict[str, Any]] = {}
    for record in records:
        for name in record["features"]:
            entry = features.setdefault(name, {"cases": 0, "fit": 0, "edge": 0})
            entry["cases"] += 1
            entry["fit"] += record["fitting"] == record["runs"]
            entry["edge"] += record["edge"]
    for entry in features.values():
        entry["fit"] = round(entry["fit"] / entry["cases"], 3)
        entry["edge"] = round(entry["edge"] / entry["cases"], 3)
    refused = [record for record in records if record["verdict"] == "does_not_fit"]
    return {
        "cases": len(records),
        "false_fits": found[ask.FALSE_FIT],
        "false_refusals": found[ask.FALSE_REFUSAL],
        "needless_doubt": found[ask.NEEDLESS_DOUBT],
        "crashes": found[ask.CRASH],
        "not_modelled": sum(bool(record["not_modelled"]) for record in records),
        "order_dependent": sum(0 < record["fitting"] < record["runs"] for record in records),
        "fit": sum(record["fitting"] == record["runs"] for record in records),
        "same_words": round(sum(record["words"] for record in refused) / max(1, len(refused)), 4),
        "features": dict(sorted(features.items())),
    }


def write_disagreements(records: list[dict[str, Any]], minor: int, path: Path, each: int) -> list[dict[str, Any]]:
    """Make the first disagreements of each kind small, and write all of them down."""
    target = CHECKOUT / "build" / "oracle"
    target.mkdir(parents=True, exist_ok=True)
    listed = []
    oracle = ask.Oracle(path)
    try:
        for kind in KINDS:
            for index, record in enumerate(item for item in records if item["kind"] == kind):
                if index < each:
                    small = shrink(record["case"], kind, oracle)
                    answer = ask.check(small, oracle)
                    record |= {"small": small, "ours_small": vars(answer.ours), "oracle_small": answer.oracle}
                file = target / f"{kind}-{minor}-{record['number']}.json"
                file.write_text(json.dumps(record, indent=1) + "\n")
                said = ask.what_the_scheduler_said(record["oracle"])
                listed.append(
                    {
                        "kind": kind,
                        "minor": minor,
                        "number": record["number"],
                        "features": record["features"],
                        "ours": record["verdict"] or record["ours"]["error"],
                        "fitting_runs": record["fitting"],
                        "scheduler": said[:2],
                        "file": str(file.relative_to(CHECKOUT)),
                    }
                )
    finally:
        oracle.close()
    return listed


def _one_eviction(task: tuple[int, int, int]) -> tuple[int, bool, str | None]:
    seed, number, minor = task
    if _oracle is None:
        raise ask.OracleError("this process has no oracle")
    answer = ask.check(make_evicting(seed, number, minor), _oracle, evict=True)
    return number, any(run.get("evicted") for run in answer.oracle.get("runs") or []), answer.kind


def measure_evictions(path: Path, minor: int, seed: int, cases: int, jobs: int) -> dict[str, Any]:
    """The question `evict` beside the real preemption; the cases on which they disagree by their numbers."""
    tasks = [(seed, number, minor) for number in range(cases)]
    with multiprocessing.Pool(jobs, _begin, (path,)) as pool:
        records = pool.map(_one_eviction, tasks, chunksize=4)
    kinds = {kind: sorted(number for number, _evicted, found in records if found == kind) for kind in KINDS}
    return {"cases": cases, "evicting": sum(evicted for _number, evicted, _kind in records), **kinds}


def read_quantities(path: Path, seed: int, count: int) -> list[dict[str, str]]:
    oracle = ask.Oracle(path, "quantities")
    try:
        return [{"text": text, "difference": found} for text, found in quantities.disagreements(seed, count, oracle)]
    finally:
        oracle.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=None, help="of a run to repeat")
    parser.add_argument("--cases", type=int, default=10_000, help="for the newest minor")
    parser.add_argument("--oldest-cases", type=int, default=3_000, help="for the oldest minor")
    parser.add_argument("--quantities", type=int, default=100_000)
    parser.add_argument("--evictions", type=int, default=500, help="cases in which pods may be evicted")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--shrink", type=int, default=3, help="so many disagreements of each kind are made small")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(10**9)
    print(f"capacity-oracle: seed {seed}", flush=True)
    result: dict[str, Any] = {"seed": seed, "cases": 0, "minors": {}, "disagreements": []}
    began = time.monotonic()
    failed = []
    for minor, cases in ((ask.NEWEST, options.cases), (ask.OLDEST, options.oldest_cases)):
        if not cases:
            continue
        path = program(minor)
        started = time.monotonic()
        records = measure(path, minor, seed, cases, options.jobs)
        found = figures(records)
        found["seconds"] = round(time.monotonic() - started, 1)
        result["minors"][f"1.{minor}"] = found
        result["disagreements"] += write_disagreements(records, minor, path, options.shrink)
        names = {
            "false_fits": ask.FALSE_FIT,
            "false_refusals": ask.FALSE_REFUSAL,
            "needless_doubt": ask.NEEDLESS_DOUBT,
            "crashes": ask.CRASH,
        }
        for name, kind in names.items():
            if found[name] > MOST[kind] * cases:
                failed.append(f"1.{minor}: {name}: {found[name]} of {cases}, at most {MOST[kind]:.1%}")
    if options.evictions:
        found = measure_evictions(program(ask.NEWEST), ask.NEWEST, seed, options.evictions, options.jobs)
        result["evictions"] = found
        print(f"evictions: {json.dumps(found)}")
        if found[ask.FALSE_FIT] or found[ask.CRASH]:
            failed.append(f"evictions: false fits {found[ask.FALSE_FIT]}, crashes {found[ask.CRASH]}")
    if options.quantities:
        different = read_quantities(program(ask.NEWEST), seed, options.quantities)
        result["quantities"] = {"texts": options.quantities, "differences": len(different), "first": different[:20]}
        if different:
            failed.append(f"quantities: {len(different)} of {options.quantities} are read differently")
    newest = result["minors"].get(f"1.{ask.NEWEST}", {})
    for name in ("false_fits", "false_refusals", "needless_doubt"):
        result[name] = sum(found[name] for found in result["minors"].values())
    result["cases"] = sum(found["cases"] for found in result["minors"].values())
    result["features"] = {name: entry["cases"] for name, entry in newest.get("features", {}).items()}
    result["seconds"] = round(time.monotonic() - began, 1)
    target = CHECKOUT / "build" / "bench" / "capacity-oracle.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(result, indent=1) + "\n")
    for item in result["disagreements"]:
        print(
            f"{item['kind']}: 1.{item['minor']} case {item['number']} ({', '.join(item['features'])}): "
            f"ours {item['ours']}, {item['fitting_runs']} runs place all: {'; '.join(item['scheduler'])[:200]}"
        )
    for name, found in result["minors"].items():
        shown = {key: value for key, value in found.items() if key != "features"}
        print(f"{name}: {json.dumps(shown)}")
    print(f"capacity-oracle: seed {seed}, {result['cases']} cases in {result['seconds']:.0f} s: {target}")
    for line in failed:
        print(f"capacity-oracle: FAILED: {line}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
