# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Logins of the connected side: variables, `docker login`'s file, and credential helpers that really run."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from pathlib import Path
from typing import Any, Optional

import pytest

from ansible_collections.airgap.speech.plugins.module_utils.bundle.logins import DockerLogins, LoginError, Registries
from ansible_collections.airgap.speech.plugins.module_utils.oci.reference import Reference
from ansible_collections.airgap.speech.plugins.module_utils.oci.registry import RegistryError
from tests.unit.registry_server import RegistryServer, registry_server  # noqa: F401 - fixture

HELPER = """\
#!/bin/sh
read -r server
[ "$1" = get ] || exit 9
case $server in
    https://index.docker.io/v1/ | helped.example.com)
        printf '{"ServerURL": "%s", "Username": "me", "Secret": "s3cret"}' "$server" ;;
    token.example.com) printf '{"Username": "<token>", "Secret": "t"}' ;;
    odd.example.com) printf 'my s3cret' ;;
    broken.example.com) echo 'the keyring is locked' >&2; exit 1 ;;
    *) echo 'credentials not found in native keychain'; exit 1 ;;
esac
"""


@pytest.fixture
def helpers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """docker-credential-test on the PATH."""
    program = tmp_path / "bin" / "docker-credential-test"
    program.parent.mkdir()
    program.write_text(HELPER)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")


def run(argv: list[str], stdin: bytes) -> tuple[int, str, str]:
    done = subprocess.run(argv, input=stdin, capture_output=True, check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def logins(tmp_path: Path, config: Any) -> DockerLogins:
    path = tmp_path / "config.json"
    path.write_text(config if isinstance(config, str) else json.dumps(config))
    return DockerLogins(str(path), run)


def auth(user: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


AUTHS = {
    "https://index.docker.io/v1/": auth("hub", "a:b"),
    "quay.io": auth("q", "1"),
    "https://ghcr.io": {"username": "g", "password": "2"},
    "http://old.example.com/v2/": auth("o", "3"),
    "helped.example.com": {},
}


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("registry-1.docker.io", ("hub", "a:b")),
        ("docker.io", ("hub", "a:b")),
        ("quay.io", ("q", "1")),
        ("ghcr.io", ("g", "2")),
        ("old.example.com", ("o", "3")),
        ("quay.io:5000", None),
        ("evil.quay.io", None),
        ("helped.example.com", None),
    ],
)
def test_what_docker_login_left(tmp_path: Path, host: str, expected: Optional[tuple[str, str]]) -> None:
    found = logins(tmp_path, {"auths": AUTHS}).of(host)
    login = (found.username, found.password) if found else None
    assert login == expected
    assert "a:b" not in repr(found)


@pytest.mark.usefixtures("helpers")
@pytest.mark.parametrize(
    ("config", "host", "expected"),
    [
        ({"credHelpers": {"helped.example.com": "test"}}, "helped.example.com", "me"),
        ({"credHelpers": {"helped.example.com": "test"}, "auths": AUTHS}, "quay.io", "q"),
        ({"credsStore": "test"}, "registry-1.docker.io", "me"),
        ({"credsStore": "test"}, "quay.io", None),
        ({"credsStore": "test", "auths": {"helped.example.com": {}}}, "helped.example.com", "me"),
    ],
)
def test_a_credential_helper(tmp_path: Path, config: Any, host: str, expected: Optional[str]) -> None:
    found = logins(tmp_path, config).of(host)
    assert (found.username if found else None) == expected
    if expected == "me" and found:
        assert found.password == "s3cret"


@pytest.mark.usefixtures("helpers")
@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("no json", "config.json: cannot be read"),
        ({"auths": {"h.example.com": {"auth": "!"}}}, "is not base64; run `docker login` again"),
        ({"auths": {"h.example.com": {"identitytoken": "x"}}}, "is an identity token, which is not taken"),
        ({"credHelpers": {"h.example.com": "../evil"}}, "is no name of a credential helper"),
        (
            {"credHelpers": {"h.example.com": "absent"}},
            r"docker-credential-absent \(named in .*\): gave no login",
        ),
        ({"credHelpers": {"token.example.com": "test"}}, "is an identity token, which is not taken"),
        ({"credHelpers": {"odd.example.com": "test"}}, "its answer for odd.example.com is not JSON"),
        ({"credHelpers": {"broken.example.com": "test"}}, "the keyring is locked"),
    ],
)
def test_a_login_that_cannot_be_read(tmp_path: Path, config: Any, message: str) -> None:
    hosts = config.get("credHelpers") or config.get("auths") if isinstance(config, dict) else {"h.example.com": 0}
    with pytest.raises(LoginError, match=message) as caught:
        logins(tmp_path, config).of(next(iter(hosts)))
    assert "s3cret" not in str(caught.value)


def test_no_file_is_no_login(tmp_path: Path) -> None:
    assert DockerLogins(str(tmp_path / "none"), run).of("quay.io") is None


@pytest.mark.parametrize("way", ["variables", "docker login", "nobody", "wrong"])
def test_against_a_registry_with_a_private_ca(
    tmp_path: Path,
    registry_server: RegistryServer,  # noqa: F811
    way: str,
) -> None:
    """An upstream host that is really a proxy cache with TLS and a password."""
    server = registry_server
    entry: dict[str, Any] = {"endpoint": server.endpoint, "ca_file": str(server.ca_file), "prefix": "hub"}
    files: dict[str, Any] = {"auths": {}}
    if way == "variables":
        entry.update(username=server.username, password_file=str(server.password_file))
        files = {"auths": {server.endpoint: auth("nobody", "wrong")}}
    elif way != "nobody":
        files = {"auths": {server.endpoint: auth(server.username, server.password if way == "docker login" else "x")}}
    registries = Registries({"docker.io": entry}, logins(tmp_path, files))
    registry = registries.of(Reference.parse("busybox:1"))
    if way in ("nobody", "wrong"):
        with pytest.raises(RegistryError, match="refused the login"):
            registry.head_manifest("library/busybox", "1")
    else:
        assert registry.head_manifest("library/busybox", "1") is None
        assert any("/v2/hub/library/busybox/manifests/1" in line for line in server.requests())
    registries.close()


def test_a_mapping_with_a_mistake() -> None:
    with pytest.raises(LoginError, match=r"bundle_registry_hosts: docker.io has endpont; it takes ca_file, endpoint"):
        Registries({"docker.io": {"endpont": "x"}})
