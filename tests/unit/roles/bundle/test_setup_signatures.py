# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""setup.sh of a bundle that several keys signed, where the site asks for more than one of them."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from ansible_collections.airgap.speech.plugins.module_utils.bundle import signature
from ansible_collections.airgap.speech.plugins.modules import bundle as bundle_module
from tests.unit.plugins.modules.run_module import run_module
from tests.unit.plugins.modules.test_bundle import (
    carried,  # noqa: F401 - fixture
    setup,
    site,  # noqa: F401 - fixture
)
from tests.unit.registry_server import plain_registry_server  # noqa: F401 - fixture


def test_two_signatures_are_wanted(
    carried: tuple[Path, str],  # noqa: F811
    site: dict[str, Any],  # noqa: F811
    tmp_path: Path,
) -> None:
    bundle, first = carried
    prefix = tmp_path / "prefix"
    wanted = ["--signers", site["signers_file"], "--signatures", "2", "--prefix", str(prefix)]
    alone = setup(bundle, *wanted)
    assert alone.returncode == 1
    assert (
        "bundle.lock.json.sig is signed by 1 trusted keys, where 2 are wanted; have the others sign it" in alone.stderr
    )
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "second")], check=True)
    site["more_signing_keys"] = [str(tmp_path / "second")]
    site["controller_requirements"] = str(tmp_path / "requirements.txt")
    assert run_module(bundle_module.main, site)["changed"]
    revoked = tmp_path / "revoked"
    revoked.write_text((tmp_path / "second.pub").read_text())
    second = signature.key_fingerprint(revoked.read_text())
    without = setup(bundle, *wanted, "--revoked", str(revoked))
    assert without.returncode == 1
    assert f"was made by the key {second} of airgap-speech-bundle, which {revoked} revokes" in without.stderr
    one_key = setup(bundle, "--fingerprint", first, "--signatures", "2")
    assert "--fingerprint names one key, and --signatures asks for 2; give --signers, a file" in one_key.stderr
    for wrong in ("0", "two", ""):
        refused = setup(bundle, "--signers", site["signers_file"], "--signatures", wrong)
        assert f"--signatures {wrong} is no count; give 1 or more" in refused.stderr
    assert not prefix.exists()
    both = setup(bundle, *wanted)
    assert both.returncode == 0, both.stderr
    assert "controller: changed" in both.stdout
