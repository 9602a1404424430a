// Package node has the row of RuntimeClass, node.k8s.io/v1.
package node

import (
	"time"

	nodev1 "k8s.io/api/node/v1"
	"k8s.io/apimachinery/pkg/api/validate/content"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/kinds/internal/check"
	"github.com/inboard/inboard/apiserver/kinds/internal/nodelabel"
	"github.com/inboard/inboard/apiserver/kinds/internal/podspec"
	"github.com/inboard/inboard/apiserver/kinds/internal/row"
)

// Kinds returns the rows of the group.
func Kinds() []apiserver.Kind { return []apiserver.Kind{RuntimeClass()} }

// RuntimeClass returns the row of RuntimeClass.
func RuntimeClass() apiserver.Kind {
	return apiserver.Kind{
		QualifiedFinalizers: true,
		GroupVersionKind:    nodev1.SchemeGroupVersion.WithKind("RuntimeClass"),
		Resource:            "runtimeclasses",
		Singular:            "runtimeclass",
		UpdateCreates:       true,
		ConditionalUpdate:   true,
		Object:              &nodev1.RuntimeClass{},
		List:                &nodev1.RuntimeClassList{},
		Validate:            row.Check(validateRuntimeClass),
		Warnings: row.Warn(func(o, _ *nodev1.RuntimeClass) []string {
			if o.Scheduling == nil {
				return nil
			}
			return nodelabel.Labels(o.Scheduling.NodeSelector, func(string) *field.Path { return field.NewPath("scheduling", "nodeSelector") })
		}),
		Columns: row.Columns("Name", "Handler", "Age"),
		Row: row.Cells(func(o *nodev1.RuntimeClass, now time.Time) []any {
			return []any{o.Name, o.Handler, row.Age(o.CreationTimestamp, now)}
		}),
	}
}

func validateRuntimeClass(o, old *nodev1.RuntimeClass) field.ErrorList {
	var l check.List
	path := field.NewPath("handler")
	switch {
	case o.Handler == "":
		l.Required(path, "")
	case old == nil:
		l.Messages(path, o.Handler, content.IsDNS1123Label(o.Handler)) // in the words of the declared rules
	default:
		l.Label(path, o.Handler)
	}
	if old != nil {
		l.Add(apivalidation.ValidateImmutableField(o.Handler, old.Handler, path)...)
	}
	if o.Overhead != nil {
		l.Add(podspec.ValidateOverhead(o.Overhead.PodFixed, field.NewPath("overhead"))...)
	}
	if s := o.Scheduling; s != nil {
		p := field.NewPath("scheduling")
		l.Add(metavalidation.ValidateLabels(s.NodeSelector, p.Child("nodeSelector"))...)
		l.Add(podspec.ValidateTolerations(s.Tolerations, p.Child("tolerations"))...)
		for i, t := range s.Tolerations {
			for _, other := range s.Tolerations[:i] {
				if other.Key == t.Key && other.Operator == t.Operator && other.Value == t.Value && other.Effect == t.Effect {
					l.Add(field.Duplicate(p.Child("tolerations").Index(i), t))
					break
				}
			}
		}
	}
	return l.Errors()
}
