# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Callable

import pytest
import tomllib
import yaml

LOCK = {
    "images": [
        {"reference": "quay.io/a/b:1"},
        {"reference": "quay.io/a/c@sha256:" + "0" * 64},
        {"reference": "docker.io/library/python:3.11"},
        {"reference": "reg.example:8443/x/y:2"},
        {"reference": "registry.airgap.internal:5000/own/image:1"},
    ]
}


@pytest.fixture
def site(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "bundle.lock.json").write_text(json.dumps(LOCK))
    (tmp_path / "ca.crt").write_text("-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n")
    return {
        "airgap_registry": "registry.airgap.internal:5000",
        "airgap_bundle": str(tmp_path),
        "airgap_registry_ca_file": str(tmp_path / "ca.crt"),
        "airgap_secrets_dir": str(tmp_path),
        "ansible_facts": {"os_family": "Debian"},
        "__node_runtime_kind": "containerd",
    }


def hosts(render: Callable[..., Any], **values: Any) -> dict[str, dict[str, Any]]:
    files = render("node_runtime", "__node_runtime_files", **values)
    return {file["path"].split("/")[-2]: file for file in files if file["path"].endswith("/hosts.toml")}


def test_one_host_for_each_upstream_and_no_way_out(render: Callable[..., Any], site: dict[str, Any]) -> None:
    found = hosts(render, **site)
    assert {name: re.findall(r"https?://[^\"]+", file["content"]) for name, file in found.items()} == {
        "registry.airgap.internal_5000_": ["https://registry.airgap.internal:5000/v2"],
        "quay.io": ["https://registry.airgap.internal:5000/v2/quay.io"],
        "docker.io": ["https://registry.airgap.internal:5000/v2/docker.io"],
        "reg.example_8443_": ["https://registry.airgap.internal:5000/v2/reg.example_8443"],
    }
    for file in found.values():
        lines = file["content"].splitlines()
        assert lines[0] == "# Written by airgap.speech (role node_runtime)"
        assert sum(line.startswith("server = ") for line in lines) == 1
        assert "override_path = true" in lines
        assert 'capabilities = ["pull", "resolve"]' in lines
        assert 'ca = "/usr/local/share/ca-certificates/airgap-speech-ca.crt"' in lines
        assert lines[-2:] == ["[header]", 'Authorization = ["Basic @@pull_credentials@@"]']
        assert file["mode"] == "0600"


def test_further_upstreams(render: Callable[..., Any], site: dict[str, Any]) -> None:
    assert "ghcr.io" in hosts(render, **site, node_runtime_extra_upstreams=["ghcr.io", "quay.io"])


def test_without_credentials_and_ca(render: Callable[..., Any], site: dict[str, Any]) -> None:
    found = hosts(render, **site, node_runtime_credentials=False, node_runtime_ca_file="")
    for file in found.values():
        assert "Authorization" not in file["content"] and "ca =" not in file["content"]
    assert len(render("node_runtime", "__node_runtime_files", **site, node_runtime_ca_file="")) == len(found)


@pytest.mark.parametrize(
    ("family", "trust", "path"),
    [
        ("Debian", True, "/usr/local/share/ca-certificates/airgap-speech-ca.crt"),
        ("RedHat", True, "/etc/pki/ca-trust/source/anchors/airgap-speech-ca.crt"),
        ("Suse", False, "/etc/containerd/certs.d/airgap-speech-ca.crt"),
    ],
)
def test_where_the_ca_lies(
    render: Callable[..., Any], site: dict[str, Any], family: str, trust: bool, path: str
) -> None:
    site["ansible_facts"] = {"os_family": family}
    files = render("node_runtime", "__node_runtime_files", **site, node_runtime_system_trust=trust)
    assert files[0]["path"] == path
    assert files[0]["content"].endswith("-----END CERTIFICATE-----\n")


@pytest.mark.parametrize(
    ("os_release", "facts", "family"),
    [
        ('NAME="Debian GNU/Linux"\nVERSION_ID="12"\nID=debian\n/etc/containerd', {}, "Debian"),
        ("ID=ubuntu\nID_LIKE=debian", {}, "Debian"),
        ('ID="rocky"\nID_LIKE="rhel centos fedora"', {}, "RedHat"),
        ("ID='ol'\nID_LIKE='fedora'", {}, "RedHat"),
        ("ID=fedora", {}, "RedHat"),
        ('ID="opensuse-leap"\nID_LIKE="suse opensuse"', {}, "opensuse-leap"),
        ("/etc/containerd", {}, "unknown"),
        ("ID=debian", {"os_family": "Suse"}, "Suse"),
    ],
)
def test_family_of_the_node(render: Callable[..., Any], os_release: str, facts: dict[str, str], family: str) -> None:
    found = {"stdout": os_release}
    assert render("node_runtime", "__node_runtime_family", ansible_facts=facts, __node_runtime_found=found) == family


def test_check_mode_before_the_ca_is_made(render: Callable[..., Any], site: dict[str, Any]) -> None:
    Path(site["airgap_registry_ca_file"]).unlink()
    files = render("node_runtime", "__node_runtime_files", **site, **{"ansible_check_mode": True})
    assert files[0]["content"] == "\n"
    with pytest.raises(Exception, match=r"ca\.crt"):
        render("node_runtime", "__node_runtime_files", **site)


def text_of(files: list[dict[str, Any]], path: str) -> str:
    return str(next(file["content"] for file in files if file["path"] == path))


def test_crio(render: Callable[..., Any], site: dict[str, Any]) -> None:
    """Every upstream host is looked for at the private registry, and none has a mirror or a second place."""
    files = render("node_runtime", "__node_runtime_files", **{**site, "__node_runtime_kind": "crio"})
    text = text_of(files, "/etc/containers/registries.conf.d/zz-airgap-speech.conf")
    assert [(entry["prefix"], entry["location"]) for entry in tomllib.loads(text)["registry"]] == [
        ("docker.io", "registry.airgap.internal:5000/docker.io"),
        ("quay.io", "registry.airgap.internal:5000/quay.io"),
        ("reg.example:8443", "registry.airgap.internal:5000/reg.example_8443"),
    ]
    assert all(not entry["insecure"] and "mirror" not in entry for entry in tomllib.loads(text)["registry"])
    assert "BEGIN CERT" in text_of(files, "/etc/containers/certs.d/registry.airgap.internal:5000/airgap-speech-ca.crt")
    settings = tomllib.loads(text_of(files, "/etc/crio/crio.conf.d/zz-airgap-speech.conf"))
    login = settings["crio"]["image"]["global_auth_file"]
    assert json.loads(text_of(files, login)) == {
        "auths": {"registry.airgap.internal:5000": {"auth": "@@pull_credentials@@"}}
    }
    assert next(file["mode"] for file in files if file["path"] == login) == "0600"
    bare = render(
        "node_runtime",
        "__node_runtime_files",
        **{**site, "__node_runtime_kind": "crio", "node_runtime_credentials": False},
    )
    assert not any("crio" in file["path"] for file in bare)


@pytest.mark.parametrize("kind", ["k3s", "rke2"])
def test_k3s_and_rke2(render: Callable[..., Any], site: dict[str, Any], kind: str) -> None:
    site = {**site, "__node_runtime_kind": kind}
    files = render("node_runtime", "__node_runtime_files", **site)
    path = f"/etc/rancher/{kind}/registries.yaml"
    found = yaml.safe_load(text_of(files, path).replace("@@pull_password@@", json.dumps('a "b": #c')))
    assert found["mirrors"] == {
        "registry.airgap.internal:5000": {"endpoint": ["https://registry.airgap.internal:5000"]},
        **{
            name: {
                "endpoint": ["https://registry.airgap.internal:5000"],
                "rewrite": {"^(.*)$": f"{place}/$1"},
            }
            for name, place in (
                ("docker.io", "docker.io"),
                ("quay.io", "quay.io"),
                ("reg.example:8443", "reg.example_8443"),
            )
        },
    }
    assert found["configs"] == {
        "registry.airgap.internal:5000": {
            "auth": {"username": "airgap-pull", "password": 'a "b": #c'},
            "tls": {"ca_file": "/usr/local/share/ca-certificates/airgap-speech-ca.crt"},
        }
    }
    assert next(file["mode"] for file in files if file["path"] == path) == "0600"
    settings = text_of(files, f"/etc/rancher/{kind}/config.yaml.d/zz-airgap-speech.yaml")
    assert yaml.safe_load(settings) == {"disable-default-registry-endpoint": True}
    bare = render("node_runtime", "__node_runtime_files", **site, node_runtime_credentials=False)
    assert "auth" not in yaml.safe_load(text_of(bare, path))["configs"]["registry.airgap.internal:5000"]


def test_the_password_is_in_no_file_of_the_role(render: Callable[..., Any], site: dict[str, Any]) -> None:
    Path(site["airgap_secrets_dir"], "registry-pull-password").write_text("hunter2")
    secrets = render("node_runtime", "__node_runtime_secrets", **site)
    assert secrets == {"pull_credentials": "YWlyZ2FwLXB1bGw6aHVudGVyMg==", "pull_password": '"hunter2"'}
    for kind in ("containerd", "crio", "k3s", "rke2"):
        files = render("node_runtime", "__node_runtime_files", **{**site, "__node_runtime_kind": kind})
        assert not any(value in json.dumps(files) for value in ("hunter2", secrets["pull_credentials"]))
