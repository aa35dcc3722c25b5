# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The split is killed (SIGKILL) at 20 random moments: what was finished stays, and the next run ends equal."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

from tests.unit.plugins.module_utils.bundle.parts_samples import contents, make_bundle, split

CHECKOUT = Path(__file__).resolve().parents[5]
PART_SIZE = 2_500_000
WORKER = """\
import sys
from pathlib import Path
from tests.unit.plugins.module_utils.bundle.parts_samples import split
print("begin", flush=True)
split(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
"""


def start(bundle: Path, dest: Path) -> subprocess.Popen[str]:
    """A process that has imported everything and begins to split."""
    paths = os.pathsep.join([str(CHECKOUT), str(CHECKOUT / "build" / "collections")])
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(bundle), str(dest), str(PART_SIZE)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begin\n"
    return process


def test_killed_at_random_moments(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle", model_size=24_000_000)
    split(bundle, tmp_path / "good", PART_SIZE)
    good = contents(tmp_path / "good")
    started = time.monotonic()
    assert start(bundle, tmp_path / "timed").wait() == 0
    whole = time.monotonic() - started
    moments = random.Random(20)  # noqa: S311 - test data
    midway = 0
    for number in range(20):
        dest = tmp_path / f"killed{number}"
        process = start(bundle, dest)
        time.sleep(moments.uniform(0, whole))
        process.kill()
        process.wait()
        there = contents(dest) if dest.exists() else {}
        finished = {name for name in there if name.endswith(".tar")}
        midway += 0 < len(finished) < len([name for name in good if name.endswith(".tar")])
        # What has its name is whole, and the list comes only after all parts.
        assert all(there[name] == good[name] for name in finished)
        if "bundle.parts.json" in there:
            assert {name for name in good if name.endswith(".tar")} == finished
        times = {name: (dest / name).stat().st_mtime_ns for name in finished}
        made = split(bundle, dest, PART_SIZE)
        assert contents(dest) == good
        kept = {name for name in finished if (dest / name).stat().st_mtime_ns == times[name]}
        # A part whose name was set in the very moment before its digest was noted is made once more.
        assert len(finished - kept) <= 2
        assert set(made.written) == {name for name in good if name.endswith(".tar")} - kept
    assert midway
