# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a site's inventory says about signers, from preflight's tasks to the message: played by Ansible."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple, Optional

import pytest

from ansible_collections.airgap.speech.plugins.module_utils.bundle import signature
from ansible_collections.airgap.speech.plugins.module_utils.bundle.lock import LOCK_NAME
from tests.unit.plugins.module_utils.bundle.parts_samples import make_bundle
from tests.unit.roles.playing import run_plays

NAMES = ("first", "second", "stranger")


class Case(NamedTuple):
    """A bundle, whose keys signed it, what the inventory says of trust, and what preflight says then."""

    name: str
    signed_by: list[str]
    trust: dict[str, str]
    said: str


TAKEN = [
    Case("one of one", ["first"], {"signers": "ROOT/signers"}, "signed by first"),
    Case(
        "both, where two are wanted",
        ["first", "second"],
        {"signers": "ROOT/signers", "signatures": "2"},
        "first, second",
    ),
    Case(
        "the other one is revoked",
        ["first", "second"],
        {"signers": "ROOT/signers", "revoked": "ROOT/revoked"},
        "by first",
    ),
    Case("a fingerprint", ["first"], {"fingerprint": "FIRST"}, "signed by airgap-speech-bundle"),
]

# Each message is whole; ROOT is the site's directory, LOCK the bundle's lock, FIRST the fingerprint of the key `first`.
REFUSED = [
    Case(
        "two are wanted and one signed",
        ["first"],
        {"signers": "ROOT/signers", "signatures": "2"},
        "LOCK.sig: is signed by 1 trusted keys, where 2 are wanted; have the others sign it on the connected side",
    ),
    Case(
        "one key signed twice",
        ["first", "first"],
        {"signers": "ROOT/signers", "signatures": "2"},
        "LOCK.sig: is signed by 1 trusted keys, where 2 are wanted; have the others sign it on the connected side",
    ),
    Case(
        "two are wanted and one is a stranger",
        ["first", "stranger"],
        {"signers": "ROOT/signers", "signatures": "2"},
        "LOCK.sig: was made by the key STRANGER, which ROOT/signers does not trust; check who made the bundle, and add "
        "the line of that signer only if it was handed over separately",
    ),
    Case(
        "revoked",
        ["second"],
        {"signers": "ROOT/signers", "revoked": "ROOT/revoked"},
        "LOCK.sig: was made by the key SECOND of second, which ROOT/revoked revokes; do not use this bundle before "
        "somebody who is still trusted has signed it again",
    ),
    Case(
        "two are wanted and one is revoked",
        ["first", "second"],
        {"signers": "ROOT/signers", "signatures": "2", "revoked": "ROOT/revoked"},
        "LOCK.sig: was made by the key SECOND of second, which ROOT/revoked revokes; do not use this bundle before "
        "somebody who is still trusted has signed it again",
    ),
    Case(
        "expired",
        ["second"],
        {"signers": "ROOT/one-expired"},
        "LOCK.sig: was made by the key SECOND, which ROOT/one-expired trusts only before 20200101; have the bundle "
        "signed with a key that is good now, or correct the clock of this machine",
    ),
    Case(
        "no file of revoked keys",
        ["first"],
        {"signers": "ROOT/signers", "revoked": "ROOT/nowhere"},
        "ROOT/nowhere: the file of revoked keys cannot be read (No such file or directory); bring it, or name another",
    ),
    Case(
        "a file of revoked keys that is none",
        ["first"],
        {"signers": "ROOT/signers", "revoked": "ROOT/no-list"},
        "ROOT/no-list: is neither a list of revoked public keys nor what `ssh-keygen -k` makes; copy it again",
    ),
    Case(
        "a fingerprint is one key",
        ["first"],
        {"fingerprint": "FIRST", "signatures": "2"},
        "airgap_bundle_fingerprint names one key, and airgap_bundle_signatures asks for 2; give airgap_bundle_signers, "
        "an allowed_signers file with all of them, in place of the fingerprint",
    ),
    Case(
        "no signature",
        [],
        {"signers": "ROOT/signers"},
        "LOCK.sig: there is no signature, so nobody vouches for this bundle; copy the bundle again, or sign it on the "
        "connected side",
    ),
    Case(
        "nobody is trusted",
        ["first"],
        {},
        "LOCK: nobody is trusted to sign it; set airgap_bundle_signers to an allowed_signers file",
    ),
]


class Site:
    """Keys, files of signers, and bundles signed with these keys."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.bundle = make_bundle(root / "bundle", model_size=1000)
        for name in NAMES:
            run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(root / name)], None)
        (root / "signers").write_text("".join(map(self.line, NAMES[:2])))
        (root / "one-expired").write_text(
            self.line("first") + self.line("second").replace(" namespaces", ' valid-before="20200101",namespaces')
        )
        (root / "revoked").write_text(self.public("second"))
        (root / "no-list").write_text("second\n")

    def public(self, name: str) -> str:
        return (self.root / f"{name}.pub").read_text()

    def line(self, name: str) -> str:
        return signature.signers_line(self.public(name), name)

    def filled(self, text: str, bundle: Path) -> str:
        """A text with the paths and fingerprints of this site."""
        text = text.replace("LOCK", str(bundle / LOCK_NAME)).replace("ROOT", str(self.root))
        for name in NAMES:
            text = text.replace(name.upper(), signature.key_fingerprint(self.public(name)))
        return text

    def play(self, number: int, case: Case) -> dict[str, Any]:
        """The role's own order: its answers are begun, its bundle is looked at, and what it found is written down."""
        bundle = self.root / f"bundle-{number}"
        shutil.copytree(self.bundle, bundle)
        if case.signed_by:
            signature.sign(run, str(bundle / LOCK_NAME), *(str(self.root / name) for name in case.signed_by))
        found = "{{ {'failures': __preflight_failures, 'passed': __preflight_passed} | to_json }}"
        return {
            "hosts": "localhost",
            "gather_facts": False,
            "vars": {
                "airgap_bundle": str(bundle),
                **{f"airgap_bundle_{name}": self.filled(value, bundle) for name, value in case.trust.items()},
            },
            "tasks": [
                {"ansible.builtin.set_fact": {"__preflight_failures": [], "__preflight_passed": []}},
                {"ansible.builtin.include_role": {"name": "airgap.speech.preflight", "tasks_from": "bundle"}},
                {"ansible.builtin.copy": {"content": found, "dest": str(bundle) + ".json", "mode": "0600"}},
            ],
        }


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """All cases, played by one ansible-playbook."""
    root = tmp_path_factory.mktemp("site")
    made = Site(root)
    done = run_plays(root, [made.play(*item) for item in enumerate(TAKEN + REFUSED)], {})
    assert done.returncode == 0, done.stdout + done.stderr
    return made


def run(argv: list[str], stdin: Optional[bytes]) -> tuple[int, str, str]:
    done = subprocess.run(argv, input=stdin, capture_output=True, check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def names(cases: list[Case]) -> list[str]:
    return [case.name for case in cases]


@pytest.mark.parametrize("case", TAKEN, ids=names(TAKEN))
def test_taken(site: Site, case: Case) -> None:
    found = json.loads((site.root / f"bundle-{TAKEN.index(case)}.json").read_text())
    assert found["failures"] == []
    assert case.said in found["passed"][0]


@pytest.mark.parametrize("case", REFUSED, ids=names(REFUSED))
def test_refused(site: Site, case: Case) -> None:
    bundle = site.root / f"bundle-{len(TAKEN) + REFUSED.index(case)}"
    found = json.loads(Path(str(bundle) + ".json").read_text())
    assert found["passed"] == []
    (failure,) = found["failures"]
    # Some versions of ssh-keygen say this much more.
    failure["cause"] = failure["cause"].replace(" (No principal matched.)", "")
    expected = {"thing": f"bundle {bundle}", "cause": site.filled(case.said, bundle), "next_step": "then run again"}
    assert failure == expected
