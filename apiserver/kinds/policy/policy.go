// Package policy has the row of PodDisruptionBudget, policy/v1.
package policy

import (
	"time"

	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/kinds/internal/row"
)

// Kinds returns the rows of the group.
func Kinds() []apiserver.Kind { return []apiserver.Kind{PodDisruptionBudget()} }

// PodDisruptionBudget returns the row of PodDisruptionBudget.
func PodDisruptionBudget() apiserver.Kind {
	return apiserver.Kind{
		GroupVersionKind:  policyv1.SchemeGroupVersion.WithKind("PodDisruptionBudget"),
		Resource:          "poddisruptionbudgets",
		Singular:          "poddisruptionbudget",
		ShortNames:        []string{"pdb"},
		Namespaced:        true,
		Status:            true,
		Generation:        true,
		ConditionalUpdate: true,
		Object:            &policyv1.PodDisruptionBudget{},
		List:              &policyv1.PodDisruptionBudgetList{},
		Prepare:           row.Pair(prepareBudget),
		Validate:          row.Check(validateBudget),
		MetadataLast:      true,
		ValidateStatus:    row.Check(validateBudgetStatus),
		Columns:           row.Columns("Name", "Min Available", "Max Unavailable", "Allowed Disruptions:integer", "Age"),
		Row: row.Cells(func(o *policyv1.PodDisruptionBudget, now time.Time) []any {
			return []any{o.Name, amount(o.Spec.MinAvailable), amount(o.Spec.MaxUnavailable), int64(o.Status.DisruptionsAllowed),
				row.Age(o.CreationTimestamp, now)}
		}),
	}
}

func amount(v *intstr.IntOrString) string {
	if v == nil {
		return "N/A"
	}
	return v.String()
}
