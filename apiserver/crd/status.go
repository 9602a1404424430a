package crd

import (
	"fmt"
	"slices"

	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

type (
	definitionStatus = apiextensionsv1.CustomResourceDefinition
	condition        = apiextensionsv1.CustomResourceDefinitionCondition
)

// taken are the names that the definitions of a group have.
type taken struct{ resources, kinds map[string]bool }

func takenBy(group string, all []*apiextensionsv1.CustomResourceDefinition) taken {
	t := taken{map[string]bool{}, map[string]bool{}}
	for _, crd := range all {
		if crd.Spec.Group != group {
			continue
		}
		names := &crd.Status.AcceptedNames
		for _, n := range append([]string{names.Plural, names.Singular}, names.ShortNames...) {
			t.resources[n] = true
		}
		t.kinds[names.Kind], t.kinds[names.ListKind] = true, true
	}
	return t
}

// claim takes a name if it is free; the error tells that it is not.
func claim(want string, have *string, used map[string]bool) error {
	if want != *have && used[want] {
		return fmt.Errorf("%q is already in use", want)
	}
	*have = want
	return nil
}

// acceptNames accepts the names that a definition asks for, as far as no other one of the group has them.
// The resources that the server has of its own keep theirs: objects of both would be stored in the same place.
func acceptNames(crd *definitionStatus, all []*apiextensionsv1.CustomResourceDefinition, own builtIn) bool {
	if apiequality.Semantic.DeepEqual(crd.Spec.Names, crd.Status.AcceptedNames) && apihelpers.FindCRDCondition(crd, apiextensionsv1.NamesAccepted) != nil {
		return false
	}
	used := takenBy(crd.Spec.Group, all)
	if plural := crd.Spec.Names.Plural; own.StoresFixed(schema.GroupResource{Group: crd.Spec.Group, Resource: plural}) {
		used.resources[plural] = true
	}
	wanted, accepted := &crd.Spec.Names, crd.Status.AcceptedNames
	c := condition{Type: apiextensionsv1.NamesAccepted, Status: apiextensionsv1.ConditionTrue, Reason: "NoConflicts", Message: "no conflicts found"}
	refuse := func(reason string, err error) {
		if err != nil {
			c.Status, c.Reason, c.Message = apiextensionsv1.ConditionFalse, reason, err.Error()
		}
	}
	refuse("PluralConflict", claim(wanted.Plural, &accepted.Plural, used.resources))
	refuse("SingularConflict", claim(wanted.Singular, &accepted.Singular, used.resources))
	var errs []error
	for _, name := range wanted.ShortNames {
		if !slices.Contains(accepted.ShortNames, name) {
			none := ""
			errs = append(errs, claim(name, &none, used.resources))
		}
	}
	if err := utilerrors.NewAggregate(errs); err != nil {
		refuse("ShortNamesConflict", err)
	} else {
		accepted.ShortNames = wanted.ShortNames
	}
	refuse("KindConflict", claim(wanted.Kind, &accepted.Kind, used.kinds))
	refuse("ListKindConflict", claim(wanted.ListKind, &accepted.ListKind, used.kinds))
	accepted.Categories = wanted.Categories
	changed := !apiequality.Semantic.DeepEqual(accepted, crd.Status.AcceptedNames)
	crd.Status.AcceptedNames = accepted
	return setCondition(crd, c) || changed
}

// establish tells whether the definition is served.
func (r *reconciler) establish(crd *definitionStatus) bool {
	if isEstablished(crd) {
		return false
	}
	if !apihelpers.IsCRDConditionTrue(crd, apiextensionsv1.NamesAccepted) {
		return setCondition(crd, condition{Type: apiextensionsv1.Established, Status: apiextensionsv1.ConditionFalse,
			Reason: "NotAccepted", Message: "not all names are accepted"})
	}
	if conv := crd.Spec.Conversion; conv != nil && conv.Webhook != nil && conv.Webhook.ClientConfig != nil &&
		len(validateCABundle(field.NewPath(""), conv.Webhook.ClientConfig.CABundle)) > 0 {
		return setCondition(crd, condition{Type: apiextensionsv1.Established, Status: apiextensionsv1.ConditionFalse,
			Reason: "InvalidCABundle", Message: "The conversion webhook CABundle is invalid"})
	}
	return setCondition(crd, condition{Type: apiextensionsv1.Established, Status: apiextensionsv1.ConditionTrue,
		Reason: "InitialNamesAccepted", Message: "the initial names have been accepted"})
}

// judgeSchema tells what keeps schemas that were stored by older servers from being structural.
func judgeSchema(crd *definitionStatus) bool {
	c := schemaCondition(crd)
	if c != nil {
		return setCondition(crd, *c)
	}
	if apihelpers.FindCRDCondition(crd, apiextensionsv1.NonStructuralSchema) == nil {
		return false
	}
	apihelpers.RemoveCRDCondition(crd, apiextensionsv1.NonStructuralSchema)
	return true
}

func schemaCondition(crd *definitionStatus) *condition {
	c := &condition{Type: apiextensionsv1.NonStructuralSchema, Status: apiextensionsv1.ConditionUnknown}
	var errs field.ErrorList
	if crd.Spec.PreserveUnknownFields {
		errs = append(errs, field.Invalid(field.NewPath("spec", "preserveUnknownFields"), true, "must be false"))
	}
	for i := range crd.Spec.Versions {
		props, err := internalSchema(&crd.Spec.Versions[i])
		if err != nil || props == nil {
			continue
		}
		s, err := structuralschema.NewStructural(props)
		if err != nil {
			c.Reason = "StructuralError"
			c.Message = fmt.Sprintf("failed to check validation schema for version %s: %v", crd.Spec.Versions[i].Name, err)
			return c
		}
		errs = append(errs, structuralschema.ValidateStructural(field.NewPath("spec", "versions").Index(i).Child("schema", "openAPIV3Schema"), s)...)
	}
	if len(errs) == 0 {
		return nil
	}
	c.Status, c.Reason, c.Message = apiextensionsv1.ConditionTrue, "Violations", errs.ToAggregate().Error()
	return c
}

// judgeApproval tells whether a kind of a group of Kubernetes' community was approved.
func judgeApproval(crd *definitionStatus) bool {
	if !apihelpers.IsProtectedCommunityGroup(crd.Spec.Group) {
		return false
	}
	state, reason := apihelpers.GetAPIApprovalState(crd.Annotations)
	c := condition{Type: apiextensionsv1.KubernetesAPIApprovalPolicyConformant, Status: apiextensionsv1.ConditionFalse, Message: reason}
	switch state {
	case apihelpers.APIApprovalInvalid:
		c.Reason = "InvalidAnnotation"
	case apihelpers.APIApprovalMissing:
		c.Reason = "MissingAnnotation"
	case apihelpers.APIApproved:
		c.Reason, c.Status = "ApprovedAnnotation", apiextensionsv1.ConditionTrue
	case apihelpers.APIApprovalBypassed:
		c.Reason = "UnapprovedAnnotation"
	default:
		c.Reason, c.Status = "UnknownAnnotation", apiextensionsv1.ConditionUnknown
	}
	return setCondition(crd, c)
}
