// Package scheduling has the rows of scheduling.k8s.io: PriorityClass (v1) and PodGroup (v1beta1).
package scheduling

import (
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/kinds/internal/check"
	"github.com/inboard/inboard/apiserver/kinds/internal/fill"
	"github.com/inboard/inboard/apiserver/kinds/internal/row"
)

// Kinds returns the rows of the group.
func Kinds() []apiserver.Kind { return []apiserver.Kind{PriorityClass(), PodGroup()} }

const (
	systemPrefix = "system-"
	// maxUserPriority is the highest priority of a class that is not the system's own.
	maxUserPriority = 1_000_000_000
	maxSystemValue  = 2 * maxUserPriority
)

// systemValues are the values of the classes that every cluster has; see apiserver, which makes them.
var systemValues = map[string]int32{
	"system-cluster-critical": maxSystemValue,
	"system-node-critical":    maxSystemValue + 1000,
}

// PriorityClass returns the row of PriorityClass.
func PriorityClass() apiserver.Kind {
	return apiserver.Kind{
		QualifiedFinalizers: true,
		GroupVersionKind:    schedulingv1.SchemeGroupVersion.WithKind("PriorityClass"),
		Resource:            "priorityclasses",
		Singular:            "priorityclass",
		ShortNames:          []string{"pc"},
		Object:              &schedulingv1.PriorityClass{},
		List:                &schedulingv1.PriorityClassList{},
		Default: row.Of(func(o *schedulingv1.PriorityClass) {
			fill.Nil(&o.PreemptionPolicy, corev1.PreemptLowerPriority)
		}),
		Prepare: row.Pair(func(o, old *schedulingv1.PriorityClass) {
			if old == nil {
				o.Generation = 1 // and so it stays: nothing of a class that counts can change
			}
		}),
		Validate: row.Check(validatePriorityClass),
		Columns:  row.Columns("Name", "Value:integer", "Global-Default:boolean", "Age", "PreemptionPolicy"),
		Row: row.Cells(func(o *schedulingv1.PriorityClass, now time.Time) []any {
			return []any{o.Name, int64(o.Value), o.GlobalDefault, row.Age(o.CreationTimestamp, now), string(ptr.Deref(o.PreemptionPolicy, ""))}
		}),
	}
}

func validatePriorityClass(o, old *schedulingv1.PriorityClass) field.ErrorList {
	var l check.List
	if old != nil {
		if o.Value != old.Value {
			l.Forbidden(field.NewPath("value"), "may not be changed in an update.")
		}
		l.Add(apivalidation.ValidateImmutableField(o.PreemptionPolicy, old.PreemptionPolicy, field.NewPath("preemptionPolicy"))...)
		return l.Errors()
	}
	if strings.HasPrefix(o.Name, systemPrefix) {
		if err := systemClass(o); err != nil {
			l.Forbidden(field.NewPath("metadata", "name"), "priority class names with '"+systemPrefix+"' prefix are reserved for system use only. error: "+err.Error())
		}
	} else if o.Value > maxUserPriority {
		l.Forbidden(field.NewPath("value"), fmt.Sprintf("maximum allowed value of a user defined priority is %v", maxUserPriority))
	}
	if o.PreemptionPolicy != nil {
		check.Enum(&l, field.NewPath("preemptionPolicy"), *o.PreemptionPolicy, corev1.PreemptLowerPriority, corev1.PreemptNever)
	}
	return l.Errors()
}

// systemClass tells how a class with a name of the system's differs from the one of that name.
func systemClass(o *schedulingv1.PriorityClass) error {
	value, ok := systemValues[o.Name]
	switch {
	case !ok:
		return fmt.Errorf("%v is not a known system priority class", o.Name)
	case o.Value != value:
		return fmt.Errorf("value of %v PriorityClass must be %v", o.Name, value)
	case o.GlobalDefault:
		return errors.New("globalDefault of " + o.Name + " PriorityClass must be false")
	}
	return nil
}
