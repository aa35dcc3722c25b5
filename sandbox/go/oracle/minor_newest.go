// Copyright (c) 2026, Airgap Speech contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

//go:build !oldest

package main

import (
	"context"

	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	quota "k8s.io/apiserver/pkg/quota/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/events"
	corev1helper "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/klog/v2"
	fwk "k8s.io/kube-scheduler/framework"
	"k8s.io/kubernetes/pkg/controller/daemon"
	quotainstall "k8s.io/kubernetes/pkg/quota/v1/install"
	"k8s.io/kubernetes/pkg/scheduler"
	"k8s.io/kubernetes/pkg/scheduler/framework"
	frameworkruntime "k8s.io/kubernetes/pkg/scheduler/framework/runtime"
)

// What differs between the minors is in this file and in minor_oldest.go.

const resync = 0

var timeout = framework.EventUnschedulableTimeout

type randomTie struct{ seed string }

func tieRegistry(seed string) frameworkruntime.Registry {
	return frameworkruntime.Registry{
		tieBreak: func(context.Context, runtime.Object, fwk.Handle) (fwk.Plugin, error) { return &randomTie{seed}, nil },
	}
}

func (*randomTie) Name() string { return tieBreak }

func (p *randomTie) Score(_ context.Context, _ fwk.CycleState, pod *v1.Pod, node fwk.NodeInfo) (int64, *fwk.Status) {
	return tieScore(p.seed, pod, node.Node().Name), nil
}

func (*randomTie) ScoreExtensions() fwk.ScoreExtensions { return nil }

func discardEvents(string) events.EventRecorderLogger { return &events.FakeRecorder{} }

func startCalls(sched *scheduler.Scheduler, logger klog.Logger) func() {
	if sched.APIDispatcher == nil {
		return func() {}
	}
	sched.APIDispatcher.Run(logger)
	return sched.APIDispatcher.Close
}

func shouldRunDaemonPod(node *v1.Node, set *appsv1.DaemonSet) bool {
	should, _ := daemon.NodeShouldRunDaemonPod(klog.Logger{}, node, set)
	return should
}

func untolerated(taints []v1.Taint, tolerations []v1.Toleration) (v1.Taint, bool) {
	return corev1helper.FindMatchingUntoleratedTaint(klog.Logger{}, taints, tolerations, noExecute, true)
}

func quotaConfiguration(listers quota.ListerForResourceFunc, factory informers.SharedInformerFactory) (quota.Configuration, error) {
	if listers == nil {
		return quotainstall.NewQuotaConfigurationForAdmission(factory, nil)
	}
	return quotainstall.NewQuotaConfigurationForControllers(listers, factory)
}
