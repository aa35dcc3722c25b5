# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What preflight says of a bundle whose tags the registry holds with other contents: what the mirror will say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.unit.plugins.module_utils.bundle.parts_samples import make_bundle
from tests.unit.registry_server import RegistryServer, registry_server  # noqa: F401 - fixture
from tests.unit.roles.playing import run_plays

KEPT = "{{ {'failures': __preflight_failures, 'bytes': __preflight_mirror.bytes_sent | default(none)} | to_json }}"


def preflight(bundle: Path, result: Path, variables: dict[str, Any]) -> dict[str, Any]:
    return {
        "hosts": "localhost",
        "gather_facts": False,
        "vars": {"airgap_bundle": str(bundle), **variables},
        "tasks": [
            {"ansible.builtin.set_fact": {"__preflight_failures": [], "__preflight_passed": []}},
            {"ansible.builtin.include_role": {"name": "airgap.speech.preflight", "tasks_from": "bundle"}},
            {"ansible.builtin.copy": {"content": KEPT, "dest": str(result), "mode": "0600"}},
        ],
    }


def test_a_tag_may_leave_what_an_earlier_bundle_put_there(
    registry_server: RegistryServer,  # noqa: F811
    tmp_path: Path,
) -> None:
    old, new = (make_bundle(tmp_path / f"bundle-{name}", name, model_size=1000) for name in "12")
    site = {
        "airgap_bundle_allow_unsigned": True,
        "airgap_registry": registry_server.endpoint,
        "airgap_registry_push_username": registry_server.username,
        "airgap_registry_push_password_file": str(registry_server.password_file),
        "airgap_registry_ca_file": str(registry_server.ca_file),
        "airgap_locks_dir": str(tmp_path / "locks"),
        "image_mirror_session_file": "",
    }
    mirror = {
        "hosts": "localhost",
        "gather_facts": False,
        "vars": {"airgap_bundle": str(old)},
        "tasks": [{"ansible.builtin.include_role": {"name": "airgap.speech.image_mirror"}}],
    }
    elsewhere = {"preflight_locks_dir": str(tmp_path / "none")}
    plays = [
        mirror,
        preflight(new, tmp_path / "known.json", {}),
        preflight(new, tmp_path / "foreign.json", elsewhere),
        preflight(new, tmp_path / "moved.json", {**elsewhere, "image_mirror_move_tags": True}),
    ]
    done = run_plays(tmp_path, plays, site)
    assert done.returncode == 0, done.stdout + done.stderr
    known, foreign, moved = (
        json.loads((tmp_path / f"{name}.json").read_text()) for name in ("known", "foreign", "moved")
    )
    assert known["failures"] == []
    assert known["bytes"] > 90_000
    assert moved == known
    (failure,) = foreign["failures"]
    assert failure["thing"] == f"registry {registry_server.endpoint}"
    for said in ("airgap/a:1 (holds sha256:", "that no bundle of this site put there", "(move_tags)"):
        assert said in failure["cause"]
