# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A second bundle on the sandbox of `make demo`: the way of docs/operations.md, where it is hardest (make test-full).

The next bundle's image and chart have the names and versions of the first one's, and other contents.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from dev.journey import BUNDLE_INSIDE, HOME_INSIDE
from tests.full.conftest import CHECKOUT
from tests.integration.inside import Done, Inside, changed

NEW_INSIDE = f"{HOME_INSIDE}/new-bundle"
OPEN_SPEECH = "roles/speech_platform/profiles/open_speech"
MARK = "airgap-speech-test/edition"


def run(*argv: str, cwd: Path = CHECKOUT) -> None:
    environment = {**os.environ, "ANSIBLE_CONFIG": str(cwd / "ansible.cfg")}
    done = subprocess.run(
        argv, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:]


def lock_of(bundle: Path) -> dict[str, dict[str, Any]]:
    """Images and charts of a bundle, by reference."""
    lock = json.loads((bundle / "bundle.lock.json").read_text())
    return {item["reference"]: item for item in lock["images"] + lock["charts"]}


@pytest.fixture(scope="module")
def new_bundle(inside: Inside, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of an edited copy of the checkout, carried in beside the first one."""
    copy = tmp_path_factory.mktemp("next") / "checkout"
    run("dev/copy", str(copy))
    server = copy / OPEN_SPEECH / "image" / "open_speech" / "__init__.py"
    # New each time: what an earlier run has put into the registry is no newer bundle.
    server.write_text(server.read_text() + f"\n# Edition {time.time_ns()}.\n")
    service_account = copy / OPEN_SPEECH / "chart" / "templates" / "serviceaccount.tpl"
    text = service_account.read_text()
    assert text.count("\n  labels:") == 1
    service_account.write_text(text.replace("\n  labels:", f"\n  labels:\n    {MARK}: second"))
    work = copy.parent / "work"
    shutil.copytree(inside.journey.work / "signing", work / "signing")
    run(sys.executable, "-m", "dev.journey", "bundle", "--work", str(work), cwd=copy)
    first, second = lock_of(inside.journey.bundle_directory), lock_of(work / "bundle")
    moved = {reference for reference, item in second.items() if first[reference]["digest"] != item["digest"]}
    assert {reference.partition(":")[0].rpartition("/")[2] for reference in moved} == {"open-speech"}
    assert len(moved) == 2
    assert inside.on("bastion", "rm", "-rf", NEW_INSIDE).rc == 0
    inside.journey.copy(work / "bundle", NEW_INSIDE)
    return work / "bundle"


def site(inside: Inside, bundle: str, **more: object) -> Done:
    return inside.playbook("site", airgap_bundle=bundle, **more)


def image_of(bundle: Path) -> str:
    return next(
        item["digest"] for reference, item in lock_of(bundle).items() if reference.startswith("ghcr.io/airgap-speech/")
    )


def serves(inside: Inside, digest: str, mark: str | None) -> None:
    """Every pod of the release runs that image, and the chart is the one with that mark."""
    pods = inside.kubectl_json("get", "pods", "-n", "speech", "-l", "app.kubernetes.io/instance=speech")["items"]
    servers = [
        pod["spec"]["containers"][0]["image"]
        for pod in pods
        if pod["status"]["phase"] == "Running" and not pod["metadata"].get("deletionTimestamp")
    ]
    assert servers and all(image.endswith(digest) for image in servers), servers
    account = inside.kubectl_json("get", "serviceaccount", "speech", "-n", "speech")
    assert account["metadata"]["labels"].get(MARK) == mark


def test_up_and_back(inside: Inside, new_bundle: Path) -> None:
    old = image_of(inside.journey.bundle_directory)
    assert inside.on("bastion", f"{NEW_INSIDE}/setup.sh", "--signers", f"{HOME_INSIDE}/allowed_signers").rc == 0

    assert changed(site(inside, NEW_INSIDE))
    serves(inside, image_of(new_bundle), "second")
    assert not changed(site(inside, NEW_INSIDE))

    refused = site(inside, BUNDLE_INSIDE)
    assert refused.rc != 0 and "the registry holds something newer" in refused.text, refused.text
    serves(inside, image_of(new_bundle), "second")

    assert changed(site(inside, BUNDLE_INSIDE, image_mirror_move_tags=True))
    serves(inside, old, None)
    assert not changed(site(inside, BUNDLE_INSIDE))
