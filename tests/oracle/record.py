# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes cases/: of each feature some cases with what the real scheduler did, to be checked without it.

python -m tests.oracle.record PROGRAM [SEED]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.oracle import ask
from tests.oracle.generator import make, names_of

TARGET = Path(__file__).resolve().parent / "cases"
_TURNS = 6


def main() -> int:
    program, seed = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1
    names = names_of(ask.NEWEST)
    oracle = ask.Oracle(program)
    try:
        for place, name in enumerate(names):
            kept: dict[str, dict[str, object]] = {}
            for turn in range(_TURNS):
                case = make(seed, place + turn * len(names), ask.NEWEST, ask.fits)
                answer = ask.check(case.document, oracle)
                if answer.kind:
                    print(f"{name}: case {case.document['id']}: {answer.kind}: not recorded", file=sys.stderr)
                    continue
                saved = {"case": case.document, "fitting": answer.fitting, "runs": answer.runs}
                kept.setdefault(answer.ours.verdict, saved)
            lines = ",\n".join(json.dumps(item, sort_keys=True) for item in kept.values())
            (TARGET / f"{name}.json").write_text(f'{{"why": "feature {name}", "cases": [\n{lines}\n]}}\n')
    finally:
        oracle.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
