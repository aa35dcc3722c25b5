# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verdict against what the real scheduler did with the same nodes and pods (scheduler_cases.yml)."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import yaml

from ansible_collections.airgap.speech.plugins.module_utils.kube.capacity import assess, describe
from ansible_collections.airgap.speech.plugins.module_utils.kube.nodes import read_pools
from ansible_collections.airgap.speech.plugins.module_utils.kube.pods import load_documents, read_manifest
from ansible_collections.airgap.speech.plugins.module_utils.kube.podspec import Existing
from ansible_collections.airgap.speech.plugins.module_utils.kube.snapshot import Snapshot

CASES = yaml.safe_load((Path(__file__).parent / "scheduler_cases.yml").read_text())["cases"]


def cluster(pools, **more):
    return Snapshot(nodes=read_pools(pools), minor=36, **more)


def judge(pools, documents, namespace="default", release="", **more):
    return assess(documents, namespace, cluster(pools, **more), release)[0]


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_agrees_with_the_real_scheduler(case):
    verdict = judge(case["nodes"], case["manifest"])
    pending: dict[str, int] = {}
    for shortfall in verdict.shortfalls:
        app = shortfall.workload.rpartition("/")[2]
        pending[app] = pending.get(app, 0) + shortfall.pods
    assert pending == case["pending"]
    assert verdict.verdict == ("does_not_fit" if case["pending"] else "fits")
    for shortfall in verdict.shortfalls:
        assert shortfall.message in case["events"][shortfall.workload.rpartition("/")[2]]


def deployment(name="app", replicas=1, cpu="1", **spec):
    container = {"name": "c", "image": "registry.example/x", "resources": {"requests": {"cpu": cpu}}}
    return {
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container], **spec}},
        },
    }


def pool(count=2, cpu="4", **more):
    return {"name": "worker", "count": count, "allocatable": {"cpu": cpu, "memory": "8Gi"}, **more}


def running(document, node, name="app-1", **changes):
    """A pod of a deployment as a cluster runs it."""
    pod = read_manifest([document], "default").workloads[0].pod
    return Existing(name, node, pod, "Deployment", document["metadata"]["name"], **changes)


def test_order_dependent_where_a_tie_decides():
    # The small pod takes one of two equal nodes, and only one of them is large enough for what comes after it.
    pools = [
        pool(1, "4", labels={"kind": "wanted"}),
        {**pool(1, "4"), "name": "other"},
    ]
    documents = [deployment("small", 1, "1"), deployment("large", 1, "4", nodeSelector={"kind": "wanted"})]
    verdict = judge(pools, documents)
    assert verdict.verdict == "order_dependent"
    assert not verdict.fits
    assert verdict.exhaustive
    assert [item.workload for item in verdict.shortfalls] == ["Deployment default/large"]


def test_scores_decide_where_nodes_are_not_equal():
    # The same pods, but the node that they need is the fuller one, so the small pod goes to the other.
    pools = [pool(1, "4", labels={"kind": "wanted"}), {**pool(1, "8"), "name": "other"}]
    documents = [deployment("small", 1, "1"), deployment("large", 1, "4", nodeSelector={"kind": "wanted"})]
    assert judge(pools, documents).verdict == "fits"


def test_a_release_that_runs_already_fits_again():
    document = deployment(replicas=4, cpu="2")
    existing = [running(document, f"worker-{index % 2 + 1}", f"app-{index}") for index in range(4)]
    verdict = judge([pool()], [document], existing=existing)
    assert (verdict.verdict, verdict.kept, verdict.pods) == ("fits", 4, 4)


def test_pods_of_others_take_room():
    document = deployment(replicas=4, cpu="2")
    existing = [running(deployment("other", cpu="2"), "worker-1", "other-1")]
    verdict = judge([pool()], [document], existing=existing)
    assert verdict.verdict == "does_not_fit"
    assert verdict.shortfalls[0].pods == 1


def test_a_changed_template_takes_the_place_of_the_running_pods():
    existing = [running(deployment(cpu="2"), f"worker-{index}", f"app-{index}") for index in (1, 2)]
    verdict = judge([pool()], [deployment(replicas=2, cpu="4")], existing=existing)
    assert (verdict.verdict, verdict.kept) == ("fits", 0)


def test_pods_of_the_release_that_no_longer_stand_in_the_manifest_take_no_room():
    old = deployment("old", cpu="4")
    old["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/instance"] = "speech"
    existing = [running(old, "worker-1", "old-1")]
    new = [deployment("new", cpu="4")]
    assert judge([pool(1)], new, release="speech", existing=existing).verdict == "fits"
    assert judge([pool(1)], new, release="other", existing=existing).verdict == "does_not_fit"


def hook(name, moment, cpu):
    document = copy.deepcopy(deployment(name, cpu=cpu))
    template = document["spec"]["template"]
    annotations = {"helm.sh/hook": moment}
    return {"kind": "Pod", "metadata": {"name": name, "annotations": annotations}, "spec": template["spec"]}


@pytest.mark.parametrize(
    ("moment", "cpu", "verdict"),
    [
        ("test", "1", "fits"),
        ("test", "2", "does_not_fit"),
        ("pre-install", "4", "fits"),
        ("pre-install,post-install", "2", "does_not_fit"),
        ("pre-delete", "9", "fits"),
    ],
)
def test_hooks_need_room_at_their_moment_only(moment, cpu, verdict):
    documents = [deployment("app", 1, "3"), hook("one", moment, cpu), hook("two", moment, cpu)]
    assert judge([pool(1)], documents).verdict == verdict


def test_autoscalers_ask_for_their_smallest():
    document = deployment()
    del document["spec"]["replicas"]
    scaler = {
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "app"},
        "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "app"}, "minReplicas": 3, "maxReplicas": 9},
    }
    assert judge([pool()], [document, scaler]).pods == 3


def claim(name, **spec):
    return {"kind": "PersistentVolumeClaim", "metadata": {"name": name, "namespace": "default"}, "spec": spec}


def storage_class(provisioner):
    metadata = {"name": "standard", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}
    return {"metadata": metadata, "provisioner": provisioner, "volumeBindingMode": "WaitForFirstConsumer"}


def with_volume(document, name):
    document["spec"]["template"]["spec"]["volumes"] = [{"name": "v", "persistentVolumeClaim": {"claimName": name}}]
    return document


def test_a_bound_volume_keeps_its_pods_on_its_node():
    terms = [{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["worker-2"]}]}]
    volume = {"metadata": {"name": "pv"}, "spec": {"nodeAffinity": {"required": {"nodeSelectorTerms": terms}}}}
    objects = {"PersistentVolumeClaim": [claim("models", volumeName="pv")], "PersistentVolume": [volume]}
    fits = judge([pool()], [with_volume(deployment(replicas=4), "models")], objects=objects)
    assert fits.verdict == "fits"
    assert set(fits.placements) == {"worker-2"}
    short = judge([pool()], [with_volume(deployment(replicas=5), "models")], objects=objects)
    assert short.shortfalls[0].message == (
        "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) didn't match PersistentVolume's node affinity."
    )


def test_a_volume_of_a_node_takes_all_its_pods_to_the_first_ones_node():
    objects = {"PersistentVolumeClaim": [claim("models")], "StorageClass": [storage_class("rancher.io/local-path")]}
    documents = [with_volume(deployment("a", 2), "models"), with_volume(deployment("b", 2), "models")]
    verdict = judge([pool()], documents, objects=objects)
    assert verdict.verdict == "fits"
    assert len(verdict.placements) == 1
    objects["StorageClass"] = [storage_class("disk.csi.example")]
    assert len(judge([pool()], documents, objects=objects).placements) == 2


@pytest.mark.parametrize(
    ("change", "note"),
    [
        ({"schedulerName": "other"}, "schedulerName other"),
        ({"resourceClaims": [{"name": "gpu"}]}, "DRA"),
        ({"schedulingGates": [{"name": "quota"}]}, "schedulingGates"),
        ({"workloadRef": {"name": "w", "podGroup": "g"}}, "a group that is scheduled together"),
        ({"schedulingGroup": {"podGroupName": "g"}}, "a group that is scheduled together"),
        ({"runtimeClassName": "kata"}, "RuntimeClass kata: not found"),
        ({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "models"}}]}, "it is not there yet"),
        ({"volumes": [{"name": "v", "iscsi": {"iqn": "i", "lun": 0, "targetPortal": "t"}}]}, "volume v: iscsi"),
    ],
)
def test_what_is_not_modelled_is_said(change, note):
    """Never a silent fits: what the verdict is without stands beside it."""
    document = deployment()
    document["spec"]["template"]["spec"].update(change)
    verdict = judge([pool()], [document])
    assert verdict.verdict == "fits"
    assert any(note in entry for entry in verdict.not_modelled)


def test_objects_that_are_not_modelled_are_said():
    gpu = deployment()
    gpu["spec"]["template"]["spec"]["containers"][0]["resources"] = {"limits": {"nvidia.com/gpu": 1}}
    device_class = {"kind": "DeviceClass", "metadata": {"name": "gpu"}}
    device_class["spec"] = {"extendedResourceName": "nvidia.com/gpu"}
    nodes = pool(allocatable={"cpu": "4", "memory": "8Gi", "nvidia.com/gpu": 1})
    objects = {"DeviceClass": [device_class]}
    for template in ({"kind": "ResourceClaimTemplate"}, {"kind": "ResourceClaim"}):
        named = {**template, "metadata": {"name": "gpu"}}
        assert judge([pool()], [named, deployment()]).not_modelled == [
            f"{template['kind']} default/gpu: devices asked by claim (DRA)"
        ]
    verdict = judge([nodes], [gpu], objects=objects)
    assert verdict.not_modelled == ["DeviceClass gpu: devices that it gives for an extended resource (DRA)"]
    # A claim of the manifest itself that is bound at once: where its volume comes to lie, nobody knows yet.
    at_once = storage_class("disk.csi.example")
    at_once["volumeBindingMode"] = "Immediate"
    documents = [claim("models"), with_volume(deployment(), "models")]
    verdict = judge([pool()], documents, objects={"StorageClass": [at_once]})
    assert any("not bound yet" in note for note in verdict.not_modelled)
    # One that the cluster has and has not bound keeps its pods waiting.
    objects = {"StorageClass": [at_once], "PersistentVolumeClaim": [claim("models")]}
    verdict = judge([pool()], [with_volume(deployment(), "models")], objects=objects)
    assert (verdict.verdict, verdict.not_modelled) == ("does_not_fit", [])


def test_headroom_counts_further_pods():
    assert judge([pool()], [deployment(replicas=3)]).headroom == {"Deployment default/app": 5}


def test_older_schedulers_name_the_taint():
    pools = [pool(1, taints=[{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}])]
    snapshot = Snapshot(nodes=read_pools(pools), minor=33)
    verdict, _manifest = assess([deployment()], "default", snapshot)
    assert verdict.shortfalls[0].message == (
        "0/1 nodes are available: 1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }."
    )


def test_many_nodes_are_searched_within_a_budget():
    pools = [{**pool(1, str(4 + number)), "name": f"size-{number}"} for number in range(110)]
    # Half of what is there cannot use up every node, so no order has to be followed.
    verdict = judge(pools, [deployment(replicas=60, cpu="3")])
    assert (verdict.verdict, verdict.exhaustive) == ("fits", True)
    # Nearly all of it could, were the small pods placed badly.
    tight = judge(pools, [deployment("small", replicas=300, cpu="3"), deployment(replicas=30, cpu="60")])
    assert (tight.verdict, tight.exhaustive) == ("fits", False)
    short = judge([pool(120)], [deployment(replicas=121, cpu="3")])
    assert (short.verdict, short.exhaustive) == ("does_not_fit", True)


def test_priority_goes_first():
    first = deployment("system", cpu="3", priorityClassName="system-cluster-critical")
    verdict = judge([pool(1)], [deployment("low", cpu="3"), first])
    assert [item.workload for item in verdict.shortfalls] == ["Deployment default/low"]


def test_the_text_names_workloads_shortfalls_and_what_is_missing():
    documents = load_documents(yaml.dump_all([deployment(replicas=3, cpu="3"), deployment("gpu", cpu="1")]))
    verdict, manifest = assess(documents, "speech", cluster([pool()]), "speech")
    text = describe(verdict, manifest, "speech", "speech")
    assert text.splitlines()[0] == (
        "capacity: release speech in namespace speech: does_not_fit: pods would stay pending (4 pods, 2 nodes)"
    )
    assert "- Deployment speech/app: 1 pod(s) pending: 0/2 nodes are available: 2 Insufficient cpu." in text
    assert "a pod asks for 3 of cpu; the node with the most has 1 free" in text
    assert "workload" in text


@pytest.mark.parametrize(
    ("minor", "words"),
    [
        (32, "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) didn't satisfy plugin(s) [NodeAffinity]."),
        # It leaves out the nodes that it did not look at.
        (31, "0/2 nodes are available: 1 Insufficient cpu."),
    ],
)
def test_nodes_that_a_pod_does_not_name(minor, words):
    document = deployment(cpu="8")
    named = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["worker-1"]}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [named]}}
    document["spec"]["template"]["spec"]["affinity"] = {"nodeAffinity": required}
    verdict, _manifest = assess([document], "default", Snapshot(nodes=read_pools([pool()]), minor=minor))
    assert verdict.shortfalls[0].message == words
