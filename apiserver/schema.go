package apiserver

import (
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/kube-openapi/pkg/validation/spec"

	"github.com/inboard/inboard/apiserver/openapi"
)

// Schema returns the OpenAPI schema of a kind's objects, without references and descriptions; nil when the kind is not
// served.
func (s *Server) Schema(kind schema.GroupVersionKind) (*spec.Schema, error) {
	res := s.catalog.Load().table.byKind[kind]
	if res == nil {
		return nil, nil
	}
	k := res.describe()
	return openapi.Schema(&k)
}

// KindsOf returns the kinds that are served as a resource of some name and version. As in Kubernetes' RESTMapper, no
// group stands for any.
func (s *Server) KindsOf(resource schema.GroupVersionResource) []schema.GroupVersionKind {
	var out []schema.GroupVersionKind
	for _, r := range s.catalog.Load().table.ordered {
		if (resource.Group == "" || r.Group == resource.Group) && r.Version == resource.Version &&
			(r.Resource == resource.Resource || r.Singular == resource.Resource) {
			out = append(out, r.GroupVersionKind)
		}
	}
	return out
}
