# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of the three ways share: pods that read models without pause, and what lies on the nodes."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.integration.inside import Done, Inside

IMAGE = "registry.airgap.internal:5000/docker.io/library/python:3.11-slim"
PULLS = "airgap-registry.service"
DIRECTORY = "/var/lib/airgap-speech/models"
VENDOR = "/home/ops/vendor"
WORKER = "worker-1"

# Prints each digest of the file that is not the one before; a file that cannot be opened is printed as such.
READER = """
import hashlib, sys, time
last = None
while True:
    hasher = hashlib.sha256()
    try:
        with open(sys.argv[1], "rb", buffering=0) as stream:
            for chunk in iter(lambda: stream.read(1 << 20), b""):
                hasher.update(chunk)
        found = hasher.hexdigest()
    except OSError as error:
        found = "error: " + str(error)
    if found != last:
        print(found, flush=True)
        last = found
    time.sleep(0.05)
"""

# Kills what writes a file of a model (argument 1, may have *) each time that it has as many bytes as the next moment (3
# and on) says, until the file that tells it to stop (2) is there; prints how often it did. The writer is known by the
# file that it holds open: Ansible's modules have no name of their own, and pods have other paths.
KILLER = """
import glob, os, signal, sys, time
pattern, stop, moments = sys.argv[1], sys.argv[2], [int(word) for word in sys.argv[3:]]
kills = 0
def writers():
    for link in glob.glob("/proc/[0-9]*/fd/*"):
        try:
            if ".partial/nova.dg" in os.readlink(link):
                yield int(link.split("/")[2])
        except OSError:
            pass
while kills < len(moments) and not os.path.exists(stop):
    if any(os.stat(path).st_size >= moments[kills] for path in glob.glob(pattern)):
        found = set(writers())
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        kills += bool(found)
        while found & set(writers()):
            time.sleep(0.01)
    time.sleep(0.001)
print("kills", kills)
"""


# Kills a unit's program (argument 1: containerd, or the registry's) once it has moved so many bytes of a pull (3), and
# starts it again some seconds (4) later; gives up when the file that tells it to stop (2) is there. Prints how often it
# killed. The containers of a containerd that was killed run on.
PULL_KILLER = """
import glob, os, subprocess, sys, time
unit, stop, moment, pause = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
def moved():
    if unit == "containerd":
        found = glob.glob("/var/lib/containerd/io.containerd.content.v1.content/ingest/*/data")
    else:
        found = glob.glob("/sys/class/net/eth*/statistics/tx_bytes")
    total = 0
    for path in found:
        try:
            total += os.stat(path).st_size if unit == "containerd" else int(open(path).read())
        except OSError:
            pass
    return total
# What an earlier pull left in the runtime's store counts, and what the registry sent before this one does not.
before = 0 if unit == "containerd" else moved()
last = moved()
while not os.path.exists(stop):
    now = moved()
    if now != last and now - before >= moment:
        subprocess.check_call(["systemctl", "kill", "--kill-whom=main", "--signal=KILL", unit])
        time.sleep(pause)
        subprocess.check_call(["systemctl", "start", unit])
        print("killed 1")
        sys.exit(0)
    last = now
    time.sleep(0.002)
print("killed 0")
"""


def given(version: str) -> dict[str, Any]:
    """The vendor's files of a version, as model_preload_files lists them."""
    directory = f"{VENDOR}/{version}"
    return {"name": "nova", "version": version, "directory": directory, "digest_file": f"{directory}/SHA256SUMS"}


def only(name: str, kind: str) -> list[dict[str, Any]]:
    """One of the site's releases alone."""
    values = {"models": {"volume": {"type": kind}}}
    return [{"platform": "model_test", "name": name, "namespace": f"models-{name}", "values": values}]


def sums(inside: Inside, version: str) -> dict[str, str]:
    """The vendor's digest of each path."""
    text = inside.on("bastion", "cat", f"{VENDOR}/{version}/SHA256SUMS").text
    return {path: digest for digest, path in (line.split(None, 1) for line in text.splitlines())}


def placed(inside: Inside, root: str, host: str = WORKER) -> dict[str, str]:
    """The digest of every file below a directory of a node."""
    done = inside.on(host, "sh", "-c", f"cd {root}/. && find . -type f -exec sha256sum {{}} +")
    assert done.rc == 0, done.text
    return {path[2:]: digest for digest, path in (line.split(None, 1) for line in done.text.splitlines())}


def claim_path(inside: Inside, namespace: str, claim: str) -> str:
    """Where the volume of a claim lies on its node."""
    volume = inside.kubectl_json("-n", namespace, "get", "pvc", claim)["spec"]["volumeName"]
    source = inside.kubectl_json("get", "pv", volume)["spec"]
    return str((source.get("hostPath") or source.get("local"))["path"])


def node_directory() -> dict[str, Any]:
    return {"hostPath": {"path": DIRECTORY, "type": "Directory"}}


def claim(name: str) -> dict[str, Any]:
    return {"persistentVolumeClaim": {"claimName": name, "readOnly": True}}


def image(digest: str) -> dict[str, Any]:
    return {"image": {"reference": f"registry.airgap.internal:5000/models/nova@{digest}", "pullPolicy": "IfNotPresent"}}


class Reader:
    """A pod that hashes one file of a volume without pause."""

    def __init__(self, inside: Inside, namespace: str, name: str, volume: dict[str, Any], path: str) -> None:
        self.inside, self.namespace, self.name = inside, namespace, name
        container = {
            "name": "reader",
            "image": IMAGE,
            "command": ["python3", "-c", READER, f"/models/{path}"],
            "volumeMounts": [{"name": "models", "mountPath": "/models", "readOnly": True}],
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        }
        spec = {
            "containers": [container],
            "volumes": [{"name": "models", **volume}],
            "nodeName": WORKER,
            "imagePullSecrets": [{"name": "airgap-registry"}],
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
        }
        if "hostPath" in volume:
            label = "pod-security.kubernetes.io/enforce=privileged"
            assert inside.kubectl("label", "namespace", namespace, label, "--overwrite").rc == 0
        meta = {"name": name, "namespace": namespace}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}
        made = inside.kubectl("apply", "-f", "-", stdin=json.dumps(pod))
        assert made.rc == 0, made.text
        waited = inside.kubectl("-n", namespace, "wait", f"pod/{name}", "--for=condition=Ready", "--timeout=180s")
        assert waited.rc == 0, waited.text + inside.kubectl("-n", namespace, "describe", "pod", name).text

    def seen(self) -> list[str]:
        """What it read, in order, each once."""
        return self.inside.kubectl("-n", self.namespace, "logs", self.name).text.split("\n")[:-1]

    def sees(self, digest: str) -> None:
        """Wait until it reads this content."""
        while (seen := self.seen())[-1:] != [digest]:
            assert not any(line.startswith("error") for line in seen), seen
            time.sleep(0.5)


@contextmanager
def reading(
    inside: Inside, namespace: str, name: str, volume: dict[str, Any], path: str = "nova/nova.dg"
) -> Iterator[Reader]:
    reader = Reader(inside, namespace, name, volume, path)
    try:
        yield reader
    finally:
        inside.kubectl("-n", namespace, "delete", "pod", name, "--wait=true")


def playbook(inside: Inside, *arguments: str, **extra: Any) -> Done:
    """The playbook models, with the scenario's site and what is given."""
    return inside.playbook("models", "-e", "@/home/ops/scenario/site.yml", "-e", json.dumps(extra), *arguments)


def kill_while_placing(
    inside: Inside, pattern: str, size: int, kills: int, *arguments: str, **extra: Any
) -> tuple[int, Done]:
    """Run the playbook until it succeeds; the writer is killed meanwhile, each time further inside a file of that size.

    How often it was killed, and the last run.
    """
    dice = random.Random()  # noqa: S311 - moments of kills
    moments = [str(size * number // kills + dice.randrange(size // kills)) for number in range(kills)]
    stop = "/tmp/stop-killing"
    inside.on(WORKER, "rm", "-f", stop)
    killed: list[Done] = []
    killer = threading.Thread(
        target=lambda: killed.append(inside.on(WORKER, "python3", "-c", KILLER, pattern, stop, *moments))
    )
    killer.start()
    try:
        while (run := playbook(inside, *arguments, **extra)).rc != 0:
            assert "did not place the models" in run.text or "MODULE FAILURE" in run.text or "Killed" in run.text, (
                run.text
            )
    finally:
        inside.on(WORKER, "touch", stop)
        killer.join()
    assert killed[0].rc == 0, killed[0].text
    return int(killed[0].text.split()[-1]), run
