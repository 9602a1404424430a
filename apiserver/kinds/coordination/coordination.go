// Package coordination has the row of Lease, coordination.k8s.io/v1.
package coordination

import (
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/utils/ptr"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/kinds/internal/row"
)

// Kinds returns the rows of the group.
func Kinds() []apiserver.Kind { return []apiserver.Kind{Lease()} }

// Lease returns the row of Lease.
func Lease() apiserver.Kind {
	return apiserver.Kind{
		GroupVersionKind:  coordinationv1.SchemeGroupVersion.WithKind("Lease"),
		Resource:          "leases",
		Singular:          "lease",
		Namespaced:        true,
		UpdateCreates:     true,
		ConditionalUpdate: true,
		Object:            &coordinationv1.Lease{},
		List:              &coordinationv1.LeaseList{},
		Prepare: row.Pair(func(o, _ *coordinationv1.Lease) {
			// Coordinated leader election is off in Kubernetes by default, and off here.
			o.Spec.Strategy, o.Spec.PreferredHolder = nil, nil
		}),
		Validate: row.Check(validateLease),
		Columns:  row.Columns("Name", "Holder", "Age"),
		Row: row.Cells(func(o *coordinationv1.Lease, now time.Time) []any {
			return []any{o.Name, ptr.Deref(o.Spec.HolderIdentity, ""), row.Age(o.CreationTimestamp, now)}
		}),
	}
}
