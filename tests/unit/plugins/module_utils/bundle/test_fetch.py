# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Content on its way into the cache: written once, verified, going on inside a blob, and what happens when it fails."""

from __future__ import annotations

import io
import os
import resource
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest

from ansible_collections.airgap.speech.plugins.module_utils.bundle.archive import entry_end, entry_header, one_file_tar
from ansible_collections.airgap.speech.plugins.module_utils.bundle.fetch import FetchError, Item, Store
from ansible_collections.airgap.speech.plugins.module_utils.bundle.origins import (
    RegistryOrigin,
    items_of,
    plan_image,
)
from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import Layout
from ansible_collections.airgap.speech.plugins.module_utils.oci.registry import Registry, RegistryError
from ansible_collections.airgap.speech.plugins.module_utils.oci.transfer import Progress
from tests.unit.plugins.module_utils.bundle.faults import Fault, FaultProxy, fault_proxy
from tests.unit.plugins.module_utils.bundle.upstreams import add_image, add_index, noise, push_image, sha256
from tests.unit.registry_server import RegistryServer, plain_registry_server  # noqa: F401 - fixture

MB = 1_000_000
BIG = noise("big", 5 * MB)
LAYER = f"/blobs/{sha256(BIG)}"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty cache."""
    layout = Layout(tmp_path / "cache" / "oci")
    layout.create()
    (tmp_path / "cache" / "partial").mkdir()
    return Store(layout, str(tmp_path / "cache" / "partial"), threads=3)


def content(store: Store) -> dict[str, bytes]:
    """Every blob that counts."""
    return {"sha256:" + path.name: path.read_bytes() for path in store.layout.blobs.iterdir()}


def item(data: bytes, **more: Any) -> Item:
    return Item("thing", sha256(data), len(data), lambda offset: (data[offset:],), **more)


def test_all_come_and_what_comes_twice_comes_once(store: Store) -> None:
    asked: list[int] = []

    def read(offset: int) -> Iterator[bytes]:
        asked.append(offset)
        yield b"one"

    one = Item("one", sha256(b"one"), 3, read)
    found = store.bring([one, item(b""), item(BIG), one])
    assert found == [(sha256(b"one"), 3), (sha256(b""), 0), (sha256(BIG), len(BIG)), (sha256(b"one"), 3)]
    assert asked == [0]
    assert content(store) == {sha256(data): data for data in (b"one", b"", BIG)}
    assert store.fresh == set(content(store))
    assert os.listdir(store.folder) == []


@pytest.mark.parametrize("kept", [0, 1, 100, 511, 512, 513, 2 * MB, 5 * MB + 512, 5 * MB + 2048])
def test_a_file_as_a_layer_goes_on_anywhere(store: Store, tmp_path: Path, kept: int) -> None:
    """Both digests are right wherever the run before was killed."""
    (tmp_path / "f").write_bytes(BIG)
    whole = b"".join(one_file_tar("m/f", str(tmp_path / "f"), len(BIG)))
    layer = item(BIG, prefix=entry_header("m/f", len(BIG)), suffix=entry_end(len(BIG)))
    Path(store.folder, layer.key).write_bytes(whole[:kept])
    told: list[tuple[str, int]] = []
    (found,) = store.bring([Item(**{**layer.__dict__, "done": lambda digest, size: told.append((digest, size))})])
    assert found == (sha256(whole), len(whole))
    assert told == [found]
    assert content(store) == {sha256(whole): whole}
    with tarfile.open(fileobj=io.BytesIO(whole)) as archive:
        assert archive.getnames() == ["m/f"]


@pytest.mark.parametrize("kept", [b"other", noise("other", 6 * MB), BIG[:-1] + b"x", BIG])
def test_what_was_kept_may_be_spoilt(store: Store, kept: bytes) -> None:
    one = item(BIG)
    Path(store.folder, one.key).write_bytes(kept)
    lines: list[str] = []
    store.progress = Progress("p", 0, lines.append, every=0)
    store.bring([one])
    assert content(store) == {one.digest: BIG}
    assert store.progress.done == store.progress.total


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (BIG[:-1], "4999999 bytes came where 5000000 are announced"),
        (BIG + b"x", "more than 5000000 bytes came"),
        (BIG[:-1] + b"x", r"sha256 differs \(expected sha256:\w+, sha256:\w+ came, 2 times\)"),
    ],
)
def test_what_is_not_what_it_should_be_never_counts(store: Store, data: bytes, message: str) -> None:
    other = item(b"other")
    wrong = Item("thing", sha256(BIG), len(BIG), lambda offset: (data[offset:],))
    with pytest.raises(FetchError, match=f"thing: {message}"):
        store.bring([wrong, other])
    assert sha256(BIG) not in content(store)
    assert store.bring([item(BIG)])


def test_no_room(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is asked before anything else is."""
    free = os.statvfs(store.folder)
    size = free.f_bavail * free.f_frsize * 2

    def read(offset: int) -> Iterator[bytes]:
        raise AssertionError("asked although there is no room")

    with pytest.raises(FetchError, match=rf"bytes are free, {size} more are to be fetched; free \d+ bytes, or name"):
        store.bring([Item("huge", sha256(b"huge"), size, read)])


def test_a_full_disk(store: Store, tmp_path: Path) -> None:
    """A limit on the size of files is a real fault of writing; what was written stays, and the next run goes on."""
    script = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parents[5])!r}); import tests.unit.conftest
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))
from ansible_collections.airgap.speech.plugins.module_utils.bundle.fetch import FetchError
from tests.unit.plugins.module_utils.bundle.test_fetch import BIG, Layout, Store, item
try:
    Store(Layout({str(store.layout.path)!r}), {store.folder!r}).bring([item(BIG)])
except FetchError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert f"thing: cannot be written below {store.folder} (File too large); make room there" in done.stdout
    assert content(store) == {}
    assert store.left(item(BIG)) == 3 * MB
    offsets: list[int] = []

    def read(offset: int) -> Iterator[bytes]:
        offsets.append(offset)
        yield BIG[offset:]

    store.bring([Item("thing", sha256(BIG), len(BIG), read)])
    assert offsets == [2 * MB]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


# -- out of a registry, through faults ---------------------------------------------------------------------------------


@pytest.fixture
def upstream(
    tmp_path: Path,
    plain_registry_server: RegistryServer,  # noqa: F811
) -> Iterator[tuple[FaultProxy, str]]:
    """A real registry behind a proxy that fails on purpose, and the digest of the image in it."""
    layout = Layout(tmp_path / "upstream")
    layout.create()
    images = [
        add_image(layout, [BIG, noise(platform, 3 * MB)], platform) for platform in ("linux/amd64", "linux/arm64")
    ]
    digest = push_image(plain_registry_server, layout, add_index(layout, images).digest, "app:1")
    with fault_proxy(plain_registry_server.endpoint) as proxy:
        yield proxy, digest


def fetch(proxy: FaultProxy, store: Store, digest: str, waits: list[float]) -> None:
    """The image by its digest; what it waits between two tries goes to `waits`."""
    with Registry(proxy.endpoint, plain_http=True, sleep=waits.append, timeout=5) as registry:
        origin = RegistryOrigin(registry, "app", digest)
        assert origin.head() is not None
        plan = plan_image(origin, digest, ["linux/amd64"])
        store.bring(items_of(origin, plan, store.layout))
        plan.keep(store.layout)


@pytest.mark.parametrize(
    ("fault", "waits"),
    [
        (Fault(LAYER, cut=1_234_567, times=2), 2),
        (Fault(LAYER, 500), 1),
        (Fault(LAYER, 503, {"Retry-After": "7"}), [7.0]),
        (Fault(LAYER, 429, {"Retry-After": "3"}, times=2), [3.0, 3.0]),
        (Fault("/manifests/", 429, {"Retry-After": "2"}), [2.0]),
        (Fault(LAYER, rate=20 * MB), 0),
        (Fault(LAYER, flip=1_000_000), 0),
    ],
    ids=["cut", "500", "503", "429", "429 of a manifest", "slow", "a flipped bit"],
)
def test_it_comes_all_the_same(upstream: tuple[FaultProxy, str], store: Store, fault: Fault, waits: Any) -> None:
    proxy, digest = upstream
    proxy.faults.append(fault)
    waited: list[float] = []
    progress = store.progress = Progress("p", 0, lambda line: None)
    fetch(proxy, store, digest, waited)
    assert not fault.times
    assert (len(waited) if isinstance(waits, int) else sorted(waited)) == waits
    found = content(store)
    assert all(sha256(data) == name for name, data in found.items())
    assert BIG in found.values()
    assert noise("linux/amd64", 3 * MB) in found.values()
    assert noise("linux/arm64", 3 * MB) not in found.values()
    list(store.layout.walk(digest, ["linux/amd64"]))
    # What came of a try that failed is taken back, what came before a cut is not asked for again.
    assert progress.done == progress.total
    if fault.cut:
        assert any(range_ for _method, _path, range_ in proxy.asked)
        assert proxy.sent < 8.1 * MB + fault.cut


@pytest.mark.parametrize(
    ("fault", "kind", "message"),
    [
        (Fault(LAYER, 401), "unauthorized", "refused the login"),
        (Fault(LAYER, 403), "forbidden", "does not allow this"),
        (Fault(LAYER, 404), "missing", "does not have it"),
        (Fault(LAYER, 500, times=99), "server", r"status 500 .*, 6 tries"),
        (Fault(LAYER, 429, {"Retry-After": "4000"}), "busy", "asks to wait 4000 s"),
        (Fault("/manifests/", 401, method="HEAD"), "unauthorized", "refused the login"),
        (Fault("/manifests/", 403), "forbidden", "does not allow this"),
    ],
)
def test_it_cannot_come(upstream: tuple[FaultProxy, str], store: Store, fault: Fault, kind: str, message: str) -> None:
    proxy, digest = upstream
    proxy.faults.append(fault)
    with pytest.raises(RegistryError, match=message) as caught:
        fetch(proxy, store, digest, [])
    assert caught.value.kind == kind
    assert str(caught.value).startswith(f"{proxy.endpoint}/app")
    with pytest.raises(Exception, match="missing"):
        list(store.layout.walk(digest, ["linux/amd64"]))
    proxy.faults.clear()
    fetch(proxy, store, digest, [])
    list(store.layout.walk(digest, ["linux/amd64"]))


def test_a_run_that_ended_in_the_middle_is_gone_on_with(upstream: tuple[FaultProxy, str], store: Store) -> None:
    proxy, digest = upstream
    proxy.faults.append(Fault(LAYER, cut=3_500_000))
    proxy.faults.append(Fault(LAYER, 403))
    with pytest.raises(RegistryError, match="does not allow"):
        fetch(proxy, store, digest, [])
    assert store.left(Item("big", sha256(BIG), len(BIG), lambda offset: ())) == len(BIG) - 3_500_000
    proxy.asked.clear()
    again = Store(store.layout, store.folder)
    fetch(proxy, again, digest, [])
    assert ("GET", f"/v2/app/blobs/{sha256(BIG)}", "bytes=3500000-") in proxy.asked
    assert content(store)[sha256(BIG)] == BIG


ALTER: list[tuple[Callable[[dict[str, Any]], object], str]] = [
    (lambda m: m["layers"][0].update(digest="sha512:" + "0" * 128), "the algorithm 'sha512' is not taken"),
    (lambda m: m["layers"][0].pop("size"), "has no digest or no size"),
    (lambda m: m.update(schemaVersion=1), "is of a kind that is not taken"),
]


@pytest.mark.parametrize(("alter", "message"), ALTER)
def test_a_manifest_that_is_not_taken(tmp_path: Path, alter: Callable[[dict[str, Any]], object], message: str) -> None:
    from ansible_collections.airgap.speech.plugins.module_utils.bundle.origins import LayoutOrigin

    layout = Layout(tmp_path / "oci")
    layout.create()
    document = layout.read_json(add_image(layout, [b"layer"]).digest)
    alter(document)
    digest, _size = layout.add_json(document)
    layout.set_index([(layout.describe(digest), "app:1")])
    with pytest.raises(FetchError, match=message):
        plan_image(LayoutOrigin(str(tmp_path / "oci")), digest, ["linux/amd64"])
