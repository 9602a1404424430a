package crd

import (
	"fmt"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
)

// newScale maps the fields that a definition names to a Scale.
func newScale(c *custom, s *apiextensionsv1.CustomResourceSubresourceScale) *apiserver.Scale {
	spec, status := steps(s.SpecReplicasPath), steps(s.StatusReplicasPath)
	return &apiserver.Scale{
		Get: func(obj client.Object) (replicas, statusReplicas int32, selector string) {
			content := obj.(*unstructured.Unstructured).Object
			want, _, _ := unstructured.NestedInt64(content, spec...)
			have, _, _ := unstructured.NestedInt64(content, status...)
			if s.LabelSelectorPath != nil && *s.LabelSelectorPath != "" {
				selector, _, _ = unstructured.NestedString(content, steps(*s.LabelSelectorPath)...)
			}
			return int32(want), int32(have), selector
		},
		Set: func(obj client.Object, replicas int32) {
			// The path ends in an object, or validation will tell.
			_ = unstructured.SetNestedField(obj.(*unstructured.Unstructured).Object, int64(replicas), spec...)
		},
		Check: func(obj client.Object) error {
			_, found, err := unstructured.NestedInt64(obj.(*unstructured.Unstructured).Object, spec...)
			if err == nil && !found {
				err = fmt.Errorf("the spec replicas field %q does not exist", s.SpecReplicasPath)
			}
			if err != nil {
				return apierrors.NewInternalError(err)
			}
			return nil
		},
		Paths: c.replicasPaths(),
	}
}

// replicasPaths are where each version has its replicas; nil for those without a scale.
func (c *custom) replicasPaths() managedfields.ResourcePathMappings {
	out := managedfields.ResourcePathMappings{}
	for i, v := range c.crd.Spec.Versions {
		var path fieldpath.Path
		if v.Subresources != nil && v.Subresources.Scale != nil {
			for _, name := range steps(v.Subresources.Scale.SpecReplicasPath) {
				path = append(path, fieldpath.PathElement{FieldName: &name})
			}
		}
		out[c.versions[i].String()] = path
	}
	return out
}
