# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The systemd units of the nodes."""

from __future__ import annotations

from collections.abc import Sequence

from sandbox.build import tool_key
from sandbox.settings import Settings

# Where the cache's programs and image files are, read-only, in every node.
TOOLS = "/opt/airgap-sandbox/go"
IMAGES = "/opt/airgap-sandbox/images"
PKI = "/etc/kubernetes/pki"


def program(tool: str, name: str) -> str:
    """The path of a program inside a node."""
    return f"{TOOLS}/{tool}/{tool_key(tool)}/bin/{name}"


def unit(description: str, argv: Sequence[str], *, after: str = "network.target", lines: Sequence[str] = ()) -> bytes:
    """A service that is started again whenever it ends."""
    command = " \\\n  ".join(argv)
    service = "\n".join(["Restart=always", "RestartSec=1", *lines])
    return (
        f"[Unit]\nDescription={description}\nAfter={after}\nStartLimitIntervalSec=0\n\n"
        f"[Service]\nExecStart={command}\n{service}\n\n[Install]\nWantedBy=multi-user.target\n"
    ).encode()


def containerd() -> bytes:
    # As containerd's own unit has it, less what this container may not do.
    lines = ["Type=notify", "Delegate=yes", "KillMode=process", "TasksMax=infinity"]
    return unit("containerd", [program("containerd", "containerd")], lines=lines)


def kubelet(settings: Settings, node: str) -> bytes:
    argv = [
        program("kubernetes", "kubelet"),
        "--config=/etc/kubernetes/kubelet.yaml",
        "--kubeconfig=/etc/kubernetes/kubelet.conf",
        f"--hostname-override={node}",
        f"--node-ip={settings.address(node)}",
        "--v=1",
    ]
    return unit("kubelet", argv, after="containerd.service")


def kube_proxy() -> bytes:
    return unit("kube-proxy", [program("kubernetes", "kube-proxy"), "--config=/etc/kubernetes/kube-proxy.yaml"])


def control_plane(settings: Settings) -> dict[str, bytes]:
    """etcd, the API server, the controller manager, the scheduler and kwok."""
    address = settings.address("control-plane")
    etcd = [
        program("etcd", "etcd"),
        "--name=control-plane",
        "--data-dir=/var/lib/etcd",
        "--listen-client-urls=https://127.0.0.1:2379",
        "--advertise-client-urls=https://127.0.0.1:2379",
        "--listen-peer-urls=http://127.0.0.1:2380",
        f"--cert-file={PKI}/etcd-server.crt",
        f"--key-file={PKI}/etcd-server.key",
        "--client-cert-auth=true",
        f"--trusted-ca-file={PKI}/etcd-ca.crt",
        # A sandbox is put back, not restored: it need not survive a power cut.
        "--unsafe-no-fsync=true",
        "--log-level=warn",
    ]
    api = [
        program("kubernetes", "kube-apiserver"),
        f"--advertise-address={address}",
        "--secure-port=6443",
        "--allow-privileged=true",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        f"--client-ca-file={PKI}/ca.crt",
        f"--tls-cert-file={PKI}/apiserver.crt",
        f"--tls-private-key-file={PKI}/apiserver.key",
        "--etcd-servers=https://127.0.0.1:2379",
        f"--etcd-cafile={PKI}/etcd-ca.crt",
        f"--etcd-certfile={PKI}/etcd-client.crt",
        f"--etcd-keyfile={PKI}/etcd-client.key",
        f"--kubelet-certificate-authority={PKI}/ca.crt",
        f"--kubelet-client-certificate={PKI}/apiserver-kubelet-client.crt",
        f"--kubelet-client-key={PKI}/apiserver-kubelet-client.key",
        "--kubelet-preferred-address-types=InternalIP",
        f"--service-cluster-ip-range={settings.services}",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={PKI}/sa.pub",
        f"--service-account-signing-key-file={PKI}/sa.key",
        f"--requestheader-client-ca-file={PKI}/front-proxy-ca.crt",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-username-headers=X-Remote-User",
        f"--proxy-client-cert-file={PKI}/front-proxy-client.crt",
        f"--proxy-client-key-file={PKI}/front-proxy-client.key",
    ]
    manager = [
        program("kubernetes", "kube-controller-manager"),
        "--kubeconfig=/etc/kubernetes/controller-manager.conf",
        "--authentication-kubeconfig=/etc/kubernetes/controller-manager.conf",
        "--authorization-kubeconfig=/etc/kubernetes/controller-manager.conf",
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
        "--use-service-account-credentials=true",
        f"--service-account-private-key-file={PKI}/sa.key",
        f"--root-ca-file={PKI}/ca.crt",
        f"--cluster-signing-cert-file={PKI}/ca.crt",
        f"--cluster-signing-key-file={PKI}/ca.key",
        f"--client-ca-file={PKI}/ca.crt",
        f"--requestheader-client-ca-file={PKI}/front-proxy-ca.crt",
        f"--service-cluster-ip-range={settings.services}",
        "--allocate-node-cidrs=false",
    ]
    scheduler = [
        program("kubernetes", "kube-scheduler"),
        "--kubeconfig=/etc/kubernetes/scheduler.conf",
        "--authentication-kubeconfig=/etc/kubernetes/scheduler.conf",
        "--authorization-kubeconfig=/etc/kubernetes/scheduler.conf",
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
    ]
    kwok = [
        program("kwok", "kwok"),
        f"--config={program('kwok', 'stages.yaml')}",
        "--kubeconfig=/etc/kubernetes/kwok.conf",
        "--manage-all-nodes=false",
        "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
        f"--cidr={settings.simulated_pods[1]}/{settings.simulated_pods.prefixlen}",
        "--node-ip=",
        "--node-lease-duration-seconds=40",
    ]
    return {
        "etcd": unit("etcd", etcd, lines=["Type=notify"]),
        "kube-apiserver": unit("Kubernetes API server", api, after="etcd.service"),
        "kube-controller-manager": unit("Kubernetes controller manager", manager, after="kube-apiserver.service"),
        "kube-scheduler": unit("Kubernetes scheduler", scheduler, after="kube-apiserver.service"),
        "kwok": unit("simulated nodes", kwok, after="kube-apiserver.service"),
    }
