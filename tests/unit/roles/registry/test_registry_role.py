# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any, Callable

import pytest
import yaml

SITE = {"airgap_registry": "registry.airgap.internal:5000", "airgap_bundle": "/srv/bundle", "airgap_secrets_dir": "/s"}


def by_name(files: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {file["path"].rsplit("/", 1)[1]: file for file in files}


@pytest.mark.parametrize(
    ("name", "port", "read_only"), [("airgap-registry", 5000, True), ("airgap-registry-push", 5001, False)]
)
def test_the_pull_side_cannot_be_written(render: Callable[..., Any], name: str, port: int, read_only: bool) -> None:
    files = by_name(render("registry", "__registry_files", **SITE))
    config = yaml.safe_load(files[f"{name}.yml"]["content"])
    assert config["http"]["addr"] == f":{port}"
    assert config["storage"]["maintenance"]["readonly"]["enabled"] is read_only
    assert config["storage"]["delete"]["enabled"] is not read_only
    assert config["storage"]["maintenance"]["uploadpurging"]["enabled"] is not read_only
    assert config["auth"]["htpasswd"]["path"] == f"/etc/airgap-registry/{name}.htpasswd"
    assert config["http"]["tls"]["minimumtls"] == "tls1.2"
    assert config["validation"]["manifests"]["indexes"]["platforms"] == "none"
    assert "cache" not in config["storage"]
    unit = files[f"{name}.service"]["content"]
    assert "Environment=OTEL_TRACES_EXPORTER=none\n" in unit
    assert ("StateDirectory=" in unit) is not read_only
    assert f"serve /etc/airgap-registry/{name}.yml\n" in unit


def test_only_the_push_user_is_known_where_images_are_pushed(render: Callable[..., Any]) -> None:
    instances = render("registry", "__registry_instances", **SITE)
    users = {item["name"]: [user["username"] for user in item["users"]] for item in instances}
    assert users == {
        "airgap-registry-push": ["airgap-push"],
        "airgap-registry": ["airgap-push", "airgap-pull"],
    }


def test_files_with_secrets_are_closed(render: Callable[..., Any]) -> None:
    for file in render("registry", "__registry_files", **SITE):
        if "@@" in file["content"]:
            assert (file["mode"], file["group"]) == ("0640", "airgap-registry")


@pytest.mark.parametrize(
    ("variables", "pull", "push"),
    [
        ({}, "registry.airgap.internal:5000", "registry.airgap.internal:5001"),
        ({"airgap_registry_push": "registry.airgap.internal:6001"}, None, "registry.airgap.internal:6001"),
        ({"airgap_registry": "10.0.0.5:8443"}, "10.0.0.5:8443", "10.0.0.5:5001"),
    ],
)
def test_addresses(render: Callable[..., Any], variables: dict[str, str], pull: str | None, push: str) -> None:
    values = {**SITE, **variables}
    assert render("registry", "registry_address", **values) == (pull or SITE["airgap_registry"])
    assert render("registry", "registry_push_address", **values) == push


def test_hardening_is_switchable(render: Callable[..., Any]) -> None:
    for wanted in [True, False]:
        files = by_name(render("registry", "__registry_files", **SITE, registry_hardening=wanted))
        unit = files["airgap-registry.service"]["content"]
        assert ("ProtectSystem=strict" in unit) is wanted
        assert "NoNewPrivileges=true" in unit


def test_another_storage_directory(render: Callable[..., Any]) -> None:
    files = by_name(render("registry", "__registry_files", **SITE, registry_storage_dir="/data/registry"))
    assert "ReadWritePaths=/data/registry\n" in files["airgap-registry-push.service"]["content"]
    assert "StateDirectory" not in files["airgap-registry-push.service"]["content"]
    assert "ReadWritePaths" not in files["airgap-registry.service"]["content"]
    config = yaml.safe_load(files["airgap-registry.yml"]["content"])
    assert config["storage"]["filesystem"]["rootdirectory"] == "/data/registry"


def test_the_sites_own_certificate(render: Callable[..., Any]) -> None:
    own = {"registry_tls_certificate_file": "/pki/r.crt", "registry_tls_key_file": "/pki/r.key"}
    assert render("registry", "__registry_certificate_file", **SITE, **own) == "/pki/r.crt"
    assert render("registry", "__registry_key_file", **SITE, **own) == "/pki/r.key"
    assert render("registry", "__registry_certificate_file", **SITE) == "/s/registry/tls.crt"
