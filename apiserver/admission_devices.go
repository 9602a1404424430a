package apiserver

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver/client"
)

// deviceClaims checks what claims on devices need besides being right in themselves: access to devices that others
// use only where the namespace allows it, and a status only from who may allocate, or speak for a driver. To
// Kubernetes this is a part of validation.
func deviceClaims(_ context.Context, r *AdmissionRequest) error {
	var errs field.ErrorList
	switch o := r.Object.(type) {
	case *resourcev1.ResourceClaim:
		old, _ := r.Old.(*resourcev1.ResourceClaim)
		switch {
		case r.Operation == Create:
			errs = r.adminRequests(o.Spec.Devices.Requests)
		case r.Operation == Update && old != nil && r.Ref.Subresource == "status":
			errs = append(r.adminResults(&o.Status, &old.Status), r.mayAllocate(&o.Status, &old.Status)...)
			errs = append(errs, r.maySpeakForDrivers(&o.Status, &old.Status)...)
		}
	case *resourcev1.ResourceClaimTemplate:
		if r.Operation == Create {
			errs = r.adminRequests(o.Spec.Spec.Devices.Requests)
		}
	}
	if len(errs) == 0 {
		return nil
	}
	return apierrors.NewInvalid(r.Kind.GroupKind(), r.Ref.Name, errs)
}

func (r *AdmissionRequest) adminRequests(list []resourcev1.DeviceRequest) field.ErrorList {
	i := slices.IndexFunc(list, func(d resourcev1.DeviceRequest) bool {
		return d.Exactly != nil && d.Exactly.AdminAccess != nil && *d.Exactly.AdminAccess
	})
	if i < 0 {
		return nil
	}
	return r.adminNamespace(field.NewPath("spec", "devices", "requests").Index(i).Child("adminAccess"))
}

func adminResult(s *resourcev1.ResourceClaimStatus) int {
	if s.Allocation == nil {
		return -1
	}
	return slices.IndexFunc(s.Allocation.Devices.Results, func(d resourcev1.DeviceRequestAllocationResult) bool {
		return d.AdminAccess != nil && *d.AdminAccess
	})
}

func (r *AdmissionRequest) adminResults(s, old *resourcev1.ResourceClaimStatus) field.ErrorList {
	i := adminResult(s)
	if i < 0 || adminResult(old) >= 0 {
		return nil
	}
	return r.adminNamespace(field.NewPath("status", "allocation", "devices", "results").Index(i).Child("adminAccess"))
}

// adminNamespace asks whether devices may be administered from the request's namespace.
func (r *AdmissionRequest) adminNamespace(path *field.Path) field.ErrorList {
	obj, _, err := r.Lookup(client.Ref{GroupVersionResource: namespacesResource, Name: r.Ref.Namespace})
	ns, ok := obj.(*corev1.Namespace)
	if err == nil && !ok {
		err = apierrors.NewNotFound(namespacesResource.GroupResource(), r.Ref.Namespace)
	}
	if err != nil {
		return field.ErrorList{field.InternalError(path, fmt.Errorf("could not retrieve namespace to verify admin access: %w", err))}
	}
	if ns.Labels[resourcev1.DRAAdminNamespaceLabelKey] != "true" {
		return field.ErrorList{field.Forbidden(path,
			fmt.Sprintf("admin access to devices requires the `%s: true` label on the containing namespace", resourcev1.DRAAdminNamespaceLabelKey))}
	}
	return nil
}

// may returns why the user may not do something, as an error of the API.
func (r *AdmissionRequest) may(a Attributes) error {
	a.User = r.User
	if ok, err := r.Authorize(a); !ok || err != nil {
		reason := ""
		if err != nil {
			reason = err.Error()
		}
		return apierrors.NewForbidden(r.Ref.GroupResource(), a.Name, errors.New(refusal(&a, reason)))
	}
	return nil
}

func (r *AdmissionRequest) mayAllocate(s, old *resourcev1.ResourceClaimStatus) field.ErrorList {
	if apiequality.Semantic.DeepEqual(s.Allocation, old.Allocation) && apiequality.Semantic.DeepEqual(s.ReservedFor, old.ReservedFor) {
		return nil
	}
	err := r.may(Attributes{Verb: r.verb, APIGroup: r.Ref.Group, APIVersion: r.Ref.Version, Resource: r.Ref.Resource, Subresource: resourcev1.SubresourceBinding})
	if err == nil {
		return nil
	}
	return field.ErrorList{field.Forbidden(field.NewPath("status", "allocation"), fmt.Sprintf(
		`changing status.allocation or status.reservedFor requires resource="resourceclaims/binding", verb="%s" permission: %s`, r.verb, err))}
}

// maySpeakForDrivers asks whether the user may tell how devices of some drivers are: a driver's pod on the node that
// the devices are allocated on may with less.
func (r *AdmissionRequest) maySpeakForDrivers(s, old *resourcev1.ResourceClaimStatus) field.ErrorList {
	if s.Allocation == nil {
		return nil
	}
	verbs := []string{resourcev1.VerbPrefixArbitraryNode + r.verb}
	if node := allocatedNode(s.Allocation); node != "" && node == r.User.podNode() {
		verbs = slices.Insert(verbs, 0, resourcev1.VerbPrefixAssociatedNode+r.verb)
	}
	var errs field.ErrorList
	for _, driver := range changedDrivers(s.Devices, old.Devices) {
		var first error
		allowed := slices.ContainsFunc(verbs, func(verb string) bool {
			err := r.may(Attributes{Verb: verb, Namespace: r.Ref.Namespace, APIGroup: r.Ref.Group, APIVersion: r.Ref.Version,
				Resource: r.Ref.Resource, Subresource: resourcev1.SubresourceDriver, Name: driver})
			if first == nil {
				first = err
			}
			return err == nil
		})
		if !allowed {
			errs = append(errs, field.Forbidden(field.NewPath("status", "devices"), fmt.Sprintf(
				`changing status.devices requires resource="resourceclaims/driver", verb="%s" permission: %s`, verbs, first)))
		}
	}
	return errs
}

// changedDrivers returns the drivers of devices whose status came, went or changed, in order.
func changedDrivers(now, before []resourcev1.AllocatedDeviceStatus) []string {
	type id struct{ driver, pool, device, share string }
	idOf := func(d *resourcev1.AllocatedDeviceStatus) id {
		out := id{d.Driver, d.Pool, d.Device, ""}
		if d.ShareID != nil {
			out.share = *d.ShareID
		}
		return out
	}
	was, drivers := map[id]*resourcev1.AllocatedDeviceStatus{}, map[string]bool{}
	for i := range before {
		was[idOf(&before[i])] = &before[i]
	}
	for i := range now {
		key := idOf(&now[i])
		if old := was[key]; old == nil || !apiequality.Semantic.DeepEqual(*old, now[i]) {
			drivers[now[i].Driver] = true
		}
		delete(was, key)
	}
	for key := range was {
		drivers[key.driver] = true
	}
	return slices.Sorted(maps.Keys(drivers))
}

// allocatedNode returns the one node that devices are allocated on, "" when they are not on one.
func allocatedNode(a *resourcev1.AllocationResult) string {
	if a.NodeSelector == nil || len(a.NodeSelector.NodeSelectorTerms) != 1 {
		return ""
	}
	t := a.NodeSelector.NodeSelectorTerms[0]
	if len(t.MatchExpressions) != 0 || len(t.MatchFields) != 1 {
		return ""
	}
	f := t.MatchFields[0]
	if f.Key != "metadata.name" || f.Operator != corev1.NodeSelectorOpIn || len(f.Values) != 1 {
		return ""
	}
	return f.Values[0]
}

// podNode returns the node of the pod whose service account's token an identity proved, "" for others.
func (i *Identity) podNode() string {
	nodes := i.Extra["authentication.kubernetes.io/node-name"]
	if !strings.HasPrefix(i.User, "system:serviceaccount:") || len(nodes) != 1 || len(validation.IsDNS1123Subdomain(nodes[0])) > 0 {
		return ""
	}
	return nodes[0]
}
