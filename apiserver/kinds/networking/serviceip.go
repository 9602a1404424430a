package networking

import (
	"strings"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/validate/content"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/kinds/internal/check"
	"github.com/inboard/inboard/apiserver/kinds/internal/row"
)

// IPAddress returns the row of IPAddress, whose name is the address.
func IPAddress() apiserver.Kind {
	k := newKind("IPAddress", "ipaddresses", "ipaddress", "ip")
	k.Generation = false
	k.Object, k.List = &networkingv1.IPAddress{}, &networkingv1.IPAddressList{}
	k.NameIsValid = func(name string, _ bool) []string {
		var out []string
		for _, err := range validation.IsValidIP(&field.Path{}, name) {
			out = append(out, err.Detail)
		}
		return out
	}
	k.Validate = row.Check(validateIPAddress)
	k.Columns = row.Columns("Name", "ParentRef", "Age")
	k.Row = row.Cells(func(o *networkingv1.IPAddress, now time.Time) []any {
		parent := "<none>"
		if r := o.Spec.ParentRef; r != nil {
			parent = strings.ToLower(schema.GroupResource{Group: r.Group, Resource: r.Resource}.String())
			if r.Namespace != "" {
				parent += "/" + r.Namespace
			}
			parent += "/" + r.Name
		}
		return []any{o.Name, parent, row.Age(o.CreationTimestamp, now)}
	})
	return k
}

func validateIPAddress(o, old *networkingv1.IPAddress) field.ErrorList {
	var l check.List
	p, r := specPath.Child("parentRef"), o.Spec.ParentRef
	if old != nil {
		l.Add(apivalidation.ValidateImmutableField(r, old.Spec.ParentRef, p)...)
	}
	if r == nil {
		l.Required(p, "")
		return l.Errors()
	}
	if r.Group != "" {
		l.Subdomain(p.Child("group"), r.Group)
	}
	for _, f := range []struct {
		name, value string
		needed      bool
	}{{"resource", r.Resource, true}, {"name", r.Name, true}, {"namespace", r.Namespace, false}} {
		if f.value == "" && f.needed {
			l.Required(p.Child(f.name), "")
		} else if f.value != "" {
			l.Messages(p.Child(f.name), f.value, content.IsPathSegmentName(f.value))
		}
	}
	return l.Errors()
}

// ServiceCIDR returns the row of ServiceCIDR.
func ServiceCIDR() apiserver.Kind {
	k := newKind("ServiceCIDR", "servicecidrs", "servicecidr")
	k.Generation = false
	k.Status = true
	k.StatusResets = []string{"metadata"}
	k.Object, k.List = &networkingv1.ServiceCIDR{}, &networkingv1.ServiceCIDRList{}
	k.PrepareStatus = row.Pair(func(o, old *networkingv1.ServiceCIDR) {
		o.Labels, o.Annotations = old.Labels, old.Annotations
	})
	k.Validate = row.Check(validateServiceCIDR)
	k.Columns = row.Columns("Name", "CIDRs", "Age")
	k.Row = row.Cells(func(o *networkingv1.ServiceCIDR, now time.Time) []any {
		return []any{o.Name, strings.Join(o.Spec.CIDRs, ","), row.Age(o.CreationTimestamp, now)}
	})
	return k
}

func validateServiceCIDR(o, old *networkingv1.ServiceCIDR) field.ErrorList {
	var l check.List
	p, now := specPath.Child("cidrs"), o.Spec.CIDRs
	if old == nil {
		cidrs(&l, p, now)
		return l.Errors()
	}
	was := old.Spec.CIDRs
	grows := len(was) == 1 && len(now) == 2 // to both address families
	if len(was) != len(now) && !grows {
		l.Invalid(p, now, apivalidation.FieldImmutableErrorMsg)
		return l.Errors()
	}
	for i := range was {
		if was[i] != now[i] {
			l.Invalid(p.Index(i), now[i], apivalidation.FieldImmutableErrorMsg)
		}
	}
	if grows {
		cidrs(&l, p, now)
	}
	return l.Errors()
}

func cidrs(l *check.List, p *field.Path, list []string) {
	switch {
	case len(list) == 0:
		l.Required(p, "at least one CIDR required")
		return
	case len(list) > 2:
		l.Invalid(p, list, "may only hold up to 2 values")
		return
	}
	for i, c := range list {
		l.Add(validation.IsValidCIDR(p.Index(i), c)...)
	}
	if len(list) == 2 {
		a, b := netutils.IPFamilyOfCIDRString(list[0]), netutils.IPFamilyOfCIDRString(list[1])
		if a == b && a != netutils.IPFamilyUnknown {
			l.Invalid(p, list, "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64")
		}
	}
}
