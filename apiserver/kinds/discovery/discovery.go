// Package discovery has the row of EndpointSlice, discovery.k8s.io/v1.
package discovery

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/kinds/internal/row"
)

// Kinds returns the rows of the group.
func Kinds() []apiserver.Kind { return []apiserver.Kind{EndpointSlice()} }

// EndpointSlice returns the row of EndpointSlice.
func EndpointSlice() apiserver.Kind {
	return apiserver.Kind{
		QualifiedFinalizers: true,
		GroupVersionKind:    discoveryv1.SchemeGroupVersion.WithKind("EndpointSlice"),
		Resource:            "endpointslices",
		Singular:            "endpointslice",
		Namespaced:          true,
		Generation:          true,
		Object:              &discoveryv1.EndpointSlice{},
		List:                &discoveryv1.EndpointSliceList{},
		Default:             row.Of(defaultSlice),
		Prepare: row.Pair(func(o, old *discoveryv1.EndpointSlice) {
			if old != nil && !equality.Semantic.DeepEqual(o.Labels, old.Labels) {
				o.Generation = old.Generation + 1
			}
			for i := range o.Endpoints { // a field that v1 keeps for what v1beta1 stored
				o.Endpoints[i].DeprecatedTopology = nil
			}
		}),
		Validate: row.Check(validateSlice),
		Warnings: row.Warn(sliceWarnings),
		Columns:  row.Columns("Name", "AddressType", "Ports", "Endpoints", "Age"),
		Row:      row.Cells(sliceRow),
	}
}

// sliceWarnings are not told to the controllers that write most slices.
func sliceWarnings(o, old *discoveryv1.EndpointSlice) (out []string) {
	if old == nil && o.AddressType == discoveryv1.AddressTypeFQDN {
		out = append(out, "spec.addressType: FQDN endpoints are deprecated")
	}
	if by := o.Labels[discoveryv1.LabelManagedBy]; by == "endpointslice-controller.k8s.io" || by == "endpointslicemirroring-controller.k8s.io" {
		return out
	}
	for i := range o.Endpoints {
		for j, a := range o.Endpoints[i].Addresses {
			out = append(out, validation.GetWarningsForIP(field.NewPath("endpoints").Index(i).Child("addresses").Index(j), a)...)
		}
	}
	return out
}

func defaultSlice(o *discoveryv1.EndpointSlice) {
	for i := range o.Ports {
		p := &o.Ports[i]
		if p.Name == nil {
			p.Name = ptr.To("")
		}
		if p.Protocol == nil {
			p.Protocol = ptr.To(corev1.ProtocolTCP)
		}
	}
}

func sliceRow(o *discoveryv1.EndpointSlice, now time.Time) []any {
	var ports, addresses []string
	for _, p := range o.Ports {
		switch {
		case p.Port != nil:
			ports = append(ports, strconv.Itoa(int(*p.Port)))
		case p.Name != nil:
			ports = append(ports, *p.Name)
		default:
			ports = append(ports, "*")
		}
	}
	for _, e := range o.Endpoints {
		addresses = append(addresses, e.Addresses...)
	}
	return []any{o.Name, string(o.AddressType), someOf(ports), someOf(addresses), row.Age(o.CreationTimestamp, now)}
}

func someOf(list []string) string {
	const shown = 3
	if len(list) > shown {
		return fmt.Sprintf("%s + %d more...", strings.Join(list[:shown], ","), len(list)-shown)
	}
	return row.Or(strings.Join(list, ","), "<unset>")
}
