# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Walk a document and judge every place of it that could name an image."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.airgap.speech.plugins.module_utils.discovery import documents as docs
from ansible_collections.airgap.speech.plugins.module_utils.discovery.findings import (
    ALWAYS,
    EXCLUDED,
    NEEDED,
    UNDECIDED,
    Candidate,
    Discovery,
    Found,
)
from ansible_collections.airgap.speech.plugins.module_utils.discovery.parts import (
    Joined,
    join,
    join_named,
    parts_above,
    text_of,
)
from ansible_collections.airgap.speech.plugins.module_utils.discovery.text import (
    FULL,
    NO_TAG,
    Verdict,
    judge,
    says_image,
    scan,
    upstream,
    words_of,
)
from ansible_collections.airgap.speech.plugins.module_utils.oci.reference import ReferenceInvalid

CONTAINER_LISTS = ("initContainers", "containers", "ephemeralContainers")
WORD_LISTS = ("command", "args", "extraArgs", "arguments")
ONLY_IF = "; and is needed only if "
SECRET_WORDS = frozenset(("password", "passwd", "secret", "token", "key", "apikey", "credentials", "auth", "dsn"))
COPIES = ("kubectl.kubernetes.io/last-applied-configuration",)

# Groups whose kinds hold images in pod specs only; their other fields cannot make one run.
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

# Kinds that name images or what looks like them without running any: group to kinds (none: all) and the reason.
NO_IMAGES: dict[str, tuple[tuple[str, ...], str]] = {
    "monitoring.coreos.com": (
        ("PrometheusRule", "ServiceMonitor", "PodMonitor", "Probe", "ScrapeConfig", "AlertmanagerConfig"),
        "is in a kind that only says what is measured",
    ),
    "kyverno.io": ((), "is what a policy matches"),
    "policies.kyverno.io": ((), "is what a policy matches"),
    "constraints.gatekeeper.sh": ((), "is what a policy matches"),
    "templates.gatekeeper.sh": ((), "is what a policy matches"),
    "policy.sigstore.dev": ((), "is what a policy matches"),
    "gateway.networking.k8s.io": ((), "is in a kind that only routes"),
}


@dataclass(frozen=True)
class Place:
    """Where the walk is: the prefix of the paths, how what is found there was found, and the state around it.

    `around` is a registry and a tag that stand above (Istio's global.hub and global.tag), `inside` whether the document
    is one in a string.
    """

    path: str = ""
    how: str = ""
    off: tuple[str, ...] = ()
    nodes: str = ""
    around: tuple[str, str] = ("", "")
    inside: bool = False

    def at(self, key: str) -> Place:
        """The same below a key."""
        return replace(self, path=f"{self.path}.{key}" if self.path else key)

    def item(self, index: int) -> Place:
        """The same for an element of a list."""
        return replace(self, path=f"{self.path}[{index}]")


class Walker:
    """Walks one document; what it found is in `discovery`."""

    def __init__(
        self,
        document: dict[str, Any],
        registry: str = "",
        groups: Collection[str] = (),
        platforms: Collection[str] = (),
    ) -> None:
        self.document = document
        self.registry = registry
        self.groups = groups
        self.platforms = platforms
        self.kind = str(document.get("kind") or "")
        self.name = docs.name_of(document)
        self.needed = docs.needed_by(document)
        self.never = ""
        self.private = False
        self.discovery = Discovery()

    def walk(self) -> Discovery:
        """Judge the document."""
        group = docs.group_of(self.document)
        kinds, why = NO_IMAGES.get(group, ((), ""))
        if why and (not kinds or self.kind in kinds):
            self.never = why
        self._document(self.document, Place())
        return self.discovery

    def _document(self, document: dict[str, Any], place: Place) -> None:
        """The document itself, or one that stands in a string of it."""
        kind = str(document.get("kind") or "")
        if not kind:
            self._node(document, place, True, "")
            return
        custom = docs.group_of(document) not in BUILT_IN_GROUPS
        if kind == "CustomResourceDefinition":
            return
        metadata = document.get("metadata")
        if isinstance(metadata, dict):
            self._annotations(metadata.get("annotations"), place.at("metadata").at("annotations"))
        for key, value in document.items():
            if key in ("metadata", "status", "apiVersion", "kind"):
                continue
            if kind in ("ConfigMap", "Secret"):
                self._data(kind, str(key), value, place.at(str(key)))
            else:
                self._node(value, place.at(str(key)), custom, str(key))

    # -- what was judged -----------------------------------------------------------------------------------------

    def _take(self, verdict: Verdict | Joined | None, place: Place, how: str) -> bool:
        """Keep a verdict; true where the value is dealt with."""
        if verdict is None:
            return False
        how = place.how or how
        short = isinstance(verdict, Verdict) and not verdict.called and not FULL.fullmatch(verdict.text)
        if self.private and short and verdict.status == NEEDED:
            # A password may have this shape; with a host, or where the name says image, it is a reference.
            verdict = Verdict(UNDECIDED, verdict.text, "could be a reference, or a secret")
        if self.never:
            self._candidate(self.discovery.excluded, verdict.text, place, how, self.never)
        elif verdict.status == NEEDED:
            self._found(verdict.text, place, how)
        elif verdict.status == UNDECIDED:
            if place.off:
                why = verdict.why + ONLY_IF + ", ".join(place.off)
                self._candidate(self.discovery.excluded, verdict.text, place, how, why)
            else:
                self._candidate(self.discovery.undecided, verdict.text, place, how, verdict.why)
        else:
            self._candidate(self.discovery.excluded, verdict.text, place, how, verdict.why)
        return True

    def _candidate(self, into: list[Candidate], text: str, place: Place, how: str, why: str) -> None:
        if self.private:
            # What a Secret or a password holds is shown only where it is the reference of an image.
            text = "(not shown)"
        shown = text if len(text) <= 200 else text[:200] + "..."
        into.append(Candidate(shown, self.kind, self.name, place.path, how, why))

    def _found(self, text: str, place: Place, how: str) -> None:
        try:
            reference = upstream(text, self.registry)
        except ReferenceInvalid as error:
            self._candidate(self.discovery.undecided, text, place, how, str(error))
            return
        self.discovery.found.append(Found(reference, self.kind, self.name, place.path, how, self._needed(place)))

    def _needed(self, place: Place) -> str:
        if place.off:
            return "if " + ", ".join(place.off)
        if place.nodes.startswith("if "):
            return place.nodes
        if place.nodes:
            return place.nodes if self.needed == ALWAYS else f"{self.needed}, {place.nodes}"
        return self.needed

    # -- structure -----------------------------------------------------------------------------------------------

    def _node(self, node: Any, place: Place, custom: bool, key: str) -> None:
        if isinstance(node, list):
            if custom and key in WORD_LISTS and all(isinstance(item, str) for item in node):
                self._words([str(word) for word in node], place)
                return
            for index, item in enumerate(node):
                self._node(item, place.item(index), custom, key)
            return
        if not isinstance(node, dict):
            if isinstance(node, str):
                self._leaf(node, place, custom, key)
            return
        off = docs.switched_off(node, place.path) if custom else ""
        if off:
            place = replace(place, off=place.off + (off,))
        lists = [name for name in CONTAINER_LISTS if isinstance(node.get(name), list)]
        if lists:
            nodes = docs.hardware(node, self.platforms)
            place = replace(place, nodes=nodes or place.nodes)
        for name in lists:
            for index, container in enumerate(node[name]):
                if isinstance(container, dict):
                    self._container(container, place.at(name).item(index))
        if lists and isinstance(node.get("volumes"), list):
            self._volumes(node["volumes"], place.at("volumes"))
        if isinstance(node.get("metadata"), dict):
            self._annotations(node["metadata"].get("annotations"), place.at("metadata").at("annotations"))
        around = parts_above(node) if custom else None
        if around is not None:
            place = replace(place, around=around)
        dealt = self._fields(node, place, key) if custom else ()
        for key_here, value in node.items():
            name = str(key_here)
            if name in lists or name in dealt or (lists and name == "volumes"):
                continue
            if name == "metadata" and isinstance(value, dict) and ("spec" in node or "annotations" in value):
                continue
            self._node(value, place.at(name), custom, name)

    def _leaf(self, text: str, place: Place, custom: bool, key: str) -> None:
        if custom:
            self._value(key, text, place, "field")
            return
        # A field of a built-in kind outside of pod specs, such as an expression of an admission policy.
        for verdict in scan(text, self.groups):
            self._take(_doubted(verdict, "stands in a field that holds no image"), place, "field of a built-in kind")

    def _volumes(self, volumes: list[Any], place: Place) -> None:
        for index, volume in enumerate(volumes):
            if not isinstance(volume, dict):
                continue
            at = place.item(index)
            source = volume.get("image")
            if isinstance(source, dict) and isinstance(source.get("reference"), str):
                self._image(source["reference"], at.at("image").at("reference"), "image volume")
            for driver in ("csi", "flexVolume"):
                options = volume.get(driver)
                key = "volumeAttributes" if driver == "csi" else "options"
                attributes = options.get(key) if isinstance(options, dict) else None
                for name, value in attributes.items() if isinstance(attributes, dict) else ():
                    if isinstance(value, str):
                        self._value(str(name), value, at.at(driver).at(str(name)), "volume attribute")

    def _image(self, text: str, place: Place, how: str) -> None:
        """A field that the kubelet reads as an image: anything that parses is one."""
        if not text:
            return
        try:
            upstream(text, self.registry)
        except ReferenceInvalid:
            why = "is put together at run time" if any(c in text for c in "{}$<>") else "is no reference of an image"
            self._take(Verdict(UNDECIDED, text, why), place, how)
            return
        self._take(Verdict(NEEDED, text, called=True), place, how)

    def _container(self, container: dict[str, Any], place: Place) -> None:
        image = container.get("image")
        if isinstance(image, str):
            self._image(image, place.at("image"), "pod spec")
        elif isinstance(image, dict):
            self._node(image, place.at("image"), True, "image")
        for key in ("command", "args"):
            words = container.get(key)
            if isinstance(words, list):
                self._words([str(word) for word in words], place.at(key))
        variables = container.get("env")
        self._environment(variables if isinstance(variables, list) else [], place.at("env"))
        for key in ("lifecycle", "livenessProbe", "readinessProbe", "startupProbe"):
            if isinstance(container.get(key), dict):
                self._node(container[key], place.at(key), False, key)

    def _environment(self, variables: list[Any], place: Place) -> None:
        values = [
            (str(variable.get("name") or ""), variable["value"], place.item(index).at("value"))
            for index, variable in enumerate(variables)
            if isinstance(variable, dict) and isinstance(variable.get("value"), str)
        ]
        self._together(values, "environment", "")

    def _words(self, words: list[str], place: Place) -> None:
        """Arguments: --flag=value, --flag value, and words by themselves."""
        flag = ""
        named: list[tuple[str, str, Place]] = []
        for index, word in enumerate(words):
            name, equals, value = word.partition("=")
            at = place.item(index)
            if word.startswith("-") and equals and " " not in name:
                named.append((name.lstrip("-"), value, at))
                flag = ""
            elif word.startswith("-") and not any(char.isspace() for char in word):
                flag = word.lstrip("-")
            elif flag:
                named.append((flag, word, at))
                flag = ""
            elif equals and "\n" not in word and name.replace("_", "").replace("-", "").replace(".", "").isalnum():
                self._value(name, value, at, "argument")
            else:
                self._value("", word, at, "argument")
        self._together(named, "argument", "--")

    def _together(self, values: list[tuple[str, str, Place]], how: str, mark: str) -> None:
        """Values with names (several may have the same one), of which two may make a reference together."""
        joined = join_named({name: value for name, value, _place in values})
        for name, value, place in values:
            if name in joined:
                self._take(joined[name], place, f"{how}, " + " with ".join(mark + key for key in joined[name].keys))
            else:
                self._value(name, value, place, how)

    def _value(self, name: str, value: str, place: Place, how: str) -> None:
        """A value with a name: a reference, a document in a string, a list of references, or text with some in it."""
        before = self.private
        self.private = before or bool(SECRET_WORDS & set(words_of(name)))
        self._named_value(name, value, place, how)
        self.private = before

    def _named_value(self, name: str, value: str, place: Place, how: str) -> None:
        inside = docs.documents_in(value) if len(value) <= docs.MAX_TEXT else []
        if inside:
            self._inside(inside, value, place, how)
            return
        named = says_image(name) if name else False
        if any(char.isspace() for char in value.strip()) or "=" in value or "," in value:
            # Also what a kustomization says: name=other/name:tag.
            parts = [part.rpartition("=")[2] for part in value.replace(",", " ").split() if part]
            if named and parts and all(self._is_reference(part) for part in parts):
                for verdict in (judge(part, True, self.groups) for part in parts):
                    if verdict is not None:
                        self._take(replace(verdict, called=True), place, how)
                return
            self._text(value, place, how)
            return
        verdict = judge(value, named, self.groups, not place.inside)
        if verdict is not None:
            verdict = replace(verdict, called=named)
        if verdict is not None and verdict.why == NO_TAG and "/" not in value and place.around[1]:
            registry, tag = place.around
            self._take(
                Verdict(NEEDED, f"{registry}/{verdict.text}:{tag}", called=True),
                place,
                f"{how} with {registry} and {tag}",
            )
            return
        if verdict is not None and verdict.status == UNDECIDED and place.how and not named:
            # In a file of a ConfigMap, such as a dashboard, every other word has this shape.
            verdict = Verdict(EXCLUDED, verdict.text, "is in a file that does not say that it is an image")
        if not self._take(verdict, place, how):
            self._text(value, place, how)

    def _is_reference(self, text: str) -> bool:
        verdict = judge(text, True, self.groups)
        return verdict is not None and verdict.status == NEEDED

    def _text(self, text: str, place: Place, how: str, known: Collection[str] = ()) -> None:
        for verdict in scan(text[: docs.MAX_TEXT], self.groups):
            if verdict.text not in known:
                self._take(verdict, place, how)

    # -- custom resources ----------------------------------------------------------------------------------------

    def _fields(self, node: dict[str, Any], place: Place, parent: str) -> tuple[str, ...]:
        """References that several fields of a node make; the keys that are dealt with."""
        if isinstance(node.get("name"), str) and isinstance(node.get("value"), str) and len(node) <= 3:
            self._value(node["name"], node["value"], place.at("value"), "environment")
            return ("name", "value")
        joined = join(node, parent)
        if joined is None:
            return ()
        if not self._take(joined, place, "fields " + ", ".join(joined.keys)):
            return ()
        return joined.keys

    def _annotations(self, annotations: Any, place: Place) -> None:
        for key, value in annotations.items() if isinstance(annotations, dict) else ():
            if not isinstance(value, str) or key in COPIES:
                continue
            name = str(key).rpartition("/")[2]
            at = replace(place, path=f"{place.path}[{key}]")
            verdicts = [judge(value, says_image(name), self.groups)] if not any(c.isspace() for c in value) else []
            for verdict in verdicts or scan(value, self.groups):
                if verdict is not None and not says_image(name):
                    self._take(_doubted(verdict, "stands in an annotation that does not say image"), at, "annotation")
                else:
                    self._take(verdict, at, "annotation")

    # -- text inside ---------------------------------------------------------------------------------------------

    def _data(self, kind: str, section: str, values: Any, place: Place) -> None:
        """Data of a ConfigMap or a Secret: documents inside strings, then references in text."""
        if section not in ("data", "stringData", "binaryData") or not isinstance(values, dict):
            return
        how = "config map" if kind == "ConfigMap" else "secret"
        self.private = self.private or kind == "Secret"
        inner = replace(place, how=place.how or how)
        encoded = section == "binaryData" or (kind == "Secret" and section == "data")
        flat = {str(key): _decoded(value) if encoded else text_of(value) for key, value in values.items()}
        joined = join_named({key: value for key, value in flat.items() if "\n" not in value})
        for key, text in flat.items():
            if key.startswith("_example"):
                # Knative's and KServe's custom: the documentation of the other keys, which nothing reads.
                self._example(text, Place(f"{inner.path}[{key}]", inner.how))
                continue
            at = replace(inner, path=f"{inner.path}[{key}]")
            if key in joined:
                self._take(joined[key], at, how)
            elif text:
                self._value(key, text, at, how)

    def _example(self, text: str, place: Place) -> None:
        for verdict in scan(text[: docs.MAX_TEXT], self.groups):
            why = verdict.why if verdict.status == EXCLUDED else "stands in an example that nothing reads"
            self._take(Verdict(EXCLUDED, verdict.text, why), place, place.how)

    def _inside(self, inside: Iterable[dict[str, Any]], text: str, place: Place, how: str) -> None:
        """Documents in a string, then what the text names outside of their fields, such as in a comment."""
        before = len(self.discovery.found), len(self.discovery.excluded), len(self.discovery.undecided)
        at = replace(place, how=place.how or how, inside=True)
        for document in inside:
            self._document(document, at)
        known = {item.reference for item in self.discovery.found[before[0] :]}
        known |= {item.text for item in self.discovery.excluded[before[1] :]}
        known |= {item.text for item in self.discovery.undecided[before[2] :]}
        for verdict in scan(text[: docs.MAX_TEXT], self.groups):
            if verdict.text in known or self._reference(verdict.text) in known or verdict.status != NEEDED:
                continue
            comment = Verdict(EXCLUDED, verdict.text, "stands in a comment")
            self._take(comment if _in_comment(text, verdict.text) else verdict, at, how)

    def _reference(self, text: str) -> str:
        try:
            return upstream(text, self.registry)
        except ReferenceInvalid:
            return ""


def _doubted(verdict: Verdict, why: str) -> Verdict:
    """An image as to its shape, in a place that makes none run."""
    return Verdict(UNDECIDED, verdict.text, why) if verdict.status == NEEDED else verdict


def _decoded(value: Any) -> str:
    """What a base64 text holds; nothing where it is no text."""
    try:
        return base64.b64decode(str(value), validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        return ""


def _in_comment(text: str, reference: str) -> bool:
    """Whether every line that names the reference has it behind a #."""
    lines = [line for line in text.splitlines() if reference in line]
    return bool(lines) and all("#" in line.partition(reference)[0] for line in lines)
