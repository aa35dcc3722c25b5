# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Our layout read by the tools of others: each copies an image and an index out of it, with the digests unchanged."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Optional

import pytest

from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import Layout
from ansible_collections.airgap.speech.plugins.module_utils.oci.registry import Registry
from tests.unit.plugins.module_utils.oci.samples import add_image, add_index, noise
from tests.unit.registry_server import RegistryServer, plain_registry_server  # noqa: F401 - fixture


def program(name: str) -> Optional[str]:
    """A tool on the PATH, or where `make bench-mirror` built it."""
    found = shutil.which(name)
    if found:
        return found
    cache = Path(os.environ.get("AIRGAP_SPEECH_CACHE") or Path.home() / ".cache" / "airgap-speech")
    built = sorted(cache.glob(f"go-bench/{name}/*/{name}"))
    return str(built[-1]) if built else None


@pytest.fixture(name="layout")
def a_layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path / "oci")
    layout.create()
    return layout


@pytest.mark.parametrize("tool", ["skopeo", "oras", "crane", "regctl"])
def test_peer_copies_out_of_our_layout(
    plain_registry_server: RegistryServer,  # noqa: F811
    layout: Layout,
    tmp_path: Path,
    tool: str,
) -> None:
    path = program(tool)
    if path is None:
        pytest.skip(f"{tool} is not on this machine; `make bench-mirror` brings it")
    amd64 = add_image(layout, [noise("amd64", 50_000)], "linux/amd64")
    arm64 = add_image(layout, [noise("arm64", 50_000)], "linux/arm64")
    index = add_index(layout, {"linux/amd64": amd64, "linux/arm64": arm64})
    wanted = {"image": amd64, "index": index}
    layout.set_index([(layout.describe(digest), name) for name, digest in wanted.items()])
    registry = plain_registry_server.endpoint
    for name, digest in wanted.items():
        target = f"{registry}/{tool}/{name}:1"
        if tool == "skopeo":
            head = [path, "--insecure-policy", "copy", "--all", "--preserve-digests", "--dest-tls-verify=false"]
            command = [*head, f"oci:{layout.path}:{name}", f"docker://{target}"]
        elif tool == "oras":
            command = [path, "cp", "--to-plain-http", "--from-oci-layout", f"{layout.path}:{name}", target]
        elif tool == "regctl":
            command = [path, "image", "copy", f"--host=reg={registry},tls=disabled", f"ocidir://{layout.path}:{name}"]
            command.append(target)
        else:
            # crane pushes all of a layout: one with only this entry, over the same blobs.
            own = Layout(tmp_path / name)
            own.path.mkdir()
            shutil.copyfile(layout.path / "oci-layout", own.path / "oci-layout")
            (own.path / "blobs").symlink_to(layout.path / "blobs")
            own.set_index([(layout.describe(digest), name)])
            command = [path, "push", *(["--index"] if name == "index" else []), str(own.path), target]
        environment = {**os.environ, "HOME": str(tmp_path / "home")}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 0, done.stdout + done.stderr
        found = Registry(registry, plain_http=True).head_manifest(f"{tool}/{name}", "1")
        assert found is not None
        if tool == "crane" and name == "index":
            # crane push --index wraps what a layout lists; ours is the one entry of its index.
            data = Registry(registry, plain_http=True).get_manifest(f"{tool}/{name}", "1")[0]
            assert digest.encode() in data or found.digest == digest
        else:
            assert found.digest == digest
