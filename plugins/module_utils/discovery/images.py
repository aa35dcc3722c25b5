# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find the images that rendered Kubernetes documents need, each with the reason for it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ansible_collections.airgap.speech.plugins.module_utils.oci.reference import Reference, ReferenceInvalid

try:
    import yaml
except ImportError:  # the modules say so
    yaml = None  # type: ignore[assignment]

ALWAYS = "always"
TEST = "test"

CONTAINER_LISTS = ("initContainers", "containers", "ephemeralContainers")
TEST_HOOKS = frozenset(("test", "test-success", "test-failure"))

# Groups whose kinds hold images in pod specs only: their other fields are not searched.
BUILT_IN_GROUPS = frozenset(
    (
        "",
        "admissionregistration.k8s.io",
        "apiextensions.k8s.io",
        "apiregistration.k8s.io",
        "apps",
        "autoscaling",
        "batch",
        "certificates.k8s.io",
        "coordination.k8s.io",
        "discovery.k8s.io",
        "events.k8s.io",
        "extensions",
        "flowcontrol.apiserver.k8s.io",
        "networking.k8s.io",
        "node.k8s.io",
        "policy",
        "rbac.authorization.k8s.io",
        "resource.k8s.io",
        "scheduling.k8s.io",
        "storage.k8s.io",
    )
)

# Hosts whose paths look like references (module paths, label keys, addresses inside a cluster) and never are.
NOT_A_REGISTRY = re.compile(
    r"^(?:github\.com|golang\.org|gopkg\.in|go\.uber\.org|k8s\.io|sigs\.k8s\.io|helm\.sh"
    r"|(?:[a-z0-9-]+\.)*kubernetes\.io|(?:[a-z0-9-]+\.)+svc|(?:[a-z0-9-]+\.)*cluster\.local)$"
)

FULL_REFERENCE = re.compile(
    r"(?P<host>(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z][a-z0-9-]*(?::[0-9]{1,5})?|localhost(?::[0-9]{1,5})?"
    r"|[0-9]{1,3}(?:\.[0-9]{1,3}){3}:[0-9]{1,5}|[a-z0-9-]+:[0-9]{1,5})"
    r"(?P<path>(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)+)"
    r"(?P<tag>:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?P<digest>@sha256:[0-9a-f]{64})?"
)
IN_TEXT = re.compile(r"(?<![A-Za-z0-9_./:@+~%-])" + FULL_REFERENCE.pattern + r"(?![A-Za-z0-9_/:@%]|[.-][A-Za-z0-9])")
IMAGE_NAME = re.compile(r"(?:^|[^a-zA-Z])image$|[a-z0-9]Image$|^Image$|IMAGE(?:_[A-Z0-9_]+)?$")
MAX_TEXT = 4 * 1024 * 1024


@dataclass(frozen=True)
class Found:
    """One place that names an image: `needed` is `always`, `hook <name>`, `test` or `if <condition>`."""

    reference: str
    kind: str
    name: str
    path: str
    found: str
    needed: str

    @property
    def required(self) -> bool:
        """False where the manifest itself switches off what would use the image."""
        return not self.needed.startswith("if ")


def load_documents(text: str) -> list[dict[str, Any]]:
    """Parse a rendered manifest; lists are opened, empty documents dropped."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    documents: list[dict[str, Any]] = []
    for document in yaml.load_all(text, Loader=loader):  # nosec B506: a safe loader, in C where there is one
        documents.extend(_open_lists(document))
    return documents


def _open_lists(document: Any) -> Iterator[dict[str, Any]]:
    if not isinstance(document, dict):
        return
    kind = str(document.get("kind") or "")
    if kind.endswith("List") and isinstance(document.get("items"), list):
        for item in document["items"]:
            yield from _open_lists(item)
    else:
        yield document


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


def find_images(documents: Iterable[dict[str, Any]], registry: str = "") -> list[Found]:
    """Every image that the documents name, once a place, in the order of the documents.

    `registry` is the private registry whose name the values may already carry: it is taken off.
    """
    found: dict[tuple[str, str, str, str], Found] = {}
    for document in documents:
        for single in _open_lists(document):
            for item in _Finder(single, registry).run():
                found.setdefault((item.reference, item.kind, item.name, item.path), item)
    return list(found.values())


def needed_by(document: dict[str, Any]) -> str:
    """`always`, or the Helm hook that alone needs this document."""
    annotations = (document.get("metadata") or {}).get("annotations") or {}
    hooks = [part.strip() for part in str(annotations.get("helm.sh/hook") or "").split(",") if part.strip()]
    if not hooks or "crd-install" in hooks:
        return ALWAYS
    other = [hook for hook in hooks if hook not in TEST_HOOKS]
    return "hook " + ",".join(other) if other else TEST


class _Finder:
    """Walks one document."""

    def __init__(self, document: dict[str, Any], registry: str, base: Found | None = None) -> None:
        self.document = document
        self.registry = registry
        metadata = document.get("metadata")
        self.kind = base.kind if base else str(document.get("kind") or "")
        self.name = base.name if base else str((metadata or {}).get("name") or "")
        self.prefix = base.path if base else ""
        self.needed = base.needed if base else needed_by(document)
        self.how = base.found if base else ""
        self.items: list[Found] = []

    def run(self) -> list[Found]:
        group, slash, _version = str(self.document.get("apiVersion") or "").partition("/")
        group = group if slash else ""
        kind = str(self.document.get("kind") or "")
        if kind == "CustomResourceDefinition":
            return self.items
        custom = group not in BUILT_IN_GROUPS or not kind
        self._walk(self.document, self.prefix, custom, ())
        if kind in ("ConfigMap", "Secret"):
            self._strings(self.document)
        return self.items

    # -- one finding -------------------------------------------------------------------------------------------

    def _add(self, text: str, path: str, found: str, off: tuple[str, ...] = ()) -> None:
        try:
            reference = upstream(text, self.registry)
        except ReferenceInvalid:
            return
        needed = "if {}".format(", ".join(off)) if off else self.needed
        self.items.append(Found(reference, self.kind, self.name, path, self.how or found, needed))

    # -- structure ---------------------------------------------------------------------------------------------

    def _walk(self, node: Any, path: str, custom: bool, off: tuple[str, ...]) -> None:
        if isinstance(node, list):
            for index, item in enumerate(node):
                self._walk(item, f"{path}[{index}]", custom, off)
            return
        if not isinstance(node, dict):
            return
        if custom and node.get("enabled") is False:
            off = off + (_join(path, "enabled"),)
        lists = [key for key in CONTAINER_LISTS if isinstance(node.get(key), list)]
        for key in lists:
            for index, container in enumerate(node[key]):
                if isinstance(container, dict):
                    self._container(container, f"{_join(path, key)}[{index}]", off)
        if lists and isinstance(node.get("volumes"), list):
            self._volumes(node["volumes"], _join(path, "volumes"), off)
        if custom:
            self._fields(node, path, off)
        for key, value in node.items():
            if key not in lists and not (path == "" and key in ("metadata", "status")):
                self._walk(value, _join(path, str(key)), custom, off)

    def _volumes(self, volumes: list[Any], path: str, off: tuple[str, ...]) -> None:
        for index, volume in enumerate(volumes):
            source = volume.get("image") if isinstance(volume, dict) else None
            if isinstance(source, dict) and isinstance(source.get("reference"), str):
                self._add(source["reference"], f"{path}[{index}].image.reference", "image volume", off)

    def _container(self, container: dict[str, Any], path: str, off: tuple[str, ...]) -> None:
        if isinstance(container.get("image"), str) and container["image"]:
            self._add(container["image"], path + ".image", "pod spec", off)
        for key in ("command", "args"):
            words = container.get(key)
            if isinstance(words, list):
                self._words([str(word) for word in words], f"{path}.{key}", off)
        for index, variable in enumerate(container.get("env") or []):
            if isinstance(variable, dict) and isinstance(variable.get("value"), str):
                where = f"{path}.env[{index}].value"
                self._value(str(variable.get("name") or ""), variable["value"], where, "environment", off)

    def _words(self, words: list[str], path: str, off: tuple[str, ...]) -> None:
        flag = ""
        for index, word in enumerate(words):
            where = f"{path}[{index}]"
            name, equals, value = word.partition("=")
            if word.startswith("-") and equals:
                self._value(name.lstrip("-"), value, where, "argument", off)
                flag = ""
            elif word.startswith("-") and " " not in word:
                flag = word.lstrip("-")
            else:
                self._value(flag, word, where, "argument", off)
                flag = ""

    def _value(self, name: str, value: str, path: str, found: str, off: tuple[str, ...]) -> None:
        """An argument or a variable: what its name says is an image, or full references in its text."""
        if IMAGE_NAME.search(name) and _looks_like_a_reference(value):
            self._add(value, path, found, off)
            return
        for text in _references_in(value):
            self._add(text, path, found, off)

    # -- custom resources --------------------------------------------------------------------------------------

    def _fields(self, node: dict[str, Any], path: str, off: tuple[str, ...]) -> None:
        taken = self._parts(node, path, off)
        for key, value in node.items():
            name = str(key)
            if name in taken or not isinstance(value, str) or not IMAGE_NAME.search(name):
                continue
            if _looks_like_a_reference(value):
                self._add(value, _join(path, name), "field", off)

    def _parts(self, node: dict[str, Any], path: str, off: tuple[str, ...]) -> tuple[str, ...]:
        """repository + image + version, repository + tag, repository + digest; true when the fields were used."""
        repository, image = _text(node.get("repository")), _text(node.get("image"))
        registry = _text(node.get("registry"))
        tag = _text(node.get("version")) or _text(node.get("tag")) or _text(node.get("imageTag"))
        digest = _text(node.get("digest")) or _text(node.get("sha"))
        if not repository or "://" in repository or " " in repository:
            return ()
        if image and ("/" in image or ":" in image) and not (tag or digest):
            return ()
        if image and image == _looks_like_full(image):
            return ()
        if not image and not (tag or digest):
            return ()
        used = ["registry", "repository", "image", "version", "tag", "imageTag", "digest", "sha"]
        used = [key for key in used if _text(node.get(key))]
        base = "/".join(part.strip("/") for part in (registry, repository, image) if part)
        if tag.startswith("sha256:"):
            tag, digest = "", tag
        if digest and not digest.startswith("sha256:"):
            digest = "sha256:" + digest
        text = base + (":" + tag if tag else "") + ("@" + digest if digest else "")
        self._add(text, path, "fields " + ", ".join(used), off)
        return ("image",)

    # -- text inside -------------------------------------------------------------------------------------------

    def _strings(self, document: dict[str, Any]) -> None:
        """Data of a ConfigMap, and a Secret's stringData: documents inside strings, then references in text."""
        how = "config map" if document.get("kind") == "ConfigMap" else "secret"
        for section in ("data", "stringData"):
            values = document.get(section)
            if not isinstance(values, dict) or (how == "secret" and section == "data"):
                continue
            for key, text in values.items():
                if isinstance(text, str) and len(text) <= MAX_TEXT:
                    self._string(text, f"{section}[{key}]", str(key), how)

    def _string(self, text: str, path: str, key: str, how: str) -> None:
        base = Found("", self.kind, self.name, path, how, self.needed)
        before = {item.reference for item in self.items}
        for document in _documents_in(text):
            self.items.extend(_Finder(document, self.registry, base).run())
        inside = {item.reference for item in self.items} - before
        if IMAGE_NAME.search(key) and "\n" not in text.strip() and _looks_like_a_reference(text.strip()):
            self._add(text.strip(), path, how)
            return
        for candidate in _references_in(text):
            try:
                if upstream(candidate, self.registry) in inside:
                    continue
            except ReferenceInvalid:
                continue
            self._add(candidate, path, how)


def _documents_in(text: str) -> list[dict[str, Any]]:
    """The YAML or JSON documents in a string; nothing where it is plain text."""
    if ":" not in text or not ("\n" in text or text.lstrip().startswith(("{", "["))):
        return []
    try:
        loaded = list(yaml.load_all(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))  # nosec B506
    except yaml.YAMLError:
        return []
    documents: list[dict[str, Any]] = []
    for document in loaded:
        if isinstance(document, list):
            documents.append({"items": document})
        else:
            documents.extend(_open_lists(document))
    return documents


def _references_in(text: str) -> Iterator[str]:
    """Full references (host, path, and a tag or a digest) in free text; URLs and module paths are none."""
    for match in IN_TEXT.finditer(text):
        host = match.group("host").split(":")[0]
        if NOT_A_REGISTRY.match(host) or not (match.group("tag") or match.group("digest")):
            continue
        yield match.group(0)


def _looks_like_a_reference(text: str) -> bool:
    """What stands under a name that says image: short names too, but no sentence, URL or bare word."""
    text = text.strip()
    if not text or "://" in text or any(char in text for char in " \t\n{}$,;*") or text.startswith(("/", ".", "-")):
        return False
    return "/" in text or ":" in text or "@sha256:" in text


def _looks_like_full(text: str) -> str:
    match = FULL_REFERENCE.fullmatch(text)
    return text if match and (match.group("tag") or match.group("digest")) else ""


def _text(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return ""
    return str(value).strip() if isinstance(value, (str, int, float)) else ""


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
