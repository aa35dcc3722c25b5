# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any, Callable

import pytest


@pytest.fixture
def site(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "registry-pull-password").write_text("pull: \"password\" 'with' signs\n")
    for release in ["speech/demo", "other/demo"]:
        folder = tmp_path / "api-keys" / release
        folder.mkdir(parents=True)
        (folder / "default").write_text(f"key of {release}")
    return {
        "airgap_registry": "registry.airgap.internal:5000",
        "airgap_secrets_dir": str(tmp_path),
        "airgap_kubeconfig": "/k",
        "airgap_releases": [{"platform": "open_speech", "name": "demo", "namespace": "speech"}],
    }


def objects(render: Callable[..., Any], **values: Any) -> dict[tuple[str, str, str], dict[str, Any]]:
    found = render("credentials", "__credentials_objects", **values)
    keys = [(item["kind"], item["metadata"].get("namespace", ""), item["metadata"]["name"]) for item in found]
    assert len(set(keys)) == len(keys)
    kinds = [item["kind"] for item in found]
    assert kinds == sorted(kinds)  # namespaces are made before what lies in them
    return dict(zip(keys, found))


def decoded(item: dict[str, Any]) -> dict[str, str]:
    return {name: base64.b64decode(value).decode() for name, value in item["data"].items()}


def test_one_release(render: Callable[..., Any], site: dict[str, Any]) -> None:
    found = objects(render, **site)
    assert list(found) == [
        ("Namespace", "", "speech"),
        ("Secret", "speech", "airgap-registry"),
        ("Secret", "speech", "demo-api-keys"),
    ]
    labels = found["Namespace", "", "speech"]["metadata"]["labels"]
    assert labels["app.kubernetes.io/managed-by"] == "airgap.speech"
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    pull = found["Secret", "speech", "airgap-registry"]
    assert pull["type"] == "kubernetes.io/dockerconfigjson"
    entry = json.loads(decoded(pull)[".dockerconfigjson"])["auths"]
    password = "pull: \"password\" 'with' signs"
    assert entry == {
        "registry.airgap.internal:5000": {
            "username": "airgap-pull",
            "password": password,
            "auth": base64.b64encode(f"airgap-pull:{password}".encode()).decode(),
        }
    }
    keys = found["Secret", "speech", "demo-api-keys"]
    assert keys["type"] == "Opaque" and decoded(keys) == {"default": "key of speech/demo"}
    assert render("credentials", "__credentials_key_files", **site) == [
        f"{site['airgap_secrets_dir']}/api-keys/speech/demo/default"
    ]


def test_several_releases_share_namespaces(render: Callable[..., Any], site: dict[str, Any]) -> None:
    site["airgap_releases"] += [
        {"platform": "p", "name": "second", "namespace": "speech", "api_keys": [], "pod_security": "baseline"},
        {"platform": "p", "name": "demo", "namespace": "other", "pod_security": "privileged"},
    ]
    found = objects(render, **site)
    assert ("Secret", "speech", "second-api-keys") not in found
    assert decoded(found["Secret", "other", "demo-api-keys"]) == {"default": "key of other/demo"}
    level = "pod-security.kubernetes.io/enforce"
    assert found["Namespace", "", "speech"]["metadata"]["labels"][level] == "baseline"
    assert found["Namespace", "", "other"]["metadata"]["labels"][level] == "privileged"


@pytest.mark.parametrize("name", ["demo", "speech/demo"])
def test_given_keys_go_first(render: Callable[..., Any], site: dict[str, Any], name: str) -> None:
    given = {name: {"team-a": "one", "team-b": "two: 2"}}
    found = objects(render, **site, credentials_api_keys=given)
    assert decoded(found["Secret", "speech", "demo-api-keys"]) == {"team-a": "one", "team-b": "two: 2"}
    assert render("credentials", "__credentials_key_files", **site, credentials_api_keys=given) == []


def test_a_secret_of_the_sites_own_is_left_alone(render: Callable[..., Any], site: dict[str, Any]) -> None:
    site["airgap_releases"][0]["api_keys_secret"] = "from-vault"
    assert list(objects(render, **site)) == [("Namespace", "", "speech"), ("Secret", "speech", "airgap-registry")]
    assert render("credentials", "__credentials_key_files", **site) == []


def test_docker_config_gives_this_registry_only(
    render: Callable[..., Any], site: dict[str, Any], tmp_path: Path
) -> None:
    config = tmp_path / "config.json"
    entry = {"auth": base64.b64encode(b"robot:secret").decode()}
    config.write_text(json.dumps({"auths": {"registry.airgap.internal:5000": entry, "quay.io": {"auth": "eDp5"}}}))
    found = objects(render, **site, credentials_docker_config_file=str(config))
    pull = json.loads(decoded(found["Secret", "speech", "airgap-registry"])[".dockerconfigjson"])
    assert pull == {"auths": {"registry.airgap.internal:5000": entry}}


def test_namespaces_of_the_site(render: Callable[..., Any], site: dict[str, Any]) -> None:
    assert ("Namespace", "", "speech") not in objects(render, **site, credentials_manage_namespaces=False)
    labels = objects(render, **site, credentials_namespace_labels={"team": "voice"})["Namespace", "", "speech"]
    assert labels["metadata"]["labels"]["team"] == "voice"


def test_check_mode_before_files_exist(render: Callable[..., Any], site: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "registry-pull-password").unlink()
    (tmp_path / "api-keys" / "speech" / "demo" / "default").unlink()
    values = {**site, "ansible_check_mode": True}
    assert len(objects(render, **values)) == 3
    with pytest.raises(Exception, match="registry-pull-password"):
        objects(render, **site)
