# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sandbox's API server, from the machine: many small requests without a program for each."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from kubernetes import config

Document = dict[str, Any]

# kind -> (path before the namespace, plural)
KINDS = {
    "Namespace": ("/api/v1", "namespaces"),
    "Node": ("/api/v1", "nodes"),
    "Pod": ("/api/v1", "pods"),
    "LimitRange": ("/api/v1", "limitranges"),
    "ResourceQuota": ("/api/v1", "resourcequotas"),
    "ServiceAccount": ("/api/v1", "serviceaccounts"),
    "PersistentVolumeClaim": ("/api/v1", "persistentvolumeclaims"),
    "StorageClass": ("/apis/storage.k8s.io/v1", "storageclasses"),
    "RuntimeClass": ("/apis/node.k8s.io/v1", "runtimeclasses"),
    "PriorityClass": ("/apis/scheduling.k8s.io/v1", "priorityclasses"),
    "Deployment": ("/apis/apps/v1", "deployments"),
}


class Api:
    """Requests to one API server."""

    def __init__(self, kubeconfig: Path) -> None:
        self._client = config.new_client_from_config(config_file=str(kubeconfig))
        self._client.rest_client.pool_manager.connection_pool_kw["maxsize"] = 8
        self.version = self.get("/version", {})
        self.minor = int("".join(letter for letter in self.version["minor"] if letter.isdigit()))

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        query: Mapping[str, str] | None = None,
        seconds: float = 60,
    ) -> tuple[int, Document]:
        """The status and the answer."""
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        url = self._client.configuration.host + path + ("?" + urlencode(query) if query else "")
        answer = self._client.rest_client.pool_manager.request(
            method,
            url,
            body=None if body is None else json.dumps(body),
            headers={"Accept": "application/json", "Content-Type": kind},
            timeout=seconds,
        )
        return answer.status, json.loads(answer.data) if answer.data else {}

    def get(self, path: str, query: Mapping[str, str]) -> Document:
        """As the snapshot's reader asks."""
        status, answer = self.request("GET", path, query=query)
        if status != 200:
            raise AssertionError(f"GET {path}: {status} {answer.get('message')}")
        return answer

    @staticmethod
    def path(kind: str, namespace: str = "", name: str = "") -> str:
        group, plural = KINDS[kind]
        return group + (f"/namespaces/{namespace}" if namespace else "") + f"/{plural}" + (f"/{name}" if name else "")

    def create(self, item: Document, *, dry: bool = False) -> tuple[int, Document]:
        """Create an object; `dry` only asks what would be kept."""
        namespace = "" if item["kind"] == "Namespace" else str(item["metadata"].get("namespace") or "")
        path = self.path(str(item["kind"]), namespace)
        return self.request("POST", path, item, {"dryRun": "All"} if dry else None)

    def must_create(self, items: Iterable[Document]) -> None:
        for item in items:
            status, answer = self.create(item)
            if status not in (200, 201):
                raise AssertionError(f"{item['kind']} {item['metadata']['name']}: {status} {answer.get('message')}")

    def each(self, work: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        """The answers in the order of the items, eight at a time."""
        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(work, items))

    def list(self, kind: str, namespace: str = "", selector: str = "") -> list[Document]:
        query = {"limit": "2000", **({"labelSelector": selector} if selector else {})}
        found: list[Document] = []
        while True:
            page = self.get(self.path(kind, namespace), query)
            found += [{"kind": kind, **item} for item in page["items"]]
            if not page["metadata"].get("continue"):
                return found
            query["continue"] = page["metadata"]["continue"]

    def namespaces(self, names: Sequence[str], labels: Mapping[str, str]) -> None:
        """Namespaces that are ready for pods: their service account is there."""
        self.each(
            lambda name: self.must_create([{"kind": "Namespace", "metadata": {"name": name, "labels": dict(labels)}}]),
            names,
        )
        for name in names:
            self.wait_for(
                f"the service account of {name}",
                lambda name=name: self.request("GET", self.path("ServiceAccount", name, "default"))[0] == 200,
            )

    def remove(self, kind: str, selector: str) -> None:
        """Delete everything of a kind with these labels, and wait until it is gone."""
        names = [item["metadata"]["name"] for item in self.list(kind, selector=selector)]
        self.each(
            lambda name: self.request("DELETE", self.path(kind, "", name), query={"propagationPolicy": "Background"}),
            names,
        )
        self.wait_for(f"the end of {len(names)} {kind} with {selector}", lambda: not self.list(kind, selector=selector))

    @staticmethod
    def wait_for(what: str, ready: Callable[[], bool], seconds: float = 300) -> None:
        """Ask until it is so. The bound is for a cluster that is broken, not for one that is slow."""
        end = time.monotonic() + seconds
        while not ready():
            if time.monotonic() > end:
                raise AssertionError(f"{what}: not within {seconds:g} s")
            time.sleep(0.2)
