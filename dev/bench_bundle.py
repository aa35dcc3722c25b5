# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`make bench-bundle`: a bundle written from a local registry, and verified, beside what disk and sha256 can do.

Each round measures in turn, all for the same 3.5 GB: writing them plainly to the disk (with fdatasync), sha256 of as
many bytes in memory on all cores, the bundle (an empty cache and an empty destination, out of one registry on this
machine, everything on the disk at the end), and its verification twice: `verify_disk` reads the disk, since bundles are
written past the page cache, and `verify` has all of it in memory after that. Every figure is of a process of its own:
`seconds` is the work itself, `process_seconds` from exec to exit, and `work_cpu_seconds` what the work took of all
cores, which other work on the machine changes least.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CHECKOUT / "build" / "collections"))

from ansible_collections.airgap.speech.plugins.module_utils.bundle.cache import Cache
from ansible_collections.airgap.speech.plugins.module_utils.bundle.lock import load
from ansible_collections.airgap.speech.plugins.module_utils.bundle.logins import Registries
from ansible_collections.airgap.speech.plugins.module_utils.bundle.maker import Maker
from ansible_collections.airgap.speech.plugins.module_utils.bundle.spec import ExtraImage, Spec
from ansible_collections.airgap.speech.plugins.module_utils.bundle.verify import verify_bundle
from dev.bench_images import make_images, push_images, unique_blobs
from dev.bench_tools import build_registry
from tests.unit.registry_server import RegistryServer

WORK = CHECKOUT / "build" / "bench" / "bundle"
TARGET = CHECKOUT / "build" / "bench" / "bundle.json"
PIECE = 4 << 20
CORES = len(os.sched_getaffinity(0))
GOALS = {"bundle": ("lower of disk_write and sha256", 0.8), "verify": ("sha256", 0.9)}


# -- in processes of their own -----------------------------------------------------------------------------------------


def disk_write(size: int) -> int:
    """Zeros would be compressed by some disks: noise, written over and over."""
    piece = os.urandom(PIECE)
    WORK.mkdir(parents=True, exist_ok=True)
    path = WORK / "plain"
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    written = 0
    while written < size:
        written += os.write(handle, piece[: min(PIECE, size - written)])
    os.fdatasync(handle)
    os.close(handle)
    return written


def sha256(size: int) -> int:
    """All cores, each with a piece of its own."""

    def hashed(count: int) -> None:
        piece, hasher = os.urandom(PIECE), hashlib.sha256()
        for _turn in range(count):
            hasher.update(piece)

    turns = -(-size // PIECE)
    shares = [turns // CORES + (number < turns % CORES) for number in range(CORES)]
    with ThreadPoolExecutor(CORES) as pool:
        list(pool.map(hashed, shares))
    return turns * PIECE


def bundle(endpoint: str, references: list[str]) -> int:
    """The engine of the module bundle, with images only."""

    def nothing(*_given: Any) -> Any:
        raise SystemExit("a bundle of images only needs no program and no engine")

    spec = Spec(
        dest=str(WORK / "dest"),
        collection=str(WORK / "collection"),
        images=[ExtraImage(reference, "bench") for reference in references],
        platforms=["linux/amd64", "linux/arm64"],
    )
    registries = Registries({"bench.example.com": {"endpoint": endpoint, "plain_http": True}})
    made = Maker(spec, Cache(str(WORK / "cache")), nothing, nothing, registries, lambda line: None).make()
    return made.lock.size if made.lock else 0


def verify() -> int:
    """The engine of bundle_verify, the signature aside."""
    lock = load(str(WORK / "dest"))
    verify_bundle(str(WORK / "dest"), lock, CORES)
    return lock.size


def child(given: dict[str, Any]) -> int:
    """Do one thing and say how long it took."""
    calls = {"disk_write": disk_write, "sha256": sha256, "bundle": bundle, "verify_disk": verify, "verify": verify}
    call = calls[given["scenario"]]
    started, cpu = time.monotonic(), time.process_time()
    count = call(**given["with"])
    said = {
        "seconds": time.monotonic() - started,
        "work_cpu_seconds": time.process_time() - cpu,
        "bytes": count,
        "peak_rss_bytes": peak_rss(),
    }
    print(json.dumps(said))
    return 0


def peak_rss() -> int:
    """Of this process: what wait4 says of a child is never less than its parent had."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise SystemExit("bench: the kernel does not say how much memory was used")


# -- the bench ---------------------------------------------------------------------------------------------------------


def measure(scenario: str, number: int, **given: Any) -> dict[str, Any]:
    """One figure, on a disk that has nothing left to write."""
    os.sync()
    argv = [sys.executable, "-m", "dev.bench_bundle", "--child", json.dumps({"scenario": scenario, "with": given})]
    started = time.monotonic()
    process = subprocess.Popen(argv, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True)
    out = process.stdout.read() if process.stdout else ""
    _pid, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"bench: {scenario} ended with {process.returncode}")
    said = json.loads(out)
    return {
        "scenario": scenario,
        "round": number,
        "seconds": said["seconds"],
        "process_seconds": time.monotonic() - started,
        "work_cpu_seconds": said["work_cpu_seconds"],
        "bytes": said["bytes"],
        "rate": said["bytes"] / said["seconds"],
        "client_cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_rss_bytes": said["peak_rss_bytes"],
    }


def empty() -> None:
    """Nothing of an earlier round."""
    shutil.rmtree(WORK, ignore_errors=True)
    collection = WORK / "collection"
    collection.mkdir(parents=True)
    info = {"collection_info": {"namespace": "airgap", "name": "speech", "version": "0.0.0"}}
    (collection / "MANIFEST.json").write_text(json.dumps(info))
    (collection / "FILES.json").write_text('{"files": []}')


def ratios(records: list[dict[str, Any]]) -> dict[str, float]:
    """Medians over the rounds of what compares within a round: the clock of a shared machine swings between them."""
    found: dict[str, list[float]] = {"bundle": [], "verify": []}
    for number in sorted({record["round"] for record in records}):
        rate = {record["scenario"]: record["rate"] for record in records if record["round"] == number}
        found["bundle"].append(rate["bundle"] / min(rate["disk_write"], rate["sha256"]))
        found["verify"].append(rate["verify"] / rate["sha256"])
    return {name: statistics.median(values) for name, values in found.items()}


def run(rounds: int, scale: float) -> int:
    layout, images = make_images(scale)
    size = sum(blob.size for blob in unique_blobs(layout, images).values())
    empty()
    server = RegistryServer(WORK.parent / "bundle-registry", build_registry(), tls=False, auth=False)
    server.start()
    records: list[dict[str, Any]] = []
    try:
        push_images(layout, images, server.endpoint)
        references = [f"bench.example.com/{image.repo}:{image.tag}" for image in images]
        for number in range(1, rounds + 1):
            empty()
            records.append(measure("disk_write", number, size=size))
            (WORK / "plain").unlink()
            records.append(measure("sha256", number, size=size))
            records.append(measure("bundle", number, endpoint=server.endpoint, references=references))
            records.append(measure("verify_disk", number))
            records.append(measure("verify", number))
            for record in records[-5:]:
                print(
                    "round {round} {scenario:<11} {0:>7.0f} MB/s {seconds:>6.2f} s  cpu {work_cpu_seconds:>5.2f} s  "
                    "peak {1:>4.0f} MiB".format(record["rate"] / 1e6, record["peak_rss_bytes"] / (1 << 20), **record),
                    flush=True,
                )
    finally:
        server.stop()
        shutil.rmtree(WORK, ignore_errors=True)
        shutil.rmtree(server.directory, ignore_errors=True)
    TARGET.write_text(json.dumps(records, indent=2) + "\n")
    missed = 0
    for name, ratio in ratios(records).items():
        against, goal = GOALS[name]
        missed += ratio < goal
        print(f"{name}: {ratio:.2f} of {against}, wanted {goal:.2f} or more{'' if ratio >= goal else ': MISSED'}")
    print(f"{TARGET.relative_to(CHECKOUT)}: {len(records)} records")
    return 1 if missed else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="the size of the image set, for a trial")
    parser.add_argument("--child", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    return child(options.child) if options.child else run(options.rounds, options.scale)


if __name__ == "__main__":
    sys.exit(main())
