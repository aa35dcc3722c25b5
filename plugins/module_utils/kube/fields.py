# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fields of the objects that make pods, so that one that is misspelt is found before it is silently dropped.

Only types that bear on where pods are placed are looked into; the newest minor version's fields are known.
"""

from __future__ import annotations

from typing import Any, Dict, Mapping

from ansible_collections.airgap.speech.plugins.module_utils.kube.terms import SpecError

_SELECTOR = "LabelSelector"

# Type -> its fields; a field's own type stands after a colon where it is looked into.
_TYPES: Dict[str, str] = {
    "Deployment": "spec:DeploymentSpec",
    "DeploymentSpec": (
        "replicas selector:LabelSelector template:PodTemplateSpec strategy:Strategy minReadySeconds"
        " revisionHistoryLimit paused progressDeadlineSeconds"
    ),
    "Strategy": "type rollingUpdate:RollingUpdate",
    "RollingUpdate": "maxSurge maxUnavailable partition",
    "StatefulSet": "spec:StatefulSetSpec",
    "StatefulSetSpec": (
        "replicas selector:LabelSelector template:PodTemplateSpec volumeClaimTemplates serviceName"
        " podManagementPolicy updateStrategy:Strategy revisionHistoryLimit minReadySeconds"
        " persistentVolumeClaimRetentionPolicy ordinals"
    ),
    "DaemonSet": "spec:DaemonSetSpec",
    "DaemonSetSpec": (
        "selector:LabelSelector template:PodTemplateSpec updateStrategy:Strategy minReadySeconds revisionHistoryLimit"
    ),
    "ReplicaSet": "spec:ReplicaSetSpec",
    "ReplicaSetSpec": "replicas minReadySeconds selector:LabelSelector template:PodTemplateSpec",
    "ReplicationController": "spec:ReplicationControllerSpec",
    "ReplicationControllerSpec": "replicas minReadySeconds selector template:PodTemplateSpec",
    "Job": "spec:JobSpec",
    "JobSpec": (
        "parallelism completions activeDeadlineSeconds podFailurePolicy successPolicy backoffLimit"
        " backoffLimitPerIndex maxFailedIndexes selector:LabelSelector manualSelector template:PodTemplateSpec"
        " ttlSecondsAfterFinished completionMode suspend podReplacementPolicy managedBy"
    ),
    "CronJob": "spec:CronJobSpec",
    "CronJobSpec": (
        "schedule timeZone startingDeadlineSeconds concurrencyPolicy suspend jobTemplate:JobTemplateSpec"
        " successfulJobsHistoryLimit failedJobsHistoryLimit"
    ),
    "JobTemplateSpec": "metadata spec:JobSpec",
    "PodTemplateSpec": "metadata spec:PodSpec",
    "Pod": "spec:PodSpec",
    "PodSpec": (
        "volumes:Volume initContainers:Container containers:Container ephemeralContainers restartPolicy"
        " terminationGracePeriodSeconds activeDeadlineSeconds dnsPolicy nodeSelector serviceAccountName"
        " serviceAccount automountServiceAccountToken nodeName hostNetwork hostPID hostIPC shareProcessNamespace"
        " securityContext imagePullSecrets hostname subdomain affinity:Affinity schedulerName"
        " tolerations:Toleration hostAliases priorityClassName priority dnsConfig readinessGates runtimeClassName"
        " enableServiceLinks preemptionPolicy overhead topologySpreadConstraints:TopologySpreadConstraint"
        " setHostnameAsFQDN os hostUsers schedulingGates resourceClaims resources:ResourceRequirements"
        " hostnameOverride workloadRef schedulingGroup"
    ),
    "Container": (
        "name image command args workingDir ports:ContainerPort envFrom env resources:ResourceRequirements"
        " resizePolicy restartPolicy restartPolicyRules volumeMounts volumeDevices livenessProbe readinessProbe"
        " startupProbe lifecycle terminationMessagePath terminationMessagePolicy imagePullPolicy securityContext"
        " stdin stdinOnce tty"
    ),
    "ContainerPort": "name hostPort containerPort protocol hostIP",
    "ResourceRequirements": "limits requests claims",
    "Volume": (
        "name hostPath emptyDir gcePersistentDisk awsElasticBlockStore gitRepo secret nfs iscsi glusterfs"
        " persistentVolumeClaim:ClaimSource rbd flexVolume cinder cephfs flocker downwardAPI fc azureFile configMap"
        " vsphereVolume quobyte azureDisk photonPersistentDisk projected portworxVolume scaleIO storageos csi"
        " ephemeral image"
    ),
    "ClaimSource": "claimName readOnly",
    "Affinity": "nodeAffinity:NodeAffinity podAffinity:PodAffinity podAntiAffinity:PodAffinity",
    "NodeAffinity": (
        "requiredDuringSchedulingIgnoredDuringExecution:NodeSelector"
        " preferredDuringSchedulingIgnoredDuringExecution:PreferredSchedulingTerm"
    ),
    "NodeSelector": "nodeSelectorTerms:NodeSelectorTerm",
    "PreferredSchedulingTerm": "weight preference:NodeSelectorTerm",
    "NodeSelectorTerm": "matchExpressions:Requirement matchFields:Requirement",
    "Requirement": "key operator values",
    "PodAffinity": (
        "requiredDuringSchedulingIgnoredDuringExecution:PodAffinityTerm"
        " preferredDuringSchedulingIgnoredDuringExecution:WeightedPodAffinityTerm"
    ),
    "WeightedPodAffinityTerm": "weight podAffinityTerm:PodAffinityTerm",
    "PodAffinityTerm": (
        "labelSelector:LabelSelector namespaces topologyKey namespaceSelector:LabelSelector matchLabelKeys"
        " mismatchLabelKeys"
    ),
    _SELECTOR: "matchLabels matchExpressions:Requirement",
    "TopologySpreadConstraint": (
        "maxSkew topologyKey whenUnsatisfiable labelSelector:LabelSelector minDomains nodeAffinityPolicy"
        " nodeTaintsPolicy matchLabelKeys"
    ),
    "Toleration": "key operator value effect tolerationSeconds",
}
_FIELDS: Dict[str, Dict[str, str]] = {
    name: {entry.partition(":")[0]: entry.partition(":")[2] for entry in text.split()} for name, text in _TYPES.items()
}
# What every object has beside its spec.
_OF_OBJECTS = ("apiVersion", "kind", "metadata", "status")


def check_fields(kind: str, document: Mapping[str, Any], thing: str) -> None:
    """Refuse a field that the API does not know, as its strict validation does."""
    top = {name: value for name, value in document.items() if name not in _OF_OBJECTS}
    _check(kind, top, thing, "")


def _check(kind: str, value: Any, thing: str, where: str) -> None:
    if isinstance(value, list):
        for index, item in enumerate(value):
            _check(kind, item, thing, f"{where}[{index}]")
        return
    if not isinstance(value, Mapping):
        return
    known = _FIELDS[kind]
    for name, item in value.items():
        at = f"{where}.{name}" if where else str(name)
        if name not in known:
            close = next((other for other in known if other.lower() == str(name).lower()), "")
            raise SpecError(f"{thing}: {at}: unknown field{f'; {close} is meant' if close else ''}")
        if known[name]:
            _check(known[name], item, thing, at)
