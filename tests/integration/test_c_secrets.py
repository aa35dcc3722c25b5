# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No secret shows in anything that was kept: command lines, logs, results, Helm values, the report."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest

from dev.journey import HOME_INSIDE, Journey
from sandbox import recorder
from tests.integration.inside import HOSTS, Inside

SECRETS = f"{HOME_INSIDE}/.airgap/secrets"


@pytest.fixture(scope="module")
def secrets(inside: Inside) -> dict[str, str]:
    """Every value below the directory of secrets, by its file's name; certificates are no secrets."""
    listed = inside.journey.read_many(SECRETS)
    found = {name: text.strip() for name, text in listed.items() if not name.endswith(".crt")}
    assert any("api-keys" in name for name in found), sorted(found)
    assert any("registry-push-password" in name for name in found), sorted(found)
    return found


def needles(secrets: dict[str, str]) -> Iterator[tuple[str, bytes]]:
    """The forms in which a secret may show: as it is, in base64, and as a Basic header's base64."""
    for name, value in secrets.items():
        lines = [line for line in value.splitlines() if line and not line.startswith("-----")]
        text = lines[len(lines) // 2] if len(lines) > 1 else value  # of a key file, a line from its middle
        assert len(text) >= 16, f"{name}: too short to be searched for"
        yield name, text.encode()
        yield name, base64.b64encode(text.encode()).rstrip(b"=")
        for user in ("airgap-push", "airgap-pull"):
            yield name, base64.b64encode(f"{user}:{text}".encode()).rstrip(b"=")


def search(where: str, text: bytes, secrets: dict[str, str]) -> None:
    for name, needle in needles(secrets):
        assert needle not in text, f"{name} shows in {where}"


def test_command_lines(secrets: dict[str, str]) -> None:
    """The recorder saw every command of this machine and its containers since before the bundle was made."""
    assert recorder.status()["running"], "start it before the bundle is made: python -m sandbox recorder start"
    kept = recorder.recorded_file().read_bytes()
    assert b"ansible-playbook" in kept and b"setup.sh" in kept and b"helm" in kept, "the recorder missed the run"
    search("the command lines", kept, secrets)


def test_outputs_and_results(journey: Journey, secrets: dict[str, str]) -> None:
    files = [path for path in journey.work.rglob("*.log") if path.is_file()]
    assert len(files) >= 5, files
    for path in files:
        search(str(path), path.read_bytes(), secrets)


def test_report(journey: Journey, secrets: dict[str, str]) -> None:
    for name, text in journey.read_many(f"{HOME_INSIDE}/.airgap/reports").items():
        search(name, text.encode(), secrets)


@pytest.mark.parametrize("host", [host for host in HOSTS if host != "bastion"])
def test_journals(inside: Inside, secrets: dict[str, str], host: str) -> None:
    text = inside.on(host, "journalctl", "--no-pager", "--output=export").text
    assert "systemd" in text
    search(f"the journal of {host}", text.encode(errors="replace"), secrets)


def test_helm_values_and_pod_specs(inside: Inside, secrets: dict[str, str]) -> None:
    helm = f"{HOME_INSIDE}/.airgap/bin/helm"
    for what in ("values", "manifest", "hooks"):
        done = inside.on(
            "bastion", helm, "get", what, "speech", "-n", "speech", *(["--all"] if what == "values" else [])
        )
        assert done.rc == 0 and done.text, done.text
        search(f"helm get {what}", done.text.encode(), secrets)
    for kind in ("pods", "jobs", "configmaps", "events"):
        done = inside.kubectl("get", kind, "-n", "speech", "-o", "yaml")
        assert done.rc == 0, done.text
        search(kind, done.text.encode(), secrets)


def test_pod_logs(inside: Inside, secrets: dict[str, str]) -> None:
    pods = inside.kubectl("get", "pods", "-n", "speech", "-o", "name").text.split()
    assert pods
    for pod in pods:
        search(pod, inside.kubectl("logs", "-n", "speech", pod, "--all-containers").text.encode(), secrets)


def test_files_are_not_readable_by_others(inside: Inside) -> None:
    open_files = inside.on("bastion", "find", SECRETS, "-perm", "/077", "!", "-type", "l").text.split()
    assert not [path for path in open_files if not path.endswith(".crt")], open_files
    for host in ("worker-1", "control-plane"):
        found = inside.on(host, "find", "/etc/containerd/certs.d", "-name", "hosts.toml", "-perm", "/077").text
        assert not found, found
