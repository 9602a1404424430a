package openapi_test

import (
	"fmt"
	"net/http/httptest"

	coordinationv1 "k8s.io/api/coordination/v1"

	"github.com/inboard/inboard/apiserver/openapi"
)

// Any handler tree can serve the description of kinds.
func ExampleNew() {
	api := openapi.New(openapi.Config{Kinds: []openapi.Kind{{
		GroupVersionKind: coordinationv1.SchemeGroupVersion.WithKind("Lease"),
		Resource:         "leases",
		Namespaced:       true,
		Object:           &coordinationv1.Lease{},
		List:             &coordinationv1.LeaseList{},
	}}})
	w := httptest.NewRecorder()
	api.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/openapi/v3/apis/coordination.k8s.io/v1", nil))
	fmt.Println(w.Code, w.Header().Get("Content-Type"))
	// Output: 200 application/json
}
