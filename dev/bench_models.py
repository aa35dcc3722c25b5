# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`make bench-models`: a model of one large file from the registry into a directory, beside rsync, skopeo and oras.

Every tool ends with its bytes on disk: rsync with its own fsync, skopeo and oras with a `sync` of the file system.
What limits them is measured in the same round: the registry read by curl, the disk written by dd, and sha256 of one
core. `disk_bytes` is what the tool's processes gave the kernel to write.
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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CHECKOUT / "build" / "collections"))

from ansible_collections.airgap.speech.plugins.module_utils.oci.preload_add import GivenFile, add_model
from ansible_collections.airgap.speech.plugins.module_utils.oci.registry import Registry
from dev.bench_tools import build_peer, build_registry, skopeo
from tests.unit.registry_server import RegistryServer, free_port

WORK = CHECKOUT / "build" / "bench"
RESULT = WORK / "models.json"
NAME = "model.bin"
LIMITS = ("registry", "disk", "sha256")
TOOLS = ("airgap", "rsync", "skopeo", "oras")
HASH = (
    "import hashlib,sys\nhasher,view=hashlib.sha256(),memoryview(bytearray(1<<20))\n"
    "stream=open(sys.argv[1],'rb',buffering=0)\n"
    "while count:=stream.readinto(view): hasher.update(view[:count])\n"
)
PROGRAM = (
    "import sys\nsys.path.insert(0, sys.argv.pop(1))\n"
    "from ansible_collections.airgap.speech.plugins.module_utils.oci.preload_command import main\nsys.exit(main())\n"
)


@dataclass
class Bench:
    """One large file, as it lies here, as a model in the registry, and as a module of an rsync daemon."""

    source: Path
    size: int
    server: RegistryServer
    target: Path
    rsync_port: int
    programs: dict[str, str]
    model: dict[str, Any]
    records: list[dict[str, Any]] = field(default_factory=list)

    @property
    def repo(self) -> str:
        return f"{self.server.endpoint}/models/large"

    @property
    def layer(self) -> str:
        storage = self.server.storage / "docker/registry/v2/repositories/models/large/_layers/sha256"
        sizes = {
            digest.name: (self.server.storage / f"docker/registry/v2/blobs/sha256/{digest.name[:2]}/{digest.name}/data")
            for digest in storage.iterdir()
        }
        return max(sizes, key=lambda name: sizes[name].stat().st_size)

    def commands(self, tool: str) -> list[list[str]]:
        """What is run, in order."""
        sync = ["sync", "-f", str(self.target)]
        if tool == "registry":
            ca = ["--cacert", str(self.server.ca_file)] if self.server.tls else []
            scheme = "https" if self.server.tls else "http"
            url = f"{scheme}://{self.server.endpoint}/v2/models/large/blobs/sha256:{self.layer}"
            return [["curl", "--silent", "--fail", "--http1.1", *ca, "--output", "/dev/null", url]]
        if tool == "disk":
            flags = ["bs=4M", f"count={self.size}", "iflag=count_bytes", "oflag=direct", "conv=fsync"]
            return [["dd", "if=/dev/zero", f"of={self.target}/zeros", *flags]]
        if tool == "sha256":
            return [[sys.executable, "-I", "-S", "-c", HASH, str(self.source)]]
        if tool == "airgap":
            ca = [f"--ca-file={self.server.ca_file}"] if self.server.tls else []
            config = WORK / "models-config.json"
            plain = not self.server.tls
            config.write_text(
                json.dumps({"registry": self.server.endpoint, "plain_http": plain, "models": [self.model]})
            )
            collections = str(CHECKOUT / "build" / "collections")
            head = [sys.executable, "-I", "-S", "-c", PROGRAM, collections]
            return [[*head, f"--config={config}", f"--directory={self.target}", *ca]]
        if tool == "rsync":
            url = f"rsync://127.0.0.1:{self.rsync_port}/source/{NAME}"
            return [["rsync", "--whole-file", "--fsync", url, f"{self.target}/"]]
        if tool == "skopeo":
            tls = [] if self.server.tls else ["--src-tls-verify=false"]
            copy = [self.programs["skopeo"], "--insecure-policy", "copy", "--quiet", *tls]
            into = f"{self.target}/dir"
            return [
                [*copy, f"docker://{self.repo}:1", f"dir:{into}"],
                ["tar", "--extract", f"--file={into}/{self.layer}", f"--directory={self.target}"],
                sync,
            ]
        # It takes a registry at localhost for one without TLS, unless told otherwise.
        plain = [f"--plain-http={'false' if self.server.tls else 'true'}"]
        image = f"{self.server.endpoint}/files/large:1"
        return [[self.programs["oras"], "pull", "--no-tty", *plain, "--output", str(self.target), image], sync]

    def run(self, tool: str) -> None:
        """One tool once, from an empty directory."""
        shutil.rmtree(self.target, ignore_errors=True)
        self.target.mkdir(parents=True)
        subprocess.run(["sync"], check=True)
        output, plan = WORK / "models-output.txt", WORK / "models-commands.json"
        environment = {"HOME": str(WORK / "home")}
        if self.server.tls:
            environment["SSL_CERT_FILE"] = str(self.server.ca_file)
        plan.write_text(json.dumps({"commands": self.commands(tool), "env": environment, "output": str(output)}))
        requests = len(self.server.requests())
        runner = [sys.executable, "-I", "-S", str(CHECKOUT / "dev" / "bench_run.py"), str(plan)]
        done = subprocess.run(runner, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{done.stdout}{done.stderr}\n{output.read_text()[-2000:]}")
        figures = json.loads(done.stdout)
        time.sleep(0.2)  # the last line of the access log
        number = 1 + sum(1 for one in self.records if (one["tool"], one["tls"]) == (tool, self.server.tls))
        record = {"scenario": "limit" if tool in LIMITS else "place", "tls": self.server.tls, "tool": tool}
        record |= {"round": number, **figures, "requests": len(self.server.requests()) - requests}
        record |= {"bytes": self.size, "bytes_per_second": round(self.size / figures["seconds"])}
        if tool in TOOLS:
            record["same_digests"] = int(self.holds())
        self.records.append(record)
        print(
            f"{tool:8} {'https' if self.server.tls else 'http '} round {number}: {figures['seconds']:6.2f} s,"
            f" {record['bytes_per_second'] / 1e6:6.0f} MB/s, cpu {figures['client_cpu_seconds']:5.2f} s,"
            f" {figures['peak_rss_bytes'] / 2**20:4.0f} MiB, {figures['disk_bytes'] / self.size:.3f} of it written",
            flush=True,
        )

    def holds(self) -> bool:
        """Whether the file is where a reader looks for it, every byte of it."""
        path = next(path for path in (self.target / "large" / NAME, self.target / NAME) if path.is_file())
        with path.open("rb") as stream:
            return "sha256:" + hashlib.file_digest(stream, "sha256").hexdigest() == self.model["files"][0]["digest"]


def make_source(path: Path, size: int) -> str:
    """A file of random bytes, and its digest."""
    path.parent.mkdir(parents=True, exist_ok=True)
    hasher = hashlib.sha256()
    with path.open("wb") as stream:
        for _piece in range(size >> 20):
            piece = os.urandom(1 << 20)
            hasher.update(piece)
            stream.write(piece)
    return "sha256:" + hasher.hexdigest()


def ratios(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Ours against the lowest of the limits, and the peers' time against ours, by the median of the rounds."""
    found = []
    for tls in sorted({record["tls"] for record in records}):
        medians: dict[str, float] = {}
        for tool in LIMITS + TOOLS:
            seconds = [record["seconds"] for record in records if (record["tool"], record["tls"]) == (tool, tls)]
            if seconds:
                medians[tool] = statistics.median(seconds)
        if "airgap" not in medians or not set(LIMITS) <= set(medians):
            continue
        lowest = max(LIMITS, key=lambda tool: medians[tool])
        entry = {"tls": tls, "lowest": lowest, "of_lowest": round(medians[lowest] / medians["airgap"], 3)}
        peers = {tool: round(medians[tool] / medians["airgap"], 2) for tool in TOOLS[1:] if tool in medians}
        found.append({**entry, "seconds": medians, "times_of_ours": peers})
        print(
            f"{'https' if tls else 'http '}: {entry['of_lowest']:.2f} of the lowest limit ({lowest});"
            f" {', '.join(f'{tool} takes {ratio:.2f} of our time' for tool, ratio in peers.items())}"
        )
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tls", choices=("no", "yes", "both"), default="yes")
    parser.add_argument("--mebibytes", type=int, default=2048)
    parser.add_argument("--tool", action="append", choices=LIMITS + TOOLS)
    parser.add_argument("--keep", action="store_true", help="add to the records of the last run")
    args = parser.parse_args()
    tools = args.tool or [*LIMITS, *TOOLS]
    size = args.mebibytes << 20
    programs = {}
    if "skopeo" in tools:
        programs["skopeo"] = str(skopeo())
    oras = str(build_peer("oras"))
    programs["oras"] = oras
    root = WORK / "models"
    shutil.rmtree(root, ignore_errors=True)
    records: list[dict[str, Any]] = json.loads(RESULT.read_text()) if args.keep and RESULT.is_file() else []
    digest = make_source(root / "source" / NAME, size)
    port = free_port()
    conf = root / "rsyncd.conf"
    conf.write_text(f"use chroot = no\nuid = {os.getuid()}\ngid = {os.getgid()}\n[source]\npath = {root}/source\n")
    daemon = subprocess.Popen(
        ["rsync", "--daemon", "--no-detach", f"--config={conf}", "--address=127.0.0.1", f"--port={port}"]
    )
    try:
        for tls in {"no": (False,), "yes": (True,), "both": (False, True)}[args.tls]:
            server = RegistryServer(root / "registry", build_registry(), tls=tls, auth=False)
            server.empty()
            try:
                given = GivenFile(NAME, str(root / "source" / NAME), digest, size)
                ca_file = str(server.ca_file) if tls else None
                with Registry(server.endpoint, ca_file=ca_file, plain_http=not tls) as registry:
                    added = add_model(registry, "large", "1", [given])
                model = {"name": "large", "version": "1", "digest": added.digest, "files": added.files}
                push = [
                    oras,
                    "push",
                    "--no-tty",
                    f"--plain-http={'false' if tls else 'true'}",
                    f"{server.endpoint}/files/large:1",
                ]
                environment = {**os.environ, "SSL_CERT_FILE": str(server.ca_file)}
                subprocess.run([*push, NAME], cwd=root / "source", env=environment, check=True, capture_output=True)
                bench = Bench(
                    root / "source" / NAME, size, server, root / "target", port, programs, model, records
                )  # fmt: skip
                for number in range(args.rounds):
                    # Another one begins each round, so that no place in the order is always the same tool's.
                    shift = number % len(tools)
                    for tool in tools[shift:] + tools[:shift]:
                        bench.run(tool)
                        RESULT.write_text(json.dumps(records, indent=1) + "\n")
            finally:
                server.stop()
    finally:
        daemon.terminate()
        daemon.wait()
        shutil.rmtree(root, ignore_errors=True)
    RESULT.with_name("models-ratios.json").write_text(json.dumps(ratios(records), indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
