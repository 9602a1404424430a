package crd

import (
	"context"
	"fmt"
	"slices"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// converted returns an object in another version of its kind; u stays as it is.
func (c *custom) converted(u *unstructured.Unstructured, to schema.GroupVersion) (*unstructured.Unstructured, error) {
	from := u.GroupVersionKind().GroupVersion()
	switch {
	case !slices.Contains(c.versions, to):
		return nil, fmt.Errorf("request to convert CR to an invalid group/version: %s", to)
	case !slices.Contains(c.versions, from):
		return nil, fmt.Errorf("request to convert CR from an invalid group/version: %s", from)
	}
	out := u.DeepCopy()
	if from == to {
		return out, nil
	}
	if conv := c.crd.Spec.Conversion; conv != nil && conv.Strategy == apiextensionsv1.WebhookConverter {
		ctx, cancel := context.WithTimeout(context.Background(), webhookTimeout)
		defer cancel()
		var err error
		if out, err = c.ask(ctx, out, to); err != nil {
			return nil, err
		}
	}
	out.SetAPIVersion(to.String())
	_, err := c.coerce(out, coercion{})
	return out, err
}
