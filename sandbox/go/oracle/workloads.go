// Copyright (c) 2026, Airgap Speech contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"fmt"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	daemonutil "k8s.io/kubernetes/pkg/controller/daemon/util"
	"k8s.io/utils/ptr"
)

// The revision that the pods of a manifest carry in their labels.
const revision = "manifest"

// made is a pod that a controller makes, before admission.
type made struct {
	pod    *v1.Pod
	daemon bool
}

// apply does what applying the manifest does: its objects are stored, and controllers make pods.
func (w *world) apply(manifest []runtime.Object) error {
	var claims []*v1.PersistentVolumeClaim
	var workloads []runtime.Object
	for _, object := range manifest {
		switch typed := object.(type) {
		case *v1.PersistentVolumeClaim:
			claims = append(claims, typed)
		case *v1.Pod, *v1.ReplicationController, *appsv1.Deployment, *appsv1.ReplicaSet, *appsv1.StatefulSet,
			*appsv1.DaemonSet, *batchv1.Job:
			workloads = append(workloads, object)
		default:
			w.add(object)
		}
	}
	var pods []made
	for _, object := range workloads {
		found, own, err := w.expand(object)
		if err != nil {
			return err
		}
		pods = append(pods, found...)
		claims = append(claims, own...)
	}
	gate, err := newGate(w.objects)
	if err != nil {
		return err
	}
	defer gate.close()
	for _, claim := range claims {
		stored, err := gate.admitClaim(claim)
		if err != nil {
			w.rejected["PersistentVolumeClaim "+claim.Namespace+"/"+claim.Name] = err.Error()
			continue
		}
		w.add(stored)
	}
	for _, item := range pods {
		stored, err := gate.admitPod(item.pod)
		if err != nil {
			w.rejected[item.pod.Namespace+"/"+item.pod.Name] = err.Error()
			continue
		}
		w.stamped++
		stamp(stored, w.stamped)
		if !w.claimsOf(gate, stored) {
			continue
		}
		if item.daemon {
			w.daemons = append(w.daemons, stored)
		} else {
			w.pods = append(w.pods, stored)
		}
	}
	return nil
}

// claimsOf does what the controller of ephemeral volumes does: each has a claim that its pod owns.
func (w *world) claimsOf(gate *gate, pod *v1.Pod) bool {
	for _, volume := range pod.Spec.Volumes {
		if volume.Ephemeral == nil || volume.Ephemeral.VolumeClaimTemplate == nil {
			continue
		}
		template := volume.Ephemeral.VolumeClaimTemplate
		claim := &v1.PersistentVolumeClaim{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PersistentVolumeClaim"},
			ObjectMeta: metav1.ObjectMeta{
				Name: pod.Name + "-" + volume.Name, Namespace: pod.Namespace, OwnerReferences: owned(pod, "v1", "Pod"),
			},
			Spec: *template.Spec.DeepCopy(),
		}
		stored, err := gate.admitClaim(claim)
		if err != nil {
			w.rejected["PersistentVolumeClaim "+claim.Namespace+"/"+claim.Name] = err.Error()
			return false
		}
		w.add(stored)
	}
	return true
}

// expand makes the pods of a workload as its controller does, and the claims that belong to them.
func (w *world) expand(object runtime.Object) ([]made, []*v1.PersistentVolumeClaim, error) {
	switch typed := object.(type) {
	case *v1.Pod:
		return []made{{pod: typed}}, nil, nil
	case *v1.ReplicationController:
		w.add(typed)
		return replicas(typed.Spec.Template, typed, "v1", "ReplicationController", typed.Name, ptr.Deref(typed.Spec.Replicas, 1), nil), nil, nil
	case *appsv1.ReplicaSet:
		w.add(typed)
		return replicas(&typed.Spec.Template, typed, "apps/v1", "ReplicaSet", typed.Name, ptr.Deref(typed.Spec.Replicas, 1), nil), nil, nil
	case *appsv1.Deployment:
		w.add(typed)
		extra := map[string]string{appsv1.DefaultDeploymentUniqueLabelKey: revision}
		selector := typed.Spec.Selector.DeepCopy()
		if selector == nil {
			return nil, nil, fmt.Errorf("Deployment %s: spec.selector: Required value", typed.Name)
		}
		if selector.MatchLabels == nil {
			selector.MatchLabels = map[string]string{}
		}
		selector.MatchLabels[appsv1.DefaultDeploymentUniqueLabelKey] = revision
		set := &appsv1.ReplicaSet{
			TypeMeta:   metav1.TypeMeta{APIVersion: "apps/v1", Kind: "ReplicaSet"},
			ObjectMeta: metav1.ObjectMeta{Name: typed.Name + "-" + revision, Namespace: typed.Namespace},
			Spec:       appsv1.ReplicaSetSpec{Replicas: typed.Spec.Replicas, Selector: selector, Template: typed.Spec.Template},
		}
		w.add(set)
		return replicas(&typed.Spec.Template, set, "apps/v1", "ReplicaSet", set.Name, ptr.Deref(typed.Spec.Replicas, 1), extra), nil, nil
	case *batchv1.Job:
		w.add(typed)
		return replicas(&typed.Spec.Template, typed, "batch/v1", "Job", typed.Name, jobPods(typed), map[string]string{
			batchv1.JobNameLabel: typed.Name, "job-name": typed.Name,
			batchv1.ControllerUidLabel: string(typed.UID), "controller-uid": string(typed.UID),
		}), nil, nil
	case *appsv1.StatefulSet:
		w.add(typed)
		pods, claims := statefulPods(typed)
		return pods, claims, nil
	case *appsv1.DaemonSet:
		w.add(typed)
		return w.daemonPods(typed), nil, nil
	}
	return nil, nil, fmt.Errorf("%T makes no pods", object)
}

func jobPods(job *batchv1.Job) int32 {
	if ptr.Deref(job.Spec.Suspend, false) {
		return 0
	}
	parallel := ptr.Deref(job.Spec.Parallelism, 1)
	if job.Spec.Completions != nil {
		return min(parallel, *job.Spec.Completions)
	}
	return parallel
}

func owned(owner metav1.Object, version, kind string) []metav1.OwnerReference {
	group, _ := schema.ParseGroupVersion(version)
	return []metav1.OwnerReference{*metav1.NewControllerRef(owner, group.WithKind(kind))}
}

func replicas(
	template *v1.PodTemplateSpec, owner metav1.Object, version, kind, name string, count int32, extra map[string]string,
) []made {
	var pods []made
	for number := range count {
		copied := template.DeepCopy()
		pod := &v1.Pod{ObjectMeta: copied.ObjectMeta, Spec: copied.Spec}
		pod.Name = fmt.Sprintf("%s-%d", name, number)
		pod.Namespace = owner.GetNamespace()
		pod.OwnerReferences = owned(owner, version, kind)
		label(pod, extra)
		pods = append(pods, made{pod: asPod(pod)})
	}
	return pods
}

func label(pod *v1.Pod, extra map[string]string) {
	if pod.Labels == nil {
		pod.Labels = map[string]string{}
	}
	for key, value := range extra {
		pod.Labels[key] = value
	}
}

func asPod(pod *v1.Pod) *v1.Pod {
	pod.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}
	return pod
}

func statefulPods(set *appsv1.StatefulSet) ([]made, []*v1.PersistentVolumeClaim) {
	var claims []*v1.PersistentVolumeClaim
	pods := replicas(&set.Spec.Template, set, "apps/v1", "StatefulSet", set.Name, ptr.Deref(set.Spec.Replicas, 1), nil)
	start := int32(0)
	if set.Spec.Ordinals != nil {
		start = set.Spec.Ordinals.Start
	}
	for number := range pods {
		pod := pods[number].pod
		ordinal := int(start) + number
		pod.Name = fmt.Sprintf("%s-%d", set.Name, ordinal)
		pod.Spec.Hostname = pod.Name
		pod.Spec.Subdomain = set.Spec.ServiceName
		label(pod, map[string]string{
			appsv1.StatefulSetPodNameLabel: pod.Name, appsv1.PodIndexLabel: strconv.Itoa(ordinal),
			appsv1.ControllerRevisionHashLabelKey: revision,
		})
		var volumes []v1.Volume
		own := map[string]bool{}
		for _, template := range set.Spec.VolumeClaimTemplates {
			claim := template.DeepCopy()
			own[template.Name] = true
			claim.Name = fmt.Sprintf("%s-%s", template.Name, pod.Name)
			claim.Namespace = set.Namespace
			claim.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "PersistentVolumeClaim"}
			claims = append(claims, claim)
			source := &v1.PersistentVolumeClaimVolumeSource{ClaimName: claim.Name}
			volumes = append(volumes, v1.Volume{Name: template.Name, VolumeSource: v1.VolumeSource{PersistentVolumeClaim: source}})
		}
		for _, volume := range pod.Spec.Volumes {
			if !own[volume.Name] {
				volumes = append(volumes, volume)
			}
		}
		pod.Spec.Volumes = volumes
	}
	return pods, claims
}

func (w *world) daemonPods(set *appsv1.DaemonSet) []made {
	var pods []made
	for number, node := range w.nodes {
		if !shouldRunDaemonPod(node, set) {
			continue
		}
		template := daemonutil.CreatePodTemplate(set.Spec.Template, ptr.To[int64](1), revision)
		pod := &v1.Pod{ObjectMeta: *template.ObjectMeta.DeepCopy(), Spec: *template.Spec.DeepCopy()}
		pod.Name = fmt.Sprintf("%s-%d", set.Name, number)
		pod.UID = types.UID("")
		pod.Namespace = set.Namespace
		pod.OwnerReferences = owned(set, "apps/v1", "DaemonSet")
		pod.Spec.Affinity = daemonutil.ReplaceDaemonSetPodNodeNameNodeAffinity(pod.Spec.Affinity, node.Name)
		pods = append(pods, made{pod: asPod(pod), daemon: true})
	}
	return pods
}
