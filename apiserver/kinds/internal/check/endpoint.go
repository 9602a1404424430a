package check

import (
	"fmt"

	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"
)

// EndpointIP asks for an address that traffic may be sent to.
func (l *List) EndpointIP(path *field.Path, v string) {
	ip := netutils.ParseIPSloppy(v)
	switch {
	case ip == nil:
		l.Invalid(path, v, "must be a valid IP address")
	case ip.IsUnspecified():
		l.Invalid(path, v, fmt.Sprintf("may not be unspecified (%v)", v))
	case ip.IsLoopback():
		l.Invalid(path, v, "may not be in the loopback range (127.0.0.0/8, ::1/128)")
	case ip.IsLinkLocalUnicast():
		l.Invalid(path, v, "may not be in the link-local range (169.254.0.0/16, fe80::/10)")
	case ip.IsLinkLocalMulticast():
		l.Invalid(path, v, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)")
	}
}
