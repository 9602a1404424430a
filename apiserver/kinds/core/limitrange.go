package core

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/kinds/internal/check"
	"github.com/inboard/inboard/apiserver/kinds/internal/podspec"
	"github.com/inboard/inboard/apiserver/kinds/internal/row"
)

// LimitRange returns the row of LimitRange.
func LimitRange() apiserver.Kind {
	k := newKind("LimitRange", "limitranges", "limitrange", "limits")
	k.UpdateCreates = true
	k.Object, k.List = &corev1.LimitRange{}, &corev1.LimitRangeList{}
	k.Default = row.Of(defaultLimitRange)
	k.Validate = row.Check(validateLimitRange)
	k.Columns, k.Row = row.Plain()
	return k
}

func defaultLimitRange(o *corev1.LimitRange) {
	for i := range o.Spec.Limits {
		l := &o.Spec.Limits[i]
		if l.Type == corev1.LimitTypeContainer {
			take(&l.Default, l.Max)
			take(&l.DefaultRequest, l.Default)
			take(&l.DefaultRequest, l.Min)
		}
		for _, list := range []corev1.ResourceList{l.Max, l.Min, l.Default, l.DefaultRequest, l.MaxLimitRequestRatio} {
			podspec.RoundResources(list)
		}
	}
}

// take adds what is missing in to; to is never nil after.
func take(to *corev1.ResourceList, from corev1.ResourceList) {
	if *to == nil {
		*to = corev1.ResourceList{}
	}
	for name, q := range from {
		if _, ok := (*to)[name]; !ok {
			(*to)[name] = q.DeepCopy()
		}
	}
}

func validateLimitRange(o, _ *corev1.LimitRange) field.ErrorList {
	var l check.List
	seen := map[corev1.LimitType]bool{}
	for i := range o.Spec.Limits {
		item, path := &o.Spec.Limits[i], specPath.Child("limits").Index(i)
		limitType(&l, path.Child("type"), item.Type)
		if seen[item.Type] {
			l.Add(field.Duplicate(path.Child("type"), item.Type))
		}
		seen[item.Type] = true
		limitItem(&l, path, item)
	}
	return l.Errors()
}

func limitType(l *check.List, path *field.Path, t corev1.LimitType) {
	if messages := validation.IsQualifiedName(string(t)); len(messages) > 0 {
		l.Messages(path, t, messages)
		return
	}
	standard := t == corev1.LimitTypePod || t == corev1.LimitTypeContainer || t == corev1.LimitTypePersistentVolumeClaim
	if !strings.Contains(string(t), "/") && !standard {
		l.Invalid(path, t, "must be a standard limit type or fully qualified")
	}
}

func limitItem(l *check.List, path *field.Path, item *corev1.LimitRangeItem) {
	names := map[corev1.ResourceName]bool{}
	for _, part := range []struct {
		name     string
		list     corev1.ResourceList
		notOfPod bool
	}{{"max", item.Max, false}, {"min", item.Min, false}, {"default", item.Default, true},
		{"defaultRequest", item.DefaultRequest, true}, {"maxLimitRequestRatio", item.MaxLimitRequestRatio, false}} {
		p := path.Child(part.name)
		if part.notOfPod && item.Type == corev1.LimitTypePod {
			if len(part.list) > 0 {
				l.Forbidden(p, "may not be specified when `type` is 'Pod'")
			}
			continue
		}
		for name := range part.list {
			names[name] = true
		}
		for _, name := range slices.Sorted(maps.Keys(part.list)) {
			if item.Type == corev1.LimitTypePod || item.Type == corev1.LimitTypeContainer {
				l.ContainerResourceName(p.Key(string(name)), name)
			} else {
				l.ResourceName(p.Key(string(name)), name)
			}
		}
	}
	if item.Type == corev1.LimitTypePersistentVolumeClaim {
		_, low := item.Min[corev1.ResourceStorage]
		if _, high := item.Max[corev1.ResourceStorage]; !low && !high {
			l.Required(path.Child("limits"), "either minimum or maximum storage value is required, but neither was provided")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		limitsFit(l, path, name, item)
	}
}

// limitsFit asks that the numbers for one resource are in order: min, default request, default, max.
func limitsFit(l *check.List, path *field.Path, name corev1.ResourceName, item *corev1.LimitRangeItem) {
	low, hasLow := item.Min[name]
	high, hasHigh := item.Max[name]
	usual, hasUsual := item.Default[name]
	request, hasRequest := item.DefaultRequest[name]
	if item.Type == corev1.LimitTypePod {
		hasUsual, hasRequest = false, false
	}
	at := func(child string) *field.Path { return path.Child(child).Key(string(name)) }
	for _, pair := range []struct {
		a, b      resource.Quantity
		both      bool
		at        string
		value     resource.Quantity
		smallName string
		largeName string
	}{
		{low, high, hasLow && hasHigh, "min", low, "min", "max"},
		{low, request, hasLow && hasRequest, "defaultRequest", request, "min", "default request"},
		{request, high, hasRequest && hasHigh, "defaultRequest", request, "default request", "max"},
		{request, usual, hasRequest && hasUsual, "defaultRequest", request, "default request", "default limit"},
		{low, usual, hasLow && hasUsual, "default", low, "min", "default"},
		{usual, high, hasUsual && hasHigh, "default", high, "default", "max"},
	} {
		if pair.both && pair.a.Cmp(pair.b) > 0 {
			l.Invalid(at(pair.at), pair.value, fmt.Sprintf("%s value %s is greater than %s value %s", pair.smallName, pair.a.String(), pair.largeName, pair.b.String()))
		}
	}
	if ratio, ok := item.MaxLimitRequestRatio[name]; ok {
		if ratio.Cmp(*resource.NewQuantity(1, resource.DecimalSI)) < 0 {
			l.Invalid(at("maxLimitRequestRatio"), ratio, fmt.Sprintf("ratio %s is less than 1", ratio.String()))
		}
		if hasLow && hasHigh {
			ratioFits(l, at("maxLimitRequestRatio"), ratio, low, high)
		}
	}
	if !check.CanOvercommit(name) && hasUsual && hasRequest && usual.Cmp(request) != 0 {
		l.Invalid(at("defaultRequest"), request, fmt.Sprintf("default value %s must equal to defaultRequest value %s in %s", usual.String(), request.String(), name))
	}
}

func ratioFits(l *check.List, path *field.Path, ratio, low, high resource.Quantity) {
	r, a, b := float64(ratio.Value()), low.Value(), high.Value()
	if ratio.Value() < resource.MaxMilliValue && a < resource.MaxMilliValue && b < resource.MaxMilliValue {
		r, a, b = float64(ratio.MilliValue())/1000, low.MilliValue(), high.MilliValue()
	}
	if limit := float64(b) / float64(a); r > limit {
		l.Invalid(path, ratio, fmt.Sprintf("ratio %s is greater than max/min = %f", ratio.String(), limit))
	}
}
