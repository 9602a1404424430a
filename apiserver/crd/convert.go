package crd

import (
	"fmt"
	"slices"

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
	if c.webhook != nil {
		var err error
		if out, err = c.webhook.convert(out, to); err != nil {
			return nil, err
		}
	}
	out.SetAPIVersion(to.String())
	_, err := c.coerce(out, coercion{})
	return out, err
}
