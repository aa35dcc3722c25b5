# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`make bench`: what the way takes on the sandbox of the last demo; what was measured goes to build/bench/way.json."""

from __future__ import annotations

import json
import sys

from .journey import CHECKOUT, Journey, JourneyError


def main() -> int:
    journey = Journey()
    if not (journey.work / "report.json").is_file():
        print("bench: there is no demo to measure; run make demo first", file=sys.stderr)
        return 1
    demo = json.loads((journey.work / "report.json").read_text())
    try:
        again, predicted = journey.site(), journey.predict()
    except JourneyError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    figures = {
        "demo_seconds": sum(phase["seconds"] for phase in demo["phases"]),
        "setup_to_transcript_seconds": demo["setup_to_transcript_seconds"],
        "site_again": again.summary(),
        "site_check": predicted.summary(),
    }
    target = CHECKOUT / "build" / "bench" / "way.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(figures, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
