# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The simulated GPU nodes and the stand-in for the operator: ... -m tests.scenarios.gpu_operator.cluster up | down.

The nodes are kwok's. What node feature discovery's worker would see on each is written as a NodeFeature, of which
the real master makes labels.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import yaml

from sandbox.cli import existing
from sandbox.pools import apply_pools
from sandbox.run import Steps
from tests.scenarios.way import NAME, Scenario

FOLDER = Path(__file__).parent
NODES: list[dict[str, Any]] = yaml.safe_load((FOLDER / "hardware.yml").read_text())["nodes"]
NAMESPACE = "gpu-operator"
PCI = "feature.node.kubernetes.io/pci-10de.present"
OS = "feature.node.kubernetes.io/system-os_release."


class Refused(Exception):
    """The API server's answer was no success."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status} {text}")
        self.status = status


class Api:
    """Plain requests to the sandbox's API server, with the administrator's credentials."""

    def __init__(self, kubeconfig: str = "") -> None:
        from kubernetes import config

        self._api = config.new_client_from_config(kubeconfig or str(existing(NAME).state / "kubeconfig"))

    def call(self, method: str, path: str, body: Any = None, **query: str) -> dict[str, Any]:
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        headers = {"Accept": "application/json", "Content-Type": kind}
        for setting in self._api.configuration.auth_settings().values():
            if setting.get("in") == "header" and setting.get("value"):
                headers[setting["key"]] = setting["value"]
        url = self._api.configuration.host + path + (f"?{urlencode(query)}" if query else "")
        data = None if body is None else json.dumps(body)
        answer = self._api.rest_client.pool_manager.request(method, url, body=data, headers=headers)
        if answer.status >= 300:
            raise Refused(answer.status, answer.data.decode(errors="replace")[:300])
        decoded: dict[str, Any] = json.loads(answer.data)
        return decoded

    def items(self, path: str, **query: str) -> list[dict[str, Any]]:
        return list(self.call("GET", path, **query)["items"])


def pools(taints: list[Any]) -> list[dict[str, Any]]:
    return [{"name": node["name"].rpartition("-")[0], "taints": taints} for node in NODES]


def feature(node: dict[str, Any]) -> dict[str, Any]:
    """What the worker of node feature discovery says of a node."""
    system = node["system"]
    labels = {
        PCI: "true",
        OS + "ID": system["id"],
        OS + "VERSION_ID": system["version"],
        OS + "VERSION_ID.major": system["version"].partition(".")[0],
        "feature.node.kubernetes.io/kernel-version.full": system["kernel"],
    }
    empty = {"flags": {}, "attributes": {}, "instances": {}}
    return {
        "apiVersion": "nfd.k8s-sigs.io/v1alpha1",
        "kind": "NodeFeature",
        "metadata": {
            "name": node["name"],
            "namespace": NAMESPACE,
            "labels": {"nfd.node.kubernetes.io/node-name": node["name"]},
        },
        "spec": {"labels": labels, "features": empty},
    }


def set_features(nodes: list[dict[str, Any]], ended: threading.Event | None = None) -> None:
    """The NodeFeatures of these nodes, and of no others of ours. Waits for the kind, until `ended`."""
    api, where = Api(), f"/apis/nfd.k8s-sigs.io/v1alpha1/namespaces/{NAMESPACE}/nodefeatures"
    wanted = {node["name"]: feature(node) for node in nodes}
    while True:
        try:
            there = {item["metadata"]["name"]: item for item in api.items(where)}
            for node in NODES:
                name = node["name"]
                if name in there and name not in wanted:
                    api.call("DELETE", f"{where}/{name}")
                elif name in wanted and name not in there:
                    api.call("POST", where, wanted[name])
                elif name in wanted and there[name]["spec"] != wanted[name]["spec"]:
                    api.call("PATCH", f"{where}/{name}", {"spec": wanted[name]["spec"]})
            return
        except Refused as error:
            if error.status != 404 or (ended and ended.is_set()):  # neither the kind nor the namespace is there yet
                raise
            time.sleep(0.5)


def pid_file() -> Path:
    return Scenario("gpu_operator").journey.work / "stand_in.pid"


def up() -> None:
    """Nodes, and the operator's stand-in in the background."""
    down()
    apply_pools(existing(NAME), pools([]), Steps())
    api = Api()
    for node in NODES:
        system = node["system"]
        info = {
            "osImage": system["image"],
            "kernelVersion": system["kernel"],
            "containerRuntimeVersion": "containerd://2.1.4",
        }
        api.call("PATCH", f"/api/v1/nodes/{node['name']}/status", {"status": {"nodeInfo": info}})
    log = (pid_file().parent / "stand_in.log").open("w")
    argv = [sys.executable, "-m", "tests.scenarios.gpu_operator.stand_in"]
    process = subprocess.Popen(argv, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    pid_file().write_text(str(process.pid))


def down() -> None:
    """Neither of them."""
    if pid_file().exists():
        try:
            os.kill(int(pid_file().read_text()), signal.SIGTERM)
        except ProcessLookupError:
            pass
        pid_file().unlink()
    apply_pools(existing(NAME), [], Steps())


def converge() -> None:
    """The playbook on the bastion. Meanwhile the nodes show what NFD's worker would see, once its kind is known."""
    ended = threading.Event()
    with ThreadPoolExecutor(max_workers=1) as pool:
        seen = pool.submit(set_features, NODES, ended)
        try:
            step = Scenario("gpu_operator").playbook("gpu_operator")
        finally:
            ended.set()
        seen.result()
    print(json.dumps(step.summary()))


if __name__ == "__main__":
    {"up": up, "down": down, "converge": converge}[sys.argv[1]]()
