package crd

import (
	"slices"
	"time"

	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
)

// definitionKind is the row of CustomResourceDefinitions.
func definitionKind() apiserver.Kind {
	docs := metav1.ObjectMeta{}.SwaggerDoc()
	return apiserver.Kind{
		GroupVersionKind: apiextensionsv1.SchemeGroupVersion.WithKind("CustomResourceDefinition"),
		Resource:         "customresourcedefinitions", Singular: "customresourcedefinition",
		ShortNames: []string{"crd", "crds"}, Categories: []string{"api-extensions"},
		Object: &apiextensionsv1.CustomResourceDefinition{}, List: &apiextensionsv1.CustomResourceDefinitionList{},
		Status: true, PlainStatus: true, Generation: true, ConditionalUpdate: true, ReturnDeleted: true, RepeatMistakes: true,
		Default: func(obj client.Object) {
			apiextensionsv1.SetObjectDefaults_CustomResourceDefinition(obj.(*apiextensionsv1.CustomResourceDefinition))
		},
		Prepare: func(obj, _ client.Object) { noteStored(obj.(*apiextensionsv1.CustomResourceDefinition)) },
		// The definition waits for its instances to be removed.
		Held:     func(obj client.Object) bool { return obj.GetDeletionTimestamp() == nil },
		Deleting: func(obj client.Object) { beginRemoval(obj.(*apiextensionsv1.CustomResourceDefinition)) },
		Validate: validateDefinition, ValidateStatus: validateDefinitionStatus, Warnings: definitionWarnings,
		NameIsValid: nil,
		Columns: []metav1.TableColumnDefinition{
			{Name: "Name", Type: "string", Format: "name", Description: docs["name"]},
			{Name: "Created At", Type: "date", Description: docs["creationTimestamp"]},
		},
		Row: func(obj client.Object, _ time.Time) []any {
			return []any{obj.GetName(), obj.GetCreationTimestamp().UTC().Format(time.RFC3339)}
		},
	}
}

// noteStored adds the version that is stored from now on to those in which objects may be stored.
func noteStored(crd *apiextensionsv1.CustomResourceDefinition) {
	for _, v := range crd.Spec.Versions {
		if !v.Storage {
			continue
		}
		if !slices.Contains(crd.Status.StoredVersions, v.Name) {
			crd.Status.StoredVersions = append(slices.Clip(crd.Status.StoredVersions), v.Name)
		}
		return
	}
}

// beginRemoval marks a definition as one whose instances are to be removed.
func beginRemoval(crd *apiextensionsv1.CustomResourceDefinition) {
	if !apihelpers.CRDHasFinalizer(crd, apiextensionsv1.CustomResourceCleanupFinalizer) {
		crd.Finalizers = append(crd.Finalizers, apiextensionsv1.CustomResourceCleanupFinalizer)
	}
	setCondition(crd, terminating(apiextensionsv1.ConditionTrue, "InstanceDeletionPending",
		"CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon"))
}

func terminating(status apiextensionsv1.ConditionStatus, reason, message string) apiextensionsv1.CustomResourceDefinitionCondition {
	return apiextensionsv1.CustomResourceDefinitionCondition{Type: apiextensionsv1.Terminating, Status: status, Reason: reason, Message: message}
}

// setCondition sets a condition. It tells whether that changed anything.
func setCondition(crd *apiextensionsv1.CustomResourceDefinition, c apiextensionsv1.CustomResourceDefinitionCondition) bool {
	if old := apihelpers.FindCRDCondition(crd, c.Type); old != nil && apihelpers.IsCRDConditionEquivalent(old, &c) {
		return false
	}
	apihelpers.SetCRDCondition(crd, c)
	return true
}
