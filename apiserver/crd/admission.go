package crd

import (
	"context"
	"errors"

	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/inboard/inboard/apiserver"
)

// Admission returns the plugin that refuses new objects of a kind whose definition is being deleted. That the
// definition is not is a condition of the transaction that stores the object.
func (d *Definitions) Admission() []apiserver.AdmissionPlugin {
	return []apiserver.AdmissionPlugin{{Name: "CustomResourceDefinitionLifecycle", Validate: d.admit, Conditional: true}}
}

func (d *Definitions) admit(ctx context.Context, r *apiserver.AdmissionRequest) error {
	if r.Kind.Custom == nil || r.Operation != apiserver.Create || r.Ref.Subresource != "" {
		return nil
	}
	gr := r.Ref.GroupResource()
	var crd *apiextensionsv1.CustomResourceDefinition
	if err := d.follower.Read(ctx, func() {
		if def := d.view.byName[gr.String()]; def != nil {
			crd = def.crd
		}
	}); err != nil {
		return err
	}
	if crd == nil {
		return nil // the kind is another source's
	}
	if crd.DeletionTimestamp != nil || apihelpers.IsCRDConditionTrue(crd, apiextensionsv1.Terminating) {
		return apierrors.NewForbidden(gr, r.Ref.Name, errors.New("create not allowed while custom resource definition is terminating"))
	}
	r.DependOn(prefixOf(d.row.ResourceRef().GroupResource())+crd.Name, parseRevision(crd.ResourceVersion))
	return nil
}
