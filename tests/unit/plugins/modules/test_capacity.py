# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import http.server
import json
import os
import re
import shutil
import threading
import types
import urllib.parse
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args

from ansible_collections.airgap.speech.plugins.module_utils.kube.quantity import QuantityError
from ansible_collections.airgap.speech.plugins.module_utils.kube.terms import SpecError
from ansible_collections.airgap.speech.plugins.modules import capacity

NODES = """
pools:
  - name: worker
    count: 2
    allocatable: {cpu: 4, memory: 8Gi}
"""
MANIFEST = """
kind: Deployment
metadata: {name: app}
spec:
  replicas: %s
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}}
    spec:
      containers:
        - name: c
          image: registry.example/x
          resources: {requests: {cpu: %s}}
"""


def run(tmp_path, manifest, **params):
    (tmp_path / "nodes.yml").write_text(NODES)
    defaults = {
        "manifest": manifest,
        "manifest_file": None,
        "chart": None,
        "values": {},
        "helm": "helm",
        "namespace": "speech",
        "release": "speech",
        "kubeconfig": None,
        "context": None,
        "cluster_file": str(tmp_path / "nodes.yml"),
        "releases": None,
        "questions": ["now"],
        "tolerate_nodes": 1,
    }
    return capacity.run(types.SimpleNamespace(params={**defaults, **params}))


@pytest.mark.parametrize(
    ("replicas", "cpu", "verdict", "pending"),
    [(2, "4", "fits", 0), (3, "4", "does_not_fit", 1), (1, "5", "does_not_fit", 1)],
)
def test_a_cluster_from_a_file(tmp_path, replicas, cpu, verdict, pending):
    result = run(tmp_path, MANIFEST % (replicas, cpu))
    assert (result["verdict"], result["fits"]) == (verdict, verdict == "fits")
    assert sum(item["pods"] for item in result["shortfalls"]) == pending
    assert f": {verdict}: " in result["message"]


def test_a_manifest_from_a_file(tmp_path):
    (tmp_path / "manifest.yml").write_text(MANIFEST % (1, "1"))
    assert run(tmp_path, None, manifest_file=str(tmp_path / "manifest.yml"))["fits"]
    with pytest.raises(SpecError, match=r"gone\.yml: it cannot be read"):
        run(tmp_path, None, manifest_file=str(tmp_path / "gone.yml"))


def test_a_wrong_quantity_names_object_and_field(tmp_path):
    with pytest.raises(QuantityError) as caught:
        run(tmp_path, MANIFEST % (1, "two"))
    assert "Deployment speech/app: spec.template.spec.containers[c].resources.requests.cpu: 'two'" in str(caught.value)


DOCS = Path(__file__).parents[4] / "docs" / "capacity.md"


def call(capsys, **args):
    with patch_module_args(args), pytest.raises(SystemExit):
        capacity.main()
    return json.loads(capsys.readouterr().out)


def test_the_examples_of_the_page(tmp_path, capsys):
    """docs/capacity.md: the task's options are taken, and the pools are nodes."""
    task, cluster = (yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", DOCS.read_text(), re.DOTALL))
    (tmp_path / "nodes.yml").write_text(yaml.safe_dump(cluster))
    (tmp_path / "speech.yaml").write_text(MANIFEST % (2, "4"))
    args = task[0]["airgap.speech.capacity"]
    del args["kubeconfig"]
    args |= {"manifest_file": str(tmp_path / "speech.yaml"), "cluster_file": str(tmp_path / "nodes.yml")}
    result = call(capsys, **args)
    assert list(result["answers"]) == ["now", "rolling_update", "lost_nodes"]
    assert (result["verdict"], result["nodes"]) == ("does_not_fit", 4)
    assert result["remedies"][0]["kind"] == "toleration"


def test_several_releases_have_to_fit_together(tmp_path, capsys):
    (tmp_path / "nodes.yml").write_text(NODES)
    (tmp_path / "other.yml").write_text(MANIFEST % (1, "4"))
    releases = [
        {"name": "a", "namespace": "one", "manifest": MANIFEST % (1, "4")},
        {"name": "b", "namespace": "two", "manifest_file": str(tmp_path / "other.yml")},
    ]
    result = call(capsys, releases=releases, cluster_file=str(tmp_path / "nodes.yml"))
    assert (result["verdict"], sorted(result["headroom"])) == ("fits", ["Deployment one/app", "Deployment two/app"])
    releases.append({**releases[0], "namespace": "three"})
    result = call(capsys, releases=releases, cluster_file=str(tmp_path / "nodes.yml"))
    assert [item["workload"] for item in result["shortfalls"]] == ["Deployment three/app"]
    assert result["message"].startswith("capacity: release a in namespace one and release b in namespace two and ")


CHART = {
    "Chart.yaml": "apiVersion: v2\nname: app\nversion: 1.0.0\nkubeVersion: '>=1.31.0'\n",
    "values.yaml": "replicas: 1\ncpu: 1\n",
    "templates/app.yaml": (MANIFEST % ("{{ .Values.replicas }}", "{{ .Values.cpu | quote }}")).replace(
        "{name: app}", "{name: '{{ .Release.Name }}'}", 1
    ),
}


@pytest.fixture
def chart(tmp_path):
    for name, text in CHART.items():
        file = tmp_path / "chart" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return str(tmp_path / "chart")


@pytest.fixture
def helm():
    """The real one: on the path, or built for the sandbox."""
    cache = Path(os.environ.get("AIRGAP_SPEECH_CACHE") or Path.home() / ".cache/airgap-speech")
    found = shutil.which("helm") or next(iter(sorted(str(path) for path in cache.glob("go/helm/*/bin/helm"))), None)
    assert found, "no helm: install it, or build the sandbox's: .venv/bin/python -m sandbox build helm"
    return found


def test_a_chart_with_its_values(tmp_path, capsys, chart, helm):
    (tmp_path / "nodes.yml").write_text(NODES)
    asked = {"chart": chart, "helm": helm, "release": "speech", "cluster_file": str(tmp_path / "nodes.yml")}
    result = call(capsys, **asked)
    assert (result["verdict"], result["pods"]) == ("fits", 1)
    result = call(capsys, **asked, values={"replicas": 3, "cpu": "4"})
    assert (result["verdict"], result["shortfalls"][0]["workload"]) == ("does_not_fit", "Deployment default/speech")
    both = [{"chart": chart, "values": {"cpu": "4"}, "name": name, "namespace": name} for name in ("one", "two")]
    result = call(capsys, releases=both, helm=helm, cluster_file=str(tmp_path / "nodes.yml"))
    assert (result["verdict"], result["pods"]) == ("fits", 2)


def test_a_chart_is_rendered_for_the_version_of_the_cluster(kubeconfig, capsys, chart, helm):
    Path(chart, "Chart.yaml").write_text(CHART["Chart.yaml"].replace("1.31.0", "1.36.0"))
    assert call(capsys, chart=chart, helm=helm, kubeconfig=kubeconfig)["verdict"] == "fits"
    Path(chart, "Chart.yaml").write_text(CHART["Chart.yaml"].replace("1.31.0", "1.37.0"))
    result = call(capsys, chart=chart, helm=helm, kubeconfig=kubeconfig)
    assert result["failed"]
    assert result["msg"].startswith(f"chart {chart}: helm says Error: chart requires kubeVersion: >=1.37.0")


def test_a_chart_that_is_not_there(tmp_path, capsys):
    (tmp_path / "nodes.yml").write_text(NODES)
    result = call(capsys, chart=str(tmp_path / "gone"), cluster_file=str(tmp_path / "nodes.yml"))
    assert result["failed"]
    assert "gone: does not exist; name a directory" in result["msg"]


@pytest.mark.parametrize("args", [{}, {"manifest": "a: 1", "releases": [{"manifest": "a: 1"}]}, {"releases": [{}]}])
def test_one_way_to_name_what_is_to_be_placed(args, capsys):
    result = call(capsys, cluster_file="nodes.yml", **args)
    assert result["failed"]
    assert "required" in result["msg"] or "mutually exclusive" in result["msg"]


class Api(http.server.BaseHTTPRequestHandler):
    """An API server that has nodes and pods, in pages of two, and lets a user list some kinds only."""

    forbidden: frozenset[str] = frozenset()
    methods: set[str] = set()

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        self.methods.add(self.command)
        plural = url.path.rpartition("/")[2]
        if plural in self.forbidden:
            self.answer(403, {})
        elif plural == "version":
            self.answer(200, {"minor": "36+"})
        else:
            items = {"nodes": [node(number) for number in range(5)], "pods": [pod(number) for number in range(9)]}
            found = items.get(plural, [])
            start = int(query.get("continue", "0"))
            more = {"continue": str(start + 2)} if len(found) > start + 2 else {}
            self.answer(200, {"metadata": more, "items": found[start : start + 2]})

    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        pass


def node(number):
    allocatable = {"cpu": "4", "memory": "8Gi", "pods": "10"}
    return {"metadata": {"name": f"n{number}"}, "spec": {}, "status": {"allocatable": allocatable}}


def pod(number):
    container = {"name": "c", "resources": {"requests": {"cpu": "1"}}}
    spec = {"nodeName": f"n{number % 5}", "containers": [container]}
    return {"metadata": {"name": f"p{number}", "namespace": "other"}, "spec": spec, "status": {"phase": "Running"}}


@pytest.fixture
def kubeconfig(tmp_path):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Api)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_address[1]}"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": {}}],
    }
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
    Api.forbidden = frozenset()
    Api.methods.clear()
    yield str(tmp_path / "kubeconfig")
    server.shutdown()
    server.server_close()


def test_a_cluster_from_its_api(kubeconfig, capsys):
    # Two of theirs run on each node but the last, which has one: it alone takes a pod of three.
    result = call(capsys, manifest=MANIFEST % (3, "2"), kubeconfig=kubeconfig, namespace="speech")
    assert (result["verdict"], result["nodes"], result["kubernetes_minor"]) == ("fits", 5, 36)
    assert call(capsys, manifest=MANIFEST % (2, "3"), kubeconfig=kubeconfig)["verdict"] == "does_not_fit"
    assert Api.methods == {"GET"}


def test_the_rights_that_are_missing(kubeconfig, capsys):
    Api.forbidden = frozenset(("pods", "limitranges"))
    result = call(capsys, manifest=MANIFEST % (3, "2"), kubeconfig=kubeconfig, namespace="speech")
    assert result["failed"]
    assert "list pods in all namespaces; limitranges in namespace speech." in result["msg"]
