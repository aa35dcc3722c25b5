# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether GPUs can be used, from what the cluster shows: the operator's own word is not enough.

NVIDIA's ClusterPolicy is also `ready` where node feature discovery has labelled no node, and where no node has a GPU.
Objects are dictionaries as the API writes them in JSON.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.airgap.speech.plugins.module_utils import diagnosis
from ansible_collections.airgap.speech.plugins.module_utils.gpu.systems import RESOURCES, has_gpu, has_nfd
from ansible_collections.airgap.speech.plugins.module_utils.preflight import Failure

Object = Mapping[str, Any]

_AGAIN = "run the play again"

# What each reason of the condition means, and what to do (internal/conditions/consts.go of the operator, v26.7).
_REASONS = {
    "NFDLabelsMissing": (
        "says ready, but no node has a label of node feature discovery, so no GPU was looked for",
        "see that the pods node-feature-discovery-worker run on the GPU nodes (image, taints); with "
        "gpu_operator_nfd: false the site's own NFD has to label them",
    ),
    "NoGPUNodes": (
        "says ready, but node feature discovery found no NVIDIA GPU on any node",
        "look with `lspci -d 10de:` on the nodes; a GPU that is not found is not passed through to the machine, "
        "or NFD's worker has no PCI class of it in its whitelist",
    ),
}
_FAILED = (
    # A part of what the operator says, and what to do about it.
    (
        "ImagePull",
        "see that the image is in the registry (playbooks/mirror.yml) and the pull secret is in the namespace",
    ),
    ("OS info", "node feature discovery has not labelled the first GPU node; look at its worker's log there"),
    ("unknown field", "take it out of gpu_operator_values, or use a chart that has it"),
    ("x509", "the certificate of the package repository is not trusted; name its CA in gpu_operator_package_ca_file"),
    ("repository configuration not supported", "use driver mode precompiled or host for that system"),
    ("GPUCluster", "remove the GPUCluster: a cluster can have one or the other"),
)


@dataclass
class State:
    """What was seen: `passed` and `failures` in words, and the GPU nodes with what can be asked of them."""

    failures: list[Failure] = field(default_factory=list)
    passed: list[str] = field(default_factory=list)
    # Name, and the resources of GPUs with their number, such as {"name": "g1", "gpus": {"nvidia.com/gpu": 4}}.
    nodes: list[dict[str, Any]] = field(default_factory=list)

    @property
    def ready(self) -> bool:
        """Whether nothing stands against it."""
        return not self.failures

    def fail(self, thing: str, cause: str, next_step: str) -> None:
        self.failures.append(Failure(thing, cause, next_step))


def judge(
    vendor: str,
    resources: Sequence[Object] | None,
    nodes: Sequence[Object],
    pods: Sequence[Object],
    expected: Iterable[str] = (),
    driver_version: str = "",
    images: Iterable[str] = (),
    replicas: int = 0,
) -> State:
    """Everything together. `resources` are the ClusterPolicies or DeviceConfigs; None where their kind is not known.

    `expected` are nodes that must have a GPU, `driver_version` the one that must run (empty: any),
    `images` the references of the release: a pod with another tag of one of them is of the release before. `replicas`
    is how many pods share each whole GPU (0: any number).
    """
    state = State()
    kind = "ClusterPolicy" if vendor == "nvidia" else "DeviceConfig"
    if resources is None:
        state.fail(kind, "is unknown to the cluster: the operator's CRDs are not there", "deploy the operator first")
        return state
    if not resources:
        state.fail(kind, "there is none", "set clusterPolicy.deployCR or crds.defaultCR.install, and " + _AGAIN)
    elif vendor == "nvidia":
        _check_policy(state, resources, pods)
    else:
        for resource in resources:
            _check_device_config(state, resource)
    gpu_nodes = _check_nodes(state, vendor, nodes, list(expected))
    for node in gpu_nodes:
        if vendor == "nvidia":
            _check_nvidia_node(state, node, driver_version, replicas)
        else:
            _check_amd_node(state, node)
    if vendor == "nvidia":
        _check_validators(state, gpu_nodes, pods)
    _check_pods(state, pods)
    _check_images(state, pods, set(images))
    return state


def _check_policy(state: State, policies: Sequence[Object], pods: Sequence[Object]) -> None:
    if len(policies) > 1:
        names = ", ".join(sorted(_name(policy) for policy in policies))
        state.fail(
            "ClusterPolicy", f"there are {len(policies)} ({names}), and the oldest alone counts", "remove the others"
        )
    policy = min(policies, key=lambda item: ((item.get("metadata") or {}).get("creationTimestamp") or "", _name(item)))
    thing = f"ClusterPolicy {_name(policy)}"
    status = policy.get("status") or {}
    said = str(status.get("state") or "")
    ready = _condition(status, "Ready")
    error = _condition(status, "Error")
    told = error if error.get("status") == "True" else ready
    reason, message = str(told.get("reason") or ""), " ".join(str(told.get("message") or "").split())
    if reason in _REASONS:
        state.fail(thing, *_REASONS[reason])
        return
    if said == "ready" and ready.get("status") == "True" and reason == "Reconciled":
        state.passed.append(f"{thing} is ready, reason Reconciled")
        return
    if not said and not reason:
        state.fail(
            thing, "the operator has not said anything about it", "look at the pod of the Deployment gpu-operator"
        )
        return
    cause = f"state {said or 'not set'}, reason {reason or 'not set'}" + (f": {message}" if message else "")
    state.fail(thing, cause, _remedy(cause + " " + " ".join(_unready(pods))))


def _remedy(text: str) -> str:
    for part, step in _FAILED:
        if part in text:
            return step
    return "look at the pods that are named here, and at the operator's log"


def _check_device_config(state: State, config: Object) -> None:
    thing = f"DeviceConfig {_name(config)}"
    status = config.get("status") or {}
    for condition in status.get("conditions") or []:
        if condition.get("type") == "Error" and condition.get("status") == "True":
            state.fail(
                thing, str(condition.get("message") or condition.get("reason")), "correct its spec, and " + _AGAIN
            )
    parts = {name: status.get(name) or {} for name in ("driver", "devicePlugin", "metricsExporter", "configManager")}
    if int(parts["devicePlugin"].get("nodesMatchingSelectorNumber") or 0) == 0:
        state.fail(
            thing,
            "its selector matches no node, so that nothing was deployed",
            "see that node feature discovery has labelled the GPU nodes with feature.node.kubernetes.io/amd-gpu=true",
        )
        return
    for name, part in parts.items():
        desired, available = int(part.get("desiredNumber") or 0), int(part.get("availableNumber") or 0)
        if available < desired:
            state.fail(
                thing, f"{name}: {available} of {desired} pods are available", "look at the pods that are named here"
            )
    if not state.failures:
        state.passed.append(f"{thing}: all pods of its parts are available")


def _check_nodes(state: State, vendor: str, nodes: Sequence[Object], expected: list[str]) -> list[Object]:
    found = [node for node in nodes if has_gpu(_labels(node), vendor)]
    if nodes and not any(has_nfd(_labels(node)) for node in nodes):
        state.fail("nodes", "none has a label of node feature discovery", _REASONS["NFDLabelsMissing"][1])
    elif not found:
        state.fail(
            "nodes",
            f"none has a label of a GPU of {vendor}",
            _REASONS["NoGPUNodes"][1] if vendor == "nvidia" else _AGAIN,
        )
    names = {_name(node) for node in found}
    there = {_name(node) for node in nodes}
    for name in expected:
        if name not in there:
            state.fail(f"node {name}", "is in gpu_nodes and not in the cluster", "join it, or take it out of gpu_nodes")
        elif name not in names and found:
            state.fail(
                f"node {name}",
                f"is in gpu_nodes, and node feature discovery found no GPU of {vendor} there",
                "look with lspci on the node, and at the NFD worker's log there, or take it out of gpu_nodes",
            )
    return found


def _check_nvidia_node(state: State, node: Object, driver_version: str, replicas: int) -> None:
    labels, thing = _labels(node), f"node {_name(node)}"
    if labels.get("nvidia.com/gpu.deploy.operands") == "false":
        state.passed.append(f"{thing} is left out by its label nvidia.com/gpu.deploy.operands=false")
        return
    count = labels.get("nvidia.com/gpu.count")
    if count is None:
        state.fail(
            thing,
            "has a GPU and no label nvidia.com/gpu.count: GPU feature discovery has not seen it",
            "look at the driver's pod on the node first, then at gpu-feature-discovery's",
        )
        return
    product = labels.get("nvidia.com/gpu.product", "GPU")
    if product.endswith("MIG-INVALID"):
        state.fail(
            thing,
            f"MIG strategy single, and its GPUs are not all divided alike ({product})",
            "set nvidia.com/mig.config to one profile for all GPUs of the node, or gpu_operator_mig_strategy to mixed",
        )
        return
    division = labels.get("nvidia.com/mig.config.state", "success")
    if division != "success":
        state.fail(
            thing,
            f"its GPUs are to be divided as {labels.get('nvidia.com/mig.config', 'the default')}, "
            f"and the state of that is {division}",
            "look at the log of nvidia-mig-manager on the node; a division waits until no pod uses the GPU",
        )
    wanted = _wanted_gpus(labels)
    shared_by = _replicas(labels, "nvidia.com/gpu")
    # A node with a configuration of its own shares as that says; slices have their own numbers.
    whole = "nvidia.com/gpu" in wanted and "nvidia.com/device-plugin.config" not in labels
    if replicas and whole and shared_by != replicas:
        state.fail(
            thing,
            f"each GPU is for {shared_by} pods in turns by its labels, and {replicas} is wanted",
            "the device plugin takes a new configuration within a minute; look at its log on the node",
        )
    allocatable = _allocatable(node)
    gpus = {name: number for name, number in allocatable.items() if name.startswith("nvidia.com/") and number > 0}
    for resource, number in wanted.items():
        shared = f"{resource}.shared"
        has = allocatable.get(shared, 0) if shared in allocatable else allocatable.get(resource, 0)
        if has != number:
            state.fail(
                thing,
                f"{resource}: its labels say {number} and {has} can be asked for",
                "look at the log of nvidia-device-plugin-daemonset on the node; a GPU that failed is left out of these",
            )
    _check_driver(state, thing, labels, driver_version)
    if wanted and not any(failure.thing == thing for failure in state.failures):
        told = ", ".join(f"{number} {resource}" for resource, number in wanted.items())
        state.passed.append(f"{thing}: {product}, {told}, driver {_driver(labels) or 'unknown'}")
    state.nodes.append({"name": _name(node), "product": product, "gpus": gpus})


def _wanted_gpus(labels: Mapping[str, str]) -> dict[str, int]:
    """What the labels of GPU feature discovery say that can be asked for, by resource.

    With MIG strategy mixed, `gpu.count` counts divided GPUs too, so only the slices tell.
    """
    slices = {
        key[: -len(".count")]: _number(value) * _replicas(labels, key[: -len(".count")])
        for key, value in labels.items()
        if key.startswith("nvidia.com/mig-") and key.endswith(".count")
    }
    if slices:
        return slices
    return {"nvidia.com/gpu": _number(labels.get("nvidia.com/gpu.count")) * _replicas(labels, "nvidia.com/gpu")}


def _replicas(labels: Mapping[str, str], resource: str) -> int:
    return max(_number(labels.get(f"{resource}.replicas", "1")), 1)


def _driver(labels: Mapping[str, str]) -> str:
    full = labels.get("nvidia.com/cuda.driver-version.full", "")
    old = [labels.get(f"nvidia.com/cuda.driver.{part}", "") for part in ("major", "minor", "rev")]
    return full or ".".join(part for part in old if part)


def _check_driver(state: State, thing: str, labels: Mapping[str, str], wanted: str) -> None:
    runs = _driver(labels)
    if wanted and runs and runs != wanted and not runs.startswith(wanted + "."):
        state.fail(
            thing,
            f"driver {runs} runs, and {wanted} is wanted",
            "an upgrade waits for pods that use the GPU: see the label nvidia.com/gpu-driver-upgrade-state of the node",
        )


def _check_amd_node(state: State, node: Object) -> None:
    labels, thing = _labels(node), f"node {_name(node)}"
    has = _allocatable(node).get(RESOURCES["amd"], 0)
    counts = [_number(value) for key, value in labels.items() if key.startswith("beta.amd.com/gpu.device-id.")]
    if counts and has != sum(counts):
        state.fail(
            thing,
            f"amd.com/gpu: its labels say {sum(counts)} and {has} can be asked for",
            "look at the log of the device plugin on the node",
        )
    elif has == 0:
        state.fail(thing, "has a GPU, and none can be asked for", "see with `lsmod` that amdgpu is loaded on the node")
    else:
        state.passed.append(f"{thing}: {has} amd.com/gpu")
    state.nodes.append({"name": _name(node), "product": "GPU", "gpus": {RESOURCES["amd"]: has}})


def _check_validators(state: State, gpu_nodes: Sequence[Object], pods: Sequence[Object]) -> None:
    for node in gpu_nodes:
        name = _name(node)
        if _labels(node).get("nvidia.com/gpu.deploy.operands") == "false":
            continue
        here = [pod for pod in pods if (pod.get("spec") or {}).get("nodeName") == name]
        ready = [pod for pod in here if _app(pod) == "nvidia-operator-validator" and diagnosis.is_ready(dict(pod))]
        cuda = [pod for pod in here if _app(pod) == "nvidia-cuda-validator"]
        done = [pod for pod in cuda if (pod.get("status") or {}).get("phase") == "Succeeded"]
        if not ready:
            state.fail(
                f"node {name}",
                "no pod nvidia-operator-validator is ready there",
                "its first init container that waits names what lacks: driver, toolkit, cuda or plugin",
            )
        elif not done:
            state.fail(
                f"node {name}",
                "no pod nvidia-cuda-validator has succeeded there",
                "read its log: CUDA's first program failed",
            )
        else:
            state.passed.append(f"node {name}: the operator's validation is done, CUDA's program among it")


def _check_pods(state: State, pods: Sequence[Object]) -> None:
    for text in _unready(pods):
        state.fail("pod " + text.partition(": ")[0], text.partition(": ")[2], _remedy(text))


def _check_images(state: State, pods: Sequence[Object], images: set[str]) -> None:
    known = {_repository(image) for image in images}
    for pod in pods:
        spec = pod.get("spec") or {}
        named = [str(part.get("image")) for key in ("initContainers", "containers") for part in spec.get(key) or []]
        for image in sorted(set(named)):
            if _repository(image) in known and image not in images:
                state.fail(
                    f"pod {_name(pod)}",
                    f"runs {image}, which is not of the release that was deployed",
                    "the operator replaces it; a driver's pod only once no pod on its node uses a GPU",
                )


def _repository(image: str) -> str:
    head, slash, tail = image.partition("@")[0].rpartition("/")
    return head + slash + tail.partition(":")[0]


def _unready(pods: Sequence[Object]) -> list[str]:
    return [
        f"{_name(pod)}: {'; '.join(diagnosis.reasons(dict(pod)))}" for pod in pods if not diagnosis.is_ready(dict(pod))
    ]


def _condition(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    for condition in status.get("conditions") or []:
        if condition.get("type") == kind:
            found: Mapping[str, Any] = condition
            return found
    return {}


def _name(item: Object) -> str:
    return str((item.get("metadata") or {}).get("name") or "")


def _labels(item: Object) -> dict[str, str]:
    return dict((item.get("metadata") or {}).get("labels") or {})


def _app(pod: Object) -> str:
    return _labels(pod).get("app", "")


def _allocatable(node: Object) -> dict[str, int]:
    found = (node.get("status") or {}).get("allocatable") or {}
    return {name: _number(value) for name, value in found.items() if "/" in name}


def _number(text: Any) -> int:
    return int(text) if str(text or "").isdigit() else 0
