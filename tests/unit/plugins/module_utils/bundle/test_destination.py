# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What lies in the destination: equal bytes for equal inputs, on any file system, whatever was spoilt before."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.airgap.speech.plugins.module_utils.bundle.lock import load
from ansible_collections.airgap.speech.plugins.module_utils.bundle.spec import (
    ChartSpec,
    FileSpec,
    ImageSource,
    MakerError,
    PackagesSpec,
)
from ansible_collections.airgap.speech.plugins.module_utils.bundle.verify import BundleError, verify_bundle
from tests.unit.plugins.module_utils.bundle.test_sources import (
    CHART,
    HELM,
    WEIGHTS,
    Workshop,
    deb,
    images,
    model,
    new_layout,
)
from tests.unit.plugins.module_utils.bundle.upstreams import add_image, noise, push_bytes, sha256
from tests.unit.registry_server import RegistryServer, plain_registry_server  # noqa: F401 - fixture

CHECKOUT = Path(__file__).resolve().parents[5]
LAYER = noise("layer", 400_000)


def snapshot(root: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(root)): (path.stat().st_mode & 0o777, path.read_bytes())
        for path in root.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A directory on another file system."""
    if not Path("/dev/shm").is_dir() or os.stat("/dev/shm").st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system to write to")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


def served(workshop: Workshop, server: RegistryServer) -> dict[str, Any]:
    """An image with one large layer."""
    push_bytes(server, new_layout(workshop.root / "upstream"), [LAYER, b"small"], "app:1")
    workshop.hosts = {"quay.io": {"endpoint": server.endpoint, "plain_http": True}}
    return {"images": images("quay.io/app:1")}


def test_two_runs_are_byte_equal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of everything that is built here: a chart's package, the collection, an index of packages, the installer."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    given = tmp_path / "given"
    (given / "app").mkdir(parents=True)
    (given / "app" / "Chart.yaml").write_text(yaml.safe_dump(CHART))
    (given / "app" / "values.yaml").write_text("a: 1\n")
    (given / "debs").mkdir()
    deb(given / "debs" / "a_1_all.deb", "a-test", "1", "xz")
    (given / "weights").write_bytes(WEIGHTS)
    checkout = given / "checkout"
    shutil.copytree(CHECKOUT / "plugins" / "module_utils", checkout / "plugins" / "module_utils")
    (checkout / "README.md").write_text("# Test\n")
    info = {"namespace": "airgap", "name": "speech", "version": "1.0.0", "readme": "README.md", "authors": ["t"]}
    (checkout / "galaxy.yml").write_text(yaml.safe_dump({**info, "license": ["GPL-3.0-or-later"]}))
    layout = new_layout(given / "oci")
    layout.set_index([(add_image(layout, [b"one", b"two"]), "1")])
    roots = []
    for number in (1, 2):
        root = tmp_path / f"run-{number}"
        root.mkdir()
        workshop = Workshop(root)
        # Other times, another order on the disk, another place.
        copy = root / "given"
        shutil.copytree(given, copy)
        for path in copy.rglob("*"):
            os.utime(path, (1_600_000_000 + number, 1_600_000_000 + number))
        more: dict[str, Any] = {
            "collection": str(copy / "checkout"),
            "installer": str(CHECKOUT / "roles" / "bundle" / "files" / "installer.py"),
            "setup": str(CHECKOUT / "roles" / "bundle" / "files" / "setup.sh"),
            "images": images("example.com/app:1"),
            "image_sources": [ImageSource("example.com/app:1", "oci_layout", str(copy / "oci"))],
            "models": [model({"file": str(copy / "weights")})],
            "os_packages": [PackagesSpec("debs", str(copy / "debs"), "driver builds")],
            "files": [FileSpec("weights", str(copy / "weights"), "test")],
            "threads": number,
        }
        if Path(HELM).is_file():
            more["charts"] = [ChartSpec("app", "1.2.3+b1", "t", path=str(copy / "app"))]
        workshop.make(**more)
        verify_bundle(str(workshop.dest), load(str(workshop.dest)))
        roots.append(workshop.dest)
    first, second = (snapshot(root) for root in roots)
    assert sorted(first) == sorted(second)
    assert [name for name in first if first[name] != second[name]] == []
    assert json.loads((roots[0] / "bundle.lock.json").read_text())["created"] == "2023-11-14T22:13:20Z"
    kinds = {file.kind for file in load(str(roots[0])).files}
    assert {"collection", "setup", "os_package", "file", "layout"} <= kinds


def test_blobs_are_linked_on_one_file_system(workshop: Workshop, plain_registry_server: RegistryServer) -> None:  # noqa: F811
    """Nothing is written twice."""
    workshop.bundle(**served(workshop, plain_registry_server))
    carried = workshop.layout.blob_path(sha256(LAYER))
    assert carried.stat().st_nlink == 2
    assert carried.samefile(workshop.root / "cache" / "oci" / "blobs" / "sha256" / carried.name)


def test_on_another_file_system(
    workshop: Workshop,
    elsewhere: Path,
    plain_registry_server: RegistryServer,  # noqa: F811
) -> None:
    more = served(workshop, plain_registry_server)
    workshop.make(**more)
    here = snapshot(workshop.dest)
    workshop.dest = elsewhere / "bundle"
    workshop.bundle(**more)
    assert snapshot(workshop.dest) == here
    assert workshop.layout.blob_path(sha256(LAYER)).stat().st_nlink == 1


@pytest.mark.parametrize("where", ["cache", "both", "bundle"])
def test_a_flipped_byte_in_a_large_blob(
    workshop: Workshop,
    plain_registry_server: RegistryServer,  # noqa: F811
    where: str,
) -> None:
    """It is never carried: it is fetched again in the same run, and nothing else is."""
    more = served(workshop, plain_registry_server)
    workshop.make(**more)
    expected = snapshot(workshop.dest)
    name = sha256(LAYER)[7:]
    paths = [root / "oci" / "blobs" / "sha256" / name for root in (workshop.root / "cache", workshop.dest)]
    altered = bytearray(LAYER)
    altered[200_000] ^= 1
    if where == "bundle":  # a copy of its own, as after a restore from somewhere
        paths[1].unlink()
        paths[1].write_bytes(altered)
    else:
        paths[0].write_bytes(altered)  # one file with two names
    if where == "cache":
        shutil.rmtree(workshop.dest)
    else:
        with pytest.raises(BundleError, match=f"blobs/sha256/{name}: sha256 differs"):
            verify_bundle(str(workshop.dest), load(str(workshop.dest)))
    before = len([line for line in plain_registry_server.requests() if "/blobs/" in line])
    workshop.make(**more)
    asked = [line.rpartition(":")[2] for line in plain_registry_server.requests() if "/blobs/" in line][before:]
    assert asked.count(name) == (0 if where == "bundle" else 1)
    assert sha256(b"small")[7:] not in asked
    assert snapshot(workshop.dest) == expected


def test_a_full_destination(
    workshop: Workshop,
    elsewhere: Path,
    plain_registry_server: RegistryServer,  # noqa: F811
) -> None:
    """A limit on the size of files is a real fault of writing. Nothing half written counts; the next run goes on."""
    more = served(workshop, plain_registry_server)
    workshop.make(**more)
    expected = snapshot(workshop.dest)
    script = f"""
import sys; sys.path.insert(0, {str(CHECKOUT)!r}); import tests.unit.conftest
import resource, signal
from pathlib import Path
from ansible_collections.airgap.speech.plugins.module_utils.bundle.spec import ExtraImage, MakerError
from tests.unit.plugins.module_utils.bundle.test_sources import Workshop
workshop = Workshop.__new__(Workshop)
workshop.root, workshop.dest, workshop.said = Path({str(workshop.root)!r}), Path({str(elsewhere / "b")!r}), []
workshop.hosts = {workshop.hosts!r}
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
try:
    workshop.make(images=[ExtraImage("quay.io/app:1", "test")])
except MakerError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert f"{elsewhere / 'b'}: cannot be written (File too large); make room there, or name another bundle_dest" in (
        done.stdout
    )
    assert not (elsewhere / "b" / "bundle.lock.json").exists()
    assert not list((elsewhere / "b").rglob(".partial-*"))
    workshop.dest = elsewhere / "b"
    workshop.make(**more)
    assert snapshot(workshop.dest) == expected


def test_no_room_in_the_destination(
    workshop: Workshop,
    elsewhere: Path,
    plain_registry_server: RegistryServer,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is asked first: a bundle that is there stays as it is. A full file system cannot be had without a mount."""
    more = served(workshop, plain_registry_server)
    workshop.dest = elsewhere / "bundle"
    workshop.dest.mkdir()
    (workshop.dest / "bundle.lock.json.sig").write_text("of an earlier one")
    real = shutil.disk_usage

    def full(path: str) -> Any:
        return real(path)._replace(free=1000) if str(path).startswith(str(elsewhere)) else real(path)

    monkeypatch.setattr(shutil, "disk_usage", full)
    with pytest.raises(MakerError, match=r"1000 bytes are free, what is to be fetched needs \d+; free \d+ bytes, or"):
        workshop.make(**more)
    assert not any("/blobs/" + sha256(LAYER) in line for line in plain_registry_server.requests())
    monkeypatch.undo()
    workshop.make(**more)
    shutil.rmtree(workshop.dest)
    workshop.dest.mkdir()
    (workshop.dest / "bundle.lock.json.sig").write_text("of an earlier one")
    monkeypatch.setattr(shutil, "disk_usage", full)
    with pytest.raises(MakerError, match=r"1000 bytes are free, the bundle needs \d+ more; free \d+ bytes, or name"):
        workshop.make(**more)
    assert (workshop.dest / "bundle.lock.json.sig").read_text() == "of an earlier one"
    monkeypatch.undo()
    workshop.make(**more)
    assert not (workshop.dest / "bundle.lock.json.sig").exists()
