# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole way of a small bundle: made, signed, verified, set up on a machine with python3 and an ssh client."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Optional

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.airgap.speech.plugins.module_utils.bundle import signature
from ansible_collections.airgap.speech.plugins.module_utils.bundle.archive import tar_gz
from ansible_collections.airgap.speech.plugins.module_utils.bundle.lock import load
from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import Layout
from ansible_collections.airgap.speech.plugins.modules import bundle as bundle_module
from ansible_collections.airgap.speech.plugins.modules import bundle_verify
from tests.unit.plugins.module_utils.bundle.upstreams import add_image, push_bytes
from tests.unit.registry_server import RegistryServer, plain_registry_server  # noqa: F401 - fixture

CHECKOUT = Path(__file__).resolve().parents[4]
ROLE = CHECKOUT / "roles" / "bundle" / "files"
REGISTRY = "registry.airgap.internal:5000"
MANIFEST = f"""
apiVersion: apps/v1
kind: Deployment
metadata: {{name: app}}
spec:
  template:
    spec:
      initContainers: [{{name: i, image: "{REGISTRY}/quay.io/a/fetched:1"}}]
      containers: [{{name: c, image: "{REGISTRY}/ghcr.io/ours/built:1"}}]
      volumes: [{{name: m, image: {{reference: "{REGISTRY}/models/m:1"}}}}]
---
apiVersion: v1
kind: Pod
metadata: {{name: t, annotations: {{helm.sh/hook: test}}}}
spec: {{containers: [{{name: c, image: "{REGISTRY}/ghcr.io/ours/built:1"}}]}}
---
apiVersion: example.com/v1
kind: Thing
metadata: {{name: off}}
spec: {{gpu: {{enabled: false, image: "nvcr.io/nvidia/driver:1"}}}}
"""


def call(module: Any, capsys: pytest.CaptureFixture[str], **args: Any) -> dict[str, Any]:
    check = args.pop("check", False)
    capsys.readouterr()
    with patch_module_args({**args, "_ansible_check_mode": check, "_ansible_diff": True}), pytest.raises(SystemExit):
        module.main()
    result = json.loads(capsys.readouterr().out)
    assert isinstance(result, dict)
    return result


class FakeEngine:
    """Stands for a Docker engine: one image of two layers, as `docker save` writes it."""

    builds = 0
    bases: dict[str, str] = {}

    def image_id(self, reference: str) -> Optional[str]:
        return self.bases.get(reference)

    def build(self, context: str, containerfile: str, reference: str, args: dict[str, str], say: Any) -> str:
        type(self).builds += 1
        assert (Path(context) / containerfile).is_file()
        say("build: Step 1/1")
        return "sha256:" + "1" * 64

    def save(self, image_id: str) -> Iterable[bytes]:
        layers = [_tar("a", b"one" * 5000), _tar("b", b"two" * 7000)]
        config = json.dumps(
            {
                "os": "linux",
                "architecture": "amd64",
                "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(x).hexdigest() for x in layers]},
            }
        ).encode()
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as archive:
            _add(archive, "l0/layer.tar", layers[0])
            _add(archive, "l1/layer.tar", layers[1])
            _add(archive, "c.json", config)
            listing = [{"Config": "c.json", "Layers": ["l0/layer.tar", "l1/layer.tar"]}]
            _add(archive, "manifest.json", json.dumps(listing).encode())
        yield from (out.getvalue()[i : i + 1000] for i in range(0, len(out.getvalue()), 1000))


def _layout(path: Path) -> Layout:
    layout = Layout(path)
    layout.create()
    return layout


def _tar(name: str, data: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        _add(archive, name, data)
    return out.getvalue()


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    archive.addfile(info, io.BytesIO(data))


def _wheel(folder: Path, name: str, files: dict[str, str]) -> str:
    """A wheel by hand; returns its requirement with hash."""
    info = f"{name}-1.0.dist-info"
    entries = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    if name == "ansible_core":
        entries[f"{info}/entry_points.txt"] = "[console_scripts]\nansible-playbook = fakeansible:main\n"
    record = "".join(
        "{},sha256={},{}\n".format(
            path,
            base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("="),
            len(text.encode()),
        )
        for path, text in entries.items()
    )
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for entry, text in {**entries, f"{info}/RECORD": record + f"{info}/RECORD,,\n"}.items():
            archive.writestr(entry, text)
    return f"{name}==1.0 --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


FAKE_ANSIBLE = """\
import json, os, sys


def main():
    print(json.dumps({
        "argv": sys.argv[1:],
        "collections": os.environ["ANSIBLE_COLLECTIONS_PATH"],
        "config": os.environ.get("ANSIBLE_CONFIG", ""),
        "prefix": sys.prefix,
        "path": os.environ["PATH"].split(":")[0],
    }))
"""


@pytest.fixture
def site(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    plain_registry_server: RegistryServer,  # noqa: F811
) -> dict[str, Any]:
    """Everything that a small bundle is made of, and the arguments for it."""
    FakeEngine.builds = 0
    FakeEngine.bases = {"base:1": "sha256:" + "2" * 64}
    for name in ("quay/a/fetched:1", "hub/library/extra:1"):
        push_bytes(plain_registry_server, _layout(tmp_path / "upstream"), [b"fetched"], name)
    proxy = {"endpoint": plain_registry_server.endpoint, "plain_http": True}
    monkeypatch.setattr(bundle_module, "engine_factory", lambda module: FakeEngine)
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)

    collection = tmp_path / "collection"
    shutil.copytree(CHECKOUT / "plugins" / "module_utils", collection / "plugins" / "module_utils")
    info = {"collection_info": {"namespace": "airgap", "name": "speech", "version": "9.9.9"}}
    (collection / "MANIFEST.json").write_text(json.dumps(info))
    files = {"files": [{"name": "plugins/module_utils/bundle/lock.py", "ftype": "file"}]}
    (collection / "FILES.json").write_text(json.dumps(files))

    context = tmp_path / "image"
    context.mkdir()
    (context / "Containerfile").write_text("ARG BASE=none\nFROM ${BASE} AS one\nFROM one\n")
    chart = tmp_path / "chart.tgz"
    chart.write_bytes(tar_gz([("app/Chart.yaml", b"apiVersion: v2\nname: app\nversion: 1.2.3\n", False)]))
    model = tmp_path / "model.bin"
    model.write_bytes(b"weights" * 100)
    tool = tmp_path / "helm"
    tool.write_text("#!/bin/sh\necho helm\n")
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("")
    return {
        "dest": str(tmp_path / "bundle"),
        "cache": str(tmp_path / "cache"),
        "collection": str(collection),
        "registry": REGISTRY,
        "releases": [
            {"platform": "p", "name": "r", "namespace": "n", "chart": "charts/app:1.2.3", "manifest": MANIFEST}
        ],
        "charts": [{"name": "app", "version": "1.2.3", "path": str(chart), "source": "profile p"}],
        "builds": [
            {
                "reference": "ghcr.io/ours/built:1",
                "context": str(context),
                "args": {"BASE": "base:1"},
                "source": "profile p",
            }
        ],
        "images": [{"reference": "docker.io/library/extra:1", "source": "role x"}],
        "models": [
            {
                "name": "m",
                "version": "1",
                "kind": "stt",
                "engine": "e",
                "source": "profile p",
                "files": [
                    {
                        "path": "model.bin",
                        "sha256": hashlib.sha256(b"weights" * 100).hexdigest(),
                        "size": 700,
                        "source": {"file": str(model)},
                    }
                ],
            }
        ],
        "tools": {"helm": str(tool)},
        "installer": str(ROLE / "installer.py"),
        "setup": str(ROLE / "setup.sh"),
        "signing_key": str(tmp_path / "keys" / "key"),
        "signing_key_create": True,
        "signers_file": str(tmp_path / "keys" / "signers"),
        "progress_file": str(tmp_path / "progress"),
        "registry_hosts": {"quay.io": {**proxy, "prefix": "quay"}, "docker.io": {**proxy, "prefix": "hub"}},
    }


Site = dict[str, Any]
Capture = pytest.CaptureFixture[str]


def snapshot(root: str) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in Path(root).rglob("*") if p.is_file()}


def test_made_twice(
    site: Site,
    capsys: Capture,
    tmp_path: Path,
    plain_registry_server: RegistryServer,  # noqa: F811
) -> None:
    digest = add_image(_layout(tmp_path / "upstream"), [b"fetched"]).digest
    predicted = call(bundle_module, capsys, check=True, **site)
    assert predicted["changed"]
    assert sorted(predicted["pending"]) == [
        "build ghcr.io/ours/built:1",
        "fetch docker.io/library/extra:1@" + digest,
        "fetch model models/m:1",
        "fetch quay.io/a/fetched:1@" + digest,
    ]
    assert not Path(site["dest"]).exists()
    assert not Path(site["signing_key"]).exists()

    made = call(bundle_module, capsys, **site)
    assert made["changed"], made
    assert made["excluded"][0]["reference"] == "nvcr.io/nvidia/driver:1"
    assert made["excluded"][0]["why"] == "needed only if spec.gpu.enabled"
    assert oct(Path(site["signing_key"]).stat().st_mode & 0o777) == "0o600"
    assert FakeEngine.builds == 1
    # Two references are one image: its layers, its configuration and its manifest came once each.
    fetched = [line for line in plain_registry_server.requests() if line.startswith("GET") and "/blobs/" in line]
    assert len(fetched) == len(set(fetched))
    assert len({line.rpartition("/")[2] for line in fetched}) == 2
    lock = load(site["dest"])
    assert [image.reference for image in lock.images] == [
        "docker.io/library/extra:1",
        "ghcr.io/ours/built:1",
        "quay.io/a/fetched:1",
    ]
    assert sorted((r.kind, r.path, r.needed) for r in lock.images[1].reasons) == [
        ("Deployment", "spec.template.spec.containers[0].image", "always"),
        ("Pod", "spec.containers[0].image", "test"),
    ]
    assert lock.images[1].platforms == ["linux/amd64"]
    assert [file.path for file in lock.models[0].files] == ["model.bin", "model.json"]
    assert lock.collection_version == "9.9.9"
    assert "signers" not in " ".join(snapshot(site["dest"]))
    assert "image ghcr.io/ours/built:1" in Path(site["progress_file"]).read_text()

    before = snapshot(site["dest"])
    again = call(bundle_module, capsys, **site)
    assert not again["changed"], again
    assert snapshot(site["dest"]) == before
    assert FakeEngine.builds == 1
    assert not call(bundle_module, capsys, check=True, **site)["changed"]

    verified = call(bundle_verify, capsys, path=site["dest"], signers=site["signers_file"])
    assert (verified["principal"], verified["images"], verified["models"]) == ("airgap-speech-bundle", 3, 1)
    assert verified["bytes"] == lock.size == made["size"]


def test_the_same_inputs_give_the_same_bytes(
    site: Site, capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    call(bundle_module, capsys, **site)
    other = {**site, "dest": str(tmp_path / "b2"), "cache": str(tmp_path / "c2")}
    call(bundle_module, capsys, **other)
    assert snapshot(site["dest"]) == snapshot(other["dest"])
    assert load(site["dest"]).created == "2023-11-14T22:13:20Z"


def test_the_layout_can_be_mounted_pulled_and_read(site: Site, capsys: Capture) -> None:
    call(bundle_module, capsys, **site)
    layout = Layout(Path(site["dest"]) / "oci")
    entries = {reference: descriptor for descriptor, reference in layout.entries()}
    model = layout.read_json(entries["models/m:1"].digest)
    config = layout.read_json(model["config"]["digest"])
    assert (config["os"], config["architecture"]) == ("linux", "amd64")
    assert config["rootfs"]["diff_ids"] == [layer["digest"] for layer in model["layers"]]
    names = []
    for layer in model["layers"]:
        with tarfile.open(layout.blob_path(layer["digest"])) as archive:
            (member,) = archive.getmembers()
            assert (member.mtime, member.uid, member.gid, member.mode) == (0, 0, 0, 0o644)
            names.append(member.name)
            if member.name == "model.json":
                content = archive.extractfile(member)
                assert content is not None
                card = json.loads(content.read())
    assert names == ["model.bin", "model.json"]
    assert card == {
        "schema": "airgap.speech/model/v1",
        "name": "m",
        "version": "1",
        "kind": "stt",
        "engine": "e",
        "files": [{"path": "model.bin", "sha256": hashlib.sha256(b"weights" * 100).hexdigest(), "size": 700}],
    }
    chart = layout.read_json(entries["charts/app:1.2.3"].digest)
    assert chart["config"]["mediaType"] == "application/vnd.cncf.helm.config.v1+json"
    assert layout.read_json(chart["config"]["digest"])["version"] == "1.2.3"
    assert chart["layers"][0]["mediaType"] == "application/vnd.cncf.helm.chart.content.v1.tar+gzip"


def test_what_changed_is_made_again_and_what_is_stale_goes(site: Site, capsys: Capture, tmp_path: Path) -> None:
    call(bundle_module, capsys, **site)
    mine = Path(site["dest"]) / "files" / "mine"
    mine.write_text("not ours")
    Path(site["builds"][0]["context"], "app.py").write_text("print()")
    (tmp_path / "kubectl").write_text("x")
    site["tools"] = {"kubectl": str(tmp_path / "kubectl")}
    result = call(bundle_module, capsys, **site)
    assert result["changed"]
    assert FakeEngine.builds == 2
    assert result["removed"] == ["files/tools/helm"]
    assert mine.exists()
    mine.unlink()
    FakeEngine.bases = {"base:1": "sha256:" + "3" * 64}
    assert not call(bundle_module, capsys, **site)["removed"]
    assert FakeEngine.builds == 3
    assert not call(bundle_verify, capsys, path=site["dest"], signers=site["signers_file"]).get("failed")


@pytest.mark.parametrize(
    "victim", ["files/tools/helm", "oci/index.json", "bundle.lock.json", "bundle.lock.json.sig", "oci/blobs/sha256/*"]
)
def test_a_spoilt_destination_is_mended(site: Site, capsys: Capture, victim: str) -> None:
    call(bundle_module, capsys, **site)
    before = snapshot(site["dest"])
    for path in Path(site["dest"]).glob(victim):
        path.write_bytes(b"spoilt")
    (Path(site["dest"]) / "oci" / "blobs" / "sha256" / ".partial-x").write_bytes(b"killed")
    assert call(bundle_module, capsys, **site)["changed"]
    (after := snapshot(site["dest"])).pop("oci/blobs/sha256/.partial-x", None)
    assert sorted(after) == sorted(before)
    assert not call(bundle_verify, capsys, path=site["dest"], signers=site["signers_file"]).get("failed")


def test_a_spoilt_cache_is_mended(site: Site, capsys: Capture) -> None:
    call(bundle_module, capsys, **site)
    before = snapshot(site["dest"])
    for path in Path(site["cache"]).glob("oci/blobs/sha256/*"):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(bytes(data))
    shutil.rmtree(site["dest"])
    result = call(bundle_module, capsys, **site)
    assert not result.get("failed"), result
    after = snapshot(site["dest"])
    for name in ("bundle.lock.json", "bundle.lock.json.sig"):  # the time of making
        before.pop(name), after.pop(name)
    assert after == before
    assert not call(bundle_verify, capsys, path=site["dest"], signers=site["signers_file"]).get("failed")


UNDECIDED_MANIFEST = """
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {image: "tools/probe"}
"""
RULES = """
schema: airgap.speech/image-rules/v1
rules:
  - name: probe
    reason: The program adds the tag of this version.
    document: {kind: ConfigMap, name: settings}
    at: ["data[image]"]
    no_image: true
"""


def test_what_could_not_be_decided_is_said(
    site: Site, capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Where another test has imported the controller's side of Ansible, warnings go to its display.
    warned: list[str] = []
    monkeypatch.setattr(bundle_module.AnsibleModule, "warn", lambda _self, text: warned.append(text))
    site["releases"][0]["manifest"] = MANIFEST + "---" + UNDECIDED_MANIFEST
    result = call(bundle_module, capsys, **site)
    (row,) = result["undecided"]
    assert (row["release"], row["reference"], row["path"]) == ("r", "tools/probe", "data[image]")
    assert row in result["images_explained"]
    assert "release r: tools/probe (ConfigMap settings, data[image]) may be an image" in warned[0]
    statuses = {(row["reference"], row["status"]) for row in result["images_explained"]}
    assert ("quay.io/a/fetched:1", "needed") in statuses
    assert ("nvcr.io/nvidia/driver:1", "not needed") in statuses

    refused = call(bundle_module, capsys, **{**site, "undecided_images": "fail"})
    assert "1 places may name an image and nothing decides it, such as tools/probe" in refused["msg"]
    (tmp_path / "rules.yml").write_text(RULES)
    decided = {**site, "undecided_images": "fail", "image_rules": [str(tmp_path / "rules.yml")]}
    assert not call(bundle_module, capsys, **decided).get("failed")
    (tmp_path / "rules.yml").write_text("rules: 1")
    assert "is no file of image rules" in call(bundle_module, capsys, **decided)["msg"]
    (tmp_path / "rules.yml").unlink()
    assert "the file of image rules cannot be read" in call(bundle_module, capsys, **decided)["msg"]


def test_a_model_that_is_mounted_by_a_digest_yet_to_be_made(site: Site, capsys: Capture) -> None:
    volume = f"{{name: v, image: {{reference: '{site['registry']}/models/m:1@sha256:{'0' * 64}'}}}}"
    pod = f"apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec: {{containers: [], volumes: [{volume}]}}\n"
    site["releases"][0]["manifest"] = MANIFEST + "---\n" + pod
    call(bundle_module, capsys, **site)
    [model] = load(site["dest"]).models
    assert ("release r", "Pod", "p") in [(reason.source, reason.kind, reason.name) for reason in model.reasons]


def test_what_other_values_need_is_carried_too(site: Site, capsys: Capture) -> None:
    pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: 'extra:1'}]}\n"
    site["releases"][0]["manifests"] = {"large": MANIFEST + "---\n" + pod}
    site["images"] = []
    call(bundle_module, capsys, **site)
    image = load(site["dest"]).image("docker.io/library/extra:1")
    assert image is not None
    assert [(reason.source, reason.needed) for reason in image.reasons] == [("release r", "in value sets large")]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s["releases"][0].update(manifest="a: [b"), "release r: its rendered manifest is not YAML"),
        (lambda s: s["releases"][0].update(manifest=""), "release r: its rendered manifest is empty"),
        (lambda s: s["releases"][0].update(chart="charts/no:1"), "chart charts/no:1 is not among the charts"),
        (
            lambda s: s["images"][0].update(reference="quay.io/no/no:1"),
            "quay.io/no/no:1: its registry does not have it",
        ),
        (lambda s: s.update(models=[]), "models/m:1: a release mounts it, but no profile has a model"),
        (lambda s: s["models"][0]["files"][0].update(size=701), "has 700 bytes, expected 701"),
        (lambda s: s["models"][0]["files"][0].update(sha256="0" * 64), "model.bin: sha256 differs (expected sha256:0"),
        (lambda s: s["models"][0]["files"][0].pop("sha256"), "has no sha256 of 64 hex digits"),
        (lambda s: s["charts"][0].update(version="9"), "the profile says version 9, its Chart.yaml 1.2.3"),
        (lambda s: s.update(tools={"helm": "/none"}), "tool helm: there is no file /none"),
        (lambda s: s.update(signing_key_create=False), "there is no signing key"),
        (lambda s: s.update(signers_file=s["dest"] + "/signers"), "it would vouch for itself"),
        (lambda s: s["builds"][0].update(containerfile="No"), "there is no"),
    ],
)
def test_refused(site: Site, capsys: Capture, change: Callable[[Site], None], message: str) -> None:
    change(site)
    if site["releases"][0]["chart"] == "charts/no:1":
        pass
    elif site["charts"][0]["version"] == "9":
        site["releases"][0]["chart"] = "charts/app:9"
    result = call(bundle_module, capsys, **site)
    assert result["failed"]
    assert message in result["msg"]


# -- the machine inside ------------------------------------------------------------------------------------------------


@pytest.fixture
def carried(site: Site, capsys: Capture, tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A bundle with wheels that pip really installs; yields it and the fingerprint."""
    wheels = tmp_path / "cache" / "pypi"
    wheels.mkdir(parents=True)
    pip = subprocess.run(
        [sys.executable, "-c", "import ensurepip; print(ensurepip.__file__)"],
        capture_output=True,
        text=True,
        check=True,
    )
    bundled = sorted((Path(pip.stdout.strip()).parent / "_bundled").glob("pip-*.whl"))[-1]
    folder = tmp_path / "wheels"
    folder.mkdir()
    shutil.copy(bundled, folder)
    version = bundled.name.split("-")[1]
    lines = f"pip=={version} --hash=sha256:{hashlib.sha256(bundled.read_bytes()).hexdigest()}\n"
    lines += _wheel(folder, "ansible_core", {"fakeansible.py": FAKE_ANSIBLE})
    Path(tmp_path / "requirements.txt").write_text(lines)
    _seed_cache(site, lines, folder)
    result = call(bundle_module, capsys, controller_requirements=str(tmp_path / "requirements.txt"), **site)
    assert not result.get("failed"), result
    yield Path(site["dest"]), result["fingerprint"]


def _seed_cache(site: Site, lines: str, folder: Path) -> None:
    """What pip would download is in the cache already: no package index takes part in this test."""
    from ansible_collections.airgap.speech.plugins.module_utils.bundle.cache import Cache, key_of
    from ansible_collections.airgap.speech.plugins.module_utils.oci.digest import sha256_file

    key = key_of(["wheels/v1", lines, "3.11", "2.28"])[:32]
    cache = Cache(site["cache"])
    shutil.copytree(folder, Path(site["cache"]) / "pypi" / key)
    cache.put("pypi", key, {name: list(sha256_file(str(folder / name))) for name in os.listdir(folder)})


def setup(bundle: Path, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", str(bundle / "setup.sh"), *args],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env={"PATH": os.path.dirname(sys.executable) + ":/usr/bin:/bin", **env},
    )


def test_setup_makes_a_controller(
    carried: tuple[Path, str], site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ANSIBLE_COLLECTIONS_PATH", raising=False)  # the wrappers put it behind their own
    monkeypatch.delenv("ANSIBLE_CONFIG", raising=False)
    bundle, fingerprint = carried
    prefix = tmp_path / "home dir" / "airgap"
    moved = tmp_path / "carried"
    shutil.copytree(bundle, moved)
    first = setup(moved, "--signers", site["signers_file"], "--prefix", str(prefix))
    assert first.returncode == 0, first.stderr
    assert "controller: changed" in first.stdout
    assert first.stdout.rstrip().endswith("next: ansible-playbook airgap.speech.site -i inventory")
    ran = subprocess.run(
        [str(prefix / "bin/ansible-playbook"), "x y"], capture_output=True, text=True, check=True, cwd="/"
    )
    said = json.loads(ran.stdout)
    assert said["argv"] == ["x y"]
    assert said["collections"] == f"{prefix}/collections"
    assert said["config"] == f"{prefix}/ansible.cfg"
    assert said["path"] == f"{prefix}/bin"
    assert Path(said["prefix"]) == (prefix / "venv").resolve()
    assert subprocess.run([str(prefix / "bin/helm")], capture_output=True, text=True, check=True).stdout == "helm\n"
    assert (prefix / "collections/ansible_collections/airgap/speech/MANIFEST.json").is_file()
    assert (prefix / "allowed_signers").read_text() == Path(site["signers_file"]).read_text()
    assert sorted(os.listdir(moved)) == sorted(os.listdir(bundle))

    second = setup(moved, "--fingerprint", fingerprint, "--prefix", str(prefix))
    assert second.returncode == 0, second.stderr
    assert "controller: nothing to do" in second.stdout

    marker = next(prefix.glob("controllers/*/complete.json"))
    marker.unlink()
    (prefix / "bin" / "ansible-playbook").write_text("half")
    third = setup(moved, "--fingerprint", fingerprint, "--prefix", str(prefix))
    assert "removing an incomplete one" in third.stdout
    assert subprocess.run([str(prefix / "bin/ansible-playbook")], capture_output=True, check=True, cwd="/").stdout

    next(prefix.glob("controllers/*/venv/lib/python*/site-packages/fakeansible.py")).unlink()
    assert "controller: changed" in setup(moved, "--fingerprint", fingerprint, "--prefix", str(prefix)).stdout


def test_several_keys_sign_and_one_is_revoked(
    carried: tuple[Path, str], site: Site, tmp_path: Path, capsys: Capture
) -> None:
    bundle, first = carried
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "second")], check=True)
    site["more_signing_keys"] = [str(tmp_path / "second")]
    site["controller_requirements"] = str(tmp_path / "requirements.txt")
    assert call(bundle_module, capsys, check=True, **site)["changed"]
    assert call(bundle_module, capsys, **site)["changed"]
    assert not call(bundle_module, capsys, **site)["changed"]
    second = signature.key_fingerprint((tmp_path / "second.pub").read_text())
    trusted = [line.split(None, 2)[2] for line in Path(site["signers_file"]).read_text().splitlines()]
    assert [signature.key_fingerprint(key) for key in trusted] == [first, second]
    trust = {"path": str(bundle), "signers": site["signers_file"]}
    assert not call(bundle_verify, capsys, signatures=2, **trust).get("failed")
    revoked = tmp_path / "revoked"
    revoked.write_text((tmp_path / "second.pub").read_text())
    assert not call(bundle_verify, capsys, revoked=str(revoked), **trust).get("failed")
    refused = call(bundle_verify, capsys, signatures=2, revoked=str(revoked), **trust)
    assert f"was made by the key {second}" in refused["msg"]
    assert f"which {revoked} revokes" in refused["msg"]

    prefix = ["--prefix", str(tmp_path / "prefix")]
    for trusted in (["--signers", site["signers_file"]], ["--fingerprint", first], ["--fingerprint", second]):
        done = setup(bundle, *trusted, *prefix)
        assert done.returncode == 0, done.stderr
    only = tmp_path / "only-second"
    only.write_text(signature.signers_line((tmp_path / "second.pub").read_text()))
    assert setup(bundle, "--signers", str(only), *prefix).returncode == 0
    assert setup(bundle, "--signers", site["signers_file"], "--revoked", str(revoked), *prefix).returncode == 0
    for trusted in (["--signers", str(only)], ["--fingerprint", second]):
        done = setup(bundle, *trusted, "--revoked", str(revoked), *prefix)
        assert done.returncode == 1
        assert f"was made by the key {second} of airgap-speech-bundle, which {revoked} revokes" in done.stderr
    only.write_text(only.read_text().replace(" namespaces", ' valid-before="20200101",namespaces'))
    done = setup(bundle, "--signers", str(only), *prefix)
    assert "key has expired" in done.stderr
    assert f"was made by the key {second}, which {only} does not trust" in done.stderr
    assert "--revoked" in setup(bundle, "--help").stdout
    missing = setup(bundle, "--signers", site["signers_file"], "--revoked", "/none", *prefix)
    assert "/none is missing; give the file of the keys" in missing.stderr


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


SPOIL: list[tuple[str, Callable[[Path, Path], None], str]] = [
    ("no signature", lambda b, t: (b / "bundle.lock.json.sig").unlink(), "bundle.lock.json.sig is missing"),
    ("no lock", lambda b, t: (b / "bundle.lock.json").unlink(), "bundle.lock.json is missing"),
    ("lock altered", lambda b, t: _flip(b / "bundle.lock.json"), "bundle.lock.json does not match its signature"),
    ("installer altered", lambda b, t: _flip(b / "files/installer.pyz"), "files/installer.pyz: sha256 differs"),
    ("installer missing", lambda b, t: (b / "files/installer.pyz").unlink(), "files/installer.pyz: No such file"),
    ("tool altered", lambda b, t: _flip(b / "files/tools/helm"), "files/tools/helm: sha256 differs (expected sha256:"),
    ("tool missing", lambda b, t: (b / "files/tools/helm").unlink(), "files/tools/helm: is missing; copy that file"),
    ("file too much", lambda b, t: (b / "files/x").write_text(""), "files/x: is not in the lock"),
    ("no signers", lambda b, t: (t / "keys/signers").unlink(), "signers is missing"),
    ("other signer", lambda b, t: (t / "keys/signers").write_text(_stranger(t)), "does not trust; check who made"),
]


def _stranger(tmp: Path) -> str:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp / "stranger")], check=True)
    return signature.signers_line((tmp / "stranger.pub").read_text())


@pytest.mark.parametrize(("spoil", "message"), [s[1:] for s in SPOIL], ids=[s[0] for s in SPOIL])
def test_setup_refuses(
    carried: tuple[Path, str],
    site: Site,
    tmp_path: Path,
    capsys: Capture,
    spoil: Callable[[Path, Path], None],
    message: str,
) -> None:
    bundle, _fingerprint = carried
    spoil(bundle, tmp_path)
    refused = setup(bundle, "--signers", site["signers_file"], "--prefix", str(tmp_path / "prefix"))
    assert refused.returncode == 1
    assert message in refused.stderr
    assert not (tmp_path / "prefix").exists()
    result = call(bundle_verify, capsys, path=site["dest"], signers=site["signers_file"])
    assert result["failed"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "nothing to trust was given"),
        (["--fingerprint", "SHA256:" + "A" * 43], "expected SHA256:" + "A" * 43),
        (["--signers", "BUNDLE/setup.sh"], "lies inside the bundle"),
        (["--signers", "x", "--fingerprint", "y"], "exclude each other"),
        (["--frobnicate"], "--frobnicate is no option"),
        (["--signers"], "--signers wants a value"),
    ],
)
def test_setup_wants_trust(carried: tuple[Path, str], tmp_path: Path, args: list[str], message: str) -> None:
    args = [arg.replace("BUNDLE", str(carried[0])) for arg in args]
    refused = setup(carried[0], *args, HOME=str(tmp_path / "home"))
    assert refused.returncode == 1
    assert message in refused.stderr
    assert not (tmp_path / "home").exists()
