// Package quota measures objects as ResourceQuotas count them. It is pure: admission charges by it what is
// about to be stored, the controller counts by it what is stored.
package quota

import (
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// CountName returns the name by which quotas count the objects of a resource, as in
// "count/deployments.apps".
func CountName(gr schema.GroupResource) corev1.ResourceName {
	return corev1.ResourceName("count/" + gr.String())
}

// CountedResource returns the resource that a name of the form "count/resource.group" counts.
func CountedResource(name corev1.ResourceName) (schema.GroupResource, bool) {
	text, ok := strings.CutPrefix(string(name), "count/")
	return schema.ParseGroupResource(text), ok && text != ""
}

// older are the names of counts from before all resources could be counted.
var older = map[schema.GroupResource]corev1.ResourceName{
	{Resource: "configmaps"}:             corev1.ResourceConfigMaps,
	{Resource: "resourcequotas"}:         corev1.ResourceQuotas,
	{Resource: "replicationcontrollers"}: corev1.ResourceReplicationControllers,
	{Resource: "secrets"}:                corev1.ResourceSecrets,
}

// The resources that are measured by more than their number.
var (
	pods     = schema.GroupResource{Resource: "pods"}
	services = schema.GroupResource{Resource: "services"}
	claims   = schema.GroupResource{Resource: "persistentvolumeclaims"}
)

// Ignored tells that no quota counts the objects of a resource.
func Ignored(gr schema.GroupResource) bool {
	switch gr.Group {
	case "":
		return gr.Resource == "bindings" || gr.Resource == "componentstatuses" || gr.Resource == "events"
	case "events.k8s.io", "authentication.k8s.io", "authorization.k8s.io":
		return true
	}
	return false
}

// Matching returns those of names that objects of a resource are charged to, in order.
func Matching(gr schema.GroupResource, names corev1.ResourceList) []corev1.ResourceName {
	var out []corev1.ResourceName
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if matches(gr, name) {
			out = append(out, name)
		}
	}
	return out
}

func matches(gr schema.GroupResource, name corev1.ResourceName) bool {
	if name == CountName(gr) || older[gr] == name {
		return true
	}
	switch gr {
	case pods:
		return podName(name)
	case services:
		return name == corev1.ResourceServices || name == corev1.ResourceServicesNodePorts || name == corev1.ResourceServicesLoadBalancers
	case claims:
		return claimName(name)
	}
	return false
}

// Tracked returns the resources whose objects some of names count, and those of names that nothing does.
func Tracked(names corev1.ResourceList) (list []schema.GroupResource, unknown []corev1.ResourceName) {
	seen := map[schema.GroupResource]bool{}
	for name := range names {
		gr, ok := trackedBy(name)
		if !ok {
			unknown = append(unknown, name)
		} else if !seen[gr] {
			seen[gr] = true
			list = append(list, gr)
		}
	}
	slices.SortFunc(list, func(a, b schema.GroupResource) int { return strings.Compare(a.String(), b.String()) })
	return list, unknown
}

func trackedBy(name corev1.ResourceName) (schema.GroupResource, bool) {
	if gr, ok := CountedResource(name); ok {
		return gr, !Ignored(gr)
	}
	for _, gr := range []schema.GroupResource{claims, services, pods} {
		if matches(gr, name) {
			return gr, true
		}
	}
	for gr, alias := range older {
		if alias == name {
			return gr, true
		}
	}
	return schema.GroupResource{}, false
}

// Scopes returns all conditions on what a quota counts.
func Scopes(q *corev1.ResourceQuota) []corev1.ScopedResourceSelectorRequirement {
	var all []corev1.ScopedResourceSelectorRequirement
	for _, scope := range q.Spec.Scopes {
		all = append(all, corev1.ScopedResourceSelectorRequirement{ScopeName: scope, Operator: corev1.ScopeSelectorOpExists})
	}
	if q.Spec.ScopeSelector != nil {
		all = append(all, q.Spec.ScopeSelector.MatchExpressions...)
	}
	return all
}

// InScope tells whether an object fulfills all of a quota's conditions.
func InScope(q *corev1.ResourceQuota, obj any) (bool, error) {
	for _, req := range Scopes(q) {
		ok, err := inScope(req, obj)
		if err != nil || !ok {
			return false, err
		}
	}
	return true, nil
}

func inScope(req corev1.ScopedResourceSelectorRequirement, obj any) (bool, error) {
	switch obj := obj.(type) {
	case *corev1.Pod:
		return podInScope(req, obj)
	case *corev1.PersistentVolumeClaim:
		if req.ScopeName != corev1.ResourceQuotaScopeVolumeAttributesClass {
			return false, nil
		}
		return selects(req, attributeClasses(obj))
	}
	return false, nil
}

// selects matches a condition against the values that an object has for it.
func selects(req corev1.ScopedResourceSelectorRequirement, values []string) (bool, error) {
	if req.Operator == corev1.ScopeSelectorOpExists {
		return len(values) > 0, nil
	}
	expr := metav1.LabelSelectorRequirement{Key: string(req.ScopeName), Operator: metav1.LabelSelectorOperator(req.Operator), Values: req.Values}
	selector, err := metav1.LabelSelectorAsSelector(&metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{expr}})
	if err != nil {
		return false, err
	}
	if len(values) == 0 {
		return selector.Matches(labels.Set{}), nil
	}
	for _, v := range values {
		if selector.Matches(labels.Set{string(req.ScopeName): v}) {
			return true, nil
		}
	}
	return false, nil
}

func one() resource.Quantity { return *resource.NewQuantity(1, resource.DecimalSI) }

// Add returns a + b.
func Add(a, b corev1.ResourceList) corev1.ResourceList {
	sum := a.DeepCopy()
	if sum == nil {
		sum = corev1.ResourceList{}
	}
	for name, q := range b {
		if have, ok := sum[name]; ok {
			have.Add(q)
			sum[name] = have
		} else {
			sum[name] = q.DeepCopy()
		}
	}
	return sum
}

// Growth returns how much more a is than b, where it is more.
func Growth(a, b corev1.ResourceList) corev1.ResourceList {
	out := corev1.ResourceList{}
	for name, q := range a {
		d := q.DeepCopy()
		if before, ok := b[name]; ok {
			d.Sub(before)
		}
		if d.Sign() > 0 {
			out[name] = d
		}
	}
	return out
}

// Mask returns what list has of names.
func Mask[T any](list corev1.ResourceList, names map[corev1.ResourceName]T) corev1.ResourceList {
	out := corev1.ResourceList{}
	for name, q := range list {
		if _, ok := names[name]; ok {
			out[name] = q.DeepCopy()
		}
	}
	return out
}

// Equal tells whether two lists have the same quantities.
func Equal(a, b corev1.ResourceList) bool {
	return maps.EqualFunc(a, b, func(x, y resource.Quantity) bool { return x.Cmp(y) == 0 })
}
