# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kubernetes documents: read from text, also inside strings; when one is needed, and on which nodes."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from ansible_collections.airgap.speech.plugins.module_utils.discovery.findings import ALWAYS, TEST

try:
    import yaml
except ImportError:  # the modules say so
    yaml = None  # type: ignore[assignment]

TEST_HOOKS = frozenset(("test", "test-success", "test-failure"))
MAX_TEXT = 4 * 1024 * 1024

# Keys that switch off what stands beside them, and the values that do.
OFF: dict[str, tuple[Any, ...]] = {
    "enabled": (False, "false"),
    "enable": (False, "false"),
    "install": (False, "false"),
    "deploy": (False, "false"),
    "create": (False, "false"),
    "disabled": (True, "true"),
    "managementState": ("Removed", "Unmanaged"),
    "state": ("disabled", "absent"),
}

# Labels that tell hardware: a pod bound to one of them is for the nodes that have it.
HARDWARE_LABEL = re.compile(
    r"^(?:(?:beta\.)?kubernetes\.io/(?:arch|os)|node\.kubernetes\.io/instance-type"
    r"|(?:[a-z0-9.-]*\.)?(?:nvidia|amd|intel|habana|furiosa)\.(?:com|ai)/.*|feature\.node\.kubernetes\.io/.*"
    r"|cloud\.google\.com/gke-(?:accelerator|tpu).*|karpenter\.(?:k8s\.aws|sh)/.*gpu.*|accelerator)$"
)
EXTENDED_RESOURCE = re.compile(r"^(?!(?:[a-z0-9.-]*\.)?kubernetes\.io/)[a-z0-9.-]+\.[a-z]+/[A-Za-z0-9._-]+$")


def loader() -> Any:
    """A safe loader, in C where there is one, that leaves numbers and dates as they are written.

    The tag 1.20 is not the number 1.2, and 2024-01-01 is no date.
    """
    base = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    wanted = ("tag:yaml.org,2002:bool", "tag:yaml.org,2002:null", "tag:yaml.org,2002:merge")

    class Loader(base):  # type: ignore[misc, valid-type]
        yaml_implicit_resolvers = {
            first: [(tag, pattern) for tag, pattern in resolvers if tag in wanted]
            for first, resolvers in base.yaml_implicit_resolvers.items()
        }

    return Loader


def load_documents(text: str) -> list[dict[str, Any]]:
    """Parse a rendered manifest; lists are opened, empty documents dropped. Raises yaml.YAMLError."""
    documents: list[dict[str, Any]] = []
    for document in yaml.load_all(text, Loader=loader()):  # nosec B506: a safe loader, see above
        documents.extend(open_lists(document))
    return documents


def open_lists(document: Any) -> Iterator[dict[str, Any]]:
    """A document, or those in it where it is a List."""
    if not isinstance(document, dict):
        return
    kind = str(document.get("kind") or "")
    if kind.endswith("List") and isinstance(document.get("items"), list):
        for item in document["items"]:
            yield from open_lists(item)
    else:
        yield document


def documents_in(text: str) -> list[dict[str, Any]]:
    """The YAML or JSON documents in a string; nothing where it is plain text."""
    start = text.lstrip()[:1]
    if ":" not in text or not ("\n" in text.strip() or start in ("{", "[")):
        return []
    loaded: list[Any]
    try:
        loaded = [json.loads(text)] if start in ("{", "[") else []
    except ValueError:
        loaded = []
    if not loaded:
        try:
            loaded = list(yaml.load_all(text, Loader=loader()))  # nosec B506: a safe loader, see above
        except (yaml.YAMLError, ValueError, RecursionError):
            return []
    documents: list[dict[str, Any]] = []
    for document in loaded:
        if isinstance(document, list):
            documents.append({"items": document})
        else:
            documents.extend(open_lists(document))
    return documents


def needed_by(document: Mapping[str, Any]) -> str:
    """`always`, or the Helm hook that alone needs this document."""
    metadata = document.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    annotations = annotations if isinstance(annotations, dict) else {}
    hooks = [part.strip() for part in str(annotations.get("helm.sh/hook") or "").split(",") if part.strip()]
    if not hooks or "crd-install" in hooks:
        return ALWAYS
    other = [hook for hook in hooks if hook not in TEST_HOOKS]
    return "hook " + ",".join(other) if other else TEST


def name_of(document: Mapping[str, Any]) -> str:
    """The name in a document's metadata."""
    metadata = document.get("metadata")
    return str(metadata.get("name") or "") if isinstance(metadata, dict) else ""


def group_of(document: Mapping[str, Any]) -> str:
    """The API group of a document; the core group is empty."""
    group, slash, _version = str(document.get("apiVersion") or "").partition("/")
    return group if slash else ""


def switched_off(node: Mapping[str, Any], path: str) -> str:
    """The condition under which a component that is off here would be on, or nothing where it is on."""
    for key, values in OFF.items():
        value = node.get(key)
        if value is not None and not isinstance(value, (dict, list)) and value in values:
            # 0 and 1 equal False and True for Python.
            if isinstance(value, int) and not isinstance(value, bool):
                continue
            field = f"{path}.{key}" if path else key
            if isinstance(values[0], bool):
                return f"not {field}" if values[0] else field
            return f"{field} is not {value}"
    return ""


def hardware(pod: Mapping[str, Any], platforms: Collection[str]) -> str:
    """For which nodes a pod spec is: `on nodes with <label>`, `if <...>` where no platform asked for can be one.

    `platforms` are os/architecture pairs; with none, nothing is left out.
    """
    wanted: list[str] = []
    impossible: list[str] = []
    systems = {platform.split("/")[0] for platform in platforms}
    machines = {platform.split("/")[1] for platform in platforms if "/" in platform}
    for key, values in _labels(pod):
        if not HARDWARE_LABEL.match(key):
            continue
        text = f"{key}={'|'.join(values)}" if values else key
        known = (
            systems if key.endswith("kubernetes.io/os") else machines if key.endswith("kubernetes.io/arch") else set()
        )
        if known and values and not known & set(values):
            impossible.append(text)
        elif key.endswith("kubernetes.io/os") and "linux" in values:
            continue
        elif not (known and values):
            wanted.append(text)
    for container in _containers(pod):
        resources = container.get("resources")
        for amounts in (resources or {}).values() if isinstance(resources, dict) else ():
            for name in amounts if isinstance(amounts, dict) else ():
                if EXTENDED_RESOURCE.match(str(name)):
                    wanted.append(str(name))
    if impossible:
        return "if a node has " + ", ".join(impossible)
    return "on nodes with " + ", ".join(dict.fromkeys(wanted)) if wanted else ""


def _containers(pod: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for key in ("initContainers", "containers"):
        containers = pod.get(key)
        for container in containers if isinstance(containers, list) else []:
            if isinstance(container, dict):
                yield container


def _labels(pod: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """Labels that a node has to have: of the selector, and of an affinity with one term, that is required."""
    selector = pod.get("nodeSelector")
    for key, value in selector.items() if isinstance(selector, dict) else ():
        yield str(key), [str(value)]
    try:
        terms = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    except (KeyError, TypeError):
        return
    if not isinstance(terms, list) or len(terms) != 1 or not isinstance(terms[0], dict):
        return
    expressions = terms[0].get("matchExpressions")
    for expression in expressions if isinstance(expressions, list) else []:
        if isinstance(expression, dict) and expression.get("operator") in ("In", "Exists"):
            values = expression.get("values")
            yield str(expression.get("key")), [str(value) for value in values] if isinstance(values, list) else []
