package apiserver

import (
	"net/http"

	"github.com/inboard/inboard/apiserver/openapi"
)

// newOpenAPI describes the table to clients that ask for schemas.
func newOpenAPI(t *table, version string) http.Handler {
	var kinds []openapi.Kind
	for _, r := range t.ordered {
		k := openapi.Kind{
			GroupVersionKind: r.GroupVersionKind, Resource: r.Resource, Namespaced: r.Namespaced,
			Object: r.Object, List: r.List, Verbs: r.Verbs,
		}
		for _, sub := range r.subresources() {
			o := openapi.Subresource{Name: sub.name, Kind: sub.kind, Verbs: sub.verbs, Object: r.Object}
			if sub.name == "scale" && r.Scale != nil {
				o.Object = emptyScale()
			} else if s, ok := r.Subresources[sub.name]; ok && s.New != nil {
				o.Object = s.New()
			}
			k.Subresources = append(k.Subresources, o)
		}
		kinds = append(kinds, k)
	}
	return openapi.New(openapi.Config{Kinds: kinds, Version: version}).Handler()
}
