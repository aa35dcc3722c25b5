# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bill of materials follows its schema, names everything in the lock, and is the same bytes each time."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from ansible_collections.airgap.speech.plugins.module_utils.bundle import sbom
from ansible_collections.airgap.speech.plugins.module_utils.bundle.lock import (
    File,
    Image,
    Lock,
    ModelFile,
    Reason,
    load,
)
from ansible_collections.airgap.speech.plugins.module_utils.bundle.sbom import (
    Facts,
    Licence,
    SbomError,
    bill_of_materials,
    licences_of,
    merged,
    reason_text,
)
from tests.unit.plugins.module_utils.bundle.parts_samples import make_bundle

FACTS = Facts({"models/m:1": "MIT"}, [Licence("deepgram", "commercial", "2027-01-31", "self-hosted contract")])


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


@pytest.fixture(name="lock", scope="module")
def a_lock(tmp_path_factory: pytest.TempPathFactory) -> Lock:
    lock = load(str(make_bundle(tmp_path_factory.mktemp("whole") / "bundle")))
    more = [
        File("files/wheels/ansible_core-2.19.14-py3-none-any.whl", digest(1), 10, "wheel", "controller"),
        File("files/wheels/PyYAML-6.0.3-cp311-cp311-manylinux_2_17_x86_64.whl", digest(2), 11, "wheel", "controller"),
        File("files/collections/kubernetes-core-6.1.0.tar.gz", digest(3), 12, "collection", "needed"),
        File("files/os/driver/linux-headers_6.1.0-9+deb12_amd64.deb", digest(4), 13, "os_package", "driver"),
        File("files/os/driver/kernel-devel-5.14.0-427.el9.x86_64.rpm", digest(5), 14, "os_package", "driver"),
        File(sbom.SBOM_NAME, digest(6), 15, "sbom", "itself"),
    ]
    by_digest = Image("nvcr.io/nvidia/driver@" + digest(7), lock.images[0].digest, 5, ["linux/amd64"], [])
    model = replace(lock.models[0], files=[ModelFile("sub dir/model.bin", digest(8), 7)])
    return replace(lock, files=lock.files + more, images=[*lock.images, by_digest], models=[model])


@pytest.fixture(name="document", scope="module")
def a_document(lock: Lock) -> dict[str, Any]:
    document = json.loads(bill_of_materials(lock, FACTS))
    assert isinstance(document, dict)
    return document


def test_it_follows_its_schema(lock: Lock) -> None:
    text = bill_of_materials(lock, FACTS).decode()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    broken = text.replace('"SHA-256"', '"SHA-1024"', 1)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(broken) is not None


def test_everything_is_named_once(lock: Lock, document: dict[str, Any]) -> None:
    references = [component["bom-ref"] for component in document["components"]]
    expected = list(lock.digests()) + [item.path for item in lock.files if item.path != sbom.SBOM_NAME]
    assert sorted(references) == sorted([*expected, "platform/deepgram"])
    (root,) = [entry for entry in document["dependencies"] if entry["ref"] == "bundle"]
    assert sorted(root["dependsOn"]) == sorted(references)


@pytest.mark.parametrize(
    ("reference", "kind", "name", "version", "purl"),
    [
        (
            "quay.io/airgap/a:1",
            "container",
            "quay.io/airgap/a",
            "1",
            "pkg:oci/a@{digest}?arch=amd64&repository_url=quay.io/airgap/a&tag=1",
        ),
        (
            "docker.io/library/two:1",
            "container",
            "docker.io/library/two",
            "1",
            "pkg:oci/two@{digest}?repository_url=docker.io/library/two&tag=1",
        ),
        ("charts/speech:0.1.0", "application", "speech", "0.1.0", "pkg:helm/speech@0.1.0"),
        ("models/m:1", "machine-learning-model", "m", "1", "pkg:generic/models/m@1?checksum={digest}"),
        ("files/tools/helm", "application", "helm", None, "pkg:generic/helm?checksum={digest}"),
        (
            "files/wheels/ansible_core-2.19.14-py3-none-any.whl",
            "library",
            "ansible-core",
            "2.19.14",
            "pkg:pypi/ansible-core@2.19.14",
        ),
        (
            "files/wheels/PyYAML-6.0.3-cp311-cp311-manylinux_2_17_x86_64.whl",
            "library",
            "pyyaml",
            "6.0.3",
            "pkg:pypi/pyyaml@6.0.3",
        ),
        (
            "files/collections/kubernetes-core-6.1.0.tar.gz",
            "library",
            "kubernetes.core",
            "6.1.0",
            "pkg:generic/ansible-collections/kubernetes.core@6.1.0",
        ),
        (
            "files/os/driver/linux-headers_6.1.0-9+deb12_amd64.deb",
            "library",
            "linux-headers",
            "6.1.0-9+deb12",
            "pkg:deb/linux-headers@6.1.0-9%2Bdeb12?arch=amd64",
        ),
        (
            "files/os/driver/kernel-devel-5.14.0-427.el9.x86_64.rpm",
            "library",
            "kernel-devel",
            "5.14.0-427.el9",
            "pkg:rpm/kernel-devel@5.14.0-427.el9?arch=x86_64",
        ),
        ("setup.sh", "file", "setup.sh", None, None),
    ],
)
def test_components(
    lock: Lock, document: dict[str, Any], reference: str, kind: str, name: str, version: Any, purl: Any
) -> None:
    (found,) = [component for component in document["components"] if component["bom-ref"] == reference]
    wanted = {**lock.digests(), **{item.path: item.digest for item in lock.files}}[reference]
    assert (found["type"], found["name"], found.get("version")) == (kind, name, version)
    assert found["hashes"] == [{"alg": "SHA-256", "content": wanted[7:]}]
    assert found.get("purl") == (purl.format(digest=wanted) if purl else None)


def test_reasons_sizes_and_files_of_models(lock: Lock, document: dict[str, Any]) -> None:
    by_reference = {component["bom-ref"]: component for component in document["components"]}
    properties = [(each["name"], each["value"]) for each in by_reference["quay.io/airgap/a:1"]["properties"]]
    reason = "release speech: Deployment speech spec.template.spec.containers[0].image"
    assert ("airgap.speech:reason", reason) in properties
    size = next(image.size for image in lock.images if image.reference == "quay.io/airgap/a:1")
    assert ("airgap.speech:size", str(size)) in properties
    (file,) = by_reference["models/m:1"]["components"]
    assert (file["name"], file["hashes"][0]["content"]) == ("sub dir/model.bin", digest(8)[7:])
    assert by_reference["models/m:1"]["licenses"] == [{"license": {"id": "MIT"}}]


def test_the_same_bytes_and_a_number_of_the_lock(lock: Lock) -> None:
    first = bill_of_materials(lock, FACTS)
    assert bill_of_materials(replace(lock, created="2031-01-01T00:00:00Z"), FACTS) == first
    assert bill_of_materials(replace(lock, files=lock.files[::-1], images=lock.images[::-1]), FACTS) == first
    assert b"timestamp" not in first
    other = json.loads(bill_of_materials(replace(lock, images=lock.images[:1]), FACTS))
    assert other["serialNumber"] != json.loads(first)["serialNumber"]
    dated = json.loads(bill_of_materials(lock, replace(FACTS, source_date_epoch=1_800_000_000)))
    assert dated["metadata"]["timestamp"] == "2027-01-15T08:00:00+00:00"
    assert dated["serialNumber"] == json.loads(first)["serialNumber"]


def test_licences_are_read_without_the_library(document: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sbom, "HAS_CYCLONEDX", False)
    assert licences_of(document) == [
        Licence("deepgram", "commercial", "2027-01-31", "self-hosted contract"),
        Licence("models/m:1", "MIT"),
    ]


def test_without_the_library_it_says_what_to_do(lock: Lock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sbom, "HAS_CYCLONEDX", False)
    with pytest.raises(SbomError, match="cyclonedx-python-lib is missing; install it on the connected side"):
        bill_of_materials(lock, FACTS)


def test_what_the_site_says_of_a_licence_counts() -> None:
    found = merged(
        [Licence("deepgram", "commercial", note="from the profile"), Licence("deepgram", expires="2027-03-31")]
    )
    assert found == [Licence("deepgram", "commercial", "2027-03-31", "from the profile")]
    with pytest.raises(SbomError, match=r"licence of x: expires '31\.3\.2027' is no day; write it as YYYY-MM-DD"):
        merged([Licence("x", expires="31.3.2027")])


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        (Reason("release speech"), "release speech"),
        (Reason("release speech", "Pod", "t", "spec.x", "pod spec", "test"), "release speech: Pod t spec.x (test)"),
        (Reason("profile p", needed="if a PVC"), "profile p (if a PVC)"),
    ],
)
def test_a_reason_in_one_line(reason: Reason, text: str) -> None:
    assert reason_text(reason) == text


def test_a_path_is_not_needed(tmp_path: Path) -> None:
    empty = Lock("2026-11-21T12:00:00Z", "0.1.0")
    text = bill_of_materials(empty, Facts()).decode()
    (tmp_path / "bom.json").write_text(text)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str((tmp_path / "bom.json").read_text()) is None
