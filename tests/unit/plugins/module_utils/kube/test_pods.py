# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from ansible_collections.airgap.speech.plugins.module_utils.kube.admission import admission_from
from ansible_collections.airgap.speech.plugins.module_utils.kube.pods import load_documents, read_manifest
from ansible_collections.airgap.speech.plugins.module_utils.kube.podspec import ExistingReader, read_pod
from ansible_collections.airgap.speech.plugins.module_utils.kube.quantity import QuantityError
from ansible_collections.airgap.speech.plugins.module_utils.kube.terms import SpecError

GI = 2**30


def container(requests=None, limits=None, **more):
    resources = {key: value for key, value in (("requests", requests), ("limits", limits)) if value}
    return {"name": "c", "image": "x", "resources": resources, **more}


def requests_of(admission=None, **spec):
    return read_pod(spec, "default", {}, "Pod default/p", "spec", admission).pod.request_map


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"containers": [container({"cpu": "1"}), container({"cpu": "500m"})]}, {"cpu": 1500}),
        ({"containers": [container(limits={"cpu": "2", "memory": "1Gi"})]}, {"cpu": 2000, "memory": GI}),
        ({"containers": [container({"cpu": "1"}, {"cpu": "2", "memory": "1Gi"})]}, {"cpu": 1000, "memory": GI}),
        (
            {"containers": [container({"cpu": "1"})], "initContainers": [container({"cpu": "3", "memory": "1Gi"})]},
            {"cpu": 3000, "memory": GI},
        ),
        (
            {
                "containers": [container({"cpu": "1"})],
                "initContainers": [container({"cpu": "1"}, restartPolicy="Always"), container({"cpu": "2"})],
            },
            {"cpu": 3000},
        ),
        (
            {
                "containers": [container({"cpu": "3"})],
                "initContainers": [container({"cpu": "2"}), container({"cpu": "1"}, restartPolicy="Always")],
            },
            {"cpu": 4000},
        ),
        ({"containers": [container({"cpu": "1"})], "overhead": {"cpu": "250m"}}, {"cpu": 1250}),
        (
            {"containers": [container({"cpu": "1", "memory": "1Gi"})], "resources": {"requests": {"cpu": "4"}}},
            {"cpu": 4000, "memory": GI},
        ),
        ({"containers": [container(limits={"nvidia.com/gpu": 2})]}, {"nvidia.com/gpu": 2}),
        ({"containers": [container({"cpu": 0.25})]}, {"cpu": 250}),
        ({"containers": [container()]}, {}),
    ],
)
def test_effective_requests(spec, expected):
    assert requests_of(**spec) == expected


def test_limit_ranges_and_runtime_classes_are_applied():
    admission = admission_from(
        [
            {
                "kind": "LimitRange",
                "metadata": {"name": "d", "namespace": "default"},
                "spec": {
                    "limits": [{"type": "Container", "default": {"cpu": "1"}, "defaultRequest": {"memory": "1Gi"}}]
                },
            },
            {"kind": "RuntimeClass", "metadata": {"name": "kata"}, "overhead": {"podFixed": {"cpu": "100m"}}},
        ]
    )
    assert requests_of(admission, containers=[container()], runtimeClassName="kata") == {"cpu": 1100, "memory": GI}
    assert requests_of(admission, containers=[container({"cpu": "500m"})]) == {"cpu": 500, "memory": GI}


@pytest.mark.parametrize(
    ("spec", "error", "words"),
    [
        ({"containers": [container({"cpu": "1 core"})]}, QuantityError, "spec.containers[c].resources.requests.cpu"),
        (
            {"containers": [container(limits={"nvidia.com/gpu": "500m"})]},
            SpecError,
            "limits.nvidia.com/gpu: must be an integer",
        ),
        ({"containers": [container({"nvidia.com/gpu": 1})]}, SpecError, "Limit must be set"),
        (
            {"containers": [container({"nvidia.com/gpu": 1}, {"nvidia.com/gpu": 2})]},
            SpecError,
            "must be equal to nvidia.com/gpu limit",
        ),
        ({"containers": [container({"cpu": 2}, {"cpu": 1})]}, SpecError, "must be less than or equal to cpu limit"),
        ({"containers": []}, SpecError, "spec.containers: Required value"),
        (
            {"containers": [container()], "volumes": [{"name": "models", "persistentVolumeClaim": {}}]},
            SpecError,
            "spec.volumes[0].persistentVolumeClaim.claimName: Required value",
        ),
        ({"containers": [container()], "priorityClassName": "gold"}, SpecError, "no PriorityClass with name gold"),
        (
            {
                "containers": [container()],
                "affinity": {
                    "nodeAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": {
                            "nodeSelectorTerms": [
                                {"matchExpressions": [{"key": "n", "operator": "Gt", "values": ["much"]}]}
                            ]
                        }
                    }
                },
            },
            SpecError,
            "nodeSelectorTerms[0].matchExpressions[0].values: one whole number",
        ),
        (
            {"containers": [container()], "tolerations": [{"operator": "Equal"}]},
            SpecError,
            "spec.tolerations[0].operator",
        ),
        ({"containers": [container()], "nodeSelector": {"gpu": True}}, SpecError, "spec.nodeSelector.gpu: a text"),
        ({"containers": [container()], "topologySpreadConstraints": [{}]}, SpecError, "[0].maxSkew"),
    ],
)
def test_refuses_what_the_api_server_refuses(spec, error, words):
    with pytest.raises(error) as caught:
        requests_of(**spec)
    assert str(caught.value).startswith("Pod default/p: ")
    assert words in str(caught.value)


TEMPLATE = {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [container({"cpu": "1"})]}}


@pytest.mark.parametrize(
    ("kind", "spec", "count"),
    [
        ("Deployment", {"template": TEMPLATE}, 1),
        ("Deployment", {"template": TEMPLATE, "replicas": 0}, 0),
        ("StatefulSet", {"template": TEMPLATE, "replicas": 3}, 3),
        ("ReplicaSet", {"template": TEMPLATE, "replicas": 2}, 2),
        ("Job", {"template": TEMPLATE, "parallelism": 5, "completions": 2}, 2),
        ("Job", {"template": TEMPLATE, "suspend": True}, 0),
        ("CronJob", {"jobTemplate": {"spec": {"template": TEMPLATE}}}, 1),
        ("CronJob", {"jobTemplate": {"spec": {"template": TEMPLATE}}, "suspend": True}, 0),
        ("Pod", TEMPLATE["spec"], 1),
    ],
)
def test_workloads(kind, spec, count):
    (workload,) = read_manifest([{"kind": kind, "metadata": {"name": "x"}, "spec": spec}], "speech").workloads
    assert (workload.title, workload.count) == (f"{kind} speech/x", count)
    assert workload.pod.request_map == {"cpu": 1000}


def test_a_count_that_is_none_is_refused():
    with pytest.raises(SpecError, match=r"Deployment speech/x: spec.replicas: '2' is not a whole number"):
        read_manifest([{"kind": "Deployment", "metadata": {"name": "x"}, "spec": {"replicas": "2"}}], "speech")


def test_daemon_sets_tolerate_what_the_controller_adds():
    (workload,) = read_manifest(
        [{"kind": "DaemonSet", "metadata": {"name": "x"}, "spec": {"template": TEMPLATE}}], "speech"
    ).workloads
    assert "node.kubernetes.io/unschedulable" in {toleration.key for toleration in workload.pod.tolerations}


def test_stateful_pods_have_claims_of_their_own():
    spec = {"template": TEMPLATE, "replicas": 2, "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {}}]}
    manifest = read_manifest([{"kind": "StatefulSet", "metadata": {"name": "db"}, "spec": spec}], "speech")
    # Claims that are not there yet are alike, so one stands for all.
    assert manifest.claim_names == ["speech/data-db/*"]
    assert set(manifest.claims) == set(manifest.claim_names)
    manifest.found_claims(frozenset(("speech/data-db-1",)))
    assert manifest.claim_names == ["speech/data-db-1", "speech/data-db/*"]


def test_documents_open_lists_and_keep_dates_as_texts():
    documents = load_documents(
        "kind: PodList\nitems: [{metadata: {name: a}}]\n---\n---\nkind: Pod\nmetadata: {labels: {day: 2026-11-21}}\n"
    )
    assert [document["kind"] for document in documents] == ["Pod", "Pod"]
    assert documents[1]["metadata"]["labels"]["day"] == "2026-11-21"


@pytest.mark.parametrize("text", ["a: [", "- 1\n- 2\n", "plain"])
def test_documents_that_are_none(text):
    with pytest.raises(SpecError):
        load_documents(text)


def test_existing_pods():
    document = {
        "metadata": {
            "name": "web-abc-1",
            "namespace": "speech",
            "labels": {"pod-template-hash": "abc"},
            "ownerReferences": [{"kind": "ReplicaSet", "name": "web-abc", "controller": True}],
        },
        "spec": {"nodeName": "n1", "containers": [container({"cpu": "1"})]},
        "status": {"phase": "Running"},
    }
    read = ExistingReader().read
    existing = read(document)
    assert existing is not None
    assert (existing.node, existing.owner_kind, existing.owner_name) == ("n1", "Deployment", "web")
    assert existing.pod.node_name == ""
    assert read({**document, "status": {"phase": "Succeeded"}}) is None
    assert read({**document, "spec": {**document["spec"], "nodeName": ""}}) is None
