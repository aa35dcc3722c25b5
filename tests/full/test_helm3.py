# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole site with the oldest and the newest Helm 3, on the sandbox of `make demo` (make test-full)."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from dev.journey import HOME_INSIDE
from sandbox.build import tool_dir
from sandbox.settings import versions
from tests.full.conftest import CHECKOUT
from tests.integration.inside import Inside, changed


@pytest.mark.parametrize("tool", ["helm3-oldest", "helm3"])
def test_deploys_and_takes_back(inside: Inside, release: dict[str, Any], tool: str) -> None:
    subprocess.run([sys.executable, "-m", "sandbox", "build", tool], cwd=CHECKOUT, check=True)
    program = f"{HOME_INSIDE}/{tool}"
    inside.journey.copy(tool_dir(tool) / "helm", program)
    version = inside.on("bastion", program, "version", "--short").text
    assert version.startswith(versions()["go"][tool]["module_version"])
    helm = {"speech_platform_helm_binary": program, "smoke_test_helm_binary": program}

    assert changed(inside.playbook("uninstall", **helm))
    assert changed(inside.playbook("site", **helm))
    for again in ({}, helm):  # Helm 4 takes over what Helm 3 deployed.
        assert not changed(inside.playbook("site", **again))

    release["values"]["stt"]["resources"] = {"requests": {"memory": "900Gi"}, "limits": {"memory": "900Gi"}}
    failed = inside.playbook("deploy", **helm, airgap_releases=[release], speech_platform_timeout="40s")
    assert failed.rc != 0, failed.text
    for said in ("Insufficient memory", "It was taken back to what was there before"):
        assert said in failed.text, failed.text
    assert not changed(inside.playbook("verify", **helm))
    history = inside.on("bastion", program, "history", "speech", "-n", "speech", "-o", "json", user="ops")
    assert json.loads(history.text)[-1]["status"] == "deployed"
