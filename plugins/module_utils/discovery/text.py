# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a text is the reference of an image: by its shape, and by what the field that holds it is called."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

from ansible_collections.airgap.speech.plugins.module_utils.discovery.findings import EXCLUDED, NEEDED, UNDECIDED
from ansible_collections.airgap.speech.plugins.module_utils.oci.reference import Reference, ReferenceInvalid

# Hosts whose paths look like references (module paths, label keys, addresses inside a cluster) and never are.
MODULE_HOST = re.compile(
    r"^(?:github\.com|gitlab\.com|bitbucket\.org|golang\.org|gopkg\.in|go\.uber\.org|go\.opentelemetry\.io"
    r"|go\.etcd\.io|google\.golang\.org|cloud\.google\.com|helm\.sh|k8s\.io|sigs\.k8s\.io)$"
)
LABEL_HOST = re.compile(
    r"^(?:(?:[a-z0-9-]+\.)*kubernetes\.io|(?:[a-z0-9-]+\.)*k8s\.aws|nvidia\.com|amd\.com"
    r"|(?:[a-z0-9-]+\.)*intel\.com|(?:[a-z0-9-]+\.)*openshift\.io)$"
)
CLUSTER_HOST = re.compile(r"^(?:(?:[a-z0-9-]+\.)+svc|(?:[a-z0-9-]+\.)*cluster\.local)$")
TAINT_EFFECTS = frozenset(("NoSchedule", "NoExecute", "PreferNoSchedule"))

_SEGMENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
FULL = re.compile(
    r"(?P<host>(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z][a-z0-9-]*(?::[0-9]{1,5})?|localhost(?::[0-9]{1,5})?"
    r"|[0-9]{1,3}(?:\.[0-9]{1,3}){3}:[0-9]{1,5}|[a-z0-9-]+:[0-9]{1,5})"
    rf"(?P<path>(?:/{_SEGMENT})+)"
    rf"(?::(?P<tag>{_TAG}))?(?:@(?P<digest>sha256:[0-9a-f]{{64}}))?"
)
SHORT = re.compile(rf"(?P<path>{_SEGMENT}(?:/{_SEGMENT})*)(?::(?P<tag>{_TAG}))?(?:@(?P<digest>sha256:[0-9a-f]{{64}}))?")
VERSION = re.compile(r"v?[0-9]+(?:[._-].*)?|latest|stable|nightly|edge|main|master|.*[0-9]+\.[0-9]+.*")
CLOCK = re.compile(r"(?:[0-9T-]*[T ])?[0-9]{1,2}:[0-9]{2}(?::[0-9]{2})?(?:[.,][0-9]+)?(?:Z|[+-][0-9:]+)?")
ENDPOINT = re.compile(r"(?:[A-Za-z0-9_.-]*|\[[0-9a-fA-F:]+\]):[0-9]{2,5}")
SCHEME = re.compile(r"^([a-z][a-z0-9+.-]*)://")
# Schemes that container tools and model servers use for a reference.
IMAGE_SCHEMES = ("docker://", "oci://")
RUN_TIME = ("{{", "${", "$(", "%s", "%v", "<", ">")
NOTHING_SAYS = "has no tag and no digest, and nothing says that it is an image"
NO_TAG = "has no tag and no digest; the program may add one"
FILE_NAME = re.compile(
    r"\.(?:ya?ml|json|toml|conf|cfg|ini|properties|sh|py|go|ts|js|lua|rego|sock|socket|log|txt|pem|crt|key|md|html?|css"
    r"|png|jpe?g|svg|gif|webp|ico|img|iso|qcow2|raw|vmdk|vhdx?|tgz|tar|gz|xz|zip|jar|war|so|exe|deb|rpm|whl|gguf|bin)$"
)

# The runs of a text in which a reference could stand.
TOKEN = re.compile(r"[A-Za-z0-9_./:@+~%-]{4,600}")
# What a text itself calls an image: YAML, JSON, a flag or a variable; then the commands that pull one.
CALLED_IMAGE = re.compile(
    r"""(?:^|[\s{,"'(;-])[A-Za-z0-9_.-]*?(?:image|Image|IMAGE)["']?"""
    r"""(?:[ \t]*:[ \t]*|=|[ \t]+)["']?([a-z0-9][^\s"',;)}|]*)"""
)
# A template in a text: what it makes of this line is known only where it runs.
TEMPLATED_IMAGE = re.compile(r"(?:^|[\s{,-])image[\"']?:[ \t]*[\"']?([^\n\"'#]*\{\{[^\n]*?\}\}[^\s\"']*)")
PULLED = re.compile(
    r"\b(?:docker|podman|nerdctl|crictl|ctr|crane|skopeo|buildah)\b[^\n;|&]*?\b(?:run|pull|create|from)\b([^\n;|&]*)"
)

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
# Last words of a name that has `image` in it and yet holds no reference.
NOT_THE_IMAGE = re.compile(
    r"(?:polic(?:y|ies)|secrets?|tags?|version|digest|sha|registry|registries|repositor(?:y|ies)|repos?|prefix|suffix"
    r"|size|formats?|type|ids?|timeout|interval|user|username|password|enabled|disabled|gc|threshold|limits?|count"
    r"|pulls?|cache|level|width|height|quality|credentials|mirrors?|arch|os|platforms?|paths?|dir"
    r"|host|port|key|updater|automation|checksum)"
)


@dataclass(frozen=True)
class Verdict:
    """What a text is: `status` is needed, excluded or undecided, `why` the reason if it is no image.

    `called` says that a name beside it calls it an image.
    """

    status: str
    text: str
    why: str = ""
    called: bool = False


def words_of(name: str) -> list[str]:
    """The words of a field's, a flag's or a variable's name, in lower case."""
    return [word.lower() for word in _WORDS.findall(name)]


def says_image(name: str) -> bool:
    """Whether a name says that its value is the reference of an image: image, baseImage, RELATED_IMAGE_X, imageName."""
    words = words_of(name)
    if words[:2] == ["related", "image"]:
        return True
    return bool({"image", "images", "img"} & set(words)) and not NOT_THE_IMAGE.fullmatch(words[-1])


def upstream(text: str, registry: str = "") -> str:
    """The upstream reference, in full, of what a manifest names, also where it names the private registry.

    Charts and models of the private registry stay without a host, as a lock names them.
    """
    text = text.strip()
    if registry and text.startswith(registry.rstrip("/") + "/"):
        text = text[len(registry.rstrip("/")) + 1 :]
        first, slash, rest = text.partition("/")
        if "." not in first and "_" not in first and first != "localhost":
            if not rest or first not in ("models", "charts"):
                raise ReferenceInvalid(
                    f"{text}: below the private registry the first path element is the upstream host, "
                    "`models` or `charts`; name the image with its upstream host"
                )
            return text
        host = re.sub(r"_([0-9]{1,5})$", r":\1", first)
        text = host + slash + rest
    return str(Reference.parse(text))


def judge(value: str, named: bool, groups: Collection[str] = (), wide: bool = False) -> Verdict | None:
    """What a whole value is; nothing where neither its shape nor its name (`named`) makes it a candidate.

    `groups` are API groups: what begins with one is the key of a label or a resource. `wide` takes whatever has a host
    and a path, and file names, for candidates too: to say that they are none.
    """
    text = value.strip().strip("\"'")
    if not text or any(char.isspace() for char in text):
        return None
    for scheme in IMAGE_SCHEMES:
        if text.startswith(scheme):
            inner = judge(text[len(scheme) :], named, groups)
            return inner if inner is not None and inner.status == NEEDED else _not(text, "is an address without a tag")
    if SCHEME.match(text):
        return _url(text, named or wide)
    if any(mark in text for mark in RUN_TIME):
        return Verdict(UNDECIDED, text, "is put together at run time") if named else None
    if any(char in text for char in "*?!^[]()|\\,;="):
        return _not(text, "is a pattern or an expression") if named else None
    full = FULL.fullmatch(text)
    if full:
        return _full(text, full, named, groups) or (_not(text, _why_not(full, groups)) if wide else None)
    if text.startswith(("/", "./", "../", "~", "-", ":")):
        if wide and text[0] != "-" and FILE_NAME.search(re.sub(r":[0-9]+$", "", text)):
            return _not(text, "is the name of a file")
        return _not(text, "is a path, a flag or a port") if named and len(text) > 1 else None
    short = SHORT.fullmatch(text)
    if short:
        return _short(text, short, named, wide)
    if named and ("/" in text or ":" in text):
        if CLOCK.fullmatch(text) or ENDPOINT.fullmatch(text):
            return _not(text, "is a time or host:port")
        return Verdict(UNDECIDED, text, "is no reference of an image, though its name says so")
    return None


def _not(text: str, why: str) -> Verdict:
    return Verdict(EXCLUDED, text, why)


def _url(text: str, named: bool) -> Verdict | None:
    rest = text.split("://", 1)[1]
    match = FULL.fullmatch(rest)
    # Who logs in there is nobody's business.
    shown = re.sub(r"://[^/@\s]*@", "://...@", text)
    return _not(shown, "is a URL") if named or (match and match.group("tag")) else None


def _why_not(match: re.Match[str], groups: Collection[str]) -> str:
    """Why a host with a path is no image, or that nothing says it is one."""
    host = match.group("host").split(":")[0]
    if MODULE_HOST.match(host):
        return "is a module path"
    if CLUSTER_HOST.match(host):
        return "is an address inside the cluster"
    if host in groups or LABEL_HOST.match(host):
        return "is the key of a label, a taint or a resource"
    if FILE_NAME.search(host) or FILE_NAME.search(match.group("path")):
        return "is the name of a file"
    return NOTHING_SAYS


def _full(text: str, match: re.Match[str], named: bool, groups: Collection[str]) -> Verdict | None:
    tag, digest = match.group("tag") or "", match.group("digest")
    reason = _why_not(match, groups)
    if reason.startswith("is the name") and not _line_number(tag, digest):
        reason = NOTHING_SAYS
    if reason == NOTHING_SAYS and tag in TAINT_EFFECTS:
        reason = "is a taint"
    if reason != NOTHING_SAYS:
        return _not(text, reason) if tag or digest or named else None
    if tag or digest:
        return Verdict(NEEDED, text)
    return Verdict(UNDECIDED, text, NO_TAG) if named else None


def _line_number(tag: str, digest: str | None) -> bool:
    """Whether nothing, a number or a word follows: app.js:12 is a file, app.js:1.2.0 may be an image."""
    return not digest and (not tag or tag.isdigit() or not VERSION.fullmatch(tag))


def _short(text: str, match: re.Match[str], named: bool, wide: bool) -> Verdict | None:
    tag, digest, slash = match.group("tag") or "", match.group("digest"), "/" in match.group("path")
    if digest:
        return Verdict(NEEDED, text)
    if FILE_NAME.search(match.group("path")) and _line_number(tag, digest):
        return _not(text, "is the name of a file") if named or tag or wide else None
    if not tag:
        if not named or text.lower() in ("true", "false", "null", "none", "always", "never", "ifnotpresent"):
            return None
        if not slash and not re.search(r"[a-z]", text):
            return None
        return Verdict(UNDECIDED, text, NO_TAG)
    if CLOCK.fullmatch(text):
        return _not(text, "is a time")
    port = tag.isdigit() and 80 <= int(tag) <= 65535 and not slash
    if named:
        return Verdict(UNDECIDED, text, "is name:tag or host:port") if port and len(tag) >= 4 else Verdict(NEEDED, text)
    if port:
        return _not(text, "is host:port")
    if not VERSION.fullmatch(tag):
        return _not(text, "has no host, and what follows its colon is no version")
    if slash and not tag.isdigit():
        return Verdict(NEEDED, text)
    return Verdict(UNDECIDED, text, "could be name:tag; nothing says that it is an image")


def scan(text: str, groups: Collection[str] = ()) -> Iterator[Verdict]:
    """The candidates in free text: full references, what a command pulls, and what the text calls an image."""
    seen: set[str] = set()
    for match in CALLED_IMAGE.finditer(text):
        token = match.group(1).rstrip(".:/")
        verdict = judge(token, True, groups) if ":" in token else None
        if verdict and (verdict.status == NEEDED or "/" in token) and token not in seen:
            seen.add(token)
            yield replace(verdict, called=True)
    for match in TEMPLATED_IMAGE.finditer(text):
        if match.group(1) not in seen:
            seen.add(match.group(1))
            yield Verdict(UNDECIDED, match.group(1).strip(), "is put together at run time")
    for match in PULLED.finditer(text):
        # Options and their values come first; what looks like an image first is it.
        for word in match.group(1).split():
            token = word.strip("\"'")
            verdict = judge(token, True, groups) if ":" in token or "@" in token else None
            if verdict is not None and verdict.status == NEEDED:
                if token not in seen:
                    seen.add(token)
                    yield replace(verdict, called=True)
                break
    for match in TOKEN.finditer(text):
        token = match.group(0).rstrip(".:/-").lstrip("-")
        if token in seen or "/" not in token or (":" not in token and "@" not in token):
            continue
        verdict = judge(token, False, groups)
        if verdict is not None and not (verdict.status == NEEDED and text[: match.start()].endswith("://")):
            seen.add(token)
            yield verdict
