# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""References of images, and the place that each of them has inside."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Optional

from ansible_collections.airgap.speech.plugins.module_utils.oci.digest import DigestError, parse_digest

DEFAULT_HOST = "docker.io"
DEFAULT_TAG = "latest"

_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:.]+\])(?::[0-9]{{1,5}})?\Z")
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_PART}(?:/{_PART})*\Z")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}\Z")


class ReferenceInvalid(ValueError):
    """Text that is no reference of an image."""


def split_registry(registry: str) -> tuple[str, str]:
    """Split C(host[:port][/prefix]) into the endpoint and the prefix, which may be empty."""
    endpoint, _slash, prefix = registry.strip().rstrip("/").partition("/")
    if not _HOST.match(endpoint):
        raise ReferenceInvalid(f"registry {registry!r}: the host is not valid; write host:port or host:port/prefix")
    if prefix and not _REPOSITORY.match(prefix):
        raise ReferenceInvalid(f"registry {registry!r}: the prefix {prefix!r} is not a repository path; use lower case")
    return endpoint, prefix


@dataclass(frozen=True)
class Reference:
    """One image: C(host/repository), and a tag, a digest or both."""

    host: str
    repository: str
    tag: Optional[str] = None
    digest: Optional[str] = None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read a reference as a container runtime would: short names are Docker Hub's, no tag means C(latest)."""
        if not isinstance(text, str) or not text or text != text.strip():
            raise ReferenceInvalid(f"reference {text!r}: empty or with blanks around; write it as host/repository:tag")
        if "://" in text:
            raise ReferenceInvalid(f"reference {text!r}: a scheme has no place in it; write it as host/repository:tag")
        rest, at_sign, digest_text = text.partition("@")
        digest: Optional[str] = None
        if at_sign:
            try:
                parse_digest(digest_text)
            except DigestError as error:
                raise ReferenceInvalid(f"reference {text!r}: {error}") from error
            digest = digest_text
        head, slash, tail = rest.partition("/")
        if slash and ("." in head or ":" in head or head == "localhost" or head.lower() != head):
            host, path = head, tail
        else:
            host, path = DEFAULT_HOST, rest
        if host in ("index.docker.io", "registry-1.docker.io"):
            host = DEFAULT_HOST
        tag: Optional[str] = None
        colon = path.rfind(":")
        if colon > path.rfind("/"):
            path, tag = path[:colon], path[colon + 1 :]
        if host == DEFAULT_HOST and path and "/" not in path:
            path = "library/" + path
        if tag is None and digest is None:
            tag = DEFAULT_TAG
        if not _HOST.match(host):
            raise ReferenceInvalid(f"reference {text!r}: the host {host!r} is not valid; write it as host[:port]")
        if not _REPOSITORY.match(path):
            raise ReferenceInvalid(
                f"reference {text!r}: the repository {path!r} is not valid; use lower case letters, digits, and . _ - /"
            )
        if tag is not None and not _TAG.match(tag):
            raise ReferenceInvalid(
                f"reference {text!r}: the tag {tag!r} is not valid; use up to 128 letters, digits, and . _ -"
            )
        return cls(host, path, tag, digest)

    @property
    def name(self) -> str:
        """The reference without tag and digest."""
        return f"{self.host}/{self.repository}"

    @property
    def target(self) -> str:
        """What a registry is asked for: the digest where there is one, else the tag."""
        return self.digest or self.tag or DEFAULT_TAG

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.name}{tag}{digest}"

    def inside(self, registry: str) -> Reference:
        """The same image in the private registry: the upstream host becomes the first element of the path.

        C(registry) is C(host[:port]), or C(host[:port]/prefix) where the site holds its images below a path.
        """
        endpoint, prefix = split_registry(registry)
        upstream = self.host.replace("[", "").replace("]", "").replace(":", "_").lower()
        path = f"{upstream}/{self.repository}"
        return replace(self, host=endpoint, repository=f"{prefix}/{path}" if prefix else path)
