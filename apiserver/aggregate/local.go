package aggregate

import (
	"context"
	"errors"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"

	"github.com/inboard/inboard/apiserver/client"
)

// managedLabel marks the APIServices that the server itself keeps: those of kinds that it has built in are made once
// and then left alone, those of others are kept as they should be.
const (
	managedLabel = "kube-aggregator.kubernetes.io/automanaged"
	onStart      = "onstart"
	always       = "true"
)

// priority is where a group, and in it a version, stands in what clients are told.
type priority struct{ group, version int32 }

// priorities are kube-apiserver's of its own groups and versions.
var priorities = map[schema.GroupVersion]priority{
	{Group: "", Version: "v1"}:                                   {18000, 1},
	{Group: "apps", Version: "v1"}:                               {17800, 15},
	{Group: "events.k8s.io", Version: "v1"}:                      {17750, 15},
	{Group: "authentication.k8s.io", Version: "v1"}:              {17700, 15},
	{Group: "authorization.k8s.io", Version: "v1"}:               {17600, 15},
	{Group: "autoscaling", Version: "v1"}:                        {17500, 15},
	{Group: "autoscaling", Version: "v2"}:                        {17500, 30},
	{Group: "batch", Version: "v1"}:                              {17400, 15},
	{Group: "certificates.k8s.io", Version: "v1"}:                {17300, 15},
	{Group: "certificates.k8s.io", Version: "v1beta1"}:           {17300, 9},
	{Group: "networking.k8s.io", Version: "v1"}:                  {17200, 15},
	{Group: "policy", Version: "v1"}:                             {17100, 15},
	{Group: "rbac.authorization.k8s.io", Version: "v1"}:          {17000, 15},
	{Group: "storage.k8s.io", Version: "v1"}:                     {16800, 15},
	{Group: "apiextensions.k8s.io", Version: "v1"}:               {16700, 15},
	{Group: "admissionregistration.k8s.io", Version: "v1"}:       {16700, 15},
	{Group: "admissionregistration.k8s.io", Version: "v1beta1"}:  {16700, 12},
	{Group: "admissionregistration.k8s.io", Version: "v1alpha1"}: {16700, 9},
	{Group: "scheduling.k8s.io", Version: "v1"}:                  {16600, 15},
	{Group: "scheduling.k8s.io", Version: "v1alpha3"}:            {16600, 3},
	{Group: "coordination.k8s.io", Version: "v1"}:                {16500, 15},
	{Group: "node.k8s.io", Version: "v1"}:                        {16300, 15},
	{Group: "discovery.k8s.io", Version: "v1"}:                   {16200, 15},
	{Group: "resource.k8s.io", Version: "v1"}:                    {16200, 21},
	{Group: "flowcontrol.apiserver.k8s.io", Version: "v1"}:       {16100, 21},
	{Group: "storagemigration.k8s.io", Version: "v1"}:            {15800, 15},
	{Group: "storagemigration.k8s.io", Version: "v1beta1"}:       {15800, 9},
}

// otherPriority is that of all else, as of custom kinds.
var otherPriority = priority{1000, 100}

// keepLocal keeps an APIService for each group and version that the server itself serves, but for that of APIServices.
func (k *keeper) keepLocal(ctx context.Context) error {
	served, err := k.served(ctx)
	if err != nil {
		return err
	}
	entries, err := k.entries(ctx)
	if err != nil {
		return err
	}
	stored := map[string]*entry{}
	for _, e := range entries {
		stored[e.Name] = e
	}
	if k.atStart == nil {
		k.atStart, k.synced = stored, map[string]bool{}
	}
	var errs []error
	wanted := map[string]bool{}
	for _, v := range served {
		if v.Group == apiregistrationv1.GroupName {
			continue
		}
		want := localService(v.GroupVersion, v.Builtin)
		wanted[want.Name] = true
		errs = append(errs, k.keepOne(ctx, want, stored[want.Name]))
	}
	for name, e := range stored {
		if !wanted[name] {
			errs = append(errs, k.dropOne(ctx, e))
		}
	}
	return errors.Join(errs...)
}

func localService(gv schema.GroupVersion, builtin bool) *apiregistrationv1.APIService {
	s := &apiregistrationv1.APIService{}
	s.Name = serviceName(gv.Group, gv.Version)
	s.Labels = map[string]string{managedLabel: always}
	p, known := priorities[gv]
	if !known {
		p = otherPriority
	}
	if builtin {
		s.Labels[managedLabel] = onStart
	}
	s.Spec = apiregistrationv1.APIServiceSpec{Group: gv.Group, Version: gv.Version, GroupPriorityMinimum: p.group, VersionPriority: p.version}
	return s
}

// keepOne makes an APIService, or sets one right that the server keeps.
func (k *keeper) keepOne(ctx context.Context, want *apiregistrationv1.APIService, stored *entry) error {
	once := want.Labels[managedLabel] == onStart && k.synced[want.Name]
	ref := client.Ref{GroupVersionResource: servicesResource}
	switch {
	case once:
		return nil
	case stored == nil:
		_, err := k.client.Create(ctx, ref, want, metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return err
		}
	case k.leftAlone(stored) || specsMatch(&stored.Spec, &want.Spec):
	default:
		updated := stored.DeepCopy()
		updated.Spec = want.Spec
		ref.Name = want.Name
		if _, err := k.client.Update(ctx, ref, updated, metav1.UpdateOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return err
		}
	}
	k.synced[want.Name] = true
	return nil
}

// leftAlone tells of APIServices that are the user's, or were changed by the user after the start.
func (k *keeper) leftAlone(s *entry) bool {
	switch s.Labels[managedLabel] {
	case always:
		return false
	case onStart:
		return k.atStart[s.Name] == nil || k.synced[s.Name]
	}
	return true
}

func specsMatch(a, b *apiregistrationv1.APIServiceSpec) bool {
	return a.Service == nil && !a.InsecureSkipTLSVerify && len(a.CABundle) == 0 &&
		a.GroupPriorityMinimum == b.GroupPriorityMinimum && a.VersionPriority == b.VersionPriority
}

// dropOne removes an APIService that the server kept, of what it does not serve any more.
func (k *keeper) dropOne(ctx context.Context, s *entry) error {
	if k.leftAlone(s) {
		return nil
	}
	err := k.client.Delete(ctx, client.Ref{GroupVersionResource: servicesResource, Name: s.Name},
		metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(s.UID))})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return err
	}
	delete(k.synced, s.Name)
	return nil
}

// tellLocal tells of what the server itself answers for that it does.
func (k *keeper) tellLocal(ctx context.Context, e *entry) error {
	return tell(ctx, k.client, e.APIService, localCondition(metav1.Now()))
}
