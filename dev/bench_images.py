# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The image set of the benches: made here, the same each time, with shared layers, and not compressible.

    layout, images = make_images()          # cached below build/bench/images-<key>
    push_images(layout, images, "127.0.0.1:5000", plain_http=True)

Twenty images and an index of two platforms: 3.5 GB unique, more than twice that where nothing is shared. Layers are
real gzipped tars (stored, not deflated, so that making them costs little), and one of them is over 1 GB.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import sys
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CHECKOUT / "build" / "collections"))

from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import (
    MEDIA_CONFIG,
    MEDIA_INDEX,
    MEDIA_MANIFEST,
    Descriptor,
    Layout,
)
from ansible_collections.airgap.speech.plugins.module_utils.oci.registry import Registry
from ansible_collections.airgap.speech.plugins.module_utils.oci.transfer import PushItem, plan_push, push

MEDIA_LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
RECIPE = 1
MB = 1_000_000
PIECE = 4 << 20
TAG = "1"


@dataclass(frozen=True)
class BenchImage:
    """One image or index of the set."""

    repo: str
    digest: str
    tag: str = TAG

    @property
    def name(self) -> str:
        """What it is called in C(index.json): a tag that every tool takes."""
        return self.repo.rpartition("/")[2]


def plan_of(changed: bool = False) -> dict[str, list[tuple[str, int]]]:
    """Image to its layers, each a name and a size in bytes. The layer that all share is another one in I(changed)."""
    system = ("system-2" if changed else "system", 80 * MB)
    runtime, cuda = ("python", 220 * MB), ("cuda", 640 * MB)
    images: dict[str, list[tuple[str, int]]] = {}
    for number in range(1, 21):
        name = f"app-{number:02d}"
        layers = [system]
        if number % 2 == 0:
            layers.append(runtime)
        if number % 4 == 0:
            layers.append(cuda)
        layers.extend((f"{name}-{piece}", size * MB) for piece, size in enumerate((3, 11, 20 + 2 * number)))
        images[name] = layers
    images["app-20"].append(("model", 1_350 * MB))
    return images


def noise(seed: str, size: int) -> Iterator[bytes]:
    """Bytes that do not compress and are the same each time."""
    source = random.Random(seed)  # noqa: S311 - bench data
    while size:
        piece = source.randbytes(min(PIECE, size))
        size -= len(piece)
        yield piece


def _layer(layout: Layout, name: str, size: int, scale: float) -> tuple[str, int, str]:
    """One gzipped tar with one file: digest and size, and the digest of the tar itself."""
    size = max(1, int(size * scale))
    inner = hashlib.sha256()

    def tar() -> Iterator[bytes]:
        head = tarfile.TarInfo(f"srv/{name}.bin")
        head.size, head.mode = size, 0o644
        yield head.tobuf(tarfile.USTAR_FORMAT)
        yield from noise(name, size)
        yield b"\0" * (-size % 512 + 1024)

    def gzipped() -> Iterator[bytes]:
        packer = zlib.compressobj(0, zlib.DEFLATED, 31)
        for piece in tar():
            inner.update(piece)
            yield packer.compress(piece)
        yield packer.flush()

    digest, stored = layout.add_stream(gzipped())
    return digest, stored, "sha256:" + inner.hexdigest()


def _image(layout: Layout, layers: Sequence[tuple[str, int, str]], architecture: str) -> str:
    config, config_size = layout.add_json(
        {
            "architecture": architecture,
            "os": "linux",
            "created": "2026-11-01T00:00:00Z",
            "config": {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"], "Cmd": ["/bin/true"]},
            "rootfs": {"type": "layers", "diff_ids": [inner for _digest, _size, inner in layers]},
        }
    )
    return layout.add_json(
        {
            "schemaVersion": 2,
            "mediaType": MEDIA_MANIFEST,
            "config": {"mediaType": MEDIA_CONFIG, "digest": config, "size": config_size},
            "layers": [
                {"mediaType": MEDIA_LAYER_GZIP, "digest": digest, "size": size} for digest, size, _inner in layers
            ],
        }
    )[0]


def _write(directory: Path, scale: float) -> None:
    """Both states of the set, in one layout: C(index.json) and, with the changed layer, C(index-changed.json)."""
    layout = Layout(directory)
    layout.create()
    made: dict[str, tuple[str, int, str]] = {}
    for changed in (True, False):
        images: list[BenchImage] = []
        for name, layers in plan_of(changed).items():
            for layer, size in layers:
                if layer not in made:
                    made[layer] = _layer(layout, layer, size, scale)
            images.append(BenchImage(f"bench/{name}", _image(layout, [made[layer] for layer, _s in layers], "amd64")))
        for layer, size in (("arm64-system", 70 * MB), ("arm64-app", 30 * MB)):
            if layer not in made:
                made[layer] = _layer(layout, layer, size, scale)
        amd64 = images[0].digest
        arm64 = _image(layout, [made["arm64-system"], made["arm64-app"]], "arm64")
        manifests = [
            {
                "mediaType": MEDIA_MANIFEST,
                "digest": digest,
                "size": layout.size_of(digest),
                "platform": {"os": "linux", "architecture": architecture},
            }
            for architecture, digest in (("amd64", amd64), ("arm64", arm64))
        ]
        index = layout.add_json({"schemaVersion": 2, "mediaType": MEDIA_INDEX, "manifests": manifests})[0]
        images.append(BenchImage("bench/both", index))
        layout.set_index([(layout.describe(image.digest), image.name) for image in images])
        listed = [{"repo": image.repo, "tag": image.tag, "digest": image.digest} for image in images]
        suffix = "-changed" if changed else ""
        (directory / f"images{suffix}.json").write_text(json.dumps(listed, indent=2) + "\n")
        if changed:
            shutil.copyfile(directory / "index.json", directory / "index-changed.json")


def read_images(directory: Path, changed: bool = False) -> list[BenchImage]:
    """The images that a directory of this set holds."""
    listed = json.loads((directory / f"images{'-changed' if changed else ''}.json").read_text())
    return [BenchImage(entry["repo"], entry["digest"], entry["tag"]) for entry in listed]


def make_images(scale: float = 1.0, where: Path = CHECKOUT / "build" / "bench") -> tuple[Layout, list[BenchImage]]:
    """The set as an OCI layout, made where it is not there yet. I(scale) multiplies the size of every layer."""
    key = hashlib.sha256(json.dumps([RECIPE, scale, plan_of(), plan_of(True)]).encode()).hexdigest()[:12]
    directory = where / f"images-{key}"
    if not directory.is_dir():
        where.mkdir(parents=True, exist_ok=True)
        work = where / f".images-{key}-{os.getpid()}"
        try:
            _write(work, scale)
            work.rename(directory)
        except BaseException:
            shutil.rmtree(work, ignore_errors=True)
            if not directory.is_dir():  # else another run was first
                raise
    return Layout(directory), read_images(directory)


def items_of(images: Sequence[BenchImage]) -> list[PushItem]:
    """The set as the engine takes it."""
    return [PushItem(image.digest, image.repo, image.tag) for image in images]


def unique_blobs(layout: Layout, images: Sequence[BenchImage]) -> dict[str, Descriptor]:
    """Every blob and manifest of the set, once."""
    return {found.digest: found for image in images for found in layout.walk(image.digest)}


def push_images(layout: Layout, images: Sequence[BenchImage], endpoint: str, *, plain_http: bool = True) -> list[str]:
    """Push the set into a registry; the references that it then has."""
    with Registry(endpoint, plain_http=plain_http) as registry:
        push(plan_push(layout, items_of(images), registry), registry)
    return [f"{endpoint}/{image.repo}:{image.tag}" for image in images]


def main() -> int:
    layout, images = make_images()
    blobs = unique_blobs(layout, images)
    logical = sum(blob.size for image in images for blob in layout.walk(image.digest))
    unique = sum(blob.size for blob in blobs.values())
    print(f"{layout.path}: {len(images)} references, {len(blobs)} blobs and manifests")
    print(f"{unique / MB:.0f} MB unique, {logical / MB:.0f} MB where each is counted in each image")
    return 0


if __name__ == "__main__":
    sys.exit(main())
