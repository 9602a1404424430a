package core

//lint:file-ignore SA1019 deprecated fields are cleared and kept as they were

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"

	"github.com/inboard/inboard/apiserver/kinds/internal/check"
	"github.com/inboard/inboard/apiserver/kinds/internal/podspec"
)

func prepareNode(o, old *corev1.Node) {
	// The older single range and the newer list say the same; the single one wins.
	switch s := &o.Spec; {
	case s.PodCIDR == "" && len(s.PodCIDRs) > 0:
		s.PodCIDR = s.PodCIDRs[0]
	case s.PodCIDR != "" && (len(s.PodCIDRs) == 0 || s.PodCIDRs[0] != s.PodCIDR):
		s.PodCIDRs = []string{s.PodCIDR}
	}
	if old == nil || old.Spec.ConfigSource == nil {
		o.Spec.ConfigSource = nil
	}
	if old == nil {
		o.Status.Config = nil
	}
	o.Spec.PodPreemptionPolicy = nil // off in Kubernetes by default
}

func validateNode(o, old *corev1.Node) field.ErrorList {
	var l check.List
	taints(&l, o.Spec.Taints)
	nodeResources(&l, o)
	if s := o.Status.NodeInfo.Swap; s != nil && s.Capacity != nil {
		l.Positive(field.NewPath("metadata", "nodeSwapStatus", "capacity"), *s.Capacity)
	}
	features(&l, o.Status.DeclaredFeatures)
	podCIDRs(&l, o.Spec.PodCIDRs)
	if old == nil {
		return l.Errors()
	}
	uniqueAddresses(&l, o)
	if was := old.Spec.PodCIDRs; len(was) > 0 && !slices.Equal(was, o.Spec.PodCIDRs) {
		l.Forbidden(specPath.Child("podCIDRs"), "node updates may not change podCIDR except from \"\" to valid")
	}
	if was, is := old.Spec.ProviderID, o.Spec.ProviderID; was != "" && was != is {
		detail := "field cannot be modified once set"
		if is == "" {
			detail = "field cannot be cleared once set"
		}
		l.Invalid(specPath.Child("providerID"), nil, detail)
	}
	if o.Spec.DoNotUseExternalID != old.Spec.DoNotUseExternalID {
		l.Forbidden(specPath.Child("externalID"), "may not be updated")
	}
	return l.Errors()
}

// taints checks a node's taints. Kubernetes' messages place them in the metadata.
func taints(l *check.List, list []corev1.Taint) {
	path := field.NewPath("metadata", "taints")
	for i, t := range list {
		p := path.Index(i)
		l.Add(metavalidation.ValidateLabelName(t.Key, p.Child("key"))...)
		if messages := validation.IsValidLabelValue(t.Value); len(messages) > 0 {
			l.Invalid(p.Child("value"), t.Value, strings.Join(messages, ";"))
		}
		if t.Effect == "" {
			l.Required(p.Child("effect"), "")
		} else {
			podspec.TaintEffect(l, t.Effect, p.Child("effect"))
		}
		if slices.ContainsFunc(list[:i], func(o corev1.Taint) bool { return o.Key == t.Key && o.Effect == t.Effect }) {
			err := field.Duplicate(p, t)
			err.Detail = "taints must be unique by key and effect pair"
			l.Add(err)
		}
	}
}

func nodeResources(l *check.List, o *corev1.Node) {
	for _, part := range []struct {
		name string
		list corev1.ResourceList
	}{{"capacity", o.Status.Capacity}, {"allocatable", o.Status.Allocatable}} {
		for _, name := range slices.Sorted(maps.Keys(part.list)) {
			l.Quantity(field.NewPath("status", part.name, string(name)), name, part.list[name])
		}
	}
}

var featurePattern = check.Pattern(`^[A-Z][a-zA-Z0-9]*(/[a-zA-Z][a-zA-Z0-9]*)*$`)

// features asks for sorted names of features, as in MyFeature/mySubFeature.
func features(l *check.List, list []string) {
	path := field.NewPath("status", "declaredFeatures")
	for i, f := range list {
		if len(f) > validation.DNS1123SubdomainMaxLength {
			l.Invalid(path.Index(i), f, fmt.Sprintf("invalid feature name %q: must be no more than %d characters", f, validation.DNS1123SubdomainMaxLength))
		} else if !featurePattern().MatchString(f) {
			l.Invalid(path.Index(i), f, fmt.Sprintf("invalid feature name %q: must start with an UpperCamelCase segment, with subsequent segments "+
				"separated by '/' (e.g., MyFeature or MyFeature/mySubFeature), and contain only alphanumeric characters and slashes", f))
		}
		if i == 0 {
			continue
		}
		switch before := list[i-1]; {
		case f == before:
			l.Add(field.Duplicate(path.Index(i), f))
		case f < before:
			l.Invalid(path.Index(i), f, "list must be sorted alphabetically")
		}
	}
}

func podCIDRs(l *check.List, ranges []string) {
	path := specPath.Child("podCIDRs")
	for i, r := range ranges {
		l.CIDR(path.Index(i), r)
	}
	if len(ranges) < 2 {
		return
	}
	dual, err := netutils.IsDualStackCIDRStrings(ranges)
	if err != nil {
		l.Add(field.InternalError(path, fmt.Errorf("invalid PodCIDRs. failed to check with dual stack with error:%w", err)))
	}
	if !dual || len(ranges) > 2 {
		l.Invalid(path, ranges, "may specify no more than one CIDR for each IP family")
	}
}

func uniqueAddresses(l *check.List, o *corev1.Node) {
	for i, a := range o.Status.Addresses {
		if slices.Contains(o.Status.Addresses[:i], a) {
			l.Add(field.Duplicate(field.NewPath("status", "addresses").Index(i), a))
		}
	}
}

func validateNodeStatus(o, old *corev1.Node) field.ErrorList {
	var l check.List
	if !equality.Semantic.DeepEqual(o.Status.Capacity, old.Status.Capacity) || !equality.Semantic.DeepEqual(o.Status.Allocatable, old.Status.Allocatable) {
		nodeResources(&l, o)
	}
	features(&l, o.Status.DeclaredFeatures)
	uniqueAddresses(&l, o)
	return l.Errors()
}
