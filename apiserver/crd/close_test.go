package crd_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"github.com/inboard/inboard/apiserver/crd"
)

// silent is a conversion webhook that takes calls and never answers.
type silent struct{ called chan struct{} }

func (s silent) Call(ctx context.Context, _ *apiextensionsv1.WebhookClientConfig, _ []byte) ([]byte, error) {
	s.called <- struct{}{}
	<-ctx.Done()
	return nil, ctx.Err()
}

// TestCloseEndsConversions closes the definitions while a webhook is asked: who waits for it is told at once, and not
// when the webhook's time is over. The package's goleak sees that nothing is left.
func TestCloseEndsConversions(t *testing.T) {
	hook := silent{make(chan struct{}, 16)}
	s := start(t, func(c *crd.Config) { c.Webhook = hook })
	s.define(t, strings.Replace(simple, "CONVERSION",
		`conversion: {strategy: Webhook, webhook: {conversionReviewVersions: [v1], clientConfig: {url: "https://hook.test/"}}}`, 1))
	s.must(t, "POST", "/apis/example.com/v1/foos", `{"apiVersion":"example.com/v1","kind":"Foo","metadata":{"name":"x"},"a":"1"}`)
	code := make(chan int, 1)
	go func() { code <- s.do("GET", "/apis/example.com/v2/foos/x", "").Code }()
	<-hook.called
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
