# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module against a registry that answers over a socket."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.airgap.speech.plugins.module_utils.bundle import closure as closing
from ansible_collections.airgap.speech.plugins.module_utils.bundle.lock import Blob, Image, Lock, dump
from ansible_collections.airgap.speech.plugins.module_utils.oci.registry import Registry
from ansible_collections.airgap.speech.plugins.modules import closure

Capture = pytest.CaptureFixture[str]
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def manifest(name: str) -> bytes:
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": {"mediaType": "x", "digest": digest(name.encode()), "size": len(name)},
            "layers": [],
        }
    ).encode()


ONE, CHILD = manifest("one"), manifest("child")
INDEX = json.dumps(
    {
        "schemaVersion": 2,
        "mediaType": INDEX_TYPE,
        "manifests": [
            {
                "mediaType": MANIFEST_TYPE,
                "digest": digest(CHILD),
                "size": len(CHILD),
                "platform": {"os": "linux", "architecture": "amd64"},
            }
        ],
    }
).encode()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        stored: dict[str, tuple[str, bytes]] = self.server.stored  # type: ignore[attr-defined]
        media_type, data = stored.get(self.path, ("", b""))
        self.send_response(200 if media_type else 404)
        if media_type:
            self.send_header("Content-Type", media_type)
            self.send_header("Docker-Content-Digest", digest(data))
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    do_HEAD = do_GET

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def registry() -> Iterator[tuple[str, dict[str, tuple[str, bytes]]]]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    stored: dict[str, tuple[str, bytes]] = {}
    server.stored = stored  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()

    def put(repository: str, data: bytes, media_type: str) -> None:
        stored[f"/v2/{repository}/manifests/{digest(data)}"] = (media_type, data)

    put("quay.io/a/one", ONE, MANIFEST_TYPE)
    stored[f"/v2/quay.io/a/one/blobs/{digest(b'one')}"] = ("application/octet-stream", b"one")
    put("quay.io/a/many", INDEX, INDEX_TYPE)
    put("quay.io/a/many", CHILD, MANIFEST_TYPE)
    stored[f"/v2/quay.io/a/many/blobs/{digest(b'child')}"] = ("application/octet-stream", b"child")
    yield f"127.0.0.1:{server.server_address[1]}", stored
    server.shutdown()
    server.server_close()


LOCK = Lock(
    "2026-11-21T12:00:00Z",
    "0.1.0",
    images=[Image("quay.io/a/one:1", digest(ONE), 1), Image("quay.io/a/many:1", digest(INDEX), 1)],
    blobs=[Blob(digest(ONE), 1), Blob(digest(INDEX), 1)],
)

RENDERED = """
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  initContainers: [{name: i, image: "%(registry)s/quay.io/a/one:1@%(one)s"}]
  containers: [{name: c, image: "quay.io/a/many:1"}]
---
apiVersion: v1
kind: Pod
metadata: {name: t, annotations: {helm.sh/hook: test}}
spec: {containers: [{name: c, image: "%(test)s"}]}
"""


def call(capsys: Capture, tmp_path: Path, endpoint: str, test: str, **args: Any) -> dict[str, Any]:
    (tmp_path / "bundle.lock.json").write_bytes(dump(LOCK))
    text = RENDERED % {"registry": endpoint, "one": digest(ONE), "test": test}
    capsys.readouterr()
    values = {"phase": "before", "bundle": str(tmp_path), "manifest": text, "registry": endpoint, "plain_http": True}
    with patch_module_args({**values, **args}), pytest.raises(SystemExit):
        closure.main()
    result = json.loads(capsys.readouterr().out)
    assert isinstance(result, dict)
    return result


def test_closed(registry: tuple[str, dict[str, Any]], tmp_path: Path, capsys: Capture) -> None:
    result = call(capsys, tmp_path, registry[0], "quay.io/a/one:1")
    assert not result.get("failed"), result
    assert result["count"] == 3
    assert [image["digest"] for image in result["images"]] == [digest(ONE), digest(INDEX), digest(ONE)]
    assert result["missing"] == []


def test_not_in_the_lock(registry: tuple[str, dict[str, Any]], tmp_path: Path, capsys: Capture) -> None:
    result = call(capsys, tmp_path, registry[0], "quay.io/a/other:1")
    assert result["failed"]
    assert (
        "quay.io/a/other:1 is not in the lock of the bundle (wanted by Pod t spec.containers[0].image, test); make"
        in (result["msg"])
    )


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        (f"/v2/quay.io/a/one/manifests/{digest(ONE)}", "is not in the registry as quay.io/a/one@"),
        (f"/v2/quay.io/a/one/blobs/{digest(b'one')}", f"has no blob {digest(b'one')} in the registry's quay.io/a/one"),
        (f"/v2/quay.io/a/many/manifests/{digest(CHILD)}", "is an index without any of its images"),
        (f"/v2/quay.io/a/many/blobs/{digest(b'child')}", f"has no blob {digest(b'child')}"),
    ],
)
def test_not_in_the_registry(
    registry: tuple[str, dict[str, Any]], tmp_path: Path, capsys: Capture, gone: str, message: str
) -> None:
    del registry[1][gone]
    result = call(capsys, tmp_path, registry[0], "quay.io/a/one:1")
    assert result["failed"]
    assert message in result["msg"]
    assert "run image_mirror again" in result["msg"]


OPERATED = """
apiVersion: example.com/v1
kind: Driver
metadata: {name: d}
spec: {repository: quay.io/a, image: one, version: "0"}
---
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  nodeSelector: {kubernetes.io/os: windows}
  containers: [{name: c, image: "quay.io/a/windows:1", args: ["--base-image=quay.io/a/base"]}]
"""
RULES = """
schema: airgap.speech/image-rules/v1
variables: {serial: "the number behind the zero"}
rules:
  - name: serial
    reason: The operator appends it.
    document: {group: example.com, kind: Driver}
    images: ["quay.io/a/one:{serial}"]
  - name: plain
    reason: The operator never uses the plain version.
    document: {group: example.com, kind: Driver}
    at: [spec]
    no_image: true
"""


def test_rules_and_platforms_as_the_bundle_has_them(
    registry: tuple[str, dict[str, Any]], tmp_path: Path, capsys: Capture
) -> None:
    rules = tmp_path / "rules.yml"
    rules.write_text(RULES)
    given = {"manifest": OPERATED, "platforms": ["linux/amd64"], "image_rules": [str(rules)]}
    result = call(capsys, tmp_path, registry[0], "", **given, image_variables={"serial": ["1"]})
    assert not result.get("failed"), result
    assert [image["reference"] for image in result["images"]] == ["quay.io/a/one:1"]
    assert result["undecided"] == [
        "quay.io/a/base has no tag and no digest; the program may add one (Pod p spec.containers[0].args[0])"
    ]

    result = call(capsys, tmp_path, registry[0], "", **given)
    assert any("give the variable serial: the number behind the zero" in line for line in result["undecided"])

    result = call(capsys, tmp_path, registry[0], "", **{**given, "platforms": [], "image_rules": []})
    assert "quay.io/a/one:0 is not in the lock" in result["msg"]
    assert "quay.io/a/windows:1 is not in the lock" in result["msg"]

    # The platforms of the lock, where none are given.
    built = Lock(LOCK.created, "0.1.0", [], [Image("quay.io/a/one:1", digest(ONE), 1, ["linux/arm64"])], blobs=[])
    assert closing.platforms_of(built) == ["linux/arm64"]

    rules.write_text("rules: []")
    assert "is no file of image rules" in call(capsys, tmp_path, registry[0], "", **given)["msg"]


def test_nothing_rendered(registry: tuple[str, dict[str, Any]], tmp_path: Path, capsys: Capture) -> None:
    assert "is empty" in call(capsys, tmp_path, registry[0], "x", manifest="")["msg"]


def pod(name: str, instance: str, **statuses: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": {"app.kubernetes.io/instance": instance}}, "status": statuses}


def test_after(registry: tuple[str, dict[str, Any]]) -> None:
    allowed = closing.allowed_digests(LOCK, Registry(registry[0], plain_http=True))
    good = {"name": "c", "image": "quay.io/a/one:1", "imageID": "quay.io/a/one@" + digest(ONE)}
    child = {"name": "d", "image": "quay.io/a/many:1", "imageID": "reg:5000/quay.io/a/many@" + digest(CHILD)}
    index = {"name": "e", "image": "quay.io/a/many:1", "imageID": "docker-pullable://a@" + digest(INDEX)}
    entries = closing.after([pod("a", "r", containerStatuses=[good, child, index])], allowed)
    assert [entry.problem for entry in entries] == ["", "", ""]
    assert entries[1].reference == "quay.io/a/many:1"

    stranger = {"name": "s", "image": "quay.io/x:1", "imageID": "quay.io/x@" + digest(b"x")}
    pending = {"name": "p", "image": "quay.io/y:1", "imageID": ""}
    leaving = pod("d", "r", containerStatuses=[stranger])
    leaving["metadata"]["deletionTimestamp"] = "2026-11-22T05:00:00Z"
    pods = [
        pod("a", "r", initContainerStatuses=[stranger], ephemeralContainerStatuses=[pending]),
        pod("b", "other", containerStatuses=[stranger]),
        pod("c", "r", phase="Succeeded", containerStatuses=[stranger]),
        leaving,
    ]
    assert [each["metadata"]["name"] for each in closing.pods_of(pods)] == ["a", "b"]
    entries = closing.after(closing.pods_of(pods, "r"), allowed)
    assert len(entries) == 2
    assert "which the lock does not have (pod a container s)" in entries[0].problem
    assert "has no imageID (pod a container p)" in entries[1].problem
