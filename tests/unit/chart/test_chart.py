# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The chart of open_speech, rendered by the real helm: what comes out of which values, and which values are refused."""

from __future__ import annotations

import copy
import functools
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

CHART = Path(__file__).parents[3] / "roles/speech_platform/profiles/open_speech/chart"
DIGEST = "sha256:" + "ab" * 32


@functools.lru_cache(maxsize=1)
def helm_binary() -> str | None:
    """The helm that is named, on the path, or built for the sandbox."""
    named = os.environ.get("AIRGAP_SPEECH_HELM")
    if named:
        return named  # where it is named, it has to be there: no skip
    cache = Path(os.environ.get("AIRGAP_SPEECH_CACHE", "~/.cache/airgap-speech")).expanduser()
    built = sorted(str(path) for path in cache.glob("go/helm/*/bin/helm"))
    return shutil.which("helm") or (built[-1] if built else None)


def helm(*arguments: str, values: dict[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
    """Run helm; values go in by standard input."""
    binary = helm_binary()
    if binary is None:
        pytest.skip("no helm: set AIRGAP_SPEECH_HELM, or build the sandbox's tools")
    argv = [binary, *arguments, "--values=-"]
    return subprocess.run(argv, input=json.dumps(values or {}), capture_output=True, text=True, check=False)


def render(values: dict[str, Any] | None = None) -> dict[tuple[str, str], dict[str, Any]]:
    """The objects of a release named `speech`, by kind and name."""
    done = helm("template", "speech", str(CHART), "--namespace=voice", "--kube-version=1.36.0", values=values)
    assert done.returncode == 0, done.stderr
    documents = [document for document in yaml.safe_load_all(done.stdout) if document]
    objects = {(document["kind"], document["metadata"]["name"]): document for document in documents}
    assert len(objects) == len(documents), "two objects have one name"
    return objects


def refused(values: dict[str, Any]) -> str:
    """What helm says when it refuses the values."""
    done = helm("template", "speech", str(CHART), values=values)
    assert done.returncode != 0, "helm took these values"
    return done.stderr


def deployment(values: dict[str, Any], engine: str = "stt") -> dict[str, Any]:
    return render(values)["Deployment", f"speech-open-speech-{engine}"]


def pod(values: dict[str, Any], engine: str = "stt") -> dict[str, Any]:
    spec: dict[str, Any] = deployment(values, engine)["spec"]["template"]["spec"]
    return spec


FULL: dict[str, Any] = {
    "fullnameOverride": "speech",
    "commonLabels": {"team": "voice"},
    "image": {"registry": "registry.internal:5000/ghcr.io", "digest": DIGEST},
    "imagePullSecrets": [{"name": "airgap-registry"}],
    "stt": {
        "replicas": 2,
        "gpu": {"enabled": True, "count": 2, "runtimeClassName": "nvidia"},
        "autoscaling": {"enabled": True, "minReplicas": 2, "maxReplicas": 5},
        "podDisruptionBudget": {"minAvailable": "50%"},
        "nodeSelector": {"pool": "speech"},
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
        "affinity": {"podAntiAffinity": {}},
        "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}],
        "priorityClassName": "calls",
        "podAnnotations": {"a": "b"},
        "podLabels": {"c": "d"},
        "extraEnv": [{"name": "OPEN_SPEECH_BEAM_SIZE", "value": "1"}],
        "strategy": {"type": "Recreate"},
        "service": {"type": "NodePort", "port": 80},
    },
    "networkPolicy": {"ingress": {"from": [{"namespaceSelector": {"matchLabels": {"calls": "yes"}}}]}},
    "metrics": {"serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}}},
}


@pytest.mark.parametrize("values", [{}, FULL], ids=["defaults", "full"])
def test_lint(values: dict[str, Any]) -> None:
    done = helm("lint", "--strict", str(CHART), values=values)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("values", [{}, FULL], ids=["defaults", "full"])
def test_every_object_has_the_standard_labels_and_the_namespace(values: dict[str, Any]) -> None:
    for (kind, name), found in render(values).items():
        labels = found["metadata"]["labels"]
        assert found["metadata"]["namespace"] == "voice", (kind, name)
        assert labels["app.kubernetes.io/name"] == "open-speech"
        assert labels["app.kubernetes.io/instance"] == "speech"
        assert labels["app.kubernetes.io/version"] == "0.1.0"
        assert labels["app.kubernetes.io/managed-by"] == "Helm"


@pytest.mark.parametrize("values", [{}, FULL], ids=["defaults", "full"])
def test_every_pod_obeys_restricted(values: dict[str, Any]) -> None:
    specs = [
        found["spec"]["template"]["spec"] if kind == "Deployment" else found["spec"]
        for (kind, _name), found in render(values).items()
        if kind in ("Deployment", "Pod")
    ]
    assert len(specs) == 3
    for spec in specs:
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] == 65532
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
        assert all(set(volume) & {"secret", "emptyDir", "persistentVolumeClaim"} for volume in spec["volumes"])
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "privileged": False,
                "readOnlyRootFilesystem": True,
                "runAsNonRoot": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert set(container["resources"]["requests"]) == {"cpu", "memory"}
            assert "memory" in container["resources"]["limits"]


def test_the_server_is_told_what_its_contract_says() -> None:
    shared = {
        "OPEN_SPEECH_PORT": "8000",
        "OPEN_SPEECH_MODELS_DIR": "/models",
        "OPEN_SPEECH_API_KEYS_DIR": "/etc/open-speech/api-keys",
        "OPEN_SPEECH_CONCURRENCY": "1",
        "OPEN_SPEECH_THREADS": "2",
        "OPEN_SPEECH_DEVICE": "cpu",
    }
    own: dict[str, dict[str, str]] = {
        "stt": {"OPEN_SPEECH_STT_MODEL": "whisper-tiny-en", "OPEN_SPEECH_VAD_MODEL": "silero-vad"},
        "tts": {"OPEN_SPEECH_TTS_VOICES": "one,two"},
    }
    for engine in ("stt", "tts"):
        (container,) = pod({"tts": {"voices": ["one", "two"]}}, engine)["containers"]
        assert {entry["name"]: entry["value"] for entry in container["env"]} == {
            **shared,
            **own[engine],
            "OPEN_SPEECH_ENGINES": engine,
        }
        assert container["startupProbe"]["httpGet"] == {"path": "/healthz/live", "port": "http"}
        assert container["livenessProbe"]["httpGet"] == {"path": "/healthz/live", "port": "http"}
        assert container["readinessProbe"]["httpGet"] == {"path": "/healthz/ready", "port": "http"}
        mounts = {mount["mountPath"]: mount.get("readOnly", False) for mount in container["volumeMounts"]}
        assert mounts == {"/models": True, "/etc/open-speech/api-keys": True, "/tmp": False}


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ({}, "ghcr.io/airgap-speech/open-speech:0.1.0"),
        ({"tag": "1.2"}, "ghcr.io/airgap-speech/open-speech:1.2"),
        ({"registry": "r.internal:5000/ghcr.io"}, "r.internal:5000/ghcr.io/airgap-speech/open-speech:0.1.0"),
        ({"registry": ""}, "airgap-speech/open-speech:0.1.0"),
        ({"digest": DIGEST}, f"ghcr.io/airgap-speech/open-speech:0.1.0@{DIGEST}"),
    ],
)
def test_image(image: dict[str, str], expected: str) -> None:
    objects = render({"image": image})
    names = {
        container["image"]
        for (kind, _name), found in objects.items()
        if kind in ("Deployment", "Pod")
        for container in (found["spec"]["template"]["spec"] if kind == "Deployment" else found["spec"])["containers"]
    }
    assert names == {expected}


@pytest.mark.parametrize(
    ("volume", "source"),
    [
        ({}, {"persistentVolumeClaim": {"claimName": "speech-models", "readOnly": True}}),
        ({"pvc": {"name": "own"}}, {"persistentVolumeClaim": {"claimName": "own", "readOnly": True}}),
        (
            {"type": "node_directory", "nodeDirectory": {"path": "/srv/models"}},
            {"hostPath": {"path": "/srv/models", "type": "Directory"}},
        ),
    ],
)
def test_model_volume(volume: dict[str, Any], source: dict[str, Any]) -> None:
    for engine in ("stt", "tts"):
        assert {"name": "models", **source} in pod({"models": {"volume": volume}}, engine)["volumes"]


def test_image_volumes() -> None:
    models = [
        {"name": "whisper-tiny-en", "reference": f"r.internal:5000/models/whisper-tiny-en@{DIGEST}"},
        {"name": "voice.en_us", "reference": f"r.internal:5000/models/voice@{DIGEST}"},
    ]
    spec = pod({"models": {"volume": {"type": "image", "image": {"models": models}}}})
    volumes = {volume["name"]: volume["image"] for volume in spec["volumes"] if "image" in volume}
    (container,) = spec["containers"]
    mounted = {
        mount["mountPath"]: volumes[mount["name"]] for mount in container["volumeMounts"] if mount["name"] in volumes
    }
    assert mounted == {
        f"/models/{model['name']}": {"reference": model["reference"], "pullPolicy": "IfNotPresent"} for model in models
    }
    assert all("." not in name and "_" not in name and len(name) <= 63 for name in volumes)


def test_gpu_on_request_only() -> None:
    for engine in ("stt", "tts"):
        assert "nvidia.com/gpu" not in pod({}, engine)["containers"][0]["resources"]["limits"]
    spec = pod(
        {"stt": {"gpu": {"enabled": True, "resourceName": "amd.com/gpu", "count": 2, "runtimeClassName": "rocm"}}}
    )
    assert spec["containers"][0]["resources"]["limits"] == {"memory": "1Gi", "amd.com/gpu": 2}
    assert spec["runtimeClassName"] == "rocm"
    assert {"name": "OPEN_SPEECH_DEVICE", "value": "cuda"} in spec["containers"][0]["env"]
    assert "runtimeClassName" not in pod({"stt": {"gpu": {"enabled": True}}})


def test_scheduling_and_metadata() -> None:
    found = render(FULL)["Deployment", "speech-stt"]
    template = found["spec"]["template"]
    spec = template["spec"]
    assert spec["nodeSelector"] == {"pool": "speech"}
    assert spec["tolerations"] == [{"key": "gpu", "operator": "Exists"}]
    assert spec["affinity"] == {"podAntiAffinity": {}}
    assert spec["priorityClassName"] == "calls"
    assert spec["topologySpreadConstraints"] == [
        {
            "maxSkew": 1,
            "topologyKey": "zone",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": found["spec"]["selector"]["matchLabels"]},
        }
    ]
    assert spec["imagePullSecrets"] == [{"name": "airgap-registry"}]
    assert template["metadata"]["annotations"]["a"] == "b"
    assert template["metadata"]["labels"]["c"] == "d"
    assert template["metadata"]["labels"]["team"] == "voice"
    assert {"name": "OPEN_SPEECH_BEAM_SIZE", "value": "1"} in spec["containers"][0]["env"]
    assert found["spec"]["strategy"] == {"type": "Recreate"}
    assert "tolerations" not in render(FULL)["Deployment", "speech-tts"]["spec"]["template"]["spec"]


def test_autoscaling_takes_the_replicas_over() -> None:
    assert deployment({})["spec"]["replicas"] == 1
    assert not [kind for kind, _name in render() if kind == "HorizontalPodAutoscaler"]
    objects = render(FULL)
    assert "replicas" not in objects["Deployment", "speech-stt"]["spec"]
    scaler = objects["HorizontalPodAutoscaler", "speech-stt"]
    assert scaler["apiVersion"] == "autoscaling/v2"
    assert (scaler["spec"]["minReplicas"], scaler["spec"]["maxReplicas"]) == (2, 5)
    assert scaler["spec"]["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "speech-stt"}


def test_disruption_budgets() -> None:
    objects = render(FULL)
    assert objects["PodDisruptionBudget", "speech-stt"]["spec"]["minAvailable"] == "50%"
    assert "maxUnavailable" not in objects["PodDisruptionBudget", "speech-stt"]["spec"]
    assert objects["PodDisruptionBudget", "speech-tts"]["spec"]["maxUnavailable"] == 1
    off = render({"stt": {"podDisruptionBudget": {"enabled": False}}})
    assert ("PodDisruptionBudget", "speech-open-speech-stt") not in off


def test_nothing_but_dns_leaves() -> None:
    policy = render()["NetworkPolicy", "speech-open-speech"]["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    (egress,) = policy["egress"]
    assert {port["port"] for port in egress["ports"]} == {53}
    assert "from" not in policy["ingress"][0]
    assert (
        render({"networkPolicy": {"egress": {"dns": False}}})["NetworkPolicy", "speech-open-speech"]["spec"]["egress"]
        == []
    )
    assert not [kind for kind, _name in render({"networkPolicy": {"enabled": False}}) if kind == "NetworkPolicy"]


def test_who_may_ask_and_the_test_pod_too() -> None:
    objects = render(FULL)
    sources = objects["NetworkPolicy", "speech"]["spec"]["ingress"][0]["from"]
    assert sources[0] == {"namespaceSelector": {"matchLabels": {"calls": "yes"}}}
    wanted = sources[1]["podSelector"]["matchLabels"]
    labels = objects["Pod", "speech-test"]["metadata"]["labels"]
    assert wanted.items() <= labels.items()


def test_services_select_their_own_pods() -> None:
    objects = render()
    for engine in ("stt", "tts"):
        selector = objects["Service", f"speech-open-speech-{engine}"]["spec"]["selector"]
        for other in ("stt", "tts"):
            template = objects["Deployment", f"speech-open-speech-{other}"]["spec"]["template"]
            matches = selector.items() <= template["metadata"]["labels"].items()
            assert matches == (engine == other)
        assert not selector.items() <= objects["Pod", "speech-open-speech-test"]["metadata"]["labels"].items()


def test_helm_test_asks_what_is_deployed() -> None:
    objects = render({"tts": {"enabled": False}, "stt": {"service": {"port": 81}}})
    assert ("Deployment", "speech-open-speech-tts") not in objects
    test = objects["Pod", "speech-open-speech-test"]
    assert test["metadata"]["annotations"]["helm.sh/hook"] == "test"
    (container,) = test["spec"]["containers"]
    env = {entry["name"]: entry["value"] for entry in container["env"]}
    assert json.loads(env["SERVICES"]) == [
        {"url": "http://speech-open-speech-stt.voice.svc:81", "models": ["whisper-tiny-en"]}
    ]
    compile(container["args"][0], "test_services.py", "exec")
    assert not [kind for kind, _name in render({"tests": {"enabled": False}}) if kind == "Pod"]


def test_service_monitor_on_request() -> None:
    assert not [kind for kind, _name in render() if kind == "ServiceMonitor"]
    monitor = render(FULL)["ServiceMonitor", "speech"]
    assert monitor["metadata"]["labels"]["release"] == "prometheus"


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"sst": {}}, "sst"),
    ({"stt": {"replica": 2}}, "replica"),
    ({"stt": {"replicas": "two"}}, "replicas"),
    ({"stt": {"replicas": -1}}, "replicas"),
    ({"stt": {"model": "../secrets"}}, "model"),
    ({"stt": {"concurrency": 0}}, "concurrency"),
    ({"stt": {"resources": {"requests": {"cpu": "lots"}}}}, "cpu"),
    ({"stt": {"resources": {"request": {}}}}, "request"),
    ({"stt": {"strategy": {"type": "Roll"}}}, "strategy"),
    ({"stt": {"gpu": {"count": 0}}}, "count"),
    ({"stt": {"service": {"port": 70000}}}, "port"),
    ({"stt": {"extraEnv": [{"value": "x"}]}}, "name"),
    ({"tts": {"voices": []}}, "voices"),
    ({"tts": {"voices": "joe"}}, "voices"),
    ({"image": {"digest": "sha256:short"}}, "digest"),
    ({"image": {"pullPolicy": "Sometimes"}}, "pullPolicy"),
    ({"imagePullSecrets": ["airgap-registry"]}, "imagePullSecrets"),
    ({"apiKeys": {"keys": ["k"]}}, "keys"),
    ({"models": {"volume": {"type": "nfs"}}}, "type"),
    ({"models": {"volume": {"nodeDirectory": {"path": "models"}}}}, "path"),
    ({"models": {"volume": {"nodeDirectory": {"path": "/srv/../etc"}}}}, "path"),
    (
        {"models": {"volume": {"type": "image", "image": {"models": [{"name": "a", "reference": "r/models/a:1"}]}}}},
        "reference",
    ),
    ({"models": {"volume": {"type": "image"}}}, "name each model"),
    ({"networkPolicy": {"ingress": {"from": [{}]}}}, "from"),
    ({"stt": {"autoscaling": {"enabled": True, "minReplicas": 3, "maxReplicas": 2}}}, "less than minReplicas"),
]


@pytest.mark.parametrize(("values", "names"), REFUSED, ids=[json.dumps(values) for values, _names in REFUSED])
def test_refused_by_name(values: dict[str, Any], names: str) -> None:
    assert names in refused(copy.deepcopy(values))


def test_an_older_cluster_is_refused() -> None:
    done = helm("template", "speech", str(CHART), "--kube-version=1.27.9")
    assert done.returncode != 0
    assert "1.28" in done.stderr


def test_the_schema_knows_every_default_and_titles_everything() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))

    def resolve(node: dict[str, Any]) -> dict[str, Any]:
        return schema["definitions"][node["$ref"].rsplit("/", 1)[1]] if "$ref" in node else node

    def walk(values: dict[str, Any], node: dict[str, Any], path: str) -> None:
        for key, value in values.items():
            here = resolve(node["properties"][key])
            assert here.get("title"), f"{path}{key} has no title"
            if isinstance(value, dict) and "properties" in here:
                assert here["additionalProperties"] is False, f"{path}{key} takes unknown keys"
                walk(value, here, f"{path}{key}.")

    walk(yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8")), schema, "")
