// Copyright (c) 2026, Airgap Speech contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"sort"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/scheduler"
	schedulerapi "k8s.io/kubernetes/pkg/scheduler/apis/config"
	"k8s.io/kubernetes/pkg/scheduler/apis/config/latest"
	"k8s.io/kubernetes/pkg/scheduler/framework"
)

const (
	tieBreak = "RandomTieBreak"
	// Between one pod and the next, so that the queue knows their order.
	moment = time.Millisecond
	// In the time of the run. A pod that fails with an error, not for want of a node, is tried again for ever.
	longest = time.Hour
)

// profileOf is the default profile, with a random choice between nodes of equal score: the plugin that breaks ties
// scores up to 100, and all others weigh a thousand times what they do.
func profileOf(preemption bool) (schedulerapi.KubeSchedulerProfile, error) {
	config, err := latest.Default()
	if err != nil {
		return schedulerapi.KubeSchedulerProfile{}, err
	}
	profile := config.Profiles[0]
	var enabled []schedulerapi.Plugin
	for _, plugin := range profile.Plugins.MultiPoint.Enabled {
		if plugin.Name == "DefaultPreemption" && !preemption {
			continue
		}
		plugin.Weight = max(plugin.Weight, 1) * 1000
		enabled = append(enabled, plugin)
	}
	profile.Plugins.MultiPoint.Enabled = append(enabled, schedulerapi.Plugin{Name: tieBreak, Weight: 1})
	return profile, nil
}

// tieScore is the same for the same run, pod and node.
func tieScore(seed string, pod *v1.Pod, node string) int64 {
	hash := fnv.New64a()
	_, _ = fmt.Fprintf(hash, "%s/%s/%s/%s", seed, pod.Namespace, pod.Name, node)
	value := hash.Sum64()
	// FNV's last bits hardly mix over short names.
	value ^= value >> 33
	value *= 0xff51afd7ed558ccd
	value ^= value >> 33
	return int64(value % 101)
}

// run is one cluster in which the pods are scheduled once.
type run struct {
	world    *world
	client   *fake.Clientset
	version  *versions
	ctx      context.Context
	sched    *scheduler.Scheduler
	begun    time.Time
	lock     sync.Mutex
	messages map[string]string
	evicted  []string
}

// schedule runs the scheduler until nothing moves any more.
func (w *world) schedule(t *testing.T, seed string) outcome {
	var ended outcome
	synctest.Test(t, func(*testing.T) {
		ctx, cancel := context.WithCancel(klog.NewContext(context.Background(), logr.Discard()))
		client := fake.NewSimpleClientset(w.lasting()...)
		r := &run{world: w, client: client, version: newVersions(client), ctx: ctx, begun: time.Now(), messages: map[string]string{}}
		r.react()
		factory := informers.NewSharedInformerFactory(client, resync)
		stopScheduler, err := r.start(factory, seed)
		if err != nil {
			panic(err) // nothing of a case bears on this
		}
		r.all()
		ended = r.outcome()
		cancel()
		stopScheduler()
		factory.Shutdown()
		// What looks only once a second whether it should end.
		time.Sleep(2 * time.Second)
	})
	return ended
}

// lasting are the objects that the scheduler sees: it watches no pods that have ended.
func (w *world) lasting() []runtime.Object {
	var kept []runtime.Object
	for _, object := range w.objects {
		pod, ok := object.(*v1.Pod)
		if !ok || (pod.Status.Phase != v1.PodSucceeded && pod.Status.Phase != v1.PodFailed) {
			kept = append(kept, object)
		}
	}
	return kept
}

func (r *run) start(factory informers.SharedInformerFactory, seed string) (func(), error) {
	profile, err := profileOf(r.world.preemption)
	if err != nil {
		return nil, err
	}
	sched, err := scheduler.New(
		r.ctx, r.client, factory, nil, discardEvents,
		scheduler.WithProfiles(profile),
		scheduler.WithFrameworkOutOfTreeRegistry(tieRegistry(seed)),
		scheduler.WithParallelism(1),
	)
	if err != nil {
		return nil, err
	}
	r.sched = sched
	factory.Start(r.ctx.Done())
	factory.WaitForCacheSync(r.ctx.Done())
	if err := sched.WaitForHandlersSync(r.ctx); err != nil {
		return nil, err
	}
	logger := klog.FromContext(r.ctx)
	sched.SchedulingQueue.Run(logger)
	stopCalls := startCalls(sched, logger)
	return func() {
		stopCalls()
		sched.SchedulingQueue.Close()
	}, nil
}

// react stands in for the parts of a cluster that answer the scheduler.
func (r *run) react() {
	(&volumes{client: r.client, version: r.version}).react()
	r.client.PrependReactor("create", "pods", func(action clienttesting.Action) (bool, runtime.Object, error) {
		if action.GetSubresource() != "binding" {
			return false, nil, nil
		}
		binding := action.(clienttesting.CreateAction).GetObject().(*v1.Binding)
		object, err := r.client.Tracker().Get(podResource, action.GetNamespace(), binding.Name)
		if err != nil {
			return true, nil, err
		}
		pod := object.(*v1.Pod).DeepCopy()
		pod.Spec.NodeName = binding.Target.Name
		pod.ResourceVersion = r.version.next()
		return true, binding, r.client.Tracker().Update(podResource, pod, pod.Namespace)
	})
	r.client.PrependReactor("patch", "pods", func(action clienttesting.Action) (bool, runtime.Object, error) {
		patch := action.(clienttesting.PatchAction)
		r.note(action.GetNamespace()+"/"+patch.GetName(), patch.GetPatch())
		object, err := r.client.Tracker().Get(podResource, action.GetNamespace(), patch.GetName())
		return true, object, err
	})
	r.client.PrependReactor("delete", "pods", func(action clienttesting.Action) (bool, runtime.Object, error) {
		r.lock.Lock()
		defer r.lock.Unlock()
		r.evicted = append(r.evicted, action.GetNamespace()+"/"+action.(clienttesting.DeleteAction).GetName())
		return false, nil, nil
	})
}

// note keeps what the scheduler writes into the status of a pod that it could not place.
func (r *run) note(pod string, patch []byte) {
	var wanted struct {
		Status struct {
			Conditions []struct {
				Type    string `json:"type"`
				Message string `json:"message"`
			} `json:"conditions"`
		} `json:"status"`
	}
	if json.Unmarshal(patch, &wanted) != nil {
		return
	}
	r.lock.Lock()
	defer r.lock.Unlock()
	for _, condition := range wanted.Status.Conditions {
		if condition.Type == string(v1.PodScheduled) && condition.Message != "" {
			r.messages[pod] = condition.Message
		}
	}
}

// all brings the pods into the cluster: those that name their node, those of DaemonSets, then all others.
func (r *run) all() {
	var daemons, others []*v1.Pod
	for _, group := range []struct {
		pods []*v1.Pod
		into *[]*v1.Pod
	}{{r.world.daemons, &daemons}, {r.world.pods, &others}} {
		for _, pod := range group.pods {
			if pod.Spec.NodeName != "" {
				r.runOnNode(pod)
			} else {
				*group.into = append(*group.into, pod)
			}
		}
	}
	r.create(daemons)
	r.settle(len(daemons))
	r.create(others)
	total := len(daemons) + len(others)
	r.settle(total)
	if r.unbound() > 0 {
		// What the scheduler does every few minutes in any case: it tries all again, whatever woke them or did not.
		r.sched.SchedulingQueue.MoveAllToActiveOrBackoffQueue(klog.FromContext(r.ctx), timeout, nil, nil, nil)
		r.settle(total)
	}
}

// runOnNode is what becomes of a pod that names its node: the kubelet there takes it or does not.
func (r *run) runOnNode(pod *v1.Pod) {
	key := pod.Namespace + "/" + pod.Name
	var node *v1.Node
	for _, candidate := range r.world.nodes {
		if candidate.Name == pod.Spec.NodeName {
			node = candidate
		}
	}
	if node == nil {
		r.messages[key] = fmt.Sprintf("node %s is not there", pod.Spec.NodeName)
		return
	}
	var there []*v1.Pod
	listed, err := r.client.Tracker().List(podResource, v1.SchemeGroupVersion.WithKind("Pod"), "")
	if err != nil {
		panic(err)
	}
	for index := range listed.(*v1.PodList).Items {
		if other := &listed.(*v1.PodList).Items[index]; other.Spec.NodeName == node.Name {
			there = append(there, other)
		}
	}
	info := framework.NewNodeInfo(there...)
	info.SetNode(node)
	refuses := "the kubelet of node " + node.Name + " refuses it: "
	for _, failed := range scheduler.AdmissionCheck(pod, info, false) {
		r.messages[key] = fmt.Sprintf("%s%s: Predicate %s failed: %s", refuses, failed.Name, failed.Name, failed.Reason)
		if lacking := failed.InsufficientResource; lacking != nil {
			r.messages[key] = fmt.Sprintf("%sOutOf%s: Node didn't have enough resource: %s", refuses, lacking.ResourceName, lacking.ResourceName)
		}
		return
	}
	if taint, found := untolerated(node.Spec.Taints, pod.Spec.Tolerations); found {
		r.messages[key] = fmt.Sprintf("%staint %s", refuses, taint.ToString())
		return
	}
	if err := r.client.Tracker().Create(podResource, pod, pod.Namespace); err != nil {
		panic(err)
	}
	synctest.Wait()
}

func noExecute(taint *v1.Taint) bool { return taint.Effect == v1.TaintEffectNoExecute }

func (r *run) create(pods []*v1.Pod) {
	for _, pod := range pods {
		if err := r.client.Tracker().Create(podResource, pod, pod.Namespace); err != nil {
			panic(err)
		}
		time.Sleep(moment)
	}
	synctest.Wait()
}

// settle schedules, one pod after the other, until no pod waits for its turn and no binding is under way.
func (r *run) settle(created int) {
	for {
		synctest.Wait()
		var active, backoff, waiting int
		_, summary := r.sched.SchedulingQueue.PendingPods()
		if _, err := fmt.Sscanf(summary, "activeQ:%d; backoffQ:%d; unschedulablePods:%d", &active, &backoff, &waiting); err != nil {
			panic(summary)
		}
		if active > 0 {
			r.sched.ScheduleOne(r.ctx)
			time.Sleep(moment)
			continue
		}
		if backoff == 0 && waiting >= r.unbound() || time.Since(r.begun) > longest {
			return
		}
		time.Sleep(time.Second)
	}
}

// unbound counts the pods of the manifest that are in the cluster and on no node.
func (r *run) unbound() int {
	count := 0
	for _, group := range [][]*v1.Pod{r.world.daemons, r.world.pods} {
		for _, pod := range group {
			object, err := r.client.Tracker().Get(podResource, pod.Namespace, pod.Name)
			if err == nil && object.(*v1.Pod).Spec.NodeName == "" {
				count++
			}
		}
	}
	return count
}

func (r *run) outcome() outcome {
	ended := outcome{Placed: map[string]string{}, Pending: map[string]string{}}
	for _, group := range [][]*v1.Pod{r.world.daemons, r.world.pods} {
		for _, pod := range group {
			key := pod.Namespace + "/" + pod.Name
			object, err := r.client.Tracker().Get(podResource, pod.Namespace, pod.Name)
			if err == nil && object.(*v1.Pod).Spec.NodeName != "" {
				ended.Placed[key] = object.(*v1.Pod).Spec.NodeName
			} else {
				ended.Pending[key] = r.messages[key]
			}
		}
	}
	sort.Strings(r.evicted)
	ended.Evicted = r.evicted
	return ended
}
