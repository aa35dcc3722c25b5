# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A client of the OCI distribution API: manifests, tags and blobs of one registry."""

from __future__ import annotations

import json
import re
import urllib.parse
from typing import Any, Optional

from ansible_collections.airgap.speech.plugins.module_utils.oci.digest import sha256_bytes
from ansible_collections.airgap.speech.plugins.module_utils.oci.download import Blob, Downloads
from ansible_collections.airgap.speech.plugins.module_utils.oci.errors import (
    RegistryError,
    cause_of,
    codes_of,
    human_bytes,
    retry_after,
)
from ansible_collections.airgap.speech.plugins.module_utils.oci.layout import (
    INDEX_TYPES,
    MANIFEST_TYPES,
    MEDIA_INDEX,
    MEDIA_MANIFEST,
    Descriptor,
    descriptor_of,
)
from ansible_collections.airgap.speech.plugins.module_utils.oci.login import (
    credentials_of,
    parse_challenge,
    read_password,
)
from ansible_collections.airgap.speech.plugins.module_utils.oci.reference import ReferenceInvalid, split_registry
from ansible_collections.airgap.speech.plugins.module_utils.oci.upload import Uploads

__all__ = [
    "Blob",
    "Registry",
    "RegistryError",
    "connect",
    "credentials_of",
    "human_bytes",
    "parse_challenge",
    "read_password",
    "retry_after",
]

ACCEPT = ", ".join(sorted(INDEX_TYPES | MANIFEST_TYPES))


def connect(
    address: str,
    *,
    username: Optional[str] = None,
    password: Optional[str] = None,
    password_file: Optional[str] = None,
    ca_file: Optional[str] = None,
    ca_pem: Optional[str] = None,
    plain_http: bool = False,
) -> Registry:
    """A registry by C(host[:port][/prefix]), with the password out of a file where one is named."""
    try:
        endpoint, prefix = split_registry(address)
    except ReferenceInvalid as error:
        raise RegistryError(f"registry {address!r}", str(error), "correct the address") from error
    if password_file and password is None:
        password = read_password(password_file)
    return Registry(
        endpoint,
        username=username,
        password=password,
        ca_file=ca_file,
        ca_pem=ca_pem,
        prefix=prefix,
        plain_http=plain_http,
    )


class Registry(Downloads, Uploads):
    """One registry, with one login. Safe to use from several threads; each has a connection of its own."""

    # Whether the registry lists referrers itself; not known before it was asked.
    has_referrers_api: Optional[bool] = None

    def ping(self) -> None:
        """See that a registry answers and takes the login."""
        thing = f"registry {self.endpoint}"
        answer = self._call(thing, "GET", "/v2/", ())
        if answer.status != 200:
            if answer.status == 404:
                raise RegistryError(
                    thing, "there is no OCI registry at this address (404)", "check host and port", "missing", 404
                )
            self._refuse(answer, thing)

    def head_manifest(self, repo: str, ref: str) -> Optional[Descriptor]:
        """What a tag or digest stands for, or nothing."""
        thing = self.name(repo, ref)
        answer = self._call(
            thing, "HEAD", self._path(repo, f"manifests/{ref}"), self._scopes(repo, "pull"), {"Accept": ACCEPT}
        )
        if answer.status == 404:
            return None
        if answer.status != 200:
            self._refuse(answer, thing)
        digest = answer.headers.get("docker-content-digest", "")
        length = answer.headers.get("content-length", "")
        if not digest.startswith("sha256:") or not length.isdigit():
            data, media_type, digest = self.get_manifest(repo, ref)
            return Descriptor(media_type, digest, len(data))
        return Descriptor(answer.headers.get("content-type", "").split(";")[0].strip(), digest, int(length))

    def get_manifest(self, repo: str, ref: str) -> tuple[bytes, str, str]:
        """A manifest or index as it was pushed, its media type and its digest, which is verified."""
        thing = self.name(repo, ref)
        answer = self._call(
            thing, "GET", self._path(repo, f"manifests/{ref}"), self._scopes(repo, "pull"), {"Accept": ACCEPT}
        )
        if answer.status != 200:
            self._refuse(answer, thing)
        digest = sha256_bytes(answer.body)
        claimed = ref if ref.startswith("sha256:") else answer.headers.get("docker-content-digest", digest)
        if claimed != digest:
            raise RegistryError(
                thing,
                f"sha256 differs ({digest} came, {claimed} was announced)",
                "push this image to the registry again",
                "digest",
            )
        media_type = answer.headers.get("content-type", "").split(";")[0].strip()
        return answer.body, media_type or MEDIA_MANIFEST, digest

    def put_manifest(self, repo: str, ref: str, data: bytes, media_type: str) -> str:
        """Push a manifest or index under a tag or its digest; the registry's digest has to be ours."""
        thing = self.name(repo, ref)
        answer = self._call(
            thing,
            "PUT",
            self._path(repo, f"manifests/{ref}"),
            self._scopes(repo, "pull,push"),
            {"Content-Type": media_type},
            data,
        )
        digest = sha256_bytes(data)
        if answer.status not in (200, 201, 202):
            if codes_of(answer.body) & {"MANIFEST_BLOB_UNKNOWN", "MANIFEST_UNKNOWN"} and media_type in INDEX_TYPES:
                raise RegistryError(
                    thing,
                    f"the registry wants every platform of the index ({cause_of(answer)})",
                    "set validation.manifests.indexes.platforms to none in the registry's configuration, "
                    "or make the bundle with all platforms",
                    "answer",
                    answer.status,
                )
            self._refuse(answer, thing)
        answered = answer.headers.get("docker-content-digest", digest)
        if answered != digest:
            raise RegistryError(
                thing,
                f"the registry answered with another digest ({answered} for {digest})",
                "look at the registry's log",
                "digest",
            )
        return digest

    def tags(self, repo: str) -> list[str]:
        """The tags of a repository, in the registry's order; none where it does not exist."""
        path: Optional[str] = self._path(repo, "tags/list?n=1000")
        found: list[str] = []
        while path:
            answer = self._call(self.name(repo), "GET", path, self._scopes(repo, "pull"))
            if answer.status == 404:
                return found
            if answer.status != 200:
                self._refuse(answer, self.name(repo))
            found.extend(str(tag) for tag in _listed(answer.body, "tags"))
            path = _next_page(answer.headers.get("link"))
        return found

    def repositories(self) -> list[str]:
        """The repositories of the registry below its prefix, where it lists them."""
        path: Optional[str] = "/v2/_catalog?n=1000"
        thing = f"registry {self.endpoint}"
        found: list[str] = []
        while path:
            answer = self._call(thing, "GET", path, ("registry:catalog:*",))
            if answer.status != 200:
                self._refuse(answer, thing)
            found.extend(str(name) for name in _listed(answer.body, "repositories"))
            path = _next_page(answer.headers.get("link"))
        head = f"{self.prefix}/" if self.prefix else ""
        return [name[len(head) :] for name in found if name.startswith(head)]

    def referrers_index(self, repo: str, digest: str) -> dict[str, Any]:
        """What refers to a manifest (signatures, attestations), as an index: the registry's own list, or that of
        the tag C(sha256-<hex>) where the registry keeps none. Empty where nothing does.
        """
        empty: dict[str, Any] = {"schemaVersion": 2, "mediaType": MEDIA_INDEX, "manifests": []}
        thing = self.name(repo, digest)
        scopes = self._scopes(repo, "pull")
        if self.has_referrers_api is not False:
            answer = self._call(thing, "GET", self._path(repo, f"referrers/{digest}"), scopes, {"Accept": MEDIA_INDEX})
            # A registry that has the list answers 200 for a repository or digest that it does not know.
            self.has_referrers_api = answer.status == 200
            if answer.status == 200:
                return _index_of(answer.body, thing) or empty
            if answer.status not in (400, 404, 405, 501):
                self._refuse(answer, thing)
        ref = digest.replace(":", "-")
        answer = self._call(thing, "GET", self._path(repo, f"manifests/{ref}"), scopes, {"Accept": ACCEPT})
        if answer.status == 404:
            return empty
        if answer.status != 200:
            self._refuse(answer, thing)
        return _index_of(answer.body, thing) or empty

    def referrers(self, repo: str, digest: str) -> list[Descriptor]:
        """The manifests that refer to one (OCI 1.1 C(subject))."""
        index = self.referrers_index(repo, digest)
        return [descriptor_of(raw, self.name(repo, digest)) for raw in index["manifests"]]

    def attached(self, repo: str, digest: str) -> list[tuple[str, Descriptor]]:
        """What cosign keeps beside a manifest by a tag: signature, attestations, bill of materials; tag and what
        it stands for."""
        found: list[tuple[str, Descriptor]] = []
        for suffix in ("sig", "att", "sbom"):
            tag = f"{digest.replace(':', '-')}.{suffix}"
            there = self.head_manifest(repo, tag)
            if there is not None:
                found.append((tag, there))
        return found

    def delete_manifest(self, repo: str, digest: str) -> bool:
        """Delete a manifest with every tag that stands for it; false where it was not there."""
        thing = self.name(repo, digest)
        path = self._path(repo, f"manifests/{digest}")
        answer = self._call(thing, "DELETE", path, self._scopes(repo, "delete,pull"))
        if answer.status in (200, 202, 204):
            return True
        if answer.status == 404:
            return False
        if answer.status == 405:
            raise RegistryError(
                thing,
                "the registry does not allow to delete (405)",
                "allow it in its configuration (storage.delete.enabled in the distribution registry)",
                "forbidden",
                405,
            )
        self._refuse(answer, thing)

    def has_tags(self, repo: str) -> bool:
        """Whether the repository holds any tag; true as well where the registry does not say."""
        answer = self._call(self.name(repo), "GET", self._path(repo, "tags/list?n=1"), self._scopes(repo, "pull"))
        if answer.status == 404:
            return False
        if answer.status == 401:
            self._refuse(answer, self.name(repo))
        if answer.status != 200:
            return True
        try:
            return bool(json.loads(answer.body).get("tags"))
        except (ValueError, AttributeError):
            return True

    def has_blob(self, repo: str, digest: str) -> bool:
        """Whether the repository holds the blob."""
        thing = self.name(repo, digest)
        answer = self._call(thing, "HEAD", self._path(repo, f"blobs/{digest}"), self._scopes(repo, "pull"))
        if answer.status == 200:
            return True
        if answer.status != 404:
            self._refuse(answer, thing)
        return False


def _listed(body: bytes, key: str) -> list[Any]:
    try:
        return list(json.loads(body).get(key) or ())
    except (ValueError, AttributeError, TypeError):
        return []


def _next_page(link: Optional[str]) -> Optional[str]:
    """The path of the next page out of a C(Link) header."""
    found = re.search(r'<([^>]+)>\s*;\s*rel="?next"?', link or "")
    if not found:
        return None
    parts = urllib.parse.urlsplit(urllib.parse.urljoin("/v2/_catalog", found.group(1)))
    return f"{parts.path}?{parts.query}" if parts.query else str(parts.path)


def _index_of(body: bytes, thing: str) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except ValueError as error:
        raise RegistryError(thing, "its list of referrers is not JSON", "look at the registry's log") from error
    manifests = document.get("manifests") if isinstance(document, dict) else None
    if not isinstance(manifests, list):
        return {}
    return {
        "schemaVersion": 2,
        "mediaType": MEDIA_INDEX,
        "manifests": [raw for raw in manifests if isinstance(raw, dict) and isinstance(raw.get("digest"), str)],
    }
