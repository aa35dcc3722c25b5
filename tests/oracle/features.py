# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What bears on where a pod is placed, one function a feature: each changes a draft so that the feature matters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.oracle.draft import (
    HOSTNAME,
    MIB,
    NAMESPACE,
    ZONE,
    Document,
    Draft,
    bytes_text,
    cpu_text,
    mebibytes,
    milli_cpu,
    workload,
)

Change = Callable[[Draft], None]
FEATURES: dict[str, Change] = {}
# The first minor in which a feature is on by default, where that is not the oldest of all.
SINCE: dict[str, int] = {}


def feature(name: str, since: int = 0) -> Callable[[Change], Change]:
    def register(change: Change) -> Change:
        FEATURES[name] = change
        if since:
            SINCE[name] = since
        return change

    return register


# -- what a pod asks for


@feature("init_containers")
def init_containers(draft: Draft) -> None:
    for _ in range(draft.rng.randint(1, 2)):
        amounts = {"cpu": cpu_text(draft.rng, draft.some_cpu()), "memory": bytes_text(draft.rng, draft.some_memory())}
        entry = {"name": draft.name("init"), "image": "registry/init:1", "resources": {"requests": amounts}}
        draft.pod.setdefault("initContainers", []).append(entry)


@feature("sidecars")
def sidecars(draft: Draft) -> None:
    for _ in range(draft.rng.randint(1, 2)):
        amounts = {"cpu": f"{draft.some_cpu() // 2}m", "memory": f"{draft.some_memory() // 2}Mi"}
        entry = {
            "name": draft.name("sidecar"),
            "image": "registry/sidecar:1",
            "restartPolicy": "Always",
            "resources": {"requests": amounts},
        }
        containers = draft.pod.setdefault("initContainers", [])
        containers.insert(draft.rng.randint(0, len(containers)), entry)


@feature("pod_level_resources", since=34)
def pod_level_resources(draft: Draft) -> None:
    draft.container["resources"] = {}
    cpu, memory = draft.some_cpu(), draft.some_memory()
    shape = draft.rng.choice(["requests", "limits", "both"])
    whole: Document = {}
    if shape in ("requests", "both"):
        whole["requests"] = {"cpu": f"{cpu}m", "memory": f"{memory}Mi"}
    if shape in ("limits", "both"):
        whole["limits"] = {"cpu": f"{cpu * 2}m", "memory": f"{memory}Mi"}
    if draft.rng.random() < 0.4:
        draft.container["resources"] = {"requests": {"cpu": f"{cpu // 2}m"}}
    if draft.rng.random() < 0.3:
        (whole.get("requests") or whole["limits"]).pop("memory")
    draft.pod["resources"] = whole


@feature("limits_default")
def limits_default(draft: Draft) -> None:
    limits = {"cpu": cpu_text(draft.rng, draft.some_cpu()), "memory": bytes_text(draft.rng, draft.some_memory())}
    draft.container["resources"] = {"limits": limits}
    if draft.rng.random() < 0.3:
        draft.container["resources"]["requests"] = {"cpu": "50m"}


@feature("limit_range")
def limit_range(draft: Draft) -> None:
    rng = draft.rng
    entry: Document = {"type": "Container"}
    entry["default"] = {"cpu": f"{draft.some_cpu()}m", "memory": f"{draft.some_memory()}Mi"}
    if rng.random() < 0.6:
        entry["defaultRequest"] = {"cpu": f"{draft.some_cpu()}m"}
        entry["default"]["cpu"] = f"{int(entry['defaultRequest']['cpu'][:-1]) + rng.choice([0, 500])}m"
    if rng.random() < 0.2:
        entry["max"] = {"memory": f"{draft.some_memory() * 2}Mi"}
        entry["default"].pop("memory")
    draft.cluster.append(
        {
            "apiVersion": "v1",
            "kind": "LimitRange",
            "metadata": {"name": draft.name("limits"), "namespace": NAMESPACE},
            "spec": {"limits": [entry]},
        }
    )
    draft.container["resources"] = rng.choice(
        [{}, {"requests": {"memory": f"{draft.some_memory()}Mi"}}, {"limits": {"cpu": "500m"}}]
    )


@feature("limit_range_bounds")
def limit_range_bounds(draft: Draft) -> None:
    """Bounds that a pod meets, or just does not."""
    cpu = draft.some_cpu()
    draft.container["resources"] = {"requests": {"cpu": f"{cpu}m"}, "limits": {"cpu": f"{cpu}m"}}
    beyond = draft.rng.random() < 0.2
    entry: Document = {"type": draft.rng.choice(["Container", "Pod"])}
    entry.update(
        {"max": {"cpu": f"{cpu - 1 if beyond else cpu}m"}}
        if draft.rng.random() < 0.5
        else {"min": {"cpu": f"{cpu + beyond}m"}}
    )
    draft.cluster.append(
        {
            "apiVersion": "v1",
            "kind": "LimitRange",
            "metadata": {"name": draft.name("bounds"), "namespace": NAMESPACE},
            "spec": {"limits": [entry]},
        }
    )


@feature("runtime_class")
def runtime_class(draft: Draft) -> None:
    rng = draft.rng
    document: Document = {
        "apiVersion": "node.k8s.io/v1",
        "kind": "RuntimeClass",
        "metadata": {"name": "kata"},
        "handler": "kata",
        "overhead": {"podFixed": {"cpu": f"{draft.some_cpu() // 2}m", "memory": f"{draft.some_memory() // 4}Mi"}},
    }
    if rng.random() < 0.4:
        document["scheduling"] = {"nodeSelector": {"disk": "ssd"}}
        if rng.random() < 0.5:
            document["scheduling"]["tolerations"] = [{"key": "sandboxed", "operator": "Exists"}]
            rng.choice(draft.nodes)["spec"].setdefault("taints", []).append(
                {"key": "sandboxed", "effect": "NoSchedule"}
            )
    (draft.cluster if rng.random() < 0.7 else draft.before).append(document)
    draft.pod["runtimeClassName"] = "kata"


@feature("priority_class")
def priority_class(draft: Draft) -> None:
    """Two workloads that want the same room; the later one may come first."""
    high, low = sorted((draft.rng.randint(1, 1000), draft.rng.randint(1, 1000)), reverse=True)
    for name, value in (("high", high), ("low", low)):
        document = {
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": name},
            "value": value,
        }
        draft.cluster.append(document)
    if draft.rng.random() < 0.3:
        draft.cluster[-1]["globalDefault"] = True
    mine, others = draft.rng.choice([("high", "low"), ("low", "high"), ("", "high"), ("low", "")])
    if mine:
        draft.pod["priorityClassName"] = mine
    spec = draft.other(**({"priorityClassName": others} if others else {}))
    more = workload("Deployment", "rival", draft.rng.randint(1, 3), {"app": "rival"}, spec)
    draft.rng.choice([draft.before, draft.after]).append(more)


@feature("resource_quota")
def resource_quota(draft: Draft) -> None:
    rng = draft.rng
    hard: Document = {}
    for name, amount in rng.sample(
        [
            ("requests.cpu", f"{rng.randint(1000, 9000)}m"),
            ("cpu", f"{rng.randint(1000, 9000)}m"),
            ("requests.memory", f"{rng.randint(2000, 20000)}Mi"),
            ("pods", str(rng.randint(1, 8))),
            ("count/pods", str(rng.randint(1, 8))),
        ],
        rng.randint(1, 2),
    ):
        hard[name] = amount
    spec: Document = {"hard": hard}
    if rng.random() < 0.2:
        spec["scopes"] = [rng.choice(["NotTerminating", "NotBestEffort", "BestEffort"])]
        if spec["scopes"] == ["BestEffort"]:
            spec["hard"] = {"pods": str(rng.randint(1, 5))}
    document: Document = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": draft.name("quota"), "namespace": NAMESPACE},
        "spec": spec,
    }
    if rng.random() < 0.5:
        document["status"] = {"hard": spec["hard"], "used": dict.fromkeys(spec["hard"], "0")}
        if rng.random() < 0.5 and "pods" in spec["hard"]:
            document["status"]["used"]["pods"] = "1"
    draft.cluster.append(document)


@feature("ephemeral_storage")
def ephemeral_storage(draft: Draft) -> None:
    draft.requests["ephemeral-storage"] = f"{draft.rng.randrange(2, 30)}Gi"


@feature("pods_count")
def pods_count(draft: Draft) -> None:
    for node in draft.nodes:
        node["status"]["allocatable"]["pods"] = str(draft.rng.randint(1, 4))
    draft.container["resources"] = draft.rng.choice([{}, {"requests": {"cpu": "10m"}}])


def _extended(draft: Draft, name: str, counts: list[int]) -> None:
    for node in draft.some_nodes():
        node["status"]["allocatable"][name] = str(draft.rng.choice(counts))
    number = str(draft.rng.choice([1, 1, 2, 3]))
    draft.container["resources"] = {"limits": {name: number}}
    if draft.rng.random() < 0.5:
        draft.container["resources"]["requests"] = {"cpu": "100m", name: number}
    if draft.rng.random() < 0.4:
        spec = {
            "containers": [
                {"name": "x", "image": "registry/x:1", "resources": {"limits": {name: "1"}, "requests": {name: "1"}}}
            ]
        }
        draft.run_elsewhere(draft.rng.choice(draft.nodes), spec=spec)


@feature("gpu")
def gpu(draft: Draft) -> None:
    _extended(draft, "nvidia.com/gpu", [1, 2, 4])


@feature("mig")
def mig(draft: Draft) -> None:
    _extended(draft, draft.rng.choice(["nvidia.com/mig-1g.5gb", "nvidia.com/mig-3g.20gb"]), [2, 3, 7])


@feature("shared_gpu")
def shared_gpu(draft: Draft) -> None:
    _extended(draft, "nvidia.com/gpu.shared", [4, 8])


@feature("hugepages")
def hugepages(draft: Draft) -> None:
    name = draft.rng.choice(["hugepages-2Mi", "hugepages-1Gi"])
    page = 2 if name == "hugepages-2Mi" else 1024
    for node in draft.some_nodes():
        node["status"]["allocatable"][name] = f"{page * draft.rng.randint(2, 8)}Mi"
    pages = f"{page * draft.rng.randint(1, 3)}Mi"
    draft.requests["cpu"] = "100m"
    draft.requests[name] = pages
    draft.container["resources"]["limits"] = {name: pages}


# -- nodes


@feature("node_name")
def node_name(draft: Draft) -> None:
    draft.pod["nodeName"] = draft.rng.choice(draft.nodes)["metadata"]["name"]
    if draft.rng.random() < 0.1:
        draft.pod["nodeName"] = "node-that-is-not"


@feature("node_selector")
def node_selector(draft: Draft) -> None:
    labels = draft.rng.choice(draft.nodes)["metadata"]["labels"]
    key = draft.rng.choice(sorted(set(labels) - {"kubernetes.io/os"}))
    draft.pod["nodeSelector"] = {key: labels[key]}


def _node_terms(draft: Draft, requirements: list[Document], kind: str = "matchExpressions") -> None:
    hard = draft.affinity.setdefault("nodeAffinity", {}).setdefault(
        "requiredDuringSchedulingIgnoredDuringExecution", {"nodeSelectorTerms": []}
    )
    terms = hard["nodeSelectorTerms"]
    if terms and draft.rng.random() < 0.6:
        terms[-1].setdefault(kind, []).extend(requirements)
    else:
        terms.append({kind: requirements})


@feature("node_affinity_in")
def node_affinity_in(draft: Draft) -> None:
    zones = draft.rng.sample(["a", "b", "c"], draft.rng.randint(1, 2))
    _node_terms(draft, [{"key": ZONE, "operator": "In", "values": zones}])


@feature("node_affinity_not_in")
def node_affinity_not_in(draft: Draft) -> None:
    names = [draft.rng.choice(draft.nodes)["metadata"]["name"]]
    _node_terms(draft, [{"key": HOSTNAME, "operator": "NotIn", "values": names}])


@feature("node_affinity_exists")
def node_affinity_exists(draft: Draft) -> None:
    for node in draft.some_nodes():
        node["metadata"]["labels"]["accelerator"] = draft.rng.choice(["", "l4"])
    operator = draft.rng.choice(["Exists", "DoesNotExist"])
    _node_terms(draft, [{"key": "accelerator", "operator": operator}])


@feature("node_affinity_gt_lt")
def node_affinity_gt_lt(draft: Draft) -> None:
    if draft.rng.random() < 0.2:
        draft.rng.choice(draft.nodes)["metadata"]["labels"]["generation"] = "new"
    for _ in range(draft.rng.randint(1, 2)):
        wanted = {
            "key": "generation",
            "operator": draft.rng.choice(["Gt", "Lt"]),
            "values": [str(draft.rng.randint(1, 4))],
        }
        _node_terms(draft, [wanted])


@feature("node_affinity_fields")
def node_affinity_fields(draft: Draft) -> None:
    names = [draft.rng.choice(draft.nodes)["metadata"]["name"]]
    wanted = {"key": "metadata.name", "operator": draft.rng.choice(["In", "NotIn"]), "values": names}
    _node_terms(draft, [wanted], "matchFields")


@feature("preferred_node_affinity")
def preferred_node_affinity(draft: Draft) -> None:
    soft = draft.affinity.setdefault("nodeAffinity", {}).setdefault(
        "preferredDuringSchedulingIgnoredDuringExecution", []
    )
    for _ in range(draft.rng.randint(1, 2)):
        wanted = {"key": "disk", "operator": "In", "values": [draft.rng.choice(["ssd", "hdd"])]}
        soft.append({"weight": draft.rng.randint(1, 100), "preference": {"matchExpressions": [wanted]}})


def _taint(draft: Draft, effect: str) -> None:
    rng = draft.rng
    for node in draft.some_nodes():
        value = rng.choice([{"value": "a"}, {"value": "b"}, {}])
        node["spec"].setdefault("taints", []).append({"key": rng.choice(["team", "gpu"]), "effect": effect, **value})
    for node in draft.nodes:  # one taint of a key and an effect, as the API has it
        seen = {(taint["key"], taint["effect"]): taint for taint in node["spec"].get("taints", [])}
        if seen:
            node["spec"]["taints"] = list(seen.values())
    if rng.random() < 0.7:
        forms: list[Document] = [
            {"key": "team", "operator": "Equal", "value": "a", "effect": effect},
            {"key": "team", "operator": "Exists"},
            {"key": "gpu", "operator": "Exists", "effect": effect},
            {"key": "gpu", "value": "b"},
            {"operator": "Exists", "effect": effect},
            {"operator": "Exists"},
            {"key": "team", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60},
        ]
        draft.pod.setdefault("tolerations", []).extend(rng.sample(forms, rng.randint(1, 2)))


@feature("taint_no_schedule")
def taint_no_schedule(draft: Draft) -> None:
    _taint(draft, "NoSchedule")


@feature("taint_no_execute")
def taint_no_execute(draft: Draft) -> None:
    _taint(draft, "NoExecute")


@feature("taint_prefer_no_schedule")
def taint_prefer_no_schedule(draft: Draft) -> None:
    _taint(draft, "PreferNoSchedule")


@feature("cordon")
def cordon(draft: Draft) -> None:
    node = draft.rng.choice(draft.nodes)
    node["spec"]["unschedulable"] = True
    if draft.rng.random() < 0.7:
        taint = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
        node["spec"].setdefault("taints", []).append(taint)
    if draft.rng.random() < 0.4:
        form = {"key": "node.kubernetes.io/unschedulable", "operator": "Exists", "effect": "NoSchedule"}
        draft.pod.setdefault("tolerations", []).append(form)


@feature("not_ready")
def not_ready(draft: Draft) -> None:
    taint = draft.rng.choice(["not-ready", "unreachable", "memory-pressure", "disk-pressure"])
    effects = ["NoExecute", "NoSchedule"] if taint in ("not-ready", "unreachable") else ["NoSchedule"]
    node = draft.rng.choice(draft.nodes)
    for effect in effects:
        node["spec"].setdefault("taints", []).append({"key": f"node.kubernetes.io/{taint}", "effect": effect})


@feature("images")
def images(draft: Draft) -> None:
    for node in draft.some_nodes():
        names = draft.rng.sample(["registry/main:1", "registry/other:1"], draft.rng.randint(1, 2))
        node["status"]["images"] = [
            {"names": [name], "sizeBytes": draft.rng.choice([10, 200, 900, 4000]) * MIB} for name in names
        ]


# -- other pods


def _pod_term(draft: Draft, labels: dict[str, str], key: str = "") -> Document:
    key = key or draft.rng.choice([HOSTNAME, HOSTNAME, ZONE, "disk"])
    selector: Document = {"matchLabels": labels}
    if draft.rng.random() < 0.3:
        name, value = next(iter(labels.items()))
        selector = {"matchExpressions": [{"key": name, "operator": "In", "values": [value, "nothing"]}]}
    return {"labelSelector": selector, "topologyKey": key}


def _hard(draft: Draft, kind: str, term: Document) -> None:
    where = draft.affinity.setdefault(kind, {})
    where.setdefault("requiredDuringSchedulingIgnoredDuringExecution", []).append(term)


def _soft(draft: Draft, kind: str, term: Document) -> None:
    where = draft.affinity.setdefault(kind, {})
    entry = {"weight": draft.rng.randint(1, 100), "podAffinityTerm": term}
    where.setdefault("preferredDuringSchedulingIgnoredDuringExecution", []).append(entry)


@feature("pod_affinity")
def pod_affinity(draft: Draft) -> None:
    choice = draft.rng.choice(["itself", "existing", "later", "earlier"])
    if choice == "itself":
        _hard(draft, "podAffinity", _pod_term(draft, {"app": "main"}))
        return
    _hard(draft, "podAffinity", _pod_term(draft, {"app": "friend"}))
    if choice == "existing":
        for node in draft.some_nodes()[:2]:
            draft.run_elsewhere(node, {"app": "friend"})
    else:
        friend = workload("Deployment", draft.name("friend"), draft.rng.randint(1, 2), {"app": "friend"}, draft.other())
        (draft.after if choice == "later" else draft.before).append(friend)


@feature("pod_anti_affinity")
def pod_anti_affinity(draft: Draft) -> None:
    _hard(draft, "podAntiAffinity", _pod_term(draft, {"app": draft.rng.choice(["main", "main", "existing"])}))
    if draft.rng.random() < 0.5:
        draft.requests["cpu"] = "100m"


@feature("anti_affinity_symmetry")
def anti_affinity_symmetry(draft: Draft) -> None:
    for node in draft.some_nodes()[:2]:
        spec = draft.other()
        term = _pod_term(draft, {"app": "main"})
        spec["affinity"] = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
        draft.run_elsewhere(node, spec=spec)


@feature("namespace_selector")
def namespace_selector(draft: Draft) -> None:
    draft.namespace("team-a", {"team": "a"})
    draft.namespace("team-b", {"team": "b"})
    for node in draft.some_nodes()[:2]:
        draft.run_elsewhere(node, {"app": "friend"}, namespace=draft.rng.choice(["team-a", "team-b"]))
    term = _pod_term(draft, {"app": "friend"})
    selectors: list[Document] = [
        {"matchLabels": {"team": "a"}},
        {},
        {"matchExpressions": [{"key": "team", "operator": "Exists"}]},
        {"matchLabels": {"kubernetes.io/metadata.name": "team-b"}},
    ]
    term["namespaceSelector"] = draft.rng.choice(selectors)
    _hard(draft, draft.rng.choice(["podAffinity", "podAntiAffinity", "podAntiAffinity"]), term)


@feature("namespaces")
def namespaces(draft: Draft) -> None:
    for node in draft.some_nodes()[:2]:
        draft.run_elsewhere(node, {"app": "friend"}, namespace=draft.rng.choice(["team-a", NAMESPACE]))
    term = _pod_term(draft, {"app": "friend"})
    term["namespaces"] = draft.rng.choice([["team-a"], ["team-a", NAMESPACE], [NAMESPACE]])
    _hard(draft, draft.rng.choice(["podAffinity", "podAntiAffinity", "podAntiAffinity"]), term)


@feature("affinity_match_label_keys")
def affinity_match_label_keys(draft: Draft) -> None:
    draft.labels = {**draft.labels, "track": "new"}
    for node in draft.some_nodes()[:2]:
        draft.run_elsewhere(node, {"app": "main", "track": draft.rng.choice(["new", "old"])})
    term = {"labelSelector": {"matchLabels": {"app": "main"}}, "topologyKey": draft.rng.choice([HOSTNAME, ZONE])}
    keys = draft.rng.choice([["track"], ["track"], ["pod-template-hash"], ["absent"]])
    term[draft.rng.choice(["matchLabelKeys", "matchLabelKeys", "mismatchLabelKeys"])] = keys
    _hard(draft, draft.rng.choice(["podAntiAffinity", "podAntiAffinity", "podAffinity"]), term)


@feature("preferred_pod_affinity")
def preferred_pod_affinity(draft: Draft) -> None:
    label = draft.rng.choice(["main", "friend"])
    _soft(draft, "podAffinity", _pod_term(draft, {"app": label}))
    if label == "friend":
        draft.run_elsewhere(draft.rng.choice(draft.nodes), {"app": "friend"})


@feature("preferred_pod_anti_affinity")
def preferred_pod_anti_affinity(draft: Draft) -> None:
    _soft(draft, "podAntiAffinity", _pod_term(draft, {"app": draft.rng.choice(["main", "existing"])}))


# -- spread


def _spread(draft: Draft, key: str = "", hard: bool = True, **more: Any) -> Document:
    constraint: Document = {
        "maxSkew": draft.rng.choice([1, 1, 1, 2, 3]),
        "topologyKey": key or draft.rng.choice([HOSTNAME, ZONE]),
        "whenUnsatisfiable": "DoNotSchedule" if hard else "ScheduleAnyway",
        "labelSelector": {"matchLabels": {"app": "main"}},
        **more,
    }
    known = draft.pod.setdefault("topologySpreadConstraints", [])
    same = [
        c
        for c in known
        if (c["topologyKey"], c["whenUnsatisfiable"]) == (constraint["topologyKey"], constraint["whenUnsatisfiable"])
    ]
    if not same:
        known.append(constraint)
    else:
        same[0].update(more)
        constraint = same[0]
    if draft.rng.random() < 0.3:
        draft.run_elsewhere(draft.rng.choice(draft.nodes), {"app": "main"})
    return constraint


@feature("spread_host")
def spread_host(draft: Draft) -> None:
    _spread(draft, HOSTNAME)


@feature("spread_zone")
def spread_zone(draft: Draft) -> None:
    _spread(draft, ZONE)
    if draft.rng.random() < 0.3:
        _spread(draft, HOSTNAME)


@feature("spread_min_domains")
def spread_min_domains(draft: Draft) -> None:
    _spread(draft, minDomains=draft.rng.randint(1, 4))


@feature("spread_match_label_keys")
def spread_match_label_keys(draft: Draft) -> None:
    draft.labels = {**draft.labels, "track": "new"}
    for node in draft.some_nodes()[:2]:
        draft.run_elsewhere(node, {"app": "main", "track": draft.rng.choice(["new", "old"])})
    _spread(draft, matchLabelKeys=draft.rng.choice([["track"], ["track"], ["pod-template-hash"], ["absent"]]))


@feature("spread_affinity_policy")
def spread_affinity_policy(draft: Draft) -> None:
    _spread(draft, nodeAffinityPolicy=draft.rng.choice(["Honor", "Ignore"]))
    node_selector(draft) if draft.rng.random() < 0.5 else node_affinity_not_in(draft)


@feature("spread_taints_policy")
def spread_taints_policy(draft: Draft) -> None:
    _spread(draft, nodeTaintsPolicy=draft.rng.choice(["Honor", "Ignore"]))
    _taint(draft, "NoSchedule")


@feature("spread_soft")
def spread_soft(draft: Draft) -> None:
    _spread(draft, hard=False)


@feature("default_spread")
def default_spread(draft: Draft) -> None:
    selector = draft.rng.choice([{"app": "main"}, {"part-of": "speech"}])
    draft.labels = {**draft.labels, "part-of": "speech"}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "main", "namespace": NAMESPACE}}
    draft.before.append({**service, "spec": {"selector": selector, "ports": [{"port": 80}]}})
    if draft.rng.random() < 0.5:
        draft.run_elsewhere(draft.rng.choice(draft.nodes), {"app": "old", "part-of": "speech"})


# -- ports


@feature("host_ports")
def host_ports(draft: Draft) -> None:
    rng = draft.rng
    ports = []
    for port in rng.sample([8080, 8081, 8443], rng.randint(1, 2)):
        entry: Document = {"containerPort": port, "hostPort": port}
        if rng.random() < 0.3:
            entry["hostIP"] = rng.choice(["127.0.0.1", "10.0.0.1", "0.0.0.0"])  # noqa: S104
        if rng.random() < 0.2:
            entry["protocol"] = "UDP"
        ports.append(entry)
    draft.container["ports"] = ports
    if rng.random() < 0.5:
        spec = draft.other()
        entry = {"containerPort": 8080, "hostPort": 8080, "protocol": "TCP"}
        if rng.random() < 0.5:
            entry["hostIP"] = rng.choice(["127.0.0.1", "10.0.0.1"])
        spec["containers"][0]["ports"] = [entry]
        draft.run_elsewhere(rng.choice(draft.nodes), spec=spec)


@feature("host_network")
def host_network(draft: Draft) -> None:
    draft.pod["hostNetwork"] = True
    draft.container["ports"] = [{"containerPort": draft.rng.choice([8080, 9090])}]


# -- volumes


def _claim(
    name: str, class_name: str | None, mode: str = "ReadWriteOnce", size: str = "1Gi", volume: str = ""
) -> Document:
    spec: Document = {"accessModes": [mode], "resources": {"requests": {"storage": size}}}
    metadata: Document = {"name": name, "namespace": NAMESPACE}
    if class_name is not None:
        spec["storageClassName"] = class_name
    status: Document = {"phase": "Pending"}
    if volume:
        spec["volumeName"] = volume
        metadata["annotations"] = {"pv.kubernetes.io/bind-completed": "yes"}
        status = {"phase": "Bound"}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec, "status": status}


def _volume(name: str, class_name: str, size: str = "1Gi", mode: str = "ReadWriteOnce", **more: Any) -> Document:
    spec = {"capacity": {"storage": size}, "accessModes": [mode], "storageClassName": class_name, **more}
    if "csi" not in spec:
        spec.setdefault("local", {"path": f"/mnt/{name}"})
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": spec,
        "status": {"phase": "Available"},
    }


def _at(key: str, values: list[str]) -> Document:
    return {
        "required": {"nodeSelectorTerms": [{"matchExpressions": [{"key": key, "operator": "In", "values": values}]}]}
    }


def _bind(volume: Document, claim: Document) -> None:
    metadata = claim["metadata"]
    volume["spec"]["claimRef"] = {
        "kind": "PersistentVolumeClaim",
        "namespace": metadata["namespace"],
        "name": metadata["name"],
    }
    volume["status"]["phase"] = "Bound"


@feature("pvc_bound")
def pvc_bound(draft: Draft) -> None:
    names = [node["metadata"]["name"] for node in draft.some_nodes()]
    affinity = draft.rng.choice([{"nodeAffinity": _at(HOSTNAME, names)}, {"nodeAffinity": _at(ZONE, ["a"])}])
    volume = _volume("pv-bound", "fixed", **affinity)
    if draft.rng.random() < 0.3:
        zoned = draft.rng.choice(["a", "b", "a__b"])
        volume = _volume("pv-bound", "fixed", csi={"driver": "old.csi", "volumeHandle": "one"})
        volume["metadata"]["labels"] = {ZONE: zoned}
    claim = _claim("bound", "fixed", volume="pv-bound")
    _bind(volume, claim)
    draft.cluster += [volume, claim]
    draft.mount("bound")


@feature("pvc_local_path")
def pvc_local_path(draft: Draft) -> None:
    """The first pod that uses a claim decides the node of all others."""
    draft.storage_class("local-path", "rancher.io/local-path")
    (draft.cluster if draft.rng.random() < 0.5 else draft.before).append(_claim("shared-path", "local-path"))
    draft.mount("shared-path")


def _csi(draft: Draft, keys: list[str] | None, limit: int | None = None) -> None:
    for node in draft.nodes:
        driver: Document = {"name": "csi.example.com", "nodeID": node["metadata"]["name"], "topologyKeys": keys}
        if limit is not None:
            driver["allocatable"] = {"count": limit + draft.rng.randint(0, 1)}
        draft.cluster.append(
            {
                "apiVersion": "storage.k8s.io/v1",
                "kind": "CSINode",
                "metadata": {"name": node["metadata"]["name"]},
                "spec": {"drivers": [driver]},
            }
        )


@feature("pvc_csi_topology")
def pvc_csi_topology(draft: Draft) -> None:
    for node in draft.nodes:
        node["metadata"]["labels"].setdefault(ZONE, "a")
    _csi(draft, draft.rng.choice([[ZONE], [HOSTNAME], None]))
    draft.storage_class("csi", "csi.example.com")
    draft.cluster.append(_claim("shared", "csi"))
    draft.mount("shared")


@feature("pvc_allowed_topologies")
def pvc_allowed_topologies(draft: Draft) -> None:
    zones = draft.rng.sample(["a", "b", "c"], draft.rng.randint(1, 2))
    terms = [{"matchLabelExpressions": [{"key": ZONE, "values": zones}]}]
    if draft.rng.random() < 0.3:
        terms.append({"matchLabelExpressions": [{"key": "disk", "values": ["ssd"]}]})
    draft.storage_class("zonal", "csi.other.com", allowedTopologies=terms)
    draft.cluster.append(_claim("zoned", "zonal"))
    draft.mount("zoned")


@feature("pvc_static")
def pvc_static(draft: Draft) -> None:
    """Volumes that stand ready on nodes; one is taken for each claim."""
    rng = draft.rng
    draft.storage_class("static", "kubernetes.io/no-provisioner")
    for number, node in enumerate(draft.some_nodes()):
        for copy in range(rng.randint(1, 2)):
            at = {"nodeAffinity": _at(HOSTNAME, [node["metadata"]["name"]])}
            size = rng.choice(["1Gi", "5Gi", "10Gi"])
            draft.cluster.append(_volume(f"pv-{number}-{copy}", "static", size, **at))
    size = rng.choice(["1Gi", "5Gi", "6Gi"])
    if rng.random() < 0.5:
        draft.kind = "StatefulSet"
        template = _claim("data", "static", size=size)
        draft.claim_templates.append({"metadata": {"name": "data"}, "spec": template["spec"]})
    else:
        draft.cluster.append(_claim("data", "static", size=size))
        draft.mount("data")


@feature("pvc_csi_limits")
def pvc_csi_limits(draft: Draft) -> None:
    _csi(draft, None, draft.rng.randint(0, 3))
    draft.storage_class("csi-limited", "csi.example.com")
    draft.kind = "StatefulSet"
    template = _claim("data", "csi-limited")
    draft.claim_templates.append({"metadata": {"name": "data"}, "spec": template["spec"]})
    draft.container["resources"] = {"requests": {"cpu": "50m"}}
    if draft.rng.random() < 0.5:
        volume = _volume("pv-used", "csi-limited", csi={"driver": "csi.example.com", "volumeHandle": "used"})
        claim = _claim("used", "csi-limited", volume="pv-used")
        _bind(volume, claim)
        draft.cluster += [volume, claim]
        spec = draft.other(volumes=[{"name": "used", "persistentVolumeClaim": {"claimName": "used"}}])
        draft.run_elsewhere(draft.rng.choice(draft.nodes), spec=spec)


def _own_claims(draft: Draft, class_name: str, size: str = "1Gi") -> None:
    """A claim for each pod: of a StatefulSet's template, or one that comes and goes with the pod."""
    spec = _claim("data", class_name, size=size)["spec"]
    if draft.rng.random() < 0.5:
        draft.kind = "StatefulSet"
        draft.claim_templates.append({"metadata": {"name": "data"}, "spec": spec})
    else:
        _ephemeral(draft, spec)


def _ephemeral(draft: Draft, spec: Document) -> None:
    volume = {"name": draft.name("scratch"), "ephemeral": {"volumeClaimTemplate": {"spec": spec}}}
    draft.pod.setdefault("volumes", []).append(volume)


@feature("pvc_ephemeral")
def pvc_ephemeral(draft: Draft) -> None:
    """Claims that come and go with their pods: on volumes that stand ready, or made within a driver's limit."""
    rng = draft.rng
    if rng.random() < 0.5:
        draft.storage_class("static", "kubernetes.io/no-provisioner")
        for number, node in enumerate(draft.some_nodes()):
            for copy in range(rng.randint(1, 2)):
                at = {"nodeAffinity": _at(HOSTNAME, [node["metadata"]["name"]])}
                draft.cluster.append(_volume(f"pv-{number}-{copy}", "static", rng.choice(["1Gi", "5Gi"]), **at))
        _ephemeral(draft, _claim("scratch", "static", size=rng.choice(["1Gi", "5Gi"]))["spec"])
    else:
        _csi(draft, None, rng.randint(1, 3))
        draft.storage_class("csi-limited", "csi.example.com")
        for _ in range(rng.randint(1, 2)):
            _ephemeral(draft, _claim("scratch", "csi-limited")["spec"])
    draft.container["resources"] = {"requests": {"cpu": "50m"}}


@feature("pvc_storage_capacity")
def pvc_storage_capacity(draft: Draft) -> None:
    """The driver says how much room its storage has where; what it does not speak of has none."""
    rng = draft.rng
    driver = {"apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver", "metadata": {"name": "csi.measured.com"}}
    draft.cluster.append({**driver, "spec": {"storageCapacity": rng.random() < 0.9}})
    draft.storage_class("measured", "csi.measured.com")
    key = rng.choice([HOSTNAME, ZONE])
    for value in sorted({node["metadata"]["labels"].get(key, "") for node in draft.some_nodes()} - {""}):
        room: Document = {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "CSIStorageCapacity",
            "metadata": {"name": draft.name("room"), "namespace": "default"},
            "storageClassName": rng.choice(["measured", "measured", "measured", "other"]),
            "nodeTopology": {"matchLabels": {key: value}},
            "capacity": rng.choice(["3Gi", "5Gi", "20Gi"]),
        }
        if rng.random() < 0.3:
            room["maximumVolumeSize"] = rng.choice(["2Gi", "10Gi"])
        draft.cluster.append(room)
    size = rng.choice(["1Gi", "4Gi", "5Gi", "6Gi"])
    if rng.random() < 0.5:
        _own_claims(draft, "measured", size)
    else:
        draft.cluster.append(_claim("measured", "measured", size=size))
        draft.mount("measured")


@feature("pvc_immediate")
def pvc_immediate(draft: Draft) -> None:
    """A class that binds at once: the claim has its volume already.

    One that is still owed its volume is not drawn: with some node affinities the scheduler fails with an error in place
    of a message, and the back-off of such errors sleeps for years of synctest's time. test_scheduling.py has that case.
    """
    draft.storage_class("at-once", "csi.once.com", "Immediate")
    where = {"nodeAffinity": _at(ZONE, draft.rng.sample(["a", "b", "c"], draft.rng.randint(1, 2)))}
    volume = _volume("pv-at-once", "at-once", csi={"driver": "csi.once.com", "volumeHandle": "one"}, **where)
    claim = _claim("given", "at-once", volume="pv-at-once")
    _bind(volume, claim)
    draft.cluster += [volume, claim]
    draft.mount("given")


@feature("pvc_read_write_once_pod")
def pvc_read_write_once_pod(draft: Draft) -> None:
    volume = _volume(
        "pv-single", "fixed", mode="ReadWriteOncePod", csi={"driver": "csi.single", "volumeHandle": "single"}
    )
    claim = _claim("single", "fixed", mode="ReadWriteOncePod", volume="pv-single")
    _bind(volume, claim)
    draft.cluster += [volume, claim]
    draft.mount("single")
    if draft.rng.random() < 0.2:
        spec = draft.other(volumes=[{"name": "single", "persistentVolumeClaim": {"claimName": "single"}}])
        draft.run_elsewhere(draft.rng.choice(draft.nodes), spec=spec)
    # One pod is all that can be placed: most of the time, ask for two at most.
    draft.most = draft.rng.choice([1, 1, 2])


@feature("pvc_default_class")
def pvc_default_class(draft: Draft) -> None:
    marked = {"metadata": {"annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}}
    zones = draft.rng.sample(["a", "b", "c"], 2)
    terms = [{"matchLabelExpressions": [{"key": ZONE, "values": zones}]}]
    draft.storage_class("standard", "csi.standard.com", allowedTopologies=terms, **marked)
    if draft.rng.random() < 0.6:
        draft.kind = "StatefulSet"
        draft.claim_templates.append({"metadata": {"name": "own"}, "spec": _claim("own", None)["spec"]})
    else:
        draft.before.append(_claim("defaulted", None))
        draft.mount("defaulted")


# -- order


@feature("daemonset")
def daemonset(draft: Draft) -> None:
    """It comes first wherever it stands, and takes its room on each node that it may run on."""
    spec = draft.other()
    for name in ("cpu", "memory"):
        amount = spec["containers"][0]["resources"]["requests"]
        whole = draft.some_cpu() if name == "cpu" else draft.some_memory()
        amount[name] = f"{max(1, whole // draft.rng.randint(2, 6))}{'m' if name == 'cpu' else 'Mi'}"
    rng = draft.rng
    if rng.random() < 0.3:
        spec["nodeSelector"] = {"disk": "ssd"}
    if rng.random() < 0.3:
        spec["tolerations"] = [{"operator": "Exists"}]
    if rng.random() < 0.2:
        spec["hostNetwork"] = True
        spec["containers"][0]["ports"] = [{"containerPort": 8080}]
    if rng.random() < 0.2:
        wanted = {"key": "generation", "operator": "Gt", "values": ["2"]}
        hard = {"nodeSelectorTerms": [{"matchExpressions": [wanted]}]}
        spec["affinity"] = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": hard}}
    rng.choice([draft.before, draft.after]).append(workload("DaemonSet", "agent", 0, {"app": "agent"}, spec))


@feature("order_of_objects")
def order_of_objects(draft: Draft) -> None:
    for _ in range(draft.rng.randint(1, 2)):
        name = draft.name("more")
        more = workload("Deployment", name, draft.rng.randint(1, 3), {"app": name}, draft.other())
        draft.rng.choice([draft.before, draft.after]).append(more)


@feature("existing_pods")
def existing_pods(draft: Draft) -> None:
    for node in draft.some_nodes():
        for _ in range(draft.rng.randint(1, 2)):
            spec = draft.other()
            amount = spec["containers"][0]["resources"]["requests"]
            amount["cpu"] = f"{milli_cpu(node) // draft.rng.randint(3, 8)}m"
            amount["memory"] = f"{mebibytes(node) // draft.rng.randint(3, 8)}Mi"
            pod = draft.run_elsewhere(node, spec=spec)
            if draft.rng.random() < 0.15:
                pod["status"]["phase"] = draft.rng.choice(["Succeeded", "Failed"])
