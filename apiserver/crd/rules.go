package crd

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel/model"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/objectmeta"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/cel/common"

	"github.com/inboard/inboard/apiserver/client"
)

// rules are what the objects of one version must fulfil.
type rules struct {
	schema         *structuralschema.Structural
	object, status validation.SchemaValidator
	cel            *cel.Validator
	scale          *apiextensionsv1.CustomResourceSubresourceScale
}

func (m *member) newRules() (*rules, error) {
	s, err := m.structural(m.version.Name)
	if err != nil {
		return nil, err
	}
	props, err := internalSchema(m.version)
	if err != nil {
		return nil, err
	}
	r := &rules{schema: s, cel: cel.NewValidator(s, true, celconfig.PerCallLimit)}
	if r.object, _, err = validation.NewSchemaValidator(props); err != nil {
		return nil, err
	}
	if sub := m.version.Subresources; sub != nil {
		r.scale = sub.Scale
		if status, ok := statusSchema(props); ok && sub.Status != nil {
			if r.status, _, err = validation.NewSchemaValidator(&status); err != nil {
				return nil, err
			}
		}
	}
	return r, nil
}

// statusSchema is what a write to the status must fulfil.
func statusSchema(props *apiextensions.JSONSchemaProps) (apiextensions.JSONSchemaProps, bool) {
	if props == nil {
		return apiextensions.JSONSchemaProps{}, false
	}
	s, ok := props.Properties["status"]
	return s, ok
}

// validate returns what is wrong with a new object or an update. The server has looked at metadata already.
func (m *member) validate(obj, old client.Object) field.ErrorList {
	r, err := m.rules()
	if err != nil {
		return field.ErrorList{field.InternalError(nil, err)}
	}
	u := obj.(*unstructured.Unstructured)
	if old == nil {
		errs := validation.ValidateCustomResource(nil, u.Object, r.object)
		errs = append(errs, r.checkScale(u)...)
		errs = append(errs, objectmeta.Validate(context.Background(), nil, u.Object, r.schema, false)...)
		errs = append(errs, listtype.ValidateListSetsAndMaps(nil, r.schema, u.Object)...)
		meta := apivalidation.ValidateObjectMetaAccessor(u, m.namespaced(), apivalidation.NameIsDNSSubdomain, field.NewPath("metadata"))
		return r.evaluate(errs, meta, u, nil)
	}
	was := old.(*unstructured.Unstructured)
	pair := common.NewCorrelatedObject(u.Object, was.Object, &model.Structural{Structural: r.schema})
	errs := validation.ValidateCustomResourceUpdate(nil, u.Object, was.Object, r.object, validation.WithRatcheting(pair))
	errs = append(errs, r.checkScale(u)...)
	errs = append(errs, objectmeta.Validate(context.Background(), nil, u.Object, r.schema, false)...)
	errs = append(errs, r.lists(u, was)...)
	meta := apivalidation.ValidateObjectMetaAccessorUpdate(u, was, field.NewPath("metadata"))
	return r.evaluate(errs, meta, u, was, cel.WithRatcheting(pair))
}

func (m *member) namespaced() bool { return m.crd.Spec.Scope == apiextensionsv1.NamespaceScoped }

// validateStatus returns what is wrong with a write to the status.
func (m *member) validateStatus(obj, old client.Object) field.ErrorList {
	r, err := m.rules()
	if err != nil {
		return field.ErrorList{field.InternalError(nil, err)}
	}
	u, was := obj.(*unstructured.Unstructured), old.(*unstructured.Unstructured)
	pair := common.NewCorrelatedObject(u.Object, was.Object, &model.Structural{Structural: r.schema})
	var options []validation.ValidationOption
	if r.schema != nil {
		options = append(options, validation.WithRatcheting(pair.Key("status")))
	}
	var errs field.ErrorList
	if status, ok := u.Object["status"]; ok {
		errs = validation.ValidateCustomResourceUpdate(field.NewPath("status"), status, was.Object["status"], r.status, options...)
	}
	errs = append(errs, r.checkScaleStatus(u)...)
	errs = append(errs, r.lists(u, was)...)
	meta := apivalidation.ValidateObjectMetaAccessorUpdate(u, was, field.NewPath("metadata"))
	return r.evaluate(errs, meta, u, was, cel.WithRatcheting(pair))
}

// lists returns what is wrong with lists that are sets or maps, unless some were before.
func (r *rules) lists(u, was *unstructured.Unstructured) field.ErrorList {
	errs := listtype.ValidateListSetsAndMaps(nil, r.schema, u.Object)
	if len(errs) > 0 && len(listtype.ValidateListSetsAndMaps(nil, r.schema, was.Object)) > 0 {
		return nil
	}
	return errs
}

// blocking are errors about values whose types the rules can't count on.
var blocking = []field.ErrorType{
	field.ErrorTypeNotSupported, field.ErrorTypeRequired, field.ErrorTypeTooLong, field.ErrorTypeTooMany, field.ErrorTypeTypeInvalid,
}

// evaluate adds what the schema's CEL rules say to errs. Meta is what is wrong with the metadata, which the server tells.
func (r *rules) evaluate(errs, meta field.ErrorList, u, was *unstructured.Unstructured, options ...cel.Option) field.ErrorList {
	if r.cel == nil {
		return errs
	}
	blocks := func(e *field.Error) bool { return slices.Contains(blocking, e.Type) }
	if slices.ContainsFunc(errs, blocks) || slices.ContainsFunc(meta, blocks) {
		return append(errs, field.Invalid(nil, nil,
			"some validation rules were not checked because the object was invalid; correct the existing errors to complete validation"))
	}
	var before map[string]any
	if was != nil {
		before = was.Object
	}
	more, _ := r.cel.Validate(context.Background(), nil, r.schema, u.Object, orNil(before), celconfig.RuntimeCELCostBudget, options...)
	return append(errs, more...)
}

// orNil keeps a nil map from being an old object.
func orNil(m map[string]any) any {
	if m == nil {
		return nil
	}
	return m
}

// checkScale looks at the fields that the scale subresource shows.
func (r *rules) checkScale(u *unstructured.Unstructured) field.ErrorList {
	if r.scale == nil {
		return nil
	}
	return append(replicasIn(u, r.scale.SpecReplicasPath), r.checkScaleStatus(u)...)
}

func (r *rules) checkScaleStatus(u *unstructured.Unstructured) field.ErrorList {
	if r.scale == nil {
		return nil
	}
	errs := replicasIn(u, r.scale.StatusReplicasPath)
	if path := r.scale.LabelSelectorPath; path != nil {
		if v, _, err := unstructured.NestedString(u.Object, steps(*path)...); err != nil {
			errs = append(errs, field.Invalid(field.NewPath(*path), v, err.Error()))
		}
	}
	return errs
}

func replicasIn(u *unstructured.Unstructured, path string) field.ErrorList {
	n, _, err := unstructured.NestedInt64(u.Object, steps(path)...)
	at := field.NewPath(path)
	switch {
	case err != nil:
		return field.ErrorList{field.Invalid(at, n, err.Error())}
	case n < 0:
		return field.ErrorList{field.Invalid(at, n, "should be a non-negative integer")}
	case n > math.MaxInt32:
		return field.ErrorList{field.Invalid(at, n, fmt.Sprintf("should be less than or equal to %v", math.MaxInt32))}
	}
	return nil
}

// steps are the names of a simple JSON path.
func steps(path string) []string { return strings.Split(strings.TrimPrefix(path, "."), ".") }

// finalizerWarnings warns of new finalizers whose names others might use, too.
func finalizerWarnings(obj, old client.Object) []string {
	var before []string
	if old != nil {
		before = old.GetFinalizers()
	}
	added := slices.DeleteFunc(slices.Clone(obj.GetFinalizers()), func(f string) bool { return slices.Contains(before, f) })
	slices.Sort(added)
	var out []string
	for _, f := range slices.Compact(added) {
		for _, text := range utilvalidation.IsQualifiedName(f) {
			out = append(out, fmt.Sprintf("metadata.finalizers: %q: %s", f, text))
		}
		if strings.Contains(f, "/") || slices.Contains(standardFinalizers, f) {
			continue
		}
		including := ""
		if strings.Contains(f, ".") {
			including = " including a path (/)"
		}
		out = append(out, fmt.Sprintf("metadata.finalizers: %q: prefer a domain-qualified finalizer name%s to avoid accidental conflicts with other finalizer writers", f, including))
	}
	return out
}

var standardFinalizers = []string{metav1.FinalizerOrphanDependents, metav1.FinalizerDeleteDependents, string(corev1.FinalizerKubernetes)}
