# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why the pods of a release are not ready, from what the API says about them.

Objects are dictionaries as the API writes them in JSON.
"""

from __future__ import annotations

from typing import Any, Optional

Object = dict[str, Any]


def is_ready(pod: Object) -> bool:
    """Whether a pod serves, or has done its work."""
    status = pod.get("status") or {}
    if status.get("phase") == "Succeeded":
        return True
    return any(
        condition.get("type") == "Ready" and condition.get("status") == "True"
        for condition in status.get("conditions") or []
    )


def _ended(state: Object) -> str:
    """How a container ended, in words."""
    words = f"ended with exit code {state.get('exitCode')}"
    if state.get("signal"):
        words += f", signal {state['signal']}"
    if state.get("reason") and state["reason"] != "Error":
        words += f" ({state['reason']})"
    message = str(state.get("message") or "").strip()
    return f"{words}: {message}" if message else words


def _container_reason(status: Object, init: bool) -> Optional[str]:
    """Why one container does not run as it should; None when it does."""
    name = f"{'init container' if init else 'container'} {status.get('name')}"
    state = status.get("state") or {}
    last = (status.get("lastState") or {}).get("terminated")
    if "waiting" in state:
        waiting = state["waiting"] or {}
        if init and waiting.get("reason") == "PodInitializing":
            return None
        said = waiting.get("reason") or "waiting"
        if waiting.get("message"):
            said += f": {waiting['message']}"
        if last:
            said += f"; before that it {_ended(last)}"
        return f"{name}: {said}"
    if "terminated" in state:
        ended = state["terminated"] or {}
        if init and ended.get("exitCode") == 0:
            return None
        return f"{name}: {_ended(ended)}"
    if "running" in state and not status.get("ready") and not init:
        said = "runs, but is not ready"
        if last:
            said += f"; before that it {_ended(last)}"
        return f"{name}: {said}"
    return None


def reasons(pod: Object) -> list[str]:
    """Every reason why a pod is not ready, the nearest cause first."""
    status = pod.get("status") or {}
    found: list[str] = []
    for condition in status.get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            found.append(f"not placed on a node: {condition.get('message') or condition.get('reason')}")
    for key, init in (("initContainerStatuses", True), ("containerStatuses", False)):
        for container in status.get(key) or []:
            reason = _container_reason(container, init)
            if reason:
                found.append(reason)
    if status.get("reason") or status.get("message"):
        found.append(": ".join(str(status[key]) for key in ("reason", "message") if status.get(key)))
    return found or [f"phase {status.get('phase') or 'unknown'}, no reason given yet"]


def containers_with_logs(pod: Object) -> list[tuple[str, bool]]:
    """Containers that have written something, as (name, whether the earlier run is the one to read)."""
    status = pod.get("status") or {}
    found: list[tuple[str, bool]] = []
    for key in ("initContainerStatuses", "containerStatuses"):
        for container in status.get(key) or []:
            state = container.get("state") or {}
            if container.get("ready") or (key == "initContainerStatuses" and _succeeded(state)):
                continue
            if "running" in state or "terminated" in state:
                found.append((str(container.get("name")), False))
            elif (container.get("lastState") or {}).get("terminated"):
                found.append((str(container.get("name")), True))
    return found


def _succeeded(state: Object) -> bool:
    return "terminated" in state and (state["terminated"] or {}).get("exitCode") == 0


def warnings_about(events: list[Object], names: set[str]) -> dict[str, list[str]]:
    """The last warnings about each of the named objects, newest last, each said once."""
    found: dict[str, list[str]] = {}
    for event in sorted(events, key=_when):
        name = str((event.get("involvedObject") or {}).get("name") or "")
        if event.get("type") != "Warning" or name not in names:
            continue
        said = f"{event.get('reason')}: {str(event.get('message') or '').strip()}"
        lines = found.setdefault(name, [])
        if said in lines:
            lines.remove(said)
        lines.append(said)
    return {name: lines[-4:] for name, lines in found.items()}


def _when(event: Object) -> str:
    series = event.get("series") or {}
    return str(series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime") or "")


def summary(release: str, namespace: str, pods: list[Object], others: dict[str, list[str]]) -> str:
    """A text that a person can act on.

    Each of `pods` is a finding: name, node, reasons, events, logs. `others` are warnings about objects of the
    release that are not pods, such as a ReplicaSet that may not make any.
    """
    lines: list[str] = []
    for pod in pods:
        lines.append(f"pod {pod['name']} on {pod['node'] or 'no node'}:")
        lines += [f"  {reason}" for reason in pod["reasons"]]
        lines += [f"  event {event}" for event in pod["events"]]
        for name, log in pod["logs"].items():
            lines.append(f"  last log lines of {name}:")
            lines += [f"    {line}" for line in log]
    for name, said in sorted(others.items()):
        lines.append(f"{name}:")
        lines += [f"  event {event}" for event in said]
    if not lines:
        return f"release {release} in namespace {namespace}: every pod found is ready, and there is no warning"
    return f"release {release} in namespace {namespace}: {len(pods)} pod(s) not ready\n" + "\n".join(lines)
