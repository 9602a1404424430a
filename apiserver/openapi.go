package apiserver

import (
	"maps"
	"net/http"
	"reflect"
	"slices"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/inboard/inboard/apiserver/openapi"
)

// OpenAPI returns the handler of /openapi/v2, /openapi/v3 and what is below, which describes the
// kinds. It builds a document when a client first asks for it, and nothing before.
func OpenAPI(kinds []Kind, version string) http.Handler {
	return openapi.New(openapi.Config{Version: version, Kinds: describe(kinds)}).Handler()
}

func describe(kinds []Kind) []openapi.Kind {
	out := make([]openapi.Kind, len(kinds))
	for i := range kinds {
		out[i] = kinds[i].describe()
	}
	return out
}

func (k *Kind) describe() openapi.Kind {
	out := openapi.Kind{
		GroupVersionKind: k.GroupVersionKind,
		Resource:         k.Resource,
		Namespaced:       k.Namespaced,
		Object:           k.Object,
		List:             k.List,
		Verbs:            k.Verbs,
	}
	if k.Custom != nil {
		out.Model, out.ListModel = k.Custom.Model, k.Custom.ListModel
	}
	written := []string{"get", "update", "patch"}
	if k.Status {
		out.Subresources = append(out.Subresources, openapi.Subresource{
			Name: "status", Kind: k.GroupVersionKind, Object: k.Object, Model: out.Model, Verbs: written,
		})
	}
	if k.Scale != nil {
		out.Subresources = append(out.Subresources, openapi.Subresource{
			Name: "scale", Kind: autoscalingv1.SchemeGroupVersion.WithKind("Scale"), Object: &autoscalingv1.Scale{}, Verbs: written,
		})
	}
	for _, name := range slices.Sorted(maps.Keys(k.Subresources)) {
		s := k.Subresources[name]
		out.Subresources = append(out.Subresources, s.describe(k, name, written))
	}
	return out
}

func (s *Subresource) describe(k *Kind, name string, written []string) openapi.Subresource {
	out := openapi.Subresource{Name: name, Kind: s.Kind}
	if s.Create != nil {
		out.Verbs = append(out.Verbs, "create")
	}
	if s.Merge != nil {
		out.Verbs = append(out.Verbs, written...)
	}
	out.Object = k.Object
	if s.New != nil {
		out.Object = reflect.New(reflect.TypeOf(s.New()).Elem()).Interface().(runtime.Object)
	}
	return out
}
