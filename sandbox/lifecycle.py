# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""up, reset and down."""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from sandbox import egress, host, network, pools, recorder
from sandbox.build import Builder
from sandbox.cluster import ensure_cluster
from sandbox.containers import docker, ensure, inspect, is_current, of_sandbox, remove, sandboxes
from sandbox.hosts import specification, write_admin_kubeconfig
from sandbox.images import busybox_files, system_archive
from sandbox.nodes import ensure_pki
from sandbox.rootfs import engine_image, rootfs_tar
from sandbox.run import SandboxError, Steps
from sandbox.settings import Settings, parse_settings, state_root, versions
from sandbox.upstream import ensure_upstream


@contextmanager
def locked(settings: Settings) -> Iterator[None]:
    """One change of a sandbox at a time."""
    state_root().mkdir(parents=True, exist_ok=True)
    with open(state_root() / f"{settings.name}.lock", "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def saved(name: str) -> Settings | None:
    """The settings that a sandbox was brought up with."""
    path = state_root() / name / "settings.json"
    if not path.exists():
        return None
    data = json.loads(path.read_text())
    return parse_settings(name, data["subnet"], data["workers"], {})


def save(settings: Settings) -> None:
    settings.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    data = {"subnet": str(settings.subnet), "workers": settings.workers}
    (settings.state / "settings.json").write_text(json.dumps(data) + "\n")


def up(settings: Settings, simulated: list[dict[str, Any]] | None, steps: Steps, fresh: bool = False) -> None:
    """Everything is there and runs; ``fresh`` makes the inside's containers anew, as `reset` does."""
    host.check_machine()
    with locked(settings):
        before = saved(settings.name)
        if before and before.subnet != settings.subnet and of_sandbox_safely(settings.name):
            raise SandboxError(
                f"the sandbox {settings.name} uses {before.subnet}, not {settings.subnet}; "
                f"run `down --name {settings.name}` first, or leave --subnet out"
            )
        host.ensure_packages(steps)
        host.ensure_engine(steps)
        network.check_free(settings)
        host.check_inotify([name for name in sandboxes(running=True) if name != settings.name])
        if fresh:
            remove_inside(settings, steps)
        save(settings)
        builder = Builder(steps)
        try:
            with ThreadPoolExecutor(max_workers=1) as pool:
                others = pool.submit(prepare, settings, steps)
                # What is needed first is first in the queue; the rest is made while the cluster starts.
                for tool in ("containerd", "etcd", "pause", "registry", "kubernetes", "coredns"):
                    builder.get(tool)
                others.result()
            with ThreadPoolExecutor(max_workers=1) as pool:
                upstream = pool.submit(ensure_upstream, settings, steps)
                ensure_inside(settings, builder, steps)
                upstream.result()
            if simulated is not None:
                pools.apply_pools(settings, simulated, steps)
            builder.get_all()
        finally:
            builder.close()


def of_sandbox_safely(name: str) -> list[str]:
    return of_sandbox(name) if host.engine_answers() else []


def prepare(settings: Settings, steps: Steps) -> None:
    """All that needs no Go: root file systems, images, networks, certificates."""
    network.ensure_networks(settings, steps)
    egress.ensure_counter(settings, network.outside_subnet(settings), steps)
    for kind in ("node", "bastion", "debian"):
        engine_image(kind, steps)
    for kind in versions()["rootfs"]:
        rootfs_tar(kind, steps)
    busybox_files(steps)
    system_archive("busybox", steps)


def ensure_inside(settings: Settings, builder: Builder, steps: Steps) -> None:
    """The inside hosts run as specified, and the cluster on them is ready."""
    ensure_pki(settings)
    write_admin_kubeconfig(settings)
    known = {settings.container(name) for name in (*settings.hosts, "upstream")}
    for name in of_sandbox(settings.name):
        if name not in known:
            with steps.step(f"removing {name}, which is no longer part of the sandbox"):
                remove(name)
    specifications = {name: specification(settings, name, steps) for name in settings.hosts}
    if not is_current(specifications["control-plane"]):
        # A new control plane knows nothing of old nodes, and their kubelets register only when they start.
        for name in settings.nodes[1:]:
            if inspect(settings.container(name)):
                with steps.step(f"removing {settings.container(name)}, since the control plane is made anew"):
                    remove(settings.container(name))

    def bring(name: str) -> None:
        ensure(specifications[name], steps)
        network.add_default_route(settings, settings.container(name))

    with ThreadPoolExecutor(max_workers=4) as pool:
        list(pool.map(bring, settings.hosts))
    ensure_cluster(settings, builder, steps)


def remove_inside(settings: Settings, steps: Steps) -> None:
    there = set(of_sandbox(settings.name))
    old = [settings.container(name) for name in settings.hosts if settings.container(name) in there]
    if old:
        with steps.step("removing " + ", ".join(old)), ThreadPoolExecutor(max_workers=4) as pool:
            list(pool.map(remove, old))


def reset(settings: Settings, steps: Steps) -> None:
    """Everything inside as it was after the first `up`: its containers are made anew."""
    with locked(settings):
        remove_inside(settings, steps)
        builder = Builder(steps)
        try:
            ensure_inside(settings, builder, steps)
        finally:
            builder.close()
        egress.zero(settings)


def down(name: str, steps: Steps) -> None:
    """Leave nothing of one sandbox on the machine, but what is cached."""
    settings = saved(name) or Settings(name=name)
    with locked(settings):
        if host.engine_answers():
            old = of_sandbox(name)
            if old:
                with steps.step("removing " + ", ".join(old)), ThreadPoolExecutor(max_workers=4) as pool:
                    list(pool.map(remove, old))
            network.remove_networks(settings, steps)
            volume = f"{name}-upstream"
            if volume in docker("volume", "ls", "-q").split():
                with steps.step(f"removing volume {volume}"):
                    docker("volume", "rm", volume)
        egress.remove_counter(settings, steps)
        if settings.state.exists():
            shutil.rmtree(settings.state)
            steps.change(f"removed {settings.state}")
    (state_root() / f"{name}.lock").unlink(missing_ok=True)
    if not names():
        recorder.stop_if_running(steps)
        host.stop_engine(steps)


def names() -> list[str]:
    """All sandboxes of this user, running or not."""
    kept = [path.parent.name for path in state_root().glob("*/settings.json")]
    running = list(sandboxes()) if host.engine_answers() else []
    return sorted({*kept, *running})
