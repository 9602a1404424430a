package core

//lint:file-ignore SA1019 the kind is deprecated, and served for clients that still use it

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/kinds/internal/row"
)

// Endpoints returns the row of Endpoints, the older form of EndpointSlice.
func Endpoints() apiserver.Kind {
	k := newKind("Endpoints", "endpoints", "endpoints", "ep")
	k.UpdateCreates = true
	k.Deprecated = "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"
	k.Object, k.List = &corev1.Endpoints{}, &corev1.EndpointsList{}
	k.Default = row.Of(defaultEndpoints)
	k.Validate = row.Check(validateEndpoints)
	k.Warnings = row.Warn(endpointsWarnings)
	k.Columns = row.Columns("Name", "Endpoints", "Age")
	k.Row = row.Cells(func(o *corev1.Endpoints, now time.Time) []any {
		return []any{o.Name, endpointsText(o), row.Age(o.CreationTimestamp, now)}
	})
	return k
}

func defaultEndpoints(o *corev1.Endpoints) {
	for i := range o.Subsets {
		for j := range o.Subsets[i].Ports {
			if p := &o.Subsets[i].Ports[j]; p.Protocol == "" {
				p.Protocol = corev1.ProtocolTCP
			}
		}
	}
}

func endpointsText(o *corev1.Endpoints) string {
	const shown = 3
	if len(o.Subsets) == 0 {
		return "<none>"
	}
	var list []string
	for _, s := range o.Subsets {
		if len(s.Ports) == 0 {
			for _, a := range s.Addresses {
				list = append(list, a.IP)
			}
		}
		for _, p := range s.Ports {
			for _, a := range s.Addresses {
				list = append(list, net.JoinHostPort(a.IP, strconv.Itoa(int(p.Port))))
			}
		}
	}
	if len(list) > shown {
		return fmt.Sprintf("%s + %d more...", strings.Join(list[:shown], ","), len(list)-shown)
	}
	return strings.Join(list, ",")
}
