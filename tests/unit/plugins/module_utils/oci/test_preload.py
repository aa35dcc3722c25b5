# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The preload engine against the real registry: kills, damage, and readers that never see a part."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.airgap.speech.plugins.module_utils.oci import preload as engine
from ansible_collections.airgap.speech.plugins.module_utils.oci import preload_files
from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import Layout
from ansible_collections.airgap.speech.plugins.module_utils.oci.preload import (
    Model,
    ModelFile,
    Owner,
    Preloader,
    PreloadError,
)
from ansible_collections.airgap.speech.plugins.module_utils.oci.registry import Registry
from ansible_collections.airgap.speech.plugins.module_utils.oci.transfer import PushItem, plan_push, push
from tests.unit.plugins.module_utils.oci.samples import add_image, add_model, noise, tar_of
from tests.unit.plugins.module_utils.oci.test_job_modules import imported
from tests.unit.registry_server import RegistryServer, registry_server  # noqa: F401 - fixture

FILES = {"model.bin": noise("weights", 9_000_001), "sub/vocabulary.txt": b"a\nb\n", "config.json": b"{}"}
# How often the program is killed; tests/full takes more.
KILLS = int(os.environ.get("MODEL_KILLS") or "6")


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def model_of(digest: str, files: dict[str, bytes], version: str = "1", name: str = "whisper") -> Model:
    return Model(name, version, digest, tuple(ModelFile(p, digest_of(d), len(d)) for p, d in files.items()))


class Site:
    """A registry with models in it, and a directory for them."""

    def __init__(self, server: RegistryServer, root: Path) -> None:
        self.server = server
        self.layout = Layout(root / "oci")
        self.layout.create()
        self.directory = root / "models"
        self.registry = Registry(
            server.endpoint, username=server.username, password=server.password, ca_file=str(server.ca_file)
        )

    def add(self, files: dict[str, bytes], version: str = "1", name: str = "whisper") -> Model:
        return self.push(add_model(self.layout, files), files, version, name)

    def push(self, digest: str, files: dict[str, bytes], version: str = "1", name: str = "whisper") -> Model:
        push(plan_push(self.layout, [PushItem(digest, f"models/{name}", version)], self.registry), self.registry)
        return model_of(digest, files, version, name)

    def preloader(self, **changes: Any) -> Preloader:
        return Preloader(self.registry, str(self.directory), **changes)

    def content(self, name: str = "whisper") -> dict[str, bytes]:
        root = self.directory / name
        return {
            os.path.relpath(os.path.join(parent, file), root): Path(parent, file).read_bytes()
            for parent, _directories, files in os.walk(root)
            for file in files
        }

    def requests(self) -> int:
        return len(self.server.requests())


@pytest.fixture(name="site")
def a_site(registry_server: RegistryServer, tmp_path: Path) -> Site:  # noqa: F811
    return Site(registry_server, tmp_path)


@pytest.mark.parametrize("with_files", [True, False])
def test_placed_checked_and_placed_again(site: Site, with_files: bool) -> None:
    model = site.add(FILES)
    if not with_files:
        model = Model(model.name, model.version, model.digest)
    guess = site.preloader().run([model], check=True)
    assert guess.changed
    assert not site.directory.exists()
    done = site.preloader(owner=Owner(mode=0o640)).run([model])
    assert (done.files_written, done.bytes_written) == (3, sum(map(len, FILES.values())))
    assert (guess.files_written, guess.bytes_written) == (done.files_written, done.bytes_written)
    assert site.content() == FILES
    link = site.directory / "whisper"
    assert os.readlink(link) == f".versions/whisper/{model.hex}"
    assert (link / "model.bin").stat().st_mode & 0o777 == 0o640
    assert (link / "sub").stat().st_mode & 0o777 == 0o750
    mark = site.requests()
    again = site.preloader(owner=Owner(mode=0o640)).run([model])
    assert not again.changed
    assert site.requests() == mark
    assert again.summary() == "All 1 models already there"
    assert site.preloader(owner=Owner(mode=0o644)).run([model]).changed
    assert (link / "model.bin").stat().st_mode & 0o777 == 0o644


def test_in_check_mode_the_lock_is_enough(tmp_path: Path) -> None:
    model = model_of("sha256:" + "a" * 64, FILES)
    result = Preloader(None, str(tmp_path / "models")).run([model], check=True)
    assert (result.files_written, result.bytes_written) == (3, sum(map(len, FILES.values())))
    with pytest.raises(PreloadError, match="no registry answers"):
        Preloader(None, str(tmp_path / "models")).run([Model("m", "1", model.digest)], check=True)


@pytest.mark.parametrize("fmt", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_long_paths_of_every_tar_format(site: Site, fmt: int) -> None:
    name = "/".join(("d" * 60, "e" * 60, "ü.bin")) if fmt != tarfile.USTAR_FORMAT else "d" * 60 + "/" + "e" * 60
    data = noise("long", 3000)
    digest = add_image(site.layout, [tar_of(name, data, fmt)])
    model = site.push(digest, {name: data})
    site.preloader().run([model])
    assert site.content() == {name: data}
    assert not site.preloader(full=True).run([model]).changed


def test_damage_is_found_and_only_that_file_written(site: Site) -> None:
    model = site.add(FILES)
    site.preloader().run([model])
    good = (site.directory / "whisper/model.bin").stat().st_ino
    target = site.directory / "whisper/sub/vocabulary.txt"
    target.write_bytes(b"a\nX\n")
    assert not site.preloader().run([model]).changed, "same size: only full verification reads it"
    assert site.preloader(full=True).run([model], check=True).bytes_written == 4
    done = site.preloader(full=True).run([model])
    assert (done.files_written, done.bytes_written) == (1, 4)
    assert site.content() == FILES
    assert (site.directory / "whisper/model.bin").stat().st_ino == good
    target.unlink()
    assert site.preloader().run([model]).files_written == 1
    assert site.content() == FILES
    assert not site.preloader(full=True).run([model]).changed
    assert sorted(os.listdir(site.directory / ".versions/whisper")) == [model.hex, model.hex + ".json"]


def test_versions_kept_and_pruned(site: Site) -> None:
    models = [site.add({"model.bin": noise(f"v{i}", 5000)}, str(i)) for i in range(4)]
    for model in models[:3]:
        last = site.preloader(keep=1).run([model])
    assert last.pruned == [f".versions/whisper/{models[0].hex}"]
    guess = site.preloader(keep=0).run([models[3]], check=True)
    done = site.preloader(keep=0).run([models[3]])
    assert guess.pruned == done.pruned
    assert sorted(done.pruned) == sorted(f".versions/whisper/{model.hex}" for model in models[1:3])
    assert sorted(os.listdir(site.directory / ".versions/whisper")) == [models[3].hex, models[3].hex + ".json"]
    back = site.preloader(keep=1).run([models[2]])
    assert back.models[0].status == "written"
    assert back.before == {"whisper": models[3].digest}
    assert site.preloader(keep=1).run([models[3]]).models[0].status == "switched"
    assert not site.preloader(keep=1).run([models[3]]).changed


@pytest.mark.parametrize(
    ("layer", "files", "text"),
    [
        (tar_of("../evil", b"x"), {}, "could leave its directory"),
        (tar_of("/evil", b"x"), {}, "could leave its directory"),
        (tar_of("a", b"x")[:1024] + tar_of("b", b"y"), {}, "more than one file"),
        (b"\0" * 2048, {}, "no regular file"),
        (noise("junk", 2048), {}, "not a plain tar layer"),
        (tar_of("a", b"x"), {"a": b"xx"}, "1 bytes where the lock has 2"),
        (tar_of("a", b"x"), {"a": b"x", "b": b"z"}, r"not the lock's \(b\)"),
    ],
)
def test_bad_models_are_refused(site: Site, layer: bytes, files: dict[str, bytes], text: str) -> None:
    model = site.push(add_image(site.layout, [layer]), files)
    with pytest.raises(PreloadError, match=text):
        site.preloader().run([model])
    assert not os.path.lexists(site.directory / "whisper")


@pytest.mark.parametrize("name", ["", "../x", "/x", "a//b", ".versions", "a/../../b", "a@1", "a/.b"])
def test_bad_names_are_refused(name: str) -> None:
    with pytest.raises(PreloadError):
        Model.read({"name": name, "version": "1", "digest": "sha256:" + "a" * 64})


def test_no_room_is_said_first(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    model = site.add(FILES)
    real = os.statvfs

    def small(path: Any) -> os.statvfs_result:
        values = list(real(path))
        values[4] = 1  # f_bavail
        return os.statvfs_result(values)

    monkeypatch.setattr(engine.os, "statvfs", small)
    mark = site.requests()
    with pytest.raises(PreloadError, match=r"the models need 24.6 MiB and 4.0 KiB are free; make room"):
        site.preloader().run([model])
    assert site.requests() == mark


def test_versions_side_by_side(site: Site) -> None:
    models = [site.add({"model.bin": noise(f"side{i}", 5000)}, f"{i}.0") for i in range(3)]
    guess = site.preloader().run(models[:2], check=True)
    done = site.preloader().run(models[:2])
    assert guess.as_dict() | {"seconds": 0} == done.as_dict() | {"seconds": 0}
    assert done.after == {"whisper": models[0].digest, "whisper@0.0": models[0].digest, "whisper@1.0": models[1].digest}
    assert site.content("whisper") == site.content("whisper@0.0") == {"model.bin": noise("side0", 5000)}
    assert site.content("whisper@1.0") == {"model.bin": noise("side1", 5000)}
    assert not site.preloader(full=True).run(models[:2]).changed
    swapped = site.preloader(keep=0).run([models[1], models[0]])
    assert ([model.status for model in swapped.models], swapped.pruned) == (["switched", "present"], [])
    assert site.content("whisper") == site.content("whisper@1.0")
    alone = site.preloader(keep=0).run([models[2]])
    assert sorted(alone.pruned) == [
        *sorted(f".versions/whisper/{model.hex}" for model in models[:2]),
        "whisper@0.0",
        "whisper@1.0",
    ]
    assert sorted(os.listdir(site.directory)) == [".versions", "whisper"]
    with pytest.raises(PreloadError, match=r"whisper:2\.0: it is named twice; name each version once"):
        site.preloader().run([models[2], models[2]])


@pytest.mark.parametrize("before", [b"system_u:object_r:var_lib_t:s0\0", None])
def test_the_selinux_type_is_set(site: Site, monkeypatch: pytest.MonkeyPatch, before: bytes | None) -> None:
    """The extended attribute is written for real; only the question whether SELinux runs is answered for it."""
    model = site.add(FILES)
    site.preloader().run([model])
    path = site.directory / "whisper/sub/vocabulary.txt"
    if before:
        try:
            os.setxattr(path, "security.selinux", before)
        except PermissionError:
            pytest.skip("only root may write a security label")
    owner = Owner(selinux_type="container_file_t")
    assert not site.preloader(owner=owner).run([model]).changed, "no SELinux here: nothing to set"
    monkeypatch.setattr(preload_files, "selinux_is_on", lambda: True)
    assert site.preloader(owner=owner).run([model], check=True).owned == 1
    assert site.preloader(owner=owner).run([model]).owned == 1
    for one in (path, path.parent, site.directory / "whisper/model.bin"):
        assert os.getxattr(one, "security.selinux") == b"system_u:object_r:container_file_t:s0\0"
    assert not site.preloader(owner=owner).run([model]).changed


def test_a_real_directory_is_not_replaced(site: Site) -> None:
    model = site.add(FILES)
    (site.directory / "whisper").mkdir(parents=True)
    with pytest.raises(PreloadError, match="is not a link of ours; move it away"):
        site.preloader().run([model])


def test_two_runs_at_once(site: Site) -> None:
    model = site.add(FILES)
    site.directory.mkdir()
    with site.preloader()._only_one(), pytest.raises(PreloadError, match="another run places models here"):
        site.preloader().run([model])


def program(site: Site, tmp_path: Path, model: Model) -> list[str]:
    """The command of the Job, over a directory like the one that its ConfigMap makes."""
    app = tmp_path / "app"
    target = app / "ansible_collections/airgap/speech/plugins/module_utils/oci"
    if not app.exists():
        target.mkdir(parents=True)
        source = Path(engine.__file__).parent
        for name in imported("preload_command", set()):
            (target / f"{name}.py").write_text((source / f"{name}.py").read_text())
        checkout = Path(__file__).resolve().parents[5]
        template = checkout / "roles/model_preload/templates/main.py.j2"
        (app / "__main__.py").write_text(template.read_text())
    login = base64.b64encode(f"{site.server.username}:{site.server.password}".encode()).decode()
    (app / "login.json").write_text(json.dumps({"auths": {site.server.endpoint: {"auth": login}}}))
    config = {
        "registry": site.server.endpoint,
        "models": [
            {
                "name": model.name,
                "version": model.version,
                "digest": model.digest,
                "files": [{"path": f.path, "digest": f.digest, "size": f.size} for f in model.files],
            }
        ],
    }
    (app / "config.json").write_text(json.dumps(config))
    return [
        sys.executable,
        "-I",
        "-B",
        str(app),
        f"--config={app}/config.json",
        f"--directory={site.directory}",
        f"--docker-config={app}/login.json",
        f"--ca-file={site.server.ca_file}",
        f"--result-file={app}/result.json",
    ]


def run_program(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")


def test_job_program_killed_again_and_again(site: Site, tmp_path: Path) -> None:
    """A real SIGKILL at random moments: it goes on where it stopped, and a reader never sees a part."""
    files = {"model.bin": noise("big", 60_000_000), "second.bin": noise("second", 20_000_000), "c.json": b"{}"}
    old = site.add({"model.bin": noise("old", 1_000_000)}, "0")
    site.preloader().run([old])
    model = site.add(files, "1")
    whole = {digest_of(noise("old", 1_000_000)), digest_of(files["model.bin"])}
    seen: set[str] = set()
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            seen.add(digest_of((site.directory / "whisper/model.bin").read_bytes()))

    reader = threading.Thread(target=read)
    reader.start()
    kills = 0
    command = program(site, tmp_path, model)
    partial = site.directory / f".versions/whisper/{model.hex}.partial"
    dice = random.Random()  # noqa: S311 - moments of kills
    try:
        for step in range(KILLS):
            moment = 42_000_000 * step // KILLS + dice.randrange(42_000_000 // KILLS)
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")
            while process.poll() is None:
                if (partial / "model.bin").exists() and (partial / "model.bin").stat().st_size >= moment:
                    process.send_signal(signal.SIGKILL)
                time.sleep(0.002)
            kills += process.returncode == -signal.SIGKILL
        left = (partial / "model.bin").stat().st_size
        last = run_program(command)
    finally:
        stop.set()
        reader.join()
    assert last.returncode == 0, last.stdout + last.stderr
    assert kills == KILLS
    assert left >= 42_000_000 * (KILLS - 1) // KILLS
    assert left == 60_000_000 or "model.bin: going on at" in last.stdout
    assert site.content() == files
    assert seen <= whole
    assert not partial.exists()
    result = json.loads((tmp_path / "app/result.json").read_text())
    assert result["changed"] is True
    mark = site.requests()
    again = run_program(command)
    assert json.loads(again.stdout.splitlines()[-1])["changed"] is False
    assert site.requests() == mark


def test_job_program_resumes_inside_a_file_with_wrong_bytes(site: Site, tmp_path: Path) -> None:
    """What a power cut left may be garbage: the digest shows it, and the file is fetched from its start."""
    model = site.add(FILES)
    partial = site.directory / f".versions/whisper/{model.hex}.partial"
    partial.mkdir(parents=True)
    (partial / "model.bin").write_bytes(FILES["model.bin"][:4_000_000])
    good = run_program(program(site, tmp_path, model))
    assert good.returncode == 0
    assert "model.bin: going on at 3.8 MiB of 8.6 MiB" in good.stdout
    other = site.add({"model.bin": noise("other", 5_000_000)}, "2")
    partial = site.directory / f".versions/whisper/{other.hex}.partial"
    partial.mkdir()
    (partial / "model.bin").write_bytes(bytes(4_000_000))
    assert run_program(program(site, tmp_path, other)).returncode == 0
    assert site.content() == {"model.bin": noise("other", 5_000_000)}


def test_job_program_says_what_is_wrong(site: Site, tmp_path: Path) -> None:
    model = site.add(FILES)
    command = program(site, tmp_path, model)
    login = base64.b64encode(b"airgap-push:wrong").decode()
    (tmp_path / "app/login.json").write_text(json.dumps({"auths": {site.server.endpoint: {"auth": login}}}))
    refused = run_program(command)
    assert refused.returncode == 1
    assert "the registry refused the login (user airgap-push, 401); check" in refused.stdout
    assert "wrong" not in refused.stdout + refused.stderr
    (tmp_path / "app/login.json").write_text('{"auths": {}}')
    assert f"none for {site.server.endpoint} is in it" in run_program(command).stdout
    site.server.stop()
    program(site, tmp_path, model)
    assert "refused the connection; start the registry" in run_program(command).stdout


def test_reader_sees_old_or_new_while_the_link_switches(site: Site) -> None:
    versions = {str(i): noise(f"switch{i}", 300_000) for i in range(2)}
    models = [site.add({"model.bin": data}, version) for version, data in versions.items()]
    site.preloader(keep=5).run([models[0]])
    seen: set[str] = set()
    stop = threading.Event()
    failures: list[BaseException] = []

    def read() -> None:
        try:
            while not stop.is_set():
                seen.add(digest_of((site.directory / "whisper/model.bin").read_bytes()))
        except BaseException as error:
            failures.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    for turn in range(40):
        site.preloader(keep=5).run([models[turn % 2]])
    stop.set()
    reader.join()
    assert not failures
    assert seen == {digest_of(data) for data in versions.values()}
