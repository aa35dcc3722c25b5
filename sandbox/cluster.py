# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cluster, from the machine's side: its images, its own objects, and waiting for it."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sandbox.build import Builder, tool_dir
from sandbox.containers import docker
from sandbox.images import BUSYBOX, system_archive, system_image
from sandbox.run import Steps, run, wait_for
from sandbox.settings import ROOT, Settings
from sandbox.units import IMAGES, program

# (tool and Deployment, namespace, manifest)
ADDONS = (
    ("coredns", "kube-system", "coredns"),
    ("local-path-provisioner", "local-path-storage", "local-path"),
    ("metrics-server", "kube-system", "metrics-server"),
)
CONTROL_PLANE_LABEL = "node-role.kubernetes.io/control-plane"


def kubectl(settings: Settings, *argv: str, stdin: bytes | None = None, check: bool = True) -> str:
    command = [str(tool_dir("kubernetes") / "kubectl"), f"--kubeconfig={settings.state / 'kubeconfig'}", *argv]
    return run(command, stdin=stdin, check=check).stdout.decode(errors="replace").strip()


def answers(settings: Settings, path: str) -> bool:
    return kubectl(settings, "get", "--raw", path, "--request-timeout=2s", check=False).startswith("ok")


def objects(settings: Settings, *argv: str) -> list[dict[str, Any]]:
    return list(json.loads(kubectl(settings, "get", *argv, "-o", "json")).get("items", []))


def condition(item: dict[str, Any], kind: str) -> bool:
    found = item.get("status", {}).get("conditions", [])
    return any(entry["type"] == kind and entry["status"] == "True" for entry in found)


def wait_for_api(settings: Settings) -> None:
    hint = f"look at `docker exec {settings.container('control-plane')} journalctl -u kube-apiserver -n 50`"
    wait_for("the API server", lambda: answers(settings, "/readyz"), 120, hint)


def import_images(settings: Settings, node: str, tools: tuple[str, ...], steps: Steps) -> None:
    """System images into containerd of a node that does not have them."""
    ctr = [program("containerd", "ctr"), "-n", "k8s.io", "images"]
    container = settings.container(node)

    def there() -> list[str] | None:
        done = run(["docker", "exec", container, *ctr, "ls", "-q"], check=False)
        return done.stdout.decode().split() if done.returncode == 0 else None

    hint = f"look at `docker exec {container} journalctl -u containerd -n 50`"
    wait_for(f"containerd on {node}", lambda: there() is not None, 60, hint)
    found = there() or []
    missing = [tool for tool in tools if reference(tool) not in found]
    if missing:
        with steps.step(f"images into {node}: {', '.join(missing)}"):
            archives = [f"{IMAGES}/{system_archive(tool, steps).name}" for tool in missing]
            script = 'for archive in "$@"; do ' + " ".join(ctr) + ' import --local "$archive" || exit 1; done'
            docker("exec", container, "sh", "-c", script, "sh", *archives)


def reference(tool: str) -> str:
    return BUSYBOX if tool == "busybox" else system_image(tool)


def manifest(name: str, settings: Settings) -> str:
    """A manifest with this sandbox's values."""
    text = (ROOT / "manifests" / f"{name}.yaml").read_text()
    values = {"RESOLVER": settings.address("resolver"), "DNS_SERVICE": settings.dns_service}

    def value(found: re.Match[str]) -> str:
        word = found.group(1)
        if word.startswith("IMAGE "):
            return reference(word.removeprefix("IMAGE "))
        return str(values[word])

    return re.sub(r"@@(.+?)@@", value, text)


def apply(settings: Settings, steps: Steps) -> None:
    """The objects of the addons, in one go."""
    documents = "\n---\n".join(manifest(file, settings) for _tool, _namespace, file in ADDONS)
    out = kubectl(settings, "apply", "--validate=false", "-f", "-", stdin=documents.encode())
    changed = [line for line in out.splitlines() if not line.endswith(" unchanged")]
    if changed:
        steps.change(f"addons: {len(changed)} objects applied")


def wait_for_nodes(settings: Settings, steps: Steps) -> None:
    def ready() -> bool:
        found = {item["metadata"]["name"]: condition(item, "Ready") for item in objects(settings, "nodes")}
        return all(found.get(node) for node in settings.nodes)

    hint = (
        f"look at `docker exec {settings.container('control-plane')} journalctl -u kubelet -n 50`, and so on each node"
    )
    wait_for("nodes " + ", ".join(settings.nodes), ready, 120, hint)
    labels = {item["metadata"]["name"]: item["metadata"].get("labels", {}) for item in objects(settings, "nodes")}
    if CONTROL_PLANE_LABEL not in labels["control-plane"]:
        kubectl(settings, "label", "node", "control-plane", f"{CONTROL_PLANE_LABEL}=")
        steps.change("control-plane labelled")


def deployments_ready(settings: Settings) -> bool:
    """All Deployments of the addons serve as they are written now."""
    found = {
        (item["metadata"]["namespace"], item["metadata"]["name"]): item
        for item in objects(settings, "deployments", "-A")
    }

    def ready(item: dict[str, Any] | None) -> bool:
        if item is None:
            return False
        status = item.get("status", {})
        current = (
            status.get("observedGeneration") == item["metadata"]["generation"]
            and status.get("replicas") == item["spec"]["replicas"]
        )
        return bool(current and status.get("availableReplicas", 0) >= item["spec"]["replicas"])

    return all(ready(found.get((namespace, tool))) for tool, namespace, _file in ADDONS)


def wait_for_service_account(settings: Settings) -> None:
    """The first pod of a namespace needs its default ServiceAccount."""

    def there() -> bool:
        return bool(kubectl(settings, "-n", "default", "get", "serviceaccount", "default", "-o", "name", check=False))

    wait_for("the default ServiceAccount", there, 60, "look at the controller manager's journal on the control plane")


def ensure_cluster(settings: Settings, builder: Builder, steps: Steps) -> None:
    """All that the cluster holds by itself; what is there already stays."""
    addons = tuple(tool for tool, _namespace, _file in ADDONS)

    def images(node: str) -> None:
        import_images(settings, node, ("pause", "busybox"), steps)
        if node == "control-plane":  # the addons run there
            for tool in addons:
                builder.get(tool)
            import_images(settings, node, addons, steps)

    with ThreadPoolExecutor(max_workers=4) as pool:
        imports = [pool.submit(images, node) for node in settings.nodes]
        wait_for_api(settings)
        wait_for_nodes(settings, steps)
        wait_for_service_account(settings)
        apply(settings, steps)
        for future in imports:
            future.result()
    where = f"look at its pods with KUBECONFIG={settings.state / 'kubeconfig'}"
    wait_for(", ".join(addons), lambda: deployments_ready(settings), 240, where)
    wait_for(
        "the metrics API",
        lambda: metrics_there(settings),
        120,
        "look at `kubectl get apiservice v1beta1.metrics.k8s.io -o yaml`",
    )


def metrics_there(settings: Settings) -> bool:
    return bool(
        kubectl(settings, "get", "--raw", "/apis/metrics.k8s.io/v1beta1/nodes", "--request-timeout=5s", check=False)
    )
