package crd

import (
	"fmt"
	"slices"

	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver/client"
)

// internal returns a definition in the form that Kubernetes validates: what all versions have in common is at the top,
// and mistakes in it are told there.
func internal(crd *apiextensionsv1.CustomResourceDefinition) (*apiextensions.CustomResourceDefinition, error) {
	out := &apiextensions.CustomResourceDefinition{}
	err := apiextensionsv1.Convert_v1_CustomResourceDefinition_To_apiextensions_CustomResourceDefinition(crd.DeepCopy(), out, nil)
	return out, err
}

// validateDefinition returns what is wrong with a new definition or an update. Mistakes that are in the old one, too,
// and that older servers let in, are let be.
func validateDefinition(obj, old client.Object) field.ErrorList {
	crd, err := internal(obj.(*apiextensionsv1.CustomResourceDefinition))
	if err != nil {
		return field.ErrorList{field.InternalError(nil, err)}
	}
	var was *apiextensions.CustomResourceDefinition
	if old != nil {
		if was, err = internal(old.(*apiextensionsv1.CustomResourceDefinition)); err != nil {
			return field.ErrorList{field.InternalError(nil, err)}
		}
	}
	spec := field.NewPath("spec")
	var errs field.ErrorList
	if want := crd.Spec.Names.Plural + "." + crd.Spec.Group; was == nil && crd.Name != want {
		errs = append(errs, field.Invalid(field.NewPath("metadata", "name"), crd.Name, `must be spec.names.plural+"."+spec.group`))
	}
	errs = append(errs, validateSpec(&crd.Spec, newOptions(crd, was), spec)...)
	if was != nil {
		errs = append(errs, validateImmutable(crd, was, spec)...)
	}
	errs = append(errs, validateNames(&crd.Status.AcceptedNames, field.NewPath("status", "acceptedNames"))...)
	errs = append(errs, validateStored(crd.Status.StoredVersions, crd.Spec.Versions, field.NewPath("status", "storedVersions"))...)
	errs = append(errs, validateApproval(crd, was)...)
	return append(errs, validatePreserve(crd, was, spec.Child("preserveUnknownFields"))...)
}

// validateDefinitionStatus returns what is wrong with a write to the status.
func validateDefinitionStatus(obj, _ client.Object) field.ErrorList {
	crd, err := internal(obj.(*apiextensionsv1.CustomResourceDefinition))
	if err != nil {
		return field.ErrorList{field.InternalError(nil, err)}
	}
	return validateNames(&crd.Status.AcceptedNames, field.NewPath("status", "acceptedNames"))
}

// validateImmutable returns changes of what tells where objects are stored.
func validateImmutable(crd, was *apiextensions.CustomResourceDefinition, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	spec, old := &crd.Spec, &was.Spec
	if apiextensions.IsCRDConditionTrue(was, apiextensions.Established) {
		errs = append(errs, apivalidation.ValidateImmutableField(spec.Scope, old.Scope, at.Child("scope"))...)
		errs = append(errs, apivalidation.ValidateImmutableField(spec.Names.Kind, old.Names.Kind, at.Child("names", "kind"))...)
	}
	errs = append(errs, apivalidation.ValidateImmutableField(spec.Group, old.Group, at.Child("group"))...)
	return append(errs, apivalidation.ValidateImmutableField(spec.Names.Plural, old.Names.Plural, at.Child("names", "plural"))...)
}

// validateStored checks that every version in which objects may be stored is still known.
func validateStored(stored []string, versions []apiextensions.CustomResourceDefinitionVersion, at *field.Path) field.ErrorList {
	if len(stored) == 0 {
		return field.ErrorList{field.Invalid(at, stored, "must have at least one stored version")}
	}
	var errs field.ErrorList
	for i, v := range versions {
		// Of two versions of one name Kubernetes finds only the first among those stored.
		again := slices.ContainsFunc(versions[:i], func(before apiextensions.CustomResourceDefinitionVersion) bool { return before.Name == v.Name })
		if v.Storage && (again || !slices.Contains(stored, v.Name)) {
			errs = append(errs, field.Invalid(at, stored, "must have the storage version "+v.Name))
		}
	}
	for i, name := range stored {
		known := slices.ContainsFunc(versions, func(v apiextensions.CustomResourceDefinitionVersion) bool { return v.Name == name })
		if !known && !slices.Contains(stored[i+1:], name) {
			errs = append(errs, field.Invalid(at.Index(i), name, fmt.Sprintf("missing from spec.versions; %[1]s was previously a storage "+
				"version, and must remain in spec.versions until a storage migration ensures no data remains persisted in %[1]s and removes %[1]s from status.storedVersions", name)))
		}
	}
	return errs
}

// validateApproval wants kinds of the community's groups to say that they were approved, or not.
func validateApproval(crd, was *apiextensions.CustomResourceDefinition) field.ErrorList {
	if !apihelpers.IsProtectedCommunityGroup(crd.Spec.Group) {
		return nil
	}
	state, reason := apihelpers.GetAPIApprovalState(crd.Annotations)
	if was != nil {
		if before, _ := apihelpers.GetAPIApprovalState(was.Annotations); before == state {
			return nil
		}
	}
	at := field.NewPath("metadata", "annotations").Key(apiextensionsv1.KubeAPIApprovedAnnotation)
	switch state {
	case apihelpers.APIApproved, apihelpers.APIApprovalBypassed:
		return nil
	case apihelpers.APIApprovalMissing:
		return field.ErrorList{field.Required(at, reason)}
	}
	return field.ErrorList{field.Invalid(at, crd.Annotations[apiextensionsv1.KubeAPIApprovedAnnotation], reason)}
}

func keepsUnknown(spec *apiextensions.CustomResourceDefinitionSpec) bool {
	return spec.PreserveUnknownFields != nil && *spec.PreserveUnknownFields
}

func validatePreserve(crd, was *apiextensions.CustomResourceDefinition, at *field.Path) field.ErrorList {
	if was != nil && keepsUnknown(&was.Spec) || !keepsUnknown(&crd.Spec) {
		return nil
	}
	return field.ErrorList{field.Invalid(at, true,
		"cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead")}
}
