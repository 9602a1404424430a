package crd_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestCloseEndsConversions closes the definitions while a webhook is asked: who waits for it is told at once, and not
// when the webhook's time is over. The package's goleak sees that nothing is left.
func TestCloseEndsConversions(t *testing.T) {
	called := make(chan struct{}, 16)
	at := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		called <- struct{}{}
		<-r.Context().Done()
	}))
	t.Cleanup(at.Close)
	s := start(t)
	s.define(t, strings.Replace(simple, "CONVERSION",
		`conversion: {strategy: Webhook, webhook: {conversionReviewVersions: [v1], clientConfig: {url: "`+
			at.URL+`", caBundle: `+bundle(at)+`}}}`, 1))
	s.must(t, "POST", "/apis/example.com/v1/foos", `{"apiVersion":"example.com/v1","kind":"Foo","metadata":{"name":"x"},"a":"1"}`)
	code := make(chan int, 1)
	go func() { code <- s.do("GET", "/apis/example.com/v2/foos/x", "").Code }()
	<-called
	select {
	case c := <-code:
		t.Fatalf("the request ended with %d before the webhook answered", c)
	default:
	}
	if err := s.defs.Close(); err != nil {
		t.Fatal(err)
	}
	if c := <-code; c != http.StatusGatewayTimeout {
		t.Errorf("the request ended with %d", c)
	}
}
