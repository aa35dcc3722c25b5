// Copyright (c) 2026, Airgap Speech contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"fmt"
	"strconv"
	"strings"
	"sync"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/component-helpers/storage/volume"
)

var (
	podResource     = v1.SchemeGroupVersion.WithResource("pods")
	claimResource   = v1.SchemeGroupVersion.WithResource("persistentvolumeclaims")
	volumeResource  = v1.SchemeGroupVersion.WithResource("persistentvolumes")
	nodeResource    = v1.SchemeGroupVersion.WithResource("nodes")
	classResource   = storagev1.SchemeGroupVersion.WithResource("storageclasses")
	csiNodeResource = storagev1.SchemeGroupVersion.WithResource("csinodes")
)

// versions gives objects a new version with each change, which the fake clientset leaves out and the scheduler and
// the quota plugin compare.
type versions struct {
	client *fake.Clientset
	lock   sync.Mutex
	last   int
}

func newVersions(client *fake.Clientset) *versions {
	return &versions{client: client, last: 1_000_000}
}

func (v *versions) next() string {
	v.lock.Lock()
	defer v.lock.Unlock()
	v.last++
	return strconv.Itoa(v.last)
}

// update stores an object with a new version.
func (v *versions) update(action clienttesting.Action) (bool, runtime.Object, error) {
	updated, ok := action.(clienttesting.UpdateAction)
	if !ok {
		return false, nil, nil
	}
	object := updated.GetObject().DeepCopyObject()
	accessor, err := meta.Accessor(object)
	if err != nil {
		return true, nil, err
	}
	accessor.SetResourceVersion(v.next())
	return true, object, v.client.Tracker().Update(action.GetResource(), object, action.GetNamespace())
}

// volumes plays the controller of PersistentVolumes and the provisioners: what the scheduler chooses is bound at once.
type volumes struct {
	client  *fake.Clientset
	version *versions
}

func (c *volumes) react() {
	c.client.PrependReactor("update", "persistentvolumes", func(action clienttesting.Action) (bool, runtime.Object, error) {
		handled, object, err := c.version.update(action)
		if stored, ok := object.(*v1.PersistentVolume); ok && err == nil {
			err = c.bind(stored)
		}
		return handled, object, err
	})
	c.client.PrependReactor("update", "persistentvolumeclaims", func(action clienttesting.Action) (bool, runtime.Object, error) {
		handled, object, err := c.version.update(action)
		if stored, ok := object.(*v1.PersistentVolumeClaim); ok && err == nil {
			err = c.provision(stored)
		}
		return handled, object, err
	})
}

// bind gives a volume to the claim that the scheduler wrote into it.
func (c *volumes) bind(stored *v1.PersistentVolume) error {
	reference := stored.Spec.ClaimRef
	if reference == nil {
		return nil
	}
	object, err := c.client.Tracker().Get(claimResource, reference.Namespace, reference.Name)
	if err != nil {
		return err
	}
	return c.bound(object.(*v1.PersistentVolumeClaim).DeepCopy(), stored.Name)
}

func (c *volumes) bound(claim *v1.PersistentVolumeClaim, name string) error {
	claim.Spec.VolumeName = name
	metav1.SetMetaDataAnnotation(&claim.ObjectMeta, volume.AnnBindCompleted, "yes")
	metav1.SetMetaDataAnnotation(&claim.ObjectMeta, volume.AnnBoundByController, "yes")
	claim.Status.Phase = v1.ClaimBound
	claim.ResourceVersion = c.version.next()
	return c.client.Tracker().Update(claimResource, claim, claim.Namespace)
}

// provision makes the volume of a claim for which the scheduler has chosen a node: reachable from that node alone
// where the provisioner makes directories of nodes, else from wherever its CSI driver's topology says.
func (c *volumes) provision(claim *v1.PersistentVolumeClaim) error {
	chosen := claim.Annotations[volume.AnnSelectedNode]
	if chosen == "" || claim.Spec.VolumeName != "" || claim.Spec.StorageClassName == nil {
		return nil
	}
	tracker := c.client.Tracker()
	object, err := tracker.Get(classResource, "", *claim.Spec.StorageClassName)
	if err != nil {
		return err
	}
	class := object.(*storagev1.StorageClass)
	object, err = tracker.Get(nodeResource, "", chosen)
	if err != nil {
		return err
	}
	node := object.(*v1.Node)
	made := &v1.PersistentVolume{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "PersistentVolume"},
		ObjectMeta: metav1.ObjectMeta{Name: "pvc-" + string(claim.UID), UID: types.UID("pv-" + claim.UID), ResourceVersion: c.version.next()},
		Spec: v1.PersistentVolumeSpec{
			Capacity:         v1.ResourceList{v1.ResourceStorage: claim.Spec.Resources.Requests[v1.ResourceStorage]},
			AccessModes:      claim.Spec.AccessModes,
			StorageClassName: class.Name,
			ClaimRef: &v1.ObjectReference{
				Kind: "PersistentVolumeClaim", APIVersion: "v1", Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID,
			},
		},
		Status: v1.PersistentVolumeStatus{Phase: v1.VolumeBound},
	}
	var keys []string
	if strings.Contains(class.Provisioner, "local-path") || strings.Contains(class.Provisioner, "hostpath") {
		made.Spec.HostPath = &v1.HostPathVolumeSource{Path: "/volumes/" + made.Name}
		keys = []string{v1.LabelHostname}
	} else {
		made.Spec.CSI = &v1.CSIPersistentVolumeSource{Driver: class.Provisioner, VolumeHandle: made.Name}
		if object, err := tracker.Get(csiNodeResource, "", chosen); err == nil {
			for _, driver := range object.(*storagev1.CSINode).Spec.Drivers {
				if driver.Name == class.Provisioner {
					keys = driver.TopologyKeys
				}
			}
		}
	}
	var wanted []v1.NodeSelectorRequirement
	for _, key := range keys {
		value, ok := node.Labels[key]
		if !ok {
			return fmt.Errorf("node %s has no label %s, which its volumes need", node.Name, key)
		}
		wanted = append(wanted, v1.NodeSelectorRequirement{Key: key, Operator: v1.NodeSelectorOpIn, Values: []string{value}})
	}
	if wanted != nil {
		made.Spec.NodeAffinity = &v1.VolumeNodeAffinity{
			Required: &v1.NodeSelector{NodeSelectorTerms: []v1.NodeSelectorTerm{{MatchExpressions: wanted}}},
		}
	}
	if err := tracker.Create(volumeResource, made, ""); err != nil {
		return err
	}
	return c.bound(claim.DeepCopy(), made.Name)
}
