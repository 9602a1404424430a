package apiserver

import (
	"net/http"
	"net/url"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/inboard/inboard/apiserver/client"
)

// target is what a URL of the API is about.
type target struct {
	ref client.Ref
	// rest is the path below a subresource, as in pods/NAME/proxy/REST.
	rest string
	// watch tells of the old form /api/v1/watch/...
	watch bool
}

// parsePath reads the path of a request for a resource; ok is false for all other paths.
func parsePath(path string) (t target, ok bool) {
	if strings.HasPrefix(path, "//") {
		return target{}, false
	}
	parts := strings.Split(strings.Trim(path, "/"), "/")
	var gv schema.GroupVersion
	switch {
	case len(parts) >= 3 && parts[0] == "api":
		gv, parts = schema.GroupVersion{Version: parts[1]}, parts[2:]
	case len(parts) >= 4 && parts[0] == "apis":
		gv, parts = schema.GroupVersion{Group: parts[1], Version: parts[2]}, parts[3:]
	default:
		return target{}, false
	}
	if parts[0] == "watch" && len(parts) > 1 {
		t.watch, parts = true, parts[1:]
	}
	if parts[0] == "namespaces" && len(parts) >= 3 && !isNamespaceSubresource(parts) {
		t.ref.Namespace, parts = parts[1], parts[2:]
	}
	t.ref.GroupVersionResource = gv.WithResource(parts[0])
	if len(parts) > 1 {
		t.ref.Name = parts[1]
	}
	if len(parts) > 2 {
		t.ref.Subresource = parts[2]
	}
	if len(parts) > 3 {
		t.rest = strings.Join(parts[3:], "/")
	}
	return t, true
}

// isNamespaceSubresource tells namespaces/NAME/status from namespaces/NAME/RESOURCE.
func isNamespaceSubresource(parts []string) bool {
	return len(parts) == 3 && (parts[2] == "status" || parts[2] == "finalize")
}

// verbOf returns the API's verb for a request.
func (t *target) verbOf(method string, query url.Values) string {
	switch method {
	case http.MethodGet, http.MethodHead:
		switch {
		case t.watch && t.ref.Subresource == "", t.ref.Name == "" && isTrue(query, "watch"):
			return verbWatch
		case t.ref.Name == "" && t.ref.Subresource == "":
			return verbList
		}
		return verbGet
	case http.MethodPost:
		return verbCreate
	case http.MethodPut:
		return verbUpdate
	case http.MethodPatch:
		return verbPatch
	case http.MethodDelete:
		if t.ref.Name == "" {
			return verbDeleteCollection
		}
		return verbDelete
	}
	return "" // no verb of the API
}

// isTrue reads a boolean parameter: "watch" and "watch=true" and "watch=1" are all true.
func isTrue(query url.Values, name string) bool {
	values, ok := query[name]
	if !ok {
		return false
	}
	return len(values) == 0 || values[0] != "false" && values[0] != "0"
}
