package apiserver_test

import (
	"net/http"
	"testing"
)

func TestDiscoveryETag(t *testing.T) {
	s := newServer(t, asAdmin)
	const accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
	first := do(s, "GET", "/apis", "", "Accept", accept)
	tag := first.Header().Get("ETag")
	if first.Code != http.StatusOK || tag == "" || first.Header().Get("Vary") != "Accept" {
		t.Fatalf("%d, ETag %q, Vary %q", first.Code, tag, first.Header().Get("Vary"))
	}
	again := do(s, "GET", "/apis", "", "Accept", accept, "If-None-Match", tag)
	if again.Code != http.StatusNotModified || again.Body.Len() != 0 {
		t.Errorf("%d, %d bytes", again.Code, again.Body.Len())
	}
	// The same table makes the same document.
	if other := do(newServer(t, asAdmin), "GET", "/apis", "", "Accept", accept); other.Header().Get("ETag") != tag {
		t.Error("another server has another ETag")
	}
}
