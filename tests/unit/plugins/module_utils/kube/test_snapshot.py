# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import weakref

import pytest

from ansible_collections.airgap.speech.plugins.module_utils.kube.capacity import ask, complete
from ansible_collections.airgap.speech.plugins.module_utils.kube.problem import Release
from ansible_collections.airgap.speech.plugins.module_utils.kube.snapshot import (
    ApiError,
    ForbiddenError,
    Reader,
    from_documents,
    list_all,
)


class Api:
    """An API that answers in pages of two, and refuses what it is told to."""

    def __init__(self, lists, forbidden=()):
        self.lists, self.forbidden, self.asked = lists, forbidden, []

    def __call__(self, path, query):
        self.asked.append((path, dict(query)))
        if path in self.forbidden:
            raise ForbiddenError(path)
        if path == "/version":
            return {"major": "1", "minor": "31+"}
        start = int(query.get("continue", 0))
        items = self.lists.get(path, [])
        more = {"continue": str(start + 2)} if start + 2 < len(items) else {}
        return {"items": items[start : start + 2], "metadata": more}


def node(name):
    return {"metadata": {"name": name}, "status": {"allocatable": {"cpu": "1"}}}


def pod(name, node_name=""):
    return {
        "metadata": {"name": name, "namespace": "a"},
        "spec": {"nodeName": node_name, "containers": [{"name": "c"}]},
    }


def test_lists_page_by_page():
    api = Api({"/api/v1/nodes": [{"n": number} for number in range(5)]})
    assert [item["n"] for item in list_all(api, "/api/v1/nodes")] == [0, 1, 2, 3, 4]
    assert [query.get("continue") for _path, query in api.asked] == [None, "2", "4"]
    assert {query["limit"] for _path, query in api.asked} == {"500"}


def test_reads_the_base():
    api = Api({"/api/v1/nodes": [node("n1")], "/api/v1/pods": [pod("a", "n1"), pod("b")]})
    snapshot = Reader(api).base()
    assert snapshot.minor == 31
    assert [item.name for item in snapshot.existing] == ["a"]
    assert list(snapshot.pending) == [("a", "b")]


DOCUMENT = {
    "kind": "Pod",
    "metadata": {"name": "p"},
    "spec": {
        "priorityClassName": "gold",
        "containers": [{"name": "c"}],
        "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "m"}}],
    },
}


def test_reads_what_the_pods_bring_into_question_and_nothing_else():
    api = Api({})
    reader = Reader(api)
    plain = {**DOCUMENT, "spec": {"containers": [{"name": "c"}]}}
    complete(reader, reader.base(), [Release((plain,), "speech")])
    assert [path for path, _query in api.asked] == [
        "/version",
        "/api/v1/nodes",
        "/api/v1/pods",
        "/api/v1/namespaces/speech/limitranges",
        "/api/v1/namespaces/speech/resourcequotas",
        # One of them may be the default of all pods.
        "/apis/scheduling.k8s.io/v1/priorityclasses",
    ]
    complete(reader, reader.base(), [Release((DOCUMENT,), "speech")])
    paths = {path for path, _query in api.asked}
    assert "/apis/storage.k8s.io/v1/csinodes" in paths
    assert "/api/v1/namespaces/speech/persistentvolumeclaims" in paths
    assert "/api/v1/persistentvolumes" in paths


def test_where_pods_ask_for_gpus_classes_of_devices_are_read_if_the_cluster_has_them():
    limits = {"resources": {"limits": {"nvidia.com/gpu": 1}}}
    gpu = {**DOCUMENT, "spec": {"containers": [{"name": "c", **limits}]}}
    groups = [{"name": "resource.k8s.io", "versions": [{"version": "v1"}]}]
    for served, read in (([], False), (groups, True)):
        classes = [{"metadata": {"name": "gpu"}, "spec": {"extendedResourceName": "nvidia.com/gpu"}}]
        api = Api({"/apis/resource.k8s.io/v1/deviceclasses": classes, "/api/v1/nodes": [node("n1")]})

        def get(path, query, api=api, served=served):
            return {"groups": served} if path == "/apis" else api(path, query)

        reader = Reader(get)
        snapshot = complete(reader, reader.base(), [Release((gpu,), "speech")])
        assert bool(snapshot.of("DeviceClass")) is read
        notes = ask([Release((gpu,), "speech")], snapshot)["not_modelled"]
        assert any("devices that it gives" in note for note in notes) is read


def test_missing_rights_are_told_all_at_once():
    forbidden = ("/api/v1/nodes", "/api/v1/pods", "/api/v1/namespaces/speech/persistentvolumeclaims")
    reader = Reader(Api({}, forbidden))
    with pytest.raises(ApiError) as caught:
        complete(reader, reader.base(), [Release((DOCUMENT,), "speech")])
    assert "list nodes; pods in all namespaces; persistentvolumeclaims in namespace speech." in str(caught.value)


def test_a_file_may_hold_pools_and_objects():
    snapshot = from_documents(
        [
            {"pools": [{"name": "a", "allocatable": {"cpu": 1, "memory": 1}}]},
            {"kind": "Pod", **pod("x", "a-1")},
            {"kind": "StorageClass", "metadata": {"name": "s"}},
        ]
    )
    assert [item.name for item in snapshot.nodes] == ["a-1"]
    assert len(snapshot.existing) == 1
    assert len(snapshot.of("StorageClass")) == 1


class Document(dict):
    """An object whose end can be watched."""


def test_of_a_large_cluster_one_page_is_held_at_a_time():
    seen: list[weakref.ref[Document]] = []
    alive = []

    def get(path, query):
        if path == "/version":
            return {"minor": "36"}
        if path == "/api/v1/nodes":
            return {"items": [node("n1")]}
        alive.append(sum(1 for reference in seen if reference() is not None))
        start = int(query.get("continue", "0"))
        items = [Document(pod(f"p{number}", "n1")) for number in range(start, start + int(query["limit"]))]
        seen.extend(weakref.ref(item) for item in items)
        return {"items": items, "metadata": {"continue": str(start + len(items)) if start < 4000 else ""}}

    snapshot = Reader(get).base()
    assert len(snapshot.existing) == 4500
    # The page before may still be at hand when the next is asked for, and none before that.
    assert max(alive) <= 500
    # What equal pods share is kept once.
    assert len({id(item.pod) for item in snapshot.existing}) == 1
    assert len({id(item.charge) for item in snapshot.existing}) == 1
