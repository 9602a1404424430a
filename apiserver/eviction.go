package apiserver

import (
	"context"

	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// eviction is the subresource of pods by which kubectl drain and others ask for a pod to go. Without
// disruption budgets in the table nothing stands against it.
func eviction() Subresource {
	return Subresource{
		Kind:   policyv1.SchemeGroupVersion.WithKind("Eviction"),
		New:    func() runtime.Object { return &policyv1.Eviction{} },
		Create: evict,
	}
}

func evict(ctx context.Context, s SubresourceRequest) (runtime.Object, error) {
	e, ok := s.Body.(*policyv1.Eviction)
	if !ok {
		return nil, badRequest("not a Eviction object: %T", s.Body)
	}
	if e.Name != s.Ref.Name {
		return nil, badRequest("name in URL does not match name in Eviction object: %q vs %q", s.Ref.Name, e.Name)
	}
	var opts metav1.DeleteOptions
	if e.DeleteOptions != nil {
		opts = *e.DeleteOptions.DeepCopy()
	}
	if err := s.Delete(ctx, opts); err != nil && (!apierrors.IsNotFound(err) || opts.Preconditions == nil) {
		return nil, err
	}
	return &metav1.Status{Status: metav1.StatusSuccess, Code: 201}, nil
}
