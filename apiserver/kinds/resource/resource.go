// Package resource has the rows of resource.k8s.io/v1: classes of devices, claims on devices, what drivers offer,
// and taints of devices. The scheduler here allocates none: pods with claims wait, and are told so.
//
// https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/
package resource

import (
	"fmt"
	"strings"
	"time"

	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/kinds/internal/row"
)

// Kinds returns the rows of the group.
func Kinds() []apiserver.Kind {
	return []apiserver.Kind{DeviceClass(), DeviceTaintRule(), ResourceClaim(), ResourceClaimTemplate(), ResourceSlice()}
}

var (
	specPath   = field.NewPath("spec")
	statusPath = field.NewPath("status")
)

func newKind(kind, resource, singular string) apiserver.Kind {
	return apiserver.Kind{
		GroupVersionKind: resourcev1.SchemeGroupVersion.WithKind(kind), Resource: resource, Singular: singular, ReturnDeleted: true,
		QualifiedFinalizers: true,
	}
}

// DeviceClass returns the row of DeviceClass.
func DeviceClass() apiserver.Kind {
	k := newKind("DeviceClass", "deviceclasses", "deviceclass")
	k.Object, k.List = &resourcev1.DeviceClass{}, &resourcev1.DeviceClassList{}
	k.Generation = true
	k.NameIsValid = func(name string, prefix bool) []string {
		if prefix {
			return nil // the declared rule is about the name alone
		}
		return content.IsDNS1123Subdomain(name)
	}
	k.Validate = row.Check(validateClass)
	k.Columns = row.Columns("Name", "Age")
	k.Row = row.Cells(func(o *resourcev1.DeviceClass, now time.Time) []any {
		return []any{o.Name, row.Age(o.CreationTimestamp, now)}
	})
	return k
}

// DeviceTaintRule returns the row of DeviceTaintRule.
func DeviceTaintRule() apiserver.Kind {
	k := newKind("DeviceTaintRule", "devicetaintrules", "devicetaintrule")
	k.Object, k.List = &resourcev1.DeviceTaintRule{}, &resourcev1.DeviceTaintRuleList{}
	k.Generation = true
	k.Status, k.PlainStatus = true, true
	k.StatusResets = []string{"metadata"}
	k.ConditionalUpdate = true
	k.ReturnDeleted = false
	k.Default = row.Of(func(o *resourcev1.DeviceTaintRule) { defaultTaint(&o.Spec.Taint) })
	k.Prepare = row.Pair(prepareTaintRule)
	k.Validate = row.Check(validateTaintRule)
	k.PrepareStatus = row.Pair(func(o, old *resourcev1.DeviceTaintRule) { o.Labels, o.Annotations = old.Labels, old.Annotations })
	k.ValidateStatus = row.Check(validateTaintRuleStatus)
	k.Columns = row.Columns("Name", "Key", "Value", "Effect", "TimeAdded", "Age")
	k.Row = row.Cells(func(o *resourcev1.DeviceTaintRule, now time.Time) []any {
		added := ""
		if t := o.Spec.Taint.TimeAdded; t != nil {
			added = row.Age(*t, now)
		}
		return []any{o.Name, o.Spec.Taint.Key, o.Spec.Taint.Value, string(o.Spec.Taint.Effect), added, row.Age(o.CreationTimestamp, now)}
	})
	return k
}

// ResourceClaim returns the row of ResourceClaim.
func ResourceClaim() apiserver.Kind {
	k := newKind("ResourceClaim", "resourceclaims", "resourceclaim")
	k.Object, k.List = &resourcev1.ResourceClaim{}, &resourcev1.ResourceClaimList{}
	k.Namespaced = true
	k.Status, k.PlainStatus = true, true
	k.StatusResets = []string{"metadata"}
	k.Default = row.Of(func(o *resourcev1.ResourceClaim) {
		defaultClaim(&o.Spec)
		if a := o.Status.Allocation; a != nil {
			for i := range a.Devices.Results {
				defaultTolerations(a.Devices.Results[i].Tolerations)
			}
		}
	})
	k.Prepare = row.Pair(func(o, _ *resourcev1.ResourceClaim) { dropDerived(&o.Spec) })
	k.Validate = row.Check(validateClaim)
	k.PrepareStatus = row.Pair(prepareClaimStatus)
	k.ValidateStatus = row.Check(validateClaimStatus)
	k.Columns = row.Columns("Name", "State", "Age")
	k.Row = row.Cells(func(o *resourcev1.ResourceClaim, now time.Time) []any {
		return []any{o.Name, claimState(o), row.Age(o.CreationTimestamp, now)}
	})
	return k
}

func claimState(o *resourcev1.ResourceClaim) string {
	var states []string
	if o.DeletionTimestamp != nil {
		states = append(states, "deleted")
	}
	switch {
	case o.Status.Allocation != nil:
		states = append(states, "allocated")
		if len(o.Status.ReservedFor) > 0 {
			states = append(states, "reserved")
		}
	case o.DeletionTimestamp == nil:
		states = append(states, "pending")
	}
	return strings.Join(states, ",")
}

// ResourceClaimTemplate returns the row of ResourceClaimTemplate.
func ResourceClaimTemplate() apiserver.Kind {
	k := newKind("ResourceClaimTemplate", "resourceclaimtemplates", "resourceclaimtemplate")
	k.Object, k.List = &resourcev1.ResourceClaimTemplate{}, &resourcev1.ResourceClaimTemplateList{}
	k.Namespaced = true
	k.Default = row.Of(func(o *resourcev1.ResourceClaimTemplate) { defaultClaim(&o.Spec.Spec) })
	k.Prepare = row.Pair(func(o, _ *resourcev1.ResourceClaimTemplate) { dropDerived(&o.Spec.Spec) })
	k.Validate = row.Check(validateTemplate)
	k.Columns = row.Columns("Name", "Age")
	k.Row = row.Cells(func(o *resourcev1.ResourceClaimTemplate, now time.Time) []any {
		return []any{o.Name, row.Age(o.CreationTimestamp, now)}
	})
	return k
}

// ResourceSlice returns the row of ResourceSlice.
func ResourceSlice() apiserver.Kind {
	k := newKind("ResourceSlice", "resourceslices", "resourceslice")
	k.Object, k.List = &resourcev1.ResourceSlice{}, &resourcev1.ResourceSliceList{}
	k.Generation = true
	k.Default = row.Of(func(o *resourcev1.ResourceSlice) {
		for i := range o.Spec.Devices {
			for j := range o.Spec.Devices[i].Taints {
				defaultTaint(&o.Spec.Devices[i].Taints[j])
			}
		}
	})
	k.Prepare = row.Pair(prepareSlice)
	k.Validate = row.Check(validateSlice)
	k.Warnings = row.Warn(func(o, _ *resourcev1.ResourceSlice) []string {
		if o.Spec.Driver == strings.ToLower(o.Spec.Driver) {
			return nil
		}
		return []string{fmt.Sprintf("spec.driver: driver names should be lowercase; %q contains uppercase characters", o.Spec.Driver)}
	})
	k.Fields = row.Fields(map[string]func(*resourcev1.ResourceSlice) string{
		"spec.nodeName":  nodeName,
		"spec.driver":    func(o *resourcev1.ResourceSlice) string { return o.Spec.Driver },
		"spec.pool.name": func(o *resourcev1.ResourceSlice) string { return o.Spec.Pool.Name },
	})
	k.Columns = row.Columns("Name", "Node", "Driver", "Pool", "Age")
	k.Row = row.Cells(func(o *resourcev1.ResourceSlice, now time.Time) []any {
		return []any{o.Name, nodeName(o), o.Spec.Driver, o.Spec.Pool.Name, row.Age(o.CreationTimestamp, now)}
	})
	return k
}

func nodeName(o *resourcev1.ResourceSlice) string {
	if o.Spec.NodeName == nil {
		return ""
	}
	return *o.Spec.NodeName
}
