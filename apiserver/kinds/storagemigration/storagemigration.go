// Package storagemigration has the row of storagemigration.k8s.io/v1: StorageVersionMigration, a request to write all
// objects of a resource anew, so that they are stored as they would be today.
package storagemigration

import (
	"strings"
	"time"

	storagemigrationv1 "k8s.io/api/storagemigration/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/kinds/internal/row"
)

// Kinds returns the rows of all kinds of the group. The slice is the caller's own.
func Kinds() []apiserver.Kind { return []apiserver.Kind{StorageVersionMigration()} }

// StorageVersionMigration returns the row of StorageVersionMigration.
func StorageVersionMigration() apiserver.Kind {
	return apiserver.Kind{
		GroupVersionKind:  storagemigrationv1.SchemeGroupVersion.WithKind("StorageVersionMigration"),
		Resource:          "storageversionmigrations",
		Singular:          "storageversionmigration",
		Object:            &storagemigrationv1.StorageVersionMigration{},
		List:              &storagemigrationv1.StorageVersionMigrationList{},
		Status:            true,
		ConditionalUpdate: true,
		StatusResets:      []string{"metadata"},
		Validate:          row.Check(validate),
		PrepareStatus: row.Pair(func(o, old *storagemigrationv1.StorageVersionMigration) {
			metav1.ResetObjectMetaForStatus(&o.ObjectMeta, &old.ObjectMeta)
		}),
		ValidateStatus: row.Check(validateStatus),
		Columns: []metav1.TableColumnDefinition{
			{Name: "Name", Type: "string", Description: metav1.ObjectMeta{}.SwaggerDoc()["name"]},
			{Name: "Resource", Type: "string", Description: "GroupResource to migrate"},
			{Name: "Status", Type: "string", Description: "Status of the migration"},
		},
		Row: row.Cells(func(o *storagemigrationv1.StorageVersionMigration, _ time.Time) []any {
			return []any{o.Name, o.Spec.Resource.String(), state(o.Status.Conditions)}
		}),
	}
}

// state is the last condition that is true.
func state(conditions []metav1.Condition) string {
	out := "Unknown"
	for _, c := range conditions {
		switch storagemigrationv1.MigrationConditionType(c.Type) {
		case storagemigrationv1.MigrationRunning, storagemigrationv1.MigrationSucceeded, storagemigrationv1.MigrationFailed:
			if c.Status == metav1.ConditionTrue {
				out = c.Type
			}
		}
	}
	return out
}

func validate(o, old *storagemigrationv1.StorageVersionMigration) field.ErrorList {
	var errs field.ErrorList
	path := field.NewPath("spec", "resource")
	what := o.Spec.Resource
	if what.Resource == "" {
		errs = append(errs, field.Required(path.Child("resource"), "resource is required to be set"))
	} else if wrong := utilvalidation.IsDNS1035Label(what.Resource); len(wrong) > 0 {
		errs = append(errs, field.Invalid(path.Child("resource"), what.Resource, strings.Join(wrong, ",")))
	}
	if what.Group != "" {
		if wrong := utilvalidation.IsDNS1123Subdomain(what.Group); len(wrong) > 0 {
			errs = append(errs, field.Invalid(path.Child("group"), what.Group, strings.Join(wrong, ",")))
		}
	}
	if old != nil && !apiequality.Semantic.DeepEqual(o.Spec, old.Spec) {
		errs = append(errs, field.Invalid(field.NewPath("spec"), o.Spec, validation.FieldImmutableErrorMsg))
	}
	return errs
}

// validateStatus lets a migration end once, one way or the other.
func validateStatus(o, old *storagemigrationv1.StorageVersionMigration) field.ErrorList {
	var errs field.ErrorList
	path := field.NewPath("status")
	version := o.Status.ResourceVersion
	if version != "" {
		if _, err := resourceversion.CompareResourceVersion(version, version); err != nil {
			errs = append(errs, field.Invalid(path.Child("resourceVersion"), version, err.Error()))
		}
	}
	conditions := path.Child("conditions")
	errs = append(errs, metavalidation.ValidateConditions(o.Status.Conditions, conditions)...)
	if was := old.Status.ResourceVersion; was != "" && was != version {
		errs = append(errs, field.Invalid(path.Child("resourceVersion"), version, "field is immutable"))
	}
	is := func(m *storagemigrationv1.StorageVersionMigration, t storagemigrationv1.MigrationConditionType) bool {
		return meta.IsStatusConditionTrue(m.Status.Conditions, string(t))
	}
	for _, rule := range []struct {
		broken bool
		text   string
	}{
		{is(o, storagemigrationv1.MigrationSucceeded) && is(o, storagemigrationv1.MigrationFailed),
			"Both success and failed conditions cannot be true at the same time"},
		{is(old, storagemigrationv1.MigrationSucceeded) && !is(o, storagemigrationv1.MigrationSucceeded),
			"Success condition cannot be set to false once it is true"},
		{is(old, storagemigrationv1.MigrationFailed) && !is(o, storagemigrationv1.MigrationFailed),
			"Failed condition cannot be set to false once it is true"},
	} {
		if rule.broken {
			errs = append(errs, field.Invalid(conditions, o.Status.Conditions, rule.text))
		}
	}
	return errs
}
