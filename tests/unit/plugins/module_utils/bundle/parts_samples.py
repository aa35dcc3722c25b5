# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real bundle of a few megabytes, whole and in parts, for the tests of parts, inventory and mirror."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Optional

from ansible_collections.airgap.speech.plugins.module_utils.bundle.lock import (
    LOCK_NAME,
    Blob,
    Chart,
    File,
    Image,
    Lock,
    Model,
    Reason,
    dump,
    load,
)
from ansible_collections.airgap.speech.plugins.module_utils.bundle.split import (
    Splitter,
    Written,
    everywhere_of,
    plan_parts,
)
from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import MEDIA_MANIFEST, Layout
from tests.unit.plugins.module_utils.oci.samples import add_image, add_index, add_model, noise

PART_SIZE = 500_000
REASON = Reason("release speech", "Deployment", "speech", "spec.template.spec.containers[0].image", "pod spec")


def make_bundle(root: Path, version: str = "1", model_size: int = 1_300_000, chart_name: str = "speech") -> Path:
    """Two images over one base, an index of two platforms, a chart, a model that is larger than a part, and files."""
    layout = Layout(root / "oci")
    layout.create()
    base = noise("base", 150_000)

    def bytes_of(digest: str) -> int:
        return sum(each.size for each in layout.walk(digest))

    images = []
    for name in ("a", "b"):
        digest = add_image(layout, [base, noise(f"{name} {version}", 90_000)])
        images.append(Image(f"quay.io/airgap/{name}:1", digest, bytes_of(digest), ["linux/amd64"], [REASON]))
    both = {
        platform: add_image(layout, [noise(platform, 40_000)], platform) for platform in ("linux/amd64", "linux/arm64")
    }
    index = add_index(layout, both)
    images.append(Image("docker.io/library/two:1", index, bytes_of(index), sorted(both), [REASON]))
    chart = add_chart(layout, noise("chart", 700))
    model = add_model(layout, {"model.bin": noise("model", model_size), "tokens.txt": b"a b c\n"})
    files = {
        "setup.sh": (b"#!/bin/sh\necho set up\n", "setup"),
        "files/tools/helm": (noise("helm", 60_000), "tool"),
        "files/wheels/" + "w" * 90 + "-1.0-py3-none-any.whl": (noise("wheel", 5_000), "wheel"),
        "files/installer.pyz": (noise("installer", 2_000), "setup"),
        "oci/oci-layout": ((layout.path / "oci-layout").read_bytes(), "layout"),
    }
    for path, (data, _kind) in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
        if path == "setup.sh" or path.startswith("files/tools/"):
            (root / path).chmod(0o755)
    lock = Lock(
        "2026-11-21T12:00:00Z",
        "0.1.0",
        images=images,
        charts=[Chart(f"charts/{chart_name}:0.1.0", chart_name, "0.1.0", chart, bytes_of(chart), [REASON])],
        models=[Model("models/m:1", "m", "1", model, bytes_of(model), [], [REASON])],
        blobs=[Blob("sha256:" + path.name, path.stat().st_size) for path in layout.blobs.iterdir()],
        files=[
            File(path, "sha256:" + hashlib.sha256(data).hexdigest(), len(data), kind, "test")
            for path, (data, kind) in files.items()
        ],
    )
    (root / LOCK_NAME).write_bytes(dump(lock))
    return root


def add_chart(layout: Layout, package: bytes) -> str:
    """A chart as an OCI artifact; its digest."""
    config, config_size = layout.add_json({"name": "speech"})
    digest, size = layout.add_bytes(package)
    layer = {"mediaType": "application/vnd.cncf.helm.chart.content.v1.tar+gzip", "digest": digest, "size": size}
    manifest = {
        "schemaVersion": 2,
        "mediaType": MEDIA_MANIFEST,
        "config": {"mediaType": "application/vnd.cncf.helm.config.v1+json", "digest": config, "size": config_size},
        "layers": [layer],
    }
    return layout.add_json(manifest)[0]


def sources_of(bundle: Path, lock: Lock) -> Mapping[str, str]:
    """Where each file of a whole bundle is."""
    return {path: os.path.join(bundle, path) for path in lock.paths()}


def split(
    bundle: Path,
    dest: Path,
    part_size: int = PART_SIZE,
    only: Sequence[int] = (),
    dry: bool = False,
    seen: Collection[str] = (),
) -> Written:
    """The parts of a bundle, as the module makes them, without signatures."""
    lock = load(str(bundle))
    layout = Layout(bundle / "oci")
    plan = plan_parts(lock, part_size, everywhere_of(lock, layout), (bundle / "setup.sh").stat().st_size)
    return Splitter(str(dest), lock, plan, sources_of(bundle, lock), only=only, seen=seen).run(dry)


def contents(folder: Path, below: Optional[str] = None) -> dict[str, bytes]:
    """Every file of a directory."""
    root = folder / below if below else folder
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}
