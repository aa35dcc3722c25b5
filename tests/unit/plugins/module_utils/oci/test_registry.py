# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client against registries that misbehave as real ones do: busy, cut, redirecting, with tokens, lying."""

from __future__ import annotations

import base64
import io
import json
import os
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Optional

import pytest

from ansible_collections.airgap.speech.plugins.module_utils.oci.body import FileBody
from ansible_collections.airgap.speech.plugins.module_utils.oci.digest import sha256_bytes
from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import MEDIA_INDEX, MEDIA_MANIFEST
from ansible_collections.airgap.speech.plugins.module_utils.oci.registry import (
    Registry,
    RegistryError,
    connect,
    credentials_of,
    human_bytes,
    parse_challenge,
    retry_after,
)

DATA = os.urandom(3_000_000)
DIGEST = sha256_bytes(DATA)
Reply = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Answers each request with the next scripted reply."""

    protocol_version = "HTTP/1.1"
    server: Fake

    def _serve(self) -> None:
        self.server.seen.append((self.command, self.path, self.headers.get("Authorization"), self.headers.get("Range")))
        reply = self.server.script.pop(0) if self.server.script else answer(500)
        reply(self)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _serve

    def take_body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def log_message(self, *_args: Any) -> None:
        pass


class Fake(ThreadingHTTPServer):
    """A server on a loopback port with a script."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: list[Reply] = []
        self.seen: list[tuple[str, str, Optional[str], Optional[str]]] = []

    def handle_error(self, *_args: Any) -> None:
        pass

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.server_port}"


def answer(status: int, body: bytes = b"", **headers: str) -> Reply:
    """A whole answer."""

    def reply(handler: Handler) -> None:
        handler.take_body()
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(body)

    return reply


def refusal(status: int, code: str, message: str = "no", **headers: str) -> Reply:
    """An answer as the distribution API words its errors."""
    return answer(status, json.dumps({"errors": [{"code": code, "message": message}]}).encode(), **headers)


def cut(body: bytes = b"", announced: int = 0) -> Reply:
    """A connection that ends within the answer, or before it."""

    def reply(handler: Handler) -> None:
        if announced:
            handler.send_response(206 if handler.headers.get("Range") else 200)
            handler.send_header("Content-Length", str(announced))
            handler.end_headers()
            handler.wfile.write(body)
            handler.wfile.flush()
        handler.close_connection = True
        handler.connection.shutdown(2)

    return reply


def cut_upload(handler: Handler) -> None:
    """Read a part of what is sent, then hang up."""
    handler.rfile.read(100_000)
    handler.close_connection = True
    handler.connection.shutdown(2)


@pytest.fixture(name="fake")
def a_fake() -> Iterator[Fake]:
    fake = Fake()
    thread = threading.Thread(target=fake.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield fake
    fake.shutdown()
    fake.server_close()
    thread.join()


@pytest.fixture(name="waits")
def some_waits() -> list[float]:
    return []


@pytest.fixture(name="registry")
def a_registry(fake: Fake, waits: list[float]) -> Registry:
    return Registry(fake.endpoint, username="u", password="p", plain_http=True, attempts=4, sleep=waits.append)


def basic() -> str:
    return "Basic " + base64.b64encode(b"u:p").decode()


def head(data: bytes = b"{}") -> Reply:
    return answer(200, data, Docker_Content_Digest=sha256_bytes(data), Content_Type=MEDIA_MANIFEST)


def test_login_goes_with_the_first_request(fake: Fake, registry: Registry) -> None:
    fake.script = [head(), answer(404)]
    found = registry.head_manifest("a/b", "1")
    assert found is not None
    assert (found.digest, found.size, found.media_type) == (sha256_bytes(b"{}"), 2, MEDIA_MANIFEST)
    assert registry.head_manifest("a/b", "2") is None
    assert [entry[:3] for entry in fake.seen] == [
        ("HEAD", "/v2/a/b/manifests/1", basic()),
        ("HEAD", "/v2/a/b/manifests/2", basic()),
    ]
    assert registry.requests == 2


def test_busy_is_waited_for_as_asked(fake: Fake, registry: Registry, waits: list[float]) -> None:
    fake.script = [answer(429, Retry_After="7"), answer(503, Retry_After="2"), answer(502), head()]
    assert registry.head_manifest("a", "1") is not None
    assert waits[:2] == [7.0, 2.0]
    assert 0 < waits[2] <= 30


@pytest.mark.parametrize(
    ("script", "kind", "text"),
    [
        (
            [answer(429)] * 4,
            "busy",
            "status 429 Too Many Requests, 4 tries; look at the registry's log, then run again",
        ),
        ([refusal(500, "UNKNOWN", "disk full")] * 4, "server", r"500 .*\(UNKNOWN disk full\), 4 tries"),
        ([cut()] * 4, "cut", "the connection was cut .*4 tries"),
        ([answer(429, Retry_After="4000")], "busy", "it asks to wait 4000 s; wait that long"),
        ([refusal(403, "DENIED")], "forbidden", r"does not allow this to user u \(403\); give that user the right"),
        ([refusal(401, "UNAUTHORIZED", WWW_Authenticate='Basic realm="x"')], "unauthorized", r"login \(user u, 401\)"),
        ([refusal(404, "NAME_UNKNOWN")], "missing", "does not have it .*NAME_UNKNOWN"),
        ([answer(405)], "forbidden", "read-only"),
        ([answer(200, b"{}", Docker_Content_Digest=DIGEST)], "digest", "sha256 differs"),
    ],
)
def test_what_is_said_in_the_end(fake: Fake, registry: Registry, script: list[Reply], kind: str, text: str) -> None:
    fake.script = script
    with pytest.raises(RegistryError, match=text) as caught:
        registry.get_manifest("a/b", "1")
    assert caught.value.kind == kind
    assert str(caught.value).startswith(f"{fake.endpoint}/a/b:1: ")
    assert not fake.script


def test_token_login(fake: Fake, registry: Registry) -> None:
    challenge = f'Bearer realm="http://{fake.endpoint}/token?x=y",service="s v",scope="repository:a/b:pull"'
    fake.script = [
        answer(401, WWW_Authenticate=challenge),
        answer(200, b'{"token": "first", "expires_in": 300}'),
        head(),
        head(),
        answer(401, WWW_Authenticate=challenge),
        answer(200, b'{"access_token": "second"}'),
        head(),
    ]
    for _turn in range(3):
        assert registry.head_manifest("a/b", "1") is not None
    logins = [entry[2] for entry in fake.seen if "/v2/" in entry[1]]
    assert logins == [basic(), "Bearer first", "Bearer first", "Bearer first", "Bearer second"]
    token = fake.seen[1]
    assert token[2] == basic()
    assert token[1] == "/token?x=y&service=s+v&scope=repository%3Aa%2Fb%3Apull&account=u"


def test_token_refused(fake: Fake, registry: Registry) -> None:
    fake.script = [answer(401, WWW_Authenticate=f'Bearer realm="http://{fake.endpoint}/t"'), answer(401)]
    with pytest.raises(RegistryError, match="refused the login") as caught:
        registry.ping()
    assert caught.value.status == 401


def test_token_service_without_tls_never_sees_the_password() -> None:
    registry = Registry("r.example:5000", username="u", password="p")
    with pytest.raises(RegistryError, match="wants the password without TLS"):
        registry._fetch_token({"realm": "http://elsewhere/token"}, ())


def test_redirect_does_not_leak_the_login(fake: Fake, registry: Registry) -> None:
    other = Fake()
    thread = threading.Thread(target=other.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        fake.script = [
            answer(307, Location=f"http://{other.endpoint}/store?sig=1"),
            answer(302, Location="/here"),
            head(DATA),
        ]
        other.script = [answer(200, DATA)]
        with registry.open_blob("a", DIGEST) as blob:
            assert blob.read(10) == DATA[:10]
        with registry.open_blob("a", DIGEST) as blob:
            assert blob.read(10) == DATA[:10]
        assert [entry[1:3] for entry in other.seen] == [("/store?sig=1", None)]
        assert fake.seen[-1][1:3] == ("/here", basic())
    finally:
        other.shutdown()
        other.server_close()
        thread.join()


def test_blob_goes_on_after_a_cut(fake: Fake, registry: Registry) -> None:
    half = len(DATA) // 2
    fake.script = [
        cut(DATA[:half], len(DATA)),
        cut(DATA[half : half + 1000], len(DATA) - half),
        answer(206, DATA[half + 1000 :]),
    ]
    assert b"".join(map(bytes, registry.iter_blob("a", DIGEST, len(DATA)))) == DATA
    assert [entry[3] for entry in fake.seen] == [None, f"bytes={half}-", f"bytes={half + 1000}-"]


def test_blob_from_a_registry_without_ranges(fake: Fake, registry: Registry) -> None:
    fake.script = [cut(DATA[:1_000_000], len(DATA)), answer(200, DATA)]
    assert b"".join(map(bytes, registry.iter_blob("a", DIGEST, len(DATA)))) == DATA


@pytest.mark.parametrize("on_disk", [True, False])
def test_upload_is_repeated_from_its_start(fake: Fake, registry: Registry, tmp_path: Path, on_disk: bool) -> None:
    taken: list[bytes] = []

    def keep(handler: Handler) -> None:
        taken.append(handler.take_body())
        handler.send_response(201)
        handler.send_header("Docker-Content-Digest", DIGEST)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    place = {"Location": "/v2/a/blobs/uploads/1?_state=x"}
    fake.script = [answer(202, **place), cut_upload, answer(202, **place), answer(503), answer(202, **place), keep]
    path = tmp_path / "blob"
    path.write_bytes(DATA)
    moved: list[int] = []
    with path.open("rb") if on_disk else io.BytesIO(DATA) as stream:
        registry.upload("a", DIGEST, len(DATA), FileBody(stream), moved.append)
    assert taken == [DATA]
    assert sum(moved) == len(DATA)
    assert -min(moved) > 0
    assert fake.seen[-1][:2] == ("PUT", f"/v2/a/blobs/uploads/1?_state=x&digest={DIGEST}")


@pytest.mark.parametrize(
    ("last", "text"),
    [
        (refusal(400, "DIGEST_INVALID"), "the registry computed another digest"),
        (answer(201, Docker_Content_Digest="sha256:" + "0" * 64), "answered with another digest"),
        (refusal(403, "DENIED"), "does not allow this"),
    ],
)
def test_upload_refused(fake: Fake, registry: Registry, last: Reply, text: str) -> None:
    fake.script = [answer(202, Location=f"http://{fake.endpoint}/up"), last]
    with pytest.raises(RegistryError, match=text):
        registry.upload("a", DIGEST, len(DATA), FileBody(io.BytesIO(DATA)))


def test_short_file_is_named(fake: Fake, registry: Registry) -> None:
    fake.script = [answer(202, Location="/up"), cut_upload]
    with pytest.raises(RegistryError, match="5 bytes where 3000000 are announced; copy the bundle again"):
        registry.upload("a", DIGEST, len(DATA), FileBody(io.BytesIO(b"12345")))


def test_upload_never_leaves_tls() -> None:
    registry = Registry("r.example:5000")
    assert registry._upload_target("t", "http://r.example/v2/x?_state=1") == (
        "https",
        "r.example:5000",
        "/v2/x?_state=1",
    )
    assert registry._upload_target("t", "https://store.example/x") == ("https", "store.example", "/x")
    with pytest.raises(RegistryError, match="away from TLS"):
        registry._upload_target("t", "http://store.example/x")


def test_mount(fake: Fake, registry: Registry) -> None:
    fake.script = [answer(201), answer(202, Location="/v2/b/blobs/uploads/9"), answer(204)]
    assert registry.mount("b", DIGEST, "a")
    assert not registry.mount("b", DIGEST, "a")
    assert fake.seen[0][1] == f"/v2/b/blobs/uploads/?mount={DIGEST.replace(':', '%3A')}&from=a"
    assert fake.seen[-1][:2] == ("DELETE", "/v2/b/blobs/uploads/9")


def test_sparse_index_refused_says_what_to_do(fake: Fake, registry: Registry) -> None:
    fake.script = [refusal(400, "MANIFEST_BLOB_UNKNOWN")]
    with pytest.raises(
        RegistryError, match=r"every platform of the index.*validation.manifests.indexes.platforms to none"
    ):
        registry.put_manifest("a", "1", b"{}", MEDIA_INDEX)


def test_manifest_answered_with_another_digest(fake: Fake, registry: Registry) -> None:
    fake.script = [answer(201, Docker_Content_Digest=DIGEST)]
    with pytest.raises(RegistryError, match="answered with another digest"):
        registry.put_manifest("a", "1", b"{}", MEDIA_MANIFEST)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('Basic realm="a b"', ("basic", {"realm": "a b"})),
        (
            'Bearer realm="https://x/t",service="y",scope="a:b:pull,push"',
            ("bearer", {"realm": "https://x/t", "service": "y", "scope": "a:b:pull,push"}),
        ),
        ("Bearer realm=https://x", ("bearer", {"realm": "https://x"})),
    ],
)
def test_challenges(header: str, expected: tuple[str, dict[str, str]]) -> None:
    assert parse_challenge(header) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [("5", 5.0), (" 12 ", 12.0), ("Thu, 01 Jan 1970 00:01:40 GMT", 40.0), ("soon", None), ("", None), (None, None)],
)
def test_retry_after(value: Optional[str], expected: Optional[float]) -> None:
    assert retry_after(value, now=60.0) == expected


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (327_600_000, "312.4 MiB"), (5 << 40, "5120.0 GiB")],
)
def test_human_bytes(size: int, text: str) -> None:
    assert human_bytes(size) == text


def test_docker_config(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(
        json.dumps(
            {
                "auths": {
                    "https://r:1/v1/": {"auth": base64.b64encode(b"u:p:q").decode()},
                    "s:2": {"username": "a", "password": "b"},
                }
            }
        )
    )
    assert credentials_of(str(path), "r:1") == ("u", "p:q")
    assert credentials_of(str(path), "s:2") == ("a", "b")
    assert credentials_of(str(path), "t:3") == (None, None)


def test_secrets_and_ca_that_are_not_made_yet(tmp_path: Path) -> None:
    for changes in ({"username": "u", "password_file": str(tmp_path / "no")}, {"ca_file": str(tmp_path / "no")}):
        with pytest.raises(RegistryError, match="is missing") as caught:
            connect("r:5000", **changes)  # type: ignore[arg-type]
        assert caught.value.not_set_up
    (tmp_path / "bad.pem").write_text("x")
    with pytest.raises(RegistryError, match="cannot be used") as caught:
        connect("r:5000", ca_file=str(tmp_path / "bad.pem"))
    assert not caught.value.not_set_up
