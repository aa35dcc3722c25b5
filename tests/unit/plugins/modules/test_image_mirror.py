# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module image_mirror, run as Ansible runs it, against the real registry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import Layout
from ansible_collections.airgap.speech.plugins.module_utils.oci.registry import Registry
from ansible_collections.airgap.speech.plugins.modules import image_mirror
from tests.unit.plugins.module_utils.oci.samples import add_image, add_model, noise, write_lock
from tests.unit.plugins.module_utils.oci.test_registries import signature
from tests.unit.plugins.modules.run_module import run_module
from tests.unit.registry_server import RegistryServer, free_port, registry_server  # noqa: F401 - fixture

REASON = {"source": "release speech", "kind": "", "name": "", "path": "", "found": "", "needed": "always"}


@pytest.fixture(name="bundle")
def a_bundle(tmp_path: Path) -> Path:
    """Two images with one base, a chart and a model."""
    bundle = tmp_path / "bundle"
    layout = Layout(bundle / "oci")
    layout.create()
    base = noise("base", 400_000)

    def item(reference: str, digest: str, **more: Any) -> dict[str, Any]:
        size = sum(descriptor.size for descriptor in layout.walk(digest))
        return {"reference": reference, "digest": digest, "size": size, "reasons": [REASON], **more}

    images = [
        item(f"quay.io/airgap/{name}:1", add_image(layout, [base, noise(name, 9000)]), platforms=["linux/amd64"])
        for name in "ab"
    ]
    chart = item("charts/speech:0.1.0+x", add_image(layout, [noise("chart", 700)]), name="speech", version="0.1.0+x")
    model_digest = add_model(layout, {"model.bin": noise("m", 5000)})
    model = item("models/m:1", model_digest, name="m", version="1", files=[])
    write_lock(bundle, layout, images=images, charts=[chart], models=[model])
    return bundle


def arguments(server: RegistryServer, bundle: Path, **changes: Any) -> dict[str, Any]:
    values = {
        "bundle": str(bundle),
        "registry": server.endpoint,
        "username": server.username,
        "password_file": str(server.password_file),
        "ca_file": str(server.ca_file),
    }
    values.update(changes)
    return values


def test_check_equals_done_and_again_is_nothing(
    registry_server: RegistryServer,  # noqa: F811
    bundle: Path,
    tmp_path: Path,
) -> None:
    values = arguments(registry_server, bundle, progress_file=str(tmp_path / "progress"))
    guess = run_module(image_mirror.main, values, check=True, diff=True)
    assert not [line for line in registry_server.requests() if not line.startswith(("GET", "HEAD"))]
    assert guess["summary"].startswith("Would mirror 4 items, ")
    done = run_module(image_mirror.main, values)
    assert guess["changed"] and done["changed"]
    assert guess["plan"] == done["plan"]
    assert (guess["bytes_sent"], guess["blobs_sent"]) == (done["bytes_sent"], done["blobs_sent"])
    assert done["plan"] == {"images": 4, "blobs": done["blobs_sent"], "bytes": done["bytes_sent"]}
    assert [image["reference"] for image in done["images"]] == [
        f"{registry_server.endpoint}/{path}"
        for path in ("quay.io/airgap/a:1", "quay.io/airgap/b:1", "charts/speech:0.1.0_x", "models/m:1")
    ]
    assert {image["status"] for image in done["images"]} == {"pushed"}
    assert guess["diff"] == done["diff"]
    assert done["diff"]["before"] == ""
    assert (tmp_path / "progress").read_text().startswith("mirror: ")
    again = run_module(image_mirror.main, values)
    assert not again["changed"]
    assert (again["requests"], again["bytes_sent"]) == (4, 0)
    assert again["summary"] == "All 4 items already there"
    assert again["diff"]["before"] == again["diff"]["after"] == done["diff"]["after"]


def test_selection(registry_server: RegistryServer, bundle: Path) -> None:  # noqa: F811
    done = run_module(image_mirror.main, arguments(registry_server, bundle, items=["models"]))
    assert [image["reference"] for image in done["images"]] == [f"{registry_server.endpoint}/models/m:1"]


def test_registry_that_is_not_there_yet(registry_server: RegistryServer, bundle: Path, tmp_path: Path) -> None:  # noqa: F811
    done = run_module(image_mirror.main, arguments(registry_server, bundle), check=True)
    for changes in (
        {"registry": f"localhost:{free_port()}"},
        {"registry": "no-such-host.invalid:5000"},
        {"ca_file": str(tmp_path / "no")},
        {"password_file": str(tmp_path / "no")},
    ):
        values = arguments(registry_server, bundle, absent_registry_ok=True, **changes)
        guess = run_module(image_mirror.main, values, check=True)
        assert guess["registry_absent"]
        assert guess["plan"] == done["plan"]
        refused = run_module(image_mirror.main, values)
        assert refused["failed"], "outside of check mode it has to be there"
        values["absent_registry_ok"] = False
        assert run_module(image_mirror.main, values, check=True)["failed"]


def test_wrong_password_is_not_an_absent_registry(
    registry_server: RegistryServer,  # noqa: F811
    bundle: Path,
    tmp_path: Path,
) -> None:
    (tmp_path / "wrong").write_text("wrong\n")
    values = arguments(registry_server, bundle, absent_registry_ok=True, password_file=str(tmp_path / "wrong"))
    refused = run_module(image_mirror.main, values, check=True)
    assert refused["failed"]
    assert "refused the login (user airgap-push, 401); check the user name and the password file" in refused["msg"]


def test_flipped_byte_names_the_file(registry_server: RegistryServer, bundle: Path) -> None:  # noqa: F811
    victim = max((bundle / "oci/blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    data = bytearray(victim.read_bytes())
    data[0] ^= 1
    victim.write_bytes(data)
    refused = run_module(image_mirror.main, arguments(registry_server, bundle))
    assert refused["failed"]
    assert str(victim) in refused["msg"]
    assert "sha256 differs" in refused["msg"]
    assert not [line for line in registry_server.requests() if line.startswith("PUT") and "/manifests/" in line]


def test_no_lock(registry_server: RegistryServer, tmp_path: Path) -> None:  # noqa: F811
    refused = run_module(image_mirror.main, arguments(registry_server, tmp_path))
    assert refused["failed"]
    assert "there is no lock" in refused["msg"]


def test_referrers_go_with_their_image(registry_server: RegistryServer, tmp_path: Path) -> None:  # noqa: F811
    layout = Layout(tmp_path / "bundle" / "oci")
    layout.create()
    image = add_image(layout, [noise("image", 4000)])
    found = signature(layout, image, "signed")
    cosign = add_image(layout, [noise("cosign", 300)], note="cosign")
    tag = f"{image.replace(':', '-')}.sig"
    listed = [
        {"digest": digest, "size": sum(d.size for d in layout.walk(digest)), "tag": name}
        for digest, name in ((found, ""), (cosign, tag))
    ]
    size = sum(descriptor.size for descriptor in layout.walk(image))
    item = {"reference": "quay.io/a/b:1", "digest": image, "size": size, "platforms": [], "reasons": [REASON]}
    write_lock(tmp_path / "bundle", layout, images=[{**item, "referrers": listed}])
    values = arguments(registry_server, tmp_path / "bundle")
    guess = run_module(image_mirror.main, values, check=True)
    done = run_module(image_mirror.main, values)
    assert done["plan"] == guess["plan"]
    assert done["bytes_sent"] == done["plan"]["bytes"]
    assert [one["reference"].partition("/")[2] for one in done["images"]] == [
        "quay.io/a/b:1",
        f"quay.io/a/b@{found}",
        f"quay.io/a/b:{tag}",
    ]
    registry = Registry(
        registry_server.endpoint,
        username=registry_server.username,
        password=registry_server.password,
        ca_file=str(registry_server.ca_file),
    )
    assert [one.digest for one in registry.referrers("quay.io/a/b", image)] == [found]
    assert [(name, one.digest) for name, one in registry.attached("quay.io/a/b", image)] == [(tag, cosign)]
    assert not run_module(image_mirror.main, values)["changed"]
