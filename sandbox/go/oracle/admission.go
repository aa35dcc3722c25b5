// Copyright (c) 2026, Airgap Speech contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"errors"
	"fmt"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	quotaplugin "k8s.io/apiserver/pkg/admission/plugin/resourcequota"
	"k8s.io/apiserver/pkg/authentication/user"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	quota "k8s.io/apiserver/pkg/quota/v1"
	"k8s.io/apiserver/pkg/quota/v1/generic"
	"k8s.io/apiserver/pkg/registry/rest"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/cache"
	"k8s.io/component-base/featuregate"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	"k8s.io/kubernetes/pkg/apis/core"
	claimregistry "k8s.io/kubernetes/pkg/registry/core/persistentvolumeclaim"
	podregistry "k8s.io/kubernetes/pkg/registry/core/pod"
	"k8s.io/kubernetes/plugin/pkg/admission/defaulttolerationseconds"
	"k8s.io/kubernetes/plugin/pkg/admission/limitranger"
	"k8s.io/kubernetes/plugin/pkg/admission/priority"
	"k8s.io/kubernetes/plugin/pkg/admission/runtimeclass"
	"k8s.io/kubernetes/plugin/pkg/admission/storage/storageclass/setdefault"
)

// gate is what stands between a request and the store of an API server: default plugins that bear on capacity, in
// the API server's order.
type gate struct {
	plugins []admission.Interface
	close   func()
}

func newGate(objects []runtime.Object) (*gate, error) {
	client := fake.NewSimpleClientset(objects...)
	version := newVersions(client)
	client.PrependReactor("update", "resourcequotas", version.update)
	factory := informers.NewSharedInformerFactory(client, 0)
	done := make(chan struct{})

	ranger, err := limitranger.NewLimitRanger(nil)
	if err != nil {
		return nil, err
	}
	ranger.SetExternalKubeClientSet(client)
	ranger.SetExternalKubeInformerFactory(factory)
	priorities := priority.NewPlugin()
	priorities.SetExternalKubeClientSet(client)
	priorities.SetExternalKubeInformerFactory(factory)
	runtimes := runtimeclass.NewRuntimeClass()
	runtimes.SetExternalKubeClientSet(client)
	runtimes.SetExternalKubeInformerFactory(factory)
	classes := admission.NewPlugins()
	setdefault.Register(classes)
	storage, err := classes.InitPlugin(setdefault.PluginName, nil, initializer{factory})
	if err != nil {
		return nil, err
	}
	quotas, err := quotaplugin.NewResourceQuota(nil, 1)
	if err != nil {
		return nil, err
	}
	quotas.SetDrainedNotification(done)
	quotas.SetExternalKubeClientSet(client)
	quotas.SetExternalKubeInformerFactory(factory)
	configuration, err := quotaConfiguration(nil, factory)
	if err != nil {
		return nil, err
	}
	quotas.SetQuotaConfiguration(configuration)

	plugins := []admission.Interface{
		ranger, priorities, defaulttolerationseconds.NewDefaultTolerationSeconds(), storage, runtimes, quotas,
	}
	for _, plugin := range plugins {
		if waits, ok := plugin.(interface{ SetReadyFunc(admission.ReadyFunc) }); ok {
			waits.SetReadyFunc(func() bool { return true })
		}
		if asks, ok := plugin.(interface{ InspectFeatureGates(featuregate.FeatureGate) }); ok {
			asks.InspectFeatureGates(utilfeature.DefaultFeatureGate)
		}
	}
	if err := fill(factory, objects); err != nil {
		return nil, err
	}
	if err := countUsage(client, factory, objects); err != nil {
		return nil, err
	}
	return &gate{plugins: plugins, close: func() { close(done) }}, nil
}

type initializer struct {
	factory informers.SharedInformerFactory
}

func (i initializer) Initialize(plugin admission.Interface) {
	if wants, ok := plugin.(interface {
		SetExternalKubeInformerFactory(informers.SharedInformerFactory)
	}); ok {
		wants.SetExternalKubeInformerFactory(i.factory)
	}
}

// fill puts the objects where the listers look, without a watch.
func fill(factory informers.SharedInformerFactory, objects []runtime.Object) error {
	for _, object := range objects {
		var informer cache.SharedIndexInformer
		switch object.GetObjectKind().GroupVersionKind().Kind {
		case "LimitRange":
			informer = factory.Core().V1().LimitRanges().Informer()
		case "ResourceQuota":
			informer = factory.Core().V1().ResourceQuotas().Informer()
		case "Pod":
			informer = factory.Core().V1().Pods().Informer()
		case "PersistentVolumeClaim":
			informer = factory.Core().V1().PersistentVolumeClaims().Informer()
		case "PriorityClass":
			informer = factory.Scheduling().V1().PriorityClasses().Informer()
		case "RuntimeClass":
			informer = factory.Node().V1().RuntimeClasses().Informer()
		case "StorageClass":
			informer = factory.Storage().V1().StorageClasses().Informer()
		default:
			continue
		}
		if err := informer.GetIndexer().Add(object); err != nil {
			return err
		}
	}
	return nil
}

// countUsage does what the quota controller does: it says how much of each quota is used.
func countUsage(client *fake.Clientset, factory informers.SharedInformerFactory, objects []runtime.Object) error {
	listers := func(resource schema.GroupVersionResource) (cache.GenericLister, error) {
		informer, err := factory.ForResource(resource)
		if err != nil {
			return nil, err
		}
		return informer.Lister(), nil
	}
	configuration, err := quotaConfiguration(listers, factory)
	if err != nil {
		return err
	}
	registry := generic.NewRegistry(configuration.Evaluators())
	for _, object := range objects {
		limit, ok := object.(*v1.ResourceQuota)
		if !ok {
			continue
		}
		if limit.Status.Hard == nil {
			limit.Status.Hard = limit.Spec.Hard.DeepCopy()
		}
		if limit.Status.Used == nil {
			used, err := quota.CalculateUsage(limit.Namespace, limit.Spec.Scopes, limit.Status.Hard, registry, limit.Spec.ScopeSelector)
			if err != nil {
				return fmt.Errorf("ResourceQuota %s: usage: %w", limit.Name, err)
			}
			limit.Status.Used = used
		}
		if err := client.Tracker().Update(v1.SchemeGroupVersion.WithResource("resourcequotas"), limit, limit.Namespace); err != nil {
			return err
		}
		if err := factory.Core().V1().ResourceQuotas().Informer().GetIndexer().Update(limit); err != nil {
			return err
		}
	}
	return nil
}

// admitPod does to a pod what the API server does when it is created; the pod that is stored, or why it is refused.
func (g *gate) admitPod(pod *v1.Pod) (*v1.Pod, error) {
	legacyscheme.Scheme.Default(pod)
	internal := &core.Pod{}
	if err := legacyscheme.Scheme.Convert(pod, internal, nil); err != nil {
		return nil, err
	}
	if err := g.admit(internal, core.Kind("Pod"), core.Resource("pods"), pod.Namespace, pod.Name, podregistry.Strategy); err != nil {
		return nil, err
	}
	stored := &v1.Pod{}
	if err := legacyscheme.Scheme.Convert(internal, stored, nil); err != nil {
		return nil, err
	}
	stored.SetGroupVersionKind(v1.SchemeGroupVersion.WithKind("Pod"))
	return stored, nil
}

// admitClaim does the same for a claim.
func (g *gate) admitClaim(claim *v1.PersistentVolumeClaim) (*v1.PersistentVolumeClaim, error) {
	legacyscheme.Scheme.Default(claim)
	internal := &core.PersistentVolumeClaim{}
	if err := legacyscheme.Scheme.Convert(claim, internal, nil); err != nil {
		return nil, err
	}
	err := g.admit(
		internal, core.Kind("PersistentVolumeClaim"), core.Resource("persistentvolumeclaims"), claim.Namespace, claim.Name,
		claimregistry.Strategy,
	)
	if err != nil {
		return nil, err
	}
	stored := &v1.PersistentVolumeClaim{}
	if err := legacyscheme.Scheme.Convert(internal, stored, nil); err != nil {
		return nil, err
	}
	stored.SetGroupVersionKind(v1.SchemeGroupVersion.WithKind("PersistentVolumeClaim"))
	return stored, nil
}

func (g *gate) admit(
	object runtime.Object, kind schema.GroupKind, resource schema.GroupResource, namespace, name string,
	strategy rest.RESTCreateStrategy,
) error {
	who := &user.DefaultInfo{Name: "oracle", Groups: []string{"system:masters"}}
	ctx := genericapirequest.WithNamespace(genericapirequest.WithUser(context.Background(), who), namespace)
	// An error of validation says "Pod.core", which is what the API server says too.
	attributes := admission.NewAttributesRecord(
		object, nil, kind.WithVersion(runtime.APIVersionInternal), namespace, name, resource.WithVersion("v1"), "",
		admission.Create, &metav1.CreateOptions{}, false, who,
	)
	interfaces := admission.NewObjectInterfacesFromScheme(legacyscheme.Scheme)
	for _, plugin := range g.plugins {
		if mutates, ok := plugin.(admission.MutationInterface); ok && mutates.Handles(admission.Create) {
			if err := mutates.Admit(ctx, attributes, interfaces); err != nil {
				return err
			}
		}
	}
	strategy.PrepareForCreate(ctx, object)
	if failed := strategy.Validate(ctx, object); len(failed) > 0 {
		return errors.New(failed.ToAggregate().Error())
	}
	strategy.Canonicalize(object)
	for _, plugin := range g.plugins {
		if validates, ok := plugin.(admission.ValidationInterface); ok && validates.Handles(admission.Create) {
			if err := validates.Validate(ctx, attributes, interfaces); err != nil {
				return err
			}
		}
	}
	return nil
}
