# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From nothing inside to a transcript out of parts, one medium after the other; then a bundle of only the rest."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.airgap.speech.plugins.module_utils.bundle.lock import Image, Lock, load
from ansible_collections.airgap.speech.plugins.module_utils.bundle.parts import COMPANIONS
from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import Layout
from dev.journey import CHECKOUT, HOME_INSIDE, VENV_BIN, Journey
from dev.sentence import random_sentence
from tests.integration.inside import Done, Inside

MEDIA = "/media/parts"
CONTROLLER = f"{HOME_INSIDE}/of-parts"
PART_SIZE = "200M"  # three parts of the sandbox's bundle
# Every image that came from the registry goes, so that the nodes have to pull again.
FORGET = "ctr -n k8s.io images ls -q | grep ^registry.airgap.internal | xargs -r ctr -n k8s.io images rm"
REGISTRY_UNITS = ("airgap-registry.service", "airgap-registry-push.service")


def said(done: Done) -> str:
    """What a run printed, on one line: Ansible breaks lines where it likes."""
    return " ".join(done.text.split())


@pytest.fixture(scope="module")
def media(journey: Journey, inside: Inside) -> Iterator[list[str]]:
    """A directory a part on the bastion, as if each was a disc: nobody but root may write there."""
    parts, discs = journey.work / "parts", journey.work / "discs"
    arguments = {
        "bundle": str(journey.bundle_directory),
        "dest": str(parts),
        "part_size": PART_SIZE,
        "signing_key": str(journey.work / "signing" / "key"),
    }
    argv = [str(VENV_BIN / "ansible"), "localhost", "-m", "airgap.speech.bundle_parts", "-a", json.dumps(arguments)]
    made = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stdout + made.stderr
    shutil.rmtree(discs, ignore_errors=True)
    found = []
    for number, part in enumerate(sorted(parts.glob("*.tar")), start=1):
        disc = discs / f"disc{number}"
        disc.mkdir(parents=True)
        for name in (part.name, *COMPANIONS):
            (disc / name).hardlink_to(parts / name)
            (disc / name).chmod(0o555 if name == "setup.sh" else 0o444)
        disc.chmod(0o555)
        found.append(f"{MEDIA}/disc{number}")
    inside.on("bastion", "rm", "-rf", MEDIA, CONTROLLER, user="root")
    journey.copy(discs, MEDIA, user="root")
    shutil.rmtree(discs)
    shutil.rmtree(parts)
    assert len(found) == 3
    yield found
    inside.on("bastion", "rm", "-rf", MEDIA, CONTROLLER, user="root")


@pytest.fixture(scope="module")
def emptied(journey: Journey, inside: Inside) -> Iterator[None]:
    """Nothing of the release is left: no namespace, an empty registry, no image on the nodes."""
    assert inside.kubectl("delete", "namespace", "speech", "--ignore-not-found", "--wait").rc == 0
    for host in ("control-plane", "worker-1"):
        assert inside.on(host, "sh", "-c", FORGET).rc == 0
    inside.on("registry", "systemctl", "stop", *REGISTRY_UNITS)
    assert inside.on("registry", "find", "/var/lib/airgap-registry", "-mindepth", "1", "-delete").rc == 0
    assert inside.on("registry", "systemctl", "start", *reversed(REGISTRY_UNITS)).rc == 0
    journey.zero_egress()
    yield
    # Whatever happened, the tests after these want a full registry.
    if inside.registry("HEAD", manifest_of(speech_image(load(str(journey.bundle_directory)))))[0] != 200:
        inside.playbook("mirror")


def test_setup_without_joining_parts(inside: Inside, media: list[str]) -> None:
    """A bare bastion becomes a controller from the medium with the first part, where nothing can be written."""
    setup = ("--signers", f"{HOME_INSIDE}/allowed_signers", "--prefix", CONTROLLER)
    late = inside.on("bastion", f"{media[1]}/setup.sh", *setup)
    assert late.rc != 0
    assert "part 1 of 3 (bundle.part001.tar) is not beside setup.sh; run setup.sh from the medium" in said(late)
    assert inside.on("bastion", "touch", f"{media[0]}/written").rc != 0, "the medium can be written to"
    done = inside.on("bastion", f"{media[0]}/setup.sh", *setup)
    assert done.rc == 0, done.text
    assert "verify: 1 of 3 parts" in said(done) and "controller: changed" in done.text
    left = inside.on("bastion", "find", CONTROLLER, "-name", "bundle.part*", "-o", "-name", ".staging-*").text
    assert not left, f"more than the controller was taken out: {left}"


def play(inside: Inside, name: str, bundle: Any, **extra: object) -> Done:
    """A playbook run by the controller that came out of the parts."""
    values = {"airgap_bundle": bundle, "airgap_bundle_signers": f"{HOME_INSIDE}/allowed_signers", **extra}
    argv = [f"{CONTROLLER}/bin/ansible-playbook", f"airgap.speech.{name}", "-i", f"{HOME_INSIDE}/inventory"]
    return inside.on("bastion", *argv, "-e", json.dumps(values))


def speech_image(lock: Lock) -> Image:
    """The image of open_speech, and so the largest."""
    return next(image for image in lock.images if "open-speech" in image.reference)


def manifest_of(image: Image) -> str:
    """The path of an image's tag in the registry inside."""
    repository, _colon, tag = image.reference.rpartition(":")
    return f"{repository}/manifests/{tag}"


def test_bundle_info_from_one_part(inside: Inside, media: list[str]) -> None:
    """Any one medium says what is in the bundle, why, and which parts it has; no inventory, registry or cluster."""
    image = "ghcr.io/airgap-speech/open-speech:0.1.0"
    for reference, words in (
        (
            "",
            ["for open_speech: speech/speech", image, "parts: 3, not at hand: bundle.part001.tar, bundle.part003.tar"],
        ),
        (image, [f"{image} (image)", "because: "]),
    ):
        argv = [f"{CONTROLLER}/bin/ansible-playbook", "airgap.speech.bundle_info"]
        done = inside.on("bastion", *argv, "-e", json.dumps({"airgap_bundle": media[1], "reference": reference}))
        assert done.rc == 0, done.text
        for word in words:
            assert word in said(done), done.text


@pytest.mark.usefixtures("emptied")
def test_site_from_parts(journey: Journey, inside: Inside, media: list[str]) -> None:
    """In another order and with the second part missing: the run names it, tags nothing, and goes on when it comes."""
    image = speech_image(load(str(journey.bundle_directory)))
    first = play(inside, "site", [f"{MEDIA}/not-in-the-drive", media[2], media[0]])
    assert first.rc != 0
    assert "still to bring: part 2 of 3 (bundle.part002.tar); what was at hand is in the registry" in said(first)
    assert "put in the next medium and run the same command again" in said(first)
    assert inside.registry("HEAD", manifest_of(image))[0] == 404, "a tag was set before all of its blobs were there"
    assert inside.kubectl("get", "namespace", "speech").rc != 0, "something was deployed from half a bundle"

    sentence = random_sentence()
    rest = play(inside, "site", media[1], smoke_test_text=sentence)
    assert rest.rc == 0, rest.text
    assert inside.registry("HEAD", manifest_of(image)) == (200, image.digest)
    report = json.loads(journey.read(f"{HOME_INSIDE}/.airgap/reports/report.json"))
    assert report["expected"] == sentence and report["word_error_rate"] <= 0.2, report
    for pod in inside.kubectl_json("get", "pods", "-n", "speech", "-l", "app.kubernetes.io/instance=speech")["items"]:
        for status in pod["status"].get("containerStatuses", []):
            assert status["imageID"].startswith("registry.airgap.internal:5000/"), status
    egress = journey.egress()
    assert (egress["packets_total"], egress["names_total"]) == (0, 0), egress


@pytest.fixture(scope="module")
def delta(journey: Journey, inside: Inside) -> Iterator[Path]:
    """A bundle of what the registry inside lacks: its inventory comes out, the bundle goes in again."""
    done = inside.playbook("inventory")
    assert done.rc == 0, done.text
    inventory, target = journey.work / "site.inventory.json", journey.work / "delta"
    for ending in ("", ".sha256"):
        carried = journey.read(f"{HOME_INSIDE}/.airgap/outbound/site.inventory.json{ending}")
        Path(f"{inventory}{ending}").write_text(carried)
    values = {
        "airgap_bundle": str(target),
        "bundle_inventory": str(inventory),
        # The controller inside stays as it is.
        "bundle_controller_requirements": "",
        "bundle_collections": [],
        "bundle_docs": "",
    }
    journey.bundle("-e", json.dumps(values))
    yield target
    shutil.rmtree(target)


@pytest.fixture
def delta_inside(journey: Journey, inside: Inside, delta: Path, scratch: Callable[[str], str]) -> Iterator[str]:
    """The delta on the bastion; the registry is full again afterwards."""
    path = scratch("delta")
    journey.copy(delta, path)
    yield path
    assert inside.playbook("mirror").rc == 0


def test_a_delta_is_loaded(journey: Journey, inside: Inside, delta: Path, delta_inside: str) -> None:
    """The registry lost an image's manifest and kept its blobs: the delta, which has only manifests, mends that."""
    whole, rest = load(str(journey.bundle_directory)), load(str(delta))
    image = speech_image(rest)
    assert image.digest == speech_image(whole).digest
    layers = {blob.digest for blob in Layout(journey.bundle_directory / "oci").walk(image.digest) if blob.size > 10**6}
    assert layers and layers <= {blob.digest for blob in rest.omitted}
    assert inside.registry("DELETE", f"{manifest_of(image).rpartition('/')[0]}/{image.digest}")[0] == 202
    assert inside.registry("HEAD", manifest_of(image))[0] == 404
    done = inside.playbook("mirror", airgap_bundle=delta_inside)
    assert done.rc == 0, done.text
    assert inside.registry("HEAD", manifest_of(image)) == (200, image.digest)
    deployed = inside.playbook("deploy", airgap_bundle=delta_inside)
    assert deployed.rc == 0, deployed.text


def test_a_delta_is_refused_where_a_blob_is_absent(inside: Inside, delta: Path, delta_inside: str) -> None:
    lock = load(str(delta))
    image = speech_image(lock)
    repository = image.reference.rpartition(":")[0]
    blob = max((blob for blob in lock.omitted if repository in blob.repositories), key=lambda each: each.size)
    assert inside.registry("DELETE", f"{repository}/manifests/{image.digest}")[0] == 202
    for holder in blob.repositories:
        assert inside.registry("DELETE", f"{holder}/blobs/{blob.digest}")[0] == 202
    for name, limit in (("mirror", ()), ("preflight", ("--limit", "bastion"))):
        refused = inside.playbook(name, *limit, airgap_bundle=delta_inside)
        assert refused.rc != 0
        wanted = (
            f"blob {blob.digest} ({blob.size} bytes, of {image.reference}): the bundle leaves it out because the site"
        )
        assert wanted in said(refused), refused.text
        assert "make the bundle with a new inventory of this site, or without one" in said(refused)
    assert inside.registry("HEAD", manifest_of(image))[0] == 404, "it was tagged without one of its blobs"
