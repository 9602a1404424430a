package core

//lint:file-ignore SA1019 the kind is deprecated, and served for clients that still use it

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver/kinds/internal/check"
)

func validateEndpoints(o, old *corev1.Endpoints) field.ErrorList {
	var l check.List
	if old != nil && equality.Semantic.DeepEqual(o.Subsets, old.Subsets) {
		return nil // what was stored under older rules may stay
	}
	for i := range o.Subsets {
		s, path := &o.Subsets[i], field.NewPath("subsets").Index(i)
		if len(s.Addresses) == 0 && len(s.NotReadyAddresses) == 0 {
			l.Required(path, "must specify `addresses` or `notReadyAddresses`")
		}
		for j := range s.Addresses {
			endpointAddress(&l, &s.Addresses[j], path.Child("addresses").Index(j))
		}
		for j := range s.NotReadyAddresses {
			endpointAddress(&l, &s.NotReadyAddresses[j], path.Child("notReadyAddresses").Index(j))
		}
		for j := range s.Ports {
			endpointPort(&l, &s.Ports[j], len(s.Ports) > 1, path.Child("ports").Index(j))
		}
	}
	return l.Errors()
}

func endpointAddress(l *check.List, a *corev1.EndpointAddress, path *field.Path) {
	l.IP(path.Child("ip"), a.IP)
	if a.Hostname != "" {
		l.Label(path.Child("hostname"), a.Hostname)
	}
	if a.NodeName != nil {
		l.Subdomain(path.Child("nodeName"), *a.NodeName)
	}
	l.EndpointIP(path.Child("ip"), a.IP)
}

func endpointPort(l *check.List, p *corev1.EndpointPort, named bool, path *field.Path) {
	switch {
	case p.Name != "":
		l.Label(path.Child("name"), p.Name)
	case named:
		l.Required(path.Child("name"), "")
	}
	l.Port(path.Child("port"), p.Port)
	check.Enum(l, path.Child("protocol"), p.Protocol, corev1.ProtocolSCTP, corev1.ProtocolTCP, corev1.ProtocolUDP)
	if p.AppProtocol != nil {
		l.QualifiedName(path.Child("appProtocol"), *p.AppProtocol)
	}
}
