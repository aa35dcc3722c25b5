// Copyright (c) 2026, Airgap Speech contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

//go:build oldest

package main

import (
	"context"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	quota "k8s.io/apiserver/pkg/quota/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/events"
	corev1helper "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/controller/daemon"
	quotainstall "k8s.io/kubernetes/pkg/quota/v1/install"
	"k8s.io/kubernetes/pkg/scheduler"
	"k8s.io/kubernetes/pkg/scheduler/framework"
	frameworkruntime "k8s.io/kubernetes/pkg/scheduler/framework/runtime"
)

// What differs between the minors is in this file and in minor_newest.go.

// Without a resync, its informers wait for a channel from outside the bubble, and the bubble's clock stands still.
const resync = 10_000 * time.Hour

var timeout = framework.UnschedulableTimeout

type randomTie struct{ seed string }

func tieRegistry(seed string) frameworkruntime.Registry {
	return frameworkruntime.Registry{
		tieBreak: func(context.Context, runtime.Object, framework.Handle) (framework.Plugin, error) {
			return &randomTie{seed}, nil
		},
	}
}

func (*randomTie) Name() string { return tieBreak }

func (p *randomTie) Score(_ context.Context, _ *framework.CycleState, pod *v1.Pod, node string) (int64, *framework.Status) {
	return tieScore(p.seed, pod, node), nil
}

func (*randomTie) ScoreExtensions() framework.ScoreExtensions { return nil }

func discardEvents(string) events.EventRecorder { return &events.FakeRecorder{} }

func startCalls(*scheduler.Scheduler, klog.Logger) func() { return func() {} }

func shouldRunDaemonPod(node *v1.Node, set *appsv1.DaemonSet) bool {
	should, _ := daemon.NodeShouldRunDaemonPod(node, set)
	return should
}

func untolerated(taints []v1.Taint, tolerations []v1.Toleration) (v1.Taint, bool) {
	return corev1helper.FindMatchingUntoleratedTaint(taints, tolerations, noExecute)
}

func quotaConfiguration(listers quota.ListerForResourceFunc, _ informers.SharedInformerFactory) (quota.Configuration, error) {
	if listers == nil {
		return quotainstall.NewQuotaConfigurationForAdmission(), nil
	}
	return quotainstall.NewQuotaConfigurationForControllers(listers), nil
}
