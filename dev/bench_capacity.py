# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long a verdict takes, and how much memory: ``make bench-capacity``.

Nodes in three zones, and twenty pods a node of 200 workloads, all of them placed from an empty cluster. A third of the
workloads spread over zones or nodes, a tenth have required anti-affinity. Each size runs in a process of its own; the
clock runs from the objects in memory (as ``json.loads`` gives them) to the verdict. Processor time stands beside it,
for a machine that others use too.
"""

from __future__ import annotations

import json
import os
import random
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CHECKOUT / "build" / "collections"))

from ansible_collections.airgap.speech.plugins.module_utils.kube import capacity

SIZES = (100, 1000, 5000)
PODS_A_NODE = 20
WORKLOADS = 200
SEED = 1
MIB = 2**20


def nodes(count: int) -> list[dict[str, Any]]:
    """Node objects in three zones: every fifth has twice the size, every tenth has GPUs."""
    result = []
    for number in range(count):
        big = number % 5 == 0
        allocatable = {
            "cpu": "64" if big else "32",
            "memory": "256Gi" if big else "128Gi",
            "ephemeral-storage": "500Gi",
            "pods": "110",
        }
        if number % 10 == 0:
            allocatable["nvidia.com/gpu"] = "8"
        labels = {
            "kubernetes.io/hostname": f"node-{number}",
            "kubernetes.io/os": "linux",
            "topology.kubernetes.io/zone": f"zone-{'abc'[number % 3]}",
            "pool": "big" if big else "small",
        }
        metadata = {"name": f"node-{number}", "labels": labels}
        result.append({"kind": "Node", "metadata": metadata, "spec": {}, "status": {"allocatable": allocatable}})
    return result


def workloads(pods: int) -> list[dict[str, Any]]:
    """Deployments with about as many pods as asked in all."""
    draw = random.Random(SEED)  # noqa: S311 - the same workloads each time
    result = []
    for number in range(WORKLOADS):
        name = f"app-{number}"
        labels = {"app": name}
        replicas = pods * (number + 1) // WORKLOADS - pods * number // WORKLOADS
        spec: dict[str, Any] = {
            "containers": [
                {
                    "name": "c",
                    "image": f"registry.example/{name}",
                    "resources": {
                        "requests": {
                            "cpu": f"{draw.choice((100, 250, 500, 1000, 2000))}m",
                            "memory": f"{draw.choice((256, 512, 1024, 4096, 8192))}Mi",
                        }
                    },
                }
            ]
        }
        if number % 3 == 0:
            zone = number % 2 == 0
            key = "topology.kubernetes.io/zone" if zone else "kubernetes.io/hostname"
            spec["topologySpreadConstraints"] = [
                {
                    "maxSkew": 1 if zone else 2,
                    "topologyKey": key,
                    "whenUnsatisfiable": "DoNotSchedule",
                    "labelSelector": {"matchLabels": labels},
                }
            ]
        if number % 10 == 1:
            term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": labels}}
            spec["affinity"] = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
        if number % 10 == 2:
            spec["nodeSelector"] = {"pool": "big"}
        template = {"metadata": {"labels": labels}, "spec": spec}
        result.append(
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": name, "namespace": "bench"},
                "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template},
            }
        )
    return result


def measure(count: int) -> dict[str, Any]:
    """One verdict: seconds, and the most memory that the process took."""
    cluster, manifest = nodes(count), workloads(count * PODS_A_NODE)
    started, worked = time.perf_counter(), time.process_time()
    result = capacity.judge(cluster, manifest, "bench", minor=36)
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - worked
    return {
        "nodes": count,
        "pods": result["pods"],
        "seconds": round(seconds, 3),
        "cpu_seconds": round(cpu_seconds, 3),
        "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "verdict": result["verdict"],
        "exhaustive": result["exhaustive"],
        "orders_tried": result["orders_tried"],
    }


def main() -> None:
    if len(sys.argv) == 2:
        print(json.dumps(measure(int(sys.argv[1]))))
        return
    rows = []
    for count in SIZES:
        command = [sys.executable, "-m", "dev.bench_capacity", str(count)]
        done = subprocess.run(command, cwd=CHECKOUT, env=os.environ, stdout=subprocess.PIPE, text=True, check=True)
        rows.append(json.loads(done.stdout))
        row = rows[-1]
        print(
            f"{row['nodes']:5} nodes, {row['pods']:6} pods: {row['verdict']} in {row['seconds']:.2f} s "
            f"({row['cpu_seconds']:.2f} s of processor time), {row['peak_rss_bytes'] / MIB:.0f} MiB"
        )
    target = CHECKOUT / "build" / "bench" / "capacity.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(rows, indent=2) + "\n")
    print(f"written to {target.relative_to(CHECKOUT)}")


if __name__ == "__main__":
    main()
