# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`make capacity-oracle`: our verdict on random cases beside the real scheduler's, of the newest and the oldest minor.

What was found goes to build/bench/capacity-oracle.json, and each disagreement, made as small as it gets, to
build/oracle/. tests/oracle/README.md says what the figures mean. A run that was stopped goes on where it ended when it
is started again with its seed, as long as the code is the same; --slice makes so many cases at a time.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from sandbox.build import Builder, tool_dir
from sandbox.run import Steps
from tests.oracle import ask, quantities
from tests.oracle.generator import make, make_evicting, names_of
from tests.oracle.progress import Progress, digest
from tests.oracle.shrink import shrink

CHECKOUT = Path(__file__).resolve().parents[1]
KINDS = (ask.FALSE_FIT, ask.FALSE_REFUSAL, ask.NEEDLESS_DOUBT, ask.CRASH)
# The shares that are let pass.
MOST = {ask.FALSE_FIT: 0.0, ask.FALSE_REFUSAL: 0.001, ask.NEEDLESS_DOUBT: 0.02, ask.CRASH: 0.0}
NAMES = {
    "false_fits": ask.FALSE_FIT,
    "false_refusals": ask.FALSE_REFUSAL,
    "needless_doubt": ask.NEEDLESS_DOUBT,
    "crashes": ask.CRASH,
}
# What the cases of a whole run have to be: so many of each feature, such a share of which fits, most near the edge.
WHOLE_RUN = 10_000
LEAST_OF_FEATURE = 300
FIT_SHARES = (0.3, 0.7)
LEAST_AT_EDGE = 0.5
MINORS = (ask.NEWEST, ask.OLDEST)

_oracle: ask.Oracle | None = None


def program_path(minor: int) -> Path:
    """Where the oracle of a minor is, or comes to be."""
    return tool_dir(ask.TOOLS[minor]) / "oracle"


def program(minor: int) -> Path:
    """The oracle of a minor, built where it is not there yet."""
    tool = ask.TOOLS[minor]
    builder = Builder(Steps(), [tool])
    try:
        builder.get(tool)
    finally:
        builder.close()
    return program_path(minor)


def _begin(path: Path) -> None:
    global _oracle  # noqa: PLW0603 - one oracle a process of the pool
    _oracle = ask.Oracle(path)


def _one(task: tuple[int, int, int]) -> dict[str, Any]:
    """One case of a minor, put to both."""
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


def one_eviction(task: tuple[int, int, int]) -> dict[str, Any]:
    """One case in which pods of lower priority may be evicted."""
    seed, number, minor = task
    if _oracle is None:
        raise ask.OracleError("this process has no oracle")
    answer = ask.check(make_evicting(seed, number, minor), _oracle, evict=True)
    evicted = any(run.get("evicted") for run in answer.oracle.get("runs") or [])
    return {"number": number, "evicted": evicted, "kind": answer.kind}


def measure(
    path: Path,
    minor: int,
    seed: int,
    numbers: Iterable[int],
    jobs: int,
    one: Callable[[tuple[int, int, int]], dict[str, Any]] = _one,
    keep: Callable[[dict[str, Any]], None] = lambda record: None,
) -> list[dict[str, Any]]:
    """Put the cases of these numbers to both, and each record to `keep`; progress goes to stderr."""
    tasks = [(seed, number, minor) for number in numbers]
    records: list[dict[str, Any]] = []
    began = time.monotonic()
    what = f"1.{minor}" if one is _one else "evictions"
    with multiprocessing.Pool(jobs, _begin, (path,)) as pool:
        for record in pool.imap_unordered(one, tasks, chunksize=4):
            keep(record)
            records.append(record)
            if record["kind"]:
                print(f"{what}: case {record['number']}: {record['kind']}", file=sys.stderr, flush=True)
            if len(records) % 100 == 0 or len(records) == len(tasks):
                found = Counter(item["kind"] for item in records if item["kind"])
                seconds = time.monotonic() - began
                listed = ", ".join(f"{kind} {count}" for kind, count in sorted(found.items())) or "no disagreement"
                print(
                    f"{what}: {len(records)} of {len(tasks)} cases, {seconds:.0f} s: {listed}",
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
        "edge": round(sum(record["edge"] for record in records) / max(1, len(records)), 4),
        "same_words": round(sum(record["words"] for record in refused) / max(1, len(refused)), 4),
        "features": dict(sorted(features.items())),
    }


def write_disagreements(records: list[dict[str, Any]], minor: int, each: int) -> list[dict[str, Any]]:
    """Make the first disagreements of each kind small, and write all of them down."""
    if not any(record["kind"] for record in records):
        return []
    target = CHECKOUT / "build" / "oracle"
    target.mkdir(parents=True, exist_ok=True)
    listed = []
    oracle = ask.Oracle(program(minor))
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


def eviction_figures(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The question `evict` beside the real preemption; the cases on which they disagree by their numbers."""
    kinds = {kind: sorted(item["number"] for item in records if item["kind"] == kind) for kind in KINDS}
    return {"cases": len(records), "evicting": sum(item["evicted"] for item in records), **kinds}


def read_quantities(path: Path, seed: int, count: int) -> list[dict[str, str]]:
    oracle = ask.Oracle(path, "quantities")
    try:
        return [{"text": text, "difference": found} for text, found in quantities.disagreements(seed, count, oracle)]
    finally:
        oracle.close()


def unbalanced(found: dict[str, Any], names: Iterable[str]) -> list[str]:
    """What the cases of a whole run lack: features too rare, too seldom or too often placed; too few near the edge."""
    told = []
    low, high = FIT_SHARES
    for name in names:
        entry = found["features"].get(name, {"cases": 0, "fit": 0.0})
        if entry["cases"] < LEAST_OF_FEATURE:
            told.append(f"{name}: {entry['cases']} cases, at least {LEAST_OF_FEATURE} are wanted")
        if not low <= entry["fit"] <= high:
            told.append(f"{name}: {entry['fit']:.0%} of its cases fit, {low:.0%} to {high:.0%} are wanted")
    if found["edge"] <= LEAST_AT_EDGE:
        told.append(f"{found['edge']:.0%} of the cases are within a pod of the edge, more than half are wanted")
    return told


def judge_run(result: dict[str, Any]) -> list[str]:
    """Where a run is not as it has to be, in words."""
    failed = []
    for minor, found in result["minors"].items():
        for name, kind in NAMES.items():
            if found[name] > MOST[kind] * found["cases"]:
                failed.append(f"{minor}: {name}: {found[name]} of {found['cases']}, at most {MOST[kind]:.1%}")
        if found["cases"] >= WHOLE_RUN:
            failed += [f"{minor}: {line}" for line in unbalanced(found, names_of(int(minor.partition(".")[2])))]
    evictions = result.get("evictions")
    if evictions and (evictions[ask.FALSE_FIT] or evictions[ask.CRASH]):
        failed.append(f"evictions: false fits {evictions[ask.FALSE_FIT]}, crashes {evictions[ask.CRASH]}")
    texts = result.get("quantities")
    if texts and texts["differences"]:
        failed.append(f"quantities: {texts['differences']} of {texts['texts']} are read differently")
    return failed


def run_slice(progress: Progress, options: argparse.Namespace) -> bool:
    """Make the next cases of a run; whether none is missing afterwards."""
    left = options.slice or sys.maxsize
    parts = [(f"1.{minor}", minor, count, _one) for minor, count in zip(MINORS, (options.cases, options.oldest_cases))]
    parts.append(("evictions", ask.NEWEST, options.evictions, one_eviction))
    for part, minor, count, one in parts:
        numbers = progress.missing(part, count)
        if numbers and left:
            chosen = numbers[:left]
            left -= len(chosen)

            def keep(record: dict[str, Any], part: str = part) -> None:
                progress.add(part, record)

            measure(program(minor), minor, options.seed, chosen, options.jobs, one, keep)
    if options.quantities and left and progress.missing("quantities", 1):
        different = read_quantities(program(ask.NEWEST), options.seed, options.quantities)
        told = {"texts": options.quantities, "differences": len(different), "first": different[:20]}
        progress.add("quantities", {"number": 0, **told})
    made = [(part, count) for part, _minor, count, _one_of in parts] + [("quantities", min(1, options.quantities))]
    return not any(progress.missing(part, count) for part, count in made)


def add_up(progress: Progress, options: argparse.Namespace) -> dict[str, Any]:
    """The figures of all slices so far."""
    result: dict[str, Any] = {"seed": options.seed, "cases": 0, "minors": {}, "disagreements": []}
    for minor, count in zip(MINORS, (options.cases, options.oldest_cases)):
        records = progress.of(f"1.{minor}", count)
        if records:
            result["minors"][f"1.{minor}"] = figures(records)
            result["disagreements"] += write_disagreements(records, minor, options.shrink)
    evictions = progress.of("evictions", options.evictions)
    if evictions:
        result["evictions"] = eviction_figures(evictions)
    for told in progress.of("quantities", 1 if options.quantities else 0):
        result["quantities"] = {key: told[key] for key in ("texts", "differences", "first")}
    newest = result["minors"].get(f"1.{ask.NEWEST}", {})
    for name in ("false_fits", "false_refusals", "needless_doubt"):
        result[name] = sum(found[name] for found in result["minors"].values())
    result["cases"] = sum(found["cases"] for found in result["minors"].values())
    result["features"] = {name: entry["cases"] for name, entry in newest.get("features", {}).items()}
    return result


def tell(result: dict[str, Any]) -> None:
    """The figures, to read."""
    for item in result["disagreements"]:
        print(
            f"{item['kind']}: 1.{item['minor']} case {item['number']} ({', '.join(item['features'])}): "
            f"ours {item['ours']}, {item['fitting_runs']} runs place all: {'; '.join(item['scheduler'])[:200]}"
        )
    for name, found in result["minors"].items():
        shown = {key: value for key, value in found.items() if key != "features"}
        print(f"{name}: {json.dumps(shown)}")
        features = found["features"].values()
        counts, shares = [item["cases"] for item in features], [item["fit"] for item in features]
        print(
            f"{name}: {len(counts)} features, {min(counts)} to {max(counts)} cases of each, of which {min(shares):.0%}"
            f" to {max(shares):.0%} fit; {found['edge']:.1%} of the cases within one pod of the edge"
        )
    for name in ("evictions", "quantities"):
        if name in result:
            print(f"{name}: {json.dumps(result[name])}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=None, help="of a run to repeat, or to go on with")
    parser.add_argument("--cases", type=int, default=WHOLE_RUN, help="for the newest minor")
    parser.add_argument("--oldest-cases", type=int, default=3_000, help="for the oldest minor")
    parser.add_argument("--quantities", type=int, default=100_000)
    parser.add_argument("--evictions", type=int, default=500, help="cases in which pods may be evicted")
    parser.add_argument("--slice", type=int, default=0, help="so many cases now; the next call with the seed goes on")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--shrink", type=int, default=3, help="so many disagreements of each kind are made small")
    options = parser.parse_args()
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(10**9)
    print(f"capacity-oracle: seed {options.seed}", flush=True)
    code = digest(program_path(minor) for minor in MINORS)
    progress = Progress(CHECKOUT / "build" / "oracle" / f"run-{code}-{options.seed}.jsonl")
    began = time.monotonic()
    complete = run_slice(progress, options)
    progress.add("seconds", {"number": time.time_ns(), "seconds": round(time.monotonic() - began, 1)})
    result = {**add_up(progress, options), "code": code, "complete": complete}
    result["seconds"] = round(progress.total("seconds", "seconds"), 1)
    target = CHECKOUT / "build" / "bench" / "capacity-oracle.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(result, indent=1) + "\n")
    tell(result)
    print(f"capacity-oracle: seed {options.seed}, {result['cases']} cases in {result['seconds']:.0f} s: {target}")
    failed = judge_run(result)
    for line in failed:
        print(f"capacity-oracle: FAILED: {line}", file=sys.stderr)
    if not complete:
        print(f"capacity-oracle: not all cases are made; go on with --seed {options.seed}", file=sys.stderr)
    return 1 if failed else 0 if complete else 3


if __name__ == "__main__":
    sys.exit(main())
