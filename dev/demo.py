# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`make demo`: from nothing to a transcribed sentence, with what each phase took, in build/demo/report.json."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from .journey import CHECKOUT, HOME_INSIDE, Journey, JourneyError, Step

SENTENCE = "The patient was admitted this morning with a mild fever and a sore throat."
REPORT_INSIDE = f"{HOME_INSIDE}/.airgap/reports/report.json"


def walk(journey: Journey, text: str, audio: Path | None) -> dict[str, object]:
    """Walks the whole way and returns the report."""
    steps: list[Step] = []

    def add(step: Step) -> None:
        steps.append(step)
        print(f"== {step.name}: {step.seconds:.1f} s, {step.changed} changed\n", flush=True)

    add(journey.sandbox())
    journey.zero_egress()
    add(journey.bundle())
    add(journey.carry())
    inside_since = time.monotonic()
    add(journey.setup())
    said = {"smoke_test_text": text}
    if audio:
        heard = f"{HOME_INSIDE}/recording{audio.suffix}"
        journey.copy(audio, heard)
        said = {"smoke_test_audio": heard, "smoke_test_audio_text": text}
    add(journey.site("-e", json.dumps(said)))
    inside_seconds = time.monotonic() - inside_since
    site = json.loads(journey.read(REPORT_INSIDE))
    egress = journey.egress()
    return {
        "phases": [step.summary() for step in steps],
        "setup_to_transcript_seconds": inside_seconds,
        "transcript": site["transcript"],
        "expected": site["expected"],
        "word_error_rate": site["word_error_rate"],
        "images": site["images"],
        "bytes": site["bytes"],
        "egress_packets": egress["packets_total"],
        "egress_names": egress["names"],
    }


def show(report: dict[str, object], phases: list[dict[str, object]]) -> None:
    print("phase        seconds  changed")
    for phase in phases:
        print(f"{phase['name']:<12} {phase['seconds']:>7.1f}  {phase['changed']:>7}")
    print(f"{'total':<12} {sum(float(str(phase['seconds'])) for phase in phases):>7.1f}")
    print(f"setup.sh to transcript: {report['setup_to_transcript_seconds']:.1f} s")
    print(f"images: {report['images']}, bytes sent to the registry: {report['bytes']}")
    print(f"packets that tried to leave: {report['egress_packets']}, outside names asked for: {report['egress_names']}")
    print(f"said:  {report['expected']}")
    print(f"heard: {report['transcript']}")
    print(f"word error rate: {report['word_error_rate']}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", default=Journey.name)
    parser.add_argument("--subnet", default=Journey.subnet)
    parser.add_argument("--text", default="")
    parser.add_argument("--audio", type=Path)
    options = parser.parse_args()
    if options.audio and not options.audio.is_file():
        parser.error(f"--audio {options.audio}: there is no such file; name a recording, e.g. a WAV file")
    journey = Journey(name=options.name, subnet=options.subnet, work=CHECKOUT / "build" / "demo")
    text = options.text or ("" if options.audio else SENTENCE)
    try:
        report = walk(journey, text, options.audio)
    except JourneyError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    target = journey.work / "report.json"
    target.write_text(json.dumps(report, indent=2) + "\n")
    show(report, report["phases"])  # type: ignore[arg-type]
    print(f"report: {target.relative_to(CHECKOUT)}")
    if report["egress_packets"]:
        print("demo: something tried to leave the air gap; see the sandbox's counters", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
