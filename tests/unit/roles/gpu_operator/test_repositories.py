# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files that the driver's container reads: lines for apt, and a file that configparser, as dnf, can read."""

from __future__ import annotations

import configparser
from collections.abc import Callable
from typing import Any

import pytest
import yaml

UBUNTU = {
    "name": "noble",
    "url": "https://mirror.example.test/ubuntu",
    "suites": ["noble", "noble-updates", "noble-security"],
    "components": ["main", "universe"],
}
RPM = {"name": "baseos", "url": "https://mirror.example.test/rhel9/baseos", "key_url": "file:///etc/pki/key"}
SITE: dict[str, Any] = {
    "airgap_registry": "registry.airgap.internal:5000",
    "gpu_operator_vendor": "nvidia",
    "gpu_operator_driver_mode": "operator",
}


def files(render: Callable[..., Any], **given: Any) -> dict[str, str]:
    found: dict[str, str] = render("gpu_operator", "__gpu_operator_repo_files", **{**SITE, **given})
    return found


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_suites_of_ubuntu(render: Callable[..., Any]) -> None:
    found = files(render, gpu_operator_repositories=[UBUNTU])
    assert lines(found["airgap.list"]) == [
        "deb https://mirror.example.test/ubuntu noble main universe",
        "deb https://mirror.example.test/ubuntu noble-updates main universe",
        "deb https://mirror.example.test/ubuntu noble-security main universe",
    ]
    assert lines(found["airgap.repo"]) == []


def test_a_repository_of_rpms(render: Callable[..., Any]) -> None:
    parsed = configparser.ConfigParser()
    parsed.read_string(files(render, gpu_operator_repositories=[RPM])["airgap.repo"])
    section = parsed["airgap-baseos"]
    assert section["baseurl"] == RPM["url"]
    assert (section["enabled"], section["gpgcheck"], section["gpgkey"]) == ("1", "1", "file:///etc/pki/key")


def test_carried_packages_are_flat_and_trusted_by_their_certificate(render: Callable[..., Any]) -> None:
    found = files(render, gpu_operator_packages="headers")
    url = "https://registry.airgap.internal:5443/headers"
    assert lines(found["airgap.list"]) == [f"deb [trusted=yes] {url} ./"]
    parsed = configparser.ConfigParser()
    parsed.read_string(found["airgap.repo"])
    assert (parsed["airgap-headers"]["baseurl"], parsed["airgap-headers"]["gpgcheck"]) == (url, "0")


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"gpu_operator_repositories": [UBUNTU]}, True),
        ({"gpu_operator_repositories": []}, False),
        ({"gpu_operator_repositories": [UBUNTU], "gpu_operator_driver_mode": "host"}, False),
        ({"gpu_operator_repositories": [UBUNTU], "gpu_operator_driver_mode": "precompiled"}, False),
        ({"gpu_operator_repositories": [UBUNTU], "gpu_operator_vendor": "amd"}, False),
    ],
)
def test_only_a_driver_that_is_compiled_wants_packages(
    render: Callable[..., Any], given: dict[str, Any], wanted: bool
) -> None:
    assert render("gpu_operator", "__gpu_operator_has_repositories | bool", **{**SITE, **given}) is wanted


def test_only_platforms_of_the_site_need_anything(render: Callable[..., Any]) -> None:
    releases = [{"platform": "deepgram", "name": "d", "namespace": "d"}]
    assert render("gpu_operator", "gpu_operator_needs", **SITE) == {}
    assert list(render("gpu_operator", "gpu_operator_needs", **SITE, airgap_releases=releases)) == ["deepgram"]


def test_the_configmaps(render: Callable[..., Any], tmp_path: Any) -> None:
    (tmp_path / "ca.crt").write_text("-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n")
    given = {"gpu_operator_repositories": [UBUNTU, RPM], "gpu_operator_package_ca_file": str(tmp_path / "ca.crt")}
    text = render(
        "gpu_operator", "__gpu_operator_objects", **{**SITE, **given, "gpu_operator_namespace": "gpu-operator"}
    )
    objects = yaml.safe_load(text) if isinstance(text, str) else text
    assert [item["metadata"]["name"] for item in objects] == ["airgap-packages", "airgap-packages-ca"]
    assert sorted(objects[0]["data"]) == ["airgap.list", "airgap.repo"]
    assert objects[1]["data"]["airgap-packages.crt"].startswith("-----BEGIN CERTIFICATE-----")
