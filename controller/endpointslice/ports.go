package endpointslice

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// portsKey is equal for equal sets of ports, whatever their order.
func portsKey(ports []discoveryv1.EndpointPort) string {
	var parts []string
	for _, p := range ports {
		parts = append(parts, fmt.Sprintf("%q %s %d %q",
			deref(p.Name, ""), deref(p.Protocol, corev1.ProtocolTCP), deref(p.Port, 0), deref(p.AppProtocol, "")))
	}
	slices.Sort(parts)
	return strings.Join(parts, "\n")
}

func deref[T any](p *T, zero T) T {
	if p == nil {
		return zero
	}
	return *p
}
