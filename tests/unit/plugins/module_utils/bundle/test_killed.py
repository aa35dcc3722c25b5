# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bundle whose making is killed twenty times: it goes on, loses nothing that was finished, and ends byte-equal."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Optional

from ansible_collections.airgap.speech.plugins.module_utils.bundle import signature
from ansible_collections.airgap.speech.plugins.module_utils.bundle.lock import load
from ansible_collections.airgap.speech.plugins.module_utils.bundle.verify import digest_of, verify_bundle
from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import Layout
from tests.unit.plugins.module_utils.bundle.faults import Fault, fault_proxy
from tests.unit.plugins.module_utils.bundle.upstreams import add_image, noise, push_image, sha256
from tests.unit.registry_server import RegistryServer, plain_registry_server  # noqa: F401 - fixture

CHECKOUT = Path(__file__).resolve().parents[5]
KILLS = 20
MB = 1_000_000

MAKE = """
import json, subprocess, sys
sys.path.insert(0, sys.argv[1])
import tests.unit.conftest
from ansible_collections.airgap.speech.plugins.module_utils.bundle import signature
from ansible_collections.airgap.speech.plugins.module_utils.bundle.cache import Cache
from ansible_collections.airgap.speech.plugins.module_utils.bundle.logins import Registries
from ansible_collections.airgap.speech.plugins.module_utils.bundle.maker import Maker
from ansible_collections.airgap.speech.plugins.module_utils.bundle.spec import ExtraImage, ModelSpec, Spec

given = json.loads(sys.argv[2])

def run(argv, stdin=b""):
    done = subprocess.run(argv, input=stdin, capture_output=True)
    return done.returncode, done.stdout.decode(), done.stderr.decode()

spec = Spec(
    dest=given["dest"], collection=given["collection"], source_date_epoch=1700000000, threads=2,
    images=[ExtraImage(name, "test") for name in given["images"]],
    models=[ModelSpec("m", "1", "stt", "e", given["files"], "test")],
)
registries = Registries({"quay.io": {"endpoint": given["endpoint"], "plain_http": True}})
print("ready", flush=True)
made = Maker(spec, Cache(given["cache"]), run, None, registries, lambda line: None).make()
if made.changed or not signature.blocks(given["dest"] + "/bundle.lock.json.sig"):
    signature.sign(run, given["dest"] + "/bundle.lock.json", given["key"])
"""


class Making:
    """One process that makes the bundle."""

    def __init__(self, given: dict[str, object]) -> None:
        argv = [sys.executable, "-c", MAKE, str(CHECKOUT), json.dumps(given)]
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n", self.process.communicate()[1]

    def finish(self) -> None:
        _out, err = self.process.communicate()
        assert self.process.returncode == 0, err

    def kill(self) -> bool:
        """Whether it was still at it."""
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()
        return self.process.returncode == -signal.SIGKILL


def finished(cache: Path) -> set[str]:
    """The blobs of the cache, each of which has to be what its name says."""
    found = set()
    for path in cache.glob("oci/blobs/sha256/*"):
        if not path.name.startswith("."):
            assert digest_of(str(path)) == "sha256:" + path.name
            found.add(path.name)
    return found


def goes_on(kept: dict[str, int], asked: list[tuple[str, str, Optional[str]]]) -> int:
    """How many blobs were asked for from where an earlier run left them, each of which has to begin just there."""
    begins: dict[str, int] = {}
    for _method, path, wanted in asked:
        name = path.rpartition("sha256:")[2]
        if "/blobs/" in path and kept.get(name):
            begins.setdefault(name, int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0)
    assert begins == {name: kept[name] for name in begins}
    return len(begins)


def snapshot(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_killed_twenty_times(
    tmp_path: Path,
    plain_registry_server: RegistryServer,  # noqa: F811
) -> None:
    upstream = Layout(tmp_path / "upstream")
    upstream.create()
    base = noise("base", 9 * MB)
    names = []
    for number in range(4):
        image = add_image(upstream, [base, noise(f"layer {number}", (2 + 3 * number) * MB)])
        names.append(f"app-{number}:1")
        push_image(plain_registry_server, upstream, image.digest, names[-1])
    weights = noise("weights", 8 * MB)
    (tmp_path / "model.bin").write_bytes(weights)
    (tmp_path / "collection").mkdir()
    info = {"collection_info": {"namespace": "airgap", "name": "speech", "version": "9.9.9"}}
    (tmp_path / "collection" / "MANIFEST.json").write_text(json.dumps(info))
    (tmp_path / "collection" / "FILES.json").write_text('{"files": []}')
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")], check=True)
    source = {"file": str(tmp_path / "model.bin")}
    given: dict[str, object] = {
        "collection": str(tmp_path / "collection"),
        "images": ["quay.io/" + name for name in names],
        "files": [{"path": "model.bin", "sha256": sha256(weights)[7:], "size": len(weights), "source": source}],
        "key": str(tmp_path / "key"),
        "endpoint": plain_registry_server.endpoint,
    }
    whole = {**given, "dest": str(tmp_path / "whole"), "cache": str(tmp_path / "cache-whole")}
    Making(whole).finish()
    expected = snapshot(tmp_path / "whole")

    dest, cache = tmp_path / "killed", tmp_path / "cache-killed"
    key = (tmp_path / "key.pub").read_text()
    (tmp_path / "signers").write_text(signature.signers_line(key))
    moments = random.Random(20)  # noqa: S311 - moments
    killed, had, resumed = 0, set[str](), 0
    with fault_proxy(plain_registry_server.endpoint) as proxy:
        # So slow that the kills find it at work, most of them inside a blob.
        proxy.faults.append(Fault("/blobs/", rate=12 * MB, times=10**6))
        part = {**given, "dest": str(dest), "cache": str(cache), "endpoint": proxy.endpoint}
        while killed < KILLS:
            kept = {path.name: path.stat().st_size for path in cache.glob("partial/*")}
            proxy.asked.clear()
            making = Making(part)
            time.sleep(moments.uniform(0.0, 0.4))
            if making.kill():
                killed += 1
            now = finished(cache)
            assert had <= now
            had = now
            resumed += goes_on(kept, proxy.asked)
            if (dest / "bundle.lock.json.sig").exists():
                verify_bundle(str(dest), load(str(dest)))
                assert signature.verify(_run, str(dest / "bundle.lock.json"), str(tmp_path / "signers"))
                # Done already: the next kills find it at a bundle that is to be made again from the same cache.
                shutil.rmtree(dest)
        kept = {path.name: path.stat().st_size for path in cache.glob("partial/*")}
        proxy.asked.clear()
        Making(part).finish()
        resumed += goes_on(kept, proxy.asked)
    assert snapshot(dest) == expected
    assert not list(cache.glob("partial/*"))
    assert resumed


def _run(argv: list[str], stdin: bytes | None = b"") -> tuple[int, str, str]:
    done = subprocess.run(argv, input=stdin, capture_output=True, check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()
