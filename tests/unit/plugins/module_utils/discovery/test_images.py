# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import textwrap

import pytest

from ansible_collections.airgap.speech.plugins.module_utils.discovery.images import (
    find_images,
    load_documents,
    upstream,
)
from ansible_collections.airgap.speech.plugins.module_utils.oci.reference import ReferenceInvalid

D = "sha256:" + "a" * 64

POD = """
apiVersion: v1
kind: Pod
metadata: {name: one}
spec:
  initContainers: [{name: i, image: "quay.io/a/init:1"}]
  containers: [{name: c, image: busybox}]
  ephemeralContainers: [{name: e, image: "ghcr.io/a/debug@DIGEST"}]
  volumes:
    - {name: m, image: {reference: "registry.example.com:5000/models/x:2"}}
    - {name: e, emptyDir: {}}
"""

CASES = [
    (
        "every kind of container of a pod, and image volumes",
        POD,
        [
            ("quay.io/a/init:1", "spec.initContainers[0].image", "pod spec", "always"),
            ("docker.io/library/busybox:latest", "spec.containers[0].image", "pod spec", "always"),
            ("ghcr.io/a/debug@" + D, "spec.ephemeralContainers[0].image", "pod spec", "always"),
            ("registry.example.com:5000/models/x:2", "spec.volumes[0].image.reference", "image volume", "always"),
        ],
    ),
    (
        "a sidecar (an init container that stays)",
        """
        apiVersion: apps/v1
        kind: Deployment
        metadata: {name: one}
        spec:
          template:
            spec:
              initContainers: [{name: s, image: "quay.io/a/side:1", restartPolicy: Always}]
              containers: [{name: c, image: "quay.io/a/main:1"}]
        """,
        [
            ("quay.io/a/side:1", "spec.template.spec.initContainers[0].image", "pod spec", "always"),
            ("quay.io/a/main:1", "spec.template.spec.containers[0].image", "pod spec", "always"),
        ],
    ),
    (
        "a CronJob, two levels deeper",
        """
        apiVersion: batch/v1
        kind: CronJob
        metadata: {name: one}
        spec: {jobTemplate: {spec: {template: {spec: {containers: [{name: c, image: "quay.io/a/cron:1"}]}}}}}
        """,
        [("quay.io/a/cron:1", "spec.jobTemplate.spec.template.spec.containers[0].image", "pod spec", "always")],
    ),
    (
        "a hook",
        """
        apiVersion: batch/v1
        kind: Job
        metadata: {name: one, annotations: {helm.sh/hook: "pre-install, pre-upgrade"}}
        spec: {template: {spec: {containers: [{name: c, image: "quay.io/a/hook:1"}]}}}
        """,
        [("quay.io/a/hook:1", "spec.template.spec.containers[0].image", "pod spec", "hook pre-install,pre-upgrade")],
    ),
    (
        "a helm test",
        """
        apiVersion: v1
        kind: Pod
        metadata: {name: one, annotations: {helm.sh/hook: test}}
        spec: {containers: [{name: c, image: "quay.io/a/test:1"}]}
        """,
        [("quay.io/a/test:1", "spec.containers[0].image", "pod spec", "test")],
    ),
    (
        "a list is opened",
        """
        apiVersion: v1
        kind: List
        items:
          - {apiVersion: v1, kind: Pod, metadata: {name: one}, spec: {containers: [{image: "quay.io/a/l:1"}]}}
        """,
        [("quay.io/a/l:1", "spec.containers[0].image", "pod spec", "always")],
    ),
    (
        "arguments: with =, apart, short names only after a flag that says image, and none of what only looks like it",
        """
        apiVersion: v1
        kind: Pod
        metadata: {name: one}
        spec:
          containers:
            - image: quay.io/a/op:1
              command: [/bin/op, "https://quay.io/a/url:1"]
              args:
                - --reloader=quay.io/a/reloader:v0.1
                - --helper-image
                - busybox:1.36
                - --selector=app.kubernetes.io/name:foo
                - --address=db.prod.svc.cluster.local/path:80
                - github.com/a/b:v1
                - name:port
                - /etc/file.yaml:8080
        """,
        [
            ("quay.io/a/op:1", "spec.containers[0].image", "pod spec", "always"),
            ("quay.io/a/reloader:v0.1", "spec.containers[0].args[0]", "argument", "always"),
            ("docker.io/library/busybox:1.36", "spec.containers[0].args[2]", "argument", "always"),
        ],
    ),
    (
        "environment: full references, short names under *_IMAGE, and no URL",
        """
        apiVersion: v1
        kind: Pod
        metadata: {name: one}
        spec:
          containers:
            - image: quay.io/a/op:1
              env:
                - {name: RELATED_IMAGE_DRIVER, value: "nvcr.io/nvidia/driver:580-ubuntu24.04"}
                - {name: HELPER_IMAGE, value: "busybox:1.36"}
                - {name: ENDPOINT, value: "https://quay.io/v2/a:1"}
                - {name: FROM_SECRET, valueFrom: {secretKeyRef: {name: a, key: b}}}
                - {name: PLAIN, value: "busybox:1.36"}
        """,
        [
            ("quay.io/a/op:1", "spec.containers[0].image", "pod spec", "always"),
            ("nvcr.io/nvidia/driver:580-ubuntu24.04", "spec.containers[0].env[0].value", "environment", "always"),
            ("docker.io/library/busybox:1.36", "spec.containers[0].env[1].value", "environment", "always"),
        ],
    ),
    (
        "custom resource: full references under keys that end in image",
        """
        apiVersion: monitoring.coreos.com/v1
        kind: Prometheus
        metadata: {name: one}
        spec:
          image: quay.io/prometheus/prometheus:v3.0.0
          baseImage: quay.io/a/base:2
          thanos: {image: "thanos/thanos:v0.30"}
          notes: {image: driver}
        """,
        [
            ("quay.io/prometheus/prometheus:v3.0.0", "spec.image", "field", "always"),
            ("quay.io/a/base:2", "spec.baseImage", "field", "always"),
            ("docker.io/thanos/thanos:v0.30", "spec.thanos.image", "field", "always"),
        ],
    ),
    (
        "custom resource: triples and pairs, also with a digest as the version; what is off is not needed",
        """
        apiVersion: nvidia.com/v1
        kind: ClusterPolicy
        metadata: {name: one}
        spec:
          driver: {repository: nvcr.io/nvidia, image: driver, version: "580.1"}
          toolkit: {repository: nvcr.io/nvidia/k8s, image: toolkit, version: "DIGEST"}
          other: {repository: quay.io/a/b, tag: 7}
          pinned: {registry: quay.io, repository: a/c, digest: "DIGEST"}
          vgpu: {enabled: false, repository: nvcr.io/nvidia, image: vgpu, version: "1"}
          chart: {repository: "https://charts.example.com", version: "1.0"}
        """,
        [
            ("nvcr.io/nvidia/driver:580.1", "spec.driver", "fields repository, image, version", "always"),
            ("nvcr.io/nvidia/k8s/toolkit@" + D, "spec.toolkit", "fields repository, image, version", "always"),
            ("quay.io/a/b:7", "spec.other", "fields repository, tag", "always"),
            ("quay.io/a/c@" + D, "spec.pinned", "fields registry, repository, digest", "always"),
            ("nvcr.io/nvidia/vgpu:1", "spec.vgpu", "fields repository, image, version", "if spec.vgpu.enabled"),
        ],
    ),
    (
        "a pod template inside a custom resource",
        """
        apiVersion: argoproj.io/v1alpha1
        kind: Rollout
        metadata: {name: one}
        spec: {template: {spec: {containers: [{name: c, image: "quay.io/a/r:1"}]}}}
        """,
        [("quay.io/a/r:1", "spec.template.spec.containers[0].image", "pod spec", "always")],
    ),
    (
        "a ConfigMap with a pod inside a string, a plain reference, text, and no module path",
        """
        apiVersion: v1
        kind: ConfigMap
        metadata: {name: one}
        data:
          helperPod.yaml: |
            apiVersion: v1
            kind: Pod
            metadata: {name: helper}
            spec: {containers: [{name: h, image: "busybox:1.37"}]}
          image: docker.io/a/b:1
          settings.json: '{"sidecar": {"image": "quay.io/a/json:1"}}'
          script: |
            ctr pull ghcr.io/a/script:2 && go install github.com/a/b:v1
          url: https://quay.io/a/b:1
        """,
        [
            ("docker.io/library/busybox:1.37", "data[helperPod.yaml].spec.containers[0].image", "config map", "always"),
            ("docker.io/a/b:1", "data[image]", "config map", "always"),
            ("quay.io/a/json:1", "data[settings.json].sidecar.image", "config map", "always"),
            ("ghcr.io/a/script:2", "data[script]", "config map", "always"),
        ],
    ),
    (
        "the schema of a custom resource names no image",
        """
        apiVersion: apiextensions.k8s.io/v1
        kind: CustomResourceDefinition
        metadata: {name: one}
        spec: {versions: [{schema: {image: "quay.io/a/b:1", description: "such as quay.io/a/b:1"}}]}
        """,
        [],
    ),
    (
        "kinds without images",
        """
        apiVersion: v1
        kind: Service
        metadata: {name: one, labels: {image: "quay.io/a/b:1"}}
        spec: {ports: [{port: 80}]}
        """,
        [],
    ),
]


@pytest.mark.parametrize(("text", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_find_images(text: str, expected: list[tuple[str, str, str, str]]) -> None:
    found = find_images(load_documents(textwrap.dedent(text).replace("DIGEST", D)))
    assert sorted((f.reference, f.path, f.found, f.needed) for f in found) == sorted(expected)
    assert {f.name for f in found} <= {"one"}


REGISTRY = "registry.airgap.internal:5000"


@pytest.mark.parametrize(
    ("text", "registry", "expected"),
    [
        ("busybox", "", "docker.io/library/busybox:latest"),
        (REGISTRY + "/docker.io/library/python:3.11-slim", REGISTRY, "docker.io/library/python:3.11-slim"),
        (REGISTRY + "/quay.io/a/b@" + D, REGISTRY, "quay.io/a/b@" + D),
        (REGISTRY + "/cache.example.com_5000/a/b:1", REGISTRY, "cache.example.com:5000/a/b:1"),
        (REGISTRY + "/models/whisper:1", REGISTRY, "models/whisper:1"),
        (REGISTRY + "/mirror/ghcr.io/a/b:1", REGISTRY + "/mirror", "ghcr.io/a/b:1"),
        (REGISTRY + "/quay.io/a/b:1", "", REGISTRY + "/quay.io/a/b:1"),
        ("registry.airgap.internal:50001/a/b:1", REGISTRY, "registry.airgap.internal:50001/a/b:1"),
    ],
)
def test_upstream(text: str, registry: str, expected: str) -> None:
    assert upstream(text, registry) == expected


def test_upstream_refuses_a_path_without_upstream_host() -> None:
    with pytest.raises(ReferenceInvalid, match="upstream host"):
        upstream(REGISTRY + "/speech/app:1", REGISTRY)


def test_one_finding_a_place() -> None:
    documents = load_documents(POD.replace("DIGEST", D)) * 2
    assert len(find_images(documents)) == 4
