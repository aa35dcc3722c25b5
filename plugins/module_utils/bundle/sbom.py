# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bill of materials of a bundle, as CycloneDX JSON: what the lock names, with package URLs, hashes and licences.

It lists what was put into the bundle. What lies inside an upstream image is that image's own bill of materials to say.
"""

from __future__ import annotations

import hashlib
import os
import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Any, Optional
from urllib.parse import quote

from ansible_collections.airgap.speech.plugins.module_utils.bundle.lock import File, Image, Lock, Model, Reason, dump
from ansible_collections.airgap.speech.plugins.module_utils.oci.reference import Reference

try:
    from cyclonedx.contrib.license.factories import LicenseFactory
    from cyclonedx.model import HashAlgorithm, HashType, Property
    from cyclonedx.model.bom import Bom, BomMetaData
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output.json import JsonV1Dot6
    from packageurl import PackageURL

    HAS_CYCLONEDX = True
except ImportError:  # only the connected side has it
    HAS_CYCLONEDX = False

SBOM_NAME = "files/bundle.cdx.json"
PREFIX = "airgap.speech:"
EPOCH = "1970-01-01T00:00:00Z"

_WHEEL = re.compile(r"^([A-Za-z0-9_.]+)-([^-]+)(?:-\d[^-]*)?-[^-]+-[^-]+-[^-]+\.whl\Z")
_COLLECTION = re.compile(r"^([a-z0-9_]+)-([a-z0-9_]+)-(.+)\.tar\.gz\Z")
_DEB = re.compile(r"^([a-z0-9][a-z0-9+.-]+)_([^_]+)_([a-z0-9-]+)\.deb\Z")
_RPM = re.compile(r"^(.+)-([^-]+-[^-]+)\.([a-z0-9_]+)\.rpm\Z")


class SbomError(Exception):
    """The bill of materials cannot be written: the thing, the cause and the next step."""


@dataclass(frozen=True)
class Licence:
    """Under what a platform or a model may be used. C(expires) is a date (YYYY-MM-DD) or empty."""

    thing: str
    licence: str = ""
    expires: str = ""
    note: str = ""


def merged(licences: Iterable[Licence]) -> list[Licence]:
    """One entry a thing; what a later one says counts. Dates are checked."""
    found: dict[str, Licence] = {}
    for item in licences:
        if item.expires:
            try:
                datetime.strptime(item.expires, "%Y-%m-%d")
            except ValueError as error:
                raise SbomError(
                    f"licence of {item.thing}: expires {item.expires!r} is no day; write it as YYYY-MM-DD"
                ) from error
        before = found.get(item.thing, Licence(item.thing))
        said = {name: value for name, value in vars(item).items() if value}
        found[item.thing] = replace(before, **said)
    return [found[thing] for thing in sorted(found)]


@dataclass(frozen=True)
class Facts:
    """What the lock does not say: licences of models by reference, and of platforms; and the time, where it is set."""

    models: Mapping[str, str] = field(default_factory=dict)
    platforms: Iterable[Licence] = ()
    source_date_epoch: Optional[int] = None


def bill_of_materials(lock: Lock, facts: Facts) -> bytes:
    """The document. The same lock and facts give the same bytes; its number comes from the lock's digest.

    It carries no time unless C(SOURCE_DATE_EPOCH) gives one, since it is itself one of the files of the lock.
    """
    if not HAS_CYCLONEDX:
        raise SbomError(
            "bill of materials: the Python package cyclonedx-python-lib is missing; install it on the connected side "
            "(pip install cyclonedx-python-lib), or set bundle_sbom to false"
        )
    digest = hashlib.sha256(dump(replace(lock, created=EPOCH))).hexdigest()
    root = Component(
        name="airgap-speech-bundle",
        type=ComponentType.DATA,
        version=lock.collection_version,
        bom_ref="bundle",
        properties=[Property(name=PREFIX + "release", value=f"{r.namespace}/{r.name}") for r in lock.releases],
    )
    components = [_image(item) for item in lock.images]
    components += [
        Component(
            name=item.name,
            type=ComponentType.APPLICATION,
            version=item.version,
            bom_ref=item.reference,
            purl=PackageURL("helm", None, item.name, item.version),
            hashes=[_sha256(item.digest)],
            properties=_properties("chart", item.size, item.reasons),
        )
        for item in lock.charts
    ]
    components += [_model(item, facts.models.get(item.reference, "")) for item in lock.models]
    components += [_file(item) for item in lock.files if item.path != SBOM_NAME]
    components += [_platform(item) for item in facts.platforms]
    bom = Bom(
        components=components,
        serial_number=uuid.uuid5(uuid.NAMESPACE_URL, f"urn:airgap.speech:lock:sha256:{digest}"),
        metadata=BomMetaData(component=root),
    )
    # The library would take the time of day where none is given; the standard lets it be left out.
    timestamp: Any = None
    if facts.source_date_epoch is not None:
        timestamp = datetime.fromtimestamp(facts.source_date_epoch, tz=timezone.utc)
    bom.metadata.timestamp = timestamp
    bom.register_dependency(root, components)
    text: str = JsonV1Dot6(bom).output_as_string(indent=1)
    return f"{text}\n".encode()


def _sha256(digest: str) -> Any:
    return HashType(alg=HashAlgorithm.SHA_256, content=digest.partition(":")[2])


def _properties(kind: str, size: int, reasons: Iterable[Reason] = (), **more: str) -> list[Any]:
    found = {("kind", kind), ("size", str(size))}
    for reason in reasons:
        found.add(("reason", reason_text(reason)))
    found.update((name, value) for name, value in more.items() if value)
    return [Property(name=PREFIX + name, value=value) for name, value in sorted(found)]


def reason_text(reason: Reason) -> str:
    """A reason in one line: who wants it, where that stands, and when it is needed."""
    where = " ".join(text for text in (reason.kind, reason.name, reason.path) if text)
    text = f"{reason.source}: {where}" if where else reason.source
    return text if reason.needed in ("", "always") else f"{text} ({reason.needed})"


def _image(item: Image) -> Any:
    reference = Reference.parse(item.reference)
    name = reference.repository.rsplit("/", 1)[-1]
    qualifiers = {"repository_url": f"{reference.host}/{reference.repository}"}
    if reference.tag:
        qualifiers["tag"] = reference.tag
    if len(item.platforms) == 1:
        qualifiers["arch"] = item.platforms[0].split("/")[1] if "/" in item.platforms[0] else item.platforms[0]
    return Component(
        name=f"{reference.host}/{reference.repository}",
        type=ComponentType.CONTAINER,
        version=reference.tag or item.digest,
        bom_ref=item.reference,
        purl=PackageURL("oci", None, name.lower(), item.digest, qualifiers),
        hashes=[_sha256(item.digest)],
        properties=_properties("image", item.size, item.reasons, platforms=" ".join(item.platforms)),
    )


def _model(item: Model, licence: str) -> Any:
    return Component(
        name=item.name,
        type=ComponentType.MACHINE_LEARNING_MODEL,
        version=item.version,
        bom_ref=item.reference,
        purl=PackageURL("generic", "models", item.name, item.version, {"checksum": item.digest}),
        hashes=[_sha256(item.digest)],
        licenses=_licences(licence),
        properties=_properties("model", item.size, item.reasons),
        components=[
            Component(
                name=each.path,
                type=ComponentType.FILE,
                bom_ref=f"{item.reference}/{quote(each.path)}",
                hashes=[_sha256(each.digest)],
                properties=_properties("file", each.size),
            )
            for each in item.files
        ],
    )


def _file(item: File) -> Any:
    name = os.path.basename(item.path)
    kind, purl, version = ComponentType.FILE, None, None
    wheel, collection, deb, rpm = (form.match(name) for form in (_WHEEL, _COLLECTION, _DEB, _RPM))
    if item.kind == "wheel" and wheel:
        name, version = wheel.group(1).lower().replace("_", "-"), wheel.group(2)
        kind, purl = ComponentType.LIBRARY, PackageURL("pypi", None, name, version)
    elif item.kind == "collection" and collection:
        name, version = f"{collection.group(1)}.{collection.group(2)}", collection.group(3)
        kind, purl = ComponentType.LIBRARY, PackageURL("generic", "ansible-collections", name, version)
    elif item.kind == "tool":
        kind, purl = ComponentType.APPLICATION, PackageURL("generic", None, name, None, {"checksum": item.digest})
    elif item.kind == "os_package" and deb:
        name, version = deb.group(1), deb.group(2)
        kind, purl = ComponentType.LIBRARY, PackageURL("deb", None, name, version, {"arch": deb.group(3)})
    elif item.kind == "os_package" and rpm:
        name, version = rpm.group(1), rpm.group(2)
        kind, purl = ComponentType.LIBRARY, PackageURL("rpm", None, name, version, {"arch": rpm.group(3)})
    return Component(
        name=name,
        type=kind,
        version=version,
        bom_ref=item.path,
        purl=purl,
        hashes=[_sha256(item.digest)],
        properties=_properties(item.kind, item.size, reason=item.reason, path=item.path),
    )


def _platform(item: Licence) -> Any:
    return Component(
        name=item.thing,
        type=ComponentType.PLATFORM,
        bom_ref=f"platform/{quote(item.thing)}",
        licenses=_licences(item.licence),
        properties=[
            Property(name=PREFIX + name, value=value)
            for name, value in (("kind", "platform"), ("licence-expires", item.expires), ("licence-note", item.note))
            if value
        ],
    )


def _licences(text: str) -> list[Any]:
    """An SPDX identifier or expression where it is one, else the text as it stands."""
    return [LicenseFactory().make_from_string(text)] if text else []


# -- read without the library, inside ------------------------------------------------------------------------------


def licences_of(document: Mapping[str, Any]) -> list[Licence]:
    """The licences that a bill of materials of ours names, of models and platforms."""
    found: list[Licence] = []
    for component in document.get("components") or ():
        properties = {entry.get("name"): entry.get("value", "") for entry in component.get("properties") or ()}
        kind = properties.get(PREFIX + "kind")
        if kind not in ("model", "platform"):
            continue
        names: list[str] = []
        for entry in component.get("licenses") or ():
            licence = entry.get("license") or {}
            names.append(str(entry.get("expression") or licence.get("id") or licence.get("name") or ""))
        found.append(
            Licence(
                str(component.get("bom-ref") if kind == "model" else component.get("name")),
                " AND ".join(name for name in names if name),
                properties.get(PREFIX + "licence-expires", ""),
                properties.get(PREFIX + "licence-note", ""),
            )
        )
    return sorted(found, key=lambda item: item.thing)
