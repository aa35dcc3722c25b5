# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`make bench-capacity-live`: the whole capacity module against the sandbox, with simulated nodes and many pods.

Makes 1,000 nodes and 10,000 running pods (both kwok's), asks the module for a manifest of 200 workloads as a process of
its own, from its imports to its answer, and takes everything away again. Writes build/bench/capacity-live.json.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from sandbox.pools import POOL_LABEL
from sandbox.settings import Settings
from tests.live_capacity.api import Api

from .journey import CHECKOUT, Journey

TARGET = CHECKOUT / "build" / "bench" / "capacity-live.json"
STEPS = ["fill", "ask", "empty"]
NAMESPACES = [f"bench-capacity-{number}" for number in range(8)]
LABELS = {"tests.airgap.internal/capacity": "true"}
FAKE = {"key": "kwok.x-k8s.io/node", "operator": "Exists", "effect": "NoSchedule"}
ZONE = "topology.kubernetes.io/zone"

# A module is run by Ansible as a process that reads its arguments and prints JSON; so is this.
RUN = """
import json, sys
sys.path[:0] = [sys.argv[1]]
from ansible.module_utils.testing import patch_module_args
from ansible_collections.airgap.speech.plugins.modules import capacity
with patch_module_args(json.loads(sys.argv[2])):
    capacity.main()
"""


def manifest(workloads: int, pods: int) -> str:
    """Deployments, a third with topology spread, a tenth with required anti-affinity."""
    documents = []
    for number in range(workloads):
        name = f"asked-{number}"
        match = {"labelSelector": {"matchLabels": {"app": name}}}
        spec: dict[str, Any] = {
            "containers": [{"name": "a", "image": "a", "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}}],
            "tolerations": [FAKE],
            "nodeSelector": {"type": "kwok"},
        }
        if number % 3 == 0:
            spread = {"maxSkew": 1, "topologyKey": ZONE, "whenUnsatisfiable": "DoNotSchedule", **match}
            spec["topologySpreadConstraints"] = [spread]
        if number % 10 == 0:
            terms = [{"topologyKey": "kubernetes.io/hostname", **match}]
            spec["affinity"] = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}
        documents.append(
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": name},
                "spec": {
                    "replicas": pods,
                    "selector": {"matchLabels": {"app": name}},
                    "template": {"metadata": {"labels": {"app": name}}, "spec": spec},
                },
            }
        )
    return yaml.safe_dump_all(documents)


def pools(journey: Journey, wanted: list[dict[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "pools.yml"
        file.write_text(yaml.safe_dump(wanted), encoding="utf-8")
        subprocess.run(journey.sandbox_argv("pools", str(file)), cwd=CHECKOUT, check=True)


def fill(api: Api, nodes: list[str], count: int) -> None:
    """Running pods, spread evenly over the nodes; each is bound as it is made."""
    api.namespaces(NAMESPACES, LABELS)
    draw = random.Random(1)  # noqa: S311

    def one(number: int) -> None:
        requests = {"cpu": draw.choice(["50m", "100m", "200m"]), "memory": draw.choice(["32Mi", "64Mi"])}
        container = {"name": "a", "image": "a", "resources": {"requests": requests}}
        metadata = {"name": f"pod-{number}", "namespace": NAMESPACES[number % 8], "labels": {"app": f"r-{number % 97}"}}
        spec = {"nodeName": nodes[number % len(nodes)], "containers": [container], "tolerations": [FAKE]}
        api.must_create([{"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}])

    api.each(one, range(count))


def empty(api: Api) -> None:
    api.each(
        lambda name: api.request("DELETE", api.path("Pod", name), query={"gracePeriodSeconds": "0"}, seconds=600),
        NAMESPACES,
    )
    api.remove("Namespace", "tests.airgap.internal/capacity=true")
    # In few requests: `pools` would ask for the pods of each node, and there are none left.
    api.remove("Node", POOL_LABEL)


def ask(kubeconfig: Path, asked: Path) -> tuple[float, float, int, dict[str, Any]]:
    """Seconds, seconds of the processor, most memory in bytes, and the answer of one run of the module."""
    arguments = {"kubeconfig": str(kubeconfig), "manifest_file": str(asked), "namespace": "bench-asked"}
    argv = [sys.executable, "-c", RUN, str(CHECKOUT / "build" / "collections"), json.dumps(arguments)]
    with tempfile.TemporaryFile() as said:
        begun = time.monotonic()
        process = subprocess.Popen(argv, cwd=CHECKOUT, stdout=said)
        _pid, _status, used = os.wait4(process.pid, 0)
        seconds = time.monotonic() - begun
        said.seek(0)
        answer = json.loads(said.read())
    if answer.get("failed"):
        raise SystemExit(f"bench-capacity-live: {answer['msg']}")
    return seconds, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024, answer


def measure(api: Api, kubeconfig: Path, options: argparse.Namespace) -> None:
    """Ask the module once, and write the figures down."""
    with tempfile.TemporaryDirectory() as scratch:
        asked = Path(scratch) / "manifest.yml"
        asked.write_text(manifest(options.workloads, options.each), encoding="utf-8")
        seconds, cpu, peak, answer = ask(kubeconfig, asked)
    figures = {
        "nodes": answer["nodes"],
        "pods": len(api.list("Pod")),
        "workloads_asked": options.workloads,
        "pods_asked": answer["pods"],
        "seconds": round(seconds, 2),
        "cpu_seconds": round(cpu, 2),
        "peak_rss_bytes": peak,
        "verdict": answer["verdict"],
        "kubernetes": api.version["gitVersion"],
    }
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(figures, indent=2), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--name", default="airgap")
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--pods", type=int, default=10000)
    parser.add_argument("--workloads", type=int, default=200)
    parser.add_argument("--each", type=int, default=10, help="pods of each workload that is asked for")
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=STEPS, help="only these; all of them otherwise")
    options = parser.parse_args()
    journey = Journey(name=options.name)
    kubeconfig = Settings(name=options.name).state / "kubeconfig"
    api = Api(kubeconfig)
    zones = 4
    try:
        if "fill" in options.steps:
            begun = time.monotonic()
            share = options.nodes // zones
            wanted = [
                {"name": f"bench-{zone}", "count": share, "cpu": 8, "memory": "32Gi", "labels": {ZONE: f"zone-{zone}"}}
                for zone in range(zones)
            ]
            pools(journey, wanted)
            names = [f"bench-{zone}-{number}" for number in range(1, share + 1) for zone in range(zones)]
            fill(api, names, options.pods)
            print(f"made in {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
        if "ask" in options.steps:
            measure(api, kubeconfig, options)
    finally:
        if "empty" in options.steps:
            empty(api)
            pools(journey, [])
    return 0


if __name__ == "__main__":
    sys.exit(main())
