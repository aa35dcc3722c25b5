# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Callable

import pytest

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


def test_check_mode_before_the_ca_is_made(render: Callable[..., Any], site: dict[str, Any]) -> None:
    Path(site["airgap_registry_ca_file"]).unlink()
    files = render("node_runtime", "__node_runtime_files", **site, **{"ansible_check_mode": True})
    assert files[0]["content"] == "\n"
    with pytest.raises(Exception, match=r"ca\.crt"):
        render("node_runtime", "__node_runtime_files", **site)


@pytest.mark.parametrize(
    ("dump", "directories"),
    [
        # containerd 2: the transfer service's own config_path is not the one that counts for pods.
        (
            "    [plugins.'io.containerd.cri.v1.images'.registry]\n      config_path = '/etc/containerd/certs.d'\n"
            "  [plugins.'io.containerd.transfer.v1.local']\n    config_path = ''\n",
            ["/etc/containerd/certs.d"],
        ),
        (
            "    [plugins.'io.containerd.cri.v1.images'.registry]\n      config_path = ''\n"
            "  [plugins.'io.containerd.transfer.v1.local']\n    config_path = '/etc/containerd/certs.d'\n",
            [""],
        ),
        # containerd 1.6 and 1.7
        (
            '    [plugins."io.containerd.grpc.v1.cri".registry]\n      config_path = "/a:/etc/containerd/certs.d"\n',
            ["/a", "/etc/containerd/certs.d"],
        ),
        ("version = 2\n", [""]),
    ],
)
def test_the_hosts_directory_that_holds(render: Callable[..., Any], dump: str, directories: list[str]) -> None:
    assert render("node_runtime", "__node_runtime_hosts_dirs", __node_runtime_dump={"stdout": dump}) == directories


@pytest.mark.parametrize(
    ("text", "result"),
    [
        (
            'version = 2\n[plugins."io.containerd.grpc.v1.cri".registry]\n  config_path = ""\n',
            'version = 2\n[plugins."io.containerd.grpc.v1.cri".registry]\n  config_path = "/etc/containerd/certs.d"\n',
        ),
        (
            "version = 3\n[plugins.'io.containerd.cri.v1.images'.registry]\n",
            "version = 3\n[plugins.'io.containerd.cri.v1.images'.registry]\n"
            'config_path = "/etc/containerd/certs.d"\n',
        ),
        (
            "version = 3\nroot = '/x'\n",
            "version = 3\nroot = '/x'\n\n# Added by airgap.speech (role node_runtime)\n"
            '[plugins."io.containerd.cri.v1.images".registry]\n  config_path = "/etc/containerd/certs.d"\n',
        ),
        (
            None,
            "version = 2\n\n# Added by airgap.speech (role node_runtime)\n"
            '[plugins."io.containerd.grpc.v1.cri".registry]\n  config_path = "/etc/containerd/certs.d"\n',
        ),
    ],
)
def test_a_config_without_hosts_directory_is_repaired(
    render: Callable[..., Any], text: str | None, result: str
) -> None:
    import base64

    slurped = {} if text is None else {"content": base64.b64encode(text.encode()).decode()}
    repaired = render(
        "node_runtime", "lookup('ansible.builtin.template', 'config.toml.j2')", __node_runtime_config=slurped
    )
    assert repaired == result
