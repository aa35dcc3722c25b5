# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inside hosts: resolver, registry host, bastion and nodes, and what each container is made of."""

from __future__ import annotations

from sandbox.build import tool_dir
from sandbox.containers import Container, File
from sandbox.images import ensure_scratch
from sandbox.nodes import kubeconfig, node_files
from sandbox.pki import write_private
from sandbox.rootfs import engine_image
from sandbox.run import Steps, run
from sandbox.settings import DOMAIN, ROOT, Settings, cache_dir

OPS = 1000
# What systemd, containerd and the kubelet need, short of --privileged (which fails without CAP_SYS_RESOURCE).
SYSTEMD_OPTIONS = [
    "--cap-add=ALL",
    "--cap-drop=SYS_RESOURCE",
    "--security-opt=seccomp=unconfined",
    "--security-opt=apparmor=unconfined",
    "--security-opt=systempaths=unconfined",
    "--device-cgroup-rule=a *:* rwm",
    "--device=/dev/kmsg",
    "--cgroupns=private",
    "--tmpfs=/run",
    "--tmpfs=/tmp:exec",
    "--stop-signal=SIGRTMIN+3",
    "--env=container=docker",
]


def ssh_key(settings: Settings, name: str, comment: str) -> tuple[bytes, bytes]:
    """A key pair of the state directory (private, public); made once."""
    path = settings.state / "ssh" / name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)])
    return path.read_bytes(), path.with_name(path.name + ".pub").read_bytes()


def ssh_files(settings: Settings, host: str) -> list[File]:
    """Host key of a host, and the bastion's key for its user ops."""
    private, public = ssh_key(settings, f"host-{host}", settings.fqdn(host))
    user = ssh_key(settings, "ops", f"ops@{settings.fqdn('bastion')}")[1]
    return [
        File("/etc/ssh/ssh_host_ed25519_key", private, 0o600),
        File("/etc/ssh/ssh_host_ed25519_key.pub", public),
        File("/home/ops/.ssh", mode=0o700, uid=OPS, gid=OPS, directory=True),
        File("/home/ops/.ssh/authorized_keys", user, 0o600, OPS, OPS),
    ]


def known_hosts(settings: Settings) -> bytes:
    lines = []
    for host in settings.ssh_hosts:
        key = " ".join(ssh_key(settings, f"host-{host}", settings.fqdn(host))[1].decode().split()[:2])
        lines.append(f"{settings.fqdn(host)},{settings.address(host)} {key}\n")
    return "".join(lines).encode()


def zone_hosts(settings: Settings) -> bytes:
    return "".join(f"{settings.address(host)} {settings.fqdn(host)}\n" for host in settings.hosts).encode()


def corefile() -> bytes:
    """The resolver: the inside zone, and NXDOMAIN with a line in the log for everything else."""
    return f"""\
{DOMAIN} {{
    hosts /etc/zone {DOMAIN} {{
        ttl 30
        reload 0
    }}
    errors
}}
in-addr.arpa {{
    hosts /etc/zone in-addr.arpa {{
        reload 0
        fallthrough
    }}
    log . "asked client={{remote}} type={{type}} name={{name}}" {{
        class denial error
    }}
    template IN ANY in-addr.arpa {{
        rcode NXDOMAIN
    }}
}}
. {{
    log . "asked client={{remote}} type={{type}} name={{name}}"
    template ANY ANY . {{
        rcode NXDOMAIN
    }}
}}
""".encode()


def specification(settings: Settings, host: str, steps: Steps) -> Container:
    """What the container of an inside host is made of."""
    resolver = settings.address("resolver")
    common = [f"--dns={resolver}", "--sysctl=net.ipv6.conf.all.disable_ipv6=1"]
    made = Container(
        sandbox=settings.name,
        name=settings.container(host),
        image="",
        network=settings.inside,
        address=str(settings.address(host)),
        hostname=host,
        options=common,
    )
    if host == "resolver":
        made.image = ensure_scratch()
        made.options += [f"--volume={tool_dir('coredns')}:/opt:ro", "--entrypoint=/opt/coredns"]
        made.command = ["-conf", "/etc/Corefile"]
        made.files = [File("/etc/Corefile", corefile()), File("/etc/zone", zone_hosts(settings))]
        return made
    made.options.append(f"--env=RESOLVER={resolver}")
    if host == "bastion":
        made.image = engine_image("bastion", steps)
        made.options += ["--init", "--entrypoint=/opt/bastion.sh"]
        private, public = ssh_key(settings, "ops", f"ops@{settings.fqdn('bastion')}")
        made.files = [
            File("/opt/bastion.sh", (ROOT / "files" / "bastion.sh").read_bytes(), 0o755),
            File("/home/ops/.ssh", mode=0o700, uid=OPS, gid=OPS, directory=True),
            File("/home/ops/.ssh/id_ed25519", private, 0o600, OPS, OPS),
            File("/home/ops/.ssh/id_ed25519.pub", public, 0o644, OPS, OPS),
            File("/home/ops/.ssh/known_hosts", known_hosts(settings), 0o644, OPS, OPS),
            File("/home/ops/.kube", mode=0o700, uid=OPS, gid=OPS, directory=True),
            File("/home/ops/.kube/config", kubeconfig(settings, "admin", settings.api), 0o600, OPS, OPS),
        ]
        return made
    made.image = engine_image("node", steps)
    made.options += [*SYSTEMD_OPTIONS, f"--env=GATEWAY={settings.address('gateway')}", "--entrypoint=/opt/entry.sh"]
    made.files = [File("/opt/entry.sh", (ROOT / "files" / "entry.sh").read_bytes(), 0o755), *ssh_files(settings, host)]
    if host != "registry":
        # Volumes, since containerd's overlay cannot lie on the engine's.
        made.options += ["--volume=/var/lib/containerd", "--volume=/var/lib/kubelet"]
        made.options += [f"--volume={cache_dir()}/{part}:/opt/airgap-sandbox/{part}:ro" for part in ("go", "images")]
        made.files += node_files(settings, host)
    return made


def write_admin_kubeconfig(settings: Settings) -> None:
    """A kubeconfig for the machine, which reaches the API server by its address."""
    data = kubeconfig(settings, "admin", f"https://{settings.address('control-plane')}:6443")
    path = settings.state / "kubeconfig"
    if not path.exists() or path.read_bytes() != data:
        write_private(path, data)
