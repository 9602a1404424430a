package resource

import (
	"math"
	"slices"
	"strings"

	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/validate"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver/kinds/internal/check"
	"github.com/inboard/inboard/apiserver/kinds/internal/podspec"
)

func validateClaimStatus(o, old *resourcev1.ResourceClaim) field.ErrorList {
	var l check.List
	s, was := &o.Status, &old.Status
	check.Unique(&l, statusPath.Child("reservedFor"), s.ReservedFor, resourcev1.ResourceClaimReservedForMaxSize,
		func(r *resourcev1.ResourceClaimConsumerReference) types.UID { return r.UID },
		func(r *resourcev1.ResourceClaimConsumerReference, path *field.Path) {
			for _, f := range []struct{ name, value string }{{"resource", r.Resource}, {"name", r.Name}, {"uid", string(r.UID)}} {
				if f.value == "" {
					l.Required(path.Child(f.name), "")
				}
			}
		})
	has := allocated(s)
	check.Unique(&l, statusPath.Child("devices"), s.Devices, math.MaxInt, statusID, func(d *resourcev1.AllocatedDeviceStatus, path *field.Path) {
		deviceStatus(&l, path, d, has)
	})
	reserved(&l, o, old)
	path := statusPath.Child("allocation")
	switch {
	case s.Allocation == nil:
	case was.Allocation != nil:
		if !equality.Semantic.DeepEqual(s.Allocation, was.Allocation) {
			l.Invalid(path, nil, "field cannot be modified once set")
		}
	default:
		allocation(&l, path, s.Allocation, namesOf(&o.Spec.Devices))
	}
	return l.Errors()
}

// reserved checks for whom a claim is reserved: it must be allocated, and nobody new comes while it goes.
func reserved(l *check.List, o, old *resourcev1.ResourceClaim) {
	path := statusPath.Child("reservedFor")
	switch {
	case len(o.Status.ReservedFor) == 0:
	case o.Status.Allocation == nil:
		l.Forbidden(path, "may not be specified when `allocated` is not set")
	case o.DeletionTimestamp != nil:
		isNew := func(r resourcev1.ResourceClaimConsumerReference) bool {
			return !slices.Contains(old.Status.ReservedFor, r)
		}
		if slices.ContainsFunc(o.Status.ReservedFor, isNew) {
			l.Forbidden(path, "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set")
		}
	}
}

func deviceStatus(l *check.List, path *field.Path, d *resourcev1.AllocatedDeviceStatus, has map[deviceID]bool) {
	l.CSIDriver(path.Child("driver"), d.Driver)
	pool(l, path.Child("pool"), d.Pool)
	l.Label(path.Child("device"), d.Device)
	if d.ShareID != nil {
		check.Formatted(l, path.Child("shareID"), *d.ShareID, validate.UUID[string])
	}
	if !has[statusID(d)] {
		l.Invalid(path, statusID(d), "must be an allocated device in the claim")
	}
	conditions := path.Child("conditions")
	if len(d.Conditions) > resourcev1.AllocatedDeviceStatusMaxConditions {
		l.Add(field.TooMany(conditions, len(d.Conditions), resourcev1.AllocatedDeviceStatusMaxConditions))
	}
	l.Add(metavalidation.ValidateConditions(d.Conditions, conditions)...)
	if d.Data != nil && len(d.Data.Raw) > 0 {
		document(l, path.Child("data"), *d.Data, resourcev1.AllocatedDeviceStatusDataMaxLength)
	}
	if n := d.NetworkData; n != nil {
		networkData(l, path.Child("networkData"), n)
	}
}

func networkData(l *check.List, path *field.Path, n *resourcev1.NetworkDeviceData) {
	if most := resourcev1.NetworkDeviceDataInterfaceNameMaxLength; len(n.InterfaceName) > most {
		l.Add(field.TooLong(path.Child("interfaceName"), "", most))
	}
	if most := resourcev1.NetworkDeviceDataHardwareAddressMaxLength; len(n.HardwareAddress) > most {
		l.Add(field.TooLong(path.Child("hardwareAddress"), "", most))
	}
	check.Unique(l, path.Child("ips"), n.IPs, resourcev1.NetworkDeviceDataMaxIPs, func(s *string) string { return *s },
		func(s *string, p *field.Path) { l.Add(validation.IsValidInterfaceAddress(p, *s)...) })
}

// pool asks for the name of a pool: subdomains between slashes.
func pool(l *check.List, path *field.Path, name string) {
	if name == "" {
		l.Required(path, "")
		return
	}
	if len(name) > resourcev1.PoolNameMaxLength {
		l.Add(field.TooLong(path, "", resourcev1.PoolNameMaxLength))
	}
	for part := range strings.SplitSeq(name, "/") {
		l.Subdomain(path, part)
	}
}

func allocation(l *check.List, path *field.Path, a *resourcev1.AllocationResult, names requestNames) {
	devices := path.Child("devices")
	check.Each(l, devices.Child("results"), a.Devices.Results, resourcev1.AllocationResultsMaxSize,
		func(r *resourcev1.DeviceRequestAllocationResult, p *field.Path) {
			names.reference(l, p.Child("request"), r.Request)
			driver(l, p.Child("driver"), r.Driver)
			check.Declared(l, p.Child("pool"), r.Pool, validate.ResourcePoolName[string])
			l.Label(p.Child("device"), r.Device)
			bindingConditions(l, p, r.BindingConditions, r.BindingFailureConditions)
			tolerations(l, p, r.Tolerations, true)
			if r.ShareID != nil {
				check.Formatted(l, p.Child("shareID"), *r.ShareID, validate.UUID[types.UID])
			}
		})
	check.Each(l, devices.Child("config"), a.Devices.Config, 2*resourcev1.DeviceConfigMaxSize,
		func(c *resourcev1.DeviceAllocationConfiguration, p *field.Path) {
			check.Enum(l, p.Child("source"), c.Source, resourcev1.AllocationConfigSourceClaim, resourcev1.AllocationConfigSourceClass)
			names.references(l, p.Child("requests"), c.Requests)
			configuration(l, p, &c.DeviceConfiguration)
		})
	if a.NodeSelector != nil {
		l.Add(podspec.ValidateNodeSelector(a.NodeSelector, path.Child("nodeSelector"))...)
	}
}

// bindingConditions checks what must hold before a pod is bound, and what tells that it never will.
func bindingConditions(l *check.List, path *field.Path, good, bad []string) {
	goodPath, badPath := path.Child("bindingConditions"), path.Child("bindingFailureConditions")
	for _, c := range []struct {
		path *field.Path
		list []string
		most int
	}{{goodPath, good, resourcev1.BindingConditionsMaxSize}, {badPath, bad, resourcev1.BindingFailureConditionsMaxSize}} {
		check.Each(l, c.path, c.list, c.most, func(s *string, p *field.Path) { l.LabelName(p, *s) })
		for i, s := range c.list {
			if slices.Contains(c.list[:i], s) {
				l.Add(field.Duplicate(c.path.Index(i), s))
			}
		}
	}
	for i, s := range bad {
		if slices.Contains(good, s) {
			l.Invalid(badPath.Index(i), s, "bindingFailureConditions must not overlap with bindingConditions")
		}
	}
	if len(good) == 0 && len(bad) > 0 {
		l.Invalid(goodPath, good, "bindingConditions are required to use bindingFailureConditions")
	}
	if len(bad) == 0 && len(good) > 0 {
		l.Invalid(badPath, bad, "bindingFailureConditions are required to use bindingConditions")
	}
}

func validateTaintRule(o, old *resourcev1.DeviceTaintRule) field.ErrorList {
	var l check.List
	if s := o.Spec.DeviceSelector; s != nil {
		path := specPath.Child("deviceSelector")
		if s.Driver != nil {
			l.CSIDriver(path.Child("driver"), *s.Driver)
		}
		if s.Pool != nil {
			pool(&l, path.Child("pool"), *s.Pool)
		}
		if s.Device != nil {
			l.Label(path.Child("device"), *s.Device)
		}
	}
	var before *resourcev1.DeviceTaint
	if old != nil {
		before = &old.Spec.Taint
	}
	taint(&l, specPath.Child("taint"), &o.Spec.Taint, before)
	return l.Errors()
}

func taint(l *check.List, path *field.Path, t, old *resourcev1.DeviceTaint) {
	l.LabelName(path.Child("key"), t.Key)
	if t.Value != "" {
		l.LabelValue(path.Child("value"), t.Value)
	}
	if old == nil || old.Effect != t.Effect {
		effect(l, path.Child("effect"), t.Effect)
	}
}

func validateTaintRuleStatus(o, _ *resourcev1.DeviceTaintRule) field.ErrorList {
	var l check.List
	path := statusPath.Child("conditions")
	l.Add(metavalidation.ValidateConditions(o.Status.Conditions, path)...)
	if n := len(o.Status.Conditions); n > resourcev1.DeviceTaintRuleStatusMaxConditions {
		l.Add(field.TooMany(path, n, resourcev1.DeviceTaintRuleStatusMaxConditions))
	}
	return l.Errors()
}
