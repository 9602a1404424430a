package apps

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/kinds/internal/check"
	"github.com/inboard/inboard/apiserver/kinds/internal/row"
)

// ControllerRevision returns the row of ControllerRevision.
func ControllerRevision() apiserver.Kind {
	return apiserver.Kind{
		QualifiedFinalizers: true,
		GroupVersionKind:    appsv1.SchemeGroupVersion.WithKind("ControllerRevision"),
		Resource:            "controllerrevisions",
		Singular:            "controllerrevision",
		Namespaced:          true,
		Object:              &appsv1.ControllerRevision{},
		List:                &appsv1.ControllerRevisionList{},
		Validate:            row.Check(validateRevision),
		Columns:             row.Columns("Name", "Controller", "Revision", "Age"),
		Row: row.Cells(func(o *appsv1.ControllerRevision, now time.Time) []any {
			return []any{o.Name, controllerName(o), o.Revision, row.Age(o.CreationTimestamp, now)}
		}),
	}
}

func controllerName(o *appsv1.ControllerRevision) string {
	ref := metav1.GetControllerOf(o)
	if ref == nil {
		return "<none>"
	}
	gv, err := schema.ParseGroupVersion(ref.APIVersion)
	if err != nil {
		return ref.Name
	}
	return strings.ToLower(gv.WithKind(ref.Kind).GroupKind().String()) + "/" + ref.Name
}

func validateRevision(o, old *appsv1.ControllerRevision) field.ErrorList {
	var l check.List
	l.NonNegative(field.NewPath("revision"), o.Revision)
	path := field.NewPath("data")
	if old != nil {
		l.Add(apivalidation.ValidateImmutableField(o.Data, old.Data, path)...)
		return l.Errors()
	}
	if o.Data.Raw == nil {
		l.Required(path, "data is mandatory")
		return l.Errors()
	}
	var v any
	if err := json.Unmarshal(o.Data.Raw, &v); err != nil {
		l.Invalid(path, "<value omitted>", fmt.Sprintf("error parsing data: %v", err))
	} else if v == nil {
		l.Required(path, "data is mandatory")
	} else if _, object := v.(map[string]any); !object {
		l.Required(path, "data must be a valid JSON object")
	}
	return l.Errors()
}
