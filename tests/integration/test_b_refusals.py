# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is refused, each with its message, and that nothing was done then."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest
import yaml

from dev.journey import BUNDLE_INSIDE, HOME_INSIDE, Journey
from tests.integration.inside import HOSTS, Done, Inside

REGISTRY = "registry.airgap.internal:5000"
PYTHON_IMAGE = "docker.io/library/python:3.11-slim"
NOWHERE = "192.0.2.1"  # RFC 5737: documentation only
CONNECT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=3)
except OSError as error:
    print("refused:", error)
else:
    print("CONNECTED")
"""


def refused(done: Done, *words: str) -> None:
    """It failed, and says each of these."""
    assert done.rc != 0, done.text
    said = " ".join(done.text.split())
    for word in words:
        assert word in said, f"{word!r} is not in:\n{done.text}"


def namespaces(inside: Inside) -> set[str]:
    return {item["metadata"]["name"] for item in inside.kubectl_json("get", "namespaces")["items"]}


@pytest.fixture
def bundle_copy(inside: Inside, scratch: Callable[[str], str]) -> str:
    """A bundle of its own that may be spoilt: hard links, so that it costs nothing; what is altered is replaced."""
    path = scratch("spoilt")
    done = inside.on("bastion", "cp", "-rl", f"{BUNDLE_INSIDE}/.", path)
    if done.rc:  # another file system
        done = inside.on("bastion", "cp", "-r", f"{BUNDLE_INSIDE}/.", path)
    assert done.rc == 0, done.text
    return path


FLIP = """
import os, sys
path = sys.argv[1]
data = bytearray(open(path, "rb").read())
data[len(data) // 2] ^= 1
os.unlink(path)  # a hard link of the good bundle
open(path, "wb").write(data)
"""


def spoil(inside: Inside, path: str) -> None:
    done = inside.on("bastion", "python3", "-c", FLIP, path)
    assert done.rc == 0, done.text


def setup(inside: Inside, bundle: str, signers: str = f"{HOME_INSIDE}/allowed_signers", *more: str) -> Done:
    return inside.on("bastion", f"{bundle}/setup.sh", "--signers", signers, "--prefix", "/tmp/spoilt-prefix", *more)


def largest_blob(inside: Inside, bundle: str) -> str:
    done = inside.on("bastion", "sh", "-c", f"ls -S {bundle}/oci/blobs/sha256 | head -n 1")
    return done.text.strip()


def test_setup_refuses_one_flipped_byte(inside: Inside, bundle_copy: str) -> None:
    blob = largest_blob(inside, bundle_copy)
    spoil(inside, f"{bundle_copy}/oci/blobs/sha256/{blob}")
    refused(setup(inside, bundle_copy), f"oci/blobs/sha256/{blob}", "copy that file again")
    assert inside.on("bastion", "test", "-e", "/tmp/spoilt-prefix/bin").rc != 0


def test_preflight_refuses_one_flipped_byte(inside: Inside, bundle_copy: str) -> None:
    blob = largest_blob(inside, bundle_copy)
    spoil(inside, f"{bundle_copy}/oci/blobs/sha256/{blob}")
    done = inside.playbook("preflight", "--limit", "bastion", airgap_bundle=bundle_copy)
    refused(done, f"oci/blobs/sha256/{blob}", "sha256 differs")


def test_setup_refuses_an_altered_lock(inside: Inside, bundle_copy: str) -> None:
    spoil(inside, f"{bundle_copy}/bundle.lock.json")
    refused(setup(inside, bundle_copy), "bundle.lock.json does not match its signature")


def test_setup_refuses_no_signature(inside: Inside, bundle_copy: str) -> None:
    inside.on("bastion", "rm", f"{bundle_copy}/bundle.lock.json.sig")
    refused(setup(inside, bundle_copy), "bundle.lock.json.sig is missing")


def test_setup_refuses_a_signer_that_is_not_trusted(inside: Inside, scratch: Callable[[str], str]) -> None:
    other = scratch("other-signers")
    inside.on("bastion", "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{other}/key")
    key = inside.on("bastion", "cat", f"{other}/key.pub").text.strip()
    line = f'somebody namespaces="airgap-speech-bundle" {key}'
    inside.on("bastion", "sh", "-c", f"cat > {other}/allowed_signers", stdin=line + "\n")
    refused(setup(inside, BUNDLE_INSIDE, f"{other}/allowed_signers"), "does not trust")


def test_a_wrong_registry_password(inside: Inside, scratch: Callable[[str], str]) -> None:
    path = f"{scratch('wrong')}/password"
    inside.on("bastion", "sh", "-c", f"umask 077; cat > {path}", stdin="not-the-password\n")
    done = inside.playbook("mirror", image_mirror_password_file=path)
    refused(done, "401", "password")
    assert "not-the-password" not in done.text


def test_a_cluster_too_small(inside: Inside) -> None:
    """Refused with the scheduler's words, and nothing is made."""
    release = {
        "platform": "open_speech",
        "name": "huge",
        "namespace": "huge",
        "values": {"stt": {"resources": {"requests": {"cpu": "64", "memory": "512Mi"}}}},
    }
    done = inside.playbook("site", airgap_releases=[release])
    refused(done, "huge", "nodes are available", "Insufficient cpu")
    assert "huge" not in namespaces(inside)


def test_a_clock_that_is_off(inside: Inside, scratch: Callable[[str], str]) -> None:
    """The registry's clock runs two minutes ahead, as its python sees it (a container has the machine's clock)."""
    late = "/usr/local/bin/python-ahead"
    inside.on(
        "registry", "sh", "-c", f"printf '#!/bin/sh\\nexec faketime -f +120s /usr/bin/python3 \"$@\"\\n' > {late}"
    )
    inside.on("registry", "chmod", "755", late)
    inventory = f"{scratch('clock')}/ahead.yml"
    hosts = {"all": {"hosts": {"registry.airgap.internal": {"ansible_python_interpreter": late}}}}
    inside.on("bastion", "sh", "-c", f"cat > {inventory}", stdin=yaml.safe_dump(hosts))
    try:
        done = inside.playbook("preflight", "-i", inventory)
        refused(done, "registry.airgap.internal", "clock", "ahead of the bastion's", "allowed: 30 s")
    finally:
        inside.on("registry", "rm", "-f", late)


DELETE = """
import json, sys, urllib.request, ssl, base64, os
home = os.path.expanduser("~/.airgap/secrets")
password = open(home + "/registry-push-password").read().strip()
context = ssl.create_default_context(cafile=home + "/ca/ca.crt")
token = base64.b64encode(b"airgap-push:" + password.encode()).decode()
request = urllib.request.Request(sys.argv[1], method="DELETE", headers={"Authorization": "Basic " + token})
print(urllib.request.urlopen(request, context=context).status)
"""


@pytest.fixture
def without_speech_image(inside: Inside) -> Iterator[str]:
    """The registry has lost the image of open_speech."""
    lock = json.loads(inside.on("bastion", "cat", f"{BUNDLE_INSIDE}/bundle.lock.json").text)
    image = next(image for image in lock["images"] if "open-speech" in image["reference"])
    repository = image["reference"].rpartition(":")[0]
    url = f"https://registry.airgap.internal:5001/v2/{repository}/manifests/{image['digest']}"
    done = inside.on("bastion", "python3", "-c", DELETE, url)
    assert "202" in done.text, done.text
    yield image["reference"]
    assert inside.playbook("mirror").rc == 0


def test_an_image_missing_from_the_registry(inside: Inside, without_speech_image: str) -> None:
    """Named, with its reason, before anything is deployed."""
    release = {"platform": "open_speech", "name": "second", "namespace": "second", "values": {}}
    done = inside.playbook("deploy", airgap_releases=[release])
    refused(done, without_speech_image, "Deployment")
    assert "second" not in namespaces(inside)


def test_no_model_is_refused_by_the_service(inside: Inside) -> None:
    """An empty volume: one clear line, and exit status 78."""
    deployment = inside.kubectl_json("get", "deployment", "speech-stt", "-n", "speech")
    spec = deployment["spec"]["template"]["spec"]
    spec["restartPolicy"] = "Never"
    container = spec["containers"][0]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        container.pop(probe, None)
    for volume in spec["volumes"]:
        if "persistentVolumeClaim" in volume:
            del volume["persistentVolumeClaim"]
            volume["emptyDir"] = {}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "no-model", "namespace": "speech"}, "spec": spec}
    try:
        made = inside.kubectl("apply", "-f", "-", stdin=json.dumps(pod))
        assert made.rc == 0, made.text
        ended = inside.kubectl(
            "wait", "-n", "speech", "pod/no-model", "--for=jsonpath={.status.phase}=Failed", "--timeout=300s"
        )
        assert ended.rc == 0, ended.text
        status = inside.kubectl_json("get", "pod", "no-model", "-n", "speech")["status"]
        assert status["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 78
        log = inside.kubectl("logs", "no-model", "-n", "speech").text
        assert "whisper-tiny-en" in log and "model.json" in log, log
    finally:
        inside.kubectl("delete", "pod", "no-model", "-n", "speech", "--ignore-not-found")


def test_an_upstream_image_needs_the_registry_host_entry(inside: Inside, journey: Journey) -> None:
    """With the entry an upstream name comes from the private registry; without it the pull fails, and it is counted."""
    pull = ("ctr", "-n", "airgap-test", "images", "pull")
    with_entry = inside.on("worker-1", *pull, "--hosts-dir", "/etc/containerd/certs.d", PYTHON_IMAGE)
    assert with_entry.rc == 0, with_entry.text
    journey.zero_egress()
    without = inside.on("worker-1", *pull, "--hosts-dir", "/nowhere", PYTHON_IMAGE)
    assert without.rc != 0, without.text
    assert "registry-1.docker.io" in without.text
    assert journey.egress()["names_total"], "the name of the outside world was not counted"
    inside.on("worker-1", "sh", "-c", "ctr -n airgap-test images rm $(ctr -n airgap-test images ls -q)")


@pytest.mark.parametrize("host", [*HOSTS, "pod"])
@pytest.mark.parametrize("target", ["upstream", "nowhere"])
def test_no_way_out(inside: Inside, journey: Journey, host: str, target: str) -> None:
    """A TCP connect to the outside fails on every inside host, and in a pod, and is counted."""
    address, port = NOWHERE, "443"
    if target == "upstream":
        outside = yaml.safe_load((journey.work / "outside.yml").read_text())
        address, port = outside["bundle_registry_hosts"]["docker.io"]["endpoint"].split(":")
    journey.zero_egress()
    connect = ("python3", "-c", CONNECT, address, port)
    if host == "pod":
        done = inside.kubectl("exec", "-n", "speech", "deployment/speech-stt", "--", *connect)
    else:
        done = inside.on(host, *connect)
    assert "refused:" in done.text and "CONNECTED" not in done.text, done.text
    packets = journey.egress()["packets"]
    kind = "upstream" if target == "upstream" else "public"
    assert packets[kind] > 0, packets
    journey.zero_egress()
