# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands inside the sandbox, for the integration tests."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from typing import Any

import yaml

from dev.journey import CHECKOUT, HOME_INSIDE, Journey

HOSTS = ("bastion", "registry", "control-plane", "worker-1")
# Asks the registry's port for pushes as its user; prints the status, and the digest where the answer has one.
REQUEST = """
import base64, os, ssl, sys, urllib.error, urllib.request
method, path = sys.argv[1:]
home = os.path.expanduser("~/.airgap/secrets")
password = open(home + "/registry-push-password").read().strip()
token = base64.b64encode(b"airgap-push:" + password.encode()).decode()
kinds = ["application/vnd.oci.image.%s.v1+json" % kind for kind in ("manifest", "index")]
kinds += ["application/vnd.docker.distribution.manifest.%sv2+json" % kind for kind in ("", "list.")]
headers = {"Authorization": "Basic " + token, "Accept": ", ".join(kinds)}
request = urllib.request.Request("https://registry.airgap.internal:5001/v2/" + path, method=method, headers=headers)
try:
    answer = urllib.request.urlopen(request, context=ssl.create_default_context(cafile=home + "/ca/ca.crt"))
except urllib.error.HTTPError as error:
    answer = error
print(answer.status, answer.headers.get("Docker-Content-Digest", ""))
"""


def sandbox_release() -> dict[str, Any]:
    """The release of the sandbox's inventory."""
    listed = CHECKOUT / "inventories" / "sandbox" / "group_vars" / "all" / "releases.yml"
    found: dict[str, Any] = yaml.safe_load(listed.read_text())["airgap_releases"][0]
    return found


@dataclass(frozen=True)
class Done:
    """What a command printed and how it ended."""

    rc: int
    text: str


def changed(done: Done) -> bool:
    """Whether a playbook, which ended well, changed anything on the bastion."""
    assert done.rc == 0, done.text
    recap = done.text.rsplit("PLAY RECAP", 1)[-1]
    return not any(line.startswith("bastion") and " changed=0 " in line for line in recap.splitlines())


class Inside:
    """Commands inside the sandbox; what they print is kept with the journey's logs, for the search for secrets."""

    def __init__(self, journey: Journey) -> None:
        self.journey = journey
        self._kept = journey.work / "logs" / "tests.log"

    def on(self, host: str, *argv: str, user: str = "", stdin: str = "") -> Done:
        as_user = ("--user", user) if user else ()
        done = subprocess.run(
            self.journey.sandbox_argv("exec", *as_user, host, "--", *argv),
            cwd=CHECKOUT,
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
        with self._kept.open("a") as kept:
            kept.write(f"$ {host}: {' '.join(argv)}\n{done.stdout}\n")
        return Done(done.returncode, done.stdout)

    def playbook(self, name: str, *arguments: str, **extra: object) -> Done:
        """One of our playbooks; `extra` variables stand over those of the arguments."""
        argv = [
            f"{HOME_INSIDE}/.airgap/bin/ansible-playbook",
            f"airgap.speech.{name}",
            "-i",
            f"{HOME_INSIDE}/inventory",
        ]
        return self.on("bastion", *argv, *arguments, "-e", json.dumps(extra))

    def registry(self, method: str, path: str) -> tuple[int, str]:
        """The status and the digest of an answer of the registry, such as to HEAD NAME/manifests/TAG."""
        done = self.on("bastion", "python3", "-c", REQUEST, method, path)
        assert done.rc == 0, done.text
        status, _blank, digest = done.text.strip().partition(" ")
        return int(status), digest.strip()

    def kubectl(self, *argv: str, stdin: str = "") -> Done:
        return self.on("bastion", f"{HOME_INSIDE}/.airgap/bin/kubectl", *argv, stdin=stdin)

    def kubectl_json(self, *argv: str) -> dict[str, Any]:
        done = self.kubectl(*argv, "-o", "json")
        assert done.rc == 0, done.text
        answer: dict[str, Any] = json.loads(done.text)
        return answer

    def logs(self, name: str) -> list[str]:
        """The kept outputs of a step, oldest first."""
        return [path.read_text() for path in sorted((self.journey.work / "logs").glob(f"*-{name}.log"))]
