# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of the nodes: certificates, kubeconfigs, and the configuration of kubelet, kube-proxy and CNI."""

from __future__ import annotations

import base64
import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from sandbox import units
from sandbox.containers import File
from sandbox.pki import Authority, key_bytes, new_key, public_bytes, write_private
from sandbox.settings import CLUSTER_DOMAIN, ROOT, Settings

GIB = 1024**3
SANDBOX_PROGRAMS = {
    "containerd": ["containerd", "containerd-shim-runc-v2", "ctr"],
    "kubernetes": ["kubelet", "kubectl"],
}


def pki_dir(settings: Settings) -> Path:
    return settings.state / "pki"


def ensure_pki(settings: Settings) -> None:
    """All certificates of the cluster; those that are there stay."""
    directory = pki_dir(settings)
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    cluster = Authority(directory, "ca")
    etcd = Authority(directory, "etcd-ca")
    front = Authority(directory, "front-proxy-ca")
    control = "control-plane"
    own = [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        f"kubernetes.default.svc.{CLUSTER_DOMAIN}",
        "localhost",
    ]
    own += [control, settings.fqdn(control), "127.0.0.1", str(settings.address(control)), str(settings.api_service)]
    cluster.issue("apiserver", "kube-apiserver", hosts=own)
    etcd.issue("etcd-server", "etcd-server", hosts=["localhost", "127.0.0.1"])
    etcd.issue("etcd-client", "kube-apiserver-etcd-client")
    front.issue("front-proxy-client", "front-proxy-client")
    for file, name, group in (
        ("apiserver-kubelet-client", "kube-apiserver-kubelet-client", "system:masters"),
        ("admin", "kubernetes-admin", "system:masters"),
        ("kwok", "kwok", "system:masters"),
        ("controller-manager", "system:kube-controller-manager", None),
        ("scheduler", "system:kube-scheduler", None),
        ("kube-proxy", "system:kube-proxy", None),
    ):
        cluster.issue(file, name, group)
    for node in settings.nodes:
        cluster.issue(f"kubelet-{node}", f"system:node:{node}", "system:nodes")
        cluster.issue(
            f"kubelet-server-{node}", node, "system:nodes", [node, settings.fqdn(node), str(settings.address(node))]
        )
    if not (directory / "sa.pub").exists():
        key = new_key()
        write_private(directory / "sa.key", key_bytes(key))
        write_private(directory / "sa.pub", public_bytes(key), 0o644)


def kubeconfig(settings: Settings, certificate: str, server: str) -> bytes:
    def data(file: str) -> str:
        return base64.b64encode((pki_dir(settings) / file).read_bytes()).decode()

    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": settings.name, "cluster": {"server": server, "certificate-authority-data": data("ca.crt")}}
        ],
        "users": [
            {
                "name": certificate,
                "user": {
                    "client-certificate-data": data(f"{certificate}.crt"),
                    "client-key-data": data(f"{certificate}.key"),
                },
            }
        ],
        "contexts": [{"name": settings.name, "context": {"cluster": settings.name, "user": certificate}}],
        "current-context": settings.name,
    }
    return yaml.safe_dump(config, sort_keys=False).encode()


@cache
def machine_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def reserved(settings: Settings, node: str, memory: int, cores: int) -> dict[str, str]:
    """What a node does not offer: all nodes stand on one machine, so that each shall offer its share of it."""
    whole = memory // GIB
    if node == "control-plane":
        offered, cpu = max(1, min(2, whole // 6)), max(0, cores - 1)
    else:
        offered, cpu = max(2, min(16, int(whole * 0.6) // settings.workers)), 0
    return {"cpu": str(cpu), "memory": f"{max(0, memory - offered * GIB) // 1024**2}Mi"}


def kubelet_config(settings: Settings, node: str) -> bytes:
    config: dict[str, Any] = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{units.PKI}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{units.PKI}/kubelet-server.crt",
        "tlsPrivateKeyFile": f"{units.PKI}/kubelet-server.key",
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": False,
        "failSwapOn": False,
        "enforceNodeAllocatable": ["none"],
        "systemReserved": reserved(settings, node, machine_memory(), os.cpu_count() or 1),
        # The disk is the machine's: the engine's own limits are for it, not for one node.
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1Gi", "imagefs.available": "1Gi"},
        "imageGCHighThresholdPercent": 100,
        "clusterDNS": [str(settings.dns_service)],
        "clusterDomain": CLUSTER_DOMAIN,
        "resolvConf": "/etc/resolv.conf",
        "serializeImagePulls": False,
        "rotateCertificates": False,
    }
    if node == "control-plane":
        config["registerWithTaints"] = [{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}]
    return yaml.safe_dump(config, sort_keys=False).encode()


def proxy_config(settings: Settings, node: str) -> bytes:
    config = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": "/etc/kubernetes/kube-proxy.conf"},
        "mode": "nftables",
        "clusterCIDR": str(settings.pods),
        "hostnameOverride": node,
        # These settings are the machine's, not a container's.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }
    return yaml.safe_dump(config, sort_keys=False).encode()


def cni_config(settings: Settings, node: str) -> bytes:
    """Pods have addresses of the inside network; the node answers for its own (proxy ARP, see files/entry.sh)."""
    ranges = [[{"subnet": str(settings.pod_range(node))}]]
    ipam = {"type": "host-local", "dataDir": "/run/cni-addresses", "ranges": ranges, "routes": [{"dst": "0.0.0.0/0"}]}
    plugins = [
        {"type": "ptp", "ipMasq": False, "ipam": ipam},
        {"type": "portmap", "capabilities": {"portMappings": True}},
    ]
    return (json.dumps({"cniVersion": "1.0.0", "name": "sandbox", "plugins": plugins}, indent=2) + "\n").encode()


def service(name: str, data: bytes) -> list[File]:
    """A unit, enabled."""
    return [
        File(f"/etc/systemd/system/{name}.service", data),
        File(f"/etc/systemd/system/multi-user.target.wants/{name}.service", link=f"../{name}.service"),
    ]


def node_files(settings: Settings, node: str) -> list[File]:
    """Everything of Kubernetes that a node has of its own."""
    directory = pki_dir(settings)
    local = f"https://{settings.address('control-plane')}:6443"

    def pki(name: str, source: str | None = None) -> File:
        return File(
            f"{units.PKI}/{name}",
            (directory / (source or name)).read_bytes(),
            0o600 if name.endswith(".key") else 0o644,
        )

    def config(name: str, certificate: str | None = None) -> File:
        return File(f"/etc/kubernetes/{name}.conf", kubeconfig(settings, certificate or name, local), 0o600)

    files = [
        File("/etc/kubernetes", mode=0o755, directory=True),
        File(units.PKI, mode=0o755, directory=True),
        File("/etc/containerd/config.toml", (ROOT / "files" / "containerd.toml").read_bytes()),
        File("/etc/containerd/certs.d", mode=0o755, directory=True),
        File("/etc/cni/net.d/10-sandbox.conflist", cni_config(settings, node)),
        File("/etc/kubernetes/kubelet.yaml", kubelet_config(settings, node)),
        File("/etc/kubernetes/kube-proxy.yaml", proxy_config(settings, node)),
        config("kubelet", f"kubelet-{node}"),
        config("kube-proxy"),
        pki("ca.crt"),
        pki("kubelet-server.crt", f"kubelet-server-{node}.crt"),
        pki("kubelet-server.key", f"kubelet-server-{node}.key"),
        *service("containerd", units.containerd()),
        *service("kubelet", units.kubelet(settings, node)),
        *service("kube-proxy", units.kube_proxy()),
    ]
    for tool, names in SANDBOX_PROGRAMS.items():
        files += [File(f"/usr/local/bin/{name}", link=units.program(tool, name)) for name in names]
    if node == "control-plane":
        files += [pki("ca.key"), pki("etcd-ca.crt"), pki("front-proxy-ca.crt")]
        for name in ("apiserver", "apiserver-kubelet-client", "etcd-server", "etcd-client", "front-proxy-client"):
            files += [pki(f"{name}.crt"), pki(f"{name}.key")]
        files += [pki("sa.key"), pki("sa.pub")]
        files += [config(name) for name in ("controller-manager", "scheduler", "kwok")]
        for name, data in units.control_plane(settings).items():
            files += service(name, data)
    return files
