# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small images made of files, without an engine: for the nodes as archives, for the upstream registry as blobs."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sandbox.build import tool_dir, tool_key
from sandbox.containers import File, docker, has_image, tar_of
from sandbox.rootfs import rootfs_tar
from sandbox.run import Steps, as_root, run
from sandbox.settings import cache_dir, digest, versions

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
HOST = "sandbox.airgap.internal"
SCRATCH = "airgap-sandbox/scratch:1"
CREATED = "2026-01-01T00:00:00Z"

# The images of the cluster itself, in every node before it starts, are made of these tools.
SYSTEM_TOOLS = ("pause", "coredns", "local-path-provisioner", "metrics-server")
BUSYBOX = f"{HOST}/busybox:1"
# Space-separated, as the list is long. Tests use these.
APPLETS = """
awk basename cat chmod chown cp cut date dd df dirname du echo env false find grep gunzip gzip head hostname httpd id ip
kill ln ls md5sum mkdir mount mv nc nslookup od ping printf ps readlink rm rmdir sed seq sh sha256sum sleep sort stat
sync tail tar tee test timeout touch tr true umount uname uniq vi wc wget whoami xargs
"""


def system_image(tool: str) -> str:
    """The reference of a tool's image in the nodes."""
    return f"{HOST}/{tool}:{versions()['go'][tool].get('module_version', '1')}"


def sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


@dataclass
class Image:
    """An image for one platform: its blobs by digest, and its manifest."""

    manifest: bytes
    blobs: dict[str, bytes] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        return sha256(self.manifest)


def make_image(layers: list[bytes], config: dict[str, Any], *, compress: bool) -> Image:
    """An image of tar layers; the same input gives the same digests."""
    packed = [gzip.compress(layer, 5, mtime=0) if compress else layer for layer in layers]
    return pack([(sha256(layer), data) for layer, data in zip(layers, packed)], config, compressed=compress)


def pack(layers: list[tuple[str, bytes]], config: dict[str, Any], *, compressed: bool) -> Image:
    """An image of layers, each given by the digest of its tar and the bytes that are kept."""
    blobs: dict[str, bytes] = {}
    described = []
    for _diff_id, data in layers:
        blobs[sha256(data)] = data
        described.append(
            {"mediaType": LAYER + ("+gzip" if compressed else ""), "digest": sha256(data), "size": len(data)}
        )
    document = {
        "created": CREATED,
        "architecture": "amd64",
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [diff_id for diff_id, _data in layers]},
    }
    data = json.dumps(document, sort_keys=True).encode()
    blobs[sha256(data)] = data
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "digest": sha256(data), "size": len(data)},
        "layers": described,
    }
    return Image(json.dumps(manifest, sort_keys=True).encode(), blobs)


def write_archive(image: Image, reference: str, target: Path) -> None:
    """The image as an OCI archive that containerd imports under its reference."""
    descriptor = {
        "mediaType": MANIFEST,
        "digest": image.digest,
        "size": len(image.manifest),
        "platform": {"architecture": "amd64", "os": "linux"},
        "annotations": {"io.containerd.image.name": reference},
    }
    index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [descriptor]}
    files = [File("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'), File("index.json", json.dumps(index).encode())]
    for name, data in {**image.blobs, image.digest: image.manifest}.items():
        files.append(File("blobs/sha256/" + name.removeprefix("sha256:"), data))
    handle, partial = tempfile.mkstemp(dir=target.parent, prefix="image-")
    with os.fdopen(handle, "wb") as out:
        out.write(tar_of(files))
    os.chmod(partial, 0o644)
    os.replace(partial, target)


def base_files() -> list[File]:
    """What a static program may look for on an otherwise empty root."""
    return [
        File("tmp", mode=0o1777, directory=True),
        File("etc", mode=0o755, directory=True),
        File("etc/passwd", b"root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"),
        File("etc/group", b"root:x:0:\nnogroup:x:65534:\n"),
        File("etc/nsswitch.conf", b"hosts: files dns\n"),
    ]


def busybox_files(steps: Steps) -> list[File]:
    """Debian's static busybox with a link for each applet that tests use."""
    key = digest(versions()["recipe"], "busybox-static", versions()["debian"]["suite"])
    target = cache_dir() / "busybox" / key / "busybox"
    if not target.exists():
        with steps.step("static busybox from its Debian package"):
            target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=target.parent) as work:
                if run(["apt-get", "download", "-q", "busybox-static"], cwd=work, check=False).returncode != 0:
                    run(as_root(["apt-get", "update", "-q"]))
                    run(["apt-get", "download", "-q", "busybox-static"], cwd=work)
                package = next(Path(work).glob("*.deb"))
                with tarfile.open(fileobj=io.BytesIO(run(["dpkg-deb", "--fsys-tarfile", str(package)]).stdout)) as tar:
                    found = next(member for member in tar if member.name.endswith("bin/busybox") and member.isfile())
                    source = tar.extractfile(found)
                    partial = Path(work) / "busybox"
                    partial.write_bytes(source.read() if source else b"")
                partial.rename(target)
    links = [File(f"bin/{name}", link="/bin/busybox") for name in APPLETS.split()]
    return [
        *base_files(),
        File("bin", mode=0o755, directory=True),
        File("bin/busybox", target.read_bytes(), 0o755),
        *links,
    ]


def busybox_image(steps: Steps, *, compress: bool) -> Image:
    config = {"Env": ["PATH=/bin"], "Cmd": ["/bin/sh"]}
    return make_image([tar_of(busybox_files(steps))], config, compress=compress)


def system_archive(tool: str, steps: Steps) -> Path:
    """The archive of a system image; made where the cache does not have it. Its tool must have been built."""
    reference = BUSYBOX if tool == "busybox" else system_image(tool)
    content = APPLETS if tool == "busybox" else tool_key(tool)
    target = cache_dir() / "images" / f"{tool}-{digest(versions()['recipe'], reference, content)}.tar"
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    if tool == "busybox":
        image = busybox_image(steps, compress=False)
    else:
        layer = tar_of([*base_files(), File(tool, (tool_dir(tool) / tool).read_bytes(), 0o755)])
        image = make_image([layer], {"Entrypoint": [f"/{tool}"], "Env": ["PATH=/"]}, compress=False)
    with steps.step(f"image archive {reference}"):
        write_archive(image, reference, target)
    return target


def rootfs_image(kind: str, steps: Steps) -> Image:
    """A root file system as an image with a compressed layer, for the upstream registry."""
    config = {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], "Cmd": ["/bin/sh"]}
    if kind == "python":
        config["Cmd"] = ["python3"]
    tar = rootfs_tar(kind, steps)
    packed = tar.with_suffix(".tar.gz")
    layer = tar.read_bytes()
    if not packed.exists():
        partial = packed.with_suffix(f".{os.getpid()}")
        partial.write_bytes(gzip.compress(layer, 5, mtime=0))
        partial.replace(packed)
    return pack([(sha256(layer), packed.read_bytes())], config, compressed=True)


def ensure_scratch() -> str:
    """An engine image with next to nothing in it, for programs that are mounted."""
    if not has_image(SCRATCH):
        docker("import", "-", SCRATCH, stdin=tar_of(base_files()))
    return SCRATCH
