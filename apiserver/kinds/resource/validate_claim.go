package resource

import (
	"encoding/json"
	"fmt"
	"strings"

	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/validate"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver/kinds/internal/check"
)

func validateClass(o, old *resourcev1.DeviceClass) field.ErrorList {
	var l check.List
	if old == nil || !equality.Semantic.DeepEqual(o.Spec.Selectors, old.Spec.Selectors) {
		selectors(&l, specPath.Child("selectors"), o.Spec.Selectors, true)
	}
	check.Each(&l, specPath.Child("config"), o.Spec.Config, resourcev1.DeviceConfigMaxSize, func(c *resourcev1.DeviceClassConfiguration, path *field.Path) {
		configuration(&l, path, &c.DeviceConfiguration)
	})
	if name := o.Spec.ExtendedResourceName; name != nil {
		check.Formatted(&l, specPath.Child("extendedResourceName"), *name, validate.ExtendedResourceName[string])
	}
	return l.Errors()
}

func validateClaim(o, old *resourcev1.ResourceClaim) field.ErrorList {
	if old != nil {
		return apivalidation.ValidateImmutableField(o.Spec, old.Spec, specPath)
	}
	var l check.List
	claimSpec(&l, specPath, &o.Spec)
	return l.Errors()
}

func validateTemplate(o, old *resourcev1.ResourceClaimTemplate) field.ErrorList {
	var l check.List
	path := specPath.Child("metadata")
	l.Add(apivalidation.ValidateAnnotations(o.Spec.Annotations, path.Child("annotations"))...)
	l.Add(metavalidation.ValidateLabels(o.Spec.Labels, path.Child("labels"))...)
	claimSpec(&l, specPath.Child("spec"), &o.Spec.Spec)
	if old != nil {
		l.Add(apivalidation.ValidateImmutableField(o.Spec, old.Spec, specPath)...)
	}
	return l.Errors()
}

// requestNames are the names of a claim's requests, with those of their alternatives.
type requestNames map[string]map[string]bool

func namesOf(d *resourcev1.DeviceClaim) requestNames {
	out := requestNames{}
	for _, r := range d.Requests {
		var subs map[string]bool
		for _, s := range r.FirstAvailable {
			if subs == nil {
				subs = map[string]bool{}
			}
			subs[s.Name] = true
		}
		out[r.Name] = subs
	}
	return out
}

func (n requestNames) has(name string) bool {
	request, sub, two := strings.Cut(name, "/")
	subs, ok := n[request]
	return ok && (!two || subs[sub])
}

// reference asks for the name of a request, or of one of its alternatives.
func (n requestNames) reference(l *check.List, path *field.Path, name string) {
	const detail = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'"
	parts := strings.Split(name, "/")
	if len(parts) > 2 {
		l.Invalid(path, name, detail)
		return
	}
	for _, p := range parts {
		l.Label(path, p)
	}
	if !n.has(name) {
		l.Invalid(path, name, detail)
	}
}

// references asks for names of requests, each once.
func (n requestNames) references(l *check.List, path *field.Path, list []string) {
	check.Unique(l, path, list, resourcev1.DeviceRequestsMaxSize, func(s *string) string { return *s },
		func(s *string, p *field.Path) { n.reference(l, p, *s) })
}

func claimSpec(l *check.List, path *field.Path, s *resourcev1.ResourceClaimSpec) {
	path, d := path.Child("devices"), &s.Devices
	names := namesOf(d)
	check.Unique(l, path.Child("requests"), d.Requests, resourcev1.DeviceRequestsMaxSize, func(r *resourcev1.DeviceRequest) string { return r.Name },
		func(r *resourcev1.DeviceRequest, p *field.Path) { deviceRequest(l, p, r) })
	check.Each(l, path.Child("constraints"), d.Constraints, resourcev1.DeviceConstraintsMaxSize, func(c *resourcev1.DeviceConstraint, p *field.Path) {
		names.references(l, p.Child("requests"), c.Requests)
		if c.MatchAttribute != nil {
			check.Formatted(l, p.Child("matchAttribute"), *c.MatchAttribute, validate.ResourceFullyQualifiedName[resourcev1.FullyQualifiedName])
		}
		if c.DistinctAttribute != nil {
			check.Formatted(l, p.Child("distinctAttribute"), *c.DistinctAttribute, validate.ResourceFullyQualifiedName[resourcev1.FullyQualifiedName])
		}
		if c.MatchAttribute == nil && c.DistinctAttribute == nil {
			l.Required(p, `exactly one of "matchAttribute" or "distinctAttribute" is required, but multiple fields are set`)
		}
	})
	check.Each(l, path.Child("config"), d.Config, resourcev1.DeviceConfigMaxSize, func(c *resourcev1.DeviceClaimConfiguration, p *field.Path) {
		names.references(l, p.Child("requests"), c.Requests)
		configuration(l, p, &c.DeviceConfiguration)
	})
}

func deviceRequest(l *check.List, path *field.Path, r *resourcev1.DeviceRequest) {
	l.Label(path.Child("name"), r.Name)
	exactly, several := r.Exactly != nil, len(r.FirstAvailable) > 0
	switch {
	case !exactly && !several:
		l.Required(path, "exactly one of `exactly` or `firstAvailable` is required")
	case exactly && several:
		l.Invalid(path, nil, "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set")
	}
	full := !exactly || !several
	if exactly {
		exactRequest(l, path.Child("exactly"), r.Exactly, full)
	}
	alternatives(l, path.Child("firstAvailable"), r.FirstAvailable, full)
}

// exactRequest checks a request for devices; full false only by the rules that Kubernetes declares beside its Go
// types, as it does where it knows not which request is meant.
func exactRequest(l *check.List, path *field.Path, r *resourcev1.ExactDeviceRequest, full bool) {
	switch class := path.Child("deviceClassName"); {
	case !full:
	case r.DeviceClassName == "":
		l.Required(class, "")
	default:
		l.Subdomain(class, r.DeviceClassName)
	}
	selectors(l, path.Child("selectors"), r.Selectors, full)
	allocationMode(l, path, r.AllocationMode, r.Count, full)
	tolerations(l, path, r.Tolerations, full)
}

func alternatives(l *check.List, path *field.Path, list []resourcev1.DeviceSubRequest, full bool) {
	check.Unique(l, path, list, resourcev1.FirstAvailableDeviceRequestMaxSize, func(s *resourcev1.DeviceSubRequest) string { return s.Name },
		func(s *resourcev1.DeviceSubRequest, p *field.Path) {
			if full {
				l.Label(p.Child("name"), s.Name)
			}
			check.Declared(l, p.Child("deviceClassName"), s.DeviceClassName, validate.LongName[string])
			selectors(l, p.Child("selectors"), s.Selectors, full)
			allocationMode(l, p, s.AllocationMode, s.Count, full)
			tolerations(l, p, s.Tolerations, full)
		})
}

func allocationMode(l *check.List, path *field.Path, mode resourcev1.DeviceAllocationMode, count int64, full bool) {
	switch {
	case mode != resourcev1.DeviceAllocationModeAll && mode != resourcev1.DeviceAllocationModeExactCount:
		check.Supported(l, path.Child("allocationMode"), mode, resourcev1.DeviceAllocationModeAll, resourcev1.DeviceAllocationModeExactCount)
	case !full:
	case mode == resourcev1.DeviceAllocationModeExactCount:
		l.Positive(path.Child("count"), count)
	case count != 0:
		l.Invalid(path.Child("count"), count, fmt.Sprintf("must not be specified when allocationMode is '%s'", mode))
	}
}

// noExpression is what CEL's compiler says of an empty expression.
const noExpression = "compilation failed: ERROR: <input>:1:0: Syntax error: mismatched input '<EOF>' expecting " +
	"{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}"

// selectors checks expressions about devices. That they are right CEL is not checked: nothing here evaluates them.
func selectors(l *check.List, path *field.Path, list []resourcev1.DeviceSelector, full bool) {
	check.Each(l, path, list, resourcev1.DeviceSelectorsMaxSize, func(s *resourcev1.DeviceSelector, p *field.Path) {
		switch {
		case !full:
		case s.CEL == nil:
			l.Required(p.Child("cel"), "")
		case s.CEL.Expression == "":
			l.Invalid(p.Child("cel", "expression"), "", noExpression)
		case len(s.CEL.Expression) > resourcev1.CELSelectorExpressionMaxLength:
			l.Add(field.TooLong(p.Child("cel", "expression"), "", resourcev1.CELSelectorExpressionMaxLength))
		}
	})
}

func tolerations(l *check.List, path *field.Path, list []resourcev1.DeviceToleration, full bool) {
	for i := range list {
		t, p := &list[i], path.Child("tolerations").Index(i)
		if t.Key != "" {
			check.Formatted(l, p.Child("key"), t.Key, validate.LabelKey[string])
		}
		switch {
		case t.Operator != resourcev1.DeviceTolerationOpExists && t.Operator != resourcev1.DeviceTolerationOpEqual:
			check.Supported(l, p.Child("operator"), t.Operator, resourcev1.DeviceTolerationOpEqual, resourcev1.DeviceTolerationOpExists)
		case !full:
		case t.Operator == resourcev1.DeviceTolerationOpEqual:
			l.LabelValue(p.Child("value"), t.Value)
		case t.Value != "":
			l.Invalid(p.Child("value"), t.Value, "must be empty for operator `Exists`")
		}
		if t.Effect != "" {
			effect(l, p.Child("effect"), t.Effect)
		}
	}
}

func effect(l *check.List, path *field.Path, e resourcev1.DeviceTaintEffect) {
	check.Enum(l, path, e, resourcev1.DeviceTaintEffectNoExecute, resourcev1.DeviceTaintEffectNoSchedule, resourcev1.DeviceTaintEffectNone)
}

func configuration(l *check.List, path *field.Path, c *resourcev1.DeviceConfiguration) {
	path = path.Child("opaque")
	if c.Opaque == nil {
		l.Required(path, "")
		return
	}
	driver(l, path.Child("driver"), c.Opaque.Driver)
	document(l, path.Child("parameters"), c.Opaque.Parameters, resourcev1.OpaqueParametersMaxLength)
}

// driver asks for the name of a driver in the words of the API's declared rules.
func driver(l *check.List, path *field.Path, name string) {
	if len(name) > resourcev1.DriverNameMaxLength {
		l.Add(field.TooLongCharacters(path, "", resourcev1.DriverNameMaxLength))
	}
	//lint:ignore SA1019 Kubernetes takes capitals in the names of drivers, and so must we.
	check.Declared(l, path, name, validate.LongNameCaseless[string])
}

// document asks for a JSON object.
func document(l *check.List, path *field.Path, d runtime.RawExtension, longest int) {
	var v any
	if len(d.Raw) == 0 {
		l.Required(path, "")
	} else if len(d.Raw) > longest {
		l.Add(field.TooLong(path, "", longest))
	} else if err := json.Unmarshal(d.Raw, &v); err != nil {
		l.Invalid(path, "<value omitted>", fmt.Sprintf("error parsing data as JSON: %v", err))
	} else if v == nil {
		l.Required(path, "")
	} else if _, ok := v.(map[string]any); !ok {
		l.Invalid(path, "<value omitted>", "must be a valid JSON object")
	}
}
