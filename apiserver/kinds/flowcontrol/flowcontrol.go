// Package flowcontrol has the rows of the kinds of flowcontrol.apiserver.k8s.io/v1: FlowSchema and
// PriorityLevelConfiguration. They are stored and checked; package apiserver/flowcontrol goes by them.
package flowcontrol

import (
	"time"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/kinds/internal/fill"
	"github.com/inboard/inboard/apiserver/kinds/internal/row"
)

// Kinds returns the rows of all kinds of the group. The slice is the caller's own.
func Kinds() []apiserver.Kind {
	return []apiserver.Kind{FlowSchema(), PriorityLevelConfiguration()}
}

var specPath, statusPath = field.NewPath("spec"), field.NewPath("status")

func newKind(kind, resource, singular string) apiserver.Kind {
	return apiserver.Kind{
		QualifiedFinalizers: true,
		GroupVersionKind:    flowcontrolv1.SchemeGroupVersion.WithKind(kind),
		Resource:            resource,
		Singular:            singular,
		Generation:          true,
		Status:              true,
		StatusResets:        []string{"metadata"},
	}
}

// FlowSchema returns the row of FlowSchema.
func FlowSchema() apiserver.Kind {
	k := newKind("FlowSchema", "flowschemas", "flowschema")
	k.Object, k.List = &flowcontrolv1.FlowSchema{}, &flowcontrolv1.FlowSchemaList{}
	k.Default = row.Of(func(o *flowcontrolv1.FlowSchema) { fill.Empty(&o.Spec.MatchingPrecedence, 1000) })
	k.PrepareStatus = row.Pair(func(o, old *flowcontrolv1.FlowSchema) {
		o.Labels, o.Annotations = old.Labels, old.Annotations
	})
	k.Validate = row.Check(validateSchema)
	k.ValidateStatus = row.Check(func(o, _ *flowcontrolv1.FlowSchema) field.ErrorList { return schemaStatus(o) })
	k.Columns = row.Columns("Name", "PriorityLevel", "MatchingPrecedence", "DistinguisherMethod", "Age", "MissingPL")
	k.Row = row.Cells(func(o *flowcontrolv1.FlowSchema, now time.Time) []any {
		method, dangling := "<none>", "?"
		if d := o.Spec.DistinguisherMethod; d != nil {
			method = string(d.Type)
		}
		for _, c := range o.Status.Conditions {
			if c.Type == flowcontrolv1.FlowSchemaConditionDangling {
				dangling = string(c.Status)
				break
			}
		}
		return []any{o.Name, o.Spec.PriorityLevelConfiguration.Name, int64(o.Spec.MatchingPrecedence), method,
			row.Age(o.CreationTimestamp, now), dangling}
	})
	return k
}

// PriorityLevelConfiguration returns the row of PriorityLevelConfiguration.
func PriorityLevelConfiguration() apiserver.Kind {
	k := newKind("PriorityLevelConfiguration", "prioritylevelconfigurations", "prioritylevelconfiguration")
	k.Object, k.List = &flowcontrolv1.PriorityLevelConfiguration{}, &flowcontrolv1.PriorityLevelConfigurationList{}
	k.Default = row.Of(defaultLevel)
	k.PrepareStatus = row.Pair(func(o, old *flowcontrolv1.PriorityLevelConfiguration) {
		o.Labels, o.Annotations = old.Labels, old.Annotations
	})
	k.Validate = row.Check(validateLevel)
	k.ValidateStatus = row.Check(func(o, _ *flowcontrolv1.PriorityLevelConfiguration) field.ErrorList { return levelStatus(o) })
	k.Columns = row.Columns("Name", "Type", "NominalConcurrencyShares", "Queues", "HandSize", "QueueLengthLimit", "Age")
	k.Row = row.Cells(func(o *flowcontrolv1.PriorityLevelConfiguration, now time.Time) []any {
		cells := []any{o.Name, string(o.Spec.Type), "<none>", "<none>", "<none>", "<none>", row.Age(o.CreationTimestamp, now)}
		if limited := o.Spec.Limited; limited != nil {
			if n := limited.NominalConcurrencyShares; n != nil {
				cells[2] = *n
			}
			if q := limited.LimitResponse.Queuing; q != nil {
				cells[3], cells[4], cells[5] = q.Queues, q.HandSize, q.QueueLengthLimit
			}
		}
		return cells
	})
	return k
}

func defaultLevel(o *flowcontrolv1.PriorityLevelConfiguration) {
	if e := o.Spec.Exempt; e != nil {
		fill.Nil(&e.NominalConcurrencyShares, 0)
		fill.Nil(&e.LendablePercent, 0)
	}
	if l := o.Spec.Limited; l != nil {
		fill.Nil(&l.NominalConcurrencyShares, 30)
		fill.Nil(&l.LendablePercent, 0)
		if q := l.LimitResponse.Queuing; q != nil {
			fill.Empty(&q.HandSize, 8)
			fill.Empty(&q.Queues, 64)
			fill.Empty(&q.QueueLengthLimit, 50)
		}
	}
}
