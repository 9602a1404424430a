package resource

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/validate"
	"k8s.io/apimachinery/pkg/api/validate/content"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver/kinds/internal/check"
	"github.com/inboard/inboard/apiserver/kinds/internal/podspec"
)

func validateSlice(o, old *resourcev1.ResourceSlice) field.ErrorList {
	var l check.List
	s := &o.Spec
	l.CSIDriver(specPath.Child("driver"), s.Driver)
	pool(&l, specPath.Child("pool", "name"), s.Pool.Name)
	if s.Pool.ResourceSliceCount <= 0 {
		l.Invalid(specPath.Child("pool", "resourceSliceCount"), s.Pool.ResourceSliceCount, "must be greater than zero")
	}
	if s.Pool.Generation < 0 {
		l.Invalid(specPath.Child("pool", "generation"), s.Pool.Generation, "must be greater than or equal to zero")
	}
	if old != nil {
		l.Add(apivalidation.ValidateImmutableField(s.Pool.Name, old.Spec.Pool.Name, specPath.Child("pool", "name"))...)
		l.Add(apivalidation.ValidateImmutableField(s.Driver, old.Spec.Driver, specPath.Child("driver"))...)
		l.Add(apivalidation.ValidateImmutableField(s.NodeName, old.Spec.NodeName, specPath.Child("nodeName"))...)
	}
	sliceNodes(&l, s)
	if s.SharedCounters != nil && s.Devices != nil {
		l.Invalid(specPath, "", "only one of `sharedCounters` or `devices` is allowed")
	}
	most := resourcev1.ResourceSliceMaxDevices
	if slices.ContainsFunc(s.Devices, func(d resourcev1.Device) bool { return len(d.Taints) > 0 || len(d.ConsumesCounters) > 0 }) {
		most = resourcev1.ResourceSliceMaxDevicesWithAdvancedFeatures
	}
	perDevice := s.PerDeviceNodeSelection != nil && *s.PerDeviceNodeSelection
	check.Unique(&l, specPath.Child("devices"), s.Devices, most, func(d *resourcev1.Device) string { return d.Name },
		func(d *resourcev1.Device, path *field.Path) { device(&l, path, d, deviceNamed(old, d.Name), perDevice) })
	check.Unique(&l, specPath.Child("sharedCounters"), s.SharedCounters, resourcev1.ResourceSliceMaxCounterSets,
		func(c *resourcev1.CounterSet) string { return c.Name },
		func(c *resourcev1.CounterSet, path *field.Path) {
			check.Declared(&l, path.Child("name"), c.Name, validate.ShortName[string])
			counters(&l, path.Child("counters"), c.Counters, resourcev1.ResourceSliceMaxCountersPerCounterSet)
		})
	return l.Errors()
}

func deviceNamed(o *resourcev1.ResourceSlice, name string) *resourcev1.Device {
	if o == nil {
		return nil
	}
	i := slices.IndexFunc(o.Spec.Devices, func(d resourcev1.Device) bool { return d.Name == name })
	if i < 0 {
		return nil
	}
	return &o.Spec.Devices[i]
}

// where gathers in which ways it is said which nodes devices are on: there must be one.
type where struct {
	l    *check.List
	path *field.Path
	set  []string
}

func (w *where) name(v *string, empty string) {
	switch {
	case v == nil:
	case *v == "":
		w.l.Invalid(w.path.Child("nodeName"), *v, empty)
	default:
		w.set = append(w.set, "`nodeName`")
		w.l.Subdomain(w.path.Child("nodeName"), *v)
	}
}

func (w *where) selector(s *corev1.NodeSelector) {
	if s != nil {
		w.set = append(w.set, "`nodeSelector`")
		w.l.Add(podspec.ValidateNodeSelector(s, w.path.Child("nodeSelector"))...)
	}
}

func (w *where) yes(field string, v *bool) {
	switch {
	case v == nil:
	case *v:
		w.set = append(w.set, "`"+field+"`")
	default:
		w.l.Invalid(w.path.Child(field), *v, "must be either unset or set to true")
	}
}

func (w *where) one(none, several string) {
	switch len(w.set) {
	case 0:
		w.l.Required(w.path, none)
	case 1:
	default:
		w.l.Invalid(w.path, "{"+strings.Join(w.set, ", ")+"}", several)
	}
}

func sliceNodes(l *check.List, s *resourcev1.ResourceSliceSpec) {
	w := &where{l: l, path: specPath}
	w.name(s.NodeName, "must be either unset or set to a non-empty string")
	w.selector(s.NodeSelector)
	if s.NodeSelector != nil && len(s.NodeSelector.NodeSelectorTerms) != 1 {
		l.Invalid(specPath.Child("nodeSelector", "nodeSelectorTerms"), s.NodeSelector.NodeSelectorTerms, "must have exactly one node selector term")
	}
	w.yes("allNodes", s.AllNodes)
	w.yes("perDeviceNodeSelection", s.PerDeviceNodeSelection)
	const one = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required"
	w.one(one, one+", but multiple fields are set")
}

func device(l *check.List, path *field.Path, d, old *resourcev1.Device, perDevice bool) {
	l.Label(path.Child("name"), d.Name)
	if n := len(d.Attributes) + len(d.Capacity); n > resourcev1.ResourceSliceMaxAttributesAndCapacitiesPerDevice {
		l.Invalid(path, n, fmt.Sprintf("the total number of attributes and capacities must not exceed %d", resourcev1.ResourceSliceMaxAttributesAndCapacitiesPerDevice))
	}
	if n := len(d.Attributes); n > resourcev1.ResourceSliceMaxAttributeValuesPerDevice {
		l.Invalid(path, n, fmt.Sprintf("the total number of attribute values must not exceed %d", resourcev1.ResourceSliceMaxAttributeValuesPerDevice))
	}
	for _, name := range slices.Sorted(maps.Keys(d.Attributes)) {
		qualified(l, path.Child("attributes"), name)
		attribute(l, path.Child("attributes").Key(shortened(string(name))), d.Attributes[name])
	}
	if old == nil || !equality.Semantic.DeepEqual(old.Capacity, d.Capacity) {
		several := d.AllowMultipleAllocations != nil && *d.AllowMultipleAllocations
		for _, name := range slices.Sorted(maps.Keys(d.Capacity)) {
			qualified(l, path.Child("capacity"), name)
			capacity(l, path.Child("capacity").Key(shortened(string(name))), d.Capacity[name], several)
		}
	}
	if old == nil || !equality.Semantic.DeepEqual(old.Taints, d.Taints) {
		check.Each(l, path.Child("taints"), d.Taints, resourcev1.DeviceTaintsMaxLength, func(t *resourcev1.DeviceTaint, p *field.Path) { taint(l, p, t, nil) })
	}
	check.Unique(l, path.Child("consumesCounters"), d.ConsumesCounters, resourcev1.ResourceSliceMaxDeviceCounterConsumptionsPerDevice,
		func(c *resourcev1.DeviceCounterConsumption) string { return c.CounterSet },
		func(c *resourcev1.DeviceCounterConsumption, p *field.Path) {
			check.Declared(l, p.Child("counterSet"), c.CounterSet, validate.ShortName[string])
			counters(l, p.Child("counters"), c.Counters, resourcev1.ResourceSliceMaxCountersPerDeviceCounterConsumption)
		})
	deviceNodes(l, path, d, perDevice)
	bindingConditions(l, path, d.BindingConditions, d.BindingFailureConditions)
}

func deviceNodes(l *check.List, path *field.Path, d *resourcev1.Device, perDevice bool) {
	if !perDevice {
		if d.NodeName != nil || d.NodeSelector != nil || d.AllNodes != nil {
			l.Invalid(path, nil, "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec")
		}
		return
	}
	w := &where{l: l, path: path}
	w.name(d.NodeName, "must not be empty")
	w.selector(d.NodeSelector)
	w.yes("allNodes", d.AllNodes)
	const one = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true in the ResourceSlice spec"
	w.one(one, one)
}

// counters asks for some counters with names.
func counters(l *check.List, path *field.Path, list map[string]resourcev1.Counter, most int) {
	switch {
	case len(list) == 0:
		l.Required(path, "")
	case len(list) > most:
		l.Add(field.TooMany(path, len(list), most))
	}
	for _, name := range slices.Sorted(maps.Keys(list)) {
		check.Formatted(l, path, name, validate.ShortName[string])
	}
}

// shortened leaves out the middle of names that are too long for a path.
func shortened(name string) string {
	const longest = resourcev1.DeviceMaxDomainLength + 1 + resourcev1.DeviceMaxIDLength
	if len(name) <= longest {
		return name
	}
	const left = longest - len("...")
	return name[:(left+1)/2] + "..." + name[len(name)-left/2:]
}

// qualified asks for an identifier, maybe after a domain and a slash.
func qualified(l *check.List, path *field.Path, name resourcev1.QualifiedName) {
	parts := strings.Split(string(name), "/")
	switch len(parts) {
	case 1:
		identifier(l, path, parts[0])
	case 2:
		if parts[0] == "" {
			l.Invalid(path, "", "the domain must not be empty")
		} else {
			l.CSIDriver(path, parts[0])
		}
		if parts[1] == "" {
			l.Invalid(path, "", "the name must not be empty")
		} else {
			identifier(l, path, parts[1])
		}
	}
}

func identifier(l *check.List, path *field.Path, id string) {
	if len(id) > resourcev1.DeviceMaxIDLength {
		l.Add(field.TooLong(path, "", resourcev1.DeviceMaxIDLength))
	}
	l.Messages(path, id, content.IsCIdentifier(id))
}

// version is a version as semver.org has it.
var version = check.Pattern(`^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)` +
	`(-(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(\.(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*)?(\+[0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*)?$`)

// attribute asks for one value.
func attribute(l *check.List, path *field.Path, a resourcev1.DeviceAttribute) {
	var set []string
	if a.IntValue != nil {
		set = append(set, "`int`")
	}
	if a.BoolValue != nil {
		set = append(set, "`bool`")
	}
	if a.StringValue != nil {
		set = append(set, "`string`")
		notLong(l, path.Child("string"), *a.StringValue)
	}
	if a.VersionValue != nil {
		set = append(set, "`version`")
		if !version().MatchString(*a.VersionValue) {
			l.Invalid(path.Child("version"), *a.VersionValue, "must be a string compatible with semver.org spec 2.0.0")
		}
		notLong(l, path.Child("version"), *a.VersionValue)
	}
	const members = "`int`, `bool`, `string`, `version`, `ints`, `bools`, `strings`, `versions`"
	switch len(set) {
	case 0:
		l.Invalid(path, "", "must specify one of: "+members)
	case 1:
	default:
		l.Invalid(path, "{"+strings.Join(set, ", ")+"}", "must specify exactly one of: "+members)
	}
}

func notLong(l *check.List, path *field.Path, v string) {
	if len(v) > resourcev1.DeviceAttributeMaxValueLength {
		l.Add(field.TooLong(path, "", resourcev1.DeviceAttributeMaxValueLength))
	}
}
