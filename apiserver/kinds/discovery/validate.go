package discovery

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"
	"k8s.io/utils/ptr"

	"github.com/inboard/inboard/apiserver/kinds/internal/check"
)

const (
	maxEndpoints = 1000
	maxAddresses = 100
	maxPorts     = 20000
	maxTopology  = 16
	maxHints     = 8
)

func validateSlice(o, old *discoveryv1.EndpointSlice) field.ErrorList {
	var l check.List
	check.Enum(&l, field.NewPath("addressType"), o.AddressType, discoveryv1.AddressTypeFQDN, discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6)
	ports(&l, o.Ports)
	if old == nil || !equality.Semantic.DeepEqual(o.Endpoints, old.Endpoints) {
		endpoints(&l, o)
	}
	if old != nil {
		l.Add(apivalidation.ValidateImmutableField(o.AddressType, old.AddressType, field.NewPath("addressType"))...)
	}
	return l.Errors()
}

func ports(l *check.List, list []discoveryv1.EndpointPort) {
	path := field.NewPath("ports")
	if len(list) > maxPorts {
		l.Add(field.TooMany(path, len(list), maxPorts))
		return
	}
	names := map[string]bool{}
	for i, p := range list {
		path, name := path.Index(i), ptr.Deref(p.Name, "")
		if name != "" {
			l.Label(path.Child("name"), name)
		}
		if names[name] {
			l.Add(field.Duplicate(path.Child("name"), name))
		}
		names[name] = true
		if p.Protocol == nil {
			l.Required(path.Child("protocol"), "")
		} else {
			check.Supported(l, path.Child("protocol"), *p.Protocol, corev1.ProtocolSCTP, corev1.ProtocolTCP, corev1.ProtocolUDP)
		}
		if p.AppProtocol != nil {
			l.QualifiedName(path.Child("appProtocol"), *p.AppProtocol)
		}
	}
}

func endpoints(l *check.List, o *discoveryv1.EndpointSlice) {
	path := field.NewPath("endpoints")
	if len(o.Endpoints) > maxEndpoints {
		l.Add(field.TooMany(path, len(o.Endpoints), maxEndpoints))
		return
	}
	for i := range o.Endpoints {
		e, path := &o.Endpoints[i], path.Index(i)
		switch n := len(e.Addresses); {
		case n == 0:
			l.Required(path.Child("addresses"), "")
		case n > maxAddresses:
			l.Add(field.TooMany(path.Child("addresses"), n, maxAddresses))
		}
		for j, a := range e.Addresses {
			address(l, o.AddressType, a, path.Child("addresses"), j)
		}
		if e.NodeName != nil {
			l.Subdomain(path.Child("nodeName"), *e.NodeName)
		}
		if n := len(e.DeprecatedTopology); n > maxTopology {
			l.Add(field.TooMany(path.Child("deprecatedTopology"), n, maxTopology))
		}
		l.Add(metavalidation.ValidateLabels(e.DeprecatedTopology, path.Child("deprecatedTopology"))...)
		if e.Hostname != nil {
			l.Label(path.Child("hostname"), *e.Hostname)
		}
		if e.Hints != nil {
			hints(l, e.Hints, path.Child("hints"))
		}
	}
}

func address(l *check.List, t discoveryv1.AddressType, a string, path *field.Path, i int) {
	before := len(*l)
	switch t {
	case discoveryv1.AddressTypeIPv4:
		if l.IP(path.Index(i), a); len(*l) > before {
			return
		}
		if !netutils.IsIPv4String(a) {
			l.Invalid(path, a, "must be an IPv4 address")
		}
		l.EndpointIP(path.Index(i), a)
	case discoveryv1.AddressTypeIPv6:
		if l.Add(validation.IsValidIP(path.Index(i), a)...); len(*l) > before {
			return
		}
		if !netutils.IsIPv6String(a) {
			l.Invalid(path, a, "must be an IPv6 address")
		}
		l.EndpointIP(path.Index(i), a)
	case discoveryv1.AddressTypeFQDN:
		l.Add(validation.IsFullyQualifiedDomainName(path.Index(i), a)...)
	}
}

func hints(l *check.List, h *discoveryv1.EndpointHints, path *field.Path) {
	zones := make([]string, len(h.ForZones))
	for i, z := range h.ForZones {
		zones[i] = z.Name
	}
	if !hintNames(l, zones, path.Child("forZones"), l.LabelValue) {
		return
	}
	nodes := make([]string, len(h.ForNodes))
	for i, n := range h.ForNodes {
		nodes[i] = n.Name
	}
	hintNames(l, nodes, path.Child("forNodes"), l.Subdomain)
}

// hintNames checks names; it tells whether they were few enough to look at.
func hintNames(l *check.List, names []string, path *field.Path, isValid func(*field.Path, string)) bool {
	if len(names) > maxHints {
		l.Add(field.TooMany(path, len(names), maxHints))
		return false
	}
	for i, n := range names {
		p := path.Index(i).Child("name")
		if slices.Contains(names[:i], n) {
			l.Add(field.Duplicate(p, n))
		}
		isValid(p, n)
	}
	return true
}
