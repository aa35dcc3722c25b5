# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Against a real HTTP server on the loopback that pages and refuses as an API server does."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from ansible_collections.airgap.speech.plugins.module_utils.bundle.lock import Blob, Image, Lock, dump
from ansible_collections.airgap.speech.plugins.modules.cluster_probe import main
from tests.unit.plugins.modules.run_module import run_module

DIGEST = "sha256:" + "a" * 64
NODES: list[dict[str, Any]] = [
    {
        "metadata": {"name": f"w{number}", "labels": {"much": "more"}},
        "status": {
            "addresses": [{"type": "InternalIP", "address": f"10.0.0.{number}"}],
            "capacity": {"cpu": "8", "ephemeral-storage": "100Gi"},
            "conditions": [
                {"type": "Ready", "status": "True"},
                {"type": "DiskPressure", "status": "True" if number == 2 else "False", "message": "full"},
            ],
            "images": [{"names": ["quay.io/x@" + DIGEST, "quay.io/x:1"]}, {"names": ["other@sha256:b"]}],
        },
    }
    for number in (1, 2)
]
CLAIMS = [
    {
        "metadata": {"namespace": "ns", "name": "models", "uid": "u"},
        "spec": {"volumeName": "pv", "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Gi"}}},
        "status": {"phase": "Bound", "capacity": {"storage": "11Gi"}},
    }
]
JOBS: list[dict[str, Any]] = [
    {
        "metadata": {"namespace": "ns", "name": "model-preload-1", "labels": {"much": "more"}},
        "status": {"succeeded": 1, "conditions": [{"type": "Complete", "status": "True", "reason": "more"}]},
    },
    {"metadata": {"namespace": "ns", "name": "model-preload-2"}, "status": {"active": 1}},
]


@pytest.fixture
def server() -> Iterator[http.server.ThreadingHTTPServer]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            asked = parse_qs(url.query)
            status, body = 200, {}
            if url.path == "/version":
                body = {"gitVersion": "v1.36.3"}
            elif url.path in self.server.forbidden:  # type: ignore[attr-defined]
                status = 403
            elif url.path == "/api/v1/nodes":  # one a page
                index = int(asked.get("continue", ["0"])[0])
                more = {"continue": str(index + 1)} if index + 1 < len(NODES) else {}
                body = {"items": [NODES[index]], "metadata": more}
            elif url.path == "/api/v1/namespaces/ns/persistentvolumeclaims":
                body = {"items": CLAIMS, "metadata": {}}
            elif url.path == "/apis/batch/v1/namespaces/ns/jobs":
                body = {"items": JOBS if asked["labelSelector"] == ["a=b"] else [], "metadata": {}}
            else:
                body = {"items": [], "metadata": {}}
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_arguments: Any) -> None:
            pass

    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running.forbidden = set()  # type: ignore[attr-defined]
    thread = threading.Thread(target=running.serve_forever)
    thread.start()
    yield running
    running.shutdown()
    thread.join()
    running.server_close()


@pytest.fixture
def kubeconfig(server: http.server.ThreadingHTTPServer, tmp_path: Path) -> str:
    path = tmp_path / "kubeconfig"
    cluster = {"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_address[1]}"}}
    context = {"name": "x", "context": {"cluster": "c", "user": "u"}}
    config = {"clusters": [cluster], "contexts": [context], "users": [{"name": "u", "user": {}}]}
    path.write_text(yaml.safe_dump({**config, "current-context": "x"}), encoding="utf-8")
    return str(path)


def test_only_what_bears_on_disk_comes_back(kubeconfig, tmp_path):
    lock = Lock("2026-11-21T00:00:00Z", "0.1.0", images=[Image("quay.io/x:1", DIGEST, 1)], blobs=[Blob(DIGEST, 1)])
    (tmp_path / "bundle.lock.json").write_bytes(dump(lock))
    result = run_module(
        main,
        {"kubeconfig": kubeconfig, "namespaces": ["ns", "none"], "lock_file": str(tmp_path / "bundle.lock.json")},
    )
    assert result["version"] == "v1.36.3"
    assert [item["metadata"] for item in result["nodes"]] == [{"name": "w1"}, {"name": "w2"}]
    assert result["nodes"][1]["status"] == {
        "addresses": [{"type": "InternalIP", "address": "10.0.0.2"}],
        "capacity": {"ephemeral-storage": "100Gi"},
        "conditions": [{"type": "DiskPressure", "status": "True", "message": "full"}],
        "images": [{"names": ["quay.io/x@" + DIGEST]}],
    }
    assert result["nodes"][0]["status"]["conditions"] == []
    assert result["claims"] == [
        {
            "metadata": {"namespace": "ns", "name": "models", "uid": "u"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Gi"}}},
            "status": {"capacity": {"storage": "11Gi"}},
        }
    ]
    assert result["jobs"] == []


def test_jobs_of_a_selector(kubeconfig, server):
    asked = {"kubeconfig": kubeconfig, "look_at": ["jobs"], "namespaces": ["ns"], "job_selector": "a=b"}
    result = run_module(main, asked)
    assert result["jobs"] == [
        {
            "metadata": {"namespace": "ns", "name": "model-preload-1"},
            "status": {"succeeded": 1, "conditions": [{"type": "Complete", "status": "True"}]},
        },
        {"metadata": {"namespace": "ns", "name": "model-preload-2"}, "status": {"succeeded": 0, "conditions": []}},
    ]
    assert (result["version"], result["nodes"], result["claims"]) == ("", [], [])
    server.forbidden = {"/apis/batch/v1/namespaces/ns/jobs"}
    assert "list jobs in namespace ns" in run_module(main, asked)["msg"]


def test_without_a_lock_no_image_comes_back(kubeconfig):
    result = run_module(main, {"kubeconfig": kubeconfig}, check=True)
    assert [item["status"]["images"] for item in result["nodes"]] == [[], []]


def test_every_right_that_is_missing_is_named(kubeconfig, server):
    server.forbidden = {"/api/v1/nodes", "/api/v1/namespaces/a/persistentvolumeclaims"}
    result = run_module(main, {"kubeconfig": kubeconfig, "namespaces": ["ns", "a"]})
    assert result["failed"] is True
    assert "list nodes; persistentvolumeclaims in namespace a. Give the user" in result["msg"]


def test_a_cluster_that_is_not_there(kubeconfig, server, tmp_path):
    gone = tmp_path / "gone"
    assert "cannot be used" in run_module(main, {"kubeconfig": str(gone)})["msg"]
