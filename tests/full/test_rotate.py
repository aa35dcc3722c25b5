# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""API keys and registry passwords are changed on the sandbox of `make demo` (make test-full)."""

from __future__ import annotations

import base64
import time
from typing import Any

from dev.journey import HOME_INSIDE
from tests.integration.inside import Inside, changed
from tests.scenarios.way import forget_image

SECRETS = f"{HOME_INSIDE}/.airgap/secrets"


def keys(inside: Inside) -> dict[str, str]:
    data = inside.kubectl_json("get", "secret", "speech-api-keys", "-n", "speech")["data"]
    return {name: base64.b64decode(value).decode().strip() for name, value in data.items()}


def heard_with(inside: Inside, key: str) -> str:
    """The status with which speech to text answers a request with that key and nothing in it."""
    code = (
        "import os, sys, urllib.error, urllib.request\n"
        "request = urllib.request.Request('http://127.0.0.1:8000/v1/audio/transcriptions', b'', method='POST')\n"
        "request.add_header('Authorization', 'Bearer ' + sys.stdin.read().strip())\n"
        "try:\n    print(urllib.request.urlopen(request, timeout=30).status)\n"
        "except urllib.error.HTTPError as error:\n    print(error.code)\n"
    )
    done = inside.kubectl("exec", "-i", "-n", "speech", "deploy/speech-stt", "--", "python3", "-c", code, stdin=key)
    assert done.rc == 0, done.text
    return done.text.strip().splitlines()[-1]


def test_api_keys(inside: Inside, release: dict[str, Any]) -> None:
    def with_keys(*names: str) -> list[dict[str, Any]]:
        return [{**release, "api_keys": list(names)}]

    old = keys(inside)
    assert list(old) == ["default"]
    try:
        assert changed(inside.playbook("credentials", airgap_releases=with_keys("default", "second")))
        both = keys(inside)
        assert both["default"] == old["default"] != both["second"]
        assert not changed(inside.playbook("verify", airgap_releases=with_keys("default", "second")))
        assert changed(inside.playbook("credentials", airgap_releases=with_keys("second")))
        assert keys(inside) == {"second": both["second"]}
        # The kubelet brings a changed Secret to the pods within its own time; they are not restarted.
        for _attempt in range(60):
            if heard_with(inside, old["default"]) == "401":
                break
            time.sleep(5)
        assert heard_with(inside, old["default"]) == "401"
        assert heard_with(inside, both["second"]) not in ("401", "403")
        assert not changed(inside.playbook("verify", airgap_releases=with_keys("second")))
        assert not changed(inside.playbook("site", airgap_releases=with_keys("second")))
    finally:
        assert changed(inside.playbook("credentials"))
    assert keys(inside) == old


def test_registry_passwords(inside: Inside) -> None:
    image = inside.kubectl_json("get", "deployment", "speech-tts", "-n", "speech")
    name = image["spec"]["template"]["spec"]["containers"][0]["image"]
    for user in ("push", "pull"):
        path = f"{SECRETS}/registry-{user}-password"
        assert inside.on("bastion", "mv", path, f"{path}.old").rc == 0
    try:
        for playbook in ("registry", "node_runtime", "credentials"):
            assert inside.playbook(playbook).rc == 0
        refused = inside.playbook("mirror", image_mirror_password_file=f"{SECRETS}/registry-push-password.old")
        assert refused.rc != 0 and "401" in refused.text, refused.text
        # A node pulls with the new password.
        forget_image(inside, "worker-1", name.partition("@")[2])
        assert inside.kubectl("rollout", "restart", "-n", "speech", "deployment/speech-tts").rc == 0
        ready = inside.kubectl("rollout", "status", "-n", "speech", "deployment/speech-tts", "--timeout=300s")
        assert ready.rc == 0, ready.text
        assert not changed(inside.playbook("site"))
    finally:
        inside.on("bastion", "rm", "-f", *(f"{SECRETS}/registry-{user}-password.old" for user in ("push", "pull")))
