# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stands for NVIDIA's operator, its operands and the GPUs: reconciles the ClusterPolicy as the operator v26.7 does.

It acts while the Deployment gpu-operator is available. From the policy's triples it makes the DaemonSets, labels nodes,
and writes state and conditions with the operator's reasons. In place of the operands it does what they would: labels of
GPU feature discovery, GPUs that can be asked for, the pods of the validation. It refuses fields that the real
ClusterPolicy has not (fields.txt). Annotations of nodes cause faults: stand-in/broken-gpus (how many), and
stand-in/cuda-fails (cuda-validator or vector-add).
"""

from __future__ import annotations

import sys
import time
from typing import Any

import yaml

from tests.scenarios.gpu_operator.cluster import FOLDER, NAMESPACE, NODES, OS, PCI, Api, Refused

FIELDS = [line for line in (FOLDER / "fields.txt").read_text().splitlines() if not line.startswith("#")]
HARDWARE = {node["name"]: node for node in NODES}
CORE, APPS = f"/api/v1/namespaces/{NAMESPACE}", f"/apis/apps/v1/namespaces/{NAMESPACE}"
POLICIES = "/apis/nvidia.com/v1/clusterpolicies"
DEPLOY = "nvidia.com/gpu.deploy."
MAJOR_ONLY = ("ol", "rocky", "rhel")
# State, section of the policy, DaemonSet, and what it selects nodes by: assets/ of the operator.
STATES = (
    ("state-container-toolkit", "toolkit", "nvidia-container-toolkit-daemonset", "container-toolkit"),
    ("state-operator-validation", "validator", "nvidia-operator-validator", "operator-validator"),
    ("state-device-plugin", "devicePlugin", "nvidia-device-plugin-daemonset", "device-plugin"),
    ("state-dcgm", "dcgm", "nvidia-dcgm", "dcgm"),
    ("state-dcgm-exporter", "dcgmExporter", "nvidia-dcgm-exporter", "dcgm-exporter"),
    ("gpu-feature-discovery", "gfd", "gpu-feature-discovery", "gpu-feature-discovery"),
    ("state-mig-manager", "migManager", "nvidia-mig-manager", "mig-manager"),
)


class ReconcileError(Exception):
    """What the operator says with the reason ReconcileFailed."""


def unknown_fields(tree: Any, path: str = "") -> list[str]:
    """Fields of a spec that are not in fields.txt."""
    if isinstance(tree, dict) and tree:
        if path and path + "*" in FIELDS:
            return []
        return [name for key, value in tree.items() for name in unknown_fields(value, f"{path}.{key}".lstrip("."))]
    known = path in FIELDS or path + "*" in FIELDS or any(field.startswith(path + ".") for field in FIELDS)
    return [] if known else [path]


def os_tag(labels: dict[str, str]) -> str:
    identity, version = labels.get(OS + "ID"), labels.get(OS + "VERSION_ID")
    if not identity or not version:
        raise ReconcileError("failed to retrieve GPU node OS info: unable to retrieve OS name from label " + OS + "ID")
    return identity + (version.split(".")[0] if identity in MAJOR_ONLY else version)


class StandIn:
    """One pass after the other over the cluster."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.nodes: dict[str, dict[str, Any]] = {}

    def run(self) -> None:
        while True:
            try:
                self.step()
            except Refused as error:
                print(error, flush=True)
            time.sleep(1)

    def step(self) -> None:
        self.nodes = {item["metadata"]["name"]: item for item in self.api.items("/api/v1/nodes")}
        self.act_as_gpu()
        try:
            deployment = self.api.call("GET", f"{APPS}/deployments/gpu-operator")
            policies = self.api.items(POLICIES)
        except Refused as error:
            if error.status != 404:
                raise
            return
        if not deployment.get("status", {}).get("availableReplicas") or not policies:
            return
        policy = policies[0]
        has_nfd = any(
            key.startswith("feature.node.kubernetes.io/") for n in self.nodes.values() for key in self.labels(n)
        )
        gpu_nodes = [node for node in self.nodes.values() if self.labels(node).get(PCI) == "true"]
        try:
            waiting = self.reconcile(policy, gpu_nodes)
        except ReconcileError as error:
            self.say(policy, "notReady", "ReconcileFailed", str(error), ready=False)
            return
        if waiting:
            message = f"ClusterPolicy is not ready; states not ready: [{' '.join(waiting)}]"
            self.say(policy, "notReady", "OperandNotReady", message, ready=False)
        elif not has_nfd:
            self.say(policy, "ready", "NFDLabelsMissing", "No NFD labels found", ready=True)
        elif not gpu_nodes:
            self.say(policy, "ready", "NoGPUNodes", "No GPU node found, watching for new nodes to join.", ready=True)
        else:
            self.say(
                policy, "ready", "Reconciled", "ClusterPolicy is ready as all resources are reconciled", ready=True
            )

    def reconcile(self, policy: dict[str, Any], gpu_nodes: list[dict[str, Any]]) -> list[str]:
        """Make what the policy asks for; returns the states that are not ready."""
        spec = policy["spec"]
        unknown = unknown_fields(spec)
        if unknown:
            raise ReconcileError(f"error validating clusterpolicy: unknown field spec.{unknown[0]}")
        for node in gpu_nodes:
            self.label(node, {"nvidia.com/gpu.present": "true"} | self.deploy_labels(node, spec))
        wanted: dict[str, tuple[str, dict[str, Any], dict[str, str]]] = {}
        if gpu_nodes and spec["driver"].get("enabled", True):
            for name, image, selector in self.drivers(spec, gpu_nodes):
                wanted[name] = (
                    "state-driver",
                    self.daemon_set(policy, name, image, spec["driver"], selector),
                    selector,
                )
        for state, section, name, deploy in STATES:
            part = spec.get(section, {})
            if gpu_nodes and part.get("enabled", True):
                selector = {f"{DEPLOY}{deploy}": "true"}
                wanted[name] = (state, self.daemon_set(policy, name, self.image(part), part, selector), selector)
        there = {
            item["metadata"]["name"]: item
            for item in self.api.items(f"{APPS}/daemonsets", labelSelector="made-by=stand-in")
        }
        waiting = []
        for name, (state, document, _selector) in wanted.items():
            if name not in there:
                self.api.call("POST", f"{APPS}/daemonsets", document)
            elif there[name]["metadata"]["annotations"]["made-of"] != document["metadata"]["annotations"]["made-of"]:
                self.api.call("PUT", f"{APPS}/daemonsets/{name}", document)
            status = there.get(name, {}).get("status", {})
            generation = there.get(name, {}).get("metadata", {}).get("generation")
            ready = name in there and status.get("observedGeneration") == generation
            ready = ready and status.get("numberReady", 0) == status.get("desiredNumberScheduled", -1)
            ready = ready and status.get("updatedNumberScheduled", 0) == status.get("desiredNumberScheduled", -1)
            if not ready and state not in waiting:
                waiting.append(state)
        for name in set(there) - set(wanted):
            self.api.call("DELETE", f"{APPS}/daemonsets/{name}")
        self.operands(spec, gpu_nodes)
        return waiting

    def drivers(self, spec: dict[str, Any], gpu_nodes: list[dict[str, Any]]) -> list[tuple[str, str, dict[str, str]]]:
        """Name, image and selector of the driver's DaemonSets: one for all, or by a NVIDIADriver one a system."""
        driver, base = spec["driver"], {f"{DEPLOY}driver": "true"}
        for kind in ("repoConfig", "certConfig"):
            name = driver.get(kind, {}).get("configMapName") or driver.get(kind, {}).get("name")
            if name:
                try:
                    self.api.call("GET", f"{CORE}/configmaps/{name}")
                except Refused:
                    raise ReconcileError(f'Failed to reconcile state-driver: ConfigMap "{name}" not found') from None
        found: dict[str, tuple[str, str, dict[str, str]]] = {}
        first = os_tag(self.labels(gpu_nodes[0]))
        for node in gpu_nodes:
            labels = self.labels(node)
            tag = os_tag(labels) if driver.get("useNvidiaDriverCRD") else first
            kernel = labels.get("feature.node.kubernetes.io/kernel-version.full", "")
            middle = f"-{kernel}" if driver.get("usePrecompiled") else ""
            selector = dict(base)
            if driver.get("useNvidiaDriverCRD"):
                # One pool for all releases of these (internal/state/nodepool.go).
                version = "VERSION_ID.major" if labels[OS + "ID"] in MAJOR_ONLY else "VERSION_ID"
                selector |= {OS + key: labels[OS + key] for key in ("ID", version)}
            if middle:
                selector["feature.node.kubernetes.io/kernel-version.full"] = kernel
            parts = ["nvidia", "driver", "daemonset"] + ([tag] if driver.get("useNvidiaDriverCRD") else [])
            name = "-".join(parts + ([kernel.replace("_", "-")] if middle else [])).replace("_", "-")
            found[name] = (name, f"{self.image(driver)}{middle}-{tag}", selector)
        return list(found.values())

    @staticmethod
    def image(part: dict[str, Any]) -> str:
        return f"{part['repository']}/{part['image']}:{part['version']}"

    @staticmethod
    def labels(node: dict[str, Any]) -> dict[str, str]:
        return node["metadata"].get("labels") or {}

    def deploy_labels(self, node: dict[str, Any], spec: dict[str, Any]) -> dict[str, str]:
        names = ["driver", *(deploy for _s, _p, _n, deploy in STATES if deploy != "mig-manager")]
        if HARDWARE.get(node["metadata"]["name"], {}).get("slices"):
            names.append("mig-manager")
        return {f"{DEPLOY}{name}": "true" for name in names}

    def daemon_set(
        self, policy: dict[str, Any], name: str, image: str, part: dict[str, Any], selector: dict[str, str]
    ) -> dict[str, Any]:
        owner = {"apiVersion": "nvidia.com/v1", "kind": "ClusterPolicy", "controller": True}
        owner |= {key: policy["metadata"][key] for key in ("name", "uid")}
        pod = {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "nodeSelector": selector,
            "tolerations": policy["spec"]["daemonsets"]["tolerations"],
            "imagePullSecrets": [{"name": secret} for secret in part.get("imagePullSecrets") or []],
            "containers": [{"name": "main", "image": image, "command": ["sleep", "1000000"]}],
        }
        return {
            "metadata": {
                "name": name,
                "labels": {"made-by": "stand-in"},
                "annotations": {"made-of": yaml.safe_dump(pod)},
                "ownerReferences": [owner],
            },
            "spec": {
                "selector": {"matchLabels": {"app": name}},
                "template": {"metadata": {"labels": {"app": name, "made-by": "stand-in"}}, "spec": pod},
            },
        }

    def operands(self, spec: dict[str, Any], gpu_nodes: list[dict[str, Any]]) -> None:
        """What the operands would do on their nodes, once their pods are ready there."""
        pods = self.api.items(f"{CORE}/pods")
        ready: dict[str, set[str]] = {}
        for pod in pods:
            conditions = {item["type"]: item["status"] for item in pod["status"].get("conditions", [])}
            if conditions.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]:
                ready.setdefault(pod["spec"].get("nodeName", ""), set()).add(pod["metadata"]["labels"].get("app", ""))
        validators = {
            pod["spec"].get("nodeName")
            for pod in pods
            if pod["metadata"]["labels"].get("app") == "nvidia-cuda-validator"
        }
        for node in gpu_nodes:
            name = node["metadata"]["name"]
            runs, hardware = ready.get(name, set()), HARDWARE.get(name, HARDWARE["t4-1"])
            replicas = self.replicas(spec)
            if "gpu-feature-discovery" in runs:
                self.label(node, self.gfd_labels(hardware, spec, replicas))
            if "nvidia-device-plugin-daemonset" in runs:
                self.offer(node, hardware, replicas)
            if "nvidia-operator-validator" in runs and name not in validators:
                self.validate(name, spec["validator"])

    def replicas(self, spec: dict[str, Any]) -> int:
        config = spec["devicePlugin"].get("config") or {}
        if not config.get("name") or not config.get("default"):
            return 1
        data = self.api.call("GET", f"{CORE}/configmaps/{config['name']}")["data"]
        sharing = yaml.safe_load(data[config["default"]]).get("sharing", {}).get("timeSlicing", {})
        return int(next((item["replicas"] for item in sharing.get("resources", [])), 1))

    @staticmethod
    def gfd_labels(hardware: dict[str, Any], spec: dict[str, Any], replicas: int) -> dict[str, str]:
        major, _dot, minor = hardware["compute"].partition(".")
        labels = {
            "gpu.count": str(hardware["count"]),
            "gpu.product": hardware["product"] + ("-SHARED" if replicas > 1 else ""),
            "gpu.memory": str(hardware["memory"]),
            "gpu.compute.major": major,
            "gpu.compute.minor": minor,
            "gpu.replicas": str(replicas),
            "mig.strategy": spec["mig"]["strategy"],
            "cuda.driver-version.full": spec["driver"]["version"]
            if spec["driver"].get("enabled", True)
            else "580.95.05",
        }
        for profile, count in (hardware.get("slices") or {}).items():
            labels[f"mig-{profile}.count"] = str(count)
        return {"nvidia.com/" + key: value for key, value in labels.items()}

    def offer(self, node: dict[str, Any], hardware: dict[str, Any], replicas: int) -> None:
        """Capacity, as the kubelet shows it once the device plugin has spoken."""
        broken = int((node["metadata"].get("annotations") or {}).get("stand-in/broken-gpus", "0"))
        gpus = {"nvidia.com/gpu": (hardware["count"] - broken) * replicas}
        if hardware.get("slices"):
            gpus = {"nvidia.com/gpu": 0} | {f"nvidia.com/mig-{name}": n for name, n in hardware["slices"].items()}
        wanted = {name: str(number) for name, number in gpus.items()}
        has = node["status"].get("allocatable") or {}
        if any(has.get(name) != number for name, number in wanted.items()):
            self.api.call(
                "PATCH",
                f"/api/v1/nodes/{node['metadata']['name']}/status",
                {"status": {"capacity": wanted, "allocatable": wanted}},
            )

    def validate(self, node: str, validator: dict[str, Any]) -> None:
        """The pod with CUDA's first program."""
        self.api.call(
            "POST",
            f"{CORE}/pods",
            {
                "metadata": {"generateName": "nvidia-cuda-validator-", "labels": {"app": "nvidia-cuda-validator"}},
                "spec": {
                    "nodeName": node,
                    "restartPolicy": "Never",
                    "imagePullSecrets": [{"name": name} for name in validator.get("imagePullSecrets") or []],
                    "containers": [{"name": "main", "image": self.image(validator), "command": ["vectorAdd"]}],
                },
            },
        )

    def act_as_gpu(self) -> None:
        """Pods that compute end on simulated nodes too, well or not."""
        for app in ("app=nvidia-cuda-validator", "app.kubernetes.io/name=airgap-vector-add"):
            for pod in self.api.items(f"{CORE}/pods", labelSelector=app):
                node = self.nodes.get(pod["spec"].get("nodeName", ""))
                if node is None or self.labels(node).get("type") != "kwok" or pod["status"].get("phase") != "Running":
                    continue
                fault = (node["metadata"].get("annotations") or {}).get("stand-in/cuda-fails", "nothing")
                phase = "Failed" if fault in app else "Succeeded"
                name = pod["metadata"]["name"]
                self.api.call("PATCH", f"{CORE}/pods/{name}/status", {"status": {"phase": phase}})

    def label(self, node: dict[str, Any], labels: dict[str, str]) -> None:
        if any(self.labels(node).get(key) != value for key, value in labels.items()):
            self.api.call("PATCH", f"/api/v1/nodes/{node['metadata']['name']}", {"metadata": {"labels": labels}})

    def say(self, policy: dict[str, Any], state: str, reason: str, message: str, *, ready: bool) -> None:
        """State and conditions, as the operator's updater writes them."""
        pairs = [("Ready", ready, reason if ready else "Error"), ("Error", not ready, "Ready" if ready else reason)]
        conditions = [
            {"type": kind, "status": str(value), "reason": why, "message": message if value else ""}
            for kind, value, why in pairs
        ]
        status = {"state": state, "namespace": NAMESPACE, "conditions": conditions}
        if policy.get("status") != status:
            print(state, reason, message, flush=True)
            name = policy["metadata"]["name"]
            body = {**policy, "status": status}
            self.api.call("PUT", f"{POLICIES}/{name}/status", body)


if __name__ == "__main__":
    sys.exit(StandIn(Api()).run())
