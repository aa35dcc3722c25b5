// Copyright (c) 2026, Airgap Speech contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	jsonserializer "k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	_ "k8s.io/kubernetes/pkg/apis/apps/install"
	_ "k8s.io/kubernetes/pkg/apis/autoscaling/install"
	_ "k8s.io/kubernetes/pkg/apis/batch/install"
	_ "k8s.io/kubernetes/pkg/apis/core/install"
	_ "k8s.io/kubernetes/pkg/apis/node/install"
	_ "k8s.io/kubernetes/pkg/apis/policy/install"
	schedulingv1 "k8s.io/kubernetes/pkg/apis/scheduling/v1"

	_ "k8s.io/kubernetes/pkg/apis/scheduling/install"
	_ "k8s.io/kubernetes/pkg/apis/storage/install"
)

// question is one case: a cluster, and a manifest that is applied to it.
type question struct {
	ID         string            `json:"id"`
	Runs       int               `json:"runs"`
	Cluster    []json.RawMessage `json:"cluster"`
	Manifest   []json.RawMessage `json:"manifest"`
	Namespace  string            `json:"namespace"`
	Preemption bool              `json:"preemption"`
}

// result is the answer to a question.
type result struct {
	ID string `json:"id"`
	// What the API server would not take: an object that cannot be read, before any pod is made.
	Error string `json:"error,omitempty"`
	// Pods and claims that admission or validation refused, with the reason: the same in every run.
	Rejected map[string]string `json:"rejected,omitempty"`
	Runs     []outcome         `json:"runs,omitempty"`
}

// outcome is what one run ended with.
type outcome struct {
	Placed  map[string]string `json:"placed"`            // pod -> node
	Pending map[string]string `json:"pending,omitempty"` // pod -> the scheduler's message
	Evicted []string          `json:"evicted,omitempty"` // pods of others that made room
}

var strict = jsonserializer.NewSerializerWithOptions(
	jsonserializer.DefaultMetaFactory, legacyscheme.Scheme, legacyscheme.Scheme, jsonserializer.SerializerOptions{Strict: true},
)

// decode reads an object as strictly as the API server does for kubectl, and fills in its defaults.
func decode(data []byte, namespace string) (runtime.Object, error) {
	object, _, err := strict.Decode(data, nil, nil)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", describe(data), err)
	}
	accessor, err := meta.Accessor(object)
	if err != nil {
		return nil, err
	}
	if accessor.GetNamespace() == "" && namespaced(object) {
		accessor.SetNamespace(namespace)
	}
	legacyscheme.Scheme.Default(object)
	return object, nil
}

func describe(data []byte) string {
	var head struct {
		Kind     string `json:"kind"`
		Metadata struct {
			Name string `json:"name"`
		} `json:"metadata"`
	}
	_ = json.Unmarshal(data, &head)
	return head.Kind + " " + head.Metadata.Name
}

var clusterWide = map[string]bool{
	"Node": true, "Namespace": true, "PersistentVolume": true, "StorageClass": true, "CSINode": true, "CSIDriver": true,
	"PriorityClass": true, "RuntimeClass": true, "VolumeAttachment": true,
}

func namespaced(object runtime.Object) bool {
	return !clusterWide[object.GetObjectKind().GroupVersionKind().Kind]
}

// stamp gives an object what the API server gives it: an identity and a version.
func stamp(object runtime.Object, number int) {
	accessor, err := meta.Accessor(object)
	if err != nil {
		panic(err) // every object of the scheme has metadata
	}
	if accessor.GetUID() == "" {
		accessor.SetUID(types.UID(fmt.Sprintf("00000000-0000-0000-0000-%012d", number)))
	}
	accessor.SetResourceVersion(strconv.Itoa(number))
}

func answer(t *testing.T, line []byte) (reply any) {
	var asked question
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&asked); err != nil {
		return result{Error: "question: " + err.Error()}
	}
	if asked.Namespace == "" {
		asked.Namespace = "default"
	}
	reported := result{ID: asked.ID}
	world, err := readWorld(asked)
	if err != nil {
		reported.Error = err.Error()
		return reported
	}
	reported.Rejected = world.rejected
	for run := range asked.Runs {
		reported.Runs = append(reported.Runs, world.schedule(t, fmt.Sprintf("%s/%d", asked.ID, run)))
	}
	return reported
}

// world is a cluster before the manifest's pods are scheduled.
type world struct {
	objects    []runtime.Object
	nodes      []*v1.Node
	daemons    []*v1.Pod // of DaemonSets: first
	pods       []*v1.Pod // of all others, in the order of the objects
	rejected   map[string]string
	preemption bool
	stamped    int
}

func (w *world) add(object runtime.Object) {
	w.stamped++
	stamp(object, w.stamped)
	w.objects = append(w.objects, object)
}

func readWorld(asked question) (*world, error) {
	w := &world{rejected: map[string]string{}, preemption: asked.Preemption}
	namespaces := map[string]bool{}
	needed := []string{asked.Namespace}
	for _, data := range asked.Cluster {
		object, err := decode(data, v1.NamespaceDefault)
		if err != nil {
			return nil, err
		}
		switch typed := object.(type) {
		case *v1.Node:
			w.nodes = append(w.nodes, typed)
		case *v1.Namespace:
			namespaces[typed.Name] = true
		case *v1.Pod:
			needed = append(needed, typed.Namespace)
		}
		w.add(object)
	}
	var manifest []runtime.Object
	for _, data := range asked.Manifest {
		object, err := decode(data, asked.Namespace)
		if err != nil {
			return nil, err
		}
		accessor, _ := meta.Accessor(object)
		needed = append(needed, accessor.GetNamespace())
		manifest = append(manifest, object)
	}
	for _, name := range needed {
		if name != "" && !namespaces[name] {
			namespaces[name] = true
			namespace := &v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
			legacyscheme.Scheme.Default(namespace)
			w.add(namespace)
		}
	}
	for _, class := range schedulingv1.SystemPriorityClasses() {
		w.add(class)
	}
	return w, w.apply(manifest)
}
